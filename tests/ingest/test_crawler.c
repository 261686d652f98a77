#include "ingest/crawler.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/ingest/rig.h"
#include "tests/lib/foreign.h"
#include "tests/lib/frame.h"

/* A host: says what it is told, remembers what it was asked for. */
struct fake {
	struct rig *rig;
	struct raw_server *server;
	struct raw_client *client; /* the present stream */
	unsigned requests;
	char target[256]; /* of the last request */
	bool mute;
	char name[64];
	/* what a test waits for */
	size_t events;
	unsigned sessions;
	unsigned wanted_requests;
};

static void on_request(void *arg, struct raw_client *c, struct span head)
{
	struct fake *f = arg;

	f->requests++;
	CHECK_INT(sscanf((const char *)head.ptr, "GET %200s", f->target), 1);
	if (f->mute)
		return;
	raw_client_accept(c, head);
	f->client = c;
}

static void on_gone(void *arg, struct raw_client *c)
{
	struct fake *f = arg;

	if (f->client == c)
		f->client = NULL;
}

static void fake_init(struct fake *f, struct rig *r)
{
	const struct raw_handler h = {on_request, NULL, on_gone, f};

	*f = (struct fake){.rig = r};
	f->server = raw_server_new(r->stage.loop, NULL, NULL, &h);
	snprintf(f->name, sizeof(f->name), "localhost:%u", raw_server_port(f->server));
}

static void say(struct fake *f, const char *kind, int64_t seq)
{
	struct buf b;

	buf_init(&b, MIB(8));
	put_frame(&b, kind, "did:plc:a", seq, 10);
	raw_client_frame(f->client, 0x82, buf_span(&b));
	buf_release(&b);
}

/* A #commit whose rev says that it was made so long ago; below 0: that it will be. */
static void say_commit(struct fake *f, int64_t seq, int64_t age_usec)
{
	uint8_t rev[TID_SIZE];
	struct buf b;

	tid_format((uint64_t)((int64_t)clock_usec() - age_usec), 0, rev);
	buf_init(&b, KIB(1));
	frame_put_header(&b, "#commit");
	cbor_put_map(&b, 3);
	frame_put_text(&b, "rev", span_of(rev, sizeof(rev)));
	cbor_put_text(&b, SPAN_LITERAL("seq"));
	cbor_put_integer(&b, seq);
	frame_put_text(&b, "repo", SPAN_LITERAL("did:plc:a"));
	raw_client_frame(f->client, 0x82, buf_span(&b));
	buf_release(&b);
}

static void say_error(struct fake *f, const char *name)
{
	struct buf b;

	buf_init(&b, KIB(1));
	cbor_put_map(&b, 1);
	cbor_put_text(&b, SPAN_LITERAL("op"));
	cbor_put_integer(&b, -1);
	cbor_put_map(&b, 1);
	cbor_put_text(&b, SPAN_LITERAL("error"));
	cbor_put_text(&b, span_str(name));
	raw_client_frame(f->client, 0x82, buf_span(&b));
	buf_release(&b);
}

static struct subscription *subscription(struct fake *f)
{
	struct subscription *s = crawler_find(&f->rig->crawler, span_str(f->name));

	CHECK(s != NULL);
	return s;
}

static bool is_reading(void *arg)
{
	struct fake *f = arg;

	return f->client && subscription(f)->state == SUBSCRIPTION_READING;
}

static bool has_events(void *arg)
{
	struct fake *f = arg;

	return f->rig->sink.count >= f->events;
}

static bool is_acknowledged(void *arg)
{
	struct fake *f = arg;

	return has_events(f) && feed_event_count(f->rig->crawler.feeds[0]) == 0;
}

static bool is_gone(void *arg)
{
	struct fake *f = arg;

	return !f->client;
}

static bool is_reading_again(void *arg)
{
	struct fake *f = arg;

	return f->requests >= f->wanted_requests && is_reading(f);
}

static bool is_session(void *arg)
{
	struct fake *f = arg;

	return f->rig->sink.sessions >= f->sessions;
}

static void wait_for(struct fake *f, bool (*condition)(void *), const char *what)
{
	wait_until(f->rig->stage.loop, condition, f, what);
}

/* For the stream that comes after `before` requests. */
static void wait_again(struct fake *f, unsigned before)
{
	f->wanted_requests = before + 1;
	wait_for(f, is_reading_again, "the stream again");
}

static void wait_events(struct fake *f, size_t count)
{
	f->events = count;
	wait_for(f, has_events, "events");
}

static void start(struct rig *r, struct fake *f)
{
	rig_init(r);
	fake_init(f, r);
	rig_set(r, "ingest.hosts=%s", f->name);
}

static void finish(struct rig *r, struct fake *f)
{
	raw_server_free(f->server);
	rig_release(r);
}

