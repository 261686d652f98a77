/*
 * One node of the tree, in memory and as a block [repository: MST structure]:
 *
 *	{e: [{k: suffix, p: shared prefix, t: right link, v: value}, ...], l: left link}
 *
 *	left  key0  right0  key1  right1 ...	a link stands between two neighbouring keys
 *
 * A link leads to a node that is in memory, or is a stub: only its digest is known. Decoding takes
 * the one canonical form and no other: encoding a decoded node gives the same bytes. An entry
 * remembers the bytes that it was decoded from, so that a node of which little has changed is
 * encoded by copying.
 *
 * Nodes live in an arena and borrow from the blocks that they were decoded from.
 */
#pragma once

#include "common/cid.h"
#include "common/verdict.h"
#include "validate/arena.h"

struct block;
struct node;

/* At most one of the two is set; neither: no link. */
struct link {
	struct node *node;
	const uint8_t *stub; /* SHA256_SIZE bytes, of a dag-cbor CID */
};

struct entry {
	struct entry *next;
	struct span key;
	struct span value; /* a binary CID, byte for byte as it came */
	struct link right;
	/* as it was decoded */
	struct span raw;           /* empty: not decoded, or the value has changed since */
	const struct entry *after; /* the one before it, from which its prefix comes */
	const uint8_t *raw_right;  /* in raw: the digest of its right link; NULL: null */
};

struct node {
	struct link left;
	struct entry *first;
	size_t count; /* of entries */
	/* for the tree, mst.h */
	struct node *next;
	unsigned height;
	const struct block *block; /* NULL: not decoded */
};

static inline bool link_is_empty(struct link l)
{
	return !l.node && !l.stub;
}

/* Leading zero bits of a key's SHA-256, in pairs. */
unsigned node_height_of(const uint8_t digest[static SHA256_SIZE]);
unsigned node_key_height(struct span key);
/*
 * Every link becomes a stub. The rules of a single node are checked, but for those on heights:
 * form, keys ascending and of at most LIMIT_MST_KEY bytes, each prefix as long as it can be.
 * key_bytes, what is left of the sum of all keys' lengths that the caller allows, goes down.
 * VERDICT_MST_BAD_NODE.
 */
enum verdict node_decode(struct span block, struct arena *a, size_t *key_bytes,
			 struct node **ret) MUST_CHECK;
/* Appends the block of the node's first `count` entries. All links must be stubs. */
void node_encode(const struct node *n, struct buf *b);
