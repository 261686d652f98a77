#include "validate/signature.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include "common/openssl_memory.h"
#include "tests/lib/json.h"
#include "tests/lib/key.h"
#include "tests/test.h"

#define MESSAGE SPAN_LITERAL("a message")

/* So that what OpenSSL holds is counted. */
__attribute__((constructor)) static void before_anything(void)
{
	(void)openssl_memory_init();
}

static const enum curve curves[] = {CURVE_K256, CURVE_P256};

static void parse(struct signatures *s, const struct public_key *public, struct signature_key *ret)
{
	CHECK_INT(signatures_parse_key(s, public, ret), 0);
}

TEST(what_a_key_signs_it_verifies)
{
	struct signatures *s = signatures_new();
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct signature_key key, other;
	struct test_key k, o;
	char seed[32];

	for (unsigned i = 0; i < 40; i++) {
		enum curve curve = curves[i % 2];

		snprintf(seed, sizeof(seed), "key %u", i);
		test_key_make(curve, seed, &k);
		test_key_make(curve, "another", &o);
		parse(s, &k.public, &key);
		parse(s, &o.public, &other);
		test_key_sign(&k, MESSAGE, sig);
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		CHECK(!signatures_verify(s, &other, MESSAGE, span_of(sig, sizeof(sig))));
		CHECK(!signatures_verify(s, &key, SPAN_LITERAL("a massage"),
					 span_of(sig, sizeof(sig))));
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig) - 1)));
		CHECK(!signatures_verify(s, &key, MESSAGE, SPAN_EMPTY));
	}
	signatures_free(s);
}

TEST(no_bit_of_a_signature_can_be_changed)
{
	struct signatures *s = signatures_new();
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct signature_key key;
	struct test_key k;

	for (size_t c = 0; c < ARRAY_SIZE(curves); c++) {
		test_key_make(curves[c], "bits", &k);
		parse(s, &k.public, &key);
		test_key_sign(&k, MESSAGE, sig);
		for (size_t bit = 0; bit < 8 * sizeof(sig); bit++) {
			sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
			sig[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
	}
	signatures_free(s);
}

TEST(high_s_is_refused_on_both_curves)
{
	struct signatures *s = signatures_new();
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct signature_key key;
	struct test_key k;

	for (size_t c = 0; c < ARRAY_SIZE(curves); c++) {
		test_key_make(curves[c], "high", &k);
		parse(s, &k.public, &key);
		test_key_sign(&k, MESSAGE, sig);
		test_signature_flip(curves[c], sig);
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		test_signature_flip(curves[c], sig);
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
	}
	signatures_free(s);
}

/* A key, and its signature of the message with just this s: for a number k of our choice, r is the
 * x of k times the generator, and the secret is (s k - hash) / r. */
static void make_with_s(enum curve curve, struct span message, const BIGNUM *s,
			struct public_key *ret_key, uint8_t ret_sig[static TEST_SIGNATURE_SIZE])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(curve == CURVE_K256 ? NID_secp256k1
									 : NID_X9_62_prime256v1);
	const BIGNUM *order = EC_GROUP_get0_order(group);
	BIGNUM *k = BN_new(), *r = BN_new(), *secret = BN_new(), *hash;
	EC_POINT *point = EC_POINT_new(group);
	uint8_t digest[SHA256_SIZE];
	BN_CTX *context = BN_CTX_new();

	sha256(message, digest);
	hash = BN_bin2bn(digest, sizeof(digest), NULL);
	BN_set_word(k, 12345);
	EC_POINT_mul(group, point, k, NULL, NULL, context);
	EC_POINT_get_affine_coordinates(group, point, r, NULL, context);
	BN_nnmod(r, r, order, context);
	BN_mod_mul(secret, s, k, order, context);
	BN_mod_sub(secret, secret, hash, order, context);
	BN_mod_inverse(k, r, order, context);
	BN_mod_mul(secret, secret, k, order, context);
	EC_POINT_mul(group, point, secret, NULL, NULL, context);
	ret_key->curve = curve;
	EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, ret_key->point,
			   PUBLIC_KEY_SIZE, context);
	BN_bn2binpad(r, ret_sig, 32);
	BN_bn2binpad(s, ret_sig + 32, 32);
	BN_free(k);
	BN_free(r);
	BN_free(secret);
	BN_free(hash);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	BN_CTX_free(context);
}

