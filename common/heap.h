/*
 * Heap profiles of the running process: which call sites hold memory, and which of them grew since
 * a mark. By jemalloc's sampling, which takes note of one allocated byte in HEAP_SAMPLE_BYTES and
 * the call stack of its block; it is off until it is started, and cheap when it is on. Other
 * allocators have no such thing (-ENOTSUP).
 *
 * What was allocated before the start is in no profile. Figures are estimates: of a site that holds
 * n times HEAP_SAMPLE_BYTES, within about 1/sqrt(n).
 */
#pragma once

#include "common/bytes.h"

#define HEAP_SAMPLE_BYTES ((uint64_t)131072)

struct heap;

struct heap *heap_new(void);
/* Ends the sampling. */
void heap_free(struct heap *h);

/* Begins to sample, and marks. -ENOTSUP; -EIO: it samples already, and no profile is to be had for
 * the mark. */
int heap_start(struct heap *h) MUST_CHECK;
/* Ends it, and forgets the mark. */
void heap_stop(struct heap *h);
/* Samples from now on until heap_free, whatever is started and stopped in between, which only mark
 * and forget the mark. lg_sample: of the bytes between two samples. -ENOTSUP. */
int heap_keep_on(struct heap *h, unsigned lg_sample) MUST_CHECK;
bool heap_is_on(const struct heap *h);
/* From now on growth is what grows from now on. -EAGAIN: not started; -EIO: no profile to be
 * had. */
int heap_mark(struct heap *h) MUST_CHECK;

/* One call site: its functions from the one that allocates outwards, and what they hold more than
 * at the mark. Borrowed until the callback returns. */
struct heap_site {
	int64_t bytes, blocks;
	const char *stack; /* "session_new < connect < main", modules where functions are unknown */
};
struct heap_totals {
	int64_t bytes, blocks; /* of all sites, less what they had at the mark */
	size_t sites;          /* that grew */
};
/* Calls take for the sites that grew, the largest growth first, at most `max` of them. Errors as
 * above. */
int heap_growth(struct heap *h, size_t max, void (*take)(void *arg, const struct heap_site *site),
		void *arg, struct heap_totals *ret) MUST_CHECK;
