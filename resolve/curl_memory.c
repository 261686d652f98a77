#include "resolve/curl_memory.h"

#include "common/held.h"

static struct held held;

void *curl_memory_malloc(size_t size)
{
	return held_malloc(&held, size);
}

void *curl_memory_calloc(size_t items, size_t size)
{
	return held_calloc(&held, items, size);
}

void *curl_memory_realloc(void *ptr, size_t size)
{
	return held_realloc(&held, ptr, size);
}

char *curl_memory_strdup(const char *s)
{
	return held_strdup(&held, s);
}

void curl_memory_free(void *ptr)
{
	held_free(&held, ptr);
}

int64_t curl_memory_bytes(void *arg)
{
	(void)arg;
	return held_bytes(&held);
}
