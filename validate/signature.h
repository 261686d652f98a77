/*
 * Signatures of commits, on both curves [cryptography]: 64 bytes, r and s big-endian, s in the
 * lower half of the group's order, over SHA-256 of the message, once.
 *
 * Parsing a key costs up to as much as checking a signature, so keys are kept parsed: a secp256k1
 * key in 64 bytes, wherever its owner puts it; P-256 keys, of which OpenSSL takes 2 KB each, in a
 * cache in here.
 */
#pragma once

#include "common/multikey.h"
#include "common/sha256.h"

/* A value: may be copied, and compared with memcmp. */
struct signature_key {
	uint8_t curve;     /* enum curve */
	uint8_t bytes[64]; /* as libsecp256k1 keeps it; P-256: the compressed point, then zeros */
};

struct signatures;

struct signatures *signatures_new(void);
void signatures_free(struct signatures *s);
/* -EBADMSG if the point is not on its curve. */
int signatures_parse_key(struct signatures *s, const struct public_key *key,
			 struct signature_key *ret) MUST_CHECK;
bool signatures_verify(struct signatures *s, const struct signature_key *key, struct span message,
		       struct span signature);
/* The same, of a message that is hashed already. */
bool signatures_verify_digest(struct signatures *s, const struct signature_key *key,
			      const uint8_t digest[static SHA256_SIZE], struct span signature);
/* The cached P-256 keys are OpenSSL's, and in its account: about 3 KB each. */
int64_t signatures_memory_bytes(const struct signatures *s);
