#include "tests/leaklab/lab.h"

#include <limits.h>
#include <stdlib.h>

#define HOSTS        50
#define HOT          500
#define COLD         20000
#define COLD_PERCENT 80
#define WEB_PERCENT  10 /* of accounts; each request for one is a connection */
#define PER_SEC      350
#define SAMPLE_USEC  USEC_PER_SEC
#define REST_SEC     120

/* Caches of validate and resolve that the cold accounts overflow, many times. */
static const char *const settings[] = {"resolve.directory_rate=0", "resolve.identities_max=1000",
				       "validate.key_cache=1M", NULL};

static void take_frame(void *arg, struct span frame)
{
	struct lab *l = arg;

	if (!l->judge)
		return;
	judge_received(l->judged, frame);
	delay_received(&l->delay, frame, loop_now_usec(l->relay.loop));
}

static void note_sent(void *arg, struct span frame)
{
	struct lab *l = arg;

	if (l->judge)
		delay_sent(&l->delay, frame, loop_now_usec(l->relay.loop));
}

static void choose_programs(const char *programs)
{
	static char build[PATH_MAX];
	char path[2 * PATH_MAX];

	if (!build[0])
		snprintf(build, sizeof(build), "%s", test_programs());
	snprintf(path, sizeof(path), "%s/%s", build, programs);
	setenv("STANDPIPE_BUILD", path, 1);
}

void lab_open(struct lab *l, const char *programs, const char *name, const char *leak)
{
	const struct world_settings world = {
		.seed = 5,
		.hosts = HOSTS,
		.accounts = HOT + COLD,
		.p256_percent = 2,
		.web_percent = WEB_PERCENT,
	};
	const struct feed_settings feed = {HOT, COLD, COLD_PERCENT, PER_SEC, USEC_PER_SEC};

	*l = (struct lab){.name = name};
	choose_programs(programs);
	bench_relay_open(&l->relay, &world, settings);
	if (leak)
		group_set_environment(l->relay.group, "LEAKLAB", leak);
	bench_relay_start(&l->relay);
	l->relay.on_frame = take_frame;
	l->relay.arg = l;
	l->started_usec = loop_now_usec(l->relay.loop);
	bench_relay_wait_hosts(&l->relay);
	watch_init(&l->watch, &l->relay, SAMPLE_USEC);
	feed_open(&l->feed, l->relay.loop, l->relay.world, l->relay.network, &feed);
	l->feed.on_send = note_sent;
	l->feed.arg = l;
	feed_warm_up(&l->feed);
	feed_start(&l->feed);
}

void lab_close(struct lab *l)
{
	feed_stop(&l->feed);
	watch_release(&l->watch);
	bench_relay_close(&l->relay);
	feed_close(&l->feed);
}

void lab_order(struct lab *l, struct buf *ret, const char *words)
{
	int status = group_order(l->relay.group, words, ret);

	if (status != 0)
		test_fail(__FILE__, __LINE__, "standpipe %s: %d %.*s", words, status, (int)ret->len,
			  (const char *)ret->ptr);
}

static void order(struct lab *l, const char *verb, const char *what)
{
	char words[128];
	struct buf said;

	buf_init(&said, MIB(1));
	snprintf(words, sizeof(words), "%s resolve.%s", verb, what);
	lab_order(l, &said, words);
	buf_release(&said);
}

void lab_set(struct lab *l, const char *setting)
{
	order(l, "set", setting);
}

void lab_unset(struct lab *l, const char *key)
{
	order(l, "unset", key);
}

static bool all_came(void *arg)
{
	const struct lab *l = arg;

	return l->relay.received >= l->feed.sent;
}

void lab_rest(struct lab *l)
{
	feed_stop(&l->feed);
	if (bench_relay_wait(&l->relay, all_came, l, REST_SEC, "all that was sent has come") &&
	    !l->judge)
		feed_forget(&l->feed);
}

/* The table. */

void lab_print_head(void)
{
	bench_say("Of each stage what no account explains, of resolve also what the allocator");
	bench_say("holds unused: how it grows, in bytes per resolve. Then both for resolve in");
	bench_say("MiB/h at %d frames/s, of which %.0f %% need a resolve.", LAB_FRAMES_PER_SEC,
		  100 * LAB_RESOLVE_SHARE);
	printf("| leak | experiment | resolves/s | ingest | validate | store | fanout | resolve "
	       "| unused | MiB/h | unused MiB/h |\n");
	printf("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
}

static double per_resolve(const struct lab *l, enum bench_stage stage, enum watch_series series,
			  size_t from)
{
	return watch_slope(&l->watch, stage, series, from) / 3600 / watch_resolves(&l->watch, from);
}

static double at_real_rate(double per_resolve)
{
	return per_resolve * LAB_FRAMES_PER_SEC * LAB_RESOLVE_SHARE * 3600 / (double)MIB(1);
}

/* Without resolves there is nothing to divide by: then it is MiB/h as they were. */
static void print_without(const struct lab *l, size_t from)
{
	double leak = watch_slope(&l->watch, BENCH_RESOLVE, WATCH_UNACCOUNTED, from);
	double unused = watch_slope(&l->watch, BENCH_RESOLVE, WATCH_UNUSED, from);

	printf(" - | - | - | - | - | - | %.0f | %.0f |\n", leak / (double)MIB(1),
	       unused / (double)MIB(1));
}

void lab_report(struct lab *l, const char *experiment, size_t from)
{
	static const enum bench_stage others[] = {BENCH_INGEST, BENCH_VALIDATE, BENCH_STORE,
						  BENCH_FANOUT};
	double resolves = watch_resolves(&l->watch, from), leak, unused;

	printf("| %s | %s | %.0f |", l->name, experiment, resolves);
	if (resolves < 1) {
		print_without(l, from);
	} else {
		leak = per_resolve(l, BENCH_RESOLVE, WATCH_UNACCOUNTED, from);
		unused = per_resolve(l, BENCH_RESOLVE, WATCH_UNUSED, from);
		for (size_t i = 0; i < ARRAY_SIZE(others); i++)
			printf(" %.0f |", per_resolve(l, others[i], WATCH_UNACCOUNTED, from));
		printf(" %.0f | %.0f | %.0f | %.0f |\n", leak, unused, at_real_rate(leak),
		       at_real_rate(unused));
	}
	fflush(stdout);
}

void lab_measure(struct lab *l, const char *experiment, uint64_t usec)
{
	size_t from = l->watch.count;

	if (watch_for(&l->watch, usec))
		lab_report(l, experiment, from);
}

/* Judging. */

void lab_judge(struct lab *l)
{
	lab_rest(l);
	l->judge = judge_open();
	l->judged = judge_reader_new(l->judge, "the consumer");
	delay_init(&l->delay);
	l->feed.judge = l->judge;
	feed_start(&l->feed);
}

bool lab_judged(struct lab *l, uint64_t late_usec)
{
	bool ok;

	lab_rest(l);
	ok = judge_verdict(l->judge);
	bench_say("%" PRIu64 " events judged; on their way %.1f ms in the mean, %.0f ms at most",
		  l->delay.count, (double)l->delay.total_usec / 1e3 / (double)l->delay.count,
		  (double)l->delay.most_usec / 1e3);
	ok = ok && l->delay.most_usec <= late_usec;
	l->feed.judge = NULL;
	judge_reader_free(l->judged);
	judge_close(l->judge);
	l->judge = NULL;
	delay_release(&l->delay);
	return ok;
}
