#include "ingest/frame.h"

#include <errno.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "common/syntax.h"

struct header {
	bool has_op;
	int64_t op;
	struct span type;
};

/* A value of another type than the one wanted counts as absent; one that is no CBOR is an error. */

static int get_integer(struct reader *r, struct cbor_map *m, bool *ret_has, int64_t *ret)
{
	*ret_has = cbor_get_integer(r, ret) == 0;
	return *ret_has ? 0 : cbor_map_skip(r, m);
}

static int get_text(struct reader *r, struct cbor_map *m, struct span *ret)
{
	return cbor_get_text(r, ret) == 0 ? 0 : cbor_map_skip(r, m);
}

static int scan_header(struct reader *r, struct header *ret)
{
	struct cbor_map map;
	struct span key;
	int error;

	for (error = cbor_map_open(r, &map); !error && cbor_map_more(&map);) {
		error = cbor_map_key(r, &map, &key);
		if (error)
			break;
		if (span_is(key, "op"))
			error = get_integer(r, &map, &ret->has_op, &ret->op);
		else if (span_is(key, "t"))
			error = get_text(r, &map, &ret->type);
		else
			error = cbor_map_skip(r, &map);
	}
	return error;
}

/* The names of the payload's fields that are wanted; NULL: not wanted. */
struct wanted {
	const char *did;
	const char *name;
	bool rev;
};

static int take_rev(struct reader *r, struct cbor_map *m, struct frame *f)
{
	struct span rev = SPAN_EMPTY;
	int error = get_text(r, m, &rev);

	if (!error && tid_is_valid(rev))
		f->rev_usec = tid_usec(rev);
	return error;
}

static int take_field(struct reader *r, struct cbor_map *m, struct span key, const struct wanted *w,
		      struct frame *f)
{
	int64_t seq = 0;
	bool has;
	int error;

	if (w->did && span_is(key, w->did))
		return get_text(r, m, &f->did);
	if (w->name && span_is(key, w->name))
		return get_text(r, m, &f->name);
	if (w->name && span_is(key, "message"))
		return get_text(r, m, &f->message);
	if (w->rev && span_is(key, "rev"))
		return take_rev(r, m, f);
	if (!span_is(key, "seq"))
		return cbor_map_skip(r, m);
	error = get_integer(r, m, &has, &seq);
	if (!error && has && seq > 0 && seq < LIMIT_SEQ)
		f->seq = (uint64_t)seq;
	return error;
}

static int scan_payload(struct reader *r, const struct wanted *w, struct frame *f)
{
	struct cbor_map map;
	struct span key;
	int error;

	for (error = cbor_map_open(r, &map); !error && cbor_map_more(&map);) {
		error = cbor_map_key(r, &map, &key);
		if (!error)
			error = take_field(r, &map, key, w, f);
	}
	return error;
}

/* What the header says the frame is, and with it what to look for in the payload. */
static enum frame_class classify(const struct header *h, struct wanted *ret)
{
	*ret = (struct wanted){0};
	if (!h->has_op)
		return FRAME_BAD_FIELDS;
	if (h->op == -1) {
		ret->name = "error";
		return FRAME_ERROR;
	}
	if (h->op != 1)
		return FRAME_UNKNOWN;
	if (h->type.len == 0)
		return FRAME_BAD_FIELDS;
	if (span_is(h->type, "#info")) {
		ret->name = "name";
		return FRAME_INFO;
	}
	if (span_is(h->type, "#commit"))
		ret->did = "repo";
	else if (span_is(h->type, "#sync") || span_is(h->type, "#identity") ||
		 span_is(h->type, "#account"))
		ret->did = "did";
	ret->rev = span_is(h->type, "#commit") || span_is(h->type, "#sync");
	return ret->did ? FRAME_EVENT : FRAME_UNKNOWN;
}

int frame_scan(struct span bytes, struct frame *ret)
{
	struct reader r = reader_of(bytes);
	struct header header = {0};
	struct frame f = {0};
	struct wanted wanted;
	int error = scan_header(&r, &header);

	if (error)
		return error;
	f.class = classify(&header, &wanted);
	f.type = header.type;
	error = scan_payload(&r, &wanted, &f);
	if (error || r.left > 0)
		return -EBADMSG;
	if (f.class == FRAME_EVENT && (!f.seq || !f.did.len))
		f.class = FRAME_BAD_FIELDS;
	*ret = f;
	return 0;
}
