#include "validate/node.h"

#include <errno.h>

#include "common/cbor.h"
#include "common/limits.h"

unsigned node_key_height(struct span key)
{
	uint8_t digest[SHA256_SIZE];
	unsigned height = 0;

	sha256(key, digest);
	for (size_t i = 0; i < SHA256_SIZE; i++) {
		if (digest[i] == 0) {
			height += 4;
			continue;
		}
		return height + (unsigned)(__builtin_clz(digest[i]) - 24) / 2;
	}
	return height;
}

/* The next key of a map of which nothing but this key may come next. */
static int get_key(struct reader *r, struct cbor_map *map, const char *name)
{
	struct span key;

	if (!cbor_map_more(map) || cbor_map_key(r, map, &key) < 0 || !span_is(key, name))
		return -EBADMSG;
	return 0;
}

static int get_link(struct reader *r, struct link *ret)
{
	struct span binary;
	struct cid cid;

	if (cbor_get_cid_or_null(r, &binary) < 0)
		return -EBADMSG;
	if (binary.len > 0 && cid_decode_dag_cbor(binary, &cid) < 0)
		return -EBADMSG;
	ret->node = NULL;
	ret->stub = binary.len > 0 ? binary.ptr + CID_SIZE - SHA256_SIZE : NULL;
	return 0;
}

static size_t shared_prefix(struct span a, struct span b)
{
	size_t n = 0, max = a.len < b.len ? a.len : b.len;

	while (n < max && a.ptr[n] == b.ptr[n])
		n++;
	return n;
}

/* The whole key, from what it shares with the last one and the rest; both limits are kept. */
static int make_key(struct arena *a, struct span last, int64_t prefix, struct span suffix,
		    size_t *key_bytes, struct span *ret)
{
	struct span key = suffix;
	size_t shared;

	if (prefix < 0 || (uint64_t)prefix > last.len)
		return -EBADMSG;
	shared = (size_t)prefix;
	if (suffix.len > LIMIT_MST_KEY - shared || shared + suffix.len > *key_bytes)
		return -EBADMSG;
	*key_bytes -= shared + suffix.len;
	if (shared > 0) {
		uint8_t *bytes = arena_get(a, shared + suffix.len);

		memcpy(bytes, last.ptr, shared);
		if (suffix.len > 0)
			memcpy(bytes + shared, suffix.ptr, suffix.len);
		key = span_of(bytes, shared + suffix.len);
	}
	/* Ascending, so never empty; and the prefix is as long as it can be. */
	if (span_compare(last, key) >= 0 || shared_prefix(last, key) != shared)
		return -EBADMSG;
	*ret = key;
	return 0;
}

static int get_entry(struct reader *r, struct arena *a, struct span last, size_t *key_bytes,
		     struct entry *ret)
{
	struct cbor_map map;
	struct cbor_item value;
	struct span suffix;
	int64_t prefix;

	*ret = (struct entry){0};
	if (cbor_map_open(r, &map) < 0 || get_key(r, &map, "k") < 0 ||
	    cbor_get_bytes(r, &suffix) < 0 || get_key(r, &map, "p") < 0 ||
	    cbor_get_integer(r, &prefix) < 0 ||
	    make_key(a, last, prefix, suffix, key_bytes, &ret->key) < 0 ||
	    get_key(r, &map, "t") < 0 || get_link(r, &ret->right) < 0 ||
	    get_key(r, &map, "v") < 0 || cbor_get_type(r, CBOR_CID, &value) < 0 ||
	    cbor_map_more(&map))
		return -EBADMSG;
	ret->value = value.bytes;
	return 0;
}

static int get_entries(struct reader *r, struct arena *a, size_t *key_bytes, struct node *n)
{
	struct entry **end = &n->first;
	struct span last = SPAN_EMPTY;
	struct cbor_item array;

	if (cbor_get_type(r, CBOR_ARRAY, &array) < 0 || array.count > LIMIT_MST_ENTRIES)
		return -EBADMSG;
	for (size_t i = 0; i < array.count; i++) {
		struct entry *e = arena_get(a, sizeof(*e));
		unsigned height;

		if (get_entry(r, a, last, key_bytes, e) < 0)
			return -EBADMSG;
		height = node_key_height(e->key);
		if (i > 0 && height != n->height)
			return -EBADMSG;
		n->height = height;
		last = e->key;
		*end = e;
		end = &e->next;
	}
	return 0;
}

enum verdict node_decode(struct span block, struct arena *a, size_t *key_bytes, struct node **ret)
{
	struct reader r = reader_of(block);
	struct node *n = arena_get(a, sizeof(*n));
	struct cbor_map map;

	*n = (struct node){0};
	if (cbor_map_open(&r, &map) < 0 || get_key(&r, &map, "e") < 0 ||
	    get_entries(&r, a, key_bytes, n) < 0 || get_key(&r, &map, "l") < 0 ||
	    get_link(&r, &n->left) < 0 || cbor_map_more(&map) || r.left > 0)
		return VERDICT_MST_BAD_NODE;
	*ret = n;
	return VERDICT_ACCEPTED;
}

static void put_link(struct buf *b, struct link link)
{
	uint8_t binary[CID_SIZE];
	struct cid cid = {.codec = CID_DAG_CBOR};

	if (link_is_empty(link)) {
		cbor_put_null(b);
		return;
	}
	memcpy(cid.digest, link.node ? link.node->digest : link.stub, SHA256_SIZE);
	cid_encode(&cid, binary);
	cbor_put_cid(b, span_of(binary, sizeof(binary)));
}

static void put_entry(struct buf *b, const struct entry *e, struct span last)
{
	size_t shared = shared_prefix(last, e->key);

	cbor_put_map(b, 4);
	cbor_put_text(b, SPAN_LITERAL("k"));
	cbor_put_bytes(b, span_of(e->key.ptr + shared, e->key.len - shared));
	cbor_put_text(b, SPAN_LITERAL("p"));
	cbor_put_integer(b, (int64_t)shared);
	cbor_put_text(b, SPAN_LITERAL("t"));
	put_link(b, e->right);
	cbor_put_text(b, SPAN_LITERAL("v"));
	cbor_put_cid(b, e->value);
}

void node_encode(const struct node *n, struct buf *b)
{
	struct span last = SPAN_EMPTY;
	size_t count = 0;

	for (const struct entry *e = n->first; e; e = e->next)
		count++;
	cbor_put_map(b, 2);
	cbor_put_text(b, SPAN_LITERAL("e"));
	cbor_put_array(b, count);
	for (const struct entry *e = n->first; e; e = e->next) {
		put_entry(b, e, last);
		last = e->key;
	}
	cbor_put_text(b, SPAN_LITERAL("l"));
	put_link(b, n->left);
}