static uint64_t dropped(struct rig *r, enum drop_reason reason)
{
	return *r->crawler.counters.dropped[reason];
}

/* The cursor of the last request; -1: none. */
static int64_t asked_cursor(const struct fake *f)
{
	const char *cursor = strstr(f->target, "?cursor=");
	int64_t v = -1;

	if (cursor && sscanf(cursor, "?cursor=%" SCNd64, &v) != 1)
		v = -2;
	return v;
}

TEST(events_go_into_the_lane)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	CHECK_INT(subscription(&f)->record.status, HOST_IDLE);
	wait_for(&f, is_reading, "the stream");
	CHECK_STR(f.target, "/xrpc/com.atproto.sync.subscribeRepos");
	say(&f, "#account", 3);
	say(&f, "#identity", 4);
	say(&f, "#sync", 9);
	wait_events(&f, 3);
	wait_for(&f, is_acknowledged, "acknowledgements");
	CHECK_STR(sink_text(&r.sink), "3 4 9 ");
	CHECK_INT(r.sink.events[0].host_epoch, subscription(&f)->record.epoch);
	CHECK_INT(mark_low(&subscription(&f)->mark), 9);
	CHECK_INT(*r.crawler.counters.frames, 3);
	CHECK_INT(*r.crawler.counters.acknowledged[VERDICT_ACCEPTED], 3);
	CHECK_INT(subscription(&f)->record.status, HOST_ACTIVE);
	CHECK_INT(*r.crawler.open_connections, 1);
	CHECK_INT(*r.crawler.status_gauges[HOST_ACTIVE], 1);
	CHECK_INT(*r.crawler.status_gauges[HOST_IDLE], 0);
	finish(&r, &f);
}

TEST(backfill)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_set(&r, "ingest.backfill=true");
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	CHECK_INT(asked_cursor(&f), 0);
	finish(&r, &f);
}

TEST(numbers_must_rise)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 5);
	say(&f, "#account", 5);
	say(&f, "#account", 3);
	say(&f, "#unknown", 4);
	say(&f, "#account", 6);
	wait_events(&f, 2);
	CHECK_STR(sink_text(&r.sink), "5 6 ");
	CHECK_INT(dropped(&r, DROP_SEQUENCE), 3);
	CHECK_INT(dropped(&r, DROP_UNKNOWN_KIND), 0);
	finish(&r, &f);
}

TEST(skipped_frames_move_the_mark)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#unknown", 5);
	say(&f, "#account", 6);
	say(&f, "#unknown", 7);
	wait_events(&f, 1);
	wait_for(&f, is_acknowledged, "acknowledgements");
	CHECK_INT(dropped(&r, DROP_UNKNOWN_KIND), 2);
	CHECK_INT(mark_low(&subscription(&f)->mark), 7);
	CHECK_INT(raw_server_accepted(f.server), 1);
	finish(&r, &f);
}

/* In the same process: behind what came in last, since what is outstanding is still there. A number
 * that comes again at first is no fault of the host. */
TEST(reconnects_behind_the_last_number)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	r.sink.withhold = true;
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 7);
	say(&f, "#account", 8);
	wait_events(&f, 2);
	raw_client_cut(f.client);
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 8);
	CHECK_INT(mark_low(&subscription(&f)->mark), 6);
	say(&f, "#account", 7);
	say(&f, "#account", 8);
	say(&f, "#account", 9);
	wait_events(&f, 3);
	CHECK_STR(sink_text(&r.sink), "7 8 9 ");
	CHECK_INT(dropped(&r, DROP_SEQUENCE), 0);
	say(&f, "#account", 8);
	say(&f, "#account", 10);
	wait_events(&f, 4);
	CHECK_INT(dropped(&r, DROP_SEQUENCE), 1);
	finish(&r, &f);
}

static bool is_written_at_12(void *arg)
{
	struct fake *f = arg;

	return subscription(f)->record.cursor == 12;
}

/* After a kill: at the low-water mark, so that nothing is lost. */
TEST(begins_again_at_the_mark)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	r.sink.withhold = true;
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	for (int64_t seq = 11; seq <= 14; seq++)
		say(&f, "#account", seq);
	wait_events(&f, 4);
	sink_ack(&r.sink, r.sink.events[0].ticket, VERDICT_ACCEPTED);
	sink_ack(&r.sink, r.sink.events[1].ticket, VERDICT_DUPLICATE);
	sink_ack(&r.sink, r.sink.events[3].ticket, VERDICT_BAD_SIGNATURE);
	wait_until(r.stage.loop, is_written_at_12, &f, "the cursor on disk");
	rig_kill(&r);
	rig_start(&r);
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 12);
	CHECK_INT(subscription(&f)->record.events, 4);
	finish(&r, &f);
}

