#include "validate/judge.h"

#include "common/host.h"
#include "common/loop.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

#define NOW   UINT64_C(1767323045678000)
#define PDS   "pds.example.com"
#define OTHER "other.example.com"
#define HOUR  (3600 * USEC_PER_SEC)

struct bench {
	struct config *config;
	struct checker *checker;
	struct identity_cache *cache;
	struct judge *judge;
	struct repo repo;
	struct buf bytes;
	struct event event;
	uint64_t now;
	struct judgement j;
};

static void bench_open_with(struct bench *b, const char *setting)
{
	char error[256];

	*b = (struct bench){.now = NOW};
	b->config = config_new();
	if (setting)
		CHECK_INT(config_set(b->config, setting, error, sizeof(error)), 0);
	b->checker = checker_new();
	b->cache = identity_cache_new(KIB(64), 24 * HOUR, HOUR, checker_signatures(b->checker));
	b->judge = judge_new(b->config, b->checker, b->cache);
	repo_init(&b->repo, CURVE_K256, "judge");
	buf_init(&b->bytes, MIB(8));
}

static void bench_open(struct bench *b)
{
	bench_open_with(b, NULL);
}

static void bench_close(struct bench *b)
{
	judge_free(b->judge);
	identity_cache_free(b->cache);
	checker_free(b->checker);
	config_free(b->config);
	repo_release(&b->repo);
	buf_release(&b->bytes);
}

/* The answer of resolve, fetched now. */
static void learn_with(struct bench *b, enum identity_status status, const char *pds,
		       const char *handle, const struct public_key *key)
{
	const struct identity i = {
		.status = status,
		.fetched_usec = b->now,
		.did = span_str(b->repo.did),
		.key = *key,
		.pds = span_str(pds),
		.handle = span_str(handle),
	};

	identity_cache_put(b->cache, &i, b->now);
}

static void learn(struct bench *b, enum identity_status status, const char *pds)
{
	learn_with(b, status, pds, "alice.example.com", &b->repo.key.public);
}

/* What is in bytes, received now from this host. */
static void receive(struct bench *b, const char *host)
{
	b->event = (struct event){
		.ticket = 7,
		.host_id = host_id(span_str(host)),
		.host_epoch = 3,
		.host_seq = 99,
		.received_usec = b->now,
		.received_uptime_usec = b->now,
		.host = span_str(host),
		.frame = buf_span(&b->bytes),
	};
}

static void decide(struct bench *b)
{
	enum verdict v = judge_read(b->judge, &b->event);

	b->j = (struct judgement){.outcome = OUTCOME_REFUSED, .verdict = v};
	if (v == VERDICT_ACCEPTED)
		judge_decide(b->judge, &b->event, b->now, &b->j);
}

static bool is_refused(const struct bench *b, enum verdict v)
{
	return b->j.outcome == OUTCOME_REFUSED && b->j.verdict == v;
}

static bool is_waiting(const struct bench *b, enum lookup_reason reason)
{
	return b->j.outcome == OUTCOME_WAITS && b->j.reason == reason;
}

static bool is_passed(const struct bench *b)
{
	return b->j.outcome == OUTCOME_PASSED;
}

static void make_commit(struct bench *b)
{
	struct repo_commit c;

	repo_put_number(&b->repo, "com.example.record/a", test_random());
	repo_commit(&b->repo, b->now, &c);
	buf_clear(&b->bytes);
	frame_put_commit(&b->bytes, 99, &c);
	repo_commit_release(&c);
}

static void make_account(struct bench *b, bool active, const char *status)
{
	buf_clear(&b->bytes);
	frame_put_account(&b->bytes, 99, b->repo.did, active, status);
}

static void make_identity(struct bench *b, const char *handle)
{
	buf_clear(&b->bytes);
	frame_put_identity(&b->bytes, 99, b->repo.did, handle);
}

TEST(an_event_waits_until_its_identity_is_known)
{
	struct bench b;

	bench_open(&b);
	make_commit(&b);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_MISSING));
	CHECK_INT(b.j.newer_than_usec, 0);
	learn(&b, IDENTITY_FOUND, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	CHECK_INT(b.j.verified.ticket, 7);
	CHECK_INT(b.j.verified.host_seq, 99);
	CHECK_INT(b.j.verified.host_epoch, 3);
	CHECK_INT(b.j.verified.kind, EVENT_COMMIT);
	CHECK(span_is(b.j.verified.did, b.repo.did));
	CHECK_SPAN(b.j.verified.frame, buf_span(&b.bytes));
	CHECK_INT(memcmp(b.j.verified.commit, b.repo.commit.digest, SHA256_SIZE), 0);
	bench_close(&b);
}

