/* Whole reads and writes at a place in a file, and who has a folder. */
#pragma once

#include "common/bytes.h"

/* -ENODATA if the file ends before. */
int file_read_at(int fd, uint8_t *ret, size_t len, uint64_t offset) MUST_CHECK;
/* After a failure part of it may have been written. */
int file_write_at(int fd, struct span s, uint64_t offset) MUST_CHECK;
int file_size(int fd, uint64_t *ret_bytes) MUST_CHECK;

/* The folder is this process's until the descriptor is closed, which a kill does as well. -EAGAIN:
 * somebody else has it. */
int file_lock_folder(const char *path, int *ret_fd) MUST_CHECK;
