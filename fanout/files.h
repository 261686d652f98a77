/*
 * The log's files as fanout has them open: read-only, each opened once however many consumers read
 * it, and closed when the last of them has gone on. Retention unlinks files whenever it likes;
 * whoever holds one reads on.
 *
 * Owner: struct window. A reader owns its reference. Bounded by the files that the log has and by
 * the number of consumers.
 */
#pragma once

#include <sys/types.h>

#include "common/log_file.h"

struct file {
	uint64_t first_seq;
	int messages_fd;
	int index_fd;
	size_t readers;
	bool forgotten; /* of a log that is no more */
	struct file *next;
};

struct files {
	char *folder;
	struct file *open;
	size_t open_count;
};

void files_init(struct files *f, const char *folder);
/* Nobody may hold one any more. */
void files_release(struct files *f);
/* The log was made anew: what is open goes on for its readers, and is given to nobody else. */
void files_forget(struct files *f);

/* The file that has this event, opened or shared; give it back with files_put. -ENOENT if the log
 * has none, or what open says. */
int files_get(struct files *f, uint64_t seq, struct file **ret) MUST_CHECK;
void files_put(struct files *f, struct file *file);

/* Up to count index records from this event on: how many bytes of whole records there are, or a
 * negative errno. */
ssize_t file_read_index(const struct file *file, uint64_t seq, uint8_t *ret,
			size_t count) MUST_CHECK;
