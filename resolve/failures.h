/*
 * Which DIDs failed a moment ago for a passing reason, so that asking again at once does not hammer
 * whoever fails. Memory only. One that fails again and again waits twice as long each time, up to
 * FAILURES_WAIT_MAX_USEC.
 *
 * A table of fixed size in which a newer failure may push out an older one: then the older is
 * merely tried again sooner. DIDs are told apart by their SHA-256, so that nobody can make one that
 * passes for another's.
 */
#pragma once

#include "common/bytes.h"

#define FAILURES_MAX           16384 /* as many as there may be fetches in hand, fetches.h */
#define FAILURES_WAIT_MAX_USEC UINT64_C(60000000)

struct failures;

struct failures *failures_new(void);
void failures_free(struct failures *f);
int64_t failures_memory_bytes(void *f);

/* now_usec: of any one clock. It waits for wait_usec at least, and for as long as its failures
 * before make it. */
void failures_add(struct failures *f, struct span did, uint64_t now_usec, uint64_t wait_usec);
bool failures_has(const struct failures *f, struct span did, uint64_t now_usec);
/* It did not fail this time. */
void failures_forget(struct failures *f, struct span did);