static bool has_three_left(void *arg)
{
	struct fake *f = arg;

	return feed_event_count(f->rig->crawler.feeds[0]) == 3;
}

TEST(a_broken_session_brings_the_window_again)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	r.sink.withhold = true;
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	for (int64_t seq = 1; seq <= 5; seq++)
		say(&f, "#account", seq);
	wait_events(&f, 5);
	sink_ack(&r.sink, r.sink.events[1].ticket, VERDICT_ACCEPTED);
	sink_ack(&r.sink, r.sink.events[3].ticket, VERDICT_ACCEPTED);
	wait_for(&f, has_three_left, "acknowledgements");
	lane_reset(r.sink.lane);
	r.sink.count = 0;
	wait_events(&f, 3);
	CHECK_STR(sink_text(&r.sink), "1 3 5 ");
	CHECK_INT(r.sink.sessions, 2);
	CHECK_INT(*r.crawler.counters.lane_sessions, 2);
	finish(&r, &f);
}

/* Nothing is lost by it: the window goes to the one that comes after it. */
TEST(a_validate_of_another_version_is_named)
{
	char url[CONFIG_URL_SIZE];
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 1);
	stage_pipe_url(&r.stage, "events", "", 0, url);
	foreign_check(r.stage.loop, r.stage.metrics, url, false, "peer=\"validate\"",
		      "validate speaks another version: events wait until both are of one lane=0 "
		      "version=2 ours=1");
	rig_listen(&r);
	wait_events(&f, 1);
	finish(&r, &f);
}

/* An acknowledgement of what was never sent ends the session. */
TEST(a_ticket_of_nothing)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	r.sink.withhold = true;
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 1);
	wait_events(&f, 1);
	sink_ack(&r.sink, 12345, VERDICT_ACCEPTED);
	f.sessions = 2;
	wait_for(&f, is_session, "another session");
	wait_events(&f, 1);
	CHECK_STR(sink_text(&r.sink), "1 ");
	finish(&r, &f);
}

TEST(future_cursor)
{
	struct rig r;
	struct fake f;
	uint32_t epoch, first;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	first = subscription(&f)->record.epoch;
	say(&f, "#account", 5000);
	wait_events(&f, 1);
	raw_client_cut(f.client);
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 5000);
	say_error(&f, "FutureCursor");
	wait_again(&f, 2);
	CHECK_INT(asked_cursor(&f), -1);
	epoch = subscription(&f)->record.epoch;
	CHECK(epoch > first);
	CHECK_INT(subscription(&f)->record.resets, 1);
	CHECK_INT(*r.crawler.counters.host_resets, 1);
	say(&f, "#account", 2);
	wait_events(&f, 2);
	CHECK_INT(r.sink.events[1].host_seq, 2);
	CHECK_INT(r.sink.events[1].host_epoch, epoch);
	rig_kill(&r);
	rig_start(&r);
	CHECK_INT(subscription(&f)->record.epoch, epoch);
	finish(&r, &f);
}

/* Without a cursor in the request it is only an error. */
TEST(future_cursor_of_none)
{
	struct rig r;
	struct fake f;
	uint32_t epoch;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	epoch = subscription(&f)->record.epoch;
	say_error(&f, "FutureCursor");
	wait_again(&f, 1);
	CHECK_INT(subscription(&f)->record.epoch, epoch);
	finish(&r, &f);
}

/* A host that lost its state and does not say so: what it numbers anew is not taken for old. */
TEST(numbers_that_went_back_for_good)
{
	struct rig r;
	struct fake f;
	uint32_t epoch, first;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	first = subscription(&f)->record.epoch;
	say_commit(&f, 5000, 0);
	wait_events(&f, 1);
	raw_client_cut(f.client);
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 5000);
	say(&f, "#account", 5);
	say(&f, "#unknown", 6);
	say_commit(&f, 7, 0);
	say(&f, "#account", 8);
	say_commit(&f, 9, 0);
	say_commit(&f, 10, 0);
	wait_again(&f, 2);
	CHECK_INT(asked_cursor(&f), 4);
	epoch = subscription(&f)->record.epoch;
	CHECK(epoch > first);
	CHECK_INT(subscription(&f)->record.resets, 1);
	CHECK_INT(*r.crawler.counters.host_resets, 1);
	CHECK_STR(subscription(&f)->record.error, "its numbers began anew");
	say(&f, "#account", 5);
	say_commit(&f, 7, 0);
	wait_events(&f, 3);
	CHECK_STR(sink_text(&r.sink), "5000 5 7 ");
	CHECK_INT(r.sink.events[2].host_epoch, epoch);
	rig_kill(&r);
	rig_start(&r);
	CHECK_INT(subscription(&f)->record.epoch, epoch);
	CHECK(subscription(&f)->record.has_cursor);
	finish(&r, &f);
}

