/*
 * A repository for tests: records in memory, commits signed by a key of its own, with the blocks
 * that a host has to send [sync: commit messages]. Canonical in every part; what breaks a rule is
 * made from the pieces (tree_encode_node, repo_sign).
 *
 *	repo_init(&r, CURVE_K256, "alice");
 *	repo_put(&r, "app.bsky.feed.post/3jqfcqzm3fo2j", record);
 *	repo_commit(&r, usec, &commit);		what is staged becomes one commit
 *	frame_put_commit(&frame, seq, &commit);	tests/lib/frame.h
 *	repo_commit_release(&commit);
 *	repo_release(&r);
 */
#pragma once

#include "common/cid.h"
#include "common/limits.h"
#include "common/syntax.h"
#include "tests/lib/key.h"

#define REPO_DID_SIZE 64 /* did:plc or a short did:web, with its NUL */

enum repo_action { REPO_CREATE, REPO_UPDATE, REPO_DELETE };

struct repo_op {
	enum repo_action action;
	char *path;
	struct cid cid;  /* not for delete */
	struct cid prev; /* not for create */
};

struct repo_record {
	char *path;
	unsigned height;
	struct cid cid;
	struct buf block;
};

struct repo {
	char did[REPO_DID_SIZE];
	struct test_key key;
	size_t record_count, record_cap;
	struct repo_record *records; /* by path */
	size_t op_count;
	struct repo_op *ops; /* staged; one a path */
	size_t node_count;
	uint8_t (*nodes)[SHA256_SIZE]; /* of the tree as committed last, sorted */
	bool has_commit;
	uint8_t rev[TID_SIZE];
	struct cid data; /* of the tree as committed last; of the empty tree before */
	struct cid commit;
	struct buf commit_block;
};

/* Everything that a #commit or #sync message says of a commit. */
struct repo_commit {
	char did[REPO_DID_SIZE];
	uint8_t rev[TID_SIZE];
	bool has_since, has_prev_data;
	uint8_t since[TID_SIZE];
	struct cid commit, data, prev_data;
	size_t op_count;
	struct repo_op *ops;
	struct buf blocks; /* a CAR */
};

/* An account whose DID and key follow from the seed. */
void repo_init(struct repo *r, enum curve curve, const char *seed);
void repo_release(struct repo *r);
/* Creates or updates; asserts that the path has no staged op and that LIMIT_OPS is kept. Copies. */
void repo_put(struct repo *r, const char *path, struct span record);
/* A record of a few bytes that differs with the number. */
void repo_put_number(struct repo *r, const char *path, uint64_t number);
/* The record must be there. */
void repo_delete(struct repo *r, const char *path);
bool repo_has(const struct repo *r, const char *path);
/* The staged ops as a commit, whose rev is the later of usec and one after the last. The first
 * commit has neither since nor prevData. Free with repo_commit_release. */
void repo_commit(struct repo *r, uint64_t usec, struct repo_commit *ret);
/* A new commit of the unchanged tree, of which only the commit block is in the archive, as in
 * #sync. Free with repo_commit_release. */
void repo_sync(struct repo *r, uint64_t usec, struct repo_commit *ret);
void repo_commit_release(struct repo_commit *c);

/* The fields of a commit object. */
struct repo_commit_object {
	struct span did;
	struct span rev;
	struct cid data;
	int64_t version;
	bool has_extra; /* a field that no specification knows, "zebra" */
};
/* Appends the signed object. */
void repo_sign(const struct test_key *k, const struct repo_commit_object *o, struct buf *b);
/* The whole tree, newest commit first, as one CAR: for what getRepo would answer. Appends. */
void repo_export(struct repo *r, struct buf *b);
