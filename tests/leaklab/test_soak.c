/*
 * Whether anything grows in a relay that runs on and on with its caches full. SOAK_MINUTES (60)
 * once the stages know their slopes, SOAK_RATE (2,000) events a second, one in five of them from an
 * account that needs a resolve. The result is a table, and the picture build/soak.svg.
 */
#include <limits.h>
#include <stdlib.h>

#include "tests/leaklab/feed.h"
#include "tests/leaklab/plot.h"
#include "tests/leaklab/soak.h"

#define HOSTS        500
#define HOT          2000
#define COLD         20000
#define COLD_PERCENT 20
#define MINUTES      60
#define PER_SEC      2000
#define ARREARS_USEC (60 * USEC_PER_SEC) /* the rate is a mean; a busy host pauses machines */

#define KNOWN_USEC  (600 * USEC_PER_SEC)
#define SAMPLE_USEC (5 * USEC_PER_SEC)
#define KEPT_MAX    MIB(256) /* of what was sent, before it is forgotten */
#define REST_SEC    60
#define SAY_MINUTES 5

/* Caches that are full soon, and a log whose files come and go. */
static const char *const settings[] = {"resolve.directory_rate=0",
				       "resolve.identities_max=1000",
				       "resolve.cache=256K",
				       "validate.key_cache=1M",
				       "store.cache=256K",
				       "ingest.cache=256K",
				       "store.file_size=64M",
				       "store.retention_bytes=512M",
				       NULL};

struct soak {
	struct bench_relay relay;
	struct feed feed;
	struct watch watch;
	size_t from; /* the first sample that counts */
	uint64_t sent_before;
};

static uint64_t wanted(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);
	uint64_t n = 0;

	return text && sscanf(text, "%" SCNu64, &n) == 1 && n > 0 ? n : otherwise;
}

static bool all_came(void *arg)
{
	const struct soak *s = arg;

	return s->relay.received >= s->feed.sent;
}

/* What was sent is in memory until it is forgotten. False: it does not come. */
static bool make_room(struct soak *s)
{
	if (s->feed.kept_bytes < KEPT_MAX)
		return true;
	feed_stop(&s->feed);
	if (!bench_relay_wait(&s->relay, all_came, s, REST_SEC, "all that was sent has come"))
		return false;
	feed_forget(&s->feed);
	feed_resume(&s->feed);
	return true;
}

static bool soak_for(struct soak *s, uint64_t usec)
{
	uint64_t until = loop_now_usec(s->relay.loop) + usec;

	while (loop_now_usec(s->relay.loop) < until)
		if (!watch_for(&s->watch, s->watch.every_usec) || !make_room(s))
			return false;
	return true;
}

/* Until every stage knows its own slopes, which is when its caches are full. */
static bool warm_up(struct soak *s)
{
	uint64_t until = loop_now_usec(s->relay.loop) + KNOWN_USEC;

	while (!watch_is_known(&s->watch)) {
		if (loop_now_usec(s->relay.loop) > until) {
			test_fail(__FILE__, __LINE__, "the stages do not know their slopes");
			return false;
		}
		if (!soak_for(s, s->watch.every_usec))
			return false;
	}
	if (!watch_for(&s->watch, s->watch.every_usec))
		return false;
	s->from = s->watch.count - 1;
	s->sent_before = s->feed.sent;
	return true;
}

/* The result. */

static double rate(const struct soak *s)
{
	return (double)(s->feed.sent - s->sent_before) / watch_seconds(&s->watch, s->from);
}

static void report(const struct soak *s)
{
	const struct soak_load load = {s->feed.settings.per_sec, s->feed.settings.cold_percent,
				       s->feed.sent - s->sent_before};
	struct buf text;

	bench_say("%.0f minutes, %.0f events/s, %.0f resolves/s, MiB and MiB/h:",
		  watch_seconds(&s->watch, s->from) / 60, rate(s),
		  watch_resolves(&s->watch, s->from));
	buf_init(&text, KIB(64));
	soak_put_table(&s->watch, s->from, &text);
	printf("%.*s", (int)text.len, (const char *)text.ptr);
	fflush(stdout);
	buf_clear(&text);
	(void)soak_judge(&s->watch, s->from, &load, &text);
	for (size_t at = 0, len; at < text.len; at += len + 1) {
		len = (size_t)((const uint8_t *)memchr(text.ptr + at, '\n', text.len - at) -
			       text.ptr) -
		      at;
		test_fail(__FILE__, __LINE__, "%.*s", (int)len, (const char *)text.ptr + at);
	}
	buf_release(&text);
}

