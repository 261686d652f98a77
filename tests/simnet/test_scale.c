/* The whole: as many hosts as the real network has, all of them sending, and the judge at the
 * relay's public port. */
#include <arpa/inet.h>
#include <sys/resource.h>

#include "tests/lib/group.h"
#include "tests/simnet/player.h"
#include "tests/simnet/reader.h"
#include "tests/simnet/traffic.h"
#include "tests/test.h"

#define HOSTS        2800
#define EVENTS       200000
#define ACCOUNTS     40000 /* enough for every host to have some */
#define HOSTS_STEP   400   /* each as long as a test may wait */
#define EVENTS_STEP  20000
#define SETTINGS_MAX 16

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

static void open_group(struct scale *s)
{
	const char *all[SETTINGS_MAX] = {NULL}, *const * more;
	char bootstrap[LIMIT_HOST + 64], name[LIMIT_HOST + 1];
	size_t n = 0;

	for (more = network_relay_settings(s->network, test_folder()); *more; more++)
		all[n++] = *more;
	snprintf(bootstrap, sizeof(bootstrap), "ingest.bootstrap=https://%s",
		 world_host_name(s->world, 0, name));
	all[n++] = bootstrap;
	s->group = group_new(s->loop, all);
	group_start(s->group);
}

static void take_frame(void *arg, struct span frame)
{
	struct scale *s = arg;

	judge_received(s->judge_reader, frame);
}

static void take_end(void *arg)
{
	(void)arg;
	test_fail(__FILE__, __LINE__, "the relay's stream ended");
}

static void open_reader(struct scale *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(group_port(s->group)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct reader_handler handler = {take_frame, take_end, s};

	judge_reader_resume(s->judge_reader, 0);
	s->reader = stream_reader_new(s->loop, (struct sockaddr *)&address, 0, &handler);
}

static void scale_open(struct scale *s)
{
	*s = (struct scale){.loop = loop_new()};
	open_corpus(s);
	s->network = network_new(s->loop, s->world);
	s->judge = judge_open();
	s->judge_reader = judge_reader_new(s->judge, "the reader");
	open_group(s);
	if (!test_has_failed())
		open_reader(s);
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

static bool are_subscribed(void *arg)
{
	const struct scale *s = arg;
	struct network_counts counts;

	network_counts(s->network, &counts);
	return counts.subscribed >= s->want;
}

static bool have_come(void *arg)
{
	const struct scale *s = arg;

	return judge_reader_count(s->judge_reader) >= s->want ||
	       (player_is_done(s->player) && judge_is_complete(s->judge));
}

/* In steps, so that each has its own time. */
static void wait_for(struct scale *s, uint64_t count, uint64_t step, bool (*condition)(void *arg),
		     const char *what)
{
	for (s->want = 0; s->want < count && !test_has_failed();) {
		s->want += step;
		wait_until(s->loop, condition, s, what);
	}
}

static bool is_over(void *arg)
{
	const struct scale *s = arg;

	return player_is_done(s->player) && judge_is_complete(s->judge);
}

static uint64_t own_cpu_usec(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
	       (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void say_cpu(struct scale *s)
{
	const char *member;

	printf("# CPU:");
	for (size_t i = 0; (member = group_member_name(s->group, i)); i++)
		printf(" %s %jd s,", member,
		       (intmax_t)group_metric(s->group, member, "relay_process_cpu_seconds_total",
					      ""));
	printf(" network, player and judge %ju s\n", (uintmax_t)(own_cpu_usec() / USEC_PER_SEC));
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
	wait_for(&s, HOSTS, HOSTS_STEP, are_subscribed, "all hosts are subscribed to");
	connected = clock_usec();
	s.player = player_new(s.loop, &s.corpus, s.world, s.network, s.judge, 0);
	player_start(s.player);
	wait_for(&s, EVENTS, EVENTS_STEP, have_come, "events come");
	wait_until(s.loop, is_over, &s, "every event has come");
	came = clock_usec();
	/* What must not come would have come before this. */
	judge_report(s.judge, &report);
	CHECK_INT(report.sent, EVENTS);
	CHECK(judge_verdict(s.judge));
	CHECK_INT(report.received, report.due);
	s.want = HOSTS;
	CHECK(are_subscribed(&s));
	printf("# %d hosts connected after %.1f s, then %d events in %.1f s\n", HOSTS,
	       (double)(connected - start) / USEC_PER_SEC, EVENTS,
	       (double)(came - connected) / USEC_PER_SEC);
	say_cpu(&s);
	scale_close(&s);
}
