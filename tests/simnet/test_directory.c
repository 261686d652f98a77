/*
 * A relay whose directory is slow, fails, or wants to be asked less: every event comes out in the
 * end, once and in order, and the directory is asked hardly more than it would be if it were well.
 * Some accounts have a did:web, whose documents are with the hosts.
 */
#include "tests/simnet/player.h"
#include "tests/simnet/relay.h"
#include "tests/simnet/traffic.h"
#include "tests/test.h"

#define HOSTS       10
#define ACCOUNTS    400
#define EVENTS      2000
#define CONCURRENCY 16
#define PER_SEC     40 /* requests of a relay that keeps to a rate */

struct stage {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct corpus corpus;
	struct judge *judge;
	struct judge_reader *judged;
	struct player *player;
	struct group_test *group;
	struct stream_reader *reader;
};

/* DIDs of did:web hold the port, and so do the commits: this corpus is for this run. */
static void write_corpus(struct stage *s, const struct world_settings *world)
{
	struct traffic_settings traffic;
	struct corpus_writer *writer;
	char path[256];

	traffic_defaults(EVENTS, &traffic);
	traffic.active = ACCOUNTS;
	traffic.all_first = true;
	snprintf(path, sizeof(path), "%s/corpus", test_folder());
	writer = corpus_writer_open(path, world);
	traffic_write(s->world, &traffic, writer);
	corpus_writer_close(writer);
	CHECK_INT(corpus_open(path, &s->corpus), 0);
}

static void stage_open(struct stage *s)
{
	const struct world_settings world = {
		.seed = test_random(),
		.hosts = HOSTS,
		.accounts = ACCOUNTS,
		.port = free_port(),
		.p256_percent = 10,
		.web_percent = 25,
	};

	*s = (struct stage){.loop = loop_new()};
	s->world = world_new(&world);
	s->network = network_new(s->loop, s->world);
	write_corpus(s, &world);
	s->judge = judge_open();
	s->judged = judge_reader_new(s->judge, "the reader");
	s->player = player_new(s->loop, &s->corpus, s->world, s->network, s->judge, 0);
}

static void stage_close(struct stage *s)
{
	player_free(s->player);
	stream_reader_free(s->reader);
	group_free(s->group);
	network_free(s->network);
	judge_reader_free(s->judged);
	judge_close(s->judge);
	corpus_close(&s->corpus);
	world_free(s->world);
	loop_free(s->loop);
}

static bool is_over(void *arg)
{
	const struct stage *s = arg;

	return player_is_done(s->player) && judge_is_complete(s->judge);
}

struct outcome {
	uint64_t wanted;  /* documents, if each is had at once: one an account, and one a change */
	uint64_t asked;   /* for documents, */
	uint64_t refused; /* of those, because there were too many */
	uint64_t usec;    /* from the first event to the last */
};

static uint64_t count_wanted(struct corpus *c)
{
	uint64_t count = c->settings.accounts;
	struct corpus_record r;

	corpus_rewind(c);
	while (corpus_next(c, &r) == 1)
		count += r.type == CORPUS_IDENTITY ||
			 (r.type == CORPUS_EVENT && r.kind == CORPUS_IDENTITY_EVENT);
	return count;
}

static void play(struct stage *s, struct outcome *ret)
{
	uint64_t from = loop_now_usec(s->loop);
	struct network_counts counts;

	player_start(s->player);
	wait_until(s->loop, is_over, s, "all events");
	ret->usec = loop_now_usec(s->loop) - from;
	relay_settle(s->loop, s->group, EVENTS, s->judged);
	CHECK(judge_verdict(s->judge));
	network_counts(s->network, &counts);
	ret->asked = counts.documents;
	ret->refused = counts.refused;
	ret->wanted = count_wanted(&s->corpus);
	printf("# %.1f s; %ju documents wanted, %ju asked for, %ju refused\n",
	       (double)ret->usec / USEC_PER_SEC, (uintmax_t)ret->wanted, (uintmax_t)ret->asked,
	       (uintmax_t)ret->refused);
	CHECK(ret->asked >= ACCOUNTS);
}

/* directory_rate: of the relay's settings; 0: none. */
static void run(const struct directory_manners *manners, unsigned directory_rate,
		struct outcome *ret)
{
	char concurrency[64], rate[64];
	const char *const settings[] = {concurrency, rate, "resolve.ttl_failed=100ms", NULL};
	struct stage s;

	snprintf(concurrency, sizeof(concurrency), "resolve.concurrency=%u", CONCURRENCY);
	snprintf(rate, sizeof(rate), "resolve.directory_rate=%u", directory_rate);
	stage_open(&s);
	network_directory(s.network, manners);
	s.group = relay_new(s.loop, s.network, settings);
	group_start(s.group);
	s.reader = relay_judge(s.loop, s.group, s.judged);
	relay_wait_hosts(s.loop, s.network);
	play(&s, ret);
	stage_close(&s);
}

TEST(a_slow_directory)
{
	const struct directory_manners slow = {.latency_usec = 300 * USEC_PER_MSEC};
	struct outcome o;

	run(&slow, 0, &o);
	CHECK(o.asked <= o.wanted);
	/* Three accounts in four have a did:plc, more or less. */
	CHECK(o.usec >= ACCOUNTS * 6 / 10 * slow.latency_usec / CONCURRENCY);
}

/* A request in five is made again. */
TEST(a_directory_that_fails_now_and_then)
{
	struct outcome o;

	run(&(struct directory_manners){.error_percent = 20}, 0, &o);
	CHECK(o.asked > o.wanted);
	CHECK(o.asked <= o.wanted * 3 / 2);
}

/* Each second brings it one round of requests too many at most: those that are under way when it
 * says so. */
TEST(a_directory_that_wants_to_be_asked_less)
{
	struct outcome o;

	run(&(struct directory_manners){.requests_per_sec = 30}, 0, &o);
	CHECK(o.refused > 0);
	CHECK(o.refused <= CONCURRENCY * (o.usec / USEC_PER_SEC + 1));
	CHECK(o.asked - o.refused <= o.wanted);
}

/* A second of the directory's may hold two of the relay's, and what was under way before. */
TEST(a_relay_that_asks_as_little_as_the_directory_wants)
{
	struct outcome o;

	run(&(struct directory_manners){.requests_per_sec = 2 * PER_SEC + 2 * CONCURRENCY}, PER_SEC,
	    &o);
	CHECK_INT(o.refused, 0);
	CHECK(o.asked <= o.wanted);
}
