#include "validate/frame.h"

#include <errno.h>

#include "common/cbor.h"

#define UNKNOWN_FEW  16 /* fields of a frame: far from LIMIT_CBOR_ITEMS with all that are known */
#define CACHE_LINE   64
#define PREFETCH_MAX KIB(8) /* nearly all frames, and a quarter of the nearest cache */
#define OP_MESSAGE   1      /* header op of a frame with a message; -1 is an error [event stream] */

/* Which kinds of event a field belongs to. */
enum {
	COMMIT = 1u << EVENT_COMMIT,
	SYNC = 1u << EVENT_SYNC,
	IDENTITY = 1u << EVENT_IDENTITY,
	ACCOUNT = 1u << EVENT_ACCOUNT,
	ALL = COMMIT | SYNC | IDENTITY | ACCOUNT,
};

static enum verdict get_text(struct reader *r, bool (*is_valid)(struct span s), struct span *ret)
{
	struct span s;

	if (cbor_get_text(r, &s) < 0 || !is_valid(s))
		return VERDICT_FRAME_BAD_FIELDS;
	*ret = s;
	return VERDICT_ACCEPTED;
}

static enum verdict get_cid(struct reader *r, struct cid *ret)
{
	struct span binary;

	if (cbor_get_cid(r, &binary) < 0 || cid_decode_dag_cbor(binary, ret) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	return VERDICT_ACCEPTED;
}

/* Methods in their canonical spelling: a DID is compared byte for byte wherever it is used. */
static bool did_is_canonical(struct span did)
{
	if (span_starts_with(did, SPAN_LITERAL("did:plc:")))
		return did_is_plc(did);
	if (span_starts_with(did, SPAN_LITERAL("did:web:")))
		return did_is_web(did);
	return did_is_valid(did);
}

static enum verdict get_did(struct reader *r, struct frame *f)
{
	if (cbor_get_text(r, &f->did) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	return did_is_canonical(f->did) ? VERDICT_ACCEPTED : VERDICT_BAD_DID;
}

static enum verdict get_seq(struct reader *r, struct frame *f)
{
	const uint8_t *at = r->ptr;
	int64_t seq;

	if (cbor_get_integer(r, &seq) < 0 || seq < 1 || seq >= LIMIT_SEQ)
		return VERDICT_FRAME_BAD_FIELDS;
	f->seq = (uint64_t)seq;
	f->seq_offset = (uint32_t)(at - f->bytes.ptr);
	f->seq_size = (uint8_t)(r->ptr - at);
	return VERDICT_ACCEPTED;
}

static enum verdict get_time(struct reader *r, struct frame *f)
{
	struct span time;

	(void)f;
	return get_text(r, datetime_is_valid, &time);
}

static enum verdict get_rev(struct reader *r, struct frame *f)
{
	return get_text(r, tid_is_valid, &f->rev);
}

static enum verdict get_since(struct reader *r, struct frame *f)
{
	return cbor_get_null(r) == 0 ? VERDICT_ACCEPTED : get_text(r, tid_is_valid, &f->since);
}

static enum verdict get_blocks(struct reader *r, struct frame *f)
{
	size_t limit = f->kind == EVENT_SYNC ? LIMIT_SYNC_BLOCKS : LIMIT_COMMIT_BLOCKS;

	if (cbor_get_bytes(r, &f->blocks) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	return f->blocks.len <= limit ? VERDICT_ACCEPTED : VERDICT_BLOCKS_TOO_LARGE;
}

static enum verdict get_commit(struct reader *r, struct frame *f)
{
	return get_cid(r, &f->commit);
}

static enum verdict get_prev_data(struct reader *r, struct frame *f)
{
	f->has_prev_data = true;
	return get_cid(r, &f->prev_data);
}

static enum verdict get_handle(struct reader *r, struct frame *f)
{
	/* The key, in its canonical form, stands right before its value. */
	const uint8_t *start = r->ptr - 1 - strlen("handle");
	enum verdict v = get_text(r, handle_is_valid, &f->handle);

	f->handle_field = span_of(start, (size_t)(r->ptr - start));
	return v;
}

static enum verdict get_active(struct reader *r, struct frame *f)
{
	return cbor_get_boolean(r, &f->active) < 0 ? VERDICT_FRAME_BAD_FIELDS : VERDICT_ACCEPTED;
}

static bool status_is_valid(struct span s)
{
	return s.len <= LIMIT_ACCOUNT_STATUS;
}

static enum verdict get_status(struct reader *r, struct frame *f)
{
	return get_text(r, status_is_valid, &f->status);
}

static enum verdict get_action(struct reader *r, enum op_action *ret)
{
	static const char *const names[] = {
		[OP_CREATE] = "create",
		[OP_UPDATE] = "update",
		[OP_DELETE] = "delete",
	};
	struct span name;

