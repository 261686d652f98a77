#include "common/openssl_memory.h"

#include <openssl/crypto.h>

#include "common/held.h"

static struct held held;

static void *take(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return held_malloc(&held, size);
}

/* A size of 0 frees, as OpenSSL has it. */
static void *change(void *ptr, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	if (size > 0)
		return held_realloc(&held, ptr, size);
	held_free(&held, ptr);
	return NULL;
}

static void give(void *ptr, const char *file, int line)
{
	(void)file;
	(void)line;
	held_free(&held, ptr);
}

bool openssl_memory_init(void)
{
	CRYPTO_malloc_fn present;
	CRYPTO_realloc_fn present_change;
	CRYPTO_free_fn present_give;

	CRYPTO_get_mem_functions(&present, &present_change, &present_give);
	if (present == take)
		return true;
	return CRYPTO_set_mem_functions(take, change, give) == 1;
}

int64_t openssl_memory_bytes(void *arg)
{
	(void)arg;
	return held_bytes(&held);
}