static bool is_written(void *arg)
{
	struct fake *f = arg;

	return !subscription(f)->changed && subscription(f)->record.anew_count == 2;
}

/* A host whose streams are short, and one that numbers anew while we are restarted. One of its
 * frames is late. */
TEST(numbers_that_went_back_are_noted_over_streams)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say_commit(&f, 5000, 0);
	wait_events(&f, 1);
	raw_client_cut(f.client);
	wait_again(&f, 1);
	say_commit(&f, 8, 0);
	say(&f, "#account", 7);
	say_commit(&f, 9, 0);
	raw_client_cut(f.client);
	wait_again(&f, 2);
	CHECK_INT(asked_cursor(&f), 5000);
	say_commit(&f, 11, 0);
	wait_for(&f, is_written, "the row");
	rig_kill(&r);
	rig_start(&r);
	wait_again(&f, 3);
	CHECK_INT(asked_cursor(&f), 5000);
	CHECK_INT(subscription(&f)->record.resets, 0);
	say_commit(&f, 12, 0);
	wait_again(&f, 4);
	CHECK_INT(asked_cursor(&f), 6);
	CHECK_INT(subscription(&f)->record.resets, 1);
	finish(&r, &f);
}

/* Only the host's own clock counts: one that is behind tells that it numbers anew, and one that is
 * ahead may send again what it sent before. */
TEST(hosts_whose_clocks_are_not_ours)
{
	static const int64_t minute = 60 * (int64_t)USEC_PER_SEC;
	static const struct {
		int64_t age_usec, again_usec;
		uint64_t resets;
	} cases[] = {
		{10 * minute, 10 * minute, 1},
		{10 * minute, 11 * minute, 0},
		{-3 * minute, -3 * minute, 1},
		{-3 * minute, -2 * minute, 0},
		/* It seems to say nothing now, and seems credible when some time has passed. */
		{-7 * minute, -4 * minute, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;
		struct fake f;

		start(&r, &f);
		rig_listen(&r);
		rig_start(&r);
		wait_for(&f, is_reading, "the stream");
		say_commit(&f, 20, cases[i].age_usec);
		wait_events(&f, 1);
		raw_client_cut(f.client);
		wait_again(&f, 1);
		for (int64_t seq = 17; seq < 20; seq++)
			say_commit(&f, seq, cases[i].again_usec);
		if (cases[i].resets == 0) {
			say(&f, "#account", 21);
			wait_events(&f, 2);
		} else {
			wait_again(&f, 2);
			CHECK_INT(asked_cursor(&f), 16);
		}
		CHECK_INT(subscription(&f)->record.resets, cases[i].resets);
		finish(&r, &f);
	}
}

/* What one account says of the far future does not hide for long that its host numbers anew. */
TEST(a_rev_of_the_far_future)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say_commit(&f, 5000, -100 * (int64_t)SUBSCRIPTION_AHEAD_USEC);
	wait_events(&f, 1);
	CHECK(subscription(&f)->record.rev_usec <= clock_usec() + SUBSCRIPTION_AHEAD_USEC);
	finish(&r, &f);
}

/* None of these is a host that numbers anew: it sends again what it sent before, some of it on the
 * same stream; two events are out of order; its clock is not to be believed; the row is broken by a
 * number that rises, or does not rise by itself. */
TEST(numbers_that_did_not_go_back_for_good)
{
	static const int64_t hour = 3600 * (int64_t)USEC_PER_SEC;
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	for (int64_t seq = 10; seq <= 20; seq++)
		say_commit(&f, seq, 1000);
	wait_events(&f, 11);
	for (int64_t seq = 10; seq <= 20; seq++)
		say_commit(&f, seq, hour);
	for (int64_t seq = 1; seq <= 5; seq++)
		say_commit(&f, seq, -hour);
	for (int64_t seq = 3; seq <= 10; seq++)
		say(&f, "#account", seq);
	for (int64_t round = 0; round < 3; round++) {
		say_commit(&f, 12 + 2 * round, 0);
		say_commit(&f, 13 + 2 * round, 0);
		say_commit(&f, 21 + round, 0);
		wait_events(&f, 12 + (size_t)round);
	}
	for (int64_t round = 0; round < 5; round++)
		say_commit(&f, 19, 0);
	say_commit(&f, 24, 0);
	wait_events(&f, 15);
	CHECK_INT(f.requests, 1);
	CHECK_INT(subscription(&f)->record.resets, 0);
	CHECK_INT(dropped(&r, DROP_SEQUENCE), 11 + 5 + 8 + 6 + 5);
	finish(&r, &f);
}

TEST(other_errors_close_the_stream)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 10);
	say_error(&f, "ConsumerTooSlow");
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 10);
	CHECK(strstr(subscription(&f)->record.error, "ConsumerTooSlow") != NULL);
	finish(&r, &f);
}