	if (cbor_get_text(r, &name) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (span_is(name, names[i])) {
			*ret = (enum op_action)i;
			return VERDICT_ACCEPTED;
		}
	return VERDICT_BAD_OP;
}

/* A field without meaning. What it holds counts towards limits on the whole of the frame, unless it
 * is one of a few small ones. */
static int skip_unknown(struct reader *r, struct frame *f)
{
	struct reader in = *r;
	struct cbor_item item;

	if (cbor_get(&in, &item) < 0)
		return -EBADMSG;
	if (item.type != CBOR_ARRAY && item.type != CBOR_MAP)
		item.count = 0;
	if (item.count > 0 || ++f->unknown_count > UNKNOWN_FEW)
		f->is_doubtful = true;
	if (item.count > 0)
		return cbor_skip(r, NULL);
	*r = in;
	return 0;
}

enum { OP_HAS_ACTION = 1, OP_HAS_PATH = 2, OP_HAS_CID = 4 };

static enum verdict get_op_field(struct reader *r, struct span key, struct frame *f, struct op *op,
				 unsigned *seen)
{
	int error;

	if (span_is(key, "action")) {
		*seen |= OP_HAS_ACTION;
		return get_action(r, &op->action);
	}
	if (span_is(key, "path")) {
		*seen |= OP_HAS_PATH;
		error = cbor_get_text(r, &op->path);
	} else if (span_is(key, "cid")) {
		*seen |= OP_HAS_CID;
		error = cbor_get_cid_or_null(r, &op->cid);
	} else if (span_is(key, "prev")) {
		error = cbor_get_cid(r, &op->prev);
	} else {
		error = skip_unknown(r, f);
	}
	return error < 0 ? VERDICT_FRAME_BAD_FIELDS : VERDICT_ACCEPTED;
}

static enum verdict get_op(struct reader *r, struct frame *f, struct op *op)
{
	const unsigned all = OP_HAS_ACTION | OP_HAS_PATH | OP_HAS_CID;
	enum verdict v = VERDICT_ACCEPTED;
	struct cbor_map map;
	struct span key;
	unsigned seen = 0;

	*op = (struct op){0};
	if (cbor_map_open(r, &map) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	while (v == VERDICT_ACCEPTED && cbor_map_more(&map)) {
		if (cbor_map_key(r, &map, &key) < 0)
			return VERDICT_FRAME_BAD_CBOR;
		v = get_op_field(r, key, f, op, &seen);
	}
	return v == VERDICT_ACCEPTED && seen != all ? VERDICT_FRAME_BAD_FIELDS : v;
}

static enum verdict get_ops(struct reader *r, struct frame *f)
{
	enum verdict v = VERDICT_ACCEPTED;
	size_t count;

	if (cbor_array_open(r, &count) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	if (count > LIMIT_OPS)
		return VERDICT_TOO_MANY_OPS;
	while (v == VERDICT_ACCEPTED && f->op_count < count)
		v = get_op(r, f, &f->ops[f->op_count++]);
	return v;
}

struct field {
	const char *name;
	size_t len; /* of the name */
	unsigned kinds;
	unsigned required; /* by these of the kinds */
	enum verdict (*get)(struct reader *r, struct frame *f);
};

#define NAME(s) s, sizeof(s) - 1

/* In the order in which they stand in a map. */
static const struct field fields[] = {
	{NAME("did"), ALL & ~COMMIT, ALL & ~COMMIT, get_did},
	{NAME("ops"), COMMIT, COMMIT, get_ops},
	{NAME("rev"), COMMIT | SYNC, COMMIT | SYNC, get_rev},
	{NAME("seq"), ALL, ALL, get_seq},
	{NAME("repo"), COMMIT, COMMIT, get_did},
	{NAME("time"), ALL, ALL, get_time},
	{NAME("since"), COMMIT, COMMIT, get_since},
	{NAME("active"), ACCOUNT, ACCOUNT, get_active},
	{NAME("blocks"), COMMIT | SYNC, COMMIT | SYNC, get_blocks},
	{NAME("commit"), COMMIT, COMMIT, get_commit},
	{NAME("handle"), IDENTITY, 0, get_handle},
	{NAME("status"), ACCOUNT, 0, get_status},
	{NAME("prevData"), COMMIT, 0, get_prev_data},
};

/* From this one on; ARRAY_SIZE(fields): unknown, or without meaning in this kind. */
static size_t find_field(struct span key, unsigned kind, size_t from)
{
	size_t i = from;

	while (i < ARRAY_SIZE(fields) && (fields[i].len != key.len || !(fields[i].kinds & kind) ||
					  memcmp(fields[i].name, key.ptr, key.len) != 0))
		i++;
	return i;
}

static bool has_required(unsigned kind, unsigned seen)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (fields[i].required & kind && !(seen & 1u << i))
			return false;
	return true;
}

static enum verdict decode_body(struct reader *r, struct frame *f)
{
	const unsigned kind = 1u << f->kind;
	const uint8_t *start = r->ptr;
	enum verdict v = VERDICT_ACCEPTED;
	struct cbor_map map;
	struct span key;
	unsigned seen = 0;
	size_t next = 0;

