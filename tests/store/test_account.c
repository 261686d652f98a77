#include "store/account.h"

#include <errno.h>

#include "tests/lib/verified.h"
#include "tests/test.h"

#define DID   "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
#define HOME  1
#define OTHER 2
#define THIRD 3

/* Events of one account, one after another. Short forms: {what, spec, verdict, discontinuous}. */
struct step {
	struct event_spec event;
	enum verdict verdict;
	bool discontinuous;
	uint64_t counts_for; /* after it */
};

#define STEPS_MAX 8

#define COMMIT(host, seq, rev_, since_)                                                            \
	{                                                                                          \
		.kind = EVENT_COMMIT, .host_id = (host), .host_seq = (seq), .rev = (rev_),         \
		.since = (since_)                                                                  \
	}
#define SYNC(host, seq, rev_)                                                                      \
	{                                                                                          \
		.kind = EVENT_SYNC, .host_id = (host), .host_seq = (seq), .rev = (rev_)            \
	}
#define IDENTITY(host, seq)                                                                        \
	{                                                                                          \
		.kind = EVENT_IDENTITY, .host_id = (host), .host_seq = (seq)                       \
	}
#define ACCOUNT(host, seq, inactive_, status_)                                                     \
	{                                                                                          \
		.kind = EVENT_ACCOUNT, .host_id = (host), .host_seq = (seq),                       \
		.inactive = (inactive_), .status = (status_)                                       \
	}

