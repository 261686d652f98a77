#include "tests/simnet/spoil.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/ecdsa.h>

#include "common/car.h"
#include "common/cbor.h"
#include "common/limits.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"

#define BYTES_MAX MIB(8)

/* The commit object with another value (empty: none) under a key, signed anew or not. */
static void change_object(struct fault_scene *s, struct repo_commit *c, const char *key,
			  struct span value, bool sign)
{
	struct buf changed, object;

	buf_init(&changed, KIB(4));
	buf_init(&object, KIB(4));
	edit_map(forge_object(c), key, value, &changed);
	if (sign)
		forge_sign(&s->repo.key, buf_span(&changed), &object);
	else
		buf_append(&object, buf_span(&changed));
	forge_replace_object(c, buf_span(&object));
	buf_release(&changed);
	buf_release(&object);
}

static void change_signature(struct fault_scene *s, struct repo_commit *c, struct span signature)
{
	struct buf value;

	buf_init(&value, KIB(1));
	cbor_put_bytes(&value, signature);
	change_object(s, c, "sig", buf_span(&value), false);
	buf_release(&value);
}

static void get_signature(const struct repo_commit *c, uint8_t ret[static TEST_SIGNATURE_SIZE])
{
	struct reader r = reader_of(edit_get(forge_object(c), "sig"));
	struct span sig = SPAN_EMPTY;
	int error = cbor_get_bytes(&r, &sig);

	assert(error == 0 && sig.len == TEST_SIGNATURE_SIZE);
	memcpy(ret, sig.ptr, TEST_SIGNATURE_SIZE);
}

void spoil_signature(struct fault_scene *s, struct repo_commit *c)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];

	get_signature(c, sig);
	sig[20] ^= 1;
	change_signature(s, c, span_of(sig, sizeof(sig)));
}

void spoil_high_s(struct fault_scene *s, struct repo_commit *c)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];

	get_signature(c, sig);
	test_signature_flip(s->repo.key.public.curve, sig);
	change_signature(s, c, span_of(sig, sizeof(sig)));
}

void spoil_der(struct fault_scene *s, struct repo_commit *c)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];
	unsigned char *der = NULL;
	ECDSA_SIG *pair = ECDSA_SIG_new();
	int size;

	get_signature(c, sig);
	ECDSA_SIG_set0(pair, BN_bin2bn(sig, 32, NULL), BN_bin2bn(sig + 32, 32, NULL));
	size = i2d_ECDSA_SIG(pair, &der);
	assert(size > 0);
	change_signature(s, c, span_of(der, (size_t)size));
	OPENSSL_free(der);
	ECDSA_SIG_free(pair);
}

void spoil_short_signature(struct fault_scene *s, struct repo_commit *c)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];

	get_signature(c, sig);
	change_signature(s, c, span_of(sig, sizeof(sig) - 1));
}

void spoil_key(struct fault_scene *s, struct repo_commit *c)
{
	struct test_key other;
	struct buf object;

	test_key_make(s->repo.key.public.curve, "somebody else", &other);
	buf_init(&object, KIB(4));
	forge_sign(&other, forge_object(c), &object);
	forge_replace_object(c, buf_span(&object));
	buf_release(&object);
}

void spoil_no_signature(struct fault_scene *s, struct repo_commit *c)
{
	change_object(s, c, "sig", SPAN_EMPTY, false);
}

void spoil_version(struct fault_scene *s, struct repo_commit *c)
{
	change_object(s, c, "version", SPAN_LITERAL("\x02"), true);
}

void spoil_no_prev(struct fault_scene *s, struct repo_commit *c)
{
	change_object(s, c, "prev", SPAN_EMPTY, true);
}

void spoil_data_link(struct fault_scene *s, struct repo_commit *c)
{
	change_object(s, c, "data", SPAN_LITERAL("\xf6"), true);
}

