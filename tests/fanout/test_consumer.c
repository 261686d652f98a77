#include "fanout/consumer.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fanout/consumers.h"

#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* Consumers of the real server: what they get, and how they end. */

static void check_events(struct stream_client *c, uint64_t from, uint64_t to)
{
	struct stream_frame f;

	for (uint64_t seq = from; seq <= to; seq++) {
		if (stream_read(c, &f) != 1) {
			test_fail(__FILE__, __LINE__, "the stream ended before %" PRIu64, seq);
			return;
		}
		if (f.opcode != 2 || log_maker_seq(f.payload) != seq) {
			test_fail(__FILE__, __LINE__, "no event %" PRIu64, seq);
			return;
		}
	}
}

static void check_text(struct stream_client *c, const char *text)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(c, &f), 1);
	CHECK_INT(f.opcode, 2);
	CHECK(f.payload.len && memmem(f.payload.ptr, f.payload.len, text, strlen(text)));
}

static void check_close(struct stream_client *c, unsigned code)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(c, &f), 1);
	CHECK_INT(f.opcode, 8);
	if (code == 0)
		CHECK_INT(f.payload.len, 0);
	else if (f.payload.len < 2)
		test_fail(__FILE__, __LINE__, "no close code");
	else
		CHECK_INT(f.payload.ptr[0] << 8 | f.payload.ptr[1], code);
}

static void check_end(struct stream_client *c)
{
	struct stream_frame f;

	CHECK_INT(stream_read(c, &f), 0);
}

static void answer_close(struct stream_client *c)
{
	stream_write(c, 0x88, SPAN_LITERAL("\x03\xe8"));
}

static const char *query_of(uint64_t cursor)
{
	static char query[64];

	snprintf(query, sizeof(query), "?cursor=%" PRIu64, cursor);
	return query;
}

/* ---- events ---- */

static void check_every_cursor(const struct server_settings *settings, size_t payload_bytes)
{
	struct stream_client c;
	struct server s;

	server_start(&s, settings);
	server_add(&s, 45, payload_bytes);
	uint64_t first = settings->first_seq, last = s.log.next_seq - 1;
	for (uint64_t cursor = first - 1; cursor <= last; cursor++) {
		CHECK(stream_open(&c, s.port, query_of(cursor), ""));
		check_events(&c, cursor + 1, last);
		stream_close(&c);
	}
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, first, last);
	/* And it goes on live, over the boundary of a file. */
	for (int i = 0; i < 12; i++) {
		server_add(&s, 1, payload_bytes);
		last++;
		check_events(&c, last, last);
	}
	stream_close(&c);
	server_reaches(&s, METRIC("relay_consumers"), 0);
	server_stop(&s);
}

TEST(every_cursor_gives_the_rest_contiguously)
{
	struct server_settings settings = server_ordinary;

	check_every_cursor(&settings, 100);
	settings.first_seq = 1000;
	settings.file_events = 7;
	settings.eager = true;
	check_every_cursor(&settings, 70000);
}

TEST(without_cursor_the_stream_begins_at_the_head)
{
	struct stream_client c, late;
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 25, 200);
	CHECK(stream_open(&c, s.port, "", ""));
	server_add(&s, 3, 200);
	check_events(&c, 26, 28);
	CHECK(stream_open(&late, s.port, "", ""));
	server_add(&s, 10, 200);
	check_events(&c, 29, 38);
	check_events(&late, 29, 38);
	CHECK_INT(server_metric(&s, METRIC("relay_events_sent_total")), 23);
	CHECK_INT(server_metric(&s, METRIC("relay_consumer_lag_events")), 0);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 2);
	stream_close(&c);
	stream_close(&late);
	server_stop(&s);
}

TEST(a_fresh_log_is_live_from_its_first_event)
{
	struct stream_client c, zero;
	struct server s;

	server_start(&s, &server_ordinary);
	server_tell(&s);
	server_becomes(&s, 200);
	CHECK(stream_open(&c, s.port, "", ""));
	CHECK(stream_open(&zero, s.port, "?cursor=0", ""));
	server_add(&s, 12, 200);
	check_events(&c, 1, 12);
	check_events(&zero, 1, 12);
	stream_close(&c);
	stream_close(&zero);
	server_stop(&s);
}

