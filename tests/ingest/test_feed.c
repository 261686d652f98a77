#include "ingest/feed.h"

#include "common/limits.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define MESSAGES_MAX 256

/* A feed and, in the same process, the other end of its lane. */
struct rig {
	struct loop *loop;
	struct feed *feed;
	struct lane *lane;
	uint64_t sessions;
	size_t events; /* that came */
	size_t messages;
	size_t sizes[MESSAGES_MAX]; /* events of each message */
	uint64_t tickets[4096];
	size_t acknowledged;
	enum verdict last;
	size_t wanted;
};

static void on_opened(void *arg)
{
	struct rig *r = arg;

	lane_ready(r->lane);
}

static void on_nothing(void *arg)
{
	(void)arg;
}

static int on_message(void *arg, enum message_type type, struct reader body)
{
	struct rig *r = arg;
	struct event e;

	CHECK_INT(type, MESSAGE_EVENTS);
	CHECK(body.left <= LIMIT_BATCH_BYTES + LIMIT_FRAME + 4096);
	while (body.left) {
		CHECK_INT(event_decode(&body, &e), 0);
		r->tickets[r->events++] = e.ticket;
		r->sizes[r->messages]++;
	}
	r->messages++;
	return 0;
}

static void on_acknowledged(void *arg, const struct window_entry *e, enum verdict v)
{
	struct rig *r = arg;

	(void)e;
	r->acknowledged++;
	r->last = v;
}

static void rig_init(struct rig *r, size_t window_bytes)
{
	const struct lane_handler lh = {on_opened, on_nothing, on_message, on_nothing, NULL, r};
	const struct feed_handler fh = {on_acknowledged, NULL, r};
	char url[256];

	*r = (struct rig){0};
	r->loop = loop_new();
	snprintf(url, sizeof(url), "ipc://%s/events", test_folder());
	CHECK_INT(lane_listen_downstream(r->loop, url, &lh, &r->lane), 0);
	CHECK_INT(feed_new(r->loop, url, window_bytes, &fh, &r->sessions, &r->feed), 0);
}

static void rig_release(struct rig *r)
{
	feed_free(r->feed);
	lane_close(r->lane);
	loop_free(r->loop);
}

static bool put(struct rig *r, size_t bytes, struct feed_waiter *w)
{
	static const uint8_t zeros[LIMIT_FRAME];
	const struct event e = {
		.host_seq = 1, .host = SPAN_LITERAL("pds.example"), .frame = span_of(zeros, bytes)};

	return feed_put(r->feed, &e, w) != NULL;
}

static bool has_wanted(void *arg)
{
	struct rig *r = arg;

	return r->events >= r->wanted;
}

static bool has_acknowledged(void *arg)
{
	struct rig *r = arg;

	return r->acknowledged >= r->wanted;
}

static bool has_session(void *arg)
{
	struct rig *r = arg;

	return r->sessions > 0;
}

static void wait_events(struct rig *r, size_t count)
{
	r->wanted = count;
	wait_until(r->loop, has_wanted, r, "events");
}

static void acknowledge(struct rig *r, size_t from, size_t to, enum verdict v)
{
	struct buf *b = lane_start(r->lane, MESSAGE_ACKS);

	for (size_t i = from; i < to; i++)
		ack_encode(b, &(struct ack){r->tickets[i], v});
	CHECK_INT(lane_send(r->lane), 0);
}

TEST(batches_by_count)
{
	struct feed_waiter w = {0};
	struct rig r;

	rig_init(&r, MIB(8));
	wait_until(r.loop, has_session, &r, "a session");
	for (unsigned i = 0; i < 3 * LIMIT_BATCH_EVENTS; i++)
		CHECK(put(&r, 10, &w));
	wait_events(&r, 3 * LIMIT_BATCH_EVENTS);
	CHECK_INT(r.messages, 3);
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(r.sizes[i], LIMIT_BATCH_EVENTS);
	rig_release(&r);
}