void spoil_did(struct fault_scene *s, struct repo_commit *c)
{
	struct buf value;

	buf_init(&value, KIB(1));
	cbor_put_text(&value, SPAN_LITERAL("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"));
	change_object(s, c, "did", buf_span(&value), true);
	buf_release(&value);
}

/* The frame's, but not the commit's. */
void spoil_rev(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	tid_format(tid_usec(span_of(c->rev, TID_SIZE)) + 1, 0, c->rev);
}

void spoil_commit_link(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	c->commit = c->data;
}

/* Blocks. */

void spoil_archive_cut(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	c->blocks.len--;
}

void spoil_archive_header(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	/* Its first map key. */
	c->blocks.ptr[3] ^= 1;
}

void spoil_archive_empty(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	buf_clear(&c->blocks);
}

static size_t count_blocks(const struct repo_commit *c)
{
	struct car_block block;
	struct car car;
	size_t count = 0;
	int error = car_open(buf_span(&c->blocks), &car);

	while (error == 0 && car_more(&car)) {
		error = car_next(&car, &block);
		count++;
	}
	assert(error == 0);
	return count;
}

static void drop_block(struct repo_commit *c, size_t n)
{
	struct buf fewer;
	bool dropped;

	buf_init(&fewer, BYTES_MAX);
	dropped = forge_without_block(buf_span(&c->blocks), n, &fewer);
	assert(dropped);
	buf_release(&c->blocks);
	c->blocks = fewer;
}

/* The commit comes first, then the tree's root; records come last. */
void spoil_no_node(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	drop_block(c, 1);
}

void spoil_no_record(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	drop_block(c, count_blocks(c) - 1);
}

static void flip_block(struct repo_commit *c, size_t n)
{
	struct car_block block = {0};
	struct car car;
	int error = car_open(buf_span(&c->blocks), &car);

	for (size_t i = 0; error == 0 && i <= n; i++)
		error = car_next(&car, &block);
	assert(error == 0);
	c->blocks.ptr[block.data.ptr - c->blocks.ptr + (ptrdiff_t)block.data.len - 1] ^= 1;
}

void spoil_node_hash(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	flip_block(c, 1);
}

void spoil_record_hash(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	flip_block(c, count_blocks(c) - 1);
}

static void add_block(struct repo_commit *c, size_t size)
{
	uint8_t *zeros = xcalloc(1, size);
	struct cid cid;

	cid_of_block(span_of(zeros, size), &cid);
	car_put_block(&c->blocks, &cid, span_of(zeros, size));
	free(zeros);
}

void spoil_blocks_size(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	add_block(c, LIMIT_COMMIT_BLOCKS);
}

void spoil_extra_block(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	add_block(c, 10);
}

/* Ops. */

static struct repo_op *add_op(struct repo_commit *c, const struct repo_op *like, const char *path)
{
	struct repo_op *op;

	c->ops = xrealloc(c->ops, (c->op_count + 1) * sizeof(*c->ops));
	op = &c->ops[c->op_count++];
	*op = *like;
	op->path = xstrdup(path);
	return op;
}

static void set_path(struct repo_op *op, const char *path)
{
	free(op->path);
	op->path = xstrdup(path);
}

static struct repo_op *find_op(struct repo_commit *c, enum repo_action action)
{
	for (size_t i = 0; i < c->op_count; i++)
		if (c->ops[i].action == action)
			return &c->ops[i];
	abort();
}

void spoil_op_count(struct fault_scene *s, struct repo_commit *c)
{
	const struct repo_op like = *find_op(c, REPO_CREATE);
	char path[64];

	(void)s;
	while (c->op_count <= LIMIT_OPS) {
		snprintf(path, sizeof(path), "com.example.more/%zu", c->op_count);
		add_op(c, &like, path);
	}
}

void spoil_op_path(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	set_path(find_op(c, REPO_CREATE), "com.example.record/../x");
}

void spoil_op_twice(struct fault_scene *s, struct repo_commit *c)
{
	const struct repo_op like = *find_op(c, REPO_CREATE);

	(void)s;
	add_op(c, &like, like.path);
}

