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

/* At any byte: where the next record begins is not known. */
static bool has_record_after(struct span log, size_t at)
{
	for (at++; at < log.len && log.len - at >= HEADER_SIZE; at++)
		if ((log.ptr[at + 6] == FULL || log.ptr[at + 6] == FIRST) &&
		    fragment_size(log, at) > 0)
			return true;
	return false;
}

int database_log_check_bytes(struct span log, bool *ret_is_torn, size_t *ret_at)
{
	size_t at = find_damage(log);

	*ret_at = at;
	if (at < log.len && has_record_after(log, at))
		return -EUCLEAN;
	*ret_is_torn = at < log.len;
	return 0;
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

static int check_file(const char *path, bool *ret_is_torn, char *ret_reason, size_t reason_size)
{
	struct buf log;
	size_t at = 0;
	int error;

	buf_init(&log, SIZE_MAX);
	error = read_log(path, &log);
	*ret_is_torn = false;
	if (error == -ENOENT)
		error = 0;
	else if (error)
		snprintf(ret_reason, reason_size, "%.400s: %s", path, strerror(-error));
	else
		error = database_log_check_bytes(buf_span(&log), ret_is_torn, &at);
	if (error == -EUCLEAN)
		snprintf(ret_reason, reason_size, "Corruption: %.400s is damaged at byte %zu", path,
			 at);
	buf_release(&log);
	return error;
}

/* Logs in hand are one or two, and a few that were to be removed. */
int database_log_check(const char *folder, bool *ret_is_torn, char *ret_reason, size_t reason_size)
{
	unsigned long long newest = 0, torn = 0, number;
	char path[PATH_MAX], end;
	DIR *dir = opendir(folder);
	struct dirent *e;
	bool is_torn;
	int error = 0;

	*ret_is_torn = false;
	while (dir && !error && (e = readdir(dir))) {
		if (sscanf(e->d_name, "%llu.lo%c", &number, &end) != 2 || end != 'g')
			continue;
		snprintf(path, sizeof(path), "%s/%.80s", folder, e->d_name);
		error = check_file(path, &is_torn, ret_reason, reason_size);
		if (number > newest)
			newest = number;
		/* Of two that are torn one is not the newest. */
		if (is_torn && (torn == 0 || number < torn))
			torn = number;
	}
	if (dir)
		closedir(dir);
	if (!error && torn > 0 && torn < newest) {
		snprintf(ret_reason, reason_size, "Corruption: %.400s/%06llu.log has no end",
			 folder, torn);
		error = -EUCLEAN;
	}
	*ret_is_torn = !error && torn > 0;
	return error;
}
