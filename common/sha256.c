#include "common/sha256.h"

#include <assert.h>

#include <openssl/evp.h>

void sha256(struct span s, uint8_t ret_digest[static SHA256_SIZE])
{
	/* Made at the first use and kept for the life of the process; a process has one thread of
	 * ours. */
	static EVP_MD *method;
	static EVP_MD_CTX *context;
	int ok;

	if (!context) {
		method = EVP_MD_fetch(NULL, "SHA256", NULL);
		context = EVP_MD_CTX_new();
		assert(method && context);
	}
	ok = EVP_DigestInit_ex2(context, method, NULL) && EVP_DigestUpdate(context, s.ptr, s.len) &&
	     EVP_DigestFinal_ex(context, ret_digest, NULL);
	assert(ok);
}
