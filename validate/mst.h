/*
 * The part of a repository's tree that a commit brings with it [repository: MST structure]: nodes
 * whose blocks are there, and stubs in place of the others. It can be held against what the ops say
 * and be made anew without them, which must lead to the root before [sync: operation inversion].
 *
 *	mst_load	all nodes that are reachable and there; every rule checked that needs no
 *			hashes
 *	mst_check	the tree holds what each op says
 *	mst_invert	the tree before the ops; once after each load
 *	mst_prove	hashes all that is to be hashed: nothing that was said before is true unless
 *			this accepts it
 *	mst_before	the root of the tree before the ops
 *
 * What costs most is hashing, and many hashes at once cost little more than one (sha256_many.h). So
 * it comes after all the rest, and only those nodes of the tree before that lie above others which
 * have changed are hashed one after another.
 *
 * A loaded tree is kept as what it is in the order of its keys: keys, and between two of them at
 * most one stub. The ops come in the same order, so that checking them is one walk along both, and
 * so is making the tree before them: a tree follows from its keys, whatever led to it.
 *
 *	item	key 0  stub  key 1  key 2  stub	...
 *	height	  0      1     3      0      2
 *
 * What hangs in a stub is not seen, so a path that was created beside one is not compared with the
 * keys below it: undoing the op does not open the stub, and a node that is not opened need not be
 * sent [sync: operation inversion]. An account can bring its own tree out of order like that; still
 * the ops are all that has changed in it.
 *
 * Work and memory are bounded by the archive: no block is taken as a node twice (in a tree no node
 * can occur twice, since its keys cannot), and the keys may have MST_KEY_BYTES in all. Each node is
 * hashed once when it is loaded and, if it has changed, once more.
 *
 * The tree borrows from the blocks and the ops until it is loaded anew.
 */
#pragma once

#include "validate/blocks.h"

/* Sum of the lengths of all keys: 5,000 of the longest paths, and 100,000 of the usual ones. */
#define MST_KEY_BYTES MIB(4)

struct mst;

/* What a commit says of one path: its value in the tree, and in the tree before. Binary CIDs;
 * empty: the path is not there. */
struct mst_op {
	struct span path;
	struct span now;
	struct span before;
	/* for mst.c */
	size_t place;
	bool is_there;
};

struct mst *mst_new(void);
void mst_free(struct mst *m);
/* Wants the blocks of all nodes (blocks.h). A root that is not among the blocks is a stub; that of
 * the empty tree need not be sent. VERDICT_MST_BAD_NODE. */
enum verdict mst_load(struct mst *m, struct blocks *blocks, const struct cid *root) MUST_CHECK;
/* ops: by path, no path twice. VERDICT_OP_MISMATCH; VERDICT_BLOCK_MISSING if the answer lies in a
 * stub. */
enum verdict mst_check(struct mst *m, struct mst_op *ops, size_t count) MUST_CHECK;
/* The same ops, after mst_check has accepted them. VERDICT_BLOCK_MISSING if a stub would have to be
 * opened. The tree is used up. */
enum verdict mst_invert(struct mst *m, const struct mst_op *ops, size_t count) MUST_CHECK;
/* Hashes the wanted blocks, whether they are nodes or not, the keys, which must have the heights of
 * their nodes, and the caller's own messages with them. After mst_load, whatever it and the others
 * said. VERDICT_BLOCK_HASH, VERDICT_MST_BAD_NODE. */
enum verdict mst_prove(struct mst *m, struct sha256_work *others, size_t count) MUST_CHECK;
/* After mst_invert and mst_prove have accepted. */
struct cid mst_before(struct mst *m);
int64_t mst_memory_bytes(const struct mst *m);

/* The root of the tree without records. */
extern const struct cid mst_empty_root;
