/*
 * SHA-256 of many short messages at once: the blocks and keys of one commit are some fifty messages
 * of one to ten blocks each, and one call of a library for each costs more than the hashing.
 *
 * Where the processor has AVX2, eight messages go side by side through the same instructions
 * (about three times as fast); elsewhere, and for long messages, this is sha256 for each.
 */
#pragma once

#include "common/sha256.h"

struct sha256_work {
	struct span message;
	uint8_t digest[SHA256_SIZE]; /* the result */
};

void sha256_many(struct sha256_work *all, size_t count);
