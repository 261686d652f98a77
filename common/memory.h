/*
 * Memory accounts: what the process has, what its heap holds, and what the stage knows that it
 * holds. Exported as metrics:
 *
 *	relay_process_rss_bytes, relay_process_pss_bytes	/proc/self/smaps_rollup
 *	relay_malloc_in_use_bytes, relay_malloc_arena_bytes	all arenas of the allocator
 *	relay_accounted_bytes{what=}				registered by the stage
 *	relay_unaccounted_bytes					in use minus accounted
 */
#pragma once

#include "common/metrics.h"

struct memory;

struct memory *memory_new(struct metrics *m);
void memory_free(struct memory *a);
/* what: "window", "did_cache", ... bytes is asked whenever metrics are rendered. */
void memory_register(struct memory *a, const char *what, int64_t (*bytes)(void *arg), void *arg);
/* The allocator's own words for itself: "jemalloc", "glibc". */
const char *memory_allocator(void);
