#include "common/held.h"

#include <malloc.h>
#include <stdlib.h>

static void *count(struct held *h, void *ptr)
{
	atomic_fetch_add_explicit(&h->bytes, (int64_t)malloc_usable_size(ptr),
				  memory_order_relaxed);
	return ptr;
}

static void uncount(struct held *h, void *ptr)
{
	atomic_fetch_sub_explicit(&h->bytes, (int64_t)malloc_usable_size(ptr),
				  memory_order_relaxed);
}

void *held_malloc(struct held *h, size_t size)
{
	return count(h, xmalloc(size));
}

void *held_calloc(struct held *h, size_t items, size_t size)
{
	return count(h, xcalloc(items, size));
}

void *held_realloc(struct held *h, void *ptr, size_t size)
{
	uncount(h, ptr);
	return count(h, xrealloc(ptr, size));
}

char *held_strdup(struct held *h, const char *s)
{
	return count(h, xstrdup(s));
}

void held_free(struct held *h, void *ptr)
{
	uncount(h, ptr);
	free(ptr);
}

int64_t held_bytes(const struct held *h)
{
	return atomic_load_explicit(&h->bytes, memory_order_relaxed);
}
