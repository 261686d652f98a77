#include "validate/inquiry.h"

#include "common/limits.h"
#include "common/pipe.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define ASKED_MAX   1024
#define EXPIRED_MAX 16
#define WAIT_LONG   (600 * USEC_PER_SEC)

struct bench {
	struct loop *loop;
	char url[128];
	struct inquiries *inquiries;
	/* what resolve sees */
	struct pipe *resolve;
	unsigned ups;
	size_t asked_count;
	struct {
		char did[64];
		uint64_t newer_than, host_id;
	} asked[ASKED_MAX];
	/* what the stage sees */
	unsigned answered, ready, foreign;
	size_t expired_count;
	uint64_t expired[EXPIRED_MAX]; /* tickets */
	size_t want;
	size_t since; /* of asked */
	const char *about;
};

static void resolve_up(void *arg)
{
	struct bench *b = arg;

	b->ups++;
}

static void resolve_down(void *arg)
{
	(void)arg;
}

static void resolve_message(void *arg, struct span message)
{
	struct bench *b = arg;
	struct reader r = reader_of(message);
	enum message_type type;
	struct lookup lookup;

	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_LOOKUP);
	CHECK_INT(lookup_decode(&r, &lookup), 0);
	if (b->asked_count == ASKED_MAX)
		return;
	CHECK_INT(span_to_str(lookup.did, b->asked[b->asked_count].did, 64), 0);
	b->asked[b->asked_count].host_id = lookup.host_id;
	b->asked[b->asked_count++].newer_than = lookup.newer_than_usec;
}

static void resolve_writable(void *arg)
{
	(void)arg;
}

static void resolve_open(struct bench *b)
{
	const struct pipe_handler h = {
		.up = resolve_up,
		.down = resolve_down,
		.message = resolve_message,
		.writable = resolve_writable,
		.arg = b,
	};

	CHECK_INT(pipe_listen_pair(b->loop, b->url, &h, &b->resolve), 0);
}

static void answered(void *arg, const struct identity *i)
{
	struct bench *b = arg;

	CHECK(i->status != IDENTITY_UNAVAILABLE);
	b->answered++;
}

static void ready(void *arg)
{
	struct bench *b = arg;

	b->ready++;
}

static void expired(void *arg, const struct event *e)
{
	struct bench *b = arg;

	CHECK(span_is(e->frame, "frame"));
	CHECK(span_is(e->host, "pds.example.com"));
	if (b->expired_count < EXPIRED_MAX)
		b->expired[b->expired_count++] = e->ticket;
}

static void foreign(void *arg, unsigned version)
{
	struct bench *b = arg;

	CHECK_INT(version, 7);
	b->foreign++;
}

static void bench_open(struct bench *b, uint64_t wait_usec, bool has_resolve)
{
	const struct inquiry_handler h = {answered, ready, expired, foreign, b};

	*b = (struct bench){.loop = loop_new()};
	snprintf(b->url, sizeof(b->url), "ipc://%s/identities", test_folder());
	if (has_resolve)
		resolve_open(b);
	CHECK_INT(inquiries_new(b->loop, b->url, wait_usec, &h, &b->inquiries), 0);
}

static void bench_close(struct bench *b)
{
	inquiries_free(b->inquiries);
	pipe_close(b->resolve);
	loop_free(b->loop);
}

static struct event event(uint64_t ticket, uint64_t host_id)
{
	return (struct event){
		.ticket = ticket,
		.host_id = host_id,
		.received_usec = clock_usec(),
		.received_uptime_usec = uptime_usec(),
		.host = SPAN_LITERAL("pds.example.com"),
		.frame = SPAN_LITERAL("frame"),
	};
}

static struct inquiry *begin(struct bench *b, const char *did, uint64_t ticket, uint64_t host_id,
			     uint64_t newer_than)
{
	const struct event e = event(ticket, host_id);
	struct inquiry *q = inquiries_begin(b->inquiries, span_str(did), &e);

	inquiry_ask(q, newer_than);
	return q;
}

