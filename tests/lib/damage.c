#include "tests/lib/damage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"

#define STEP     500 /* bytes: LevelDB's blocks have 4 KiB */
#define LOG_HEAD 7   /* bytes: of a record */

static void flip_bits(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	uint8_t byte;

	CHECK_INT(fstat(fd, &st), 0);
	for (off_t at = 20; at < st.st_size / 2; at += STEP) {
		CHECK_INT(pread(fd, &byte, 1, at), 1);
		byte ^= 1;
		CHECK_INT(pwrite(fd, &byte, 1, at), 1);
	}
	close(fd);
}

static void clear_head(const char *path)
{
	static const uint8_t zeros[LOG_HEAD];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	CHECK_INT(fstat(fd, &st), 0);
	if (st.st_size > (off_t)sizeof(zeros))
		CHECK_INT(pwrite(fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	close(fd);
}

static void damage_all(const char *folder, const char *end, void (*damage)(const char *path))
{
	DIR *dir = opendir(folder);
	unsigned count = 0;
	struct dirent *e;
	char path[512];

	while ((e = readdir(dir))) {
		const char *dot = strrchr(e->d_name, '.');

		if (!dot || strcmp(dot, end) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		damage(path);
		count++;
	}
	closedir(dir);
	CHECK(count > 0);
}

void damage_tables(const char *folder)
{
	damage_all(folder, ".ldb", flip_bits);
}

void damage_logs(const char *folder)
{
	damage_all(folder, ".log", clear_head);
}

void damage_file(const char *folder, const char *start, long bytes)
{
	DIR *dir = opendir(folder);
	unsigned count = 0;
	struct dirent *e;
	char path[512];

	while ((e = readdir(dir))) {
		if (strncmp(e->d_name, start, strlen(start)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, e->d_name);
		CHECK_INT(bytes < 0 ? unlink(path) : truncate(path, bytes), 0);
		count++;
	}
	closedir(dir);
	CHECK_INT(count, 1);
}
