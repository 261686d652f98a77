#include "common/cbor.h"

#include <assert.h>
#include <errno.h>

#include <cbor.h>

#include "common/limits.h"

/* The upper three bits of a head [RFC 8949, section 3.1]. */
enum {
	MAJOR_UNSIGNED,
	MAJOR_NEGATIVE,
	MAJOR_BYTES,
	MAJOR_TEXT,
	MAJOR_ARRAY,
	MAJOR_MAP,
	MAJOR_TAG,
	MAJOR_SIMPLE,
};

enum { SIMPLE_FALSE = 20, SIMPLE_TRUE = 21, SIMPLE_NULL = 22 };

/* The lower five bits of a head: the value itself, or that it follows in 1, 2, 4 or 8 bytes. */
#define INFO_U8  24
#define INFO_U64 27

/* A CID in CBOR: tag 42 around a byte string that starts with the identity multibase, 0x00
 * [DAG-CBOR: links]. */
#define TAG_CID    42
#define CID_PREFIX 0x00

#define HEAD_SIZE 9

struct head {
	unsigned major;
	uint64_t value;
};

/* A head in its shortest form. Floats get through here as simple values of 24 and more, and are
 * refused as such. */
static inline int get_head(struct reader *r, struct head *ret)
{
	unsigned info;
	size_t size;
	uint64_t value = 0;

	if (r->left == 0)
		return -EBADMSG;
	info = r->ptr[0] & 0x1f;
	ret->major = r->ptr[0] >> 5;
	if (info < INFO_U8) {
		ret->value = info;
		r->ptr++;
		r->left--;
		return 0;
	}
	if (info > INFO_U64)
		return -EBADMSG;
	size = (size_t)1 << (info - INFO_U8);
	if (r->left < 1 + size)
		return -EBADMSG;
	for (size_t i = 1; i <= size; i++)
		value = value << 8 | r->ptr[i];
	if (size == 1 ? value < INFO_U8 : value >> (4 * size) == 0)
		return -EBADMSG;
	ret->value = value;
	r->ptr += 1 + size;
	r->left -= 1 + size;
	return 0;
}

/*
 * UTF-8 as an automaton: no overlong forms, no surrogates, nothing past U+10FFFF [RFC 3629]. Each
 * byte has, six bits a state, the state that follows; so no text costs more than another by how its
 * characters are mixed.
 */
enum utf8_state { WHOLE, WRONG, WANTS_1, WANTS_2, WANTS_3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4 };

#define PUT(state, next)  ((uint64_t)(6 * (next)) << (6 * (state)))
#define FROM(state, next) (PUT(state, WRONG) ^ PUT(state, next)) /* instead of WRONG */
#define NO_BYTE                                                                                    \
	(PUT(WHOLE, WRONG) | PUT(WRONG, WRONG) | PUT(WANTS_1, WRONG) | PUT(WANTS_2, WRONG) |       \
	 PUT(WANTS_3, WRONG) | PUT(AFTER_E0, WRONG) | PUT(AFTER_ED, WRONG) |                       \
	 PUT(AFTER_F0, WRONG) | PUT(AFTER_F4, WRONG))
#define FIRST(next) (NO_BYTE ^ FROM(WHOLE, next))
#define LATER       (FROM(WANTS_1, WHOLE) ^ FROM(WANTS_2, WANTS_1) ^ FROM(WANTS_3, WANTS_2))

static const uint64_t utf8_next[256] = {
	[0x00 ... 0x7f] = FIRST(WHOLE),
	[0x80 ... 0x8f] = NO_BYTE ^ LATER ^ FROM(AFTER_ED, WANTS_1) ^ FROM(AFTER_F4, WANTS_2),
	[0x90 ... 0x9f] = NO_BYTE ^ LATER ^ FROM(AFTER_ED, WANTS_1) ^ FROM(AFTER_F0, WANTS_2),
	[0xa0 ... 0xbf] = NO_BYTE ^ LATER ^ FROM(AFTER_E0, WANTS_1) ^ FROM(AFTER_F0, WANTS_2),
	[0xc0 ... 0xc1] = NO_BYTE,
	[0xc2 ... 0xdf] = FIRST(WANTS_1),
	[0xe0] = FIRST(AFTER_E0),
	[0xe1 ... 0xec] = FIRST(WANTS_2),
	[0xed] = FIRST(AFTER_ED),
	[0xee ... 0xef] = FIRST(WANTS_2),
	[0xf0] = FIRST(AFTER_F0),
	[0xf1 ... 0xf3] = FIRST(WANTS_3),
	[0xf4] = FIRST(AFTER_F4),
	[0xf5 ... 0xff] = NO_BYTE,
};