void spoil_op_value(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	find_op(c, REPO_CREATE)->cid = find_op(c, REPO_UPDATE)->cid;
}

/* Right behind it, where the blocks show that there is nothing. */
void spoil_op_elsewhere(struct fault_scene *s, struct repo_commit *c)
{
	struct repo_op *op = find_op(c, REPO_CREATE);
	char path[LIMIT_REPO_PATH + 1];

	(void)s;
	snprintf(path, sizeof(path), "%s-", op->path);
	set_path(op, path);
}

/* Of what is still there. */
void spoil_op_delete(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	find_op(c, REPO_UPDATE)->action = REPO_DELETE;
}

/* A record more than the ops tell of. */
void spoil_op_untold(struct fault_scene *s, struct repo_commit *c)
{
	struct repo_op *op = find_op(c, REPO_CREATE);

	(void)s;
	free(op->path);
	*op = c->ops[--c->op_count];
}

void spoil_op_action(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	find_op(c, REPO_UPDATE)->action = REPO_CREATE;
}

void spoil_prev_data(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	c->prev_data.digest[0] ^= 1;
}

void spoil_no_prev_data(struct fault_scene *s, struct repo_commit *c)
{
	(void)s;
	c->has_prev_data = false;
}

/* Frames. */

static void edit_hex(struct span frame, const char *key, const char *value, size_t size,
		     struct buf *out)
{
	edit_frame(frame, key, span_of(value, size), out);
}

#define EDIT(frame, key, value, out) edit_hex(frame, key, value, sizeof(value) - 1, out)

void spoil_frame_cut(struct span frame, struct buf *out)
{
	buf_append(out, span_of(frame.ptr, frame.len - 1));
}

void spoil_frame_longer(struct span frame, struct buf *out)
{
	buf_append(out, frame);
	buf_put_u8(out, 0xf6);
}

void spoil_frame_long_integer(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\x18\x05", out);
}

void spoil_frame_float(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\xfb\x3f\xf0\x00\x00\x00\x00\x00\x00", out);
}