TEST(broken_cbor_ends_the_stream)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	raw_client_frame(f.client, 0x82, SPAN_LITERAL("\xff\xff"));
	say(&f, "#account", 10);
	wait_again(&f, 1);
	CHECK_INT(dropped(&r, DROP_BAD_CBOR), 1);
	CHECK_INT(r.sink.count, 0);
	finish(&r, &f);
}

/* Its host will send it again behind the same cursor; each stream gets past what was found before.
 */
TEST(broken_cbor_is_passed_in_the_end)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 10);
	for (unsigned n = 1; n <= 3; n++) {
		for (unsigned i = 0; i < 3; i++)
			raw_client_frame(f.client, 0x82, SPAN_LITERAL("\xff\xff"));
		say(&f, "#account", 11);
		wait_again(&f, n);
		CHECK_INT(asked_cursor(&f), 10);
	}
	for (unsigned i = 0; i < 3; i++)
		raw_client_frame(f.client, 0x82, SPAN_LITERAL("\xff\xff"));
	say(&f, "#account", 11);
	wait_events(&f, 2);
	CHECK_STR(sink_text(&r.sink), "10 11 ");
	CHECK_INT(f.requests, 4);
	CHECK_INT(dropped(&r, DROP_BAD_CBOR), 1 + 2 + 3 + 3);
	raw_client_frame(f.client, 0x82, SPAN_LITERAL("\xff\xff")); /* a new one */
	wait_again(&f, 4);
	CHECK_INT(asked_cursor(&f), 11);
	finish(&r, &f);
}

static bool is_paused(void *arg)
{
	struct fake *f = arg;

	return feed_waiter_count(f->rig->crawler.feeds[0]) > 0;
}

static bool has_room(void *arg)
{
	return !is_paused(arg);
}

#define HELD(what) "relay_accounted_bytes{stage=\"ingest\",what=\"" what "\"}"

/* The value of a sample that begins so; -1 if there is none. */
static double sample(struct rig *r, const char *start)
{
	double value = -1;
	struct buf b;

	buf_init(&b, MIB(1));
	metrics_render(r->stage.metrics, &b);
	buf_put_u8(&b, '\0');
	const char *found = strstr((const char *)b.ptr, start);

	if (found && sscanf(found + strlen(start), " %lf", &value) != 1)
		value = -1;
	buf_release(&b);
	return value;
}

/* A full window stops the host, at its socket; room lets it go on; nothing is lost or doubled. */
TEST(a_full_window_stops_the_host)
{
	const int64_t count = 3000;
	size_t acknowledged = 0;
	struct rig r;
	struct fake f;
	struct buf b;

	start(&r, &f);
	r.sink.withhold = true;
	rig_set(&r, "ingest.window=64K");
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	buf_init(&b, MIB(64));
	for (int64_t seq = 1; seq <= count; seq++) {
		buf_clear(&b);
		put_frame(&b, "#account", "did:plc:a", seq, 8000);
		raw_client_frame(f.client, 0x82, buf_span(&b));
	}
	wait_for(&f, is_paused, "the pause");
	CHECK(feed_event_bytes(r.crawler.feeds[0]) <= KIB(64));
	CHECK(sample(&r, "relay_window_bytes{stage=\"ingest\",lane=\"0\"}") > 50000);
	CHECK(sample(&r, "relay_window_events{stage=\"ingest\",lane=\"0\"}") > 5);
	CHECK(sample(&r, "relay_window_age_seconds{stage=\"ingest\",lane=\"0\"}") > 0);
	CHECK(sample(&r, "relay_window_limit_bytes{stage=\"ingest\"}") == KIB(64));
	CHECK(sample(&r, HELD("window")) > 50000);
	CHECK(sample(&r, HELD("window")) < KIB(64) * 3 / 2 + KIB(12));
	CHECK(sample(&r, HELD("connections")) < LIMIT_FRAME + KIB(64));
	CHECK(raw_client_unsent(f.client) > MIB(4));
	while (acknowledged < (size_t)count) {
		wait_events(&f, acknowledged + 1);
		while (acknowledged < r.sink.count)
			sink_ack(&r.sink, r.sink.events[acknowledged++].ticket, VERDICT_ACCEPTED);
	}
	wait_for(&f, has_room, "room");
	wait_for(&f, is_acknowledged, "acknowledgements");
	CHECK(sample(&r, "relay_window_age_seconds{stage=\"ingest\",lane=\"0\"}") == 0);
	CHECK_INT(r.sink.count, count);
	for (int64_t i = 0; i < count; i++)
		if (r.sink.events[i].host_seq != (uint64_t)i + 1)
			test_fail(__FILE__, __LINE__, "place %" PRId64 " has %" PRIu64, i,
				  r.sink.events[i].host_seq);
	CHECK_INT(raw_server_accepted(f.server), 1);
	buf_release(&b);
	finish(&r, &f);
}