static const struct {
	const char *name;
	struct step steps[STEPS_MAX];
} cases[] = {
	{"commits that follow each other",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 2, 11, 10), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 3, 12, 11), VERDICT_ACCEPTED, false, HOME}}},
	{"a replay of each kind",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {IDENTITY(HOME, 2), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 3, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 1, 10, 0), VERDICT_DUPLICATE, false, HOME},
	  {IDENTITY(HOME, 2), VERDICT_DUPLICATE, false, HOME},
	  {ACCOUNT(HOME, 3, false, ACCOUNT_ACTIVE), VERDICT_DUPLICATE, false, HOME},
	  {COMMIT(HOME, 4, 11, 10), VERDICT_ACCEPTED, false, HOME}}},
	{"a replay with a rev that would be news is still one",
	 {{COMMIT(HOME, 5, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 5, 11, 10), VERDICT_DUPLICATE, false, HOME},
	  {COMMIT(HOME, 4, 12, 10), VERDICT_DUPLICATE, false, HOME}}},
	{"lower numbers of a new epoch are no replays",
	 {{ACCOUNT(HOME, 100, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, HOME},
	  {{.kind = EVENT_ACCOUNT, .host_id = HOME, .host_epoch = 1, .host_seq = 3},
	   VERDICT_ACCEPTED,
	   false,
	   HOME},
	  {{.kind = EVENT_ACCOUNT, .host_id = HOME, .host_epoch = 1, .host_seq = 3},
	   VERDICT_DUPLICATE,
	   false,
	   HOME}}},
	{"what is left of an epoch in the window is a replay when it comes after the next one",
	 {{ACCOUNT(HOME, 100, true, ACCOUNT_SUSPENDED), VERDICT_ACCEPTED, false, HOME},
	  {IDENTITY(OTHER, 100), VERDICT_ACCEPTED, false, HOME},
	  {{.kind = EVENT_ACCOUNT, .host_id = HOME, .host_epoch = 1, .host_seq = 3},
	   VERDICT_ACCEPTED,
	   false,
	   HOME},
	  {{.kind = EVENT_IDENTITY, .host_id = OTHER, .host_epoch = 1, .host_seq = 3},
	   VERDICT_ACCEPTED,
	   false,
	   HOME},
	  {ACCOUNT(HOME, 100, true, ACCOUNT_SUSPENDED), VERDICT_DUPLICATE, false, HOME},
	  {IDENTITY(OTHER, 100), VERDICT_DUPLICATE, false, HOME},
	  {{.kind = EVENT_ACCOUNT, .host_id = HOME, .host_epoch = 1, .host_seq = 4},
	   VERDICT_ACCEPTED,
	   false,
	   HOME}}},
	{"a commit says by its rev whether it is new, even if epochs went back",
	 {{{.kind = EVENT_COMMIT, .host_id = HOME, .host_epoch = 1, .host_seq = 100, .rev = 10},
	   VERDICT_ACCEPTED,
	   false,
	   HOME},
	  {COMMIT(HOME, 7, 10, 0), VERDICT_STALE_REV, false, HOME},
	  {COMMIT(HOME, 8, 11, 10), VERDICT_ACCEPTED, false, HOME}}},
	{"a commit sent again under a new number is stale",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 2, 10, 0), VERDICT_STALE_REV, false, HOME},
	  {COMMIT(HOME, 3, 9, 0), VERDICT_STALE_REV, false, HOME},
	  {COMMIT(HOME, 4, 11, 10), VERDICT_ACCEPTED, false, HOME}}},
	{"an older sync does not roll the account back",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {SYNC(HOME, 2, 9), VERDICT_STALE_REV, false, HOME},
	  {SYNC(HOME, 3, 10), VERDICT_STALE_REV, false, HOME},
	  {SYNC(HOME, 4, 20), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 5, 21, 20), VERDICT_ACCEPTED, false, HOME}}},
	{"a refused event leaves the last number as it was",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 7, 9, 0), VERDICT_STALE_REV, false, HOME},
	  {ACCOUNT(HOME, 5, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, HOME}}},
	{"another commit before: discontinuous, adopted",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 2, 12, 11), VERDICT_ACCEPTED, true, HOME},
	  {COMMIT(HOME, 3, 13, 12), VERDICT_ACCEPTED, false, HOME}}},
	{"no commit before, though one is known: discontinuous",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 2, 11, 0), VERDICT_ACCEPTED, true, HOME}}},
	{"the first commit seen may follow any",
	 {{COMMIT(HOME, 1, 10, 9), VERDICT_ACCEPTED, false, HOME}}},
	{"an inactive account",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 2, true, ACCOUNT_DEACTIVATED), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 3, 11, 10), VERDICT_ACCOUNT_INACTIVE, false, HOME},
	  {SYNC(HOME, 4, 12), VERDICT_ACCOUNT_INACTIVE, false, HOME},
	  {IDENTITY(HOME, 5), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 6, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 7, 11, 10), VERDICT_ACCEPTED, false, HOME}}},
	{"a stale commit of an inactive account is stale",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 2, true, ACCOUNT_TAKENDOWN), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 3, 10, 0), VERDICT_STALE_REV, false, HOME}}},
	{"a throttled account that is active goes on",
	 {{ACCOUNT(HOME, 1, false, ACCOUNT_THROTTLED), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 2, 10, 0), VERDICT_ACCEPTED, false, HOME}}},
	{"the account moves to another host",
	 {{COMMIT(HOME, 50, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {IDENTITY(OTHER, 1), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(OTHER, 2, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, OTHER},
	  {COMMIT(OTHER, 3, 11, 10), VERDICT_ACCEPTED, false, OTHER},
	  {IDENTITY(OTHER, 1), VERDICT_DUPLICATE, false, OTHER},
	  {ACCOUNT(OTHER, 2, false, ACCOUNT_ACTIVE), VERDICT_DUPLICATE, false, OTHER},
	  {IDENTITY(HOME, 50), VERDICT_DUPLICATE, false, OTHER},
	  {IDENTITY(HOME, 51), VERDICT_ACCEPTED, false, OTHER}}},
	{"an identity event does not move it, and is not taken twice",
	 {{IDENTITY(THIRD, 7), VERDICT_ACCEPTED, false, 0},
	  {IDENTITY(THIRD, 7), VERDICT_DUPLICATE, false, 0},
	  {COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {IDENTITY(THIRD, 7), VERDICT_DUPLICATE, false, HOME},
	  {IDENTITY(OTHER, 3), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 1, 10, 0), VERDICT_DUPLICATE, false, HOME}}},
	{"a deleted account leaves the count, and comes back",
	 {{COMMIT(HOME, 1, 10, 0), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 2, true, ACCOUNT_DELETED), VERDICT_ACCEPTED, false, 0},
	  {ACCOUNT(HOME, 3, true, ACCOUNT_DEACTIVATED), VERDICT_ACCEPTED, false, HOME},
	  {ACCOUNT(HOME, 4, true, ACCOUNT_DELETED), VERDICT_ACCEPTED, false, 0},
	  {ACCOUNT(HOME, 5, false, ACCOUNT_ACTIVE), VERDICT_ACCEPTED, false, HOME},
	  {COMMIT(HOME, 6, 11, 10), VERDICT_ACCEPTED, false, HOME}}},
};

static void check_step(const char *name, size_t number, const struct step *step, struct account *a)
{
	struct event_spec spec = step->event;
	struct account before = *a;
	struct verified v;
	struct buf frame;
	bool discontinuous = true;
	uint8_t was[ACCOUNT_SIZE], is[ACCOUNT_SIZE];

	buf_init(&frame, 4096);
	spec.did = DID;
	verified_make(&spec, &frame, &v);
	enum verdict verdict = account_apply(a, &v, &discontinuous);

	if (verdict != step->verdict || discontinuous != step->discontinuous ||
	    account_counts_for(a) != step->counts_for)
		test_fail(__FILE__, __LINE__,
			  "%s, event %zu: verdict %s, discontinuous %d, counts for %d", name,
			  number, verdict_info(verdict)->name, discontinuous,
			  (int)account_counts_for(a));
	account_encode(&before, was);
	account_encode(a, is);
	if (verdict != VERDICT_ACCEPTED && memcmp(was, is, sizeof(is)) != 0)
		test_fail(__FILE__, __LINE__, "%s, event %zu: refused, and yet applied", name,
			  number);
	buf_release(&frame);
}

TEST(decisions)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct account a;

		account_init(&a);
		for (size_t k = 0; k < STEPS_MAX && cases[i].steps[k].event.kind; k++)
			check_step(cases[i].name, k, &cases[i].steps[k], &a);
	}
}