TEST(what_is_wrong_in_itself_is_refused_before_anything_is_asked)
{
	struct bench b;

	bench_open(&b);
	b.now += HOUR;
	make_commit(&b);
	b.now -= HOUR;
	receive(&b, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_REV_IN_FUTURE));
	buf_clear(&b.bytes);
	frame_put_account(&b.bytes, 1, "did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc",
			  true, NULL);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_IDENTITY_NOT_FOUND));
	bench_close(&b);
}

TEST(an_old_identity_is_asked_for_again)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, PDS);
	b.now += 24 * HOUR - 1;
	make_commit(&b);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	b.now++;
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_STALE));
	CHECK_INT(b.j.newer_than_usec, 0);
	bench_close(&b);
}

TEST(from_another_host)
{
	static const unsigned kinds = 3;
	struct repo_commit c;
	struct bench b;

	for (unsigned kind = 0; kind < kinds; kind++) {
		bench_open(&b);
		learn(&b, IDENTITY_FOUND, PDS);
		b.now++;
		if (kind == 0) {
			make_commit(&b);
		} else if (kind == 1) {
			make_account(&b, true, NULL);
		} else {
			repo_sync(&b.repo, b.now, &c);
			frame_put_sync(&b.bytes, 99, &c);
			repo_commit_release(&c);
		}
		receive(&b, OTHER);
		decide(&b);
		CHECK(is_waiting(&b, LOOKUP_HOST));
		CHECK_INT(b.j.newer_than_usec, b.now);
		/* the document is as before */
		b.now++;
		learn(&b, IDENTITY_FOUND, PDS);
		decide(&b);
		CHECK(is_refused(&b, VERDICT_WRONG_HOST));
		/* the next one does not make us ask again at once, */
		b.now++;
		receive(&b, OTHER);
		decide(&b);
		CHECK(is_refused(&b, VERDICT_WRONG_HOST));
		/* but after the interval */
		b.now += 60 * USEC_PER_SEC;
		receive(&b, OTHER);
		decide(&b);
		CHECK(is_waiting(&b, LOOKUP_HOST));
		/* and while the answer is still to come, others wait for it too */
		receive(&b, "third.example.com");
		decide(&b);
		CHECK(is_waiting(&b, LOOKUP_HOST));
		/* the account has moved */
		b.now++;
		learn(&b, IDENTITY_FOUND, OTHER);
		receive(&b, OTHER);
		decide(&b);
		CHECK(is_passed(&b));
		bench_close(&b);
	}
}

/* Nobody can spend the refresh that the account's new host will need. */
TEST(a_stranger_does_not_keep_an_account_from_moving)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, PDS);
	b.now++;
	make_commit(&b);
	receive(&b, "stranger.example.com");
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_HOST));
	b.now++;
	learn(&b, IDENTITY_FOUND, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_WRONG_HOST));
	/* A second later the account moves. */
	b.now += USEC_PER_SEC;
	receive(&b, OTHER);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_HOST));
	CHECK_INT(b.j.newer_than_usec, b.now);
	learn(&b, IDENTITY_FOUND, OTHER);
	decide(&b);
	CHECK(is_passed(&b));
	bench_close(&b);
}

TEST(a_port_is_a_part_of_the_host)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, "localhost:2583");
	make_commit(&b);
	receive(&b, "localhost:2584");
	b.event.received_uptime_usec--;
	decide(&b);
	CHECK(is_refused(&b, VERDICT_WRONG_HOST));
	receive(&b, "localhost:2583");
	decide(&b);
	CHECK(is_passed(&b));
	bench_close(&b);
}

TEST(a_rotated_key_is_learnt_by_the_signature)
{
	struct test_key old;
	struct bench b;

	bench_open(&b);
	test_key_make(CURVE_P256, "old", &old);
	learn_with(&b, IDENTITY_FOUND, PDS, "", &old.public);
	b.now++;
	make_commit(&b);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_SIGNATURE));
	b.now++;
	learn(&b, IDENTITY_FOUND, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	bench_close(&b);
}

TEST(a_bad_signature_is_refused_after_one_refresh)
{
	struct test_key other;
	struct bench b;

	bench_open(&b);
	test_key_make(CURVE_K256, "other", &other);
	learn_with(&b, IDENTITY_FOUND, PDS, "", &other.public);
	b.now++;
	make_commit(&b);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_SIGNATURE));
	b.now++;
	learn_with(&b, IDENTITY_FOUND, PDS, "", &other.public);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_BAD_SIGNATURE));
	/* not again within the interval; a wrong host has an interval of its own */
	b.now++;
	receive(&b, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_BAD_SIGNATURE));
	receive(&b, OTHER);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_HOST));
	bench_close(&b);
}

