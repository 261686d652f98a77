#include "common/held.h"

#include <pthread.h>

#include "common/memory.h"
#include "common/openssl_memory.h"
#include "common/sha256.h"
#include "tests/test.h"

#include <openssl/evp.h>

TEST(what_is_held_is_what_was_not_given_back)
{
	struct held h = {0};
	uint8_t *a = held_malloc(&h, 1000), *b = held_calloc(&h, 10, 100);
	char *text = held_strdup(&h, "some text");

	CHECK_INT(held_bytes(&h),
		  memory_block_bytes(a) + memory_block_bytes(b) + memory_block_bytes(text));
	CHECK(held_bytes(&h) >= 2000);
	for (size_t i = 0; i < 1000; i++)
		CHECK_INT(b[i], 0);
	a[999] = 7;
	a = held_realloc(&h, a, 100000);
	CHECK_INT(a[999], 7);
	CHECK(held_bytes(&h) >= 101000);
	held_free(&h, a);
	held_free(&h, b);
	CHECK_INT(held_bytes(&h), memory_block_bytes(text));
	CHECK_STR(text, "some text");
	held_free(&h, text);
	held_free(&h, NULL);
	CHECK_INT(held_bytes(&h), 0);
	held_free(&h, held_realloc(&h, NULL, 0));
	CHECK_INT(held_bytes(&h), 0);
}

static void *take_and_give(void *arg)
{
	for (size_t i = 0; i < 10000; i++)
		held_free(arg, held_malloc(arg, i));
	return NULL;
}

TEST(libraries_have_threads)
{
	struct held h = {0};
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_INT(pthread_create(&threads[i], NULL, take_and_give, &h), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK_INT(held_bytes(&h), 0);
}

TEST(what_openssl_holds_is_counted)
{
	int64_t before;
	EVP_MD_CTX *contexts[100];

	memory_init_libraries();
	memory_init_libraries();
	before = openssl_memory_bytes(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
		contexts[i] = EVP_MD_CTX_new();
	CHECK(openssl_memory_bytes(NULL) >= before + 1000);
	for (size_t i = 0; i < ARRAY_SIZE(contexts); i++)
		EVP_MD_CTX_free(contexts[i]);
	CHECK_INT(openssl_memory_bytes(NULL), before);
}
