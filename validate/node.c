#include "validate/node.h"

#include <errno.h>

#include "common/cbor.h"
#include "common/limits.h"

/*
 * The bytes of a node that are the same in all of them: heads of maps, their keys, and what a link
 * has before its digest. There is one form only, so it is not parsed but compared.
 */
#define NODE_ENTRIES "\xa2\x61\x65" /* a map of 2, "e" */
#define NODE_LEFT    "\x61\x6c"     /* "l" */
#define ENTRY_SUFFIX "\xa4\x61\x6b" /* a map of 4, "k" */
#define ENTRY_PREFIX "\x61\x70"     /* "p" */
#define ENTRY_RIGHT  "\x61\x74"     /* "t" */
#define ENTRY_VALUE  "\x61\x76"     /* "v" */
#define LINK         "\xd8\x2a\x58\x25\x00\x01\x71\x12\x20"
#define NULL_LINK    "\xf6"
#define CID_HEAD     "\xd8\x2a\x58\x25\x00" /* before a CID of CID_SIZE bytes */

unsigned node_height_of(const uint8_t digest[static SHA256_SIZE])
{
	unsigned height = 0;

	for (size_t i = 0; i < SHA256_SIZE; i++) {
		if (digest[i] != 0)
			return height + (unsigned)(__builtin_clz(digest[i]) - 24) / 2;
		height += 4;
	}
	return height;
}

unsigned node_key_height(struct span key)
{
	uint8_t digest[SHA256_SIZE];

	sha256(key, digest);
	return node_height_of(digest);
}

static int get_literal(struct reader *r, struct span bytes)
{
	if (r->left < bytes.len || memcmp(r->ptr, bytes.ptr, bytes.len) != 0)
		return -EBADMSG;
	r->ptr += bytes.len;
	r->left -= bytes.len;
	return 0;
}

/* The digest of a link to a node; NULL for null. */
static int get_link(struct reader *r, const uint8_t **ret)
{
	struct span digest;

	if (get_literal(r, SPAN_LITERAL(NULL_LINK)) == 0) {
		*ret = NULL;
		return 0;
	}
	if (get_literal(r, SPAN_LITERAL(LINK)) < 0 || reader_get_span(r, SHA256_SIZE, &digest) < 0)
		return -EBADMSG;
	*ret = digest.ptr;
	return 0;
}

/* A CID of any kind; nearly all have the same size. */
static int get_value(struct reader *r, struct span *ret)
{
	const size_t head = sizeof(CID_HEAD) - 1;

	if (r->left >= head + CID_SIZE && memcmp(r->ptr, CID_HEAD, head) == 0) {
		*ret = span_of(r->ptr + head, CID_SIZE);
		r->ptr += head + CID_SIZE;
		r->left -= head + CID_SIZE;
		return 0;
	}
	return cbor_get_cid(r, ret);
}

/*
 * The whole key, from what it shares with the last one and the rest; both limits are kept. It must
 * come after the last one, and differ from it at once where the shared prefix ends, else the prefix
 * were not as long as it can be. So it is never empty.
 */
static int make_key(struct arena *a, struct span last, int64_t prefix, struct span suffix,
		    size_t *key_bytes, struct span *ret)
{
	size_t shared;
	uint8_t *bytes;

	if (prefix < 0 || (uint64_t)prefix > last.len || suffix.len == 0)
		return -EBADMSG;
	shared = (size_t)prefix;
	if (shared < last.len && suffix.ptr[0] <= last.ptr[shared])
		return -EBADMSG;
	if (shared > LIMIT_MST_KEY || suffix.len > LIMIT_MST_KEY - shared ||
	    shared + suffix.len > *key_bytes)
		return -EBADMSG;
	*key_bytes -= shared + suffix.len;
	*ret = suffix;
	if (shared == 0)
		return 0;
	bytes = arena_get(a, shared + suffix.len);
	memcpy(bytes, last.ptr, shared);
	memcpy(bytes + shared, suffix.ptr, suffix.len);
	*ret = span_of(bytes, shared + suffix.len);
	return 0;
}

static int get_entry(struct reader *r, struct arena *a, const struct entry *last, size_t *key_bytes,
		     struct entry *ret)
{
	const uint8_t *start = r->ptr;
	struct span suffix;
	int64_t prefix;

