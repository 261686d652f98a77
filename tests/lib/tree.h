/*
 * A repository's tree for tests: made anew from its sorted records each time, by the definition of
 * the structure rather than by changing nodes [repository: MST structure]. It shares no code with
 * the one that validates, so that the two can be held against each other.
 */
#pragma once

#include "common/cid.h"

struct tree_record {
	struct span path;
	struct cid cid;
	unsigned height; /* tree_height(path) */
};

struct tree_node {
	unsigned height;
	size_t first, end; /* the records below and in this node: places in the records it was made
			      from */
	struct cid cid;
	struct buf block;
	bool marked; /* by tree_mark_path */
	size_t child_count;
	struct tree_node **children; /* left to right, none missing */
};

/* Pairs of zero bits at the head of SHA-256 of the key. */
unsigned tree_height(struct span key);
/* records: sorted, without doubles; borrowed by nobody afterwards. Gives; free with tree_free. */
struct tree_node *tree_make(const struct tree_record *records, size_t count);
void tree_free(struct tree_node *n);
/* Marks the nodes on the way to where path is, or would be. records: as given to tree_make. */
void tree_mark_path(struct tree_node *root, const struct tree_record *records, struct span path);
/* Calls visit for every node, parents first. */
void tree_walk(struct tree_node *n, void (*visit)(void *arg, struct tree_node *n), void *arg);

/* One entry of a node as written, for making nodes that break the rules. */
struct tree_entry {
	size_t prefix;
	struct span suffix;
	struct cid value;
	const struct cid *right; /* NULL: null */
};
/* Appends the node's block; left: NULL for null. */
void tree_encode_node(struct buf *b, const struct cid *left, const struct tree_entry *entries,
		      size_t count);
