/*
 * How many of something each client has, so that none has all of it: by IPv4 address, or /64 of
 * IPv6 (address_client).
 *
 * Memory: 16 to 64 bytes for each client that has any, so it is bounded by what is counted. The
 * table is seeded, so that nobody can choose addresses that meet in it.
 */
#pragma once

#include "common/address.h"

struct quota_slot {
	uint64_t client;
	uint64_t count; /* 0: empty */
};

struct quota {
	uint64_t seed;
	size_t cap; /* a power of two, or 0 */
	size_t used;
	struct quota_slot *slots;
};

void quota_init(struct quota *q);
void quota_release(struct quota *q);
uint64_t quota_count(const struct quota *q, const struct address *a);
void quota_add(struct quota *q, const struct address *a);
/* It was added before. */
void quota_remove(struct quota *q, const struct address *a);
size_t quota_bytes(const struct quota *q);
