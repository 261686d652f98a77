/*
 * A commit object: the signed head of a repository [repository: commit objects]. Version 3 with
 * every required field, and at most LIMIT_COMMIT_OBJECT bytes; fields that no specification knows
 * are part of what is signed and are kept.
 *
 * A decoded commit borrows from its block.
 */
#pragma once

#include "common/cid.h"
#include "common/verdict.h"

#define COMMIT_SIGNATURE_SIZE 64

struct commit {
	struct span did;
	struct span rev;
	struct cid data;
	struct span sig;
	/* for commit_unsigned */
	struct span block;
	size_t field_count;
	struct span sig_field; /* the key and the value, as they stand in the block */
};

/* VERDICT_COMMIT_BAD_OBJECT. ret is untouched then. */
enum verdict commit_decode(struct span block, struct commit *ret) MUST_CHECK;
/* Puts into out, which is cleared first, what the signature is made over: the same bytes without
 * `sig`. */
void commit_unsigned(const struct commit *c, struct buf *out);