static void answer(struct bench *b, const char *did, enum identity_status status, uint64_t fetched)
{
	const struct identity i = {
		.status = status,
		.fetched_usec = fetched,
		.did = span_str(did),
	};
	struct buf message;

	buf_init(&message, LIMIT_MESSAGE);
	message_put_type(&message, MESSAGE_IDENTITY);
	identity_encode(&message, &i);
	CHECK_INT(pipe_send(b->resolve, buf_span(&message)), 0);
	buf_release(&message);
}

static bool was_asked(void *arg)
{
	const struct bench *b = arg;

	return b->asked_count >= b->want;
}

static bool wait_asked(struct bench *b, size_t count)
{
	b->want = count;
	return wait_until(b->loop, was_asked, b, "a question");
}

static bool was_asked_about(const struct bench *b, const char *did)
{
	for (size_t i = b->since; i < b->asked_count; i++)
		if (strcmp(b->asked[i].did, did) == 0)
			return true;
	return false;
}

static bool is_asked_about(void *arg)
{
	const struct bench *b = arg;

	return was_asked_about(b, b->about);
}

static bool is_up_again(void *arg)
{
	const struct bench *b = arg;

	return b->ups >= b->want;
}

/* Begins it, too. */
static bool wait_asked_about(struct bench *b, const char *did)
{
	begin(b, did, 1000, 10, 0);
	b->about = did;
	return wait_until(b->loop, is_asked_about, b, "a question about it");
}

static bool is_ready(void *arg)
{
	const struct bench *b = arg;

	return b->ready >= b->want;
}

static bool wait_ready(struct bench *b, size_t count)
{
	b->want = count;
	return wait_until(b->loop, is_ready, b, "an answer");
}

static bool has_expired(void *arg)
{
	const struct bench *b = arg;

	return b->expired_count >= b->want;
}

#define A "did:web:a.example"
#define B "did:web:b.example"

TEST(events_of_one_account_queue_up_in_order)
{
	struct inquiry *q;
	struct event e;
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	q = begin(&b, A, 1, 10, 0);
	begin(&b, B, 2, 10, 0);
	for (uint64_t ticket = 3; ticket < 6; ticket++) {
		e = event(ticket, 10);
		CHECK(inquiries_find(b.inquiries, span_str(A), 10) == q);
		inquiry_append(q, &e);
	}
	CHECK(!inquiries_find(b.inquiries, span_str(A), 11));
	CHECK_INT(inquiries_event_count(b.inquiries), 5);
	CHECK(wait_asked(&b, 2));
	CHECK_STR(b.asked[0].did, A);
	CHECK(!inquiries_take_ready(b.inquiries));
	answer(&b, A, IDENTITY_NOT_FOUND, 1);
	CHECK(wait_ready(&b, 1));
	CHECK(inquiries_take_ready(b.inquiries) == q);
	CHECK(!inquiries_take_ready(b.inquiries));
	inquiry_put_back(q);
	CHECK(inquiries_take_ready(b.inquiries) == q);
	inquiry_first(q, &e);
	CHECK_INT(e.ticket, 1);
	CHECK(inquiry_pop(q));
	for (uint64_t ticket = 3; ticket < 6; ticket++) {
		inquiry_first(q, &e);
		CHECK_INT(e.ticket, ticket);
		CHECK(inquiry_pop(q) == (ticket < 5));
	}
	CHECK(!inquiries_find(b.inquiries, span_str(A), 10));
	CHECK(inquiries_find(b.inquiries, span_str(B), 10));
	CHECK_INT(inquiries_event_count(b.inquiries), 1);
	inquiries_clear(b.inquiries);
	CHECK_INT(inquiries_event_count(b.inquiries), 0);
	bench_close(&b);
}

