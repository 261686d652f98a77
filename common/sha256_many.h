/*
 * SHA-256 of many short messages at once: the blocks and keys of one commit are some fifty messages
 * of one to ten blocks each, and one call of a library for each costs more than the hashing.
 *
 * Where the processor has AVX2, eight messages go side by side through the same instructions, about
 * three times as fast, with AVX-512's five times, and the last ones alone; elsewhere this is sha256
 * for each.
 *
 * A node of a tree often begins with the same bytes before a commit and after it. The states that
 * the messages went through are kept, so that one which begins like another is hashed from there.
 */
#pragma once

#include "common/sha256.h"

#define SHA256_LANES       8
/* What is kept: 16 KiB, which is all but the ends of long messages in nearly all commits. */
#define SHA256_TRACE_STEPS 64

struct sha256_work {
	struct span message;
	uint8_t digest[SHA256_SIZE]; /* the result */
	/* for sha256_many.c */
	size_t step; /* that took its first block */
	size_t lane;
};

/* The states of the lanes after each step. */
struct sha256_trace {
	uint32_t states[SHA256_TRACE_STEPS][SHA256_STATE_WORDS][SHA256_LANES];
};

void sha256_many(struct sha256_work *all, size_t count, struct sha256_trace *ret_trace);
/* The same in the given one of the ways that this processor has, the best being 0; false: it does
 * not have so many. For tests. */
bool sha256_many_by(size_t way, struct sha256_work *all, size_t count,
		    struct sha256_trace *ret_trace);
/* What sha256 says, and sooner if the message begins as `like` does, which is of the work that the
 * trace was made with last; NULL: like none. */
void sha256_like(const struct sha256_work *like, const struct sha256_trace *trace,
		 struct span message, uint8_t ret_digest[static SHA256_SIZE]);
