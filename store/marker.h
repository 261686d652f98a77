/*
 * The marker says how far the log is real. It is written in one with the state that the events up
 * to it have led to, and it is what recovery cuts the log at.
 */
#pragma once

#include "common/bytes.h"

struct marker {
	uint64_t file_first_seq; /* the file that holds the end: its name */
	uint64_t file_end_bytes; /* where the log ends in it */
	uint64_t next_seq;       /* one after the last event */
};

#define MARKER_SIZE 25 /* encoded */

/* u8 version, u64 file_first_seq, u64 file_end_bytes, u64 next_seq */
void marker_encode(const struct marker *m, uint8_t ret[static MARKER_SIZE]);
/* -EBADMSG, also for numbers that cannot belong together. */
int marker_decode(struct span s, struct marker *ret) MUST_CHECK;
