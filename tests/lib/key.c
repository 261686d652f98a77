#include "tests/lib/key.h"

#include <assert.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/param_build.h>
#include <secp256k1.h>

#include "common/sha256.h"

#define HALF_SIZE         32 /* r or s */
#define DER_SIGNATURE_MAX 80

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

static EVP_PKEY *p256_private(const struct test_key *k)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *secret = BN_bin2bn(k->secret, sizeof(k->secret), NULL);
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params;

	OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0);
	OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, k->public.point,
					 PUBLIC_KEY_SIZE);
	OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, secret);
	params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_fromdata_init(context);
	EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params);
	assert(key);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(build);
	BN_free(secret);
	EVP_PKEY_CTX_free(context);
	return key;
}

/* OpenSSL gives DER, and either s. */
static void p256_from_der(const uint8_t *der, size_t size, uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)size);
	BIGNUM *order = order_of(CURVE_P256);
	const BIGNUM *r, *s;

	assert(signature);
	ECDSA_SIG_get0(signature, &r, &s);
	BN_bn2binpad(r, ret, HALF_SIZE);
	BN_bn2binpad(s, ret + HALF_SIZE, HALF_SIZE);
	BN_rshift1(order, order);
	if (BN_cmp(s, order) > 0)
		test_signature_flip(CURVE_P256, ret);
	BN_free(order);
	ECDSA_SIG_free(signature);
}

static void sign_p256(const struct test_key *k, const uint8_t digest[static SHA256_SIZE],
		      uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	EVP_PKEY *key = p256_private(k);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key, NULL);
	uint8_t der[DER_SIGNATURE_MAX];
	size_t size = sizeof(der);
	int made;

	EVP_PKEY_sign_init(context);
	made = EVP_PKEY_sign(context, der, &size, digest, SHA256_SIZE);
	assert(made == 1);
	p256_from_der(der, size, ret);
	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(key);
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
