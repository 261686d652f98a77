/*
 * Which DIDs failed a moment ago for a passing reason, so that asking again at once does not hammer
 * whoever fails. Memory only.
 *
 * A table of fixed size in which a newer failure may push out an older one: then the older is
 * merely tried again sooner. DIDs are told apart by their SHA-256, so that nobody can make one that
 * passes for another's.
 */
#pragma once

#include "common/bytes.h"

#define FAILURES_MAX 16384 /* as many as there may be fetches in hand, resolver.h */

struct failures;

struct failures *failures_new(void);
void failures_free(struct failures *f);
int64_t failures_memory_bytes(void *f);

/* until_usec, now_usec: of any one clock. */
void failures_add(struct failures *f, struct span did, uint64_t until_usec);
bool failures_has(const struct failures *f, struct span did, uint64_t now_usec);
