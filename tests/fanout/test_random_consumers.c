#include "fanout/consumer.h"

#include <stdlib.h>

#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/*
 * Whatever happens, a consumer gets exactly the log's messages after its cursor, byte for byte: for
 * random cursors, speeds, sizes of messages, restarts of the server, boundaries of files, retention
 * and blanking. What it should get is known from the log alone, beside what fanout thinks.
 */

#define CONSUMERS  12
#define STEPS      1500
#define EVENTS_MAX 200000
#define FILES_MAX  20 /* kept; the oldest go */

struct reader_of_stream {
	struct stream_client client;
	bool is_open;
	bool info_due;     /* #info OutdatedCursor comes first */
	bool has_cursor;   /* it has been somewhere, and comes back there */
	uint64_t next_seq; /* of the event that comes next */
};

struct scene {
	struct server server;
	struct server_settings settings;
	struct reader_of_stream readers[CONSUMERS];
	uint32_t sizes[EVENTS_MAX]; /* of payloads, by number */
	bool blanked[EVENTS_MAX];
	uint64_t events, infos, futures, slow, restarts, blanks, drops;
};

static uint64_t below(uint64_t n)
{
	return test_random() % n;
}

static void add_events(struct scene *s, size_t count)
{
	/* Most are small, and some larger than what a socket takes at once. */
	size_t bytes = LOG_MAKER_PAYLOAD_MIN + below(below(8) ? 4000 : 400000);
	struct log_maker *m = &s->server.log;

	if (m->next_seq + count >= EVENTS_MAX)
		return;
	for (size_t i = 0; i < count; i++)
		s->sizes[m->next_seq + i] = (uint32_t)bytes;
	server_add(&s->server, count, bytes);
}

/* Retention. What is told with the next event is what new consumers are told. */
static void drop_files(struct scene *s)
{
	struct log_maker *m = &s->server.log;

	for (size_t n = below(3); (n > 0 || m->file_count > FILES_MAX) && m->file_count > 1;
	     n -= n > 0) {
		log_maker_drop(m);
		s->drops++;
	}
	add_events(s, 1);
}

static void blank_one(struct scene *s)
{
	struct log_maker *m = &s->server.log;
	uint64_t first = m->firsts[0];

	if (m->next_seq == first)
		return;
	uint64_t seq = first + below(m->next_seq - first);

	s->blanked[seq] = true;
	log_maker_blank(m, seq);
	s->blanks++;
}

/* ---- consumers ---- */

static void leave(struct reader_of_stream *r)
{
	stream_close(&r->client);
	r->is_open = false;
}

/* A cursor, most of them where something is about to go wrong. false: none. */
static bool draw_cursor(const struct scene *s, uint64_t *ret)
{
	const struct log_maker *m = &s->server.log;
	uint64_t file = m->firsts[below(m->file_count)];

	switch (below(8)) {
	case 0:
		return false;
	case 1:
		*ret = 0;
		break;
	case 2: /* around the boundary of a file */
		*ret = file - 2 + below(4);
		break;
	case 3: /* around the oldest */
		*ret = m->firsts[0] - 2 + below(4);
		break;
	case 4: /* around the newest, and ahead */
		*ret = m->next_seq - 2 + below(4);
		break;
	case 5: /* long ago */
		*ret = 1 + below(m->firsts[0]);
		break;
	default:
		*ret = m->firsts[0] + below(m->next_seq - m->firsts[0] + 1);
	}
	return true;
}

static void check_future(struct scene *s, struct reader_of_stream *r)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(&r->client, &f), 1);
	CHECK(test_contains(f.payload, "FutureCursor"));
	CHECK_INT(stream_read(&r->client, &f), 1);
	CHECK_INT(f.opcode, 8);
	s->futures++;
	leave(r);
}

static void come(struct scene *s, struct reader_of_stream *r)
{
	const struct log_maker *m = &s->server.log;
	uint64_t cursor = r->has_cursor ? r->next_seq - 1 : 0;
	bool given = r->has_cursor || draw_cursor(s, &cursor);
	char query[64] = "";

	if (given)
		snprintf(query, sizeof(query), "?cursor=%" PRIu64, cursor);
	stream_connect(&r->client, s->server.port, below(2) ? 4096 : 0);
	CHECK(stream_handshake(&r->client, query, ""));
	r->is_open = true;
	r->info_due = given && cursor > 0 && cursor + 1 < m->firsts[0];
	if (given && cursor > 0 && cursor >= m->next_seq) {
		check_future(s, r);
		return;
	}
	r->next_seq = !given ? m->next_seq : cursor + 1 < m->firsts[0] ? m->firsts[0] : cursor + 1;
	r->has_cursor = true;
}

