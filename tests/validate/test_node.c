#include "validate/node.h"

#include "common/limits.h"
#include "tests/lib/forge.h"
#include "tests/lib/json.h"
#include "tests/test.h"

static const struct cid value = {.codec = CID_DAG_CBOR, .digest = {1}};
static const struct cid other = {.codec = CID_DAG_CBOR, .digest = {2}};

static enum verdict decode(struct span block, struct arena *a, struct node **ret)
{
	size_t key_bytes = MIB(16);

	return node_decode(block, a, &key_bytes, ret);
}

static enum verdict decode_once(struct span block)
{
	struct arena a;
	struct node *n;
	enum verdict v;

	arena_init(&a);
	v = decode(block, &a, &n);
	arena_release(&a);
	return v;
}

TEST(heights)
{
	CHECK_INT(node_key_height(SPAN_LITERAL("2653ae71")), 0);
	CHECK_INT(node_key_height(SPAN_LITERAL("blue")), 1);
	CHECK_INT(node_key_height(SPAN_LITERAL("app.bsky.feed.post/454397e440ec")), 4);
	CHECK_INT(node_key_height(SPAN_LITERAL("app.bsky.feed.post/9adeb165882c")), 8);
	CHECK_INT(node_key_height(SPAN_LITERAL("key515")), 4);
	for (unsigned i = 0; i < 3000; i++) {
		const uint64_t key = test_random();

		CHECK_INT(node_key_height(span_of(&key, sizeof(key))),
			  tree_height(span_of(&key, sizeof(key))));
	}
}

TEST(interop_heights)
{
	json_t *all;

	if (!test_vectors())
		SKIP("no interop files");
	all = json_vectors("interop/mst/key_heights.json");
	CHECK_INT(json_array_size(all), 9);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *c = json_array_get(all, i);

		CHECK_INT(node_key_height(span_str(json_get_text(c, "key"))),
			  json_integer_value(json_object_get(c, "height")));
	}
	json_decref(all);
}

/* Each line is a key that says its own height: its second character. */
TEST(interop_example_keys)
{
	char path[4096];
	struct buf file;
	unsigned count = 0;

	if (!test_vectors())
		SKIP("no interop files");
	snprintf(path, sizeof(path), "%s/interop/mst/example_keys.txt", test_vectors());
	test_read_file(path, &file);
	for (size_t at = 0; at < file.len;) {
		const uint8_t *line = file.ptr + at;
		const uint8_t *end = memchr(line, '\n', file.len - at);
		size_t len = end ? (size_t)(end - line) : file.len - at;

		CHECK_INT(node_key_height(span_of(line, len)), line[1] - '0');
		at += len + 1;
		count++;
	}
	CHECK_INT(count, 156);
	buf_release(&file);
}

/* What two neighbours share is written once. */
TEST(interop_common_prefix)
{
	json_t *all;

	if (!test_vectors())
		SKIP("no interop files");
	all = json_vectors("interop/mst/common_prefix.json");
	CHECK_INT(json_array_size(all), 13);
	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *c = json_array_get(all, i);
		const json_t *left = json_object_get(c, "left");
		const json_t *right = json_object_get(c, "right");
		size_t len = (size_t)json_integer_value(json_object_get(c, "len"));
		uint8_t binary[CID_SIZE];
		struct entry second = {
			.key = span_of(json_string_value(right), json_string_length(right)),
			.value = span_of(binary, CID_SIZE),
		};
		struct entry first = {
			.key = span_of(json_string_value(left), json_string_length(left)),
			.value = span_of(binary, CID_SIZE),
			.next = &second,
		};
		const struct node n = {.first = &first, .count = 2};
		struct tree_entry entries[2] = {{.suffix = first.key, .value = value},
						{.prefix = len, .value = value}};
		struct buf got, want;

		cid_encode(&value, binary);
		entries[1].suffix = span_of(second.key.ptr + len, second.key.len - len);
		buf_init(&got, KIB(4));
		buf_init(&want, KIB(4));
		node_encode(&n, &got);
		tree_encode_node(&want, NULL, entries, 2);
		CHECK_SPAN(buf_span(&got), buf_span(&want));
		buf_release(&got);
		buf_release(&want);
	}
	json_decref(all);
}

/* By copying what was decoded, and by writing it anew. */
static void check_encodes(struct node *n, struct span want)
{
	struct buf got;

	buf_init(&got, KIB(4));
	for (unsigned round = 0; round < 2; round++) {
		buf_clear(&got);
		node_encode(n, &got);
		CHECK_SPAN(buf_span(&got), want);
		for (struct entry *e = n->first; e; e = e->next)
			e->raw = SPAN_EMPTY;
	}
	buf_release(&got);
}

