#include "common/multikey.h"
#include "tests/test.h"

#include <errno.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <secp256k1.h>

/* A pair of the DID specification: the same key in both forms. */
#define K256_MULTIKEY "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
#define K256_UNCOMPRESSED                                                                          \
	"zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9G" \
	"R"
#define P256_MULTIKEY "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"

static bool keys_equal(const struct public_key *a, const struct public_key *b)
{
	return a->curve == b->curve && memcmp(a->point, b->point, PUBLIC_KEY_SIZE) == 0;
}

/* multikey_format, as a C string in ret. */
static const char *formatted(const struct public_key *key, char ret[static 64])
{
	struct buf b;

	buf_init(&b, 64);
	multikey_format(key, &b);
	CHECK_INT(span_to_str(buf_span(&b), ret, 64), 0);
	buf_release(&b);
	return ret;
}

/* Any bytes as multibase base58btc, by big-number arithmetic. */
static void put_base58(struct span bytes, struct buf *out)
{
	static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	BIGNUM *n = BN_bin2bn(bytes.ptr, (int)bytes.len, NULL);
	uint8_t text[256];
	size_t at = sizeof(text);

	while (!BN_is_zero(n))
		text[--at] = (uint8_t)digits[BN_div_word(n, 58)];
	BN_free(n);
	for (size_t i = 0; i < bytes.len && bytes.ptr[i] == 0; i++)
		text[--at] = '1';
	buf_put_u8(out, 'z');
	buf_append(out, span_of(text + at, sizeof(text) - at));
}

TEST(both_curves_parse_and_format)
{
	static const struct {
		const char *text;
		enum curve curve;
	} cases[] = {{K256_MULTIKEY, CURVE_K256}, {P256_MULTIKEY, CURVE_P256}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct public_key key, did_key;
		char did[80], text[64];

		CHECK_INT(multikey_parse(span_str(cases[i].text), &key), 0);
		CHECK_INT(key.curve, cases[i].curve);
		CHECK_STR(formatted(&key, text), cases[i].text);
		snprintf(did, sizeof(did), "did:key:%s", cases[i].text);
		CHECK_INT(did_key_parse(span_str(did), &did_key), 0);
		CHECK(keys_equal(&key, &did_key));
	}
}

TEST(legacy_form_is_the_same_point)
{
	struct public_key key, compressed, uncompressed;
	struct buf b;

	CHECK_INT(multikey_parse(SPAN_LITERAL(K256_MULTIKEY), &key), 0);
	CHECK_INT(legacy_key_parse(CURVE_K256, SPAN_LITERAL(K256_UNCOMPRESSED), &uncompressed), 0);
	CHECK(keys_equal(&key, &uncompressed));
	buf_init(&b, 128);
	put_base58(span_of(key.point, PUBLIC_KEY_SIZE), &b);
	CHECK_INT(legacy_key_parse(CURVE_K256, buf_span(&b), &compressed), 0);
	CHECK(keys_equal(&key, &compressed));
	buf_release(&b);
}

