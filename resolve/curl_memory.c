#include "resolve/curl_memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

/* The functions have no argument that could carry it, and curl calls them from its resolver's
 * threads too. */
static _Atomic int64_t held_bytes;

static void *count(void *ptr)
{
	atomic_fetch_add_explicit(&held_bytes, (int64_t)malloc_usable_size(ptr),
				  memory_order_relaxed);
	return ptr;
}

static void uncount(void *ptr)
{
	atomic_fetch_sub_explicit(&held_bytes, (int64_t)malloc_usable_size(ptr),
				  memory_order_relaxed);
}

void *curl_memory_malloc(size_t size)
{
	return count(xmalloc(size));
}

void *curl_memory_calloc(size_t items, size_t size)
{
	return count(xcalloc(items, size));
}

void *curl_memory_realloc(void *ptr, size_t size)
{
	uncount(ptr);
	return count(xrealloc(ptr, size));
}

char *curl_memory_strdup(const char *s)
{
	return count(xstrdup(s));
}

void curl_memory_free(void *ptr)
{
	uncount(ptr);
	free(ptr);
}

int64_t curl_memory_bytes(void *arg)
{
	(void)arg;
	return atomic_load_explicit(&held_bytes, memory_order_relaxed);
}
