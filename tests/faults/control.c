#include "tests/faults/control.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

static _Noreturn void bail_out(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

struct control *control_new(const char *folder, const char *data_folder, char *ret_path,
			    size_t size)
{
	struct control *c;
	int fd;

	snprintf(ret_path, size, "%s/control", folder);
	fd = open(ret_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(*c)) < 0)
		bail_out(ret_path);
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (c == MAP_FAILED)
		bail_out("cannot map the control block");
	close(fd);
	snprintf(c->data_folder, sizeof(c->data_folder), "%s", data_folder);
	return c;
}

void control_free(struct control *c)
{
	munmap(c, sizeof(*c));
}

uint64_t control_effects(const struct control *c, enum control_effect e)
{
	uint64_t sum = 0;

	for (size_t s = 0; s < CONTROL_STAGES; s++)
		sum += c->stages[s].effects[e];
	return sum;
}

const char *control_library(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	snprintf(slash, sizeof(path) - (size_t)(slash - path), "/interposer.so");
	if (access(path, R_OK) < 0)
		bail_out(path);
	return path;
}

/* The power. */

static uint64_t synced_bytes(const struct control *c, uint64_t inode)
{
	for (size_t s = 0; s < CONTROL_STAGES; s++)
		for (size_t i = 0; i < CONTROL_FILES_MAX; i++)
			if (c->stages[s].files[i].inode == inode)
				return c->stages[s].files[i].synced_bytes;
	return 0;
}

/* The blocks of a file that is longer on the disk than what was written to it hold zeros. */
static void write_zeros(int fd, uint64_t from, uint64_t end)
{
	static const uint8_t zeros[4096];

	while (from < end) {
		size_t here = end - from < sizeof(zeros) ? (size_t)(end - from) : sizeof(zeros);

		if (pwrite(fd, zeros, here, (off_t)from) != (ssize_t)here)
			bail_out("cannot write zeros");
		from += here;
	}
}

static uint64_t cut_file(const struct control *c, int folder, const char *name,
			 const struct stat *st)
{
	uint64_t size = (uint64_t)st->st_size, synced = synced_bytes(c, st->st_ino);
	uint64_t length = size, zeros = size;
	int fd;

	if (synced >= size)
		return 0;
	switch (test_random() % 4) {
	case 0: /* nothing of it reached the disk */
		length = zeros = synced;
		break;
	case 1: /* a part */
		length = zeros = synced + test_random() % (size - synced);
		break;
	case 2: /* its length, and of the bytes a part */
		zeros = synced + test_random() % (size - synced);
		break;
	}
	fd = openat(folder, name, O_RDWR | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)length) < 0)
		bail_out(name);
	if (zeros < length)
		write_zeros(fd, zeros, length);
	close(fd);
	return size - (zeros < length ? zeros : length);
}

static uint64_t cut_folder(const struct control *c, int folder)
{
	DIR *dir = fdopendir(folder);
	struct dirent *d;
	uint64_t lost = 0;
	struct stat st;

	if (!dir)
		bail_out("cannot read a folder");
	while ((d = readdir(dir))) {
		if (d->d_name[0] == '.' || fstatat(folder, d->d_name, &st, 0) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			lost += cut_folder(
				c, openat(folder, d->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
		else if (S_ISREG(st.st_mode))
			lost += cut_file(c, folder, d->d_name, &st);
	}
	closedir(dir);
	return lost;
}

uint64_t control_cut_power(struct control *c)
{
	return cut_folder(c, open(c->data_folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}