/* since and prevData are looked at separately; a missing prevData is no break [sync: legacy hosts].
 */
TEST(what_makes_a_commit_discontinuous)
{
	struct event_spec first = {
		.kind = EVENT_COMMIT, .did = DID, .host_id = HOME, .host_seq = 1, .rev = 10};
	struct event_spec second = {.kind = EVENT_COMMIT,
				    .did = DID,
				    .host_id = HOME,
				    .host_seq = 2,
				    .rev = 11,
				    .since = 10};
	struct account known, a;
	struct verified v;
	struct buf frame;
	bool discontinuous;

	buf_init(&frame, 4096);
	account_init(&known);
	verified_make(&first, &frame, &v);
	CHECK_INT(account_apply(&known, &v, &discontinuous), VERDICT_ACCEPTED);
	verified_make(&second, &frame, &v);

	a = known;
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	CHECK(!discontinuous);
	CHECK(memcmp(a.data, v.data, SHA256_SIZE) == 0 &&
	      memcmp(a.commit, v.commit, SHA256_SIZE) == 0);
	CHECK(memcmp(a.rev, v.rev, TID_SIZE) == 0);

	a = known;
	v.prev_data[31] ^= 1;
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	CHECK(discontinuous);

	a = known;
	v.has_prev_data = false;
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	CHECK(!discontinuous);

	a = known;
	v.has_since = false;
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	CHECK(discontinuous);
	buf_release(&frame);
}

