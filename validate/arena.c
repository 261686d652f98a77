#include "validate/arena.h"

#include <stdalign.h>

#define CHUNK_SIZE KIB(256) /* an ordinary commit needs about 20 KiB */

struct arena_chunk {
	struct arena_chunk *next;
	size_t size, used;
	alignas(max_align_t) uint8_t bytes[];
};

static void add_chunk(struct arena *a, size_t size)
{
	struct arena_chunk *c = xmalloc(sizeof(*c) + size);

	*c = (struct arena_chunk){.next = a->chunks, .size = size};
	a->chunks = c;
	a->bytes += size;
}

void arena_init(struct arena *a)
{
	*a = (struct arena){0};
	add_chunk(a, CHUNK_SIZE);
}

static void free_first(struct arena *a)
{
	struct arena_chunk *c = a->chunks;

	a->chunks = c->next;
	a->bytes -= c->size;
	free(c);
}

void arena_release(struct arena *a)
{
	while (a->chunks)
		free_first(a);
}

void *arena_get(struct arena *a, size_t size)
{
	struct arena_chunk *c = a->chunks;
	void *at;

	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (size > c->size - c->used) {
		add_chunk(a, size > CHUNK_SIZE ? size : CHUNK_SIZE);
		c = a->chunks;
	}
	at = c->bytes + c->used;
	c->used += size;
	return at;
}

/* The chunk made first has the standard size and stays. */
void arena_clear(struct arena *a)
{
	while (a->chunks->next)
		free_first(a);
	a->chunks->used = 0;
}
