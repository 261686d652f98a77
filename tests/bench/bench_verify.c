/*
 * What checking an event costs: the signature alone on both curves, and the whole of what the stage
 * does with an ordinary commit (decoding, rules on fields, archive, hashes, signature, tree, ops,
 * inversion). Keys are parsed before, as they are in the stage for accounts that it knows.
 */
#include "common/cbor.h"
#include "common/loop.h"
#include "tests/bench/bench.h"
#include "tests/lib/frame.h"
#include "validate/check.h"

#define ACCOUNTS       32
#define RECORDS        500 /* in each repository, before */
#define COMMITS        32  /* of each account */
#define SAMPLES        (ACCOUNTS * COMMITS)
#define RECORD_USEC    (3600 * USEC_PER_SEC) /* between the records of an account */
#define FIRST_USEC     (1760000000 * (uint64_t)USEC_PER_SEC)
#define REV_DRIFT_USEC (300 * (uint64_t)USEC_PER_SEC)

struct sample {
	struct buf frame;
	struct signature_key key;
};

struct samples {
	struct sample all[SAMPLES]; /* the accounts by turns */
	size_t bytes;
};

/* Posts, and twice as many likes: what most commits are. */
static void put_record(struct repo *r, uint64_t n)
{
	bool is_post = n % 3 == 0;
	uint8_t tid[TID_SIZE], text[280];
	size_t len = is_post ? 40 + test_random() % 240 : 160;
	char path[128];
	struct buf record;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)('a' + test_random() % 26);
	tid_format(FIRST_USEC + n * RECORD_USEC + test_random() % USEC_PER_SEC, 5, tid);
	snprintf(path, sizeof(path), "app.bsky.feed.%s/%.*s", is_post ? "post" : "like", TID_SIZE,
		 (const char *)tid);
	buf_init(&record, KIB(4));
	cbor_put_map(&record, 2);
	frame_put_text(&record, "text", span_of(text, len));
	frame_put_text(&record, "$type",
		       is_post ? SPAN_LITERAL("app.bsky.feed.post")
			       : SPAN_LITERAL("app.bsky.feed.like"));
	repo_put(r, path, buf_span(&record));
	buf_release(&record);
}

/* What is staged as one commit, into a sample if there is one. */
static void commit(struct repo *r, uint64_t n, struct sample *sample)
{
	struct repo_commit c;

	repo_commit(r, FIRST_USEC + n * RECORD_USEC, &c);
	if (sample) {
		buf_init(&sample->frame, LIMIT_FRAME);
		frame_put_commit(&sample->frame, n + 1, &c);
	}
	repo_commit_release(&c);
}

static void make_account(struct samples *s, size_t account, struct signatures *signatures)
{
	char seed[32];
	struct repo repo;
	struct signature_key key;

	snprintf(seed, sizeof(seed), "bench %zu", account);
	repo_init(&repo, CURVE_K256, seed);
	CHECK_INT(signatures_parse_key(signatures, &repo.key.public, &key), 0);
	for (uint64_t n = 0; n < RECORDS; n++) {
		put_record(&repo, n);
		if ((n + 1) % 100 == 0)
			commit(&repo, n, NULL);
	}
	for (uint64_t n = RECORDS; n < RECORDS + COMMITS; n++) {
		struct sample *sample = &s->all[(n - RECORDS) * ACCOUNTS + account];

		put_record(&repo, n);
		sample->key = key;
		commit(&repo, n, sample);
		s->bytes += sample->frame.len;
	}
	repo_release(&repo);
}

/* One commit of each account, as the stage does it; nanoseconds. */
static uint64_t check_commits(const struct sample *samples, struct checker *checker)
{
	static struct frame frame;
	const struct check_rules rules = {
		.received_usec = FIRST_USEC + (RECORDS + COMMITS) * RECORD_USEC,
		.rev_drift_usec = REV_DRIFT_USEC,
	};
	struct verified verified;
	unsigned refused = 0;
	uint64_t start = bench_thread_nsec();

	for (size_t i = 0; i < ACCOUNTS; i++)
		if (frame_decode(buf_span(&samples[i].frame), &frame) != VERDICT_ACCEPTED ||
		    check_fields(&frame, &rules) != VERDICT_ACCEPTED ||
		    check_blocks(checker, &frame, &samples[i].key, &rules, &verified) !=
			    VERDICT_ACCEPTED)
			refused++;
	start = bench_thread_nsec() - start;
	CHECK_INT(refused, 0);
	return start;
}