TEST(a_node_decodes_and_encodes)
{
	char a[FORGE_KEY_SIZE], b[FORGE_KEY_SIZE], c[FORGE_KEY_SIZE];
	struct tree_entry entries[] = {
		{.suffix = span_str(forge_key("com.example.record/a", 1, a)),
		 .value = value,
		 .right = &other},
		{.prefix = 19, .suffix = SPAN_EMPTY, .value = value},
		{.prefix = 19, .suffix = SPAN_EMPTY, .value = other, .right = &value},
	};
	struct buf block;
	struct arena arena;
	struct node *n;

	entries[1].suffix = span_str(forge_key("com.example.record/b", 1, b) + 19);
	entries[2].suffix = span_str(forge_key("com.example.record/c", 1, c) + 19);
	arena_init(&arena);
	buf_init(&block, KIB(4));
	tree_encode_node(&block, &other, entries, ARRAY_SIZE(entries));
	CHECK_INT(decode(buf_span(&block), &arena, &n), VERDICT_ACCEPTED);
	CHECK_INT(n->count, 3);
	CHECK(n->left.stub && memcmp(n->left.stub, other.digest, SHA256_SIZE) == 0);
	CHECK(span_is(n->first->key, a));
	CHECK(span_is(n->first->next->key, b));
	CHECK(link_is_empty(n->first->next->right));
	CHECK(span_is(n->first->next->next->key, c));
	CHECK(!n->first->next->next->next);
	check_encodes(n, buf_span(&block));
	buf_release(&block);
	arena_release(&arena);
}

/* k0 and k1 share "a" and more. */
struct pair {
	char k0[FORGE_KEY_SIZE], k1[FORGE_KEY_SIZE];
	struct tree_entry entries[2];
};

static void make_pair(struct pair *p)
{
	forge_key("shared/a", 0, p->k0);
	forge_key("shared/b", 0, p->k1);
	p->entries[0] = (struct tree_entry){.suffix = span_str(p->k0), .value = value};
	p->entries[1] = (struct tree_entry){
		.prefix = 7,
		.suffix = span_str(p->k1 + 7),
		.value = value,
	};
}

static enum verdict decode_pair(const struct pair *p)
{
	enum verdict v;
	struct buf b;

	buf_init(&b, MIB(2));
	tree_encode_node(&b, NULL, p->entries, 2);
	v = decode_once(buf_span(&b));
	buf_release(&b);
	return v;
}

TEST(the_rules_of_one_node)
{
	struct pair p;

	make_pair(&p);
	CHECK_INT(decode_pair(&p), VERDICT_ACCEPTED);
	/* a prefix that could be longer */
	p.entries[1].prefix = 6;
	p.entries[1].suffix = span_str(p.k1 + 6);
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* a prefix of the first key */
	make_pair(&p);
	p.entries[0].prefix = 1;
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* a prefix that is longer than the key before */
	make_pair(&p);
	p.entries[1].prefix = strlen(p.k0) + 1;
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	p.entries[1].prefix = SIZE_MAX / 2;
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* the same key twice */
	make_pair(&p);
	p.entries[1].prefix = strlen(p.k0);
	p.entries[1].suffix = SPAN_EMPTY;
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* keys that descend */
	make_pair(&p);
	p.entries[0].suffix = span_str(p.k1);
	p.entries[1].suffix = span_str(p.k0 + 7);
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* no key at all */
	make_pair(&p);
	p.entries[0].suffix = SPAN_EMPTY;
	p.entries[1].prefix = 0;
	p.entries[1].suffix = span_str(p.k1);
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	/* links that are no blessed CIDs of DAG-CBOR; a value may be any CID */
	make_pair(&p);
	p.entries[0].right = &(struct cid){.codec = CID_RAW};
	CHECK_INT(decode_pair(&p), VERDICT_MST_BAD_NODE);
	make_pair(&p);
	p.entries[0].value.codec = CID_RAW;
	CHECK_INT(decode_pair(&p), VERDICT_ACCEPTED);
}

TEST(only_the_one_form_of_a_node)
{
	static const struct {
		const char *hex;
		enum verdict want;
	} cases[] = {
		{"a2 6165 80 616c f6", VERDICT_ACCEPTED},
		{"a1 6165 80", VERDICT_MST_BAD_NODE},
		{"a1 616c f6", VERDICT_MST_BAD_NODE},
		{"a3 6165 80 616c f6 6178 01", VERDICT_MST_BAD_NODE},
		{"a2 6165 80 616c f6 00", VERDICT_MST_BAD_NODE},
		{"a2 6165 80 616c 80", VERDICT_MST_BAD_NODE},
		{"a2 6165 f6 616c f6", VERDICT_MST_BAD_NODE},
		{"a2 6165 81f6 616c f6", VERDICT_MST_BAD_NODE},
		{"a2 6165 9fff 616c f6", VERDICT_MST_BAD_NODE},
		{"a2 616c f6 6165 80", VERDICT_MST_BAD_NODE},
		{"b802 6165 80 616c f6", VERDICT_MST_BAD_NODE},
		{"a2 6165 9800 616c f6", VERDICT_MST_BAD_NODE},
		{"80", VERDICT_MST_BAD_NODE},
		{"", VERDICT_MST_BAD_NODE},
	};
	struct buf b;

	buf_init(&b, KIB(4));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&b);
		test_hex(cases[i].hex, &b);
		CHECK_INT(decode_once(buf_span(&b)), cases[i].want);
	}
	buf_release(&b);
}

