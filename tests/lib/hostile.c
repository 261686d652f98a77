#include "tests/lib/hostile.h"

#include <stdio.h>

#include "common/car.h"
#include "common/cbor.h"
#include "tests/lib/edit.h"
#include "tests/lib/forge.h"
#include "tests/lib/frame.h"

#define FRAME_MAX    MIB(8)
#define FIELD_MAX    (LIMIT_FRAME - 4000) /* bytes of one that a small commit leaves room for */
#define BLOCKS_SPARE 1000                 /* bytes of an archive besides what is made here */
#define CBOR_ARRAY_1 0x81
#define CBOR_NULL_1  0xf6
#define KEY_SIZE     (LIMIT_MST_KEY + 1)

struct maker {
	struct repo repo;
	struct forge tree;
	struct repo_commit commit;
	struct buf frame;
};

/* The commit of the tree in m, which says that nothing has changed. */
static void make_commit(struct maker *m)
{
	forge_commit(&m->tree, &m->repo, HOSTILE_USEC, &m->commit);
	m->commit.has_prev_data = true;
	m->commit.prev_data = m->commit.data;
}

static void put_commit(struct maker *m)
{
	frame_put_commit(&m->frame, 1, &m->commit);
}

static struct cid put_record(struct forge *f, size_t size, uint64_t number)
{
	const struct cid root = f->root;
	struct cid cid;
	struct buf b;

	buf_init(&b, size + 16);
	memset(buf_extend(&b, size), 0x60, size);
	if (size >= sizeof(number))
		memcpy(b.ptr, &number, sizeof(number));
	cid = forge_block(f, buf_span(&b));
	f->root = root;
	buf_release(&b);
	return cid;
}

/* A tree with one record, as small as any. */
static void make_small(struct maker *m)
{
	struct cid record = put_record(&m->tree, 100, 1);
	char key[FORGE_KEY_SIZE];
	struct tree_entry e = {
		.suffix = span_str(forge_key("com.example.record/", 0, key)),
		.value = record,
	};

	forge_node(&m->tree, NULL, &e, 1);
	make_commit(m);
}

/* Keys that ascend, all with one value. */
struct keys {
	unsigned next;
	size_t count;
	char (*text)[KEY_SIZE];
	struct tree_entry *entries;
	struct cid value;
	size_t padding; /* bytes before the number */
};

static void keys_init(struct keys *k, const struct cid *value, size_t max)
{
	*k = (struct keys){.value = *value};
	k->text = xcalloc(max, sizeof(*k->text));
	k->entries = xcalloc(max, sizeof(*k->entries));
}

static void keys_release(struct keys *k)
{
	free(k->text);
	free(k->entries);
}

/* The next key of this height, as one more entry. */
static struct tree_entry *next_key(struct keys *k, unsigned height)
{
	char *text = k->text[k->count];
	struct tree_entry *e = &k->entries[k->count];
	size_t prefix = 0, at = (size_t)snprintf(text, KEY_SIZE, "com.example.record/");

	memset(text + at, 'k', k->padding);
	do
		snprintf(text + at + k->padding, 10, "%08u", k->next++);
	while (tree_height(span_str(text)) != height);
	while (k->count > 0 && text[prefix] == k->text[k->count - 1][prefix])
		prefix++;
	*e = (struct tree_entry){
		.prefix = prefix,
		.suffix = span_str(text + prefix),
		.value = k->value,
	};
	k->count++;
	return e;
}

/* Keys go on ascending, in a new node. */
static void next_node(struct keys *k)
{
	k->count = 0;
}

/* Frames: a small commit with one more field, which nobody knows. */

static void put_with_field(struct maker *m, struct buf *value)
{
	struct buf plain;

	make_small(m);
	buf_init(&plain, FRAME_MAX);
	frame_put_commit(&plain, 1, &m->commit);
	edit_frame(buf_span(&plain), "zzz", buf_span(value), &m->frame);
	buf_release(&plain);
	buf_release(value);
}

static void deep_nesting(struct maker *m)
{
	struct buf value;

	buf_init(&value, FRAME_MAX);
	memset(buf_extend(&value, FIELD_MAX), CBOR_ARRAY_1, FIELD_MAX);
	buf_put_u8(&value, CBOR_NULL_1);
	put_with_field(m, &value);
}

/* Arrays in arrays, as deep as they may be, over and over. */
static void deep_nesting_within_the_limit(struct maker *m)
{
	const size_t depth = LIMIT_CBOR_DEPTH - 2, count = (LIMIT_CBOR_ITEMS - 1000) / depth;
	struct buf value;

	buf_init(&value, FRAME_MAX);
	cbor_put_array(&value, count);
	for (size_t i = 0; i < count; i++) {
		memset(buf_extend(&value, depth - 1), CBOR_ARRAY_1, depth - 1);
		buf_put_u8(&value, CBOR_NULL_1);
	}
	put_with_field(m, &value);
}