TEST(an_identity_that_is_newer_than_the_event_is_not_asked_for)
{
	struct test_key other;
	struct bench b;

	bench_open(&b);
	test_key_make(CURVE_K256, "other", &other);
	make_commit(&b);
	receive(&b, PDS);
	b.now++;
	learn_with(&b, IDENTITY_FOUND, PDS, "", &other.public);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_BAD_SIGNATURE));
	b.event.host = SPAN_LITERAL(OTHER);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_WRONG_HOST));
	bench_close(&b);
}

/* It may have been set between any two things that happened. */
TEST(the_clock_does_not_say_what_came_first)
{
	static const int64_t steps[] = {-100 * (int64_t)USEC_PER_SEC, 100 * (int64_t)USEC_PER_SEC};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct bench b;

		bench_open(&b);
		learn(&b, IDENTITY_FOUND, OTHER);
		b.now++;
		make_identity(&b, "alice.example.com");
		receive(&b, PDS);
		b.event.received_usec += (uint64_t)steps[i];
		decide(&b);
		CHECK(is_waiting(&b, LOOKUP_IDENTITY));
		CHECK_INT(b.j.newer_than_usec, b.now);
		learn(&b, IDENTITY_FOUND, PDS);
		decide(&b);
		CHECK(is_passed(&b));
		bench_close(&b);
	}
}

TEST(without_a_usable_identity_nothing_is_taken)
{
	static const struct {
		enum identity_status status;
		enum verdict want;
	} cases[] = {
		{IDENTITY_NOT_FOUND, VERDICT_IDENTITY_NOT_FOUND},
		{IDENTITY_TOMBSTONED, VERDICT_IDENTITY_TOMBSTONED},
		{IDENTITY_UNUSABLE, VERDICT_IDENTITY_UNUSABLE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned kind = 0; kind < 3; kind++) {
			struct bench b;

			bench_open(&b);
			if (kind == 0)
				make_commit(&b);
			else if (kind == 1)
				make_account(&b, true, NULL);
			else
				make_identity(&b, NULL);
			receive(&b, PDS);
			learn(&b, cases[i].status, "");
			decide(&b);
			CHECK(is_refused(&b, cases[i].want));
			/* Something may have changed since. */
			b.now++;
			receive(&b, PDS);
			decide(&b);
			CHECK(is_waiting(&b, kind == 2 ? LOOKUP_IDENTITY : LOOKUP_HOST));
			bench_close(&b);
		}
}

TEST(an_account_event_tells_its_status)
{
	static const struct {
		bool active;
		const char *status;
		enum account_status want;
	} cases[] = {
		{true, NULL, ACCOUNT_ACTIVE},
		{false, "takendown", ACCOUNT_TAKENDOWN},
		{false, NULL, ACCOUNT_INACTIVE},
		{true, "throttled", ACCOUNT_THROTTLED},
		{false, "on holiday", ACCOUNT_INACTIVE},
	};
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, PDS);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_account(&b, cases[i].active, cases[i].status);
		receive(&b, PDS);
		decide(&b);
		CHECK(is_passed(&b));
		CHECK_INT(b.j.verified.kind, EVENT_ACCOUNT);
		CHECK_INT(b.j.verified.active, cases[i].active);
		CHECK_INT(b.j.verified.status, cases[i].want);
		CHECK_SPAN(b.j.verified.frame, buf_span(&b.bytes));
	}
	bench_close(&b);
}

/* A PDS that gives up a DID says #account before or after. */
TEST(a_deletion_is_taken_although_the_identity_is_gone)
{
	static const enum identity_status gone[] = {IDENTITY_TOMBSTONED, IDENTITY_NOT_FOUND};

	for (size_t i = 0; i < ARRAY_SIZE(gone); i++) {
		struct bench b;

		bench_open(&b);
		learn(&b, IDENTITY_FOUND, PDS);
		make_account(&b, false, "deleted");
		receive(&b, PDS);
		decide(&b);
		CHECK(is_passed(&b));
		b.now++;
		learn(&b, gone[i], "");
		receive(&b, PDS);
		decide(&b);
		CHECK(is_passed(&b));
		CHECK_INT(b.j.verified.status, ACCOUNT_DELETED);
		/* nobody else says it, and nothing else is said */
		b.event.host = SPAN_LITERAL(OTHER);
		b.event.received_uptime_usec--;
		decide(&b);
		CHECK(b.j.outcome == OUTCOME_REFUSED);
		make_account(&b, true, NULL);
		receive(&b, PDS);
		decide(&b);
		CHECK(b.j.outcome == OUTCOME_REFUSED);
		make_commit(&b);
		receive(&b, PDS);
		decide(&b);
		CHECK(b.j.outcome == OUTCOME_REFUSED);
		bench_close(&b);
	}
}

