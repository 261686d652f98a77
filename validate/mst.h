/*
 * The part of a repository's tree that a commit brings with it [repository: MST structure]: nodes
 * whose blocks are there, and stubs in place of the others. It can be asked for a path and changed;
 * undoing a commit's ops must lead to the root before it [sync: operation inversion].
 *
 *	mst_load(m, blocks, &data)	all nodes that are reachable and there; every rule checked
 *	mst_find, mst_insert, ...	VERDICT_BLOCK_MISSING where a stub would have to be opened
 *	mst_root(m, &cid)		of the tree as it is now
 *
 * Work and memory are bounded by the archive: no block is taken as a node twice (in a tree no node
 * can occur twice, since its keys cannot), and the keys may have MST_KEY_BYTES in all.
 *
 * The tree borrows from the blocks, and the values and keys given to it, until it is loaded anew.
 */
#pragma once

#include "validate/blocks.h"

/* Sum of the lengths of all keys: 20,000 of the longest paths. 200 ops touch far fewer. */
#define MST_KEY_BYTES MIB(16)

struct mst;

struct mst *mst_new(void);
void mst_free(struct mst *m);
/* A root that is not among the blocks is a stub; that of the empty tree need not be sent.
 * VERDICT_MST_BAD_NODE, VERDICT_BLOCK_HASH. */
enum verdict mst_load(struct mst *m, const struct blocks *blocks,
		      const struct cid *root) MUST_CHECK;
/* ret_value: the binary CID; empty if the path is not in the tree. */
enum verdict mst_find(struct mst *m, struct span path, struct span *ret_value) MUST_CHECK;
/* VERDICT_INVERSION_FAILED if the path is there already (insert), or is not (replace, remove).
 * After a failure the tree can only be loaded anew. */
enum verdict mst_insert(struct mst *m, struct span path, struct span value) MUST_CHECK;
enum verdict mst_replace(struct mst *m, struct span path, struct span value) MUST_CHECK;
enum verdict mst_remove(struct mst *m, struct span path) MUST_CHECK;
void mst_root(struct mst *m, struct cid *ret);
int64_t mst_memory_bytes(const struct mst *m);

/* The root of the tree without records. */
extern const struct cid mst_empty_root;