static void huge_count(struct maker *m)
{
	static const uint8_t head[] = {0x9a, 0x08, 0x00, 0x00, 0x00};
	struct buf value;

	buf_init(&value, FRAME_MAX);
	buf_append(&value, span_of(head, sizeof(head)));
	put_with_field(m, &value);
}

static void put_tiny_items(struct maker *m, size_t arrays)
{
	struct buf value;

	buf_init(&value, FRAME_MAX);
	cbor_put_array(&value, arrays);
	for (size_t i = 0; i < arrays; i++) {
		cbor_put_array(&value, LIMIT_CBOR_CONTAINER);
		memset(buf_extend(&value, LIMIT_CBOR_CONTAINER), CBOR_NULL_1, LIMIT_CBOR_CONTAINER);
	}
	put_with_field(m, &value);
}

/* As many items as a frame has bytes. */
static void tiny_items(struct maker *m)
{
	put_tiny_items(m, FIELD_MAX / (LIMIT_CBOR_CONTAINER + 8));
}

static void tiny_items_within_the_limit(struct maker *m)
{
	put_tiny_items(m, LIMIT_CBOR_ITEMS / LIMIT_CBOR_CONTAINER - 1);
}

static void many_map_keys(struct maker *m)
{
	const size_t pair = 7, maps = LIMIT_CBOR_ITEMS / LIMIT_CBOR_CONTAINER - 1;
	struct buf value;
	char key[8];

	buf_init(&value, FRAME_MAX);
	cbor_put_array(&value, maps);
	for (size_t i = 0; i < maps; i++) {
		cbor_put_map(&value, LIMIT_CBOR_CONTAINER);
		for (size_t j = 0; j < LIMIT_CBOR_CONTAINER; j++) {
			snprintf(key, sizeof(key), "%05zx", j);
			cbor_put_text(&value, span_of(key, pair - 2));
			cbor_put_null(&value);
		}
	}
	put_with_field(m, &value);
}

/* Two bytes a character: nothing of it can be passed over eight bytes at a time. */
static void long_text(struct maker *m)
{
	static const uint8_t character[] = {0xc3, 0xbc};
	struct buf value, text;

	buf_init(&value, FRAME_MAX);
	buf_init(&text, FRAME_MAX);
	for (size_t i = 0; i < FIELD_MAX / sizeof(character); i++)
		buf_append(&text, span_of(character, sizeof(character)));
	cbor_put_text(&value, buf_span(&text));
	put_with_field(m, &value);
	buf_release(&text);
}

/* Archives */

static void put_tiny_blocks(struct maker *m, size_t count)
{
	make_small(m);
	for (size_t i = 0; i < count; i++) {
		uint64_t number = i;
		struct cid cid;

		cid_of_block(span_of(&number, sizeof(number)), &cid);
		car_put_block(&m->commit.blocks, &cid, span_of(&number, 3));
	}
	put_commit(m);
}

static void tiny_blocks(struct maker *m)
{
	put_tiny_blocks(m, (LIMIT_COMMIT_BLOCKS - BLOCKS_SPARE) / (1 + CID_SIZE + 3));
}

static void tiny_blocks_within_the_limit(struct maker *m)
{
	put_tiny_blocks(m, LIMIT_CAR_BLOCKS - 3);
}

/* A first commit with these ops. Takes them. */
static void put_ops(struct maker *m, struct repo_op *ops, size_t count)
{
	make_commit(m);
	m->commit.has_prev_data = m->commit.has_since = false;
	m->commit.ops = ops;
	m->commit.op_count = count;
	put_commit(m);
}

/* One record a block, and an op for each. */
static void put_records(struct maker *m, size_t count, size_t size)
{
	struct repo_op *ops = xcalloc(count, sizeof(*ops));
	struct keys k;

	keys_init(&k, &(struct cid){0}, count);
	for (size_t i = 0; i < count; i++) {
		k.value = put_record(&m->tree, size, i);
		next_key(&k, 0);
		ops[i] = (struct repo_op){REPO_CREATE, xstrdup(k.text[i]), k.value, {0}};
	}
	forge_node(&m->tree, NULL, k.entries, count);
	put_ops(m, ops, count);
	keys_release(&k);
}

static void records_of_2_megabytes(struct maker *m)
{
	put_records(m, LIMIT_OPS, (LIMIT_COMMIT_BLOCKS - KIB(64)) / LIMIT_OPS);
}

static void a_record_of_1_megabyte(struct maker *m)
{
	put_records(m, 1, LIMIT_RECORD);
}