TEST(outdated_and_future_cursors_are_told)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	uint64_t began_usec;
	struct server s;

	settings.first_seq = 100;
	server_start(&s, &settings);
	server_add(&s, 35, 100);
	log_maker_drop(&s.log);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "?cursor=50", ""));
	check_text(&c, "OutdatedCursor");
	check_events(&c, 110, 135);
	stream_close(&c);
	/* One before the oldest misses nothing; and 0 means everything there is. */
	CHECK(stream_open(&c, s.port, "?cursor=109", ""));
	check_events(&c, 110, 135);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 110, 135);
	stream_close(&c);
	/* Not before another replica's consumers could have heard of it here. */
	began_usec = clock_usec();
	CHECK(stream_open(&c, s.port, "?cursor=136", ""));
	check_text(&c, "FutureCursor");
	CHECK(clock_usec() - began_usec >= CONSUMERS_AHEAD_USEC / 2);
	check_close(&c, 1008);
	answer_close(&c);
	check_end(&c);
	stream_close(&c);
	server_reaches(&s, CLOSES("future_cursor"), 1);
	/* The newest is not the future. */
	CHECK(stream_open(&c, s.port, "?cursor=135", ""));
	server_add(&s, 1, 100);
	check_events(&c, 136, 136);
	stream_close(&c);
	server_stop(&s);
}

/* Another replica, which has heard more, gave it the event: it is no cursor of the future, as long
 * as store says nothing. */
TEST(a_cursor_that_is_not_heard_of_yet_is_waited_for)
{
	struct stream_client ahead, exact, future;
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 10, 100);
	server_silence(&s);
	CHECK(stream_open(&ahead, s.port, "?cursor=12", ""));
	CHECK(stream_open(&exact, s.port, "?cursor=15", ""));
	CHECK(stream_open(&future, s.port, "?cursor=16", ""));
	server_add(&s, 5, 100);
	check_events(&ahead, 13, 15);
	check_text(&future, "FutureCursor");
	check_close(&future, 1008);
	server_add(&s, 1, 100);
	check_events(&ahead, 16, 16);
	check_events(&exact, 16, 16);
	CHECK_INT(server_metric(&s, CLOSES("future_cursor")), 0);
	answer_close(&future);
	check_end(&future);
	server_reaches(&s, CLOSES("future_cursor"), 1);
	stream_close(&ahead);
	stream_close(&exact);
	stream_close(&future);
	server_stop(&s);
}

/* So many that a pass over them is followed by a rest: what is logged meanwhile waits, and is not
 * forgotten. */
TEST(many_live_consumers_get_every_event)
{
	static struct stream_client clients[300];
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		CHECK(stream_open(&clients[i], s.port, "", ""));
	for (uint64_t seq = 2; seq <= 20; seq += 2) {
		for (uint64_t i = 0; i < 2; i++) {
			log_maker_add(&s.log, 1, 100);
			server_announce(&s);
		}
		for (size_t i = 0; i < ARRAY_SIZE(clients) && !test_has_failed(); i++)
			check_events(&clients[i], seq, seq + 1);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_close(&clients[i]);
	server_stop(&s);
}

TEST(a_slow_reader_gets_everything_while_the_log_grows)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	struct stream_frame f;
	struct server s;

	settings.file_events = 50;
	server_start(&s, &settings);
	server_add(&s, 200, 50000);
	CHECK(stream_open_slow(&c, s.port, "?cursor=0"));
	/* It reads slower than the log grows, until the log stops growing. */
	for (uint64_t seq = 1; seq <= 1000 && !test_has_failed(); seq++) {
		if (seq <= 400)
			server_add(&s, 2, 30000);
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(log_maker_seq(f.payload), seq);
	}
	server_reaches(&s, METRIC("relay_consumer_lag_events"), 0);
	stream_close(&c);
	server_stop(&s);
}

