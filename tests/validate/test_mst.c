#include "validate/mst.h"

#include "common/car.h"
#include "tests/lib/forge.h"
#include "tests/lib/json.h"
#include "tests/test.h"

#define LEAF        "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454"
#define RECORDS_MAX 4096

/* A set of keys, all with one value, and its tree. */
struct model {
	size_t count;
	struct tree_record records[RECORDS_MAX];
	struct tree_node *root;
};

static struct cid leaf;
static uint8_t leaf_binary[CID_SIZE];

__attribute__((constructor)) static void make_leaf(void)
{
	if (cid_parse(SPAN_LITERAL(LEAF), &leaf) == 0)
		cid_encode(&leaf, leaf_binary);
}

static struct span leaf_value(void)
{
	return span_of(leaf_binary, CID_SIZE);
}

/* Borrows the key. */
static void model_put(struct model *m, const char *key)
{
	size_t at = 0;

	while (at < m->count && span_compare(m->records[at].path, span_str(key)) < 0)
		at++;
	if (at < m->count && span_is(m->records[at].path, key))
		return;
	memmove(&m->records[at + 1], &m->records[at], (m->count - at) * sizeof(m->records[0]));
	m->records[at] = (struct tree_record){span_str(key), leaf, tree_height(span_str(key))};
	m->count++;
}

static void model_remove(struct model *m, const char *key)
{
	for (size_t i = 0; i < m->count; i++)
		if (span_is(m->records[i].path, key)) {
			m->count--;
			memmove(&m->records[i], &m->records[i + 1],
				(m->count - i) * sizeof(m->records[0]));
			return;
		}
}

static void model_make(struct model *m)
{
	tree_free(m->root);
	m->root = tree_make(m->records, m->count);
}

/* Nodes as an archive; of all, or of the marked ones. */
struct archive {
	struct buf car;
	bool all;
};

static void put_node(void *arg, struct tree_node *n)
{
	struct archive *a = arg;

	if (a->all || n->marked)
		car_put_block(&a->car, &n->cid, buf_span(&n->block));
}

static void put_nodes(struct tree_node *root, bool all, struct buf *car)
{
	struct archive a = {.all = all};

	buf_init(&a.car, MIB(16));
	car_put_header(&a.car, &root->cid);
	tree_walk(root, put_node, &a);
	*car = a.car;
}

struct loaded {
	struct buf car;
	struct blocks blocks;
	struct mst *mst;
};

/* What comes out in the end: hashes count before all else. */
static enum verdict load_and_prove(struct mst *m, struct blocks *b, const struct cid *root)
{
	const enum verdict loaded = mst_load(m, b, root), proven = mst_prove(m, NULL, 0);

	return proven == VERDICT_ACCEPTED ? loaded : proven;
}

static enum verdict load(struct loaded *l, struct tree_node *root, bool all)
{
	put_nodes(root, all, &l->car);
	blocks_init(&l->blocks);
	l->mst = mst_new();
	CHECK_INT(blocks_load(&l->blocks, buf_span(&l->car)), VERDICT_ACCEPTED);
	return load_and_prove(l->mst, &l->blocks, &root->cid);
}

static void unload(struct loaded *l)
{
	buf_release(&l->car);
	blocks_release(&l->blocks);
	mst_free(l->mst);
}

/* Ops, in the order of their paths. */
struct ops {
	size_t count;
	struct mst_op all[RECORDS_MAX];
};

/* Borrows the key. */
static void put_op(struct ops *o, const char *key, bool is_now, bool is_before)
{
	size_t at = o->count++;

	for (; at > 0 && span_compare(o->all[at - 1].path, span_str(key)) > 0; at--)
		o->all[at] = o->all[at - 1];
	o->all[at] = (struct mst_op){
		.path = span_str(key),
		.now = is_now ? leaf_value() : SPAN_EMPTY,
		.before = is_before ? leaf_value() : SPAN_EMPTY,
	};
}

