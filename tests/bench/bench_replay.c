/*
 * How fast the simulated network replays a corpus, with nothing between its hosts and their
 * readers: real frames, each to the reader of its host, all in this process and thread. It has to
 * be far from what limits a measurement of a relay, and the bench fails if it is not.
 */
#include <arpa/inet.h>

#include "tests/bench/bench.h"
#include "tests/lib/wait.h"
#include "tests/simnet/player.h"
#include "tests/simnet/reader.h"
#include "tests/simnet/traffic.h"

#define HOSTS       50
#define ACCOUNTS    2000
#define EVENTS      40000
#define RUNS        3
#define PER_SEC_MIN 20000

struct replay {
	struct loop *loop;
	struct network *network;
	struct player *player;
	struct stream_reader *readers[HOSTS];
	uint64_t received, bytes;
};

static void take_frame(void *arg, struct span frame)
{
	struct replay *p = arg;

	p->received++;
	p->bytes += frame.len;
}

static void fail(void *arg)
{
	(void)arg;
	test_fail(__FILE__, __LINE__, "a stream ended");
}

static bool are_open(void *arg)
{
	const struct replay *p = arg;

	for (size_t i = 0; i < HOSTS; i++)
		if (!stream_reader_is_open(p->readers[i]))
			return false;
	return true;
}

static bool is_over(void *arg)
{
	const struct replay *p = arg;

	return player_is_done(p->player) && p->received >= player_sent(p->player);
}

static void open_readers(struct replay *p, const struct world *w)
{
	const struct reader_handler h = {take_frame, fail, p};

	for (uint32_t i = 0; i < HOSTS; i++) {
		const struct sockaddr_in address = {.sin_family = AF_INET,
						    .sin_port = htons(world_settings(w)->port),
						    .sin_addr = world_address(w, i)};

		p->readers[i] = stream_reader_new(p->loop, (const struct sockaddr *)&address, 0,
						  &h);
	}
	wait_until(p->loop, are_open, p, "all streams");
}

/* All of the corpus, with a network of its own. */
static void replay_once(struct corpus *c, double *ret_per_sec, double *ret_usec)
{
	struct world_settings settings = c->settings;
	struct replay p = {.loop = loop_new()};
	struct world *w;
	uint64_t wall, cpu;

	settings.port = free_port();
	w = world_new(&settings);
	p.network = network_new(p.loop, w);
	corpus_rewind(c);
	p.player = player_new(p.loop, c, w, p.network, NULL, 0);
	open_readers(&p, w);
	wall = bench_wall_nsec();
	cpu = bench_process_nsec();
	player_start(p.player);
	wait_until(p.loop, is_over, &p, "all events");
	wall = bench_wall_nsec() - wall;
	cpu = bench_process_nsec() - cpu;
	CHECK_INT(p.received, c->events);
	*ret_per_sec = (double)c->events / ((double)wall / 1e9);
	*ret_usec = (double)cpu / 1000 / (double)c->events;
	bench_say("%.0f bytes an event", (double)p.bytes / (double)p.received);
	for (size_t i = 0; i < HOSTS; i++)
		stream_reader_free(p.readers[i]);
	player_free(p.player);
	network_free(p.network);
	world_free(w);
	loop_free(p.loop);
}

TEST(replay)
{
	const struct world_settings world = {
		.seed = 6, .hosts = HOSTS, .accounts = ACCOUNTS, .plain = true};
	double per_sec[RUNS], usec[RUNS];
	struct traffic_settings traffic;
	struct corpus corpus;
	unsigned enough = 0;

	bench_begin("replay");
	traffic_defaults(EVENTS, &traffic);
	bench_setting("corpus", "%d events of %d accounts on %d plain hosts", EVENTS, ACCOUNTS,
		      HOSTS);
	CHECK_INT(corpus_open(traffic_corpus(&world, &traffic), &corpus), 0);
	for (size_t i = 0; i < RUNS; i++) {
		replay_once(&corpus, &per_sec[i], &usec[i]);
		enough += per_sec[i] >= PER_SEC_MIN;
	}
	bench_figure("replay.events_per_s", "1/s", per_sec, RUNS);
	bench_figure("replay.us_per_event", "us", usec, RUNS);
	CHECK(enough > RUNS / 2); /* the median */
	bench_end();
	corpus_close(&corpus);
}
