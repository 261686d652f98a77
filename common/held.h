/*
 * Heap memory that a library holds, counted at its own allocation hooks, so that its share of the
 * heap has a name:
 *
 *	curl	curl_global_init_mem		resolve/curl_memory.c
 *	OpenSSL	CRYPTO_set_mem_functions	openssl_memory.c
 *	LevelDB	C++'s operator new, of which it is the only user	database.c
 *
 * Such hooks have no argument that could carry a counter, and libraries call them from threads of
 * their own; so each of the three has one counter for the process.
 *
 * Bytes are counted as the allocator rounds them (malloc_usable_size). What one function gave
 * another of the same counter takes back; a size of 0 gives memory, NULL is nothing.
 */
#pragma once

#include <stdatomic.h>

#include "common/bytes.h"

struct held {
	_Atomic int64_t bytes;
};

void *held_malloc(struct held *h, size_t size);
void *held_calloc(struct held *h, size_t count, size_t size);
void *held_realloc(struct held *h, void *ptr, size_t size);
char *held_strdup(struct held *h, const char *s);
void held_free(struct held *h, void *ptr);
int64_t held_bytes(const struct held *h);
