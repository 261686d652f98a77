/* SHA-256 through OpenSSL, its method fetched once and one context reused (a third of the cost of
 * fetching each time). */
#pragma once

#include "common/bytes.h"

#define SHA256_SIZE 32

void sha256(struct span s, uint8_t ret_digest[static SHA256_SIZE]);
