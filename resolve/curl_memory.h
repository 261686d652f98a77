/*
 * Memory functions for curl_global_init_mem that count what curl holds (common/held.h). What
 * OpenSSL holds for it is in the account of OpenSSL (common/openssl_memory.h).
 */
#pragma once

#include "common/bytes.h"

void *curl_memory_malloc(size_t size);
void *curl_memory_calloc(size_t count, size_t size);
void *curl_memory_realloc(void *ptr, size_t size);
char *curl_memory_strdup(const char *s);
void curl_memory_free(void *ptr);

/* As the allocator rounds it. arg: not used. */
int64_t curl_memory_bytes(void *arg);
