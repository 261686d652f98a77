/*
 * The folder of the log: which pairs of files it has (common/log_file.h). Other names in it are
 * none of our business.
 */
#pragma once

#include "common/log_file.h"

struct log_folder_entry {
	uint64_t first_seq;
	bool has_messages;
	bool has_index;
	uint64_t bytes;  /* of the .ws */
	uint64_t events; /* whole records of the .idx */
};

struct log_folder {
	int fd;
	size_t count;
	size_t cap;
	struct log_folder_entry *entries; /* by first_seq, upward */
};

/* Opens a folder, made if it is not there, and reads what it has. Release it also after a failure.
 */
int log_folder_open(const char *path, struct log_folder *ret) MUST_CHECK;
void log_folder_release(struct log_folder *f);

/* Of one file: its descriptor. flags: as of open(2). */
int log_folder_open_file(const struct log_folder *f, uint64_t first_seq, enum log_file_type type,
			 int flags) MUST_CHECK;
/* Adds an empty pair after all others; durable. Gives both descriptors. */
int log_folder_add(struct log_folder *f, uint64_t first_seq, int *ret_messages_fd,
		   int *ret_index_fd) MUST_CHECK;
/* Unlinks one file, whose entry stays as it is. */
int log_folder_unlink_file(const struct log_folder *f, uint64_t first_seq,
			   enum log_file_type type) MUST_CHECK;
/* Unlinks count pairs (or halves of pairs) from the place on. */
int log_folder_unlink(struct log_folder *f, size_t place, size_t count) MUST_CHECK;
/* Forgets the first count entries; their files stay. */
void log_folder_forget(struct log_folder *f, size_t count);
/* -ENOENT */
int log_folder_find(const struct log_folder *f, uint64_t first_seq, size_t *ret_place) MUST_CHECK;