TEST(keys_and_entries_are_bounded)
{
	char *key = xcalloc(1, LIMIT_MST_KEY + 2);
	struct tree_entry e = {.value = value};
	struct arena a;
	struct buf b;
	struct node *n;

	arena_init(&a);
	buf_init(&b, MIB(4));
	memset(key, 'k', LIMIT_MST_KEY + 1);
	for (size_t len = LIMIT_MST_KEY; len <= LIMIT_MST_KEY + 1; len++) {
		size_t key_bytes = LIMIT_MST_KEY - 1;

		e.suffix = span_of(key, len);
		buf_clear(&b);
		tree_encode_node(&b, NULL, &e, 1);
		CHECK_INT(decode_once(buf_span(&b)),
			  len > LIMIT_MST_KEY ? VERDICT_MST_BAD_NODE : VERDICT_ACCEPTED);
		/* and what all keys together may have */
		CHECK_INT(node_decode(buf_span(&b), &a, &key_bytes, &n), VERDICT_MST_BAD_NODE);
	}
	buf_release(&b);
	arena_release(&a);
	free(key);
}

static void put_many(struct buf *b, size_t count)
{
	struct tree_entry *entries = xcalloc(count, sizeof(*entries));
	char(*keys)[16] = xcalloc(count, sizeof(*keys));
	unsigned number = 0;

	for (size_t i = 0; i < count; i++) {
		struct span key;
		size_t prefix = 0;

		do {
			snprintf(keys[i], sizeof(keys[i]), "%08u", number++);
			key = span_str(keys[i]);
		} while (tree_height(key) != 0);
		while (i > 0 && keys[i - 1][prefix] == keys[i][prefix])
			prefix++;
		entries[i] = (struct tree_entry){
			.prefix = prefix,
			.suffix = span_of(key.ptr + prefix, key.len - prefix),
			.value = value,
		};
	}
	tree_encode_node(b, NULL, entries, count);
	free(entries);
	free(keys);
}

TEST(a_node_has_at_most_8192_entries)
{
	struct buf b;

	buf_init(&b, MIB(4));
	for (size_t count = LIMIT_MST_ENTRIES; count <= LIMIT_MST_ENTRIES + 1; count++) {
		buf_clear(&b);
		put_many(&b, count);
		CHECK_INT(decode_once(buf_span(&b)),
			  count > LIMIT_MST_ENTRIES ? VERDICT_MST_BAD_NODE : VERDICT_ACCEPTED);
	}
	buf_release(&b);
}

/* The decoder needs no comparison with the encoded form because it takes no other. */
TEST(whatever_decodes_encodes_to_the_same_bytes)
{
	struct buf block;
	struct arena arena;
	struct pair p;
	unsigned taken = 0;

	make_pair(&p);
	p.entries[0].right = &other;
	arena_init(&arena);
	buf_init(&block, KIB(4));
	tree_encode_node(&block, &value, p.entries, 2);
	for (size_t bit = 0; bit < 8 * block.len; bit++) {
		struct node *n;

		block.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (decode(buf_span(&block), &arena, &n) == VERDICT_ACCEPTED) {
			taken++;
			check_encodes(n, buf_span(&block));
		}
		block.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		arena_clear(&arena);
	}
	/* Every bit of the digests, at least. */
	CHECK(taken >= 4 * 256);
	buf_release(&block);
	arena_release(&arena);
}

/* Whatever is changed in a decoded node, it is encoded as if it were written anew. */
TEST(a_changed_node_encodes)
{
	static const uint8_t digest[SHA256_SIZE] = {9};
	struct buf block, copied, written;
	struct arena arena;
	struct pair p;
	struct node *n;

	make_pair(&p);
	p.entries[0].right = &other;
	arena_init(&arena);
	buf_init(&block, KIB(4));
	buf_init(&copied, KIB(4));
	buf_init(&written, KIB(4));
	tree_encode_node(&block, NULL, p.entries, 2);
	for (unsigned change = 0; change < 6; change++) {
		CHECK_INT(decode(buf_span(&block), &arena, &n), VERDICT_ACCEPTED);
		if (change == 1)
			n->first->right.stub = digest;
		if (change == 2)
			n->first->right.stub = NULL;
		if (change == 3)
			n->first->next->right.stub = digest;
		if (change == 4)
			n->first = n->first->next, n->count--;
		if (change == 5)
			n->left.stub = digest;
		buf_clear(&copied);
		buf_clear(&written);
		node_encode(n, &copied);
		for (struct entry *e = n->first; e; e = e->next)
			e->raw = SPAN_EMPTY;
		node_encode(n, &written);
		CHECK_SPAN(buf_span(&copied), buf_span(&written));
		CHECK(span_equal(buf_span(&copied), buf_span(&block)) == (change == 0));
	}
	buf_release(&block);
	buf_release(&copied);
	buf_release(&written);
	arena_release(&arena);
}
