/*
 * Public keys as DID documents write them (cryptography specification): Multikey and did:key
 * (multibase z, multicodec, compressed point), and the two legacy verification method types, whose
 * multibase holds a bare point, compressed or not.
 *
 * Whether the point is on its curve is checked here, once: later users may rely on it.
 */
#pragma once

#include "common/bytes.h"

#define PUBLIC_KEY_SIZE 33

enum curve {
	CURVE_K256 = 1, /* secp256k1, ES256K */
	CURVE_P256 = 2, /* NIST P-256, ES256 */
};

struct public_key {
	enum curve curve;
	uint8_t point[PUBLIC_KEY_SIZE]; /* compressed */
};

/* "zQ3sh..." or "zDn...". -EBADMSG for another base, codec or length, or a point off the curve. */
int multikey_parse(struct span text, struct public_key *ret) MUST_CHECK;
/* "did:key:" and a Multikey. */
int did_key_parse(struct span text, struct public_key *ret) MUST_CHECK;
/* publicKeyMultibase of EcdsaSecp256k1VerificationKey2019 (K256) or
 * EcdsaSecp256r1VerificationKey2019 (P256). */
int legacy_key_parse(enum curve curve, struct span text, struct public_key *ret) MUST_CHECK;
/* Appends the Multikey text. */
void multikey_format(const struct public_key *key, struct buf *out);