/* The state, as what six times it shifts. */
static inline uint64_t utf8_feed(uint64_t state, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		state = utf8_next[p[i]] >> state & 63;
	return state;
}

/* Fewer than eight bytes, in two that overlap, as most words are. */
static inline bool is_short_ascii(const uint8_t *p, size_t len)
{
	uint32_t low, high;

	if (len >= sizeof(low)) {
		memcpy(&low, p, sizeof(low));
		memcpy(&high, p + len - sizeof(high), sizeof(high));
		return ((low | high) & 0x80808080u) == 0;
	}
	return len == 0 || ((p[0] | p[len / 2] | p[len - 1]) & 0x80) == 0;
}

static bool utf8_is_valid(struct span s)
{
	const uint8_t *p = s.ptr;
	uint64_t eight, state = 6 * WHOLE;
	size_t left = s.len;

	for (; left >= sizeof(eight); p += sizeof(eight), left -= sizeof(eight)) {
		memcpy(&eight, p, sizeof(eight));
		if (state != 6 * WHOLE || (eight & 0x8080808080808080u) != 0)
			state = utf8_feed(state, p, sizeof(eight));
	}
	if (state == 6 * WHOLE && is_short_ascii(p, left))
		return true;
	return utf8_feed(state, p, left) == 6 * WHOLE;
}

/* What follows the head of a CID. */
static int get_cid(struct reader *r, struct span *ret)
{
	struct head head;
	struct span s;

	if (get_head(r, &head) < 0 || head.major != MAJOR_BYTES || head.value < 2 ||
	    head.value > 1 + LIMIT_CBOR_CID)
		return -EBADMSG;
	if (reader_get_span(r, (size_t)head.value, &s) < 0 || s.ptr[0] != CID_PREFIX)
		return -EBADMSG;
	*ret = span_of(s.ptr + 1, s.len - 1);
	return 0;
}

static inline int get_simple(uint64_t value, struct cbor_item *ret)
{
	if (value == SIMPLE_NULL) {
		ret->type = CBOR_NULL;
		return 0;
	}
	ret->type = CBOR_BOOL;
	ret->boolean = value == SIMPLE_TRUE;
	return value == SIMPLE_TRUE || value == SIMPLE_FALSE ? 0 : -EBADMSG;
}

/* Content of bytes or text. */
static inline int get_string(struct reader *r, const struct head *head, struct cbor_item *ret)
{
	ret->type = head->major == MAJOR_TEXT ? CBOR_TEXT : CBOR_BYTES;
	if (head->value > r->left || reader_get_span(r, (size_t)head->value, &ret->bytes) < 0)
		return -EBADMSG;
	return ret->type == CBOR_BYTES || utf8_is_valid(ret->bytes) ? 0 : -EBADMSG;
}

/* An entry has at least one byte, a pair three (no key is empty): a count that cannot be true is
 * refused before its entries. */
static inline int get_container(const struct reader *r, const struct head *head,
				struct cbor_item *ret)
{
	size_t smallest = head->major == MAJOR_MAP ? 3 : 1;

	ret->type = head->major == MAJOR_MAP ? CBOR_MAP : CBOR_ARRAY;
	if (head->value > LIMIT_CBOR_CONTAINER || head->value * smallest > r->left)
		return -EBADMSG;
	ret->count = (size_t)head->value;
	return 0;
}

static inline int get_integer(const struct head *head, struct cbor_item *ret)
{
	ret->type = CBOR_INTEGER;
	if (head->value > INT64_MAX)
		return -EBADMSG;
	ret->integer = (int64_t)head->value;
	if (head->major == MAJOR_NEGATIVE)
		ret->integer = -1 - ret->integer;
	return 0;
}

