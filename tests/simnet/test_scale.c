/* The whole: as many hosts as the real network has, all of them sending, and the judge at the
 * relay's public port. */
#include <time.h>

#include "tests/simnet/player.h"
#include "tests/simnet/relay.h"
#include "tests/simnet/traffic.h"
#include "tests/test.h"

#define HOSTS       2800
#define EVENTS      200000
#define ACCOUNTS    40000 /* enough for every host to have some */
#define EVENTS_STEP 20000

struct scale {
	struct loop *loop;
	struct corpus corpus;
	struct world *world;
	struct network *network;
	struct group_test *group;
	struct judge *judge;
	struct judge_reader *judge_reader;
	struct stream_reader *reader;
	struct player *player;
	uint64_t want;
};

/* No did:web: such a DID holds the port, which is another one in each run. */
static void open_corpus(struct scale *s)
{
	struct world_settings world = {.seed = 2026,
				       .hosts = HOSTS,
				       .accounts = ACCOUNTS,
				       .big_hosts = 12,
				       .p256_percent = 5,
				       .legacy_percent = 10};
	struct traffic_settings traffic;

	traffic_defaults(EVENTS, &traffic);
	traffic.all_first = true;
	CHECK_INT(corpus_open(traffic_corpus(&world, &traffic), &s->corpus), 0);
	world.port = free_port();
	s->world = world_new(&world);
}

static uint32_t count_sending_hosts(struct corpus *c)
{
	static bool sends[HOSTS];
	struct corpus_record r;
	uint32_t count = 0;

	while (corpus_next(c, &r) == 1) {
		if (r.type != CORPUS_EVENT || sends[r.host])
			continue;
		sends[r.host] = true;
		count++;
	}
	corpus_rewind(c);
	return count;
}

static void scale_open(struct scale *s)
{
	*s = (struct scale){.loop = loop_new()};
	open_corpus(s);
	s->network = network_new(s->loop, s->world);
	s->judge = judge_open();
	s->judge_reader = judge_reader_new(s->judge, "the reader");
	s->group = relay_new(s->loop, s->network, NULL);
	group_start(s->group);
	s->reader = relay_judge(s->loop, s->group, s->judge_reader);
}

static void scale_close(struct scale *s)
{
	player_free(s->player);
	stream_reader_free(s->reader);
	group_free(s->group);
	network_free(s->network);
	world_free(s->world);
	judge_reader_free(s->judge_reader);
	judge_close(s->judge);
	corpus_close(&s->corpus);
	loop_free(s->loop);
}

static bool is_over(void *arg)
{
	const struct scale *s = arg;

	return player_is_done(s->player) && judge_is_complete(s->judge);
}

static bool have_come(void *arg)
{
	const struct scale *s = arg;

	return judge_reader_count(s->judge_reader) >= s->want || is_over(arg);
}

/* In steps, each as long as a test may wait. */
static void wait_for_events(struct scale *s)
{
	for (s->want = EVENTS_STEP; s->want < EVENTS && !test_has_failed(); s->want += EVENTS_STEP)
		wait_until(s->loop, have_come, s, "events come");
	wait_until(s->loop, is_over, s, "every event has come");
}

static void say_cpu(struct scale *s)
{
	const char *member;

	printf("# CPU:");
	for (size_t i = 0; (member = group_member_name(s->group, i)); i++)
		printf(" %s %jd s,", member,
		       (intmax_t)group_metric(s->group, member, "relay_process_cpu_seconds_total",
					      ""));
	printf(" network, player and judge %ju s\n", (uintmax_t)clock() / CLOCKS_PER_SEC);
}

TEST(every_event_of_the_whole_network_comes_out_once_as_it_was_sent_in_order)
{
	uint64_t start = clock_usec(), connected, came;
	struct judge_report report;
	struct scale s;

	scale_open(&s);
	printf("# the corpus is there after %.1f s\n",
	       (double)(clock_usec() - start) / USEC_PER_SEC);
	CHECK_INT(count_sending_hosts(&s.corpus), HOSTS);
	if (test_has_failed()) {
		scale_close(&s);
		return;
	}
	start = clock_usec();
	relay_wait_hosts(s.loop, s.network);
	connected = clock_usec();
	s.player = player_new(s.loop, &s.corpus, s.world, s.network, s.judge, 0);
	player_start(s.player);
	wait_for_events(&s);
	came = clock_usec();
	/* What must not come out would have, by then. */
	relay_settle(s.loop, s.group, EVENTS, s.judge_reader);
	judge_report(s.judge, &report);
	CHECK_INT(report.sent, EVENTS);
	CHECK(judge_verdict(s.judge));
	CHECK_INT(report.received, report.due);
	CHECK(relay_has_hosts(s.network));
	CHECK_INT(group_metric(s.group, "ingest", "relay_connections", ""), HOSTS);
	printf("# %d hosts connected after %.1f s, then %d events in %.1f s\n", HOSTS,
	       (double)(connected - start) / USEC_PER_SEC, EVENTS,
	       (double)(came - connected) / USEC_PER_SEC);
	say_cpu(&s);
	scale_close(&s);
}
