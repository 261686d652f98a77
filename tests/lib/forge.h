/*
 * Parts of repositories that break one rule and keep all others: trees written node by node,
 * commits signed over whatever they say, archives without one of their blocks.
 */
#pragma once

#include "tests/lib/repo.h"
#include "tests/lib/tree.h"

#define FORGE_KEY_SIZE 64

/* A key of this height that begins so. Returns ret. */
const char *forge_key(const char *prefix, unsigned height, char ret[static FORGE_KEY_SIZE]);

/* A tree of blocks in the order of their writing, the last of which is its root. */
struct forge {
	struct buf car; /* an archive, whose header names nothing that is in it */
	struct cid root;
};

void forge_init(struct forge *f);
void forge_release(struct forge *f);
/* A block, whatever is in it. */
struct cid forge_block(struct forge *f, struct span block);
/* left: NULL for null. */
struct cid forge_node(struct forge *f, const struct cid *left, const struct tree_entry *entries,
		      size_t count);
/* A commit of the tree without ops, correctly signed, behind the repository's last one, which it
 * does not change. Free with repo_commit_release. */
void forge_commit(const struct forge *f, const struct repo *r, uint64_t usec,
		  struct repo_commit *ret);

/* The commit object in the commit's archive; borrows. */
struct span forge_object(const struct repo_commit *c);
/* Another object in its place, of which the archive and the commit say that it is the one. */
void forge_replace_object(struct repo_commit *c, struct span object);
/* Appends the object with the key's signature in the place of the one it may have. */
void forge_sign(const struct test_key *k, struct span object, struct buf *out);

/* The archive without its block number n; the header and the other blocks unchanged. out: emptied,
 * and filled. False past the end. */
bool forge_without_block(struct span archive, size_t n, struct buf *out);