/* Commit objects */

static void a_commit_object_of_2_megabytes(struct maker *m)
{
	const size_t size = LIMIT_COMMIT_BLOCKS - BLOCKS_SPARE;
	struct buf value, object, signed_object;

	make_small(m);
	buf_init(&value, FRAME_MAX);
	buf_init(&object, FRAME_MAX);
	buf_init(&signed_object, FRAME_MAX);
	memset(buf_extend(&object, size), 'x', size);
	cbor_put_text(&value, buf_span(&object));
	buf_clear(&object);
	edit_map(forge_object(&m->commit), "zzz", buf_span(&value), &object);
	forge_sign(&m->repo.key, buf_span(&object), &signed_object);
	forge_replace_object(&m->commit, buf_span(&signed_object));
	put_commit(m);
	buf_release(&value);
	buf_release(&object);
	buf_release(&signed_object);
}

/* Trees */

/* One node below every key of a node with as many as there may be. */
static void shared_subtree(struct maker *m)
{
	struct keys k;
	struct cid leaf;

	keys_init(&k, &(struct cid){.codec = CID_DAG_CBOR}, LIMIT_MST_ENTRIES);
	next_key(&k, 0);
	leaf = forge_node(&m->tree, NULL, k.entries, 1);
	next_node(&k);
	while (k.count < LIMIT_MST_ENTRIES)
		next_key(&k, 1)->right = &leaf;
	forge_node(&m->tree, NULL, k.entries, k.count);
	make_commit(m);
	put_commit(m);
	keys_release(&k);
}

static void a_chain_of_nodes(struct maker *m)
{
	char key[FORGE_KEY_SIZE];
	struct cid below = {.codec = CID_DAG_CBOR};
	struct tree_entry e = {
		.suffix = span_str(forge_key("com.example.record/", 6, key)),
		.value = below,
	};

	for (size_t i = 0; i < LIMIT_CAR_BLOCKS - 3; i++)
		below = forge_node(&m->tree, &below, NULL, 0);
	forge_node(&m->tree, &below, &e, 1);
	make_commit(m);
	put_commit(m);
}

static void put_long_keys(struct maker *m, size_t padding, size_t count)
{
	struct keys k;

	keys_init(&k, &(struct cid){.codec = CID_DAG_CBOR}, count);
	k.padding = padding;
	while (k.count < count)
		next_key(&k, 0);
	forge_node(&m->tree, NULL, k.entries, count);
	make_commit(m);
	put_commit(m);
	keys_release(&k);
}

/* Small entries that stand for long keys. */
static void long_prefixes(struct maker *m)
{
	put_long_keys(m, LIMIT_MST_KEY - 30, LIMIT_MST_ENTRIES);
}

static void long_prefixes_within_the_limit(struct maker *m)
{
	put_long_keys(m, LIMIT_MST_KEY - 30, MIB(4) / LIMIT_MST_KEY);
}

static void a_wide_node(struct maker *m)
{
	put_long_keys(m, 0, LIMIT_MST_ENTRIES);
}

/* A node with one key left of every key of the root. */
static void tiny_nodes(struct maker *m)
{
	const size_t count = LIMIT_MST_ENTRIES - 1;
	struct cid *leaves = xcalloc(count, sizeof(*leaves));
	struct keys all, one;

	keys_init(&all, &(struct cid){.codec = CID_DAG_CBOR}, count);
	keys_init(&one, &all.value, 1);
	while (all.count < count) {
		struct tree_entry *e = next_key(&all, 1);

		one.next = all.next;
		next_node(&one);
		next_key(&one, 0);
		all.next = one.next;
		leaves[all.count - 1] = forge_node(&m->tree, NULL, one.entries, 1);
		e->right = &leaves[all.count - 1];
	}
	forge_node(&m->tree, NULL, all.entries, count);
	make_commit(m);
	put_commit(m);
	keys_release(&all);
	keys_release(&one);
	free(leaves);
}

/*
 * Wide nodes below wide nodes, and ops on keys of all of them: 28,000 entries, of which each op
 * touches all nodes on its way. The tree before is not what the frame says, which is found out
 * last.
 */
static void ops_over_wide_nodes(struct maker *m)
{
	enum { HEIGHTS = 4, WIDTH = 6500 };
	struct repo_op *ops = xcalloc(LIMIT_OPS, sizeof(*ops));
	struct cid record = put_record(&m->tree, 10, 1), below = {0};
	struct keys k;
	size_t count = 0;

	keys_init(&k, &record, WIDTH);
	for (unsigned height = 0; height < HEIGHTS; height++) {
		next_node(&k);
		while (k.count < WIDTH)
			next_key(&k, height);
		below = forge_node(&m->tree, height > 0 ? &below : NULL, k.entries, WIDTH);
		for (size_t i = 0; i < LIMIT_OPS / HEIGHTS; i++)
			ops[count++] = (struct repo_op){
				REPO_CREATE,
				xstrdup(k.text[i * WIDTH * HEIGHTS / LIMIT_OPS]),
				record,
				{0}};
	}
	put_ops(m, ops, count);
	keys_release(&k);
}

