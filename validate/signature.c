#include "validate/signature.h"

#include <assert.h>
#include <errno.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <secp256k1.h>

#include "common/memory.h"

#define SIGNATURE_SIZE 64
#define HALF_SIZE      32 /* r or s */
#define DER_MAX        (2 + 2 * (2 + HALF_SIZE + 1))
#define DER_SEQUENCE   0x30
#define DER_INTEGER    0x02

/* 1,024 keys: the accounts on this curve that write within minutes of each other. */
#define P256_SETS 256
#define P256_WAYS 4

/* Floor of half the order of each group. */
static const uint8_t k256_half[HALF_SIZE] = {
	0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e, 0x73, 0x57, 0xa4,
	0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
};
static const uint8_t p256_half[HALF_SIZE] = {
	0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
	0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
};

struct p256_key {
	uint8_t point[PUBLIC_KEY_SIZE];
	EVP_PKEY_CTX *context; /* NULL: free */
};

struct p256_set {
	struct p256_key keys[P256_WAYS];
	unsigned next; /* the one that is given up next */
};

struct signatures {
	secp256k1_context *k256;
	struct p256_set p256[P256_SETS];
};

struct signatures *signatures_new(void)
{
	struct signatures *s = xcalloc(1, sizeof(*s));

	_Static_assert(sizeof(secp256k1_pubkey) == sizeof(((struct signature_key *)0)->bytes),
		       "a parsed key fits");
	s->k256 = secp256k1_context_create(SECP256K1_CONTEXT_VERIFY);
	assert(s->k256);
	return s;
}

void signatures_free(struct signatures *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < P256_SETS; i++)
		for (size_t j = 0; j < P256_WAYS; j++)
			EVP_PKEY_CTX_free(s->p256[i].keys[j].context);
	secp256k1_context_destroy(s->k256);
	free(s);
}

/* A context that verifies with this key; NULL if the point is not on the curve. */
static EVP_PKEY_CTX *p256_new(const uint8_t point[static PUBLIC_KEY_SIZE])
{
	EVP_PKEY_CTX *build = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL), *context = NULL;
	EVP_PKEY *key = NULL;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char[]){"prime256v1"},
						 0),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point,
						  PUBLIC_KEY_SIZE),
		OSSL_PARAM_construct_end(),
	};

	if (EVP_PKEY_fromdata_init(build) == 1 &&
	    EVP_PKEY_fromdata(build, &key, EVP_PKEY_PUBLIC_KEY, params) == 1) {
		context = EVP_PKEY_CTX_new(key, NULL);
		if (EVP_PKEY_verify_init(context) != 1) {
			EVP_PKEY_CTX_free(context);
			context = NULL;
		}
	}
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(build);
	return context;
}

static EVP_PKEY_CTX *p256_get(struct signatures *s, const uint8_t point[static PUBLIC_KEY_SIZE])
{
	struct p256_set *set = &s->p256[span_hash(span_of(point, PUBLIC_KEY_SIZE)) % P256_SETS];
	struct p256_key *key;

	for (size_t i = 0; i < P256_WAYS; i++) {
		key = &set->keys[i];
		if (key->context && memcmp(key->point, point, PUBLIC_KEY_SIZE) == 0)
			return key->context;
	}
	key = &set->keys[set->next];
	set->next = (set->next + 1) % P256_WAYS;
	EVP_PKEY_CTX_free(key->context);
	memcpy(key->point, point, PUBLIC_KEY_SIZE);
	key->context = p256_new(point);
	return key->context;
}

int signatures_parse_key(struct signatures *s, const struct public_key *key,
			 struct signature_key *ret)
{
	struct signature_key parsed = {.curve = (uint8_t)key->curve};
	secp256k1_pubkey point;

	if (key->curve == CURVE_P256) {
		if (!p256_get(s, key->point))
			return -EBADMSG;
		memcpy(parsed.bytes, key->point, PUBLIC_KEY_SIZE);
	} else {
		if (!secp256k1_ec_pubkey_parse(s->k256, &point, key->point, PUBLIC_KEY_SIZE))
			return -EBADMSG;
		memcpy(parsed.bytes, &point, sizeof(point));
	}
	*ret = parsed;
	return 0;
}

/* libcrypto takes either s, and more than one form; the protocol takes one. */
static bool is_low_s(const struct signature_key *key, const uint8_t *s)
{
	return memcmp(s, key->curve == CURVE_P256 ? p256_half : k256_half, HALF_SIZE) <= 0;
}

static bool verify_k256(struct signatures *s, const struct signature_key *key,
			const uint8_t digest[static SHA256_SIZE], const uint8_t *compact)
{
	secp256k1_ecdsa_signature signature;
	secp256k1_pubkey point;

	memcpy(&point, key->bytes, sizeof(point));
	return secp256k1_ecdsa_signature_parse_compact(s->k256, &signature, compact) &&
	       secp256k1_ecdsa_verify(s->k256, &signature, digest, &point);
}

/* Appends r or s as a DER INTEGER: no zero bytes before it but one that keeps it positive. */
static size_t put_der_integer(uint8_t *out, const uint8_t *number)
{
	size_t skip = 0, sign, len;

	while (skip < HALF_SIZE - 1 && number[skip] == 0)
		skip++;
	sign = number[skip] >> 7;
	len = HALF_SIZE - skip;
	out[0] = DER_INTEGER;
	out[1] = (uint8_t)(sign + len);
	out[2] = 0;
	memcpy(out + 2 + sign, number + skip, len);
	return 2 + sign + len;
}

static bool verify_p256(struct signatures *s, const struct signature_key *key,
			const uint8_t digest[static SHA256_SIZE], const uint8_t *compact)
{
	EVP_PKEY_CTX *context = p256_get(s, key->bytes);
	uint8_t der[DER_MAX];
	size_t len = 2;

	if (!context)
		return false;
	len += put_der_integer(der + len, compact);
	len += put_der_integer(der + len, compact + HALF_SIZE);
	der[0] = DER_SEQUENCE;
	der[1] = (uint8_t)(len - 2);
	return EVP_PKEY_verify(context, der, len, digest, SHA256_SIZE) == 1;
}

bool signatures_verify_digest(struct signatures *s, const struct signature_key *key,
			      const uint8_t digest[static SHA256_SIZE], struct span signature)
{
	if (signature.len != SIGNATURE_SIZE || !is_low_s(key, signature.ptr + HALF_SIZE))
		return false;
	if (key->curve == CURVE_P256)
		return verify_p256(s, key, digest, signature.ptr);
	return verify_k256(s, key, digest, signature.ptr);
}

bool signatures_verify(struct signatures *s, const struct signature_key *key, struct span message,
		       struct span signature)
{
	uint8_t digest[SHA256_SIZE];

	sha256(message, digest);
	return signatures_verify_digest(s, key, digest, signature);
}

int64_t signatures_memory_bytes(const struct signatures *s)
{
	return memory_block_bytes(s);
}