/* The picture: what changed of the unaccounted, between the lines that it must not cross in the
 * end, and what is resident. */
static void draw(const struct soak *s)
{
	size_t count = s->watch.count - s->from;
	double *x = xcalloc(count, sizeof(*x)), *y[2][PLOT_LINES];
	struct plot_panel panels[2] = {
		{.title = "Unaccounted memory, change, KiB (dashed: 1 MiB/h)"},
		{.title = "Resident memory, MiB"}};
	const struct plot plot = {
		"Standpipe: memory of the stages under load", "minutes", count, x, 2, panels};
	const struct watch_sample *samples = s->watch.samples + s->from;
	char path[PATH_MAX];

	for (size_t p = 0; p < 2; p++)
		for (size_t l = 0; l < BENCH_STAGES + 2; l++)
			y[p][l] = xcalloc(count, sizeof(**y));
	for (size_t i = 0; i < count; i++) {
		x[i] = (double)(samples[i].at_usec - samples[0].at_usec) / 60e6;
		for (size_t l = 0; l < BENCH_STAGES; l++) {
			const int64_t *now = samples[i].bytes[l], *then = samples[0].bytes[l];

			y[0][l][i] = (double)(now[WATCH_UNACCOUNTED] - then[WATCH_UNACCOUNTED]) /
				     1024;
			y[1][l][i] = (double)now[WATCH_RSS] / (double)MIB(1);
		}
		y[0][BENCH_STAGES][i] = x[i] / 60 * 1024;
		y[0][BENCH_STAGES + 1][i] = -x[i] / 60 * 1024;
	}
	for (size_t p = 0; p < 2; p++) {
		panels[p].line_count = p == 0 ? BENCH_STAGES + 2 : BENCH_STAGES;
		for (size_t l = 0; l < panels[p].line_count; l++)
			panels[p].lines[l] = (struct plot_line){
				l < BENCH_STAGES ? bench_stage_names[l] : "", y[p][l],
				l >= BENCH_STAGES};
	}
	snprintf(path, sizeof(path), "%s/soak.svg", test_programs());
	CHECK_INT(plot_write(path, &plot), 0);
	bench_say("drawn: %s", path);
	for (size_t p = 0; p < 2; p++)
		for (size_t l = 0; l < BENCH_STAGES + 2; l++)
			free(y[p][l]);
	free(x);
}

/* Whoever waits for an hour hears early of a machine that does not keep the rate. */
static bool soak_minutes(struct soak *s, uint64_t minutes)
{
	for (uint64_t left = minutes, part; left > 0; left -= part) {
		part = left < SAY_MINUTES ? left : SAY_MINUTES;
		if (!soak_for(s, part * 60 * USEC_PER_SEC))
			return false;
		bench_say("%" PRIu64 " of %" PRIu64 " minutes; %.0f of %" PRIu64 " events/s",
			  minutes - left + part, minutes, rate(s), s->feed.settings.per_sec);
	}
	return true;
}

static void run(struct soak *s, uint64_t minutes)
{
	if (!warm_up(s))
		return;
	bench_say("caches are full; %" PRIu64 " minutes from here", minutes);
	if (!soak_minutes(s, minutes))
		return;
	feed_stop(&s->feed);
	bench_relay_wait(&s->relay, all_came, s, REST_SEC, "all that was sent has come");
	CHECK_INT(s->relay.received, s->feed.sent);
	report(s);
	draw(s);
}

TEST(soak)
{
	const struct world_settings world = {
		.seed = 6,
		.hosts = HOSTS,
		.accounts = HOT + COLD,
		.p256_percent = 2,
	};
	uint64_t minutes = wanted("SOAK_MINUTES", MINUTES);
	const struct feed_settings feed = {HOT, COLD, COLD_PERCENT, wanted("SOAK_RATE", PER_SEC),
					   ARREARS_USEC};
	static struct soak s;

	bench_relay_open(&s.relay, &world, settings);
	bench_relay_start(&s.relay);
	bench_relay_wait_hosts(&s.relay);
	/* No more samples than a slope takes. */
	watch_init(&s.watch, &s.relay, minutes > 60 ? SAMPLE_USEC * minutes / 60 : SAMPLE_USEC);
	feed_open(&s.feed, s.relay.loop, s.relay.world, s.relay.network, &feed);
	feed_warm_up(&s.feed);
	feed_start(&s.feed);
	run(&s, minutes);
	feed_stop(&s.feed);
	watch_release(&s.watch);
	bench_relay_close(&s.relay);
	feed_close(&s.feed);
}
