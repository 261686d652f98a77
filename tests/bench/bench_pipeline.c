/*
 * The whole relay: what an event costs each stage when hosts send as fast as they can, and when
 * they send at the network's rate; and how long an event is on its way from its host to a consumer
 * at that rate. Every account's key is known by then.
 */
#include <stdlib.h>

#include "tests/bench/relay.h"
#include "tests/simnet/traffic.h"

#define HOSTS     1000
#define BIG_HOSTS 50
#define ACCOUNTS  10000 /* each with a commit before anything is measured */
#define RECORDS   300

#define FAST_RUNS   5
#define FAST_EVENTS 10000 /* a run */

#define LIVE_RUNS    3
#define LIVE_PER_SEC 700
#define LIVE_EVENTS  (LIVE_PER_SEC * 7) /* a run */

/* Between windows of events, as the consumer sees them. */
struct mark {
	uint64_t cpu_nsec[BENCH_STAGES], wall_nsec;
};

/* Events on their way are found by their last bytes, which no relay changes. */
#define TAIL_BYTES 128
#define SLOTS      65536

struct bench {
	struct bench_relay relay;
	struct corpus corpus;
	uint64_t first;  /* received when the windows began */
	uint64_t window; /* events in each */
	size_t mark_count, mark_max;
	struct mark marks[BENCH_RUNS_MAX];
	struct {
		uint64_t hash, sent_nsec;
	} slots[SLOTS];
	double latencies[LIVE_RUNS][LIVE_EVENTS];
	size_t latency_counts[LIVE_RUNS];
};

static void mark(struct bench *b)
{
	struct mark *m = &b->marks[b->mark_count++];

	bench_relay_cpu(&b->relay, m->cpu_nsec);
	m->wall_nsec = bench_wall_nsec();
}

static uint64_t hash_tail(struct span frame)
{
	size_t len = frame.len < TAIL_BYTES ? frame.len : TAIL_BYTES;

	return span_hash(span_of(frame.ptr + frame.len - len, len));
}

static void note_arrival(struct bench *b, struct span frame)
{
	uint64_t hash = hash_tail(frame);
	size_t run = b->mark_count - 1;

	if (b->mark_count == 0 || run >= LIVE_RUNS || b->slots[hash % SLOTS].hash != hash)
		return;
	b->latencies[run][b->latency_counts[run]++] = (double)(bench_wall_nsec() -
							       b->slots[hash % SLOTS].sent_nsec) /
						      1e6;
}

static void on_send(void *arg, struct span frame)
{
	struct bench *b = arg;
	uint64_t hash = hash_tail(frame);

	b->slots[hash % SLOTS].hash = hash;
	b->slots[hash % SLOTS].sent_nsec = bench_wall_nsec();
}

static void on_frame(void *arg, struct span frame)
{
	struct bench *b = arg;

	if (b->mark_count < b->mark_max &&
	    b->relay.received == b->first + b->mark_count * b->window)
		mark(b);
	if (b->relay.on_send)
		note_arrival(b, frame);
}

static bool windows_are_over(void *arg)
{
	const struct bench *b = arg;

	return b->mark_count == b->mark_max;
}

/* From the next event on: so many windows. */
static void begin_windows(struct bench *b, size_t count, uint64_t events)
{
	b->first = b->relay.received + 1;
	b->window = events;
	b->mark_count = 0;
	b->mark_max = count + 1;
}

static void report_cpu(const struct bench *b, const char *prefix)
{
	double runs[BENCH_RUNS_MAX];
	char name[64];

	for (size_t s = 0; s < BENCH_STAGES; s++) {
		for (size_t i = 0; i + 1 < b->mark_max; i++)
			runs[i] = (double)(b->marks[i + 1].cpu_nsec[s] - b->marks[i].cpu_nsec[s]) /
				  1000 / (double)b->window;
		snprintf(name, sizeof(name), "pipeline.%s.%s", prefix, bench_stage_names[s]);
		bench_figure(name, "us", runs, b->mark_max - 1);
	}
}

