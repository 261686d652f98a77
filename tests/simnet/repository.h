/*
 * A repository of the simulated network: its tree, its key and the head of its history, and no
 * record's content. What tests/lib/repo is for a handful of records, this is for hundreds of
 * thousands of accounts; both make the same commits.
 *
 *	repository_begin(&r, usec);			the records so far are history
 *	draft_put(&d, &r, path, record);		one op a path
 *	repository_commit(&r, &d, did, usec, &commit);	what was drafted becomes one commit
 *	frame_put_commit(&frame, seq, &commit);		tests/lib/frame.h
 *	repo_commit_release(&commit);
 */
#pragma once

#include "tests/lib/repo.h"
#include "tests/simnet/record_tree.h"

struct repository {
	struct test_key key; /* the caller's to set, and to replace when it is rotated */
	unsigned clock_id;   /* of its revs; 10 bits */
	struct record_tree tree;
	bool has_commit;
	uint8_t rev[TID_SIZE];
	struct cid data;
};

/* Ops that are not committed yet; used for one repository after the other. */
struct draft {
	size_t op_count;
	struct repo_op ops[LIMIT_OPS];
	struct buf records; /* blocks of a CAR */
};

void draft_init(struct draft *d);
void draft_release(struct draft *d);
/* Whether there is an op at this path, or no room for any. */
bool draft_is_taken(const struct draft *d, const char *path);
/* Creates or updates. Copies. */
void draft_put(struct draft *d, struct repository *r, const char *path, struct span record);
/* The record must be there. */
void draft_delete(struct draft *d, struct repository *r, const char *path);

void repository_release(struct repository *r);
/* The tree as it is was committed at this time; nothing of that commit is kept. */
void repository_begin(struct repository *r, uint64_t usec);
/* usec must be later than the last rev. Empties the draft. Without a commit before it, it has
 * neither since nor prevData. Free with repo_commit_release. */
void repository_commit(struct repository *r, struct draft *d, const char *did, uint64_t usec,
		       struct repo_commit *ret);
/* A commit of the unchanged tree, of which only the commit block is in the archive. usec 0: the
 * last commit once more. */
void repository_sync(struct repository *r, const char *did, uint64_t usec, struct repo_commit *ret);
