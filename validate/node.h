/*
 * One node of the tree, in memory and as a block [repository: MST structure]:
 *
 *	{e: [{k: suffix, p: shared prefix, t: right link, v: value}, ...], l: left link}
 *
 *	left  key0  right0  key1  right1 ...	a link stands between two neighbouring keys
 *
 * A link leads to a node that is in memory, or is a stub: only its digest is known, because its
 * block was not sent. Decoding takes the one canonical form and no other: encoding a decoded node
 * gives the same bytes.
 *
 * Nodes live in an arena and borrow from the blocks that they were decoded from.
 */
#pragma once

#include "common/cid.h"
#include "common/verdict.h"
#include "validate/arena.h"

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
};

struct node {
	unsigned height;
	bool is_changed; /* digest does not hold any more */
	uint8_t digest[SHA256_SIZE];
	struct link left;
	struct entry *first;
};

static inline bool link_is_empty(struct link l)
{
	return !l.node && !l.stub;
}

/* Leading zero bits of SHA-256 of the key, in pairs. */
unsigned node_key_height(struct span key);
/*
 * Every link becomes a stub. The rules of a single node are checked: form, keys ascending, all of
 * one height and at most LIMIT_MST_KEY bytes, each prefix as long as it can be. The height of a
 * node without keys is left 0. key_bytes, what is left of the sum of all keys' lengths that the
 * caller allows, goes down. VERDICT_MST_BAD_NODE.
 */
enum verdict node_decode(struct span block, struct arena *a, size_t *key_bytes,
			 struct node **ret) MUST_CHECK;
/* Appends. The digests of nodes that are linked must hold. */
void node_encode(const struct node *n, struct buf *b);