static void report_speed(const struct bench *b)
{
	double per_cpu[FAST_RUNS], per_sec[FAST_RUNS];

	for (size_t i = 0; i < FAST_RUNS; i++) {
		const struct mark *from = &b->marks[i], *to = from + 1;
		uint64_t cpu = 0;

		for (size_t s = 0; s < BENCH_STAGES; s++)
			cpu += to->cpu_nsec[s] - from->cpu_nsec[s];
		per_cpu[i] = (double)b->window * 1e9 / (double)cpu;
		per_sec[i] = (double)b->window * 1e9 / (double)(to->wall_nsec - from->wall_nsec);
	}
	bench_figure("pipeline.events_per_cpu_s", "1/s", per_cpu, FAST_RUNS);
	bench_figure("pipeline.events_per_s", "1/s", per_sec, FAST_RUNS);
}

static void measure_speed(struct bench *b)
{
	struct bench_relay *r = &b->relay;

	bench_relay_play(r, &b->corpus, ACCOUNTS, 0);
	bench_relay_wait(r, bench_relay_has_all, r, 300, "every account is known");
	begin_windows(b, FAST_RUNS, FAST_EVENTS);
	bench_relay_play(r, &b->corpus, (FAST_RUNS + 1) * FAST_EVENTS, 0);
	bench_relay_wait(r, bench_relay_has_all, r, 300, "events at full speed");
	report_speed(b);
	report_cpu(b, "us_per_event");
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report_latency(struct bench *b, const char *name, unsigned percent)
{
	double runs[LIVE_RUNS];

	for (size_t i = 0; i < LIVE_RUNS; i++) {
		size_t count = b->latency_counts[i];

		/* Hardly any falls into another's slot. */
		CHECK(count >= LIVE_EVENTS * 99 / 100);
		qsort(b->latencies[i], count, sizeof(double), compare);
		runs[i] = count ? b->latencies[i][count * percent / 100] : 0;
	}
	bench_figure(name, "ms", runs, LIVE_RUNS);
}

static void measure_live(struct bench *b)
{
	struct bench_relay *r = &b->relay;

	r->on_send = on_send;
	begin_windows(b, LIVE_RUNS, LIVE_EVENTS);
	bench_relay_play(r, &b->corpus, (LIVE_RUNS + 1) * LIVE_EVENTS, LIVE_PER_SEC);
	bench_relay_wait(r, windows_are_over, b, 120, "events at the network's rate");
	bench_relay_pause(r);
	report_latency(b, "pipeline.latency_p50_ms", 50);
	report_latency(b, "pipeline.latency_p99_ms", 99);
	report_cpu(b, "live_us_per_event");
}

TEST(pipeline)
{
	static struct bench b;
	const struct world_settings world = {
		.seed = 3,
		.hosts = HOSTS,
		.accounts = ACCOUNTS,
		.big_hosts = BIG_HOSTS,
		.p256_percent = 2,
	};
	const struct traffic_settings traffic = {
		.events = ACCOUNTS + (FAST_RUNS + 1) * FAST_EVENTS + (LIVE_RUNS + 1) * LIVE_EVENTS,
		.active = ACCOUNTS,
		.all_first = true,
		.records = RECORDS,
		.commits_only = true,
	};

	bench_begin("pipeline");
	bench_setting("corpus", "%zu commits, after %d records an account", (size_t)traffic.events,
		      RECORDS);
	CHECK_INT(corpus_open(traffic_corpus(&world, &traffic), &b.corpus), 0);
	bench_setting("mean_frame_bytes", "%zu", b.corpus.map.len / b.corpus.events);
	bench_setting("rate", "as fast as it goes, %d events a run; then %d a second, %d a run",
		      FAST_EVENTS, LIVE_PER_SEC, LIVE_EVENTS);
	bench_relay_open(&b.relay, &world, NULL);
	bench_relay_start(&b.relay);
	b.relay.on_frame = on_frame;
	b.relay.arg = &b;
	if (bench_relay_wait_hosts(&b.relay)) {
		measure_speed(&b);
		measure_live(&b);
	}
	bench_end();
	bench_relay_close(&b.relay);
	corpus_close(&b.corpus);
}