void spoil_frame_nested(struct span frame, struct buf *out)
{
	char value[2 * LIMIT_CBOR_DEPTH];

	memset(value, '\x81', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\x80';
	edit_hex(frame, "xx", value, sizeof(value), out);
}

void spoil_frame_endless_array(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", out);
}

void spoil_frame_tag(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\xc1\x01", out);
}

/* {"b": 1, "a": 1} */
void spoil_frame_unsorted(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\xa2\x61\x62\x01\x61\x61\x01", out);
}

void spoil_frame_same_key(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\xa2\x61\x61\x01\x61\x61\x01", out);
}

void spoil_frame_number_key(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\xa1\x01\x01", out);
}

void spoil_frame_open_array(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\x9f\x01\xff", out);
}

void spoil_frame_text(struct span frame, struct buf *out)
{
	EDIT(frame, "xx", "\x61\xff", out);
}

static void change_header(struct span frame, const char *key, struct span value, struct buf *out)
{
	struct span body = edit_body(frame);

	edit_map(span_of(frame.ptr, frame.len - body.len), key, value, out);
	buf_append(out, body);
}

void spoil_frame_op(struct span frame, struct buf *out)
{
	change_header(frame, "op", SPAN_LITERAL("\x05"), out);
}

void spoil_frame_no_op(struct span frame, struct buf *out)
{
	change_header(frame, "op", SPAN_EMPTY, out);
}

void spoil_frame_kind(struct span frame, struct buf *out)
{
	change_header(frame, "t", SPAN_LITERAL("\x65#evil"), out);
}

void spoil_frame_no_seq(struct span frame, struct buf *out)
{
	edit_frame(frame, "seq", SPAN_EMPTY, out);
}

void spoil_frame_huge_seq(struct span frame, struct buf *out)
{
	EDIT(frame, "seq", "\x1b\x00\x20\x00\x00\x00\x00\x00\x00", out);
}

void spoil_frame_no_repo(struct span frame, struct buf *out)
{
	edit_frame(frame, "repo", SPAN_EMPTY, out);
}

void spoil_frame_no_time(struct span frame, struct buf *out)
{
	edit_frame(frame, "time", SPAN_EMPTY, out);
}

void spoil_frame_time(struct span frame, struct buf *out)
{
	EDIT(frame, "time", "\x69yesterday", out);
}

void spoil_frame_since(struct span frame, struct buf *out)
{
	EDIT(frame, "since", "\x66monday", out);
}

void spoil_frame_null_op(struct span frame, struct buf *out)
{
	EDIT(frame, "ops", "\x81\xf6", out);
}

void spoil_frame_null_prev_data(struct span frame, struct buf *out)
{
	EDIT(frame, "prevData", "\xf6", out);
}

void spoil_frame_no_blocks(struct span frame, struct buf *out)
{
	edit_frame(frame, "blocks", SPAN_EMPTY, out);
}

void spoil_frame_did(struct span frame, struct buf *out)
{
	EDIT(frame, "repo",
	     "\x78\x20"
	     "did:plc:AAAAAAAAAAAAAAAAAAAAAAAA",
	     out);
}

void spoil_frame_did_method(struct span frame, struct buf *out)
{
	EDIT(frame, "repo",
	     "\x71"
	     "did:example:alice",
	     out);
}

/* Trees. */

static const struct cid value = {.codec = CID_DAG_CBOR, .digest = {1}};

struct keys {
	char a[FORGE_KEY_SIZE], b[FORGE_KEY_SIZE];
};

#define PREFIX "com.example.record/"

/* Two keys of these heights; b shares so many bytes with a. */
static size_t make_keys(struct keys *k, unsigned a_height, unsigned b_height)
{
	size_t shared = 0;

	forge_key(PREFIX "a", a_height, k->a);
	forge_key(PREFIX "b", b_height, k->b);
	while (k->a[shared] == k->b[shared])
		shared++;
	return shared;
}

static struct tree_entry entry(const char *key, size_t prefix, const struct cid *right)
{
	return (struct tree_entry){
		.prefix = prefix,
		.suffix = span_str(key + prefix),
		.value = value,
		.right = right,
	};
}

static void put_pair(struct forge *f, struct tree_entry a, struct tree_entry b)
{
	const struct tree_entry entries[] = {a, b};

	forge_node(f, NULL, entries, ARRAY_SIZE(entries));
}

static struct cid put_leaf(struct forge *f, const char *key)
{
	const struct tree_entry e = entry(key, 0, NULL);

	return forge_node(f, NULL, &e, 1);
}

void spoil_tree(struct forge *f)
{
	struct keys k;
	size_t shared = make_keys(&k, 0, 0);

	put_pair(f, entry(k.a, 0, NULL), entry(k.b, shared, NULL));
}

void spoil_tree_heights(struct forge *f)
{
	struct keys k;
	size_t shared = make_keys(&k, 0, 1);

	put_pair(f, entry(k.a, 0, NULL), entry(k.b, shared, NULL));
}

void spoil_tree_order(struct forge *f)
{
	struct keys k;
	size_t shared = make_keys(&k, 0, 0);

	put_pair(f, entry(k.b, 0, NULL), entry(k.a, shared, NULL));
}

void spoil_tree_same_key(struct forge *f)
{
	struct keys k;

	make_keys(&k, 0, 0);
	put_pair(f, entry(k.a, 0, NULL), entry(k.a, strlen(k.a), NULL));
}

void spoil_tree_prefix_too_long(struct forge *f)
{
	struct tree_entry beyond;
	struct keys k;
	size_t shared = make_keys(&k, 0, 0);

	beyond = entry(k.b, shared, NULL);
	beyond.prefix = strlen(k.a) + 1000000;
	put_pair(f, entry(k.a, 0, NULL), beyond);
}

void spoil_tree_prefix_too_short(struct forge *f)
{
	struct keys k;
	size_t shared = make_keys(&k, 0, 0);

	put_pair(f, entry(k.a, 0, NULL), entry(k.b, shared - 1, NULL));
}

void spoil_tree_empty_node(struct forge *f)
{
	struct cid empty = forge_node(f, NULL, NULL, 0);
	struct tree_entry root;
	struct keys k;

	make_keys(&k, 1, 0);
	root = entry(k.a, 0, NULL);
	forge_node(f, &empty, &root, 1);
}

void spoil_tree_root_without_key(struct forge *f)
{
	struct cid leaf;
	struct keys k;

	make_keys(&k, 0, 0);
	leaf = put_leaf(f, k.a);
	forge_node(f, &leaf, NULL, 0);
}

/* One chain of nodes below two keys: with many keys and more of its kind, work without end. */
void spoil_tree_shared(struct forge *f)
{
	struct cid chain = forge_node(f, &value, NULL, 0);
	struct keys k;
	size_t shared = make_keys(&k, 2, 2);

	put_pair(f, entry(k.a, 0, &chain), entry(k.b, shared, &chain));
}

void spoil_tree_skipped_height(struct forge *f)
{
	struct tree_entry root;
	struct cid leaf;
	struct keys k;

	make_keys(&k, 0, 2);
	leaf = put_leaf(f, k.a);
	root = entry(k.b, 0, NULL);
	forge_node(f, &leaf, &root, 1);
}

void spoil_tree_below_the_bottom(struct forge *f)
{
	struct tree_entry root;
	struct keys k;

	make_keys(&k, 0, 0);
	root = entry(k.a, 0, &value);
	forge_node(f, NULL, &root, 1);
}

/* The key left of the root's is right of it. */
void spoil_tree_order_of_nodes(struct forge *f)
{
	struct tree_entry root;
	struct cid leaf;
	struct keys k;

	make_keys(&k, 1, 0);
	leaf = put_leaf(f, k.b);
	root = entry(k.a, 0, NULL);
	forge_node(f, &leaf, &root, 1);
}

/* A right node with another value under a key. */
static void put_edited(struct forge *f, const char *key, struct span encoded)
{
	struct tree_entry e;
	struct buf block, edited;
	struct keys k;

	make_keys(&k, 0, 0);
	e = entry(k.a, 0, NULL);
	buf_init(&block, KIB(4));
	buf_init(&edited, KIB(4));
	tree_encode_node(&block, NULL, &e, 1);
	edit_map(buf_span(&block), key, encoded, &edited);
	forge_block(f, buf_span(&edited));
	buf_release(&block);
	buf_release(&edited);
}

void spoil_tree_unknown_field(struct forge *f)
{
	put_edited(f, "x", SPAN_LITERAL("\x01"));
}

void spoil_tree_no_link(struct forge *f)
{
	put_edited(f, "l", SPAN_EMPTY);
}

void spoil_tree_raw_link(struct forge *f)
{
	const struct cid raw = {.codec = CID_RAW};
	struct tree_entry root;
	struct keys k;

	make_keys(&k, 1, 0);
	root = entry(k.a, 0, &raw);
	forge_node(f, NULL, &root, 1);
}

/* {e: [], l: null} with the array's length in a longer form than it needs. */
void spoil_tree_long_integer(struct forge *f)
{
	forge_block(f, SPAN_LITERAL("\xa2\x61\x65\x98\x00\x61\x6c\xf6"));
}

void spoil_tree_no_map(struct forge *f)
{
	forge_block(f, SPAN_LITERAL("\x80"));
}

void spoil_tree_long_key(struct forge *f)
{
	char key[LIMIT_MST_KEY + 2];
	struct tree_entry root;

	memset(key, 'k', sizeof(key) - 1);
	key[sizeof(key) - 1] = '\0';
	root = entry(key, 0, NULL);
	forge_node(f, NULL, &root, 1);
}
