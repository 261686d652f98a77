#include "common/multikey.h"

#include <errno.h>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>
#include <secp256k1.h>

/* The longest form is a bare, uncompressed point: 65 bytes, 89 digits. What is longer is not looked
 * at. */
#define BASE58_TEXT_MAX  100
/* 100 digits have 586 bits. */
#define BASE58_BYTES_MAX 74

#define MULTIBASE_BASE58  'z'
/* First byte and size of an uncompressed point [SEC 1, section 2.3.3]. */
#define UNCOMPRESSED      0x04
#define UNCOMPRESSED_SIZE 65

/* Multicodec varints 0xe7 (secp256k1-pub) and 0x1200 (p256-pub). */
#define CODEC_SIZE 2
static const uint8_t codec_k256[CODEC_SIZE] = {0xe7, 0x01};
static const uint8_t codec_p256[CODEC_SIZE] = {0x80, 0x24};

static const char base58_digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

struct base58_bytes {
	uint8_t bytes[BASE58_BYTES_MAX];
	size_t len;
};

/* number * base + digit, in place; a number is big-endian, from bytes + sizeof - len to the end. */
static void multiply_add(struct base58_bytes *n, unsigned base, unsigned digit)
{
	unsigned carry = digit;

	for (size_t i = 0; i < n->len || carry > 0; i++) {
		uint8_t *at = &n->bytes[BASE58_BYTES_MAX - 1 - i];

		if (i == n->len) {
			*at = 0;
			n->len++;
		}
		carry += *at * base;
		*at = (uint8_t)carry;
		carry >>= 8;
	}
}

/* The digits after the multibase prefix. Leading zero bytes would be digits '1'; no key has any. */
static int base58_decode(struct span text, struct base58_bytes *ret)
{
	ret->len = 0;
	if (text.len == 0 || text.len > BASE58_TEXT_MAX || text.ptr[0] == base58_digits[0])
		return -EBADMSG;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit = memchr(base58_digits, text.ptr[i], sizeof(base58_digits) - 1);

		if (!digit)
			return -EBADMSG;
		multiply_add(ret, 58, (unsigned)(digit - base58_digits));
	}
	return 0;
}

static struct span base58_span(const struct base58_bytes *n)
{
	return span_of(n->bytes + BASE58_BYTES_MAX - n->len, n->len);
}

/* Divides by 58, in place, and gives the remainder. */
static unsigned divide(uint8_t *bytes, size_t len)
{
	unsigned rest = 0;

	for (size_t i = 0; i < len; i++) {
		rest = rest << 8 | bytes[i];
		bytes[i] = (uint8_t)(rest / 58);
		rest %= 58;
	}
	return rest;
}

static int multibase_decode(struct span text, struct base58_bytes *ret)
{
	if (text.len == 0 || text.ptr[0] != MULTIBASE_BASE58)
		return -EBADMSG;
	return base58_decode(span_of(text.ptr + 1, text.len - 1), ret);
}

static int k256_compress(struct span point, uint8_t ret[static PUBLIC_KEY_SIZE])
{
	secp256k1_pubkey key;
	size_t size = PUBLIC_KEY_SIZE;

	if (!secp256k1_ec_pubkey_parse(secp256k1_context_static, &key, point.ptr, point.len))
		return -EBADMSG;
	secp256k1_ec_pubkey_serialize(secp256k1_context_static, ret, &size, &key,
				      SECP256K1_EC_COMPRESSED);
	return 0;
}

static int p256_compress(struct span point, uint8_t ret[static PUBLIC_KEY_SIZE])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *p = group ? EC_POINT_new(group) : NULL;
	bool ok;

	/* A refused point leaves nothing on the error queue, where TLS connections of this thread
	 * look. */
	ERR_set_mark();
	ok = p && EC_POINT_oct2point(group, p, point.ptr, point.len, NULL) &&
	     EC_POINT_point2oct(group, p, POINT_CONVERSION_COMPRESSED, ret, PUBLIC_KEY_SIZE,
				NULL) == PUBLIC_KEY_SIZE;
	ERR_pop_to_mark();
	EC_POINT_free(p);
	EC_GROUP_free(group);
	return ok ? 0 : -EBADMSG;
}

/* Both libraries check the rest of the form, but take the hybrid one (0x06, 0x07), which is no form
 * of a DID document. */
static bool has_point_form(struct span point)
{
	return point.len == PUBLIC_KEY_SIZE ||
	       (point.len == UNCOMPRESSED_SIZE && point.ptr[0] == UNCOMPRESSED);
}

static int key_from_point(enum curve curve, struct span point, struct public_key *ret)
{
	struct public_key key = {.curve = curve};
	int error;

	if (!has_point_form(point))
		return -EBADMSG;
	error = curve == CURVE_K256 ? k256_compress(point, key.point)
				    : p256_compress(point, key.point);
	if (error < 0)
		return error;
	*ret = key;
	return 0;
}

int multikey_parse(struct span text, struct public_key *ret)
{
	struct base58_bytes decoded;
	struct span all, point;
	enum curve curve;

	if (multibase_decode(text, &decoded) < 0)
		return -EBADMSG;
	all = base58_span(&decoded);
	if (all.len != CODEC_SIZE + PUBLIC_KEY_SIZE)
		return -EBADMSG;
	if (memcmp(all.ptr, codec_k256, CODEC_SIZE) == 0)
		curve = CURVE_K256;
	else if (memcmp(all.ptr, codec_p256, CODEC_SIZE) == 0)
		curve = CURVE_P256;
	else
		return -EBADMSG;
	point = span_of(all.ptr + CODEC_SIZE, PUBLIC_KEY_SIZE);
	return key_from_point(curve, point, ret);
}

int did_key_parse(struct span text, struct public_key *ret)
{
	struct span method = SPAN_LITERAL("did:key:");

	if (!span_starts_with(text, method))
		return -EBADMSG;
	return multikey_parse(span_of(text.ptr + method.len, text.len - method.len), ret);
}

int legacy_key_parse(enum curve curve, struct span text, struct public_key *ret)
{
	struct base58_bytes decoded;

	if (multibase_decode(text, &decoded) < 0)
		return -EBADMSG;
	return key_from_point(curve, base58_span(&decoded), ret);
}

void multikey_format(const struct public_key *key, struct buf *out)
{
	uint8_t bytes[CODEC_SIZE + PUBLIC_KEY_SIZE], text[BASE58_TEXT_MAX];
	size_t at = sizeof(text), zeros = 0;

	memcpy(bytes, key->curve == CURVE_K256 ? codec_k256 : codec_p256, CODEC_SIZE);
	memcpy(bytes + CODEC_SIZE, key->point, PUBLIC_KEY_SIZE);
	/* Bytes that became zero are left out; when none is left, all digits are there. */
	while (zeros < sizeof(bytes)) {
		text[--at] = (uint8_t)base58_digits[divide(bytes + zeros, sizeof(bytes) - zeros)];
		while (zeros < sizeof(bytes) && bytes[zeros] == 0)
			zeros++;
	}
	buf_put_u8(out, MULTIBASE_BASE58);
	buf_append(out, span_of(text + at, sizeof(text) - at));
}
