/*
 * What a host has sent, in the order of its numbers, which rise. Frames are borrowed; an entry is
 * 24 bytes. Entries are known by their place, from 0.
 */
#pragma once

#include "common/bytes.h"

struct backlog_entry {
	uint64_t seq;
	const uint8_t *frame;
	uint64_t end; /* bytes of all frames up to and with this one */
};

struct backlog {
	struct backlog_entry *entries;
	size_t count, cap;
};

void backlog_release(struct backlog *b);
void backlog_clear(struct backlog *b);
/* false, and nothing is done, if the number is not above the last. Borrows the frame. */
bool backlog_put(struct backlog *b, uint64_t seq, struct span frame) MUST_CHECK;
/* The last number; 0 if there is none. */
uint64_t backlog_seq(const struct backlog *b);
/* The place of the first frame with a higher number; count if there is none. */
size_t backlog_find(const struct backlog *b, uint64_t cursor);
struct span backlog_frame(const struct backlog *b, size_t place);
/* Bytes of the frames from this place on. */
uint64_t backlog_bytes(const struct backlog *b, size_t place);
