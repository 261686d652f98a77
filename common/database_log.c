#include "common/database_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"

#define BLOCK_SIZE  KIB(32)
#define HEADER_SIZE 7
#define LOG_PATH    "%.400s/%06llu.log"
#define MASK_ADDEND 0xa282ead8U /* what is stored is the CRC turned by 15 bits, plus this */

enum { FULL = 1, FIRST, MIDDLE, LAST };

/* Bytes of the whole fragment at the place, its header included; 0 if there is none. */
static size_t fragment_size(struct span log, size_t at)
{
	size_t left = BLOCK_SIZE - at % BLOCK_SIZE;
	const uint8_t *p = log.ptr + at;
	size_t length;
	uint32_t crc;

	if (left > log.len - at)
		left = log.len - at;
	if (left < HEADER_SIZE || p[6] < FULL || p[6] > LAST)
		return 0;
	length = (size_t)p[4] | (size_t)p[5] << 8;
	if (length > left - HEADER_SIZE)
		return 0;
	crc = crc32c(0, span_of(p + 6, 1 + length));
	crc = ((crc >> 15) | (crc << 17)) + MASK_ADDEND;
	if (crc !=
	    ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24))
		return 0;
	return HEADER_SIZE + length;
}

/* How far it is whole. */
static size_t find_damage(struct span log)
{
	size_t at = 0, size;

	while (at < log.len) {
		size_t left = BLOCK_SIZE - at % BLOCK_SIZE;

		size = left < HEADER_SIZE ? left : fragment_size(log, at);
		if (size == 0)
			break;
		at += size;
	}
	return at;
}

/* Whether fragments follow each other from here to the end of the block, or of the log. */
static bool runs_on(struct span log, size_t at)
{
	size_t size;

	do {
		size = fragment_size(log, at);
		at += size;
	} while (size > 0 && at < log.len && at % BLOCK_SIZE != 0 &&
		 BLOCK_SIZE - at % BLOCK_SIZE >= HEADER_SIZE);
	return size > 0;
}

/* At any byte: where the next record begins is not known. What looks like one may be a part of the
 * damaged one's bytes, which others choose: then it is not followed by others to the end. */
static bool has_record_after(struct span log, size_t at)
{
	for (at++; at < log.len && log.len - at >= HEADER_SIZE; at++)
		if ((log.ptr[at + 6] == FULL || log.ptr[at + 6] == FIRST) && runs_on(log, at))
			return true;
	return false;
}

int database_log_check_bytes(struct span log, size_t *ret_whole_bytes)
{
	*ret_whole_bytes = find_damage(log);
	return *ret_whole_bytes < log.len && has_record_after(log, *ret_whole_bytes) ? -EUCLEAN : 0;
}

/* -ENOENT: LevelDB removes a log that it needs no more. */
static int read_log(const char *path, struct buf *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
	struct stat st;
	ssize_t n = 1;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		error = -errno;
	for (off_t at = 0; !error && n > 0 && at < st.st_size; at += n) {
		size_t left = (size_t)(st.st_size - at);

		n = pread(fd, buf_extend(out, left), left, at);
		if (n < 0)
			error = -errno;
		else
			out->len -= left - (size_t)n;
	}
	close(fd);
	return error;
}

/* What a folder's logs are like. */
struct finding {
	unsigned long long newest; /* of those with bytes; 0: none */
	unsigned long long torn;   /* 0: none */
	size_t whole_bytes;        /* of that one */
};

static int check_file(const char *folder, unsigned long long number, struct finding *f,
		      char *ret_reason, size_t reason_size)
{
	char path[PATH_MAX];
	size_t whole = 0;
	struct buf log;
	int error;

	snprintf(path, sizeof(path), LOG_PATH, folder, number);
	buf_init(&log, SIZE_MAX);
	error = read_log(path, &log);
	if (error == -ENOENT)
		error = 0;
	else if (error)
		snprintf(ret_reason, reason_size, "%.400s: %s", path, strerror(-error));
	else
		error = database_log_check_bytes(buf_span(&log), &whole);
	if (error == -EUCLEAN)
		snprintf(ret_reason, reason_size, "Corruption: %.400s is damaged at byte %zu", path,
			 whole);
	if (log.len > 0 && number > f->newest)
		f->newest = number;
	/* Of two that are torn one is not the newest. */
	if (whole < log.len && (f->torn == 0 || number < f->torn)) {
		f->torn = number;
		f->whole_bytes = whole;
	}
	buf_release(&log);
	return error;
}

/* Logs in hand are one or two, and a few that were to be removed. */
static int check_folder(const char *folder, struct finding *ret, char *ret_reason,
			size_t reason_size)
{
	unsigned long long number;
	DIR *dir = opendir(folder);
	struct dirent *e;
	int error = 0;
	char end;

	*ret = (struct finding){0};
	while (dir && !error && (e = readdir(dir)))
		if (sscanf(e->d_name, "%llu.lo%c", &number, &end) == 2 && end == 'g')
			error = check_file(folder, number, ret, ret_reason, reason_size);
	if (dir)
		closedir(dir);
	if (error || ret->torn == 0 || ret->torn == ret->newest)
		return error;
	snprintf(ret_reason, reason_size, "Corruption: " LOG_PATH " has no end", folder, ret->torn);
	return -EUCLEAN;
}

static int cut(const char *folder, const struct finding *f, char *ret_reason, size_t reason_size)
{
	char path[PATH_MAX];
	int fd, error = 0;

	snprintf(path, sizeof(path), LOG_PATH, folder, f->torn);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)f->whole_bytes) < 0 || fsync(fd) < 0) {
		error = -errno;
		snprintf(ret_reason, reason_size, "%.400s: %s", path, strerror(-error));
	}
	if (fd >= 0)
		close(fd);
	return error;
}

/* LevelDB's own lock. What seems torn may be a write that its owner is about to finish. */
static int lock(const char *folder, char *ret_reason, size_t reason_size)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	int fd, error;

	snprintf(path, sizeof(path), "%.400s/LOCK", folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (fd >= 0 && fcntl(fd, F_SETLK, &whole) == 0)
		return fd;
	error = errno == EACCES && fd >= 0 ? -EAGAIN : -errno;
	snprintf(ret_reason, reason_size, "lock %.400s: %s", path, strerror(-error));
	if (fd >= 0)
		close(fd);
	return error;
}

int database_log_mend(const char *folder, char *ret_reason, size_t reason_size)
{
	struct finding f;
	int error = check_folder(folder, &f, ret_reason, reason_size), lock_fd;

	if (error || f.torn == 0)
		return error;
	lock_fd = lock(folder, ret_reason, reason_size);
	if (lock_fd < 0)
		return lock_fd;
	error = check_folder(folder, &f, ret_reason, reason_size);
	if (!error && f.torn > 0)
		error = cut(folder, &f, ret_reason, reason_size);
	close(lock_fd);
	return error;
}