TEST(bad_texts_are_refused)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
		{"empty", ""},
		{"only the base", "z"},
		{"other base", "mQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"},
		{"no base", "Q3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"},
		{"one short", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribS"},
		{"one more", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF1"},
		{"leading zero", "z1Q3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"},
		{"digit 0", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9prib0F"},
		{"digit O", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribOF"},
		{"digit l", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9priblF"},
		{"blank", "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF "},
		{"bare point", "z25z9DTpsiYYJKGsWmSPJK2NFN8PcJtZig12K59UgW7q5t"},
		{"uncompressed point", K256_UNCOMPRESSED},
		{"Ed25519", "z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK"},
		{"did:key", "did:key:" K256_MULTIKEY},
	};
	struct public_key key = {.curve = CURVE_P256};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (multikey_parse(span_str(cases[i].text), &key) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s was taken", cases[i].name);
	CHECK_INT(did_key_parse(SPAN_LITERAL(K256_MULTIKEY), &key), -EBADMSG);
	CHECK_INT(did_key_parse(SPAN_LITERAL("did:key:"), &key), -EBADMSG);
	CHECK_INT(did_key_parse(SPAN_LITERAL("DID:key:" K256_MULTIKEY), &key), -EBADMSG);
	CHECK_INT(key.curve, CURVE_P256);
}

TEST(long_texts_are_refused_unread)
{
	uint8_t text[100000];
	struct public_key key;

	memset(text, 'z', sizeof(text));
	for (size_t len = 80; len < 120; len++) {
		CHECK_INT(multikey_parse(span_of(text, len), &key), -EBADMSG);
		CHECK_INT(legacy_key_parse(CURVE_K256, span_of(text, len), &key), -EBADMSG);
	}
	CHECK_INT(legacy_key_parse(CURVE_P256, span_of(text, sizeof(text)), &key), -EBADMSG);
}

/* Bare points, as hex. x = 5 is on no point of secp256k1, x = 1 on none of P-256. */
static const struct {
	const char *name;
	enum curve curve;
	const char *hex;
	bool good;
} points[] = {
	{"generator of secp256k1", CURVE_K256,
	 "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", true},
	{"generator of P-256", CURVE_P256,
	 "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296", true},
	{"P-256, uncompressed", CURVE_P256,
	 "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
	 "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
	 true},
	{"P-256, hybrid", CURVE_P256,
	 "076b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
	 "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
	 false},
	{"P-256, other y", CURVE_P256,
	 "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
	 "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f6",
	 false},
	{"secp256k1, uncompressed", CURVE_K256,
	 "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	 "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
	 true},
	{"secp256k1, hybrid", CURVE_K256,
	 "0679be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	 "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
	 false},
	{"secp256k1, other y", CURVE_K256,
	 "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
	 "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b9",
	 false},
	{"secp256k1, off the curve", CURVE_K256,
	 "020000000000000000000000000000000000000000000000000000000000000005", false},
	{"P-256, off the curve", CURVE_P256,
	 "020000000000000000000000000000000000000000000000000000000000000001", false},
	{"secp256k1, x over the field", CURVE_K256,
	 "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", false},
	{"P-256, x over the field", CURVE_P256,
	 "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", false},
	{"uncompressed without y", CURVE_K256,
	 "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798", false},
	{"unknown form", CURVE_P256,
	 "056b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296", false},
	{"one byte short", CURVE_K256,
	 "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f817", false},
};

TEST(points_must_be_on_their_curve)
{
	for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
		struct public_key key = {0};
		struct buf point, text;

		buf_init(&point, 128);
		buf_init(&text, 128);
		test_hex(points[i].hex, &point);
		put_base58(buf_span(&point), &text);
		if ((legacy_key_parse(points[i].curve, buf_span(&text), &key) == 0) !=
		    points[i].good)
			test_fail(__FILE__, __LINE__, "%s", points[i].name);
		else if (points[i].good)
			CHECK(memcmp(key.point + 1, point.ptr + 1, PUBLIC_KEY_SIZE - 1) == 0);
		CHECK_INT(ERR_peek_error(), 0);
		buf_release(&point);
		buf_release(&text);
	}
}

/* With its multicodec in front, the same point must be refused too. */
TEST(multikey_points_must_be_on_their_curve)
{
	static const char *const cases[] = {
		"e701 020000000000000000000000000000000000000000000000000000000000000005",
		"8024 020000000000000000000000000000000000000000000000000000000000000001",
		"e701 040000000000000000000000000000000000000000000000000000000000000001",
		"8024 0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
		"ed01 0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct public_key key;
		struct buf bytes, text;

		buf_init(&bytes, 128);
		buf_init(&text, 128);
		test_hex(cases[i], &bytes);
		put_base58(buf_span(&bytes), &text);
		CHECK_INT(multikey_parse(buf_span(&text), &key), -EBADMSG);
		buf_release(&bytes);
		buf_release(&text);
	}
}

static void k256_public(struct span secret, struct public_key *ret)
{
	secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	secp256k1_pubkey key;
	size_t size = PUBLIC_KEY_SIZE;

	ret->curve = CURVE_K256;
	CHECK_INT(secret.len, 32);
	CHECK(secp256k1_ec_pubkey_create(context, &key, secret.ptr));
	CHECK(secp256k1_ec_pubkey_serialize(context, ret->point, &size, &key,
					    SECP256K1_EC_COMPRESSED));
	secp256k1_context_destroy(context);
}

static void p256_public(struct span secret, struct public_key *ret)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *n = BN_bin2bn(secret.ptr, (int)secret.len, NULL);

	ret->curve = CURVE_P256;
	CHECK(EC_POINT_mul(group, point, n, NULL, NULL, NULL));
	CHECK_INT(EC_POINT_point2oct(group, point, POINT_CONVERSION_COMPRESSED, ret->point,
				     PUBLIC_KEY_SIZE, NULL),
		  PUBLIC_KEY_SIZE);
	BN_free(n);
	EC_POINT_free(point);
	EC_GROUP_free(group);
}

TEST(random_keys_round_trip)
{
	for (unsigned i = 0; i < 200; i++) {
		struct public_key key, parsed;
		uint64_t secret[4] = {test_random() >> 1, test_random(), test_random(),
				      test_random() | 1};
		char text[64];

		if (i & 1)
			k256_public(span_of(secret, sizeof(secret)), &key);
		else
			p256_public(span_of(secret, sizeof(secret)), &key);
		CHECK_INT(multikey_parse(span_str(formatted(&key, text)), &parsed), 0);
		CHECK(keys_equal(&key, &parsed));
	}
}

/* NULL: there are no fixtures here. */
static json_t *load_fixtures(const char *name)
{
	char path[4200];

	if (!test_vectors())
		return NULL;
	snprintf(path, sizeof(path), "%s/interop/crypto/%s.json", test_vectors(), name);
	return json_load_file(path, 0, NULL);
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

TEST(interop_signature_fixtures_have_one_key_in_two_forms)
{
	json_t *fixtures = load_fixtures("signature-fixtures");

	if (!fixtures)
		SKIP("no test vectors");
	CHECK_INT(json_array_size(fixtures), 6);
	for (size_t i = 0; i < json_array_size(fixtures); i++) {
		const json_t *one = json_array_get(fixtures, i);
		enum curve curve = strcmp(text_of(one, "algorithm"), "ES256") == 0 ? CURVE_P256
										   : CURVE_K256;
		struct public_key key, legacy;
		char text[64];

		CHECK_INT(did_key_parse(span_str(text_of(one, "publicKeyDid")), &key), 0);
		CHECK_INT(legacy_key_parse(curve, span_str(text_of(one, "publicKeyMultibase")),
					   &legacy),
			  0);
		CHECK_INT(key.curve, curve);
		CHECK(keys_equal(&key, &legacy));
		CHECK_STR(formatted(&key, text), text_of(one, "publicKeyDid") + strlen("did:key:"));
	}
	json_decref(fixtures);
}

static void check_did_key(const struct public_key *key, const json_t *fixture)
{
	const char *did = text_of(fixture, "publicDidKey");
	struct public_key parsed;
	char text[64];

	CHECK_STR(formatted(key, text), did + strlen("did:key:"));
	CHECK_INT(did_key_parse(span_str(did), &parsed), 0);
	CHECK(keys_equal(key, &parsed));
}

TEST(interop_k256_did_keys)
{
	json_t *fixtures = load_fixtures("w3c_didkey_K256");

	if (!fixtures)
		SKIP("no test vectors");
	CHECK_INT(json_array_size(fixtures), 5);
	for (size_t i = 0; i < json_array_size(fixtures); i++) {
		const json_t *one = json_array_get(fixtures, i);
		struct public_key key;
		struct buf secret;

		buf_init(&secret, 32);
		test_hex(text_of(one, "privateKeyBytesHex"), &secret);
		k256_public(buf_span(&secret), &key);
		check_did_key(&key, one);
		buf_release(&secret);
	}
	json_decref(fixtures);
}

/* Without multibase prefix, by big-number arithmetic. */
static void base58_secret(const char *text, uint8_t ret[static 32])
{
	static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
	BIGNUM *n = BN_new();

	BN_zero(n);
	for (; *text; text++) {
		BN_mul_word(n, 58);
		BN_add_word(n, (BN_ULONG)(strchr(digits, *text) - digits));
	}
	CHECK_INT(BN_bn2binpad(n, ret, 32), 32);
	BN_free(n);
}

TEST(interop_p256_did_keys)
{
	json_t *fixtures = load_fixtures("w3c_didkey_P256");

	if (!fixtures)
		SKIP("no test vectors");
	CHECK_INT(json_array_size(fixtures), 1);
	for (size_t i = 0; i < json_array_size(fixtures); i++) {
		const json_t *one = json_array_get(fixtures, i);
		struct public_key key;
		uint8_t secret[32];

		base58_secret(text_of(one, "privateKeyBytesBase58"), secret);
		p256_public(span_of(secret, sizeof(secret)), &key);
		check_did_key(&key, one);
	}
	json_decref(fixtures);
}
