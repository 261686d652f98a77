/* SHA-256 through OpenSSL. For many short messages see sha256_many.h. */
#pragma once

#include "common/bytes.h"

#define SHA256_SIZE 32

void sha256(struct span s, uint8_t ret_digest[static SHA256_SIZE]);
