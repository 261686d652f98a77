/*
 * The log, in a file, as long as it is captured; also of children that are started meanwhile, until
 * they end.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/bytes.h"
#include "tests/test.h"

struct capture {
	int stderr_fd;
	char path[256];
};

static inline void capture_begin(struct capture *c)
{
	int fd;

	snprintf(c->path, sizeof(c->path), "%s/log", test_folder());
	fd = open(c->path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
	c->stderr_fd = dup(STDERR_FILENO);
	CHECK(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

/* How often text is in what was written until now. */
static inline unsigned capture_count(const struct capture *c, const char *text)
{
	const char *at;
	unsigned count = 0;
	struct buf log;

	test_read_file(c->path, &log);
	buf_put_u8(&log, '\0');
	for (at = (const char *)log.ptr; (at = strstr(at, text)); at++)
		count++;
	buf_release(&log);
	return count;
}

static inline void capture_end(struct capture *c)
{
	dup2(c->stderr_fd, STDERR_FILENO);
	close(c->stderr_fd);
}

static inline bool capture_end_has(struct capture *c, const char *text)
{
	bool has = capture_count(c, text) > 0;
	struct buf log;

	capture_end(c);
	if (!has) {
		test_read_file(c->path, &log);
		printf("# %.*s", (int)log.len, (const char *)log.ptr);
		buf_release(&log);
	}
	return has;
}
