/* SHA-256 through OpenSSL. For many short messages see sha256_many.h. */
#pragma once

#include "common/bytes.h"

#define SHA256_SIZE        32
#define SHA256_BLOCK_SIZE  64
#define SHA256_STATE_WORDS 8

void sha256(struct span s, uint8_t ret_digest[static SHA256_SIZE]);
/* The next blocks of a message that is padded elsewhere. */
void sha256_compress(uint32_t state[static SHA256_STATE_WORDS], const uint8_t *blocks,
		     size_t count);
