/*
 * Numbers that look random and follow from a seed (splitmix64).
 */
#pragma once

#include "common/bytes.h"

struct random {
	uint64_t state;
};

/* Any change of the number changes half of the result's bits. */
static inline uint64_t random_mix(uint64_t z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t random_next(struct random *r)
{
	return random_mix(r->state += 0x9e3779b97f4a7c15u);
}

/* 0 to end - 1. */
static inline uint32_t random_below(struct random *r, uint32_t end)
{
	return (uint32_t)((random_next(r) >> 32) * end >> 32);
}

/* True once in so many times. */
static inline bool random_once_in(struct random *r, uint32_t times)
{
	return random_below(r, times) == 0;
}

static inline void random_bytes(struct random *r, uint8_t *ret, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
		uint64_t n = random_next(r);

		memcpy(ret + i, &n, size - i < sizeof(n) ? size - i : sizeof(n));
	}
}
