#include "tests/leaklab/watch.h"

#include <stdlib.h>

#include "common/slope.h"

#define PATIENCE_USEC (10 * USEC_PER_SEC) /* a stage that does not answer for so long is gone */

void watch_init(struct watch *w, struct bench_relay *r, uint64_t every_usec)
{
	*w = (struct watch){.relay = r, .every_usec = every_usec};
}

void watch_release(struct watch *w)
{
	free(w->samples);
}

void watch_add(struct watch *w, const struct watch_sample *s)
{
	if (w->count == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 256;
		w->samples = xrealloc(w->samples, w->cap * sizeof(*w->samples));
	}
	w->samples[w->count++] = *s;
}

/* A counter that falls is another process's. */
static void count_resolves(struct watch *w, struct span page)
{
	int64_t said = 0;

	for (const char *const *p =
		     (const char *const[]){"purpose=\"plc\"", "purpose=\"did_web\"", NULL};
	     *p; p++)
		said += group_metric_in(page, "relay_http_requests_total", *p);
	w->resolves += (uint64_t)(said >= w->resolves_said ? said - w->resolves_said : said);
	w->resolves_said = said;
}

static bool ask(struct watch *w, enum bench_stage stage, struct buf *page)
{
	struct bench_relay *r = w->relay;
	uint64_t until = loop_now_usec(r->loop) + PATIENCE_USEC;

	for (;;) {
		group_metrics(r->group, bench_member_names[stage], page);
		if (page->len > 0)
			return true;
		if (loop_now_usec(r->loop) > until) {
			test_fail(__FILE__, __LINE__, "%s does not answer",
				  bench_member_names[stage]);
			return false;
		}
	}
}

/* 0 if it has none of that name. */
static int64_t account(struct span page, const char *what)
{
	int64_t bytes = group_metric_in(page, "relay_accounted_bytes", what);

	return bytes > 0 ? bytes : 0;
}

static void read_page(struct span page, enum bench_stage stage, struct watch_sample *ret)
{
	int64_t in_use = group_metric_in(page, "relay_malloc_in_use_bytes", "");
	int64_t fill = group_metric_in(page, "relay_cache_fill_permille", "");
	int64_t *bytes = ret->bytes[stage];

	bytes[WATCH_UNACCOUNTED] = group_metric_in(page, "relay_unaccounted_bytes", "");
	bytes[WATCH_LIBRARIES] = account(page, "what=\"openssl\"") + account(page, "what=\"curl\"");
	bytes[WATCH_UNUSED] = group_metric_in(page, "relay_malloc_arena_bytes", "") - in_use;
	bytes[WATCH_IN_USE] = in_use;
	bytes[WATCH_RSS] = group_metric_in(page, "relay_process_rss_bytes", "");
	bytes[WATCH_ANONYMOUS] = group_metric_in(page, "relay_process_anonymous_bytes", "");
	ret->cache_permille[stage] = fill >= 0 ? fill : 1000;
}

static bool take_sample(struct watch *w)
{
	struct watch_sample s = {.at_usec = loop_now_usec(w->relay->loop)};
	bool ok = true;
	struct buf page;

	buf_init(&page, MIB(1));
	for (enum bench_stage i = 0; i < BENCH_STAGES && ok; i++) {
		ok = ask(w, i, &page);
		read_page(buf_span(&page), i, &s);
		if (i == BENCH_RESOLVE)
			count_resolves(w, buf_span(&page));
	}
	buf_release(&page);
	s.resolves = w->resolves;
	watch_add(w, &s);
	return ok;
}

struct pause {
	struct loop *loop;
	uint64_t until_usec;
};

static bool is_over(void *arg)
{
	const struct pause *p = arg;

	return loop_now_usec(p->loop) >= p->until_usec;
}

bool watch_for(struct watch *w, uint64_t usec)
{
	struct pause p = {w->relay->loop, loop_now_usec(w->relay->loop)};
	uint64_t until = p.until_usec + usec;

	while (p.until_usec < until) {
		p.until_usec += w->every_usec;
		if (!wait_until(p.loop, is_over, &p, "the next sample") || !take_sample(w))
			return false;
	}
	return true;
}

bool watch_is_known(struct watch *w)
{
	for (size_t i = 0; i < BENCH_STAGES; i++)
		if (group_metric(w->relay->group, bench_member_names[i],
				 "relay_memory_slope_wait_seconds", "") != 0)
			return false;
	return true;
}

double watch_slope(const struct watch *w, enum bench_stage stage, enum watch_series series,
		   size_t from)
{
	size_t step = (w->count - from + SLOPE_SAMPLES - 1) / SLOPE_SAMPLES;
	struct slope s;
	int64_t per_hour = 0;

	slope_init(&s);
	for (size_t i = from; i < w->count; i += step)
		slope_add(&s, w->samples[i].at_usec, w->samples[i].bytes[stage][series]);
	if (slope_get(&s, UINT64_MAX, &per_hour) < 0)
		test_fail(__FILE__, __LINE__, "too few samples");
	return (double)per_hour;
}

double watch_seconds(const struct watch *w, size_t from)
{
	return (double)(w->samples[w->count - 1].at_usec - w->samples[from].at_usec) / 1e6;
}

double watch_resolves(const struct watch *w, size_t from)
{
	return (double)(w->samples[w->count - 1].resolves - w->samples[from].resolves) /
	       watch_seconds(w, from);
}

int64_t watch_most(const struct watch *w, enum bench_stage stage, enum watch_series series,
		   size_t from)
{
	int64_t most = INT64_MIN;

	for (size_t i = from; i < w->count; i++)
		if (w->samples[i].bytes[stage][series] > most)
			most = w->samples[i].bytes[stage][series];
	return most;
}
