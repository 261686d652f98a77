/*
 * What each stage holds when the relay has the network's size: hosts by TLS, as many accounts
 * known, and as many keys in memory, as the network has active ones; events at its rate. Resident
 * memory, what is mapped from files (the programs, libraries that stages share, tables of
 * databases) included; the sum of the proportional sizes, which counts shared pages once, is told
 * beside it. And of its heap, how much it can account for.
 */
#include "tests/bench/relay.h"
#include "tests/simnet/traffic.h"

#define HOSTS     2800
#define BIG_HOSTS 80
#define ACCOUNTS  500000
#define ACTIVE    250000 /* of them have commits, and so keys */
#define RECORDS   20     /* small trees: what is measured does not depend on them */

#define LIVE_PER_SEC 700
#define SAMPLES      5
#define SAMPLE_SEC   6

#define KEY_CACHE "64M" /* an entry has less than 200 bytes */

static const char *const settings[] = {"validate.key_cache=" KEY_CACHE, "resolve.directory_rate=0",
				       NULL};

/* What no account explains is little: a tenth of the heap, or less than this. */
#define UNACCOUNTED_MAX_MIB 4

struct samples {
	double stage[BENCH_STAGES][SAMPLES];
	double heap[BENCH_STAGES][SAMPLES], unaccounted[BENCH_STAGES][SAMPLES];
	double total[SAMPLES], pss[SAMPLES];
};

static double mib(uint64_t bytes)
{
	return (double)bytes / (double)MIB(1);
}

static void sample_heap(const struct bench_relay *r, size_t stage, size_t i, struct samples *s)
{
	struct buf text;

	buf_init(&text, MIB(1));
	group_metrics(r->group, bench_member_names[stage], &text);
	s->heap[stage][i] = (double)group_metric_in(buf_span(&text), "relay_malloc_in_use_bytes",
						    "") /
			    (double)MIB(1);
	s->unaccounted[stage][i] = (double)group_metric_in(buf_span(&text),
							   "relay_unaccounted_bytes", "") /
				   (double)MIB(1);
	buf_release(&text);
}

static void sample(const struct bench_relay *r, size_t i, struct samples *s)
{
	for (size_t stage = 0; stage < BENCH_STAGES; stage++) {
		struct bench_memory m;

		bench_memory_of(r->pids[stage], &m);
		s->stage[stage][i] = mib(m.rss);
		s->total[i] += mib(m.rss);
		s->pss[i] += mib(m.pss);
		sample_heap(r, stage, i, s);
		bench_say("%s: %.1f MiB resident, %.1f anonymous, %.1f proportional; %.1f on the "
			  "heap, %.2f of it unaccounted",
			  bench_stage_names[stage], mib(m.rss), mib(m.anonymous), mib(m.pss),
			  s->heap[stage][i], s->unaccounted[stage][i]);
	}
}

static void check_state(struct bench_relay *r)
{
	int64_t keys = group_metric(r->group, "validate-0", "relay_identity_cache_entries", "");
	int64_t accounts = group_metric(r->group, "store", "relay_accounts", "");
	struct network_counts counts;

	network_counts(r->network, &counts);
	bench_say("%u hosts, %ju documents asked for, %jd keys, %jd accounts on hosts",
		  counts.subscribed, (uintmax_t)counts.documents, (intmax_t)keys,
		  (intmax_t)accounts);
	CHECK_INT(counts.subscribed, HOSTS);
	CHECK(counts.documents >= ACCOUNTS);
	CHECK(keys >= ACTIVE);
	/* Every second of those without commits is known by an #identity alone, which puts it on no
	 * host. */
	CHECK(accounts >= ACTIVE + (ACCOUNTS - ACTIVE) / 2);
}

static void report_stage(const char *stage, const char *what, const double *samples)
{
	char name[64];

	snprintf(name, sizeof(name), "memory.%s_%s", stage, what);
	bench_figure(name, "MiB", samples, SAMPLES);
}

static void check_accounts(const char *stage, const double *heap, const double *unaccounted)
{
	for (size_t i = 0; i < SAMPLES; i++)
		if (unaccounted[i] >= UNACCOUNTED_MAX_MIB && unaccounted[i] >= heap[i] / 10) {
			test_fail(__FILE__, __LINE__, "%s: %.1f of %.1f MiB unaccounted", stage,
				  unaccounted[i], heap[i]);
			return;
		}
}

static void report(const struct samples *s)
{
	for (size_t stage = 0; stage < BENCH_STAGES; stage++) {
		const char *name = bench_stage_names[stage];

		report_stage(name, "mib", s->stage[stage]);
		report_stage(name, "heap_mib", s->heap[stage]);
		report_stage(name, "unaccounted_mib", s->unaccounted[stage]);
		check_accounts(name, s->heap[stage], s->unaccounted[stage]);
	}
	bench_figure("memory.total_mib", "MiB", s->total, SAMPLES);
	bench_figure("memory.total_proportional_mib", "MiB", s->pss, SAMPLES);
}

static void measure(struct bench_relay *r, struct corpus *corpus)
{
	static struct samples samples;

	if (!bench_relay_wait_hosts(r))
		return;
	bench_relay_play(r, corpus, ACCOUNTS, 0);
	if (!bench_relay_wait(r, bench_relay_has_all, r, 900, "every account is known"))
		return;
	check_state(r);
	for (size_t i = 0; i < SAMPLES; i++) {
		bench_relay_play(r, corpus, SAMPLE_SEC * LIVE_PER_SEC, LIVE_PER_SEC);
		bench_relay_wait(r, bench_relay_has_all, r, 60, "events at the network's rate");
		sample(r, i, &samples);
	}
	report(&samples);
}

TEST(memory)
{
	const struct world_settings world = {
		.seed = 4,
		.hosts = HOSTS,
		.accounts = ACCOUNTS,
		.big_hosts = BIG_HOSTS,
		.p256_percent = 2,
	};
	const struct traffic_settings traffic = {
		.events = ACCOUNTS + (SAMPLES + 1) * SAMPLE_SEC * LIVE_PER_SEC,
		.active = ACTIVE,
		.all_first = true,
		.records = RECORDS,
	};
	struct bench_relay r;
	struct corpus corpus;

	bench_begin("memory");
	bench_setting("corpus", "%zu events; %d accounts with commits of %d",
		      (size_t)traffic.events, ACTIVE, ACCOUNTS);
	CHECK_INT(corpus_open(traffic_corpus(&world, &traffic), &corpus), 0);
	bench_setting("rate", "%d events a second, a sample every %d s", LIVE_PER_SEC, SAMPLE_SEC);
	bench_relay_open(&r, &world, settings);
	bench_relay_start(&r);
	measure(&r, &corpus);
	bench_end();
	bench_relay_close(&r);
	corpus_close(&corpus);
}
