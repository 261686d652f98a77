#include "fanout/consumer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* A thousand at a time of those who mean no good: all are ended, what they cost is bounded, and
 * somebody who reads gets every event meanwhile. */

#define MANY          1000
/* KiB of the process, over what it has with nobody there: for all, and for each. */
#define GROWTH_KB     2048
#define CONSUMER_KB   2
#define CONNECTION_KB 18 /* libmicrohttpd's pool */

struct scene {
	struct server server;
	struct stream_client good;
	uint64_t seq; /* the last that it has */
	struct stream_client many[MANY];
	int64_t before_kb, most_kb;
	uint64_t slowest_usec;
};

static int64_t resident_kb(const struct scene *s)
{
	char path[64], line[256];
	int64_t kb = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)s->server.pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %" SCNd64, &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

/* One more event, which whoever is good gets, and all memory there is. */
static void turn(struct scene *s)
{
	struct stream_frame f = {0};
	uint64_t since = clock_usec(), took;
	int64_t kb;

	server_add(&s->server, 1, 2000);
	do {
		CHECK_INT(stream_read(&s->good, &f), 1);
		if (f.opcode == 9)
			stream_write(&s->good, 0x8a, f.payload);
	} while (f.opcode == 9);
	CHECK_INT(log_maker_seq(f.payload), ++s->seq);
	took = clock_usec() - since;
	s->slowest_usec = took > s->slowest_usec ? took : s->slowest_usec;
	kb = resident_kb(s);
	s->most_kb = kb > s->most_kb ? kb : s->most_kb;
}

static void open_scene(struct scene *s, const struct server_settings *settings)
{
	server_raise_limit();
	server_start(&s->server, settings);
	server_add(&s->server, 100, 50000);
	s->seq = 100;
	s->slowest_usec = 0;
	CHECK(stream_open(&s->good, s->server.port, "", ""));
	turn(s);
	s->before_kb = s->most_kb = resident_kb(s);
}

static void close_scene(struct scene *s, int64_t each_kb)
{
	printf("# %" PRId64 " KiB before, %" PRId64 " at most; the slowest event took %" PRIu64
	       " ms\n",
	       s->before_kb, s->most_kb, s->slowest_usec / USEC_PER_MSEC);
#ifdef __SANITIZE_ADDRESS__
	(void)each_kb;
#else
	CHECK(s->most_kb - s->before_kb < GROWTH_KB + MANY * each_kb);
#endif
	CHECK_INT(server_metric(&s->server, METRIC("relay_consumers")), 1);
	for (size_t i = 0; i < MANY; i++)
		stream_close(&s->many[i]);
	stream_close(&s->good);
	server_stop(&s->server);
}

static struct server_settings many_settings(void)
{
	struct server_settings settings = server_ordinary;

	settings.max = 2 * MANY;
	settings.file_events = 100000;
	return settings;
}

/* Turns until that many have ended so, at most for all the patience there is. */
static void wait_ends(struct scene *s, const char *sample, int64_t wanted)
{
	uint64_t until = clock_usec() + 100 * USEC_PER_SEC;
	int64_t got;

	while ((got = server_metric(&s->server, sample)) < wanted && clock_usec() < until &&
	       !test_has_failed())
		turn(s);
	CHECK_INT(got, wanted);
}

TEST(a_thousand_that_stop_reading)
{
	static struct scene s;
	struct server_settings settings = many_settings();

	settings.progress_usec = 2 * USEC_PER_SEC;
	open_scene(&s, &settings);
	for (size_t i = 0; i < MANY; i++) {
		CHECK(stream_open_slow(&s.many[i], s.server.port, "?cursor=0"));
		if (i % 50 == 0)
			turn(&s);
	}
	wait_ends(&s, CLOSES("stalled"), MANY);
	close_scene(&s, CONSUMER_KB);
}

TEST(a_thousand_that_say_nothing)
{
	static struct scene s;
	struct server_settings settings = many_settings();

	settings.ping_usec = 1 * USEC_PER_SEC;
	open_scene(&s, &settings);
	for (size_t i = 0; i < MANY; i++) {
		CHECK(stream_open(&s.many[i], s.server.port, "", ""));
		shutdown(s.many[i].fd, SHUT_RD);
		if (i % 50 == 0)
			turn(&s);
	}
	/* Events are acknowledged by their kernels; they do not go on once there are none. */
	for (uint64_t until = clock_usec() + 100 * USEC_PER_SEC;
	     server_metric(&s.server, CLOSES("silent")) < MANY && clock_usec() < until;) {
		struct stream_frame f = {0};

		CHECK_INT(stream_read(&s.good, &f), 1);
		CHECK_INT(f.opcode, 9);
		stream_write(&s.good, 0x8a, f.payload);
	}
	CHECK_INT(server_metric(&s.server, CLOSES("silent")), MANY);
	turn(&s);
	close_scene(&s, CONSUMER_KB);
}

/* Connections without a request; more than that many would have to wait for room. */
TEST(a_thousand_that_ask_nothing)
{
	static struct scene s;
	struct server_settings settings = many_settings();
	struct buf answer;

	settings.request_usec = 2 * USEC_PER_SEC;
	open_scene(&s, &settings);
	buf_init(&answer, MIB(1));
	for (size_t i = 0; i < MANY; i++) {
		stream_connect(&s.many[i], s.server.port, 0);
		if (i % 50 == 0)
			turn(&s);
	}
	CHECK_INT(http_ask(s.server.port, "GET", "/_health", "", "", &answer), 200);
	for (size_t i = 0; i < MANY; i++) {
		CHECK_INT(stream_rest(&s.many[i]).len, 0);
		if (i % 50 == 0)
			turn(&s);
	}
	buf_release(&answer);
	close_scene(&s, CONNECTION_KB);
}

static void send_garbage(struct stream_client *c, size_t bytes)
{
	uint8_t garbage[4096];

	for (size_t sent = 0; sent < bytes; sent += sizeof(garbage)) {
		for (size_t i = 0; i < sizeof(garbage); i += sizeof(uint64_t)) {
			uint64_t random = test_random();

			memcpy(garbage + i, &random, sizeof(random));
		}
		/* It may have been cut off by now, or not be read. */
		if (send(c->fd, garbage, sizeof(garbage), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			return;
	}
}

TEST(a_thousand_that_send_garbage)
{
	static struct scene s;
	struct server_settings settings = many_settings();

	settings.request_usec = 10 * USEC_PER_SEC;
	open_scene(&s, &settings);
	for (size_t i = 0; i < MANY; i++) {
		bool is_consumer = i % 2;

		if (is_consumer)
			CHECK(stream_open(&s.many[i], s.server.port, "", ""));
		else
			stream_connect(&s.many[i], s.server.port, 0);
		send_garbage(&s.many[i], KIB(256));
		if (i % 50 == 0)
			turn(&s);
	}
	/* Whatever they are told, they are told that it is over. */
	for (size_t i = 0; i < MANY && !test_has_failed(); i++) {
		stream_rest(&s.many[i]);
		if (i % 50 == 0)
			turn(&s);
	}
	server_reaches(&s.server, METRIC("relay_consumers"), 1);
	close_scene(&s, CONNECTION_KB);
}