	if (get_literal(r, SPAN_LITERAL(ENTRY_SUFFIX)) < 0 || cbor_get_bytes(r, &suffix) < 0 ||
	    get_literal(r, SPAN_LITERAL(ENTRY_PREFIX)) < 0 || cbor_get_integer(r, &prefix) < 0 ||
	    get_literal(r, SPAN_LITERAL(ENTRY_RIGHT)) < 0 || get_link(r, &ret->raw_right) < 0 ||
	    get_literal(r, SPAN_LITERAL(ENTRY_VALUE)) < 0 || get_value(r, &ret->value) < 0 ||
	    make_key(a, last ? last->key : SPAN_EMPTY, prefix, suffix, key_bytes, &ret->key) < 0)
		return -EBADMSG;
	ret->next = NULL;
	ret->right = (struct link){.stub = ret->raw_right};
	ret->raw = span_of(start, (size_t)(r->ptr - start));
	ret->after = last;
	return 0;
}

static int get_entries(struct reader *r, struct arena *a, size_t *key_bytes, struct node *n)
{
	struct entry **end = &n->first, *last = NULL;
	size_t count;

	if (cbor_array_open(r, &count) < 0 || count > LIMIT_MST_ENTRIES)
		return -EBADMSG;
	for (n->count = 0; n->count < count; n->count++) {
		struct entry *e = arena_get(a, sizeof(*e));

		if (get_entry(r, a, last, key_bytes, e) < 0)
			return -EBADMSG;
		*end = last = e;
		end = &e->next;
	}
	return 0;
}

enum verdict node_decode(struct span block, struct arena *a, size_t *key_bytes, struct node **ret)
{
	struct reader r = reader_of(block);
	struct node *n = arena_get(a, sizeof(*n));

	*n = (struct node){0};
	if (get_literal(&r, SPAN_LITERAL(NODE_ENTRIES)) < 0 ||
	    get_entries(&r, a, key_bytes, n) < 0 || get_literal(&r, SPAN_LITERAL(NODE_LEFT)) < 0 ||
	    get_link(&r, &n->left.stub) < 0 || r.left > 0)
		return VERDICT_MST_BAD_NODE;
	*ret = n;
	return VERDICT_ACCEPTED;
}

static void put_link(struct buf *b, struct link link)
{
	if (!link.stub) {
		buf_append(b, SPAN_LITERAL(NULL_LINK));
		return;
	}
	buf_append(b, SPAN_LITERAL(LINK));
	buf_append(b, span_of(link.stub, SHA256_SIZE));
}

static size_t shared_prefix(struct span a, struct span b)
{
	size_t n = 0, max = a.len < b.len ? a.len : b.len;

	while (n < max && a.ptr[n] == b.ptr[n])
		n++;
	return n;
}

/* As it was decoded, with the right link of today. */
static void copy_entry(struct buf *b, const struct entry *e)
{
	size_t at = b->len;

	buf_append(b, e->raw);
	if (e->right.stub && e->right.stub != e->raw_right)
		memcpy(b->ptr + at + (e->raw_right - e->raw.ptr), e->right.stub, SHA256_SIZE);
}

static void put_entry(struct buf *b, const struct entry *e, const struct entry *last)
{
	size_t shared = last ? shared_prefix(last->key, e->key) : 0;

	buf_append(b, SPAN_LITERAL(ENTRY_SUFFIX));
	cbor_put_bytes(b, span_of(e->key.ptr + shared, e->key.len - shared));
	buf_append(b, SPAN_LITERAL(ENTRY_PREFIX));
	cbor_put_integer(b, (int64_t)shared);
	buf_append(b, SPAN_LITERAL(ENTRY_RIGHT));
	put_link(b, e->right);
	buf_append(b, SPAN_LITERAL(ENTRY_VALUE));
	cbor_put_cid(b, e->value);
}

void node_encode(const struct node *n, struct buf *b)
{
	const struct entry *e = n->first, *last = NULL;

	buf_append(b, SPAN_LITERAL(NODE_ENTRIES));
	cbor_put_array(b, n->count);
	for (size_t i = 0; i < n->count; i++, last = e, e = e->next)
		if (e->raw.len > 0 && e->after == last && !e->raw_right == !e->right.stub)
			copy_entry(b, e);
		else
			put_entry(b, e, last);
	buf_append(b, SPAN_LITERAL(NODE_LEFT));
	put_link(b, n->left);
}
