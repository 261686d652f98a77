/*
 * CAR v1, read block by block without allocation (repository specification; CARv1). Nothing is
 * hashed here: whoever uses a block checks it against its CID. Spans borrow from the archive.
 *
 * Every block has a CID of the one form that the network knows: version 1, dag-cbor or raw, SHA-256
 * [DASL: CAR, CID]. An archive with another is malformed, even if nobody asks for that block: what
 * is not needed is passed over, but where such a block ends is told by its form.
 */
#pragma once

#include "common/bytes.h"
#include "common/cid.h"

struct car {
	struct reader blocks; /* what is left */
	struct cid
		root; /* roots[0]; further roots have no meaning and are only checked to be CIDs */
};

struct car_block {
	struct cid cid;
	struct span data;
};

/* The header: version 1, at least one root. -EBADMSG. */
int car_open(struct span archive, struct car *ret) MUST_CHECK;
static inline bool car_more(const struct car *c)
{
	return c->blocks.left > 0;
}
/* -EBADMSG for a varint, a length or a CID that is not right (only blessed CIDs are). */
int car_next(struct car *c, struct car_block *ret) MUST_CHECK;

/* Writing, for tests and tools. */
void car_put_header(struct buf *b, const struct cid *root);
void car_put_block(struct buf *b, const struct cid *cid, struct span data);