static bool is_held(void *arg)
{
	return subscription(arg)->held;
}

/* A host whose events are not finished keeps its share of the window and no more; the others go on.
 */
TEST(one_host_cannot_fill_the_window)
{
	const int64_t count = 200;
	size_t acknowledged = 0, of_first = 0;
	struct rig r;
	struct fake f, other;
	struct buf b;

	rig_init(&r);
	fake_init(&f, &r);
	fake_init(&other, &r);
	rig_set(&r, "ingest.hosts=%s %s", f.name, other.name);
	rig_set(&r, "ingest.window=1M");
	rig_set(&r, "ingest.host_window=64K");
	r.sink.withhold = true;
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	wait_for(&other, is_reading, "the other stream");
	buf_init(&b, MIB(64));
	for (int64_t seq = 1; seq <= count; seq++) {
		buf_clear(&b);
		put_frame(&b, "#account", "did:plc:a", seq, 8000);
		raw_client_frame(f.client, 0x82, buf_span(&b));
	}
	wait_for(&f, is_held, "the host has its share");
	CHECK(subscription(&f)->outstanding_bytes <= KIB(64));
	CHECK(sample(&r, HELD("window")) < KIB(64) * 3 / 2 + KIB(12));
	say(&other, "#account", 1);
	for (bool seen = false; !seen && !test_has_failed();) {
		wait_events(&f, acknowledged + 1);
		for (; acknowledged < r.sink.count; acknowledged++)
			seen |= r.sink.events[acknowledged].host_id != subscription(&f)->host_id;
	}
	CHECK(subscription(&f)->held);
	/* It goes on as its events are finished, and nothing is lost. */
	for (acknowledged = 0; of_first < (size_t)count && !test_has_failed();) {
		wait_events(&f, acknowledged + 1);
		for (; acknowledged < r.sink.count; acknowledged++) {
			of_first += r.sink.events[acknowledged].host_id ==
				    subscription(&f)->host_id;
			sink_ack(&r.sink, r.sink.events[acknowledged].ticket, VERDICT_ACCEPTED);
		}
	}
	wait_for(&f, is_acknowledged, "acknowledgements");
	CHECK_INT(r.sink.count, count + 1);
	CHECK_INT(subscription(&f)->outstanding_bytes, 0);
	CHECK_INT(r.crawler.held_hosts, 0);
	buf_release(&b);
	raw_server_free(other.server);
	finish(&r, &f);
}

#define PESTS        60
#define PEST_BYTES   MIB(2)
#define UNREAD_BYTES ((size_t)MIB(16))
/* Of a connection beside that: itself, and what is in its handshake. */
#define OF_A_PEST    KIB(24)

/* Hosts that each send the beginning of a large message and no more, again whenever they are
 * dialled; all are one server under many names. */
struct pests {
	struct rig *rig;
	struct raw_server *server;
	struct buf part;
	double most; /* that was seen held */
};

static void look(struct pests *p)
{
	double held = sample(p->rig, HELD("connections"));

	p->most = held > p->most ? held : p->most;
}

static bool are_crowded_out(void *arg)
{
	struct pests *p = arg;

	look(p);
	return *p->rig->crawler.counters.failures[END_CROWDED] >= 2 * PESTS;
}

static void pest_request(void *arg, struct raw_client *c, struct span head)
{
	struct pests *p = arg;

	raw_client_accept(c, head);
	raw_client_frame(c, 0x02, buf_span(&p->part));
}

static void pests_init(struct pests *p, struct rig *r, const char *neighbour)
{
	const struct raw_handler h = {pest_request, NULL, NULL, p};
	char path[256], hosts[8192];
	size_t len;
	FILE *out;

	*p = (struct pests){.rig = r};
	buf_init(&p->part, PEST_BYTES);
	memset(buf_extend(&p->part, PEST_BYTES), 0, PEST_BYTES);
	p->server = raw_server_new(r->stage.loop, NULL, NULL, &h);
	snprintf(path, sizeof(path), "%s/hosts.txt", r->folder);
	out = fopen(path, "we");
	CHECK(out != NULL);
	len = (size_t)snprintf(hosts, sizeof(hosts), "%s ", neighbour);
	for (unsigned i = 0; i < PESTS; i++) {
		fprintf(out, "127.0.0.1 h%u.test\n", i);
		len += (size_t)snprintf(hosts + len, sizeof(hosts) - len, "h%u.test:%u ", i,
					raw_server_port(p->server));
	}
	fclose(out);
	rig_set(r, "network.hosts_file=%s", path);
	rig_set(r, "ingest.hosts=%s", hosts);
}