/* One answer is for every host that tells of the account. */
TEST(hosts_wait_apart_and_are_answered_together)
{
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	begin(&b, A, 1, 10, 0);
	begin(&b, A, 2, 11, 5);
	begin(&b, A, 3, 12, 9);
	CHECK(wait_asked(&b, 3));
	CHECK_INT(b.asked[1].newer_than, 5);
	for (uint64_t i = 0; i < 3; i++)
		CHECK_INT(b.asked[i].host_id, 10 + i);
	answer(&b, A, IDENTITY_NOT_FOUND, 5);
	CHECK(wait_ready(&b, 1));
	CHECK_INT(b.answered, 1);
	CHECK(inquiries_take_ready(b.inquiries));
	CHECK(inquiries_take_ready(b.inquiries));
	/* the third wants a newer one */
	CHECK(!inquiries_take_ready(b.inquiries));
	answer(&b, A, IDENTITY_NOT_FOUND, 9);
	CHECK(wait_ready(&b, 2));
	CHECK(inquiries_take_ready(b.inquiries) == inquiries_find(b.inquiries, span_str(A), 12));
	bench_close(&b);
}

TEST(what_is_unavailable_is_asked_for_again)
{
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	begin(&b, A, 1, 10, 7);
	CHECK(wait_asked(&b, 1));
	answer(&b, A, IDENTITY_UNAVAILABLE, 100);
	CHECK(wait_asked(&b, 2));
	CHECK_INT(b.asked[1].newer_than, 7);
	CHECK_INT(b.answered, 0);
	CHECK_INT(b.ready, 0);
	answer(&b, A, IDENTITY_TOMBSTONED, 100);
	CHECK(wait_ready(&b, 1));
	bench_close(&b);
}

TEST(a_question_without_answer_is_asked_again)
{
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	begin(&b, A, 1, 10, 0);
	CHECK(wait_asked(&b, 2));
	bench_close(&b);
}

TEST(all_are_asked_again_when_the_pipe_comes_back)
{
	enum { COUNT = 200 };
	char did[64];
	struct bench b;

	bench_open(&b, WAIT_LONG, false);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", i);
		begin(&b, did, i, 10, 0);
	}
	resolve_open(&b);
	CHECK(wait_asked(&b, COUNT));
	CHECK_INT(b.ups, 1);
	b.since = b.asked_count;
	pipe_break(b.resolve);
	b.want = 2;
	CHECK(wait_until(b.loop, is_up_again, &b, "the pipe"));
	/* Long before they would have been without that. The first may be asked before the others,
	 * the second is asked when the pipe is there. */
	CHECK(wait_asked_about(&b, A));
	CHECK(wait_asked_about(&b, B));
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", i);
		CHECK(was_asked_about(&b, did));
	}
	bench_close(&b);
}

TEST(events_wait_for_a_time_only)
{
	struct inquiry *q;
	struct event e;
	struct bench b;

	/* whether resolve says that it cannot, says nothing, or is not there */
	for (unsigned how = 0; how < 3; how++) {
		bench_open(&b, 20 * USEC_PER_SEC, how < 2);
		e = event(1, 10);
		e.received_uptime_usec -= 19 * USEC_PER_SEC;
		q = inquiries_begin(b.inquiries, span_str(A), &e);
		inquiry_ask(q, 0);
		e.ticket = 2;
		inquiry_append(q, &e);
		e = event(3, 10);
		inquiry_append(q, &e);
		if (how < 2)
			CHECK(wait_asked(&b, 1));
		if (how == 0)
			answer(&b, A, IDENTITY_UNAVAILABLE, 1);
		b.want = 2;
		CHECK(wait_until(b.loop, has_expired, &b, "the end of patience"));
		CHECK_INT(b.expired_count, 2);
		CHECK_INT(b.expired[0], 1);
		CHECK_INT(b.expired[1], 2);
		/* the third came later and goes on waiting */
		CHECK_INT(inquiries_event_count(b.inquiries), 1);
		bench_close(&b);
	}
}

/* A stage was away, or the disk was full. */
TEST(an_event_that_comes_late_has_time_to_be_answered)
{
	struct event e = event(1, 10);
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	e.received_uptime_usec -= 2 * WAIT_LONG;
	inquiry_ask(inquiries_begin(b.inquiries, span_str(A), &e), 0);
	CHECK(wait_asked(&b, 1));
	answer(&b, A, IDENTITY_UNAVAILABLE, 1);
	CHECK(wait_asked(&b, 2));
	answer(&b, A, IDENTITY_NOT_FOUND, 1);
	CHECK(wait_ready(&b, 1));
	CHECK_INT(b.expired_count, 0);
	bench_close(&b);
}

