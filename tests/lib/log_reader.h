/* Reads the log from its files, as fanout does, and checks each record against its message. */
#pragma once

#include "common/log_file.h"

/* The event with this number: its frame and its index record. False, and says why on standard
 * output, if it is not there or does not agree with the index. frame is emptied first. */
bool log_reader_get(const char *folder, uint64_t seq, struct buf *frame,
		    struct log_index_record *ret);
/* `seq` and `did` of a frame that verified_make made. False if it is no such frame. */
bool log_reader_fields(struct span frame, uint64_t *ret_seq, struct span *ret_did);
