/*
 * Event stream frames as a host sends them, in canonical DAG-CBOR [event stream; subscribeRepos].
 * All append to b, and say the same fixed `time`.
 */
#pragma once

#include "tests/lib/repo.h"

#define FRAME_TIME "2026-01-02T03:04:05.678Z"

void frame_put_commit(struct buf *b, uint64_t seq, const struct repo_commit *c);
void frame_put_sync(struct buf *b, uint64_t seq, const struct repo_commit *c);
/* handle: NULL for none. */
void frame_put_identity(struct buf *b, uint64_t seq, const char *did, const char *handle);
/* status: NULL for none. */
void frame_put_account(struct buf *b, uint64_t seq, const char *did, bool active,
		       const char *status);
/* An #info message; message: NULL for none. */
void frame_put_info(struct buf *b, const char *name, const char *message);
/* An error frame; message: NULL for none. */
void frame_put_error(struct buf *b, const char *error, const char *message);

/* The pieces: {op: 1, t: kind}, and a key with its value. */
void frame_put_header(struct buf *b, const char *kind);
void frame_put_text(struct buf *b, const char *key, struct span value);
void frame_put_cid(struct buf *b, const char *key, const struct cid *cid);

/* What stands in a frame before the value of its seq, and after it; both empty if it has none.
 * Borrows. */
void frame_split(struct span frame, struct span *ret_before, struct span *ret_after);
