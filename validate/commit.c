#include "validate/commit.h"

#include "common/cbor.h"
#include "common/limits.h"
#include "common/syntax.h"

#define COMMIT_VERSION 3

enum {
	HAS_DID = 1,
	HAS_REV = 2,
	HAS_SIG = 4,
	HAS_DATA = 8,
	HAS_PREV = 16,
	HAS_VERSION = 32,
	HAS_ALL = 63,
};

static int get_text(struct reader *r, bool (*is_valid)(struct span s), struct span *ret)
{
	return cbor_get_text(r, ret) < 0 || !is_valid(*ret) ? -1 : 0;
}

static int get_data(struct reader *r, struct cid *ret)
{
	struct span binary;

	return cbor_get_cid(r, &binary) < 0 ? -1 : cid_decode_dag_cbor(binary, ret);
}

/* The link to the commit before: null in nearly all repositories, and not followed in any. */
static int get_prev(struct reader *r)
{
	struct span binary;
	struct cid cid;

	if (cbor_get_cid_or_null(r, &binary) < 0)
		return -1;
	return binary.len == 0 ? 0 : cid_decode_dag_cbor(binary, &cid);
}

static int get_version(struct reader *r)
{
	int64_t version;

	return cbor_get_integer(r, &version) < 0 || version != COMMIT_VERSION ? -1 : 0;
}

static int get_sig(struct reader *r, struct commit *c)
{
	/* The key, in its canonical form, stands right before its value. */
	const uint8_t *start = r->ptr - 1 - strlen("sig");

	if (cbor_get_bytes(r, &c->sig) < 0 || c->sig.len != COMMIT_SIGNATURE_SIZE)
		return -1;
	c->sig_field = span_of(start, (size_t)(r->ptr - start));
	return 0;
}

static int get_field(struct reader *r, struct cbor_map *map, struct span key, struct commit *c,
		     unsigned *seen)
{
	if (span_is(key, "did")) {
		*seen |= HAS_DID;
		return get_text(r, did_is_valid, &c->did);
	}
	if (span_is(key, "rev")) {
		*seen |= HAS_REV;
		return get_text(r, tid_is_valid, &c->rev);
	}
	if (span_is(key, "sig")) {
		*seen |= HAS_SIG;
		return get_sig(r, c);
	}
	if (span_is(key, "data")) {
		*seen |= HAS_DATA;
		return get_data(r, &c->data);
	}
	if (span_is(key, "prev")) {
		*seen |= HAS_PREV;
		return get_prev(r);
	}
	if (span_is(key, "version")) {
		*seen |= HAS_VERSION;
		return get_version(r);
	}
	return cbor_map_skip(r, map);
}

enum verdict commit_decode(struct span block, struct commit *ret)
{
	struct reader r = reader_of(block);
	struct commit c = {.block = block};
	struct cbor_map map;
	struct span key;
	unsigned seen = 0;

	if (block.len > LIMIT_COMMIT_OBJECT || cbor_map_open(&r, &map) < 0)
		return VERDICT_COMMIT_BAD_OBJECT;
	c.field_count = map.left;
	while (cbor_map_more(&map))
		if (cbor_map_key(&r, &map, &key) < 0 || get_field(&r, &map, key, &c, &seen) < 0)
			return VERDICT_COMMIT_BAD_OBJECT;
	if (seen != HAS_ALL || r.left > 0)
		return VERDICT_COMMIT_BAD_OBJECT;
	*ret = c;
	return VERDICT_ACCEPTED;
}

void commit_unsigned(const struct commit *c, struct buf *out)
{
	struct reader fields = reader_of(c->block);
	const uint8_t *sig_end = c->sig_field.ptr + c->sig_field.len;
	const uint8_t *end = c->block.ptr + c->block.len;
	struct cbor_map map;

	buf_clear(out);
	cbor_put_map(out, c->field_count - 1);
	/* It was opened before. */
	if (cbor_map_open(&fields, &map) < 0)
		return;
	buf_append(out, span_of(fields.ptr, (size_t)(c->sig_field.ptr - fields.ptr)));
	buf_append(out, span_of(sig_end, (size_t)(end - sig_end)));
}
