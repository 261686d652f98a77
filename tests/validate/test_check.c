#include "validate/check.h"

#ifdef HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#include "common/car.h"
#include "common/cbor.h"
#include "tests/lib/edit.h"
#include "tests/lib/forge.h"
#include "tests/lib/frame.h"
#include "tests/lib/scenario.h"
#include "tests/test.h"

#define NOW       UINT64_C(1767323045678000)
#define REV_DRIFT UINT64_C(300000000)

struct bench {
	struct checker *checker;
	struct repo repo;
	struct signature_key key;
	struct buf bytes;
	struct frame frame;
	struct check_rules rules;
	struct verified facts;
};

static void bench_open(struct bench *b, enum curve curve)
{
	*b = (struct bench){.rules = {.received_usec = NOW, .rev_drift_usec = REV_DRIFT}};
	b->checker = checker_new();
	repo_init(&b->repo, curve, "bench");
	CHECK_INT(
		signatures_parse_key(checker_signatures(b->checker), &b->repo.key.public, &b->key),
		0);
	buf_init(&b->bytes, MIB(8));
}

static void bench_close(struct bench *b)
{
	checker_free(b->checker);
	repo_release(&b->repo);
	buf_release(&b->bytes);
}

static enum verdict judge_frame(struct bench *b, struct span bytes)
{
	enum verdict v = frame_decode(bytes, &b->frame);

	if (v == VERDICT_ACCEPTED)
		v = check_fields(&b->frame, &b->rules);
	if (v == VERDICT_ACCEPTED)
		v = check_blocks(b->checker, &b->frame, &b->key, &b->rules, &b->facts);
	return v;
}

/* What is in bytes. */
static enum verdict judge_bytes(struct bench *b)
{
	return judge_frame(b, buf_span(&b->bytes));
}

static enum verdict judge_commit(struct bench *b, const struct repo_commit *c)
{
	buf_clear(&b->bytes);
	frame_put_commit(&b->bytes, 1, c);
	return judge_bytes(b);
}

/* Ops are a set: a host may name them in any order. */
static void shuffle_ops(struct repo_commit *c)
{
	for (size_t i = c->op_count; i > 1; i--) {
		size_t j = test_random() % i;
		struct repo_op op = c->ops[j];

		c->ops[j] = c->ops[i - 1];
		c->ops[i - 1] = op;
	}
}

/* Commits what is staged. */
static enum verdict judge_staged(struct bench *b)
{
	struct repo_commit c;
	enum verdict v;

	repo_commit(&b->repo, NOW, &c);
	shuffle_ops(&c);
	v = judge_commit(b, &c);
	CHECK(v != VERDICT_ACCEPTED || memcmp(b->facts.rev, c.rev, TID_SIZE) == 0);
	CHECK(v != VERDICT_ACCEPTED || memcmp(b->facts.commit, c.commit.digest, SHA256_SIZE) == 0);
	CHECK(v != VERDICT_ACCEPTED || memcmp(b->facts.data, c.data.digest, SHA256_SIZE) == 0);
	CHECK(v != VERDICT_ACCEPTED || b->facts.has_since == c.has_since);
	CHECK(v != VERDICT_ACCEPTED || b->facts.has_prev_data == c.has_prev_data);
	repo_commit_release(&c);
	return v;
}

static bool is_staged(const struct repo *r, const char *path)
{
	for (size_t i = 0; i < r->op_count; i++)
		if (strcmp(r->ops[i].path, path) == 0)
			return true;
	return false;
}

static void stage_random(struct repo *r, unsigned paths)
{
	char path[64];

	snprintf(path, sizeof(path), "com.example.record/%" PRIu64, test_random() % paths);
	if (is_staged(r, path))
		return;
	if (repo_has(r, path) && test_random() % 2 == 0)
		repo_delete(r, path);
	else
		repo_put_number(r, path, test_random());
}

static void random_commits(enum curve curve, unsigned commits, unsigned paths, unsigned ops)
{
	struct bench b;

	bench_open(&b, curve);
	for (unsigned i = 0; i < commits; i++) {
		unsigned n = (unsigned)(test_random() % (ops + 1));

		for (unsigned j = 0; j < n; j++)
			stage_random(&b.repo, paths);
		CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	}
	bench_close(&b);
}

