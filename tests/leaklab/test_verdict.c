/* What a soak says to memory of which it is known how it grows. */
#include "tests/leaklab/soak.h"

#include "tests/test.h"

#define EVERY_USEC (5 * USEC_PER_SEC)
#define RESIDENT   MIB(30)

/* As an hour of a relay is that is well, but for what a case says of one stage. */
struct story {
	const char *name;
	enum bench_stage stage;
	double leak_mib, resident_mib; /* an hour */
	int64_t step_bytes;            /* after a quarter of the time */
	double per_sec, percent;       /* of events; of them that need a resolve */
	int64_t cache_permille;
	unsigned minutes;
	const char *said; /* NULL: nothing */
	unsigned wrong;
};

static const struct story stories[] = {
	{"all is well", BENCH_RESOLVE, 0, 0, 0, 2000, 20, 1000, 60, NULL, 0},
	{"a resolver that leaks 512 bytes of each document", BENCH_RESOLVE, 703, 703, 0, 2000, 20,
	 1000, 5, "resolve grows by +", 2},
	{"a slow leak", BENCH_INGEST, 1.2, 1.2, 0, 2000, 20, 1000, 60, "ingest grows by +1.", 1},
	{"growth within the limit", BENCH_STORE, 0.8, 0.8, 0, 2000, 20, 1000, 60, NULL, 0},
	{"memory that goes away", BENCH_STORE, -1.3, 0, 0, 2000, 20, 1000, 60, "store grows by -1",
	 1},
	{"a step", BENCH_VALIDATE, 0, 0, MIB(1), 2000, 20, 1000, 60, NULL, 0},
	{"resident memory alone", BENCH_FANOUT, 0, 6, 0, 2000, 20, 1000, 60,
	 "fanout: resident memory is not flat: +", 1},
	{"a busy machine", BENCH_RESOLVE, 0, 0, 0, 1700, 20, 1000, 60,
	 "1700 events a second instead of 2000: this machine is too slow, or busy", 1},
	{"too few resolves", BENCH_RESOLVE, 0, 0, 0, 2000, 12, 1000, 60,
	 "12.0 % of the events needed a resolve instead of 20 %", 1},
	{"a cache that is not full", BENCH_VALIDATE, 0, 0, 0, 2000, 20, 700, 60,
	 "validate: its cache was full to 70.0 % when it began", 1},
};

/* A busy stage's unaccounted bytes are within some 100 of a line, its resident ones within 1 MiB,
 * and one sample in ten is far off. */
static void add_sample(struct watch *w, const struct story *s, unsigned i, unsigned count)
{
	struct watch_sample sample = {.at_usec = i * EVERY_USEC};
	double hours = (double)sample.at_usec / 3600e6;

	sample.resolves = (uint64_t)(hours * 3600 * s->per_sec * s->percent / 100);
	for (enum bench_stage b = 0; b < BENCH_STAGES; b++) {
		int64_t *bytes = sample.bytes[b];

		bytes[WATCH_UNACCOUNTED] = (int64_t)(MIB(1) + test_random() % 200);
		bytes[WATCH_RSS] = (int64_t)(RESIDENT + test_random() % MIB(1));
		if (test_random() % 10 == 0)
			bytes[WATCH_UNACCOUNTED] += (int64_t)KIB(300);
		sample.cache_permille[b] = 1000;
	}
	sample.cache_permille[s->stage] = s->cache_permille;
	sample.bytes[s->stage][WATCH_UNACCOUNTED] += (int64_t)(s->leak_mib * hours *
							       (double)MIB(1)) +
						     (i > count / 4 ? s->step_bytes : 0);
	sample.bytes[s->stage][WATCH_RSS] += (int64_t)(s->resident_mib * hours * (double)MIB(1));
	watch_add(w, &sample);
}

static void tell(const struct story *s)
{
	unsigned count = s->minutes * 60 / 5 + 1, wrong;
	struct watch w;
	struct buf said;
	struct soak_load load = {2000, 20, (uint64_t)(s->per_sec * 60 * s->minutes)};

	watch_init(&w, NULL, EVERY_USEC);
	buf_init(&said, KIB(64));
	for (unsigned i = 0; i < count; i++)
		add_sample(&w, s, i, count);
	wrong = soak_judge(&w, 0, &load, &said);
	if (wrong != s->wrong || (s->said && !test_contains(buf_span(&said), s->said)))
		test_fail(__FILE__, __LINE__, "%s: %u wrong, not %u: %.*s", s->name, wrong,
			  s->wrong, (int)said.len, (const char *)said.ptr);
	buf_release(&said);
	watch_release(&w);
}

TEST(the_verdict_on_a_soak)
{
	for (size_t i = 0; i < ARRAY_SIZE(stories); i++)
		tell(&stories[i]);
}