/* Its socket takes more only now and then, but it never stops. */
TEST(a_slow_reader_makes_progress_as_long_as_it_reads)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	struct server s;

	settings.progress_usec = 400 * USEC_PER_MSEC;
	settings.ping_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 200, 100000);
	CHECK(stream_open_slow(&c, s.port, "?cursor=0"));
	for (int i = 0; i < 40; i++) {
		uint8_t some[2048];
		ssize_t n = recv(c.fd, some, sizeof(some), 0);

		CHECK(n > 0);
		buf_append(&c.in, span_of(some, n > 0 ? (size_t)n : 0));
		usleep(50000); /* the reader's pace, and nothing that is waited for */
	}
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	check_events(&c, 1, 200);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_consumer_that_reads_nothing_is_cut_off_and_others_go_on)
{
	struct server_settings settings = server_ordinary;
	struct stream_client stuck, good;
	struct server s;

	settings.progress_usec = 400 * USEC_PER_MSEC;
	settings.file_events = 1000;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_open_slow(&stuck, s.port, ""));
	CHECK(stream_open(&good, s.port, "", ""));
	uint64_t read = 1;
	while (server_metric(&s, CLOSES("stalled")) == 0 && read < 100000 && !test_has_failed()) {
		server_add(&s, 10, 100000);
		check_events(&good, read + 1, read + 10);
		read += 10;
	}
	/* The kernel took no more for the one that is stuck; an event has 100 bytes at most besides
	 * its payload. */
	CHECK(server_metric(&s, METRIC("relay_bytes_sent_total")) <=
	      (int64_t)(read * (100000 + 100) + CONSUMER_UNSENT_BYTES));
	CHECK_INT(server_metric(&s, CLOSES("stalled")), 1);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	server_add(&s, 1, 100);
	check_events(&good, read + 1, read + 1);
	stream_close(&stuck);
	stream_close(&good);
	server_stop(&s);
}

/* Whoever wakes up within the time for closing is told. */
TEST(a_consumer_that_reads_again_too_late_is_told)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 1;

	settings.progress_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 200, 100000);
	CHECK(stream_open_slow(&c, s.port, "?cursor=0"));
	server_reaches(&s, METRIC("relay_consumers_closing"), 1);
	for (; stream_read(&c, &f) == 1 && log_maker_seq(f.payload) == seq; seq++)
		;
	CHECK(seq < 200);
	CHECK(test_contains(f.payload, "ConsumerTooSlow"));
	check_close(&c, 1008);
	answer_close(&c);
	check_end(&c);
	server_reaches(&s, CLOSES("stalled"), 1);
	stream_close(&c);
	server_stop(&s);
}

/* It reads the rest of what it has open; what comes then is gone. */
TEST(a_consumer_that_fell_out_of_the_window_is_told)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 0, got = 0;

	settings.file_events = 200;
	server_start(&s, &settings);
	server_add(&s, 450, 100000);
	CHECK(stream_open_slow(&c, s.port, "?cursor=0"));
	check_events(&c, 1, 1);
	log_maker_drop(&s.log);
	log_maker_drop(&s.log);
	server_add(&s, 1, 100);
	for (seq = 2; seq <= 200; seq++) {
		CHECK_INT(stream_read(&c, &f), 1);
		got = log_maker_seq(f.payload);
		if (got != seq)
			break;
	}
	CHECK_INT(seq, 201);
	check_text(&c, "ConsumerTooSlow");
	check_close(&c, 1008);
	answer_close(&c);
	check_end(&c);
	server_reaches(&s, CLOSES("fell_behind"), 1);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_log_that_begins_anew_closes_all_and_is_served)
{
	struct stream_client c;
	struct server s;
	char folder[128];

	server_start(&s, &server_ordinary);
	server_add(&s, 25, 100);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 25);
	log_maker_drop(&s.log);
	log_maker_drop(&s.log);
	log_maker_release(&s.log);
	snprintf(folder, sizeof(folder), "%s", s.log.folder);
	log_maker_init(&s.log, folder, 1, 10, false);
	server_add(&s, 5, 300);
	check_close(&c, 1012);
	answer_close(&c);
	check_end(&c);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 5);
	stream_close(&c);
	CHECK_INT(server_metric(&s, CLOSES("log_reset")), 1);
	server_stop(&s);
}

