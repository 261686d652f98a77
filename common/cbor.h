/*
 * DAG-CBOR: a strict reader that allocates nothing, and an encoder.
 *
 * The reader takes only the deterministic form that event streams and repositories require (data
 * model specification; DRISL): definite lengths, shortest heads, tag 42 only, no floats, only
 * false, true and null, integers within int64, valid UTF-8, map keys that are text, not empty,
 * unique and in order (by length, then bytewise). Depth, the number of items, container sizes, key
 * and CID lengths are bounded by limits.h. Whatever breaks a rule is -EBADMSG, and the reader stays
 * where it was.
 *
 * Spans borrow from what is read.
 */
#pragma once

#include "common/bytes.h"

/* Not "cbor_type", and not "cbor_get_bool" below: those names are taken by libcbor, which we link.
 */
enum cbor_item_type {
	CBOR_INTEGER,
	CBOR_BYTES,
	CBOR_TEXT,
	CBOR_ARRAY,
	CBOR_MAP,
	CBOR_CID,
	CBOR_BOOL,
	CBOR_NULL,
};

/* One head and, for leaves, its content. Arrays and maps: count only; the entries follow in the
 * reader. */
struct cbor_item {
	enum cbor_item_type type;
	int64_t integer;
	bool boolean;
	size_t count;      /* entries of an array, pairs of a map */
	struct span bytes; /* content of bytes and text; of a CID the binary CID, without the 0x00
			      before it */
};

int cbor_get(struct reader *r, struct cbor_item *ret) MUST_CHECK;
/* The next item must be of this type. */
int cbor_get_integer(struct reader *r, int64_t *ret) MUST_CHECK;
int cbor_get_text(struct reader *r, struct span *ret) MUST_CHECK;
int cbor_get_bytes(struct reader *r, struct span *ret) MUST_CHECK;
int cbor_get_boolean(struct reader *r, bool *ret) MUST_CHECK;
int cbor_get_null(struct reader *r) MUST_CHECK;
/* The binary CID. */
int cbor_get_cid(struct reader *r, struct span *ret) MUST_CHECK;
/* Null gives an empty span. */
int cbor_get_cid_or_null(struct reader *r, struct span *ret) MUST_CHECK;
/* One whole item of any kind, all rules checked to its end, without recursion. ret_raw (may be
 * NULL) gets its bytes. */
int cbor_skip(struct reader *r, struct span *ret_raw) MUST_CHECK;
/* One item and nothing after it. */
int cbor_check(struct span item) MUST_CHECK;

/* The head of an array: its entries follow in the reader. */
int cbor_array_open(struct reader *r, size_t *ret_count) MUST_CHECK;

/* Walks a map whose head is still in the reader:
 *	for (error = cbor_map_open(r, &map); !error && cbor_map_more(&map);) { error =
 * cbor_map_key(r, &map, &key); ... value ... }
 */
struct cbor_map {
	size_t left;
	struct span last_key;
	size_t items; /* so far, the map among them */
};

int cbor_map_open(struct reader *r, struct cbor_map *ret) MUST_CHECK;
static inline bool cbor_map_more(const struct cbor_map *m)
{
	return m->left > 0;
}
/* The next key, its place in the order checked; the value is next in the reader and must be taken
 * before the next key. */
int cbor_map_key(struct reader *r, struct cbor_map *m, struct span *ret_key) MUST_CHECK;
/* As cbor_skip, of the value of the key that came last, in a map that is in no other item: the
 * limits on nesting and items are for the map as a whole. */
int cbor_map_skip(struct reader *r, struct cbor_map *m) MUST_CHECK;

/* Encoding. The caller gives map keys in their order. */
void cbor_put_integer(struct buf *b, int64_t v);
void cbor_put_bytes(struct buf *b, struct span s);
void cbor_put_text(struct buf *b, struct span s);
void cbor_put_array(struct buf *b, size_t count);
void cbor_put_map(struct buf *b, size_t count);
void cbor_put_cid(struct buf *b, struct span binary_cid);
void cbor_put_bool(struct buf *b, bool v);
void cbor_put_null(struct buf *b);
