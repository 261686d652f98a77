/*
 * Memory for one commit's worth of small things, given back all at once. Pieces stay where they are
 * until then. What one ordinary commit needs is kept for the next; a large one's memory is not.
 */
#pragma once

#include "common/bytes.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* the one in use first */
	size_t bytes;               /* of all chunks */
};

void arena_init(struct arena *a);
void arena_release(struct arena *a);
/* Aligned for anything, not cleared. Valid until arena_clear. */
void *arena_get(struct arena *a, size_t size);
void arena_clear(struct arena *a);
