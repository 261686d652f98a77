/*
 * Ranges: runs of whole messages of one log file, which go to a consumer in one sendfile after
 * another. A range begins and ends on a message boundary, so that control frames fit between any
 * two of them.
 *
 * It ends after RANGE_BYTES, where a larger one costs no less [sendfile on loopback: 3.5 GB a CPU
 * second at 256 KiB], after RANGE_EVENTS, which is what one read of the index brings, or where the
 * log ends; but it has at least one message, of LIMIT_FRAME at most.
 */
#pragma once

#include "common/log_file.h"

#define RANGE_BYTES  KIB(256)
#define RANGE_EVENTS 256 /* 1 KiB each on average; real events have 2 to 4 */

struct range {
	uint64_t start; /* bytes in the .ws */
	uint64_t end;
	uint64_t events;
};

/* The range that begins with the first of these index records. start: where it has to begin, or
 * RANGE_ANYWHERE. -ENODATA without records, -EBADMSG if a record that it rests on is broken or does
 * not stand where it has to. */
#define RANGE_ANYWHERE UINT64_MAX
int range_find(struct span records, uint64_t start, struct range *ret) MUST_CHECK;