/* Many hosts send more than all together may; a neighbour whose messages come in pieces, too, loses
 * nothing and keeps its stream. */
TEST(what_hosts_leave_unfinished_is_bounded)
{
	const int64_t count = 20;
	struct pests pests;
	struct rig r;
	struct fake f;
	struct buf b;

	rig_init(&r);
	fake_init(&f, &r);
	pests_init(&pests, &r, f.name);
	rig_set(&r, "ingest.unread=%zu", UNREAD_BYTES);
	rig_set(&r, "ingest.backoff_min=20ms");
	rig_set(&r, "ingest.backoff_max=50ms");
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	buf_init(&b, MIB(8));
	for (int64_t seq = 1; seq <= count; seq++) {
		buf_clear(&b);
		put_frame(&b, "#account", "did:plc:a", seq, KIB(300));
		raw_client_frame(f.client, 0x02, span_of(b.ptr, KIB(100)));
		raw_client_frame(f.client, 0x80, span_of(b.ptr + KIB(100), b.len - KIB(100)));
		wait_events(&f, (size_t)seq);
		look(&pests);
	}
	wait_until(r.stage.loop, are_crowded_out, &pests, "pests are ended");
	CHECK(pests.most > UNREAD_BYTES - 2 * PEST_BYTES);
	CHECK(pests.most <= UNREAD_BYTES + (PESTS + 1) * OF_A_PEST + KIB(64));
	CHECK_INT(f.requests, 1);
	CHECK_INT(r.sink.count, count);
	CHECK_INT(subscription(&f)->state, SUBSCRIPTION_READING);
	buf_release(&b);
	buf_release(&pests.part);
	raw_server_free(pests.server);
	finish(&r, &f);
}

static bool has_failed_often(void *arg)
{
	struct fake *f = arg;

	return subscription(f)->backoff.failures > BACKOFF_OFFLINE + 2;
}

static bool has_come_back(void *arg)
{
	struct fake *f = arg;

	return subscription(f)->record.status == HOST_ACTIVE;
}

TEST(offline_is_not_for_ever)
{
	struct rig r;
	struct fake f;
	uint16_t port;

	rig_init(&r);
	f = (struct fake){.rig = &r};
	port = free_port();
	snprintf(f.name, sizeof(f.name), "localhost:%u", port);
	rig_set(&r, "ingest.hosts=%s", f.name);
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, has_failed_often, "failures");
	CHECK_INT(subscription(&f)->record.status, HOST_OFFLINE);
	CHECK_INT(*r.crawler.status_gauges[HOST_OFFLINE], 1);
	CHECK(*r.crawler.counters.failures[END_CONNECT] >= BACKOFF_OFFLINE);
	CHECK(strstr(subscription(&f)->record.error, "refused") != NULL);
	fake_init(&f, &r); /* now it is there, at another port, since this server takes any */
	snprintf(f.name, sizeof(f.name), "localhost:%u", port);
	subscription(&f)->host.port = raw_server_port(f.server);
	wait_for(&f, has_come_back, "the host");
	finish(&r, &f);
}

static bool has_dialled(void *arg)
{
	struct fake *f = arg;

	return raw_server_accepted(f->server) >= CRAWLER_DIALS_MAX &&
	       f->requests >= CRAWLER_DIALS_MAX;
}

TEST(handshakes_under_way_are_bounded)
{
	char path[256], hosts[8192];
	size_t len = 0;
	struct rig r;
	struct fake f;
	FILE *out;

	rig_init(&r);
	fake_init(&f, &r);
	f.mute = true;
	snprintf(path, sizeof(path), "%s/hosts.txt", r.folder);
	out = fopen(path, "we");
	CHECK(out != NULL);
	for (unsigned i = 0; i < 100; i++) {
		fprintf(out, "127.0.0.1 h%u.test\n", i);
		len += (size_t)snprintf(hosts + len, sizeof(hosts) - len, "h%u.test:%u ", i,
					raw_server_port(f.server));
	}
	fclose(out);
	rig_set(&r, "network.hosts_file=%s", path);
	rig_set(&r, "network.plain_hosts=*.test");
	rig_set(&r, "ingest.hosts=%s", hosts);
	rig_listen(&r);
	rig_start(&r);
	CHECK_INT(r.crawler.host_count, 100);
	wait_for(&f, has_dialled, "handshakes");
	CHECK_INT(r.crawler.dials, CRAWLER_DIALS_MAX);
	CHECK_INT(raw_server_accepted(f.server), CRAWLER_DIALS_MAX);
	CHECK(sample(&r, HELD("connections")) > CRAWLER_DIALS_MAX * KIB(1));
	CHECK(sample(&r, HELD("connections")) < CRAWLER_DIALS_MAX * KIB(24));
	finish(&r, &f);
}