TEST(batches_by_bytes)
{
	struct feed_waiter w = {0};
	struct rig r;

	rig_init(&r, MIB(32));
	wait_until(r.loop, has_session, &r, "a session");
	for (unsigned i = 0; i < 6; i++)
		CHECK(put(&r, LIMIT_BATCH_BYTES / 2, &w));
	CHECK(put(&r, LIMIT_FRAME, &w));
	wait_events(&r, 7);
	CHECK_INT(r.messages, 4);
	CHECK_INT(r.sizes[0], 2);
	CHECK_INT(r.sizes[3], 1);
	rig_release(&r);
}

TEST(a_single_event_does_not_wait_for_others)
{
	struct feed_waiter w = {0};
	struct rig r;

	rig_init(&r, MIB(8));
	wait_until(r.loop, has_session, &r, "a session");
	CHECK(put(&r, 10, &w));
	wait_events(&r, 1);
	CHECK_INT(r.messages, 1);
	rig_release(&r);
}

TEST(what_comes_before_the_session_waits_for_it)
{
	struct feed_waiter w = {0};
	struct rig r;

	rig_init(&r, MIB(8));
	for (unsigned i = 0; i < 10; i++)
		CHECK(put(&r, 10, &w));
	wait_events(&r, 10);
	CHECK_INT(r.sessions, 1);
	CHECK_INT(feed_event_count(r.feed), 10);
	rig_release(&r);
}

TEST(acknowledgements_in_any_order)
{
	struct feed_waiter w = {0};
	struct rig r;

	rig_init(&r, MIB(8));
	for (unsigned i = 0; i < 10; i++)
		CHECK(put(&r, 10, &w));
	wait_events(&r, 10);
	acknowledge(&r, 5, 10, VERDICT_ACCEPTED);
	acknowledge(&r, 0, 5, VERDICT_BAD_OP);
	r.wanted = 10;
	wait_until(r.loop, has_acknowledged, &r, "acknowledgements");
	CHECK_INT(r.last, VERDICT_BAD_OP);
	CHECK_INT(feed_event_count(r.feed), 0);
	CHECK_INT(feed_event_bytes(r.feed), 0);
	rig_release(&r);
}

/* Those who wait are woken in the order in which they came, and nobody passes them. */

struct waiter {
	struct rig *rig;
	struct feed_waiter waiter;
	unsigned number;
	unsigned *order; /* of wakes */
	size_t *woken;
	bool again; /* puts when it is woken */
};

static void on_wake(void *arg)
{
	struct waiter *w = arg;

	w->order[(*w->woken)++] = w->number;
	if (w->again)
		CHECK(put(w->rig, 1000, &w->waiter));
}

static bool is_woken(void *arg)
{
	struct waiter *w = arg;

	return *w->woken >= 3;
}

TEST(first_come_first_served)
{
	struct waiter w[4];
	unsigned order[8] = {0};
	size_t woken = 0, count = 0;
	struct rig r;

	rig_init(&r, KIB(64));
	for (unsigned i = 0; i < 4; i++)
		w[i] = (struct waiter){&r,    {.wake = on_wake, .arg = &w[i]}, i, order, &woken,
				       i != 3};
	while (put(&r, 1000, &w[0].waiter))
		count++;
	CHECK_INT(feed_waiter_count(r.feed), 1);
	CHECK(!put(&r, 1000, &w[1].waiter));
	CHECK(!put(&r, 1000, &w[3].waiter));
	CHECK(!put(&r, 1000, &w[2].waiter));
	wait_events(&r, count);
	acknowledge(&r, 0, 1, VERDICT_ACCEPTED);
	r.wanted = 1;
	wait_until(r.loop, has_acknowledged, &r, "an acknowledgement");
	CHECK_INT(woken, 0); /* above the low mark */
	feed_forget(&w[3].waiter);
	CHECK(!put(&r, 10, &w[3].waiter)); /* there is room, but others wait for more */
	feed_forget(&w[3].waiter);
	acknowledge(&r, 1, count, VERDICT_ACCEPTED);
	wait_until(r.loop, is_woken, &w[0], "wakes");
	CHECK_INT(woken, 3);
	CHECK_INT(order[0], 0);
	CHECK_INT(order[1], 1);
	CHECK_INT(order[2], 2);
	CHECK_INT(feed_waiter_count(r.feed), 0);
	CHECK_INT(feed_event_count(r.feed), 3);
	rig_release(&r);
}