static enum verdict invert(struct mst *m, struct ops *o, struct cid *ret_root)
{
	enum verdict v = mst_check(m, o->all, o->count);

	if (v == VERDICT_ACCEPTED)
		v = mst_invert(m, o->all, o->count);
	/* Without this as well as with it. */
	if (v == VERDICT_ACCEPTED && test_random() % 2)
		v = mst_prove(m, NULL, 0);
	if (v == VERDICT_ACCEPTED)
		*ret_root = mst_before(m);
	return v;
}

/* With one op only. */
static enum verdict invert_one(struct mst *m, const char *key, bool is_now, bool is_before,
			       struct cid *ret_root)
{
	static struct ops o;

	o.count = 0;
	put_op(&o, key, is_now, is_before);
	return invert(m, &o, ret_root);
}

static bool has_root(struct mst *m, const struct cid *want)
{
	struct cid got;

	if (mst_invert(m, NULL, 0) != VERDICT_ACCEPTED)
		return false;
	got = mst_before(m);
	return cid_equal(&got, want);
}

TEST(known_roots)
{
	static const struct {
		const char *key, *root;
	} cases[] = {
		{"com.example.record/3jqfcqzm3fo2j",
		 "bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu"},
		{"com.example.record/3jqfcqzm3fx2j",
		 "bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai"},
	};
	struct tree_node *empty = tree_make(NULL, 0);
	struct loaded l;
	char text[CID_TEXT_SIZE];
	struct cid got;

	CHECK(cid_equal(&empty->cid, &mst_empty_root));
	CHECK_STR(cid_format(&mst_empty_root, text),
		  "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK_INT(load(&l, empty, true), VERDICT_ACCEPTED);
		CHECK(has_root(l.mst, &mst_empty_root));
		CHECK_INT(invert_one(l.mst, cases[i].key, false, true, &got), VERDICT_ACCEPTED);
		CHECK_STR(cid_format(&got, text), cases[i].root);
		unload(&l);
	}
	tree_free(empty);
}

/* Of the empty tree and of a tree that was not sent. */
TEST(a_root_without_its_block)
{
	struct tree_node *empty = tree_make(NULL, 0);
	static struct model m;
	struct cid root;
	struct loaded l;

	CHECK_INT(load(&l, empty, false), VERDICT_ACCEPTED);
	CHECK(has_root(l.mst, &mst_empty_root));
	CHECK_INT(invert_one(l.mst, "a", false, true, &root), VERDICT_ACCEPTED);
	CHECK(!cid_equal(&root, &mst_empty_root));
	unload(&l);
	model_put(&m, "a");
	model_make(&m);
	CHECK_INT(load(&l, m.root, false), VERDICT_ACCEPTED);
	CHECK(has_root(l.mst, &m.root->cid));
	CHECK_INT(invert_one(l.mst, "b", false, true, &root), VERDICT_BLOCK_MISSING);
	CHECK_INT(invert_one(l.mst, "a", true, false, &root), VERDICT_BLOCK_MISSING);
	CHECK_INT(invert_one(l.mst, "a", true, true, &root), VERDICT_BLOCK_MISSING);
	unload(&l);
	tree_free(empty);
	tree_free(m.root);
}

/* Puts the key, or takes it away; the op is what a commit would say that did the opposite. */
static void change_key(struct model *m, struct ops *o, const char *key)
{
	size_t before = m->count;

	for (size_t i = 0; i < o->count; i++)
		if (span_is(o->all[i].path, key))
			return;
	model_remove(m, key);
	if (m->count == before)
		model_put(m, key);
	put_op(o, key, m->count<before, m->count> before);
	/* Some ops change nothing. */
	if (m->count < before && test_random() % 8 == 0) {
		model_put(m, key);
		for (size_t i = 0; i < o->count; i++)
			if (span_is(o->all[i].path, key))
				o->all[i].before = leaf_value();
	}
}