	if (cbor_map_open(r, &map) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	f->body_count = map.left;
	while (v == VERDICT_ACCEPTED && cbor_map_more(&map)) {
		size_t i;

		if (cbor_map_key(r, &map, &key) < 0)
			return VERDICT_FRAME_BAD_CBOR;
		i = find_field(key, kind, next);
		if (i < ARRAY_SIZE(fields)) {
			next = i + 1;
			seen |= 1u << i;
			v = fields[i].get(r, f);
		} else if (skip_unknown(r, f) < 0) {
			return VERDICT_FRAME_BAD_CBOR;
		}
	}
	f->body = span_of(start, (size_t)(r->ptr - start));
	return v == VERDICT_ACCEPTED && !has_required(kind, seen) ? VERDICT_FRAME_BAD_FIELDS : v;
}

static enum verdict kind_of(struct span t, enum event_kind *ret)
{
	for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++)
		if (span_is(t, event_kind_name(k))) {
			*ret = k;
			return VERDICT_ACCEPTED;
		}
	return VERDICT_UNKNOWN_KIND;
}

static enum verdict decode_header(struct reader *r, struct frame *f)
{
	struct span key, t = SPAN_EMPTY;
	struct cbor_map map;
	int64_t op = 0;
	bool has_op = false;

	if (cbor_map_open(r, &map) < 0)
		return VERDICT_FRAME_BAD_FIELDS;
	while (cbor_map_more(&map)) {
		int error = cbor_map_key(r, &map, &key);

		if (error == 0 && span_is(key, "op")) {
			error = cbor_get_integer(r, &op);
			has_op = true;
		} else if (error == 0 && span_is(key, "t")) {
			error = cbor_get_text(r, &t);
		} else if (error == 0) {
			error = skip_unknown(r, f);
		}
		if (error < 0)
			return VERDICT_FRAME_BAD_FIELDS;
	}
	if (!has_op || (op == OP_MESSAGE && t.len == 0))
		return VERDICT_FRAME_BAD_FIELDS;
	return op == OP_MESSAGE ? kind_of(t, &f->kind) : VERDICT_UNKNOWN_KIND;
}

/* On a whole item. */
static bool is_map(struct span item)
{
	struct reader r = reader_of(item);
	struct cbor_map map;

	return cbor_map_open(&r, &map) == 0;
}

static bool is_canonical(struct span frame)
{
	struct reader r = reader_of(frame);
	struct span header, body;

	return cbor_skip(&r, &header) == 0 && cbor_skip(&r, &body) == 0 && r.left == 0 &&
	       is_map(header) && is_map(body);
}

/* It comes from another processor's cache or from memory, and is read in leaps. */
static void prefetch(struct span frame)
{
	const size_t len = frame.len < PREFETCH_MAX ? frame.len : PREFETCH_MAX;

	for (size_t i = 0; i < len; i += CACHE_LINE)
		__builtin_prefetch(frame.ptr + i);
}

static void clear(struct frame *f, struct span bytes)
{
	memset(f, 0, offsetof(struct frame, ops));
	f->bytes = bytes;
}

static enum verdict decode(struct frame *f)
{
	struct reader r = reader_of(f->bytes);
	enum verdict v = decode_header(&r, f);

	if (v == VERDICT_ACCEPTED)
		v = decode_body(&r, f);
	return v == VERDICT_ACCEPTED && r.left > 0 ? VERDICT_FRAME_BAD_CBOR : v;
}

/* Bad CBOR anywhere comes before all that is wrong with fields. In a frame with nothing wrong,
 * decoding has seen every byte. */
enum verdict frame_decode(struct span bytes, struct frame *ret)
{
	enum verdict v;

	clear(ret, bytes);
	if (bytes.len > LIMIT_FRAME)
		return VERDICT_FRAME_TOO_LARGE;
	prefetch(bytes);
	v = decode(ret);
	if ((v == VERDICT_ACCEPTED && !ret->is_doubtful) || is_canonical(bytes))
		return v;
	clear(ret, bytes);
	return VERDICT_FRAME_BAD_CBOR;
}

void frame_remove_handle(const struct frame *f, struct buf *out)
{
	const uint8_t *field_end = f->handle_field.ptr + f->handle_field.len;
	const uint8_t *end = f->bytes.ptr + f->bytes.len;
	struct reader fields_start = reader_of(f->body);
	struct cbor_map map;

	buf_clear(out);
	buf_append(out, span_of(f->bytes.ptr, (size_t)(f->body.ptr - f->bytes.ptr)));
	cbor_put_map(out, f->body_count - 1);
	/* It was opened before. */
	if (cbor_map_open(&fields_start, &map) < 0)
		return;
	buf_append(out,
		   span_of(fields_start.ptr, (size_t)(f->handle_field.ptr - fields_start.ptr)));
	buf_append(out, span_of(field_end, (size_t)(end - field_end)));
}

const char *frame_kind_name(const struct frame *f)
{
	const char *name = event_kind_name(f->kind);

	return name ? name + 1 : "event";
}