TEST(stopping_closes_everybody_on_a_boundary)
{
	struct stream_client live, behind;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 0;

	server_start(&s, &server_ordinary);
	server_add(&s, 200, 100000);
	CHECK(stream_open(&live, s.port, "", ""));
	CHECK(stream_open_slow(&behind, s.port, "?cursor=0"));
	check_events(&behind, 1, 1);
	server_ask_to_stop(&s);
	check_close(&live, 1012);
	answer_close(&live);
	check_end(&live);
	for (seq = 2; stream_read(&behind, &f) == 1 && f.opcode == 2; seq++)
		CHECK_INT(log_maker_seq(f.payload), seq);
	CHECK_INT(f.opcode, 8);
	answer_close(&behind);
	check_end(&behind);
	stream_close(&live);
	stream_close(&behind);
	server_wait(&s);
}

/* One after another, the first to come last; and until then each gets what comes. */
TEST(stopping_is_spread_over_its_time)
{
	static struct stream_client clients[100];
	struct server_settings settings = server_ordinary;
	uint64_t began_usec;
	struct server s;

	settings.drain_usec = 60 * USEC_PER_SEC;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		CHECK(stream_open(&clients[i], s.port, "", ""));
	server_reaches(&s, METRIC("relay_consumers"), ARRAY_SIZE(clients));
	began_usec = clock_usec();
	server_ask_to_stop(&s);
	check_close(&clients[ARRAY_SIZE(clients) - 1], 1012);
	server_add(&s, 1, 100);
	check_events(&clients[0], 2, 2);
	check_close(&clients[0], 1012);
	/* A hundred a second, however long it might take. */
	CHECK(clock_usec() - began_usec >= 900 * USEC_PER_MSEC);
	CHECK(clock_usec() - began_usec < 30 * USEC_PER_SEC);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_close(&clients[i]);
	server_wait(&s);
}

TEST(stopping_takes_no_longer_than_its_time)
{
	static struct stream_client clients[300];
	struct server_settings settings = server_ordinary;
	struct server s;

	settings.drain_usec = 0;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		CHECK(stream_open(&clients[i], s.port, "", ""));
	server_reaches(&s, METRIC("relay_consumers"), ARRAY_SIZE(clients));
	server_ask_to_stop(&s);
	/* All in one turn: whoever was asked before cannot have ended one of them. */
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), ARRAY_SIZE(clients));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		check_close(&clients[i], 1012);
		stream_close(&clients[i]);
	}
	server_wait(&s);
}

TEST(stopping_does_not_wait_for_who_does_not_read)
{
	struct stream_client stuck;
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 300, 100000);
	CHECK(stream_open_slow(&stuck, s.port, "?cursor=0"));
	server_stop(&s);
	stream_close(&stuck);
}

/* ---- control frames ---- */

TEST(pings_are_answered_between_messages)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 2;
	unsigned pongs = 0;

	settings.file_events = 1000;
	server_start(&s, &settings);
	server_add(&s, 10, 3000000);
	/* The socket holds less than one message, so that the ping comes in the middle of one. */
	CHECK(stream_open_slow(&c, s.port, "?cursor=0"));
	check_events(&c, 1, 1);
	stream_write(&c, 0x89, SPAN_LITERAL("first"));
	while (seq <= 10 && stream_read(&c, &f) == 1) {
		if (f.opcode == 10)
			pongs++;
		else if (log_maker_seq(f.payload) != seq++)
			break;
	}
	CHECK_INT(seq, 11);
	/* When it is quiet, each is answered, with what it said. */
	if (pongs == 0)
		CHECK_INT(stream_read(&c, &f), 1);
	for (int i = 0; i < 3; i++) {
		stream_write(&c, 0x89, SPAN_LITERAL("again"));
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(f.opcode, 10);
		CHECK_SPAN(f.payload, SPAN_LITERAL("again"));
	}
	stream_close(&c);
	server_stop(&s);
}