/* It is not taken for news. */
TEST(what_is_not_answered_as_it_was_asked_is_asked_less_often)
{
	struct inquiry *q;
	struct bench b;
	uint64_t since;

	bench_open(&b, WAIT_LONG, true);
	since = loop_now_usec(b.loop);
	q = begin(&b, A, 1, 10, 0);
	for (unsigned i = 1; i <= 5; i++) {
		CHECK(wait_asked(&b, i));
		answer(&b, A, IDENTITY_NOT_FOUND, uptime_usec());
		CHECK(wait_ready(&b, i));
		CHECK(inquiries_take_ready(b.inquiries) == q);
		inquiry_ask(q, 1);
	}
	/* After a pause of 1 s and one of 2 s. */
	CHECK(loop_now_usec(b.loop) - since >= 3 * USEC_PER_SEC);
	bench_close(&b);
}

TEST(a_message_that_does_not_decode_breaks_the_pipe)
{
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	begin(&b, A, 1, 10, 0);
	CHECK(wait_asked(&b, 1));
	CHECK_INT(pipe_send(b.resolve, SPAN_LITERAL("\x01\x07garbage")), 0);
	CHECK(wait_asked(&b, 2));
	CHECK_INT(b.ups, 2);
	bench_close(&b);
}

static bool is_foreign(void *arg)
{
	return ((const struct bench *)arg)->foreign > 0;
}

/* Its connection is not ended, or it would come again at once; after the next there are answers. */
TEST(a_resolve_of_another_version_is_told_of_once)
{
	struct bench b;

	bench_open(&b, WAIT_LONG, true);
	begin(&b, A, 1, 10, 0);
	CHECK(wait_asked(&b, 1));
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(pipe_send(b.resolve, SPAN_LITERAL("\x07\x09")), 0);
	CHECK(wait_until(b.loop, is_foreign, &b, "word of it"));
	CHECK(wait_asked(&b, 2)); /* for want of an answer */
	CHECK_INT(b.foreign, 1);
	CHECK_INT(b.ups, 1);
	pipe_close(b.resolve);
	resolve_open(&b);
	CHECK(wait_asked(&b, 3));
	CHECK_INT(b.ups, 2);
	answer(&b, A, IDENTITY_NOT_FOUND, uptime_usec());
	CHECK(wait_ready(&b, 1));
	CHECK_INT(b.foreign, 1);
	bench_close(&b);
}

static void begin_many(struct bench *b, unsigned count)
{
	char did[64];

	for (unsigned i = 0; i < count; i++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", i);
		begin(b, did, i, i, 0);
	}
}

#define WINDOW_ENTRY 120 /* beside the frame: sizeof(struct window_entry) of ingest */
#define LEAST        80  /* bytes of the smallest frame that names an account */

TEST(many_accounts_wait_at_once)
{
	enum { COUNT = 5000 };
	int64_t empty;
	char did[64];
	struct bench b;

	bench_open(&b, WAIT_LONG, false);
	begin_many(&b, COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", i);
		CHECK(inquiries_find(b.inquiries, span_str(did), i));
	}
	inquiries_clear(b.inquiries);
	empty = inquiries_memory_bytes(b.inquiries);
	begin_many(&b, COUNT);
	CHECK(inquiries_memory_bytes(b.inquiries) > empty + COUNT * 100);
	/* Three times what these events take in ingest's window: each has its own account. */
	CHECK(inquiries_memory_bytes(b.inquiries) <= empty + COUNT * 3 * (WINDOW_ENTRY + LEAST));
	inquiries_clear(b.inquiries);
	CHECK_INT(inquiries_memory_bytes(b.inquiries), empty);
	CHECK_INT(inquiries_event_count(b.inquiries), 0);
	CHECK(!inquiries_find(b.inquiries, SPAN_LITERAL("did:web:h1.example"), 1));
	bench_close(&b);
}