TEST(every_commit_of_random_repositories_is_accepted)
{
	random_commits(CURVE_K256, 150, 8, 3);
	random_commits(CURVE_K256, 150, 300, 8);
	random_commits(CURVE_P256, 50, 2000, 60);
	random_commits(CURVE_P256, 5, 1000, LIMIT_OPS);
}

#ifdef HAVE_JEMALLOC
/* Bytes that this thread has allocated since it began. */
static uint64_t allocated(void)
{
	uint64_t bytes = 0;
	size_t size = sizeof(bytes);

	CHECK_INT(mallctl("thread.allocated", &bytes, &size, NULL, 0), 0);
	return bytes;
}
#endif

/* What one event took serves the next. OpenSSL allocates for each P-256 signature, but gives all
 * back. */
TEST(a_thousand_commits_allocate_nothing)
{
#ifdef HAVE_JEMALLOC
	enum { COMMITS = 1000 };
	static struct buf frames[COMMITS];
	struct repo_commit c;
	uint64_t before = 0;
	struct bench b;

	bench_open(&b, CURVE_K256);
	for (size_t i = 0; i < COMMITS; i++) {
		for (unsigned j = 0; j < (i == 0 ? LIMIT_OPS : 1 + i % 4); j++)
			stage_random(&b.repo, 1000);
		repo_commit(&b.repo, NOW, &c);
		buf_init(&frames[i], MIB(1));
		frame_put_commit(&frames[i], i + 1, &c);
		repo_commit_release(&c);
	}
	/* The first time, buffers grow to what these commits need. */
	for (unsigned round = 0; round < 2; round++) {
		before = allocated();
		for (size_t i = 0; i < COMMITS; i++)
			CHECK_INT(judge_frame(&b, buf_span(&frames[i])), VERDICT_ACCEPTED);
	}
	CHECK_INT(allocated() - before, 0);
	for (size_t i = 0; i < COMMITS; i++)
		buf_release(&frames[i]);
	bench_close(&b);
#else
	SKIP("without jemalloc nothing counts allocations");
#endif
}

/* Empty and not empty, with a changed and with the same tree. */
TEST(commits_without_ops)
{
	struct bench b;

	bench_open(&b, CURVE_K256);
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	repo_put_number(&b.repo, "com.example.record/a", 1);
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	repo_delete(&b.repo, "com.example.record/a");
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	bench_close(&b);
}

/* As a host that resigns its commit sends it: with the commit block and nothing else. */
TEST(a_commit_without_ops_may_bring_its_own_block_only)
{
	struct repo_commit c;
	struct cid data;
	struct bench b;

	bench_open(&b, CURVE_K256);
	repo_put_number(&b.repo, "com.example.record/a", 1);
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	data = b.repo.data;
	repo_sync(&b.repo, NOW, &c);
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	c.prev_data.digest[0] ^= 1;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	/* As a first commit its tree would have to be the empty one. */
	c.prev_data = data;
	c.has_prev_data = c.has_since = false;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(the_first_commit)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	for (unsigned i = 0; i < 30; i++)
		stage_random(&b.repo, 1000);
	repo_commit(&b.repo, NOW, &c);
	CHECK(!c.has_since && !c.has_prev_data);
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	/* It may name the empty tree, and no other. */
	c.has_prev_data = true;
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	c.prev_data = c.data;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	/* Any commit but the first says what was before. */
	c.has_prev_data = false;
	c.has_since = true;
	memcpy(c.since, "3jqfcqzm3fo2j", TID_SIZE);
	CHECK_INT(judge_commit(&b, &c), VERDICT_PREV_DATA_MISSING);
	/* An op that is not told of is seen. */
	c.has_since = false;
	c.op_count--;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	c.op_count++;
	repo_commit_release(&c);
	bench_close(&b);
}

/* A commit on top of some others: an update, a create and a delete. */
static void make_mixed(struct bench *b, struct repo_commit *ret)
{
	struct repo_commit c;

	for (unsigned i = 0; i < 12; i++) {
		char path[64];

		snprintf(path, sizeof(path), "com.example.record/%u", i);
		repo_put_number(&b->repo, path, i);
	}
	repo_commit(&b->repo, NOW, &c);
	repo_commit_release(&c);
	repo_put_number(&b->repo, "com.example.record/3", 100);
	repo_put_number(&b->repo, "com.example.record/new", 101);
	repo_delete(&b->repo, "com.example.record/7");
	repo_commit(&b->repo, NOW, ret);
	CHECK_INT(judge_commit(b, ret), VERDICT_ACCEPTED);
}

