/* These functions are called deprecated, but what is to replace them takes twice the time for the
 * short messages that keys and nodes are. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "common/sha256.h"

#include <assert.h>

#include <openssl/sha.h>

void sha256(struct span s, uint8_t ret_digest[static SHA256_SIZE])
{
	SHA256_CTX context;
	int ok;

	ok = SHA256_Init(&context) && SHA256_Update(&context, s.ptr, s.len) &&
	     SHA256_Final(ret_digest, &context);
	assert(ok);
}

void sha256_compress(uint32_t state[static SHA256_STATE_WORDS], const uint8_t *blocks, size_t count)
{
	SHA256_CTX context = {.num = 0};
	int ok;

	memcpy(context.h, state, sizeof(context.h));
	ok = SHA256_Update(&context, blocks, count * SHA256_BLOCK_SIZE);
	assert(ok);
	memcpy(state, context.h, sizeof(context.h));
}