TEST(a_quiet_consumer_is_pinged_and_stays_if_it_answers)
{
	struct server_settings settings = server_ordinary;
	struct stream_client c, silent;
	struct stream_frame f = {0};
	struct server s;

	settings.ping_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	CHECK(stream_open(&silent, s.port, "", ""));
	/* Longer than the silent one is let live. */
	for (int pings = 0; pings < 4 && !test_has_failed(); pings++) {
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(f.opcode, 9);
		stream_write(&c, 0x8a, f.payload);
	}
	server_reaches(&s, CLOSES("silent"), 1);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	server_add(&s, 1, 100);
	do {
		CHECK_INT(stream_read(&c, &f), 1);
	} while (f.opcode == 9 && !test_has_failed());
	CHECK_INT(log_maker_seq(f.payload), 2);
	stream_close(&c);
	stream_close(&silent);
	server_stop(&s);
}

TEST(what_consumers_must_not_send_ends_them)
{
	static const struct {
		const char *name;
		struct span bytes;
		unsigned code;
		const char *metric;
	} cases[] = {
		{"unmasked", SPAN_LITERAL("\x89\x00"), 1002, CLOSES("protocol")},
		{"a message of a megabyte",
		 SPAN_LITERAL("\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00\x01\x02\x03\x04"), 1009,
		 CLOSES("too_big")},
		{"close with a code", SPAN_LITERAL("\x88\x82\x00\x00\x00\x00\x03\xe9"), 1001,
		 CLOSES("closed")},
		{"close", SPAN_LITERAL("\x88\x80\x00\x00\x00\x00"), 0, CLOSES("closed")},
	};
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t before = server_metric(&s, cases[i].metric);

		CHECK(stream_open(&c, s.port, "", ""));
		stream_send(&c, cases[i].bytes);
		check_close(&c, cases[i].code);
		stream_close(&c);
		server_reaches(&s, cases[i].metric, before + 1);
	}
	server_stop(&s);
}

/* Pings that are worth nothing each, and come without end; who pings now and then stays. */
TEST(a_flood_of_pings_is_ended)
{
	struct stream_client c, good;
	struct stream_frame f = {0};
	struct buf flood;
	struct server s;
	size_t sent = 0;

	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	CHECK(stream_open(&good, s.port, "", ""));
	buf_init(&flood, KIB(64));
	for (size_t i = 0; i < 1000; i++)
		buf_append(&flood, SPAN_LITERAL("\x89\x80\x00\x00\x00\x00"));
	/* It is let go on for a while, and answered. */
	for (; sent <= CONSUMER_INPUT_BYTES - flood.len; sent += flood.len)
		stream_send(&c, buf_span(&flood));
	CHECK_INT(stream_read(&c, &f), 1);
	CHECK_INT(f.opcode, 10);
	while (send(c.fd, flood.ptr, flood.len, MSG_NOSIGNAL) > 0 &&
	       server_metric(&s, CLOSES("flood")) == 0 && sent < MIB(64))
		sent += flood.len;
	server_reaches(&s, CLOSES("flood"), 1);
	for (int i = 0; i < 100; i++)
		stream_write(&good, 0x89, SPAN_LITERAL("ping"));
	CHECK_INT(stream_read(&good, &f), 1);
	CHECK_INT(f.opcode, 10);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	stream_close(&c);
	stream_close(&good);
	buf_release(&flood);
	server_stop(&s);
}

TEST(an_endless_message_is_refused_and_small_ones_are_ignored)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	for (int i = 0; i < 100; i++)
		stream_write(&c, 0x81, SPAN_LITERAL("hello"));
	server_add(&s, 1, 100);
	check_events(&c, 2, 2);
	stream_write(&c, 0x01, SPAN_LITERAL("x"));
	for (int i = 0; i < 200; i++)
		stream_write(&c, 0x00, SPAN_LITERAL("x"));
	check_close(&c, 1009);
	stream_close(&c);
	server_stop(&s);
}