static void check_event(struct scene *s, struct reader_of_stream *r, struct span payload)
{
	if (payload.len != s->sizes[r->next_seq] ||
	    !log_maker_is(r->next_seq, payload, s->blanked[r->next_seq]))
		test_fail(__FILE__, __LINE__,
			  "not event %" PRIu64 " of %u bytes: %zu bytes, event %" PRIu64,
			  r->next_seq, s->sizes[r->next_seq], payload.len, log_maker_seq(payload));
	r->next_seq++;
	s->events++;
}

/* One frame. false: the stream has ended, which it may only as it should. */
static bool read_one(struct scene *s, struct reader_of_stream *r, bool stops)
{
	struct stream_frame f = {0};

	if (stream_read(&r->client, &f) != 1) {
		CHECK(stops);
		return false;
	}
	if (f.opcode == 8) {
		CHECK(stops);
		return false;
	}
	if (r->info_due) {
		CHECK(test_contains(f.payload, "OutdatedCursor"));
		r->info_due = false;
		s->infos++;
	} else if (r->next_seq < s->server.log.firsts[0] &&
		   test_contains(f.payload, "ConsumerTooSlow")) {
		/* It may have gone on in what it had open, and has not. */
		s->slow++;
		return false;
	} else {
		check_event(s, r, f.payload);
	}
	return !test_has_failed();
}

/* At most what is there. */
static void read_some(struct scene *s, struct reader_of_stream *r, uint64_t most)
{
	while (most-- > 0 && (r->info_due || r->next_seq < s->server.log.next_seq))
		if (!read_one(s, r, false)) {
			leave(r);
			return;
		}
}

static void step_reader(struct scene *s, struct reader_of_stream *r)
{
	if (!r->is_open) {
		/* Some come back, others are new. */
		r->has_cursor = r->has_cursor && below(4) > 0;
		come(s, r);
	} else if (below(20) == 0) {
		leave(r);
	} else {
		read_some(s, r, 1 + below(below(4) ? 20 : 300));
	}
}

/* Everybody takes what comes until its end, and comes back with what it has. */
static void restart(struct scene *s)
{
	server_ask_to_stop(&s->server);
	for (size_t i = 0; i < CONSUMERS; i++) {
		struct reader_of_stream *r = &s->readers[i];

		while (r->is_open && read_one(s, r, true))
			;
		if (r->is_open)
			leave(r);
	}
	server_succeed(&s->server, &s->settings);
	s->restarts++;
}

static void step(struct scene *s)
{
	uint64_t what = below(200);

	if (what < 50)
		add_events(s, 1 + below(30));
	else if (what < 55)
		drop_files(s);
	else if (what < 65)
		blank_one(s);
	else if (what < 67)
		restart(s);
	else
		step_reader(s, &s->readers[below(CONSUMERS)]);
	if (s->server.log.file_count > FILES_MAX)
		drop_files(s);
}

TEST(each_gets_exactly_what_follows_its_cursor)
{
	struct scene *s = xcalloc(1, sizeof(*s));

	s->settings = server_ordinary;
	s->settings.first_seq = 100;
	s->settings.file_events = 1 + below(40);
	s->settings.eager = below(2);
	s->settings.drain_usec = below(2) * 50 * USEC_PER_MSEC;
	server_start(&s->server, &s->settings);
	add_events(s, 20);
	for (unsigned i = 0; i < STEPS && !test_has_failed(); i++)
		step(s);
	/* To the end, each. */
	for (size_t i = 0; i < CONSUMERS && !test_has_failed(); i++) {
		struct reader_of_stream *r = &s->readers[i];

		if (!r->is_open)
			continue;
		read_some(s, r, UINT64_MAX);
		if (r->is_open) {
			CHECK_INT(r->next_seq, s->server.log.next_seq);
			leave(r);
		}
	}
	printf("# %" PRIu64 " events, %" PRIu64 " outdated, %" PRIu64 " future, %" PRIu64
	       " too slow, %" PRIu64 " restarts, %" PRIu64 " blanked, %" PRIu64 " files dropped\n",
	       s->events, s->infos, s->futures, s->slow, s->restarts, s->blanks, s->drops);
	CHECK(s->events > 1000 && s->restarts > 0 && s->drops > 0 && s->blanks > 0);
	server_stop(&s->server);
	free(s);
}
