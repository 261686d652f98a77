/*
 * Memory accounts: what the process has, what its heap holds, what the stage knows that it holds,
 * and how fast the rest grows. Exported as metrics:
 *
 *	relay_process_rss_bytes, _pss_, _anonymous_, _file_bytes	/proc/self/smaps_rollup
 *	relay_malloc_in_use_bytes, relay_malloc_arena_bytes	all arenas of the allocator; blocks
 *		that threads keep for their next allocations are not in use
 *	relay_accounted_bytes{what=}				registered by the stage
 *	relay_unaccounted_bytes					in use minus accounted
 *	relay_cache_fill_permille{what=}			registered by the stage
 *	relay_memory_slope_bytes_per_hour{of=,window=}		of "unaccounted", which is a leak;
 *		of "libraries", what libraries hold that have no limit of their own, which is one
 *		too; and of "fragmentation": what is free between blocks, in pages that it
 *		cannot give back for them (jemalloc; else all that the allocator holds unused)
 *	relay_memory_slope_wait_seconds				until there is a slope; 0: there is
 *
 * Slopes say something only once the caches are full: before, everything grows. A cache is full at
 * 95 in 100, or when it has stopped filling (it rose by less than 5 in 1,000 within a minute:
 * whatever comes may well fit). Until all are, slopes are absent and the wait says how long it
 * takes at the present pace; should one begin to fill again, the slopes begin anew.
 *
 * OpenSSL's share is an account of every stage, and one of the libraries; memory_init_libraries has
 * to come before its first use. LevelDB is not one of them: its caches, memtables and open tables
 * are bounded by what the configuration says, and rise and fall within.
 */
#pragma once

#include "common/metrics.h"

#define MEMORY_SAMPLE_USEC (5 * USEC_PER_SEC)

struct memory;

/* Before anything of the process uses OpenSSL. */
void memory_init_libraries(void);

struct memory *memory_new(struct metrics *m);
void memory_free(struct memory *a);
/* what: "window", "did_cache", ... bytes is asked whenever metrics are rendered, and for the
 * slopes. */
void memory_register(struct memory *a, const char *what, int64_t (*bytes)(void *arg), void *arg);
/* The same of what a library holds: an account, and part of the slope of "libraries". */
void memory_register_library(struct memory *a, const char *what, int64_t (*bytes)(void *arg),
			     void *arg);
/* How full a cache is, 0 to 1000. */
void memory_register_fill(struct memory *a, const char *what, int64_t (*permille)(void *arg),
			  void *arg);
/* Takes a sample for the slopes every MEMORY_SAMPLE_USEC, until memory_free. */
void memory_watch(struct memory *a, struct loop *l);
/* The same, once, as if at this time: for tests, and for memory_watch. */
void memory_sample(struct memory *a, uint64_t now_usec);

/* The process's memory that is not of files, as far as it is resident: cheap to ask. */
int64_t memory_anonymous_bytes(void);
/* Bytes that an allocated block takes on the heap, which is more than was asked for; 0 for NULL. */
int64_t memory_block_bytes(const void *block);
/* "jemalloc", "glibc", "mimalloc". The figures of the second are as good as those of the first;
 * mimalloc's in-use bytes are those of the loop's thread alone. */
const char *memory_allocator(void);