#define MANY_HOSTS 3000

TEST(max_hosts)
{
	struct rig r;
	struct fake f;
	struct subscription *s;
	struct host hosts[MANY_HOSTS];
	size_t added = 0;

	start(&r, &f);
	rig_set(&r, "ingest.max_hosts=%u", MANY_HOSTS);
	rig_listen(&r);
	rig_start(&r);
	for (unsigned i = 0; i < MANY_HOSTS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "h%u.test", i);
		CHECK_INT(host_parse(span_str(name), &hosts[i]), 0);
	}
	/* One is there already. */
	CHECK_INT(crawler_add_all(&r.crawler, hosts, MANY_HOSTS, &added), -ENOSPC);
	CHECK_INT(added, MANY_HOSTS - 1);
	CHECK_INT(crawler_add(&r.crawler, &hosts[MANY_HOSTS - 1], &s), -ENOSPC);
	CHECK_INT(r.crawler.host_count, MANY_HOSTS);
	CHECK(sample(&r, HELD("hosts")) > MANY_HOSTS * LIMIT_HOSTNAME);
	CHECK(sample(&r, HELD("hosts")) < MANY_HOSTS * KIB(2));
	finish(&r, &f);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static uint64_t number_of(struct rig *r, const char *name)
{
	struct subscription *s = crawler_find(&r->crawler, span_str(name));

	CHECK(s != NULL);
	return s ? s->record.number : 0;
}

/* What is not written at once is written later, with the number that it was given. */
TEST(a_number_is_given_once_although_the_disk_is_full)
{
	struct rig r;
	struct fake f;
	struct subscription *s;
	struct host first, second;

	start(&r, &f);
	rig_listen(&r);
	rig_start(&r);
	CHECK_INT(host_parse(SPAN_LITERAL("a.test"), &first), 0);
	CHECK_INT(host_parse(SPAN_LITERAL("b.test"), &second), 0);
	limit_files(10);
	CHECK(crawler_add(&r.crawler, &first, &s) < 0);
	limit_files(RLIM_INFINITY);
	CHECK_INT(crawler_add(&r.crawler, &second, &s), 0);
	CHECK(number_of(&r, "b.test") > number_of(&r, f.name));
	rig_kill(&r);
	rig_start(&r);
	CHECK(number_of(&r, "a.test") != number_of(&r, "b.test"));
	finish(&r, &f);
}

/* Stopping waits for what is on its way, and the next process goes on behind it. */
TEST(stopping)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	r.sink.withhold = true;
	rig_set(&r, "ingest.cursor_interval=1h");
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	say(&f, "#account", 1);
	say(&f, "#account", 2);
	wait_events(&f, 2);
	crawler_stop(&r.crawler, rig_stopped, &r);
	wait_for(&f, is_gone, "the end of the stream");
	CHECK(!r.stopped);
	sink_ack(&r.sink, r.sink.events[0].ticket, VERDICT_ACCEPTED);
	sink_ack(&r.sink, r.sink.events[1].ticket, VERDICT_ACCEPTED);
	wait_until(r.stage.loop, rig_has_stopped, &r, "the stop");
	rig_kill(&r);
	rig_start(&r);
	wait_again(&f, 1);
	CHECK_INT(asked_cursor(&f), 2);
	finish(&r, &f);
}

TEST(stopping_with_nothing_on_its_way)
{
	struct rig r;
	struct fake f;

	start(&r, &f);
	rig_start(&r); /* nobody listens on the lane */
	wait_for(&f, is_reading, "the stream");
	crawler_stop(&r.crawler, rig_stopped, &r);
	wait_until(r.stage.loop, rig_has_stopped, &r, "the stop");
	finish(&r, &f);
}

static bool is_resting(void *arg)
{
	struct fake *f = arg;

	return subscription(f)->state == SUBSCRIPTION_RESTING;
}

TEST(asking_shortens_the_wait_once)
{
	struct rig r;
	struct fake f;
	uint64_t soon;

	start(&r, &f);
	rig_set(&r, "ingest.backoff_max=2h");
	rig_set(&r, "ingest.backoff_min=1h");
	rig_listen(&r);
	rig_start(&r);
	wait_for(&f, is_reading, "the stream");
	raw_client_cut(f.client);
	wait_for(&f, is_resting, "the end of the stream");
	for (unsigned times = 0; times < 2; times++) {
		subscription_ask(subscription(&f));
		soon = subscription(&f)->timer.at_usec;
		CHECK(soon <= loop_now_usec(r.stage.loop) + SUBSCRIPTION_ASKED_USEC);
		CHECK(soon >= subscription(&f)->ended_usec + SUBSCRIPTION_ASKED_USEC);
	}
	finish(&r, &f);
}