/* Inverting any ops in a whole tree leads to the tree that is made from the changed keys. */
TEST(random_changes)
{
	static char keys[1000][32];
	static struct model m;
	static struct ops o;
	struct cid root;
	struct loaded l;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		snprintf(keys[i], sizeof(keys[i]), "com.example.record/%zu", i);
	for (unsigned round = 0; round < 300; round++) {
		size_t paths = round < 100 ? 10 : round < 250 ? 100 : ARRAY_SIZE(keys);
		size_t ops = 1 + test_random() % (paths / 2);

		m.count = 0;
		for (size_t i = test_random() % paths; i > 0; i--)
			model_put(&m, keys[test_random() % paths]);
		model_make(&m);
		CHECK_INT(load(&l, m.root, true), VERDICT_ACCEPTED);
		CHECK(has_root(l.mst, &m.root->cid));
		o.count = 0;
		for (size_t i = 0; i < ops; i++)
			change_key(&m, &o, keys[test_random() % paths]);
		model_make(&m);
		CHECK_INT(invert(l.mst, &o, &root), VERDICT_ACCEPTED);
		CHECK(cid_equal(&root, &m.root->cid));
		unload(&l);
	}
	tree_free(m.root);
}

TEST(an_op_must_say_what_is_in_the_tree)
{
	static const uint8_t other[CID_SIZE] = {1};
	static struct model m;
	struct mst_op op;
	struct cid root;
	struct loaded l;

	for (char c = 'a'; c < 'z'; c++) {
		static char keys[26][2];

		keys[c - 'a'][0] = c;
		model_put(&m, keys[c - 'a']);
	}
	model_make(&m);
	CHECK_INT(load(&l, m.root, true), VERDICT_ACCEPTED);
	for (size_t i = 0; i < m.count; i++) {
		const char *key = (const char *)m.records[i].path.ptr;

		CHECK_INT(invert_one(l.mst, key, false, true, &root), VERDICT_OP_MISMATCH);
		op = (struct mst_op){.path = m.records[i].path, .now = span_of(other, CID_SIZE)};
		CHECK_INT(mst_check(l.mst, &op, 1), VERDICT_OP_MISMATCH);
		op.now = leaf_value();
		CHECK_INT(mst_check(l.mst, &op, 1), VERDICT_ACCEPTED);
	}
	CHECK_INT(invert_one(l.mst, "aa", true, false, &root), VERDICT_OP_MISMATCH);
	CHECK_INT(invert_one(l.mst, "aa", true, true, &root), VERDICT_OP_MISMATCH);
	CHECK_INT(invert_one(l.mst, "0", true, true, &root), VERDICT_OP_MISMATCH);
	CHECK_INT(invert_one(l.mst, "zz", true, true, &root), VERDICT_OP_MISMATCH);
	unload(&l);
	tree_free(m.root);
}

/* The interop proofs. */

static void put_keys(struct model *m, const json_t *keys, bool remove)
{
	for (size_t i = 0; i < json_array_size(keys); i++) {
		const char *key = json_string_value(json_array_get(keys, i));

		if (remove)
			model_remove(m, key);
		else
			model_put(m, key);
	}
}

static void check_root(struct model *m, const json_t *fixture, const char *member)
{
	struct cid want;

	model_make(m);
	json_get_cid(json_object_get(fixture, member), &want);
	CHECK(cid_equal(&m->root->cid, &want));
}

struct proof {
	const json_t *cids;
	size_t left_out; /* of cids: this one; none if it is past the end */
	size_t marked;
};

static void mark_proven(void *arg, struct tree_node *n)
{
	struct proof *p = arg;
	struct cid cid;

	n->marked = false;
	for (size_t i = 0; i < json_array_size(p->cids); i++) {
		json_get_cid(json_array_get(p->cids, i), &cid);
		n->marked |= i != p->left_out && cid_equal(&cid, &n->cid);
	}
	p->marked += n->marked;
}

