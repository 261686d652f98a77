#include "validate/check.h"

#include "common/car.h"
#include "common/cbor.h"
#include "tests/lib/frame.h"
#include "tests/lib/tree.h"
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

/* What is in bytes. */
static enum verdict judge_bytes(struct bench *b)
{
	enum verdict v = frame_decode(buf_span(&b->bytes), &b->frame);

	if (v == VERDICT_ACCEPTED)
		v = check_fields(&b->frame, &b->rules);
	if (v == VERDICT_ACCEPTED)
		v = check_blocks(b->checker, &b->frame, &b->key, &b->rules, &b->facts);
	return v;
}

static enum verdict judge_commit(struct bench *b, const struct repo_commit *c)
{
	buf_clear(&b->bytes);
	frame_put_commit(&b->bytes, 1, c);
	return judge_bytes(b);
}

/* Commits what is staged. */
static enum verdict judge_staged(struct bench *b)
{
	struct repo_commit c;
	enum verdict v;

	repo_commit(&b->repo, NOW, &c);
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