/* A signature of each account, over a message as long as a commit object is. */
struct signed_messages {
	uint8_t messages[ACCOUNTS][200], signatures[ACCOUNTS][TEST_SIGNATURE_SIZE];
	struct signature_key keys[ACCOUNTS];
};

static void sign_messages(enum curve curve, struct signatures *signatures,
			  struct signed_messages *ret)
{
	for (size_t i = 0; i < ACCOUNTS; i++) {
		struct span message = span_of(ret->messages[i], sizeof(ret->messages[i]));
		char seed[32];
		struct test_key key;

		snprintf(seed, sizeof(seed), "bench %zu", i);
		test_key_make(curve, seed, &key);
		CHECK_INT(signatures_parse_key(signatures, &key.public, &ret->keys[i]), 0);
		memset(ret->messages[i], (int)i, sizeof(ret->messages[i]));
		test_key_sign(&key, message, ret->signatures[i]);
	}
}

/* All of them; nanoseconds. */
static uint64_t check_signatures(const struct signed_messages *m, struct signatures *signatures)
{
	unsigned refused = 0;
	uint64_t start = bench_thread_nsec();

	for (size_t i = 0; i < ACCOUNTS; i++)
		refused += !signatures_verify(signatures, &m->keys[i],
					      span_of(m->messages[i], sizeof(m->messages[i])),
					      span_of(m->signatures[i], sizeof(m->signatures[i])));
	start = bench_thread_nsec() - start;
	CHECK_INT(refused, 0);
	return start;
}

/* Mean microseconds of a run. */
struct costs {
	double k256, p256, commit;
};

/* All samples once. The kinds take turns every few milliseconds: what a busy host takes away, it
 * takes from all alike, and the difference of two is of things measured at the same time. */
static struct costs measure(const struct samples *s, const struct signed_messages *k256,
			    const struct signed_messages *p256, struct checker *checker)
{
	struct signatures *signatures = checker_signatures(checker);
	struct costs sum = {0};

	for (size_t i = 0; i < SAMPLES; i += ACCOUNTS) {
		sum.k256 += (double)check_signatures(k256, signatures);
		sum.commit += (double)check_commits(&s->all[i], checker);
		sum.p256 += (double)check_signatures(p256, signatures);
	}
	return (struct costs){
		.k256 = sum.k256 / SAMPLES / 1000,
		.p256 = sum.p256 / SAMPLES / 1000,
		.commit = sum.commit / SAMPLES / 1000,
	};
}

TEST(verify)
{
	static struct samples s;
	static struct signed_messages messages_k256, messages_p256;
	double k256[BENCH_RUNS], p256[BENCH_RUNS], commits[BENCH_RUNS], besides[BENCH_RUNS];
	struct checker *checker = checker_new();
	struct signatures *signatures = checker_signatures(checker);

	bench_begin("verify");
	for (size_t i = 0; i < ACCOUNTS; i++)
		make_account(&s, i, signatures);
	sign_messages(CURVE_K256, signatures, &messages_k256);
	sign_messages(CURVE_P256, signatures, &messages_p256);
	bench_setting("commits", "%d of one record each, by %d accounts, after %d records", SAMPLES,
		      ACCOUNTS, RECORDS);
	bench_setting("mean_frame_bytes", "%zu", s.bytes / SAMPLES);
	measure(&s, &messages_k256, &messages_p256, checker);
	for (size_t i = 0; i < BENCH_RUNS; i++) {
		struct costs c = measure(&s, &messages_k256, &messages_p256, checker);

		k256[i] = c.k256;
		p256[i] = c.p256;
		commits[i] = c.commit;
		besides[i] = c.commit - c.k256;
	}
	bench_figure("verify.k256_us", "us", k256, BENCH_RUNS);
	bench_figure("verify.p256_us", "us", p256, BENCH_RUNS);
	bench_figure("verify.commit_us", "us", commits, BENCH_RUNS);
	bench_figure("verify.commit_besides_us", "us", besides, BENCH_RUNS);
	bench_end();
	for (size_t i = 0; i < SAMPLES; i++)
		buf_release(&s.all[i].frame);
	checker_free(checker);
}