static void put_ops(struct ops *o, const json_t *keys, bool is_now)
{
	for (size_t i = 0; i < json_array_size(keys); i++)
		put_op(o, json_string_value(json_array_get(keys, i)), is_now, !is_now);
}

/* Undoes the fixture's changes in what the proof gives of its tree. */
static enum verdict invert_fixture(const json_t *fixture, struct tree_node *root)
{
	static struct ops o;
	struct cid want, got;
	struct loaded l;
	enum verdict v;

	o.count = 0;
	put_ops(&o, json_object_get(fixture, "adds"), true);
	put_ops(&o, json_object_get(fixture, "dels"), false);
	json_get_cid(json_object_get(fixture, "rootBeforeCommit"), &want);
	v = load(&l, root, false);
	if (v == VERDICT_ACCEPTED)
		v = invert(l.mst, &o, &got);
	if (v == VERDICT_ACCEPTED && !cid_equal(&got, &want))
		v = VERDICT_INVERSION_FAILED;
	unload(&l);
	return v;
}

static void check_proof(const json_t *fixture)
{
	const json_t *cids = json_object_get(fixture, "blocksInProof");
	const char *comment = json_get_text(fixture, "comment");
	size_t failures = 0, count = json_array_size(cids);
	static struct model m;

	m.count = 0;
	put_keys(&m, json_object_get(fixture, "keys"), false);
	check_root(&m, fixture, "rootBeforeCommit");
	put_keys(&m, json_object_get(fixture, "adds"), false);
	put_keys(&m, json_object_get(fixture, "dels"), true);
	check_root(&m, fixture, "rootAfterCommit");
	for (size_t left_out = 0; left_out <= count; left_out++) {
		struct proof p = {.cids = cids, .left_out = left_out};

		tree_walk(m.root, mark_proven, &p);
		if (left_out == count)
			CHECK_INT(invert_fixture(fixture, m.root), VERDICT_ACCEPTED);
		else
			failures += invert_fixture(fixture, m.root) == VERDICT_BLOCK_MISSING;
	}
	/* In this one nothing but the root is needed. */
	CHECK_INT(failures, strstr(comment, "add on edge") ? 1 : count);
	tree_free(m.root);
	m.root = NULL;
}

TEST(interop_proofs)
{
	json_t *all;

	if (!test_vectors())
		SKIP("no interop files");
	all = json_vectors("interop/firehose/commit-proof-fixtures.json");
	CHECK_INT(json_array_size(all), 6);
	for (size_t i = 0; i < json_array_size(all); i++)
		check_proof(json_array_get(all, i));
	json_decref(all);
}

/* Trees that break a rule: nodes written by hand, loaded from the last one. */

static enum verdict forge_load(struct forge *f)
{
	struct blocks blocks;
	struct mst *m = mst_new();
	enum verdict v;

	blocks_init(&blocks);
	CHECK_INT(blocks_load(&blocks, buf_span(&f->car)), VERDICT_ACCEPTED);
	v = load_and_prove(m, &blocks, &f->root);
	blocks_release(&blocks);
	mst_free(m);
	forge_release(f);
	return v;
}

/* A key of this height that begins so. */
static const char *find_key(const char *prefix, unsigned height)
{
	static char keys[64][FORGE_KEY_SIZE];
	static unsigned next;

	return forge_key(prefix, height, keys[next++ % ARRAY_SIZE(keys)]);
}

static struct tree_entry entry(const char *key, const struct cid *right)
{
	return (struct tree_entry){.suffix = span_str(key), .value = leaf, .right = right};
}

