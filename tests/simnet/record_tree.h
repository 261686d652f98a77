/*
 * A repository's tree that is changed where an op touches it, so that a commit costs the nodes on
 * the way and not the whole tree [repository: MST structure]. Of a record only the path and the CID
 * are kept, and of a node no block: hundreds of thousands of trees fit in memory.
 *
 * tests/lib/tree, which makes a tree anew by its definition, is what this one is tested against.
 *
 * All zero is an empty tree.
 */
#pragma once

#include "common/cid.h"

struct record_node;

struct record_tree {
	struct record_node *root; /* NULL: no records */
	size_t count;
};

void record_tree_release(struct record_tree *t);
/* Asserts that it is not there yet. Copies. */
void record_tree_insert(struct record_tree *t, const char *path, const struct cid *value);
/* Assert that it is there; ret_old (may be NULL) gets its value so far. */
void record_tree_replace(struct record_tree *t, const char *path, const struct cid *value,
			 struct cid *ret_old);
void record_tree_remove(struct record_tree *t, const char *path, struct cid *ret_old);
bool record_tree_has(const struct record_tree *t, const char *path);
/* A record that follows from the number; every one can be met, and most that are met stand low.
 * NULL if there is none. Borrows until the next change. */
const char *record_tree_pick(const struct record_tree *t, uint64_t number);

/* The root of the tree as it is. Appends as blocks of a CAR the nodes that are new since the last
 * call, and those on the way to each path and to its neighbours: a reader can undo with them what
 * happened at these paths [sync: commit messages]. blocks may be NULL. */
void record_tree_commit(struct record_tree *t, const char *const *paths, size_t path_count,
			struct buf *blocks, struct cid *ret_root);