TEST(an_account_event_keeps_the_commit)
{
	struct event_spec spec = {
		.kind = EVENT_COMMIT, .did = DID, .host_id = HOME, .host_seq = 1, .rev = 10};
	struct account a;
	struct verified v;
	struct buf frame;
	bool discontinuous;
	uint8_t rev[TID_SIZE];

	buf_init(&frame, 4096);
	account_init(&a);
	CHECK(a.active && a.status == ACCOUNT_ACTIVE && !a.has_commit);
	verified_make(&spec, &frame, &v);
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	spec = (struct event_spec){.kind = EVENT_ACCOUNT,
				   .did = DID,
				   .host_id = HOME,
				   .host_seq = 2,
				   .inactive = true,
				   .status = ACCOUNT_SUSPENDED};
	verified_make(&spec, &frame, &v);
	CHECK_INT(account_apply(&a, &v, &discontinuous), VERDICT_ACCEPTED);
	verified_rev(10, rev);
	CHECK(!a.active && a.status == ACCOUNT_SUSPENDED && a.has_commit);
	CHECK(memcmp(a.rev, rev, TID_SIZE) == 0);
	buf_release(&frame);
}

static struct account full_account(void)
{
	struct account a = {
		.active = false,
		.status = ACCOUNT_TAKENDOWN,
		.here = {.host_id = 0x0102030405060708,
			 .host_epoch = 0x11121314,
			 .host_seq = 0x2122232425262728},
		.elsewhere = {.host_id = 3, .host_epoch = 4, .host_seq = 5},
		.has_commit = true,
	};

	verified_rev(7, a.rev);
	verified_digest(7, a.commit);
	verified_digest(8, a.data);
	return a;
}

static void check_comes_back(const struct account *a)
{
	uint8_t bytes[ACCOUNT_SIZE], again[ACCOUNT_SIZE];
	struct account decoded;

	account_encode(a, bytes);
	CHECK_INT(account_decode(span_of(bytes, sizeof(bytes)), &decoded), 0);
	account_encode(&decoded, again);
	CHECK(memcmp(bytes, again, sizeof(bytes)) == 0);
	CHECK(decoded.active == a->active && decoded.status == a->status &&
	      decoded.has_commit == a->has_commit);
	CHECK(decoded.here.host_id == a->here.host_id && decoded.here.host_seq == a->here.host_seq);
	CHECK(decoded.elsewhere.host_epoch == a->elsewhere.host_epoch);
}

TEST(record_comes_back)
{
	struct account a = full_account(), fresh;

	check_comes_back(&a);
	account_init(&fresh);
	check_comes_back(&fresh);
}

/* The layout is on disk. */
TEST(record_layout)
{
	struct account a = full_account();
	uint8_t bytes[ACCOUNT_SIZE];
	struct buf want;

	buf_init(&want, 64);
	account_encode(&a, bytes);
	test_hex("01 02 04  0807060504030201 14131211 2827262524232221"
		 "0300000000000000 04000000 0500000000000000",
		 &want);
	CHECK_SPAN(span_of(bytes, 43), buf_span(&want));
	CHECK(memcmp(bytes + 43, a.rev, TID_SIZE) == 0);
	CHECK(memcmp(bytes + 56, a.commit, SHA256_SIZE) == 0);
	CHECK(memcmp(bytes + 88, a.data, SHA256_SIZE) == 0);
	buf_release(&want);
}

static const struct {
	const char *what;
	size_t at;
	uint8_t byte;
} damages[] = {
	{"another version", 0, 2},
	{"an unknown flag", 1, 4},
	{"a status that there is not", 2, ACCOUNT_THROTTLED + 1},
	{"a rev that is no TID", 43, '1'},
	{"a commit, but not by its flag", 1, 0},
};

TEST(damaged_records_are_refused)
{
	struct account a = full_account(), decoded;
	uint8_t bytes[ACCOUNT_SIZE + 1] = {0};

	account_encode(&a, bytes);
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != ACCOUNT_SIZE)
			CHECK_INT(account_decode(span_of(bytes, len), &decoded), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		account_encode(&a, bytes);
		bytes[damages[i].at] = damages[i].byte;
		if (account_decode(span_of(bytes, ACCOUNT_SIZE), &decoded) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s", damages[i].what);
	}
}
