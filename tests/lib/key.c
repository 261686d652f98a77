#include "tests/lib/key.h"

#include <assert.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <secp256k1.h>

#include "common/sha256.h"

#define HALF_SIZE 32 /* r or s */

static const char k256_order[] = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
static const char p256_order[] = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";

static const secp256k1_context *k256_context(void)
{
	static secp256k1_context *context;

	if (!context)
		context = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
	return context;
}

static BIGNUM *order_of(enum curve curve)
{
	BIGNUM *order = NULL;

	BN_hex2bn(&order, curve == CURVE_K256 ? k256_order : p256_order);
	assert(order);
	return order;
}

static void make_k256(struct test_key *k)
{
	secp256k1_pubkey public;
	size_t size = PUBLIC_KEY_SIZE;
	int made;

	made = secp256k1_ec_pubkey_create(k256_context(), &public, k->secret);
	assert(made);
	secp256k1_ec_pubkey_serialize(k256_context(), k->public.point, &size, &public,
				      SECP256K1_EC_COMPRESSED);
}

static void make_p256(struct test_key *k)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *secret = BN_bin2bn(k->secret, sizeof(k->secret), NULL);
	size_t size;
	int made;

	made = EC_POINT_mul(group, point, secret, NULL, NULL, NULL);
	assert(made);
	size = EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, k->public.point,
				  PUBLIC_KEY_SIZE, NULL);
	assert(size == PUBLIC_KEY_SIZE);
	BN_free(secret);
	EC_POINT_free(point);
	EC_GROUP_free(group);
}

void test_key_make(enum curve curve, const char *seed, struct test_key *ret)
{
	*ret = (struct test_key){.public.curve = curve};
	sha256(span_str(seed), ret->secret);
	if (curve == CURVE_K256)
		make_k256(ret);
	else
		make_p256(ret);
}

void test_signature_flip(enum curve curve, uint8_t signature[static TEST_SIGNATURE_SIZE])
{
	BIGNUM *order = order_of(curve), *s = BN_bin2bn(signature + HALF_SIZE, HALF_SIZE, NULL);

	BN_sub(s, order, s);
	BN_bn2binpad(s, signature + HALF_SIZE, HALF_SIZE);
	BN_free(s);
	BN_free(order);
}

static void sign_k256(const struct test_key *k, const uint8_t digest[static SHA256_SIZE],
		      uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	secp256k1_ecdsa_signature signature;
	int made;

	made = secp256k1_ecdsa_sign(k256_context(), &signature, digest, k->secret, NULL, NULL);
	assert(made);
	secp256k1_ecdsa_signature_serialize_compact(k256_context(), ret, &signature);
}

/* A number for each message and key, as RFC 6979 wants it though not made as it says: the same
 * message has the same signature in every run. */
static BIGNUM *p256_nonce(const struct test_key *k, const uint8_t digest[static SHA256_SIZE])
{
	uint8_t seed[2 * SHA256_SIZE], nonce[SHA256_SIZE];

	memcpy(seed, k->secret, SHA256_SIZE);
	memcpy(seed + SHA256_SIZE, digest, SHA256_SIZE);
	sha256(span_of(seed, sizeof(seed)), nonce);
	return BN_bin2bn(nonce, sizeof(nonce), NULL);
}

/* ECDSA by its definition [FIPS 186-5, section 6.4.1]: OpenSSL's own takes a random nonce. */
static void sign_p256(const struct test_key *k, const uint8_t digest[static SHA256_SIZE],
		      uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	static EC_GROUP *group;
	static BN_CTX *context;
	BIGNUM *nonce = p256_nonce(k, digest), *r = BN_new(), *s = BN_new(), *half = BN_new();
	BIGNUM *secret = BN_bin2bn(k->secret, sizeof(k->secret), NULL);
	BIGNUM *message = BN_bin2bn(digest, SHA256_SIZE, NULL);
	const BIGNUM *order;
	EC_POINT *point;
	int ok;

	if (!group) {
		group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
		context = BN_CTX_new();
	}
	order = EC_GROUP_get0_order(group);
	point = EC_POINT_new(group);
	ok = EC_POINT_mul(group, point, nonce, NULL, NULL, context) &&
	     EC_POINT_get_affine_coordinates(group, point, r, NULL, context) &&
	     BN_nnmod(r, r, order, context) && BN_mod_mul(s, r, secret, order, context) &&
	     BN_mod_add(s, s, message, order, context) &&
	     BN_mod_inverse(nonce, nonce, order, context) &&
	     BN_mod_mul(s, s, nonce, order, context) && BN_rshift1(half, order);
	assert(ok);
	if (BN_cmp(s, half) > 0)
		BN_sub(s, order, s);
	BN_bn2binpad(r, ret, HALF_SIZE);
	BN_bn2binpad(s, ret + HALF_SIZE, HALF_SIZE);
	EC_POINT_free(point);
	BN_free(nonce);
	BN_free(r);
	BN_free(s);
	BN_free(half);
	BN_free(secret);
	BN_free(message);
}

void test_key_sign(const struct test_key *k, struct span message,
		   uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	uint8_t digest[SHA256_SIZE];

	sha256(message, digest);
	if (k->public.curve == CURVE_K256)
		sign_k256(k, digest, ret);
	else
		sign_p256(k, digest, ret);
}