/* The largest s that is low, and the next. */
TEST(s_ends_at_half_the_order)
{
	static const char *const halves[] = {
		"7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0",
		"7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8",
	};
	struct signatures *s = signatures_new();

	for (size_t c = 0; c < ARRAY_SIZE(curves); c++) {
		uint8_t sig[TEST_SIGNATURE_SIZE];
		struct public_key public;
		struct signature_key key;
		BIGNUM *half = NULL;

		BN_hex2bn(&half, halves[c]);
		make_with_s(curves[c], MESSAGE, half, &public, sig);
		parse(s, &public, &key);
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		BN_add_word(half, 1);
		make_with_s(curves[c], MESSAGE, half, &public, sig);
		parse(s, &public, &key);
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		BN_free(half);
	}
	signatures_free(s);
}

TEST(zero_and_the_order_are_no_numbers_of_a_signature)
{
	static const char *const orders[] = {
		"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
	};
	struct signatures *s = signatures_new();
	struct signature_key key;
	struct test_key k;

	for (size_t c = 0; c < ARRAY_SIZE(curves); c++) {
		uint8_t sig[TEST_SIGNATURE_SIZE] = {0};
		struct buf order;

		buf_init(&order, KIB(1));
		test_hex(orders[c], &order);
		test_key_make(curves[c], "zero", &k);
		parse(s, &k.public, &key);
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		sig[31] = 1;
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		sig[63] = 1;
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		memcpy(sig, order.ptr, order.len);
		CHECK(!signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
		buf_release(&order);
	}
	signatures_free(s);
}

TEST(a_point_off_the_curve_is_no_key)
{
	struct signatures *s = signatures_new();
	struct signature_key key;

	for (size_t c = 0; c < ARRAY_SIZE(curves); c++) {
		struct public_key public = {.curve = curves[c], .point = {2}};
		struct test_key k;
		unsigned refused = 0;

		/* About half of all x have no point. */
		for (unsigned x = 1; x < 200; x++) {
			public.point[32] = (uint8_t)x;
			refused += signatures_parse_key(s, &public, &key) < 0;
		}
		CHECK(refused > 20 && refused < 180);
		test_key_make(curves[c], "form", &k);
		k.public.point[0] = 4;
		CHECK(signatures_parse_key(s, &k.public, &key) < 0);
	}
	signatures_free(s);
}

/* More P-256 keys than the cache holds, each used again later. */
TEST(many_p256_keys)
{
	enum { COUNT = 1500 };
	static struct test_key keys[COUNT];
	struct signatures *s = signatures_new();
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct signature_key key;
	char seed[32];
	int64_t before, held;

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(seed, sizeof(seed), "many %u", i);
		test_key_make(CURVE_P256, seed, &keys[i]);
	}
	before = openssl_memory_bytes(NULL);
	for (unsigned i = 0; i < COUNT; i++)
		parse(s, &keys[i].public, &key);
	/* Once, and by OpenSSL. */
	held = openssl_memory_bytes(NULL) - before;
	CHECK(held > (int64_t)MIB(1) && held < (int64_t)MIB(5));
	CHECK(signatures_memory_bytes(s) < (int64_t)KIB(128));
	for (unsigned i = 0; i < COUNT; i += 100) {
		parse(s, &keys[i].public, &key);
		test_key_sign(&keys[i], MESSAGE, sig);
		CHECK(signatures_verify(s, &key, MESSAGE, span_of(sig, sizeof(sig))));
	}
	signatures_free(s);
}

static void check_fixture(struct signatures *s, const json_t *fixture)
{
	bool is_k256 = strcmp(json_get_text(fixture, "algorithm"), "ES256K") == 0;
	struct public_key by_did, by_multibase;
	struct signature_key key;
	struct buf message, sig;

	buf_init(&message, KIB(4));
	buf_init(&sig, KIB(4));
	json_base64(json_get_text(fixture, "messageBase64"), &message);
	json_base64(json_get_text(fixture, "signatureBase64"), &sig);
	CHECK_INT(did_key_parse(span_str(json_get_text(fixture, "publicKeyDid")), &by_did), 0);
	CHECK_INT(legacy_key_parse(is_k256 ? CURVE_K256 : CURVE_P256,
				   span_str(json_get_text(fixture, "publicKeyMultibase")),
				   &by_multibase),
		  0);
	CHECK_INT(memcmp(&by_did, &by_multibase, sizeof(by_did)), 0);
	parse(s, &by_did, &key);
	CHECK_INT(signatures_verify(s, &key, buf_span(&message), buf_span(&sig)),
		  json_is_true(json_object_get(fixture, "validSignature")));
	buf_release(&message);
	buf_release(&sig);
}

TEST(signature_fixtures)
{
	struct signatures *s;
	json_t *all;

	if (!test_vectors())
		SKIP("no interop files");
	s = signatures_new();
	all = json_vectors("interop/crypto/signature-fixtures.json");
	CHECK_INT(json_array_size(all), 6);
	for (size_t i = 0; i < json_array_size(all); i++)
		check_fixture(s, json_array_get(all, i));
	json_decref(all);
	signatures_free(s);
}
