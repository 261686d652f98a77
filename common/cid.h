/*
 * CID: the content identifiers that AT Protocol blesses (data model specification; DASL): version
 * 1, codec dag-cbor (0x71) or raw (0x55), SHA-256. 36 bytes in binary, 59 characters as text
 * (multibase b, lower-case base32 without padding).
 */
#pragma once

#include "common/bytes.h"
#include "common/sha256.h"

#define CID_SIZE      36
#define CID_TEXT_SIZE 60 /* with its NUL */
#define CID_DAG_CBOR  0x71
#define CID_RAW       0x55

struct cid {
	uint8_t codec;
	uint8_t digest[SHA256_SIZE];
};

/* The binary form, all of the span. -EBADMSG for any CID that is not blessed. */
int cid_decode(struct span binary, struct cid *ret) MUST_CHECK;
/* As cid_decode, and the codec must be dag-cbor: commits, MST nodes and their links. */
int cid_decode_dag_cbor(struct span binary, struct cid *ret) MUST_CHECK;
void cid_encode(const struct cid *c, uint8_t ret[static CID_SIZE]);
/* The text form; -EBADMSG for other bases and for pad bits that are not zero. */
int cid_parse(struct span text, struct cid *ret) MUST_CHECK;
/* Returns ret. */
const char *cid_format(const struct cid *c, char ret[static CID_TEXT_SIZE]);
/* The dag-cbor CID of a block. */
void cid_of_block(struct span block, struct cid *ret);

static inline bool cid_equal(const struct cid *a, const struct cid *b)
{
	return a->codec == b->codec && memcmp(a->digest, b->digest, SHA256_SIZE) == 0;
}