/* As many creates, spread over an honest tree that a few keys make tall. */
static void ops_over_a_tall_tree(struct maker *m)
{
	char path[64];

	repo_put_number(&m->repo, "app.bsky.feed.post/9adeb165882c", 1);
	for (unsigned round = 0; round < 20; round++) {
		repo_commit_release(&m->commit);
		for (unsigned i = 0; i < LIMIT_OPS - 1; i++) {
			snprintf(path, sizeof(path), "com.example.record/%08x",
				 (i * 20 + round) * 2654435761u);
			repo_put_number(&m->repo, path, i);
		}
		repo_commit(&m->repo, HOSTILE_USEC - 1000 + round, &m->commit);
	}
	put_commit(m);
}

/* Paths that differ at their ends only. */
static void ops_with_long_paths(struct maker *m)
{
	char path[LIMIT_REPO_PATH + 1];

	for (unsigned i = 0; i < LIMIT_OPS; i++) {
		size_t at = (size_t)snprintf(path, sizeof(path), "com.example.record/");

		memset(path + at, 'p', LIMIT_RECORD_KEY - 8);
		snprintf(path + at + LIMIT_RECORD_KEY - 8, 9, "%08u", LIMIT_OPS - i);
		repo_put_number(&m->repo, path, i);
	}
	repo_commit(&m->repo, HOSTILE_USEC, &m->commit);
	put_commit(m);
}

static const struct {
	const char *name;
	enum verdict want;
	void (*make)(struct maker *m);
} cases[] = {
	{"deep_nesting", VERDICT_FRAME_BAD_CBOR, deep_nesting},
	{"deep_nesting_within_the_limit", VERDICT_ACCEPTED, deep_nesting_within_the_limit},
	{"huge_count", VERDICT_FRAME_BAD_CBOR, huge_count},
	{"tiny_items", VERDICT_FRAME_BAD_CBOR, tiny_items},
	{"tiny_items_within_the_limit", VERDICT_ACCEPTED, tiny_items_within_the_limit},
	{"many_map_keys", VERDICT_ACCEPTED, many_map_keys},
	{"long_text", VERDICT_ACCEPTED, long_text},
	{"tiny_blocks", VERDICT_BAD_CAR, tiny_blocks},
	{"tiny_blocks_within_the_limit", VERDICT_ACCEPTED, tiny_blocks_within_the_limit},
	{"records_of_2_megabytes", VERDICT_ACCEPTED, records_of_2_megabytes},
	{"a_record_of_1_megabyte", VERDICT_ACCEPTED, a_record_of_1_megabyte},
	{"a_commit_object_of_2_megabytes", VERDICT_COMMIT_BAD_OBJECT,
	 a_commit_object_of_2_megabytes},
	{"shared_subtree", VERDICT_MST_BAD_NODE, shared_subtree},
	{"a_chain_of_nodes", VERDICT_MST_BAD_NODE, a_chain_of_nodes},
	{"long_prefixes", VERDICT_MST_BAD_NODE, long_prefixes},
	{"long_prefixes_within_the_limit", VERDICT_ACCEPTED, long_prefixes_within_the_limit},
	{"a_wide_node", VERDICT_ACCEPTED, a_wide_node},
	{"tiny_nodes", VERDICT_ACCEPTED, tiny_nodes},
	{"ops_over_wide_nodes", VERDICT_INVERSION_FAILED, ops_over_wide_nodes},
	{"ops_over_a_tall_tree", VERDICT_ACCEPTED, ops_over_a_tall_tree},
	{"ops_with_long_paths", VERDICT_ACCEPTED, ops_with_long_paths},
};

bool hostile_make(size_t number, struct hostile *ret)
{
	struct maker m = {0};

	if (number >= ARRAY_SIZE(cases))
		return false;
	repo_init(&m.repo, CURVE_K256, "hostile");
	forge_init(&m.tree);
	buf_init(&m.frame, FRAME_MAX);
	cases[number].make(&m);
	*ret = (struct hostile){
		.name = cases[number].name,
		.want = cases[number].want,
		.key = m.repo.key.public,
		.frame = m.frame,
	};
	repo_commit_release(&m.commit);
	forge_release(&m.tree);
	repo_release(&m.repo);
	return true;
}

void hostile_release(struct hostile *h)
{
	buf_release(&h->frame);
}
