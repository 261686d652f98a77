/*
 * Signing keys for tests, on both curves, made from a seed: the same seed gives the same key in
 * every run. Nothing here is fit for secrets.
 */
#pragma once

#include "common/multikey.h"

#define TEST_SIGNATURE_SIZE 64

struct test_key {
	uint8_t secret[32];
	struct public_key public;
};

void test_key_make(enum curve curve, const char *seed, struct test_key *ret);
/* ECDSA over SHA-256 of the message: r and s, big-endian, s in the lower half [cryptography]. The
 * same message has the same signature. */
void test_key_sign(const struct test_key *k, struct span message,
		   uint8_t ret[static TEST_SIGNATURE_SIZE]);
/* Replaces s by n - s: the other signature that the mathematics allows and the protocol does not.
 */
void test_signature_flip(enum curve curve, uint8_t signature[static TEST_SIGNATURE_SIZE]);