TEST(no_bit_of_the_blocks_can_be_changed)
{
	static const enum curve curves[] = {CURVE_K256, CURVE_P256};

	for (size_t i = 0; i < ARRAY_SIZE(curves); i++) {
		struct repo_commit c;
		struct bench b;

		bench_open(&b, curves[i]);
		make_mixed(&b, &c);
		for (size_t bit = 0; bit < 8 * c.blocks.len; bit++) {
			c.blocks.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (judge_commit(&b, &c) == VERDICT_ACCEPTED)
				test_fail(__FILE__, __LINE__, "bit %zu of byte %zu", bit % 8,
					  bit / 8);
			c.blocks.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
		repo_commit_release(&c);
		bench_close(&b);
	}
}

/* Of all that the frame says beside its blocks, only time, seq and since are not bound to them. */
TEST(no_bit_of_the_fields_can_be_changed)
{
	static const char *const keys[] = {"ops", "rev", "repo", "commit", "prevData"};
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		struct span value = edit_get(edit_body(buf_span(&b.bytes)), keys[i]);
		uint8_t *at = b.bytes.ptr + (value.ptr - b.bytes.ptr);

		for (size_t bit = 0; bit < 8 * value.len; bit++) {
			at[bit / 8] ^= (uint8_t)(1 << bit % 8);
			if (judge_bytes(&b) == VERDICT_ACCEPTED)
				test_fail(__FILE__, __LINE__, "%s: bit %zu", keys[i], bit);
			at[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	CHECK_INT(judge_bytes(&b), VERDICT_ACCEPTED);
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(signed_by_another_key)
{
	struct repo_commit c;
	struct test_key other;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	for (enum curve curve = CURVE_K256; curve <= CURVE_P256; curve++) {
		test_key_make(curve, "other", &other);
		CHECK_INT(
			signatures_parse_key(checker_signatures(b.checker), &other.public, &b.key),
			0);
		CHECK_INT(judge_commit(&b, &c), VERDICT_BAD_SIGNATURE);
	}
	repo_commit_release(&c);
	bench_close(&b);
}

/* All is hashed at once, but the commit's own block counts before its signature, and the signature
 * before the rest: by it a new key is asked for. */
TEST(what_is_told_of_several_faults)
{
	static const char sig[] = "sig\x58\x40";
	struct repo_commit c;
	struct test_key other;
	struct signature_key keys[2];
	struct bench b;
	uint8_t *in_commit, *in_tree;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	test_key_make(CURVE_K256, "other", &other);
	keys[0] = b.key;
	CHECK_INT(signatures_parse_key(checker_signatures(b.checker), &other.public, &keys[1]), 0);
	in_commit = memmem(c.blocks.ptr, c.blocks.len, sig, strlen(sig));
	CHECK(in_commit != NULL);
	in_commit += strlen(sig);
	in_tree = c.blocks.ptr + c.blocks.len - 1;
	for (unsigned faults = 0; faults < 8; faults++) {
		*in_commit ^= (faults & 1) != 0;
		*in_tree ^= (faults & 2) != 0;
		b.key = keys[(faults & 4) != 0];
		CHECK_INT(judge_commit(&b, &c), faults == 0  ? VERDICT_ACCEPTED
						: faults & 1 ? VERDICT_BLOCK_HASH
						: faults & 4 ? VERDICT_BAD_SIGNATURE
							     : VERDICT_BLOCK_HASH);
		*in_commit ^= (faults & 1) != 0;
		*in_tree ^= (faults & 2) != 0;
	}
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(the_frame_says_what_the_commit_says)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	c.rev[TID_SIZE - 1] = c.rev[TID_SIZE - 1] == '2' ? '3' : '2';
	CHECK_INT(judge_commit(&b, &c), VERDICT_COMMIT_MISMATCH);
	repo_commit_release(&c);
	repo_put_number(&b.repo, "com.example.record/x", 1);
	repo_commit(&b.repo, NOW, &c);
	c.did[10] = c.did[10] == 'a' ? 'b' : 'a';
	CHECK_INT(judge_commit(&b, &c), VERDICT_COMMIT_MISMATCH);
	repo_commit_release(&c);
	repo_put_number(&b.repo, "com.example.record/y", 1);
	repo_commit(&b.repo, NOW, &c);
	c.commit = c.data;
	CHECK_INT(judge_commit(&b, &c), VERDICT_COMMIT_MISMATCH);
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(a_rev_may_be_ahead_by_so_much)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	repo_commit(&b.repo, NOW + REV_DRIFT, &c);
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	b.rules.received_usec--;
	CHECK_INT(judge_commit(&b, &c), VERDICT_REV_IN_FUTURE);
	b.rules.received_usec = 0;
	CHECK_INT(judge_commit(&b, &c), VERDICT_REV_IN_FUTURE);
	b.rules.received_usec = 2 * NOW;
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	repo_commit_release(&c);
	bench_close(&b);
}

/* Ops of the mixed commit: 0 updates, 1 creates, 2 deletes. */
static struct repo_op *op_of(struct repo_commit *c, enum repo_action action)
{
	for (size_t i = 0; i < c->op_count; i++)
		if (c->ops[i].action == action)
			return &c->ops[i];
	return NULL;
}

static enum verdict with_path(struct bench *b, struct repo_commit *c, const char *path)
{
	struct repo_op *op = op_of(c, REPO_CREATE);
	char *was = op->path;
	enum verdict v;

	op->path = (char *)path;
	v = judge_commit(b, c);
	op->path = was;
	return v;
}

TEST(what_an_op_says_is_in_the_tree)
{
	struct repo_commit c;
	struct repo_op *op, was;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	/* the order of the ops does not matter */
	was = c.ops[0];
	c.ops[0] = c.ops[2];
	c.ops[2] = was;
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	/* a value that is not the one in the tree */
	op = op_of(&c, REPO_CREATE);
	was = *op;
	op->cid = op_of(&c, REPO_UPDATE)->cid;
	CHECK_INT(judge_commit(&b, &c), VERDICT_OP_MISMATCH);
	*op = was;
	/* a create that was an update, and the other way round */
	op->action = REPO_UPDATE;
	op->prev = op->cid;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	*op = was;
	op = op_of(&c, REPO_UPDATE);
	was = *op;
	op->action = REPO_CREATE;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	*op = was;
	/* a delete of what is still there */
	op->action = REPO_DELETE;
	CHECK_INT(judge_commit(&b, &c), VERDICT_OP_MISMATCH);
	*op = was;
	/* a prev that was not there */
	op->prev = op->cid;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	*op = was;
	op = op_of(&c, REPO_DELETE);
	was = *op;
	op->prev = c.data;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	*op = was;
	/* a path that is not in the tree, and some that are no paths */
	CHECK_INT(with_path(&b, &c, "com.example.record/none"), VERDICT_OP_MISMATCH);
	CHECK_INT(with_path(&b, &c, "com.example.record"), VERDICT_BAD_OP);
	CHECK_INT(with_path(&b, &c, "com.example.record/a/b"), VERDICT_BAD_OP);
	CHECK_INT(with_path(&b, &c, "/com.example.record/a"), VERDICT_BAD_OP);
	CHECK_INT(with_path(&b, &c, "com.example.record/.."), VERDICT_BAD_OP);
	CHECK_INT(with_path(&b, &c, "com.example.record/a b"), VERDICT_BAD_OP);
	CHECK_INT(with_path(&b, &c, ""), VERDICT_BAD_OP);
	/* one path twice */
	CHECK_INT(with_path(&b, &c, op_of(&c, REPO_DELETE)->path), VERDICT_BAD_OP);
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	repo_commit_release(&c);
	bench_close(&b);
}

/* The fields of an op that its action rules out or asks for; the only op of the commit. */
TEST(ops_have_the_fields_of_their_action)
{
	static const struct {
		const char *action;
		bool has_cid, has_prev;
		enum verdict want, want_legacy;
	} cases[] = {
		{"create", true, false, VERDICT_ACCEPTED, VERDICT_ACCEPTED},
		{"create", true, true, VERDICT_BAD_OP, VERDICT_BAD_OP},
		{"create", false, false, VERDICT_BAD_OP, VERDICT_BAD_OP},
		{"update", true, true, VERDICT_ACCEPTED, VERDICT_ACCEPTED},
		{"update", true, false, VERDICT_BAD_OP, VERDICT_ACCEPTED},
		{"update", false, true, VERDICT_BAD_OP, VERDICT_BAD_OP},
		{"delete", false, true, VERDICT_ACCEPTED, VERDICT_ACCEPTED},
		{"delete", false, false, VERDICT_BAD_OP, VERDICT_ACCEPTED},
		{"delete", true, true, VERDICT_BAD_OP, VERDICT_BAD_OP},
	};
	const struct cid cid = {.codec = CID_DAG_CBOR};
	struct repo_commit c;
	struct buf ops, changed;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	buf_init(&ops, KIB(4));
	buf_init(&changed, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&ops);
		buf_clear(&changed);
		cbor_put_array(&ops, 1);
		cbor_put_map(&ops, cases[i].has_prev ? 4 : 3);
		if (cases[i].has_cid) {
			frame_put_cid(&ops, "cid", &cid);
		} else {
			cbor_put_text(&ops, SPAN_LITERAL("cid"));
			cbor_put_null(&ops);
		}
		frame_put_text(&ops, "path", SPAN_LITERAL("com.example.record/a"));
		if (cases[i].has_prev)
			frame_put_cid(&ops, "prev", &cid);
		frame_put_text(&ops, "action", span_str(cases[i].action));
		edit_frame(buf_span(&b.bytes), "ops", buf_span(&ops), &changed);
		CHECK_INT(frame_decode(buf_span(&changed), &b.frame), VERDICT_ACCEPTED);
		b.rules.is_legacy = false;
		CHECK_INT(check_fields(&b.frame, &b.rules), cases[i].want);
		b.rules.is_legacy = true;
		CHECK_INT(check_fields(&b.frame, &b.rules), cases[i].want_legacy);
	}
	buf_release(&ops);
	buf_release(&changed);
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(legacy_hosts_may_leave_out_what_was_before)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	c.has_prev_data = false;
	CHECK_INT(judge_commit(&b, &c), VERDICT_PREV_DATA_MISSING);
	b.rules.is_legacy = true;
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	CHECK(!b.facts.has_prev_data);
	CHECK(b.facts.is_legacy);
	/* nothing else is tolerated */
	op_of(&c, REPO_CREATE)->cid.digest[0] ^= 1;
	CHECK_INT(judge_commit(&b, &c), VERDICT_OP_MISMATCH);
	op_of(&c, REPO_CREATE)->cid.digest[0] ^= 1;
	c.has_prev_data = true;
	c.prev_data.digest[0] ^= 1;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	/* and without a rev before it, it would be a first commit */
	c.has_prev_data = c.has_since = false;
	CHECK(judge_commit(&b, &c) != VERDICT_ACCEPTED);
	repo_commit_release(&c);
	bench_close(&b);
}

/* A first commit needs no prevData, so that no host is excused from the tree before it. */
TEST(a_legacy_first_commit_is_inverted)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	b.rules.is_legacy = true;
	repo_put_number(&b.repo, "com.example.record/a", 1);
	repo_put_number(&b.repo, "com.example.record/b", 2);
	repo_commit(&b.repo, NOW, &c);
	c.has_prev_data = false;
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	CHECK(!b.facts.is_legacy);
	c.op_count--;
	CHECK_INT(judge_commit(&b, &c), VERDICT_INVERSION_FAILED);
	c.op_count++;
	repo_commit_release(&c);
	bench_close(&b);
}

/* In the mixed commit every block but some nodes of the proof is needed for certain; where a node
 * can be missing, the inversion still leads to prevData. */
TEST(a_commit_without_one_of_its_blocks)
{
	struct buf all, fewer;
	struct repo_commit c;
	size_t refused = 0, n;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	buf_init(&fewer, MIB(4));
	all = c.blocks;
	for (n = 0; forge_without_block(buf_span(&all), n, &fewer); n++) {
		c.blocks = fewer;
		refused += judge_commit(&b, &c) == VERDICT_BLOCK_MISSING;
		fewer = c.blocks;
	}
	c.blocks = all;
	CHECK(n >= 6);
	CHECK_INT(refused, n);
	repo_commit_release(&c);
	buf_release(&fewer);
	bench_close(&b);
}

TEST(blocks_that_nobody_needs_do_no_harm)
{
	struct repo_commit c;
	struct bench b;

	bench_open(&b, CURVE_K256);
	make_mixed(&b, &c);
	car_put_block(&c.blocks, &(struct cid){.codec = CID_RAW}, SPAN_LITERAL("junk"));
	CHECK_INT(judge_commit(&b, &c), VERDICT_ACCEPTED);
	buf_put_u8(&c.blocks, 0);
	CHECK_INT(judge_commit(&b, &c), VERDICT_BAD_CAR);
	repo_commit_release(&c);
	bench_close(&b);
}

TEST(records_have_a_limit)
{
	uint8_t *record = xcalloc(1, LIMIT_RECORD + 1);
	struct bench b;

	bench_open(&b, CURVE_K256);
	repo_put(&b.repo, "com.example.record/a", span_of(record, LIMIT_RECORD));
	CHECK_INT(judge_staged(&b), VERDICT_ACCEPTED);
	repo_put(&b.repo, "com.example.record/b", span_of(record, LIMIT_RECORD + 1));
	CHECK_INT(judge_staged(&b), VERDICT_RECORD_TOO_LARGE);
	bench_close(&b);
	free(record);
}

/* A commit of the empty tree whose object is this one, correctly signed. */
static enum verdict judge_forged(struct bench *b, const struct repo_commit_object *o)
{
	struct repo_commit c;
	struct forge f;
	struct buf object;
	enum verdict v;

	forge_init(&f);
	forge_node(&f, NULL, NULL, 0);
	forge_commit(&f, &b->repo, NOW, &c);
	buf_init(&object, KIB(4));
	repo_sign(&b->repo.key, o, &object);
	forge_replace_object(&c, buf_span(&object));
	memcpy(c.rev, o->rev.ptr, TID_SIZE);
	v = judge_commit(b, &c);
	buf_release(&object);
	repo_commit_release(&c);
	forge_release(&f);
	return v;
}

TEST(commit_objects_with_more_and_with_other_fields)
{
	struct tree_node *empty = tree_make(NULL, 0);
	struct repo_commit_object o;
	struct bench b;

	bench_open(&b, CURVE_K256);
	o = (struct repo_commit_object){
		.did = span_str(b.repo.did),
		.rev = SPAN_LITERAL("3jqfcqzm3fo2j"),
		.data = empty->cid,
		.version = 3,
	};
	CHECK_INT(judge_forged(&b, &o), VERDICT_ACCEPTED);
	o.has_extra = true;
	CHECK_INT(judge_forged(&b, &o), VERDICT_ACCEPTED);
	o.version = 2;
	CHECK_INT(judge_forged(&b, &o), VERDICT_COMMIT_BAD_OBJECT);
	o.version = 3;
	o.did = SPAN_LITERAL("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
	CHECK_INT(judge_forged(&b, &o), VERDICT_COMMIT_MISMATCH);
	bench_close(&b);
	tree_free(empty);
}

/* Correctly signed, but not a tree: a root that only leads down. */
TEST(a_signed_tree_that_breaks_the_rules)
{
	struct repo_commit c;
	struct forge f;
	struct bench b;

	bench_open(&b, CURVE_K256);
	forge_init(&f);
	forge_node(&f, &(struct cid){.codec = CID_DAG_CBOR}, NULL, 0);
	forge_commit(&f, &b.repo, NOW, &c);
	CHECK_INT(judge_commit(&b, &c), VERDICT_MST_BAD_NODE);
	repo_commit_release(&c);
	forge_release(&f);
	bench_close(&b);
}

TEST(sync)
{
	static const struct {
		const char *field, *value;
	} others[] = {
		{"did", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"},
		{"rev", "3jzfcijpj2z2a"},
	};
	struct buf changed, value;
	struct car_block block;
	struct test_key other;
	struct car car;
	struct repo_commit c;
	struct cid data;
	struct bench b;

	bench_open(&b, CURVE_P256);
	repo_put_number(&b.repo, "com.example.record/a", 1);
	repo_commit(&b.repo, NOW, &c);
	repo_commit_release(&c);
	data = b.repo.data;
	repo_sync(&b.repo, NOW, &c);
	frame_put_sync(&b.bytes, 1, &c);
	CHECK_INT(judge_bytes(&b), VERDICT_ACCEPTED);
	CHECK_INT(memcmp(b.facts.data, data.digest, SHA256_SIZE), 0);
	CHECK_INT(memcmp(b.facts.commit, c.commit.digest, SHA256_SIZE), 0);
	CHECK(!b.facts.has_since && !b.facts.has_prev_data);
	b.rules.received_usec = 1;
	CHECK_INT(judge_bytes(&b), VERDICT_REV_IN_FUTURE);
	b.rules.received_usec = NOW;
	for (size_t bit = 0; bit < 8 * c.blocks.len; bit++) {
		c.blocks.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
		buf_clear(&b.bytes);
		frame_put_sync(&b.bytes, 1, &c);
		CHECK(judge_bytes(&b) != VERDICT_ACCEPTED);
		c.blocks.ptr[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buf_clear(&b.bytes);
	frame_put_sync(&b.bytes, 1, &c);
	buf_init(&changed, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		buf_init(&value, KIB(1));
		cbor_put_text(&value, span_str(others[i].value));
		buf_clear(&changed);
		edit_frame(buf_span(&b.bytes), others[i].field, buf_span(&value), &changed);
		CHECK_INT(judge_frame(&b, buf_span(&changed)), VERDICT_COMMIT_MISMATCH);
		buf_release(&value);
	}
	test_key_make(CURVE_P256, "another key", &other);
	CHECK_INT(signatures_parse_key(checker_signatures(b.checker), &other.public, &b.key), 0);
	CHECK_INT(judge_bytes(&b), VERDICT_BAD_SIGNATURE);
	CHECK_INT(signatures_parse_key(checker_signatures(b.checker), &b.repo.key.public, &b.key),
		  0);
	/* the commit block, even twice, */
	CHECK_INT(car_open(buf_span(&c.blocks), &car), 0);
	CHECK_INT(car_next(&car, &block), 0);
	buf_append(&changed, block.data);
	car_put_block(&c.blocks, &block.cid,
		      span_of(changed.ptr + changed.len - block.data.len, block.data.len));
	buf_clear(&b.bytes);
	frame_put_sync(&b.bytes, 1, &c);
	CHECK_INT(judge_bytes(&b), VERDICT_ACCEPTED);
	/* and no other */
	car_put_block(&c.blocks, &(struct cid){.codec = CID_DAG_CBOR}, SPAN_LITERAL("junk"));
	buf_clear(&b.bytes);
	frame_put_sync(&b.bytes, 1, &c);
	CHECK_INT(judge_bytes(&b), VERDICT_BAD_CAR);
	buf_release(&changed);
	repo_commit_release(&c);
	bench_close(&b);
}

/* The recorded events of real accounts. */
static void check_recorded(struct bench *b, const char *name)
{
	struct scenario s;

	scenario_read(name, &s);
	CHECK_INT(signatures_parse_key(checker_signatures(b->checker), &s.key, &b->key), 0);
	b->rules.is_legacy = s.is_lenient;
	for (size_t i = 0; i < s.count; i++) {
		CHECK_INT(frame_decode(s.messages[i].frame, &b->frame), VERDICT_ACCEPTED);
		CHECK_INT(check_fields(&b->frame, &b->rules), VERDICT_ACCEPTED);
		if (b->frame.blocks.len > 0)
			CHECK_INT(
				check_blocks(b->checker, &b->frame, &b->key, &b->rules, &b->facts),
				VERDICT_ACCEPTED);
	}
	scenario_release(&s);
}

TEST(recorded_commits)
{
	static const char *const names[] = {"post_lifecycle", "account_lifecycle", "legacy",
					    "seq_ordering"};
	struct bench b;

	if (!test_vectors())
		SKIP("no recorded scenarios");
	bench_open(&b, CURVE_K256);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		check_recorded(&b, names[i]);
	bench_close(&b);
}