TEST(a_child_is_one_lower)
{
	static const struct {
		int height; /* of the key in the child; -1: a key-less child with a stub below */
		enum verdict want;
	} cases[] = {
		{2, VERDICT_ACCEPTED},     {1, VERDICT_MST_BAD_NODE}, {0, VERDICT_MST_BAD_NODE},
		{3, VERDICT_MST_BAD_NODE}, {4, VERDICT_MST_BAD_NODE}, {-1, VERDICT_ACCEPTED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned side = 0; side < 2; side++) {
			struct tree_entry e;
			struct cid child;
			struct forge f;

			forge_init(&f);
			if (cases[i].height >= 0) {
				e = entry(find_key(side ? "z" : "a", (unsigned)cases[i].height),
					  NULL);
				child = forge_node(&f, NULL, &e, 1);
			} else {
				child = forge_node(&f, &leaf, NULL, 0);
			}
			e = entry(find_key("m", 3), side ? &child : NULL);
			forge_node(&f, side ? NULL : &child, &e, 1);
			CHECK_INT(forge_load(&f), cases[i].want);
		}
}

/* Two keys in one node, the second of this height. */
TEST(all_keys_of_a_node_have_one_height)
{
	for (unsigned height = 0; height < 4; height++) {
		struct tree_entry entries[2] = {entry(find_key("a", 1), NULL),
						entry(find_key("b", height), NULL)};
		struct forge f;

		forge_init(&f);
		forge_node(&f, NULL, entries, 2);
		CHECK_INT(forge_load(&f), height == 1 ? VERDICT_ACCEPTED : VERDICT_MST_BAD_NODE);
	}
}

/* A key between two subtrees of which nothing is known: without it, the two would be one. */
TEST(stubs_cannot_be_merged)
{
	const struct cid other = {.codec = CID_DAG_CBOR, .digest = {1}};

	for (unsigned stubs = 0; stubs < 4; stubs++) {
		const char *key = find_key("m", 1);
		struct tree_entry e = entry(key, stubs & 1 ? &other : NULL);
		struct mst *m = mst_new();
		struct blocks blocks;
		struct cid root;
		struct forge f;

		forge_init(&f);
		forge_node(&f, stubs & 2 ? &leaf : NULL, &e, 1);
		blocks_init(&blocks);
		CHECK_INT(blocks_load(&blocks, buf_span(&f.car)), VERDICT_ACCEPTED);
		CHECK_INT(load_and_prove(m, &blocks, &f.root), VERDICT_ACCEPTED);
		CHECK_INT(invert_one(m, key, true, false, &root),
			  stubs == 3 ? VERDICT_BLOCK_MISSING : VERDICT_ACCEPTED);
		/* What is left is the other subtree, or nothing. */
		if (stubs < 3)
			CHECK(cid_equal(&root, stubs == 0   ? &mst_empty_root
					       : stubs == 1 ? &other
							    : &leaf));
		blocks_release(&blocks);
		forge_release(&f);
		mst_free(m);
	}
}

TEST(keys_ascend_over_the_whole_tree)
{
	static const struct {
		const char *left, *root, *right;
		enum verdict want;
	} cases[] = {
		{"a", "m", "z", VERDICT_ACCEPTED},
		{"n", "m", "z", VERDICT_MST_BAD_NODE},
		{"a", "m", "l", VERDICT_MST_BAD_NODE},
		{"a", "m", "a", VERDICT_MST_BAD_NODE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cid left, right;
		struct tree_entry e;
		struct forge f;

		forge_init(&f);
		e = entry(find_key(cases[i].left, 0), NULL);
		left = forge_node(&f, NULL, &e, 1);
		e = entry(find_key(cases[i].right, 0), NULL);
		right = forge_node(&f, NULL, &e, 1);
		e = entry(find_key(cases[i].root, 1), &right);
		forge_node(&f, &left, &e, 1);
		CHECK_INT(forge_load(&f), cases[i].want);
	}
}

TEST(nodes_without_keys)
{
	struct cid bottom, middle;
	struct tree_entry e;
	struct forge f;

	/* a root that only leads down */
	forge_init(&f);
	e = entry(find_key("a", 0), NULL);
	bottom = forge_node(&f, NULL, &e, 1);
	forge_node(&f, &bottom, NULL, 0);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	/* one that bridges a height */
	forge_init(&f);
	e = entry(find_key("a", 0), NULL);
	bottom = forge_node(&f, NULL, &e, 1);
	middle = forge_node(&f, &bottom, NULL, 0);
	e = entry(find_key("m", 2), NULL);
	forge_node(&f, &middle, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_ACCEPTED);
	/* an empty one below a root */
	forge_init(&f);
	bottom = forge_node(&f, NULL, NULL, 0);
	e = entry(find_key("m", 1), NULL);
	forge_node(&f, &bottom, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	/* one that leads to an empty one */
	forge_init(&f);
	bottom = forge_node(&f, NULL, NULL, 0);
	middle = forge_node(&f, &bottom, NULL, 0);
	e = entry(find_key("m", 2), NULL);
	forge_node(&f, &middle, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	/* anything below height 0, seen or not */
	forge_init(&f);
	e = entry(find_key("m", 0), &leaf);
	forge_node(&f, NULL, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	forge_init(&f);
	e = entry(find_key("m", 0), NULL);
	forge_node(&f, &leaf, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	forge_init(&f);
	bottom = forge_node(&f, &leaf, NULL, 0);
	e = entry(find_key("m", 1), NULL);
	forge_node(&f, &bottom, &e, 1);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
}

/* One chain of nodes without keys, hung below every key of a wide node: 8,192 times five blocks
 * to look at, were it not refused at the second. */
TEST(no_node_is_taken_twice)
{
	enum { WIDTH = 200, CHAIN = 4 };
	static char keys[WIDTH][64];
	static struct tree_entry entries[WIDTH];
	unsigned count = 0;
	struct cid chain;
	struct forge f;

	forge_init(&f);
	chain = leaf;
	for (unsigned i = 0; i < CHAIN; i++)
		chain = forge_node(&f, &chain, NULL, 0);
	for (unsigned i = 0; count < WIDTH; i++) {
		snprintf(keys[count], sizeof(keys[0]), "%08u", i);
		if (tree_height(span_str(keys[count])) != CHAIN + 1)
			continue;
		for (size_t p = 0; count > 0 && keys[count][p] == keys[count - 1][p]; p++)
			entries[count].prefix = p + 1;
		entries[count].suffix = span_str(keys[count] + entries[count].prefix);
		entries[count].value = leaf;
		entries[count].right = count == 10 || count == 20 ? &chain : NULL;
		count++;
	}
	forge_node(&f, NULL, entries, WIDTH);
	CHECK_INT(forge_load(&f), VERDICT_MST_BAD_NODE);
	forge_init(&f);
	chain = leaf;
	for (unsigned i = 0; i < CHAIN; i++)
		chain = forge_node(&f, &chain, NULL, 0);
	entries[20].right = NULL;
	forge_node(&f, NULL, entries, WIDTH);
	CHECK_INT(forge_load(&f), VERDICT_ACCEPTED);
}

TEST(a_node_that_does_not_hash)
{
	static struct model m;
	struct blocks blocks;
	struct mst *mst = mst_new();
	struct buf car;

	model_put(&m, "a");
	model_put(&m, "b");
	model_make(&m);
	put_nodes(m.root, true, &car);
	car.ptr[car.len - 1] ^= 1;
	blocks_init(&blocks);
	CHECK_INT(blocks_load(&blocks, buf_span(&car)), VERDICT_ACCEPTED);
	CHECK_INT(load_and_prove(mst, &blocks, &m.root->cid), VERDICT_BLOCK_HASH);
	blocks_release(&blocks);
	mst_free(mst);
	buf_release(&car);
	tree_free(m.root);
}
