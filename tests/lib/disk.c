#include "tests/lib/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/test.h"

char *disk_new(const char *options)
{
	char *folder = xstrdup(test_folder());

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", folder, "tmpfs", 0, options) < 0) {
		free(folder);
		return NULL;
	}
	return folder;
}

void disk_resize(const char *folder, const char *options)
{
	CHECK_INT(mount(NULL, folder, NULL, MS_REMOUNT, options), 0);
}

void disk_fill(const char *folder)
{
	static const uint8_t zeros[KIB(4)];
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/filler", folder);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	CHECK_INT(errno, ENOSPC);
	close(fd);
}

void disk_free(char *folder)
{
	if (folder)
		umount2(folder, MNT_DETACH);
	free(folder);
}
