#include "tests/lib/frame.h"

#include "common/cbor.h"

void frame_put_header(struct buf *b, const char *kind)
{
	cbor_put_map(b, 2);
	frame_put_text(b, "t", span_str(kind));
	cbor_put_text(b, SPAN_LITERAL("op"));
	cbor_put_integer(b, 1);
}

void frame_put_text(struct buf *b, const char *key, struct span value)
{
	cbor_put_text(b, span_str(key));
	cbor_put_text(b, value);
}

void frame_put_cid(struct buf *b, const char *key, const struct cid *cid)
{
	uint8_t binary[CID_SIZE];

	cid_encode(cid, binary);
	cbor_put_text(b, span_str(key));
	cbor_put_cid(b, span_of(binary, sizeof(binary)));
}

static void put_seq(struct buf *b, uint64_t seq)
{
	cbor_put_text(b, SPAN_LITERAL("seq"));
	cbor_put_integer(b, (int64_t)seq);
}

static void put_flag(struct buf *b, const char *key, bool value)
{
	cbor_put_text(b, span_str(key));
	cbor_put_bool(b, value);
}

static void put_blocks(struct buf *b, struct span blocks)
{
	cbor_put_text(b, SPAN_LITERAL("blocks"));
	cbor_put_bytes(b, blocks);
}

static void put_op(struct buf *b, const struct repo_op *op)
{
	static const char *const names[] = {"create", "update", "delete"};

	cbor_put_map(b, op->action == REPO_CREATE ? 3 : 4);
	if (op->action == REPO_DELETE) {
		cbor_put_text(b, SPAN_LITERAL("cid"));
		cbor_put_null(b);
	} else {
		frame_put_cid(b, "cid", &op->cid);
	}
	frame_put_text(b, "path", span_str(op->path));
	if (op->action != REPO_CREATE)
		frame_put_cid(b, "prev", &op->prev);
	frame_put_text(b, "action", span_str(names[op->action]));
}

void frame_put_commit(struct buf *b, uint64_t seq, const struct repo_commit *c)
{
	frame_put_header(b, "#commit");
	cbor_put_map(b, c->has_prev_data ? 12 : 11);
	cbor_put_text(b, SPAN_LITERAL("ops"));
	cbor_put_array(b, c->op_count);
	for (size_t i = 0; i < c->op_count; i++)
		put_op(b, &c->ops[i]);
	frame_put_text(b, "rev", span_of(c->rev, TID_SIZE));
	put_seq(b, seq);
	frame_put_text(b, "repo", span_str(c->did));
	frame_put_text(b, "time", SPAN_LITERAL(FRAME_TIME));
	cbor_put_text(b, SPAN_LITERAL("blobs"));
	cbor_put_array(b, 0);
	if (c->has_since) {
		frame_put_text(b, "since", span_of(c->since, TID_SIZE));
	} else {
		cbor_put_text(b, SPAN_LITERAL("since"));
		cbor_put_null(b);
	}
	put_blocks(b, buf_span(&c->blocks));
	frame_put_cid(b, "commit", &c->commit);
	put_flag(b, "rebase", false);
	put_flag(b, "tooBig", false);
	if (c->has_prev_data)
		frame_put_cid(b, "prevData", &c->prev_data);
}

void frame_put_sync(struct buf *b, uint64_t seq, const struct repo_commit *c)
{
	frame_put_header(b, "#sync");
	cbor_put_map(b, 5);
	frame_put_text(b, "did", span_str(c->did));
	frame_put_text(b, "rev", span_of(c->rev, TID_SIZE));
	put_seq(b, seq);
	frame_put_text(b, "time", SPAN_LITERAL(FRAME_TIME));
	put_blocks(b, buf_span(&c->blocks));
}

void frame_put_identity(struct buf *b, uint64_t seq, const char *did, const char *handle)
{
	frame_put_header(b, "#identity");
	cbor_put_map(b, handle ? 4 : 3);
	frame_put_text(b, "did", span_str(did));
	put_seq(b, seq);
	frame_put_text(b, "time", SPAN_LITERAL(FRAME_TIME));
	if (handle)
		frame_put_text(b, "handle", span_str(handle));
}

void frame_put_account(struct buf *b, uint64_t seq, const char *did, bool active,
		       const char *status)
{
	frame_put_header(b, "#account");
	cbor_put_map(b, status ? 5 : 4);
	frame_put_text(b, "did", span_str(did));
	put_seq(b, seq);
	frame_put_text(b, "time", SPAN_LITERAL(FRAME_TIME));
	put_flag(b, "active", active);
	if (status)
		frame_put_text(b, "status", span_str(status));
}

void frame_put_info(struct buf *b, const char *name, const char *message)
{
	frame_put_header(b, "#info");
	cbor_put_map(b, message ? 2 : 1);
	frame_put_text(b, "name", span_str(name));
	if (message)
		frame_put_text(b, "message", span_str(message));
}

void frame_put_error(struct buf *b, const char *error, const char *message)
{
	cbor_put_map(b, 1);
	cbor_put_text(b, SPAN_LITERAL("op"));
	cbor_put_integer(b, -1);
	cbor_put_map(b, message ? 2 : 1);
	frame_put_text(b, "error", span_str(error));
	if (message)
		frame_put_text(b, "message", span_str(message));
}

void frame_split(struct span frame, struct span *ret_before, struct span *ret_after)
{
	struct reader r = reader_of(frame);
	struct cbor_map map;
	struct span key;

	*ret_before = *ret_after = SPAN_EMPTY;
	if (cbor_skip(&r, NULL) != 0 || cbor_map_open(&r, &map) != 0)
		return;
	while (cbor_map_more(&map) && cbor_map_key(&r, &map, &key) == 0) {
		const uint8_t *value = r.ptr;

		if (cbor_skip(&r, NULL) != 0)
			return;
		if (span_is(key, "seq")) {
			*ret_before = span_of(frame.ptr, (size_t)(value - frame.ptr));
			*ret_after = span_of(r.ptr, r.left);
			return;
		}
	}
}
