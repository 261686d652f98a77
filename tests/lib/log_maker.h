/*
 * Makes a log as store would, for tests of what reads one. An event's payload is its own number and
 * a filling that follows from it, so that a reader can tell whether it got the right bytes.
 */
#pragma once

#include "common/message.h"

#define LOG_MAKER_PAYLOAD_MIN 24
#define LOG_MAKER_FILES_MAX   64

struct log_maker {
	char folder[128];
	size_t file_events; /* in each file */
	bool eager;         /* a full file's successor is named by the head before it is there */
	uint64_t firsts[LOG_MAKER_FILES_MAX];
	size_t file_count; /* the last is the newest */
	uint64_t next_seq;
	uint64_t end_bytes;        /* of the newest */
	int messages_fd, index_fd; /* of the newest; -1 if it is not there yet */
};

void log_maker_init(struct log_maker *m, const char *folder, uint64_t first_seq, size_t file_events,
		    bool eager);
void log_maker_release(struct log_maker *m);
/* Appends count events whose payloads have this many bytes. */
void log_maker_add(struct log_maker *m, size_t count, size_t payload_bytes);
/* Appends count files, copies of the oldest one: quick, but not with the payloads of their numbers.
 * The newest has to be full, and is left so. */
void log_maker_repeat(struct log_maker *m, size_t count);
/* Unlinks the oldest file. */
void log_maker_drop(struct log_maker *m);
/* Overwrites an event that is kept, in place: every byte of its payload becomes LOG_MAKER_BLANK. */
#define LOG_MAKER_BLANK 0xb1
void log_maker_blank(struct log_maker *m, uint64_t seq);
/* Whether this is the payload of that event, as it was made or, where blanked, in part or whole as
 * it became. */
bool log_maker_is(uint64_t seq, struct span payload, bool blanked);
struct head log_maker_head(const struct log_maker *m);
/* The number of the event with this payload; 0 if it is none of ours or not as it was made. */
uint64_t log_maker_seq(struct span payload);