/* As cbor_get, but on failure both arguments are in any state. */
static inline int get_item(struct reader *r, struct cbor_item *ret)
{
	struct head head;

	if (get_head(r, &head) < 0)
		return -EBADMSG;
	switch (head.major) {
	case MAJOR_UNSIGNED:
	case MAJOR_NEGATIVE:
		return get_integer(&head, ret);
	case MAJOR_BYTES:
	case MAJOR_TEXT:
		return get_string(r, &head, ret);
	case MAJOR_ARRAY:
	case MAJOR_MAP:
		return get_container(r, &head, ret);
	case MAJOR_TAG:
		ret->type = CBOR_CID;
		return head.value == TAG_CID ? get_cid(r, &ret->bytes) : -EBADMSG;
	default:
		return get_simple(head.value, ret);
	}
}

int cbor_get(struct reader *r, struct cbor_item *ret)
{
	struct reader in = *r;
	struct cbor_item item = {0};

	if (get_item(&in, &item) < 0)
		return -EBADMSG;
	*r = in;
	*ret = item;
	return 0;
}

int cbor_get_integer(struct reader *r, int64_t *ret)
{
	struct reader in = *r;
	struct cbor_item item;
	struct head head;

	if (get_head(&in, &head) < 0 || head.major > MAJOR_NEGATIVE ||
	    get_integer(&head, &item) < 0)
		return -EBADMSG;
	*r = in;
	*ret = item.integer;
	return 0;
}

static inline int get_string_of(struct reader *r, unsigned major, struct span *ret)
{
	struct reader in = *r;
	struct cbor_item item;
	struct head head;

	if (get_head(&in, &head) < 0 || head.major != major || get_string(&in, &head, &item) < 0)
		return -EBADMSG;
	*r = in;
	*ret = item.bytes;
	return 0;
}

int cbor_get_text(struct reader *r, struct span *ret)
{
	return get_string_of(r, MAJOR_TEXT, ret);
}

int cbor_get_bytes(struct reader *r, struct span *ret)
{
	return get_string_of(r, MAJOR_BYTES, ret);
}

/* True, false or null. */
static inline int get_simple_of(struct reader *r, enum cbor_item_type type, bool *ret)
{
	struct reader in = *r;
	struct cbor_item item = {0};
	struct head head;

	if (get_head(&in, &head) < 0 || head.major != MAJOR_SIMPLE ||
	    get_simple(head.value, &item) < 0 || item.type != type)
		return -EBADMSG;
	*r = in;
	*ret = item.boolean;
	return 0;
}

int cbor_get_boolean(struct reader *r, bool *ret)
{
	return get_simple_of(r, CBOR_BOOL, ret);
}

int cbor_get_null(struct reader *r)
{
	bool none;

	return get_simple_of(r, CBOR_NULL, &none);
}

int cbor_get_cid(struct reader *r, struct span *ret)
{
	struct reader in = *r;
	struct head head;

	if (get_head(&in, &head) < 0 || head.major != MAJOR_TAG || head.value != TAG_CID ||
	    get_cid(&in, ret) < 0)
		return -EBADMSG;
	*r = in;
	return 0;
}

int cbor_get_cid_or_null(struct reader *r, struct span *ret)
{
	if (cbor_get_null(r) < 0)
		return cbor_get_cid(r, ret);
	*ret = SPAN_EMPTY;
	return 0;
}

/* The head of an array or a map. */
static inline int get_count(struct reader *r, unsigned major, size_t *ret)
{
	struct reader in = *r;
	struct cbor_item item;
	struct head head;

	if (get_head(&in, &head) < 0 || head.major != major || get_container(&in, &head, &item) < 0)
		return -EBADMSG;
	*r = in;
	*ret = item.count;
	return 0;
}

int cbor_array_open(struct reader *r, size_t *ret_count)
{
	return get_count(r, MAJOR_ARRAY, ret_count);
}

/* By length, then bytewise [data model: maps]. */
static inline bool key_is_after(struct span key, struct span last)
{
	return key.len != last.len ? key.len > last.len : memcmp(key.ptr, last.ptr, key.len) > 0;
}

/* As cbor_map_key, but on failure the reader is in any state. */
static inline int get_key(struct reader *r, struct cbor_map *m, struct span *ret_key)
{
	struct cbor_item item;
	struct head head;

	if (get_head(r, &head) < 0 || head.major != MAJOR_TEXT || head.value == 0 ||
	    head.value > LIMIT_CBOR_KEY || get_string(r, &head, &item) < 0)
		return -EBADMSG;
	if (!key_is_after(item.bytes, m->last_key))
		return -EBADMSG;
	m->left--;
	m->last_key = item.bytes;
	*ret_key = item.bytes;
	return 0;
}