TEST(where_the_last_pds_is_not_known_a_tombstone_proves_the_deletion)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_TOMBSTONED, "");
	make_account(&b, false, "deleted");
	receive(&b, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	make_account(&b, false, "takendown");
	receive(&b, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_IDENTITY_TOMBSTONED));
	b.now++;
	learn(&b, IDENTITY_NOT_FOUND, "");
	make_account(&b, false, "deleted");
	receive(&b, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_IDENTITY_NOT_FOUND));
	bench_close(&b);
}

static bool has_handle(const struct bench *b)
{
	return edit_get(edit_body(b->j.verified.frame), "handle").len > 0;
}

TEST(an_identity_event_makes_us_ask)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, PDS);
	b.now++;
	make_identity(&b, "alice.example.com");
	receive(&b, PDS);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_IDENTITY));
	CHECK_INT(b.j.newer_than_usec, b.now);
	b.now++;
	learn(&b, IDENTITY_FOUND, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	CHECK(has_handle(&b));
	CHECK_SPAN(b.j.verified.frame, buf_span(&b.bytes));
	bench_close(&b);
}

TEST(a_handle_that_the_document_does_not_name_is_taken_out)
{
	static const char *const handles[] = {"bob.example.com", "handle.invalid", NULL};

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		struct reader seq;
		struct bench b;

		bench_open(&b);
		make_identity(&b, handles[i]);
		receive(&b, PDS);
		learn(&b, IDENTITY_FOUND, PDS);
		decide(&b);
		CHECK(is_passed(&b));
		CHECK(!has_handle(&b));
		CHECK(span_is(b.j.verified.did, b.repo.did));
		seq = reader_of(span_of(b.j.verified.frame.ptr + b.j.verified.seq_offset,
					b.j.verified.seq_size));
		CHECK(seq.left == 2 && seq.ptr[0] == 0x18 && seq.ptr[1] == 99);
		bench_close(&b);
	}
}

TEST(an_identity_event_of_another_host_passes_if_something_has_changed)
{
	struct bench b;

	bench_open(&b);
	learn(&b, IDENTITY_FOUND, PDS);
	b.now++;
	make_identity(&b, "alice.example.com");
	receive(&b, OTHER);
	decide(&b);
	CHECK(is_waiting(&b, LOOKUP_IDENTITY));
	learn(&b, IDENTITY_FOUND, PDS);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_IDENTITY_UNCHANGED));
	/* the account's document has a new handle */
	b.now++;
	receive(&b, OTHER);
	learn_with(&b, IDENTITY_FOUND, PDS, "bob.example.com", &b.repo.key.public);
	decide(&b);
	CHECK(is_passed(&b));
	CHECK(!has_handle(&b));
	/* nothing new any more */
	b.now++;
	receive(&b, OTHER);
	learn_with(&b, IDENTITY_FOUND, PDS, "bob.example.com", &b.repo.key.public);
	decide(&b);
	CHECK(is_refused(&b, VERDICT_IDENTITY_UNCHANGED));
	/* the DID is given up: its own PDS is another host from then on */
	b.now++;
	receive(&b, PDS);
	learn(&b, IDENTITY_TOMBSTONED, "");
	decide(&b);
	CHECK(is_passed(&b));
	CHECK(!has_handle(&b));
	bench_close(&b);
}

TEST(what_a_tolerated_host_leaves_out_is_told)
{
	struct buf without;
	struct bench b;

	bench_open_with(&b, "validate.legacy_hosts=*.example.com");
	buf_init(&without, MIB(8));
	learn(&b, IDENTITY_FOUND, PDS);
	make_commit(&b);
	make_commit(&b);
	edit_frame(buf_span(&b.bytes), "prevData", SPAN_EMPTY, &without);
	receive(&b, PDS);
	decide(&b);
	CHECK(is_passed(&b));
	CHECK(!b.j.verified.is_legacy);
	b.event.frame = buf_span(&without);
	decide(&b);
	CHECK(is_passed(&b));
	CHECK(b.j.verified.is_legacy);
	b.event.host = SPAN_LITERAL("pds.example.org");
	decide(&b);
	CHECK(is_refused(&b, VERDICT_PREV_DATA_MISSING));
	buf_release(&without);
	bench_close(&b);
}
