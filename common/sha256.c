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

void sha256_resume(const uint32_t state[static SHA256_STATE_WORDS], size_t done, struct span rest,
		   uint8_t ret_digest[static SHA256_SIZE])
{
	SHA256_CTX context;
	int ok;

	assert(done % SHA256_BLOCK_SIZE == 0 && done <= UINT32_MAX / 8);
	ok = SHA256_Init(&context);
	memcpy(context.h, state, sizeof(context.h));
	context.Nl = (SHA_LONG)(8 * done);
	ok = ok && SHA256_Update(&context, rest.ptr, rest.len) &&
	     SHA256_Final(ret_digest, &context);
	assert(ok);
}

void sha256_compress(uint32_t state[static SHA256_STATE_WORDS],
		     const uint8_t block[static SHA256_BLOCK_SIZE])
{
	SHA256_CTX context;

	memcpy(context.h, state, sizeof(context.h));
	SHA256_Transform(&context, block);
	memcpy(state, context.h, sizeof(context.h));
}
