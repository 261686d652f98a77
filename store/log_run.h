/*
 * The run: the files at the end of the log from which every number is there, up to the newest. An
 * index is derived from its messages, so one that is missing, short, or not that of its messages is
 * made anew on the way; what an index had of a host is lost with it. A file that is missing, or has
 * not all messages up to the next file's first, is where the run begins.
 */
#pragma once

#include "store/log_folder.h"

/* ret_first: the place of the run's first file. The newest file is taken as it is; there has to be
 * one. -ENOSPC, -EDQUOT, -EFBIG: there is no room for an index. Logs which indexes it makes. */
int log_run_find(struct log_folder *f, size_t *ret_first) MUST_CHECK;
/* The same of the run that ends with this file, as the indexes are: none is made. */
size_t log_run_peek(const struct log_folder *f, size_t newest);
