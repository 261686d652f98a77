#include "tests/leaklab/soak.h"

#include <math.h>

static double mib(double bytes)
{
	return bytes / (double)MIB(1);
}

static void put_row(const struct watch *w, size_t from, enum bench_stage stage, struct buf *out)
{
	const int64_t *first = w->samples[from].bytes[stage];
	const int64_t *last = w->samples[w->count - 1].bytes[stage];

	buf_printf(out, "| %s | %.1f | %.2f | %+.2f | %+.2f | %.1f | %.1f | %+.1f |\n",
		   bench_stage_names[stage], mib((double)last[WATCH_IN_USE]),
		   mib((double)last[WATCH_UNACCOUNTED]),
		   mib(watch_slope(w, stage, WATCH_UNACCOUNTED, from)),
		   mib(watch_slope(w, stage, WATCH_LIBRARIES, from)), mib((double)first[WATCH_RSS]),
		   mib((double)last[WATCH_RSS]), mib(watch_slope(w, stage, WATCH_RSS, from)));
}

void soak_put_table(const struct watch *w, size_t from, struct buf *out)
{
	buf_append_str(out, "| stage | heap | unaccounted | its slope | slope of libraries | "
			    "resident, first | last | its slope |\n"
			    "|---|--:|--:|--:|--:|--:|--:|--:|\n");
	for (enum bench_stage i = 0; i < BENCH_STAGES; i++)
		put_row(w, from, i, out);
}

static unsigned judge_load(const struct watch *w, size_t from, const struct soak_load *load,
			   struct buf *out)
{
	double rate = (double)load->sent / watch_seconds(w, from);
	double percent = 100 * watch_resolves(w, from) / rate;
	unsigned wrong = 0;

	if (rate < SOAK_LOAD_PART * (double)load->per_sec) {
		buf_printf(out,
			   "%.0f events a second instead of %" PRIu64
			   ": this machine is too slow, or busy\n",
			   rate, load->per_sec);
		wrong++;
	}
	if (percent < SOAK_LOAD_PART * load->resolve_percent) {
		buf_printf(out, "%.1f %% of the events needed a resolve instead of %u %%\n",
			   percent, load->resolve_percent);
		wrong++;
	}
	return wrong;
}

static unsigned judge_stage(const struct watch *w, size_t from, enum bench_stage stage,
			    struct buf *out)
{
	const struct watch_sample *first = &w->samples[from];
	double slope = watch_slope(w, stage, WATCH_UNACCOUNTED, from);
	double rss = (double)first->bytes[stage][WATCH_RSS];
	double change = watch_slope(w, stage, WATCH_RSS, from) * watch_seconds(w, from) / 3600;
	const char *name = bench_stage_names[stage];
	unsigned wrong = 0;

	if (first->cache_permille[stage] < SOAK_FULL) {
		buf_printf(out, "%s: its cache was full to %.1f %% when it began\n", name,
			   (double)first->cache_permille[stage] / 10);
		wrong++;
	}
	if (fabs(slope) > (double)SOAK_SLOPE_MAX) {
		buf_printf(out, "%s grows by %+.2f MiB/h\n", name, mib(slope));
		wrong++;
	}
	if (fabs(change) > (double)SOAK_FLAT_BYTES && fabs(change) > SOAK_FLAT_PART * rss) {
		buf_printf(out, "%s: resident memory is not flat: %+.1f MiB\n", name, mib(change));
		wrong++;
	}
	return wrong;
}

unsigned soak_judge(const struct watch *w, size_t from, const struct soak_load *load,
		    struct buf *out)
{
	unsigned wrong = judge_load(w, from, load, out);

	for (enum bench_stage i = 0; i < BENCH_STAGES; i++)
		wrong += judge_stage(w, from, i, out);
	return wrong;
}
