#include "common/cid.h"

#include <assert.h>
#include <errno.h>

/* Version 1, and SHA-256 (0x12) with 32 bytes, around the codec. */
enum { CID_VERSION = 0x01, CID_HASH = 0x12 };

/* Offsets of the binary form. */
enum { AT_VERSION, AT_CODEC, AT_HASH, AT_HASH_SIZE, AT_DIGEST };

/* 36 bytes in base32, 58 digits, leave the lowest 2 bits of the last digit over. */
#define PAD_BITS 2

int cid_decode(struct span binary, struct cid *ret)
{
	const uint8_t *b = binary.ptr;

	if (binary.len != CID_SIZE || b[AT_VERSION] != CID_VERSION || b[AT_HASH] != CID_HASH ||
	    b[AT_HASH_SIZE] != SHA256_SIZE)
		return -EBADMSG;
	if (b[AT_CODEC] != CID_DAG_CBOR && b[AT_CODEC] != CID_RAW)
		return -EBADMSG;
	ret->codec = b[AT_CODEC];
	memcpy(ret->digest, b + AT_DIGEST, SHA256_SIZE);
	return 0;
}

int cid_decode_dag_cbor(struct span binary, struct cid *ret)
{
	if (binary.len != CID_SIZE || binary.ptr[AT_CODEC] != CID_DAG_CBOR)
		return -EBADMSG;
	return cid_decode(binary, ret);
}

void cid_encode(const struct cid *c, uint8_t ret[static CID_SIZE])
{
	ret[AT_VERSION] = CID_VERSION;
	ret[AT_CODEC] = c->codec;
	ret[AT_HASH] = CID_HASH;
	ret[AT_HASH_SIZE] = SHA256_SIZE;
	memcpy(ret + AT_DIGEST, c->digest, SHA256_SIZE);
}

/* -1 for what is no lower-case base32 digit. */
static int base32_value(uint8_t c)
{
	if (c >= 'a' && c <= 'z')
		return c - 'a';
	if (c >= '2' && c <= '7')
		return c - '2' + 26;
	return -1;
}

int cid_parse(struct span text, struct cid *ret)
{
	uint8_t binary[CID_SIZE];
	size_t done = 0;
	uint32_t bits = 0;
	unsigned count = 0;

	if (text.len != CID_TEXT_SIZE - 1 || text.ptr[0] != 'b')
		return -EBADMSG;
	for (size_t i = 1; i < text.len; i++) {
		int value = base32_value(text.ptr[i]);

		if (value < 0)
			return -EBADMSG;
		bits = bits << 5 | (uint32_t)value;
		count += 5;
		if (count >= 8) {
			count -= 8;
			binary[done++] = (uint8_t)(bits >> count);
			bits &= (1u << count) - 1;
		}
	}
	assert(done == CID_SIZE && count == PAD_BITS);
	if (bits != 0)
		return -EBADMSG;
	return cid_decode(span_of(binary, sizeof(binary)), ret);
}

const char *cid_format(const struct cid *c, char ret[static CID_TEXT_SIZE])
{
	static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t binary[CID_SIZE];
	size_t done = 0;
	uint32_t bits = 0;
	unsigned count = 0;

	cid_encode(c, binary);
	ret[done++] = 'b';
	for (size_t i = 0; i < CID_SIZE; i++) {
		bits = bits << 8 | binary[i];
		for (count += 8; count >= 5;) {
			count -= 5;
			ret[done++] = digits[bits >> count & 31];
		}
		bits &= (1u << count) - 1;
	}
	ret[done++] = digits[bits << PAD_BITS];
	assert(done == CID_TEXT_SIZE - 1 && count == 5 - PAD_BITS);
	ret[done] = '\0';
	return ret;
}

void cid_of_block(struct span block, struct cid *ret)
{
	ret->codec = CID_DAG_CBOR;
	sha256(block, ret->digest);
}