/* A container whose entries are being skipped. Of an array, only how many are left counts. */
struct level {
	bool is_map;
	struct cbor_map map;
};

/* What stands before the next entry: in a map its key. */
static inline int enter_next(struct reader *r, struct level *l)
{
	struct span key;

	if (l->is_map)
		return get_key(r, &l->map, &key);
	l->map.left--;
	return 0;
}

/* Within so many containers, and after so many items. On failure the reader is in any state. */
static inline int skip(struct reader *in, size_t outside, size_t *items)
{
	struct level levels[LIMIT_CBOR_DEPTH];
	size_t depth = 0;
	struct cbor_item item;

	do {
		if (++*items > LIMIT_CBOR_ITEMS)
			return -EBADMSG;
		if (depth > 0 && enter_next(in, &levels[depth - 1]) < 0)
			return -EBADMSG;
		if (get_item(in, &item) < 0)
			return -EBADMSG;
		if (item.type == CBOR_ARRAY || item.type == CBOR_MAP) {
			if (outside + depth == ARRAY_SIZE(levels))
				return -EBADMSG;
			levels[depth].is_map = item.type == CBOR_MAP;
			levels[depth].map = (struct cbor_map){.left = item.count};
			depth++;
		}
		while (depth > 0 && levels[depth - 1].map.left == 0)
			depth--;
	} while (depth > 0);
	return 0;
}

int cbor_skip(struct reader *r, struct span *ret_raw)
{
	struct reader in = *r;
	size_t items = 0;

	if (skip(&in, 0, &items) < 0)
		return -EBADMSG;
	if (ret_raw)
		*ret_raw = span_of(r->ptr, r->left - in.left);
	*r = in;
	return 0;
}

int cbor_check(struct span item)
{
	struct reader r = reader_of(item);

	if (cbor_skip(&r, NULL) < 0 || r.left > 0)
		return -EBADMSG;
	return 0;
}

int cbor_map_open(struct reader *r, struct cbor_map *ret)
{
	size_t count;

	if (get_count(r, MAJOR_MAP, &count) < 0)
		return -EBADMSG;
	*ret = (struct cbor_map){.left = count, .items = 1};
	return 0;
}

int cbor_map_key(struct reader *r, struct cbor_map *m, struct span *ret_key)
{
	struct reader in = *r;

	assert(m->left > 0);
	if (get_key(&in, m, ret_key) < 0)
		return -EBADMSG;
	m->items++;
	*r = in;
	return 0;
}

int cbor_map_skip(struct reader *r, struct cbor_map *m)
{
	struct reader in = *r;
	size_t items = m->items - 1; /* its key has counted the value */

	if (skip(&in, 1, &items) < 0)
		return -EBADMSG;
	m->items = items;
	*r = in;
	return 0;
}

void cbor_put_integer(struct buf *b, int64_t v)
{
	uint8_t head[HEAD_SIZE];
	size_t size = v >= 0 ? cbor_encode_uint((uint64_t)v, head, sizeof(head))
			     : cbor_encode_negint((uint64_t)(-1 - v), head, sizeof(head));

	buf_append(b, span_of(head, size));
}

void cbor_put_bytes(struct buf *b, struct span s)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_bytestring_start(s.len, head, sizeof(head))));
	buf_append(b, s);
}

void cbor_put_text(struct buf *b, struct span s)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_string_start(s.len, head, sizeof(head))));
	buf_append(b, s);
}

void cbor_put_array(struct buf *b, size_t count)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_array_start(count, head, sizeof(head))));
}

void cbor_put_map(struct buf *b, size_t count)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_map_start(count, head, sizeof(head))));
}

void cbor_put_cid(struct buf *b, struct span binary_cid)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_tag(TAG_CID, head, sizeof(head))));
	buf_append(b, span_of(head, cbor_encode_bytestring_start(1 + binary_cid.len, head,
								 sizeof(head))));
	buf_put_u8(b, CID_PREFIX);
	buf_append(b, binary_cid);
}

void cbor_put_bool(struct buf *b, bool v)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_bool(v, head, sizeof(head))));
}

void cbor_put_null(struct buf *b)
{
	uint8_t head[HEAD_SIZE];

	buf_append(b, span_of(head, cbor_encode_null(head, sizeof(head))));
}
