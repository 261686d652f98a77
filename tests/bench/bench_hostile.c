/*
 * What events cost that are made to cost much (tests/lib/hostile.h), as the stage checks them: each
 * must stay below 20 ms, so that a host cannot hold up a lane by what it sends.
 */
#include "tests/bench/bench.h"
#include "tests/lib/hostile.h"
#include "validate/check.h"

#define MAX_MS    20
#define NAME_SIZE 96

static double check_once(struct checker *c, const struct hostile *h)
{
	const struct check_rules rules = {.received_usec = HOSTILE_USEC};
	static struct frame frame;
	struct signature_key key;
	struct verified verified;
	enum verdict v;
	uint64_t start;

	CHECK_INT(signatures_parse_key(checker_signatures(c), &h->key, &key), 0);
	start = bench_thread_nsec();
	v = frame_decode(buf_span(&h->frame), &frame);
	if (v == VERDICT_ACCEPTED)
		v = check_fields(&frame, &rules);
	if (v == VERDICT_ACCEPTED)
		v = check_blocks(c, &frame, &key, &rules, &verified);
	start = bench_thread_nsec() - start;
	CHECK_INT(v, h->want);
	return (double)start / 1e6;
}

TEST(hostile)
{
	double runs[BENCH_RUNS], max[BENCH_RUNS] = {0}, least;
	struct checker *c = checker_new();
	struct hostile h;

	bench_begin("hostile");
	bench_setting("events", "each alone, %d times, by one checker; at most %d ms each",
		      BENCH_RUNS, MAX_MS);
	for (size_t i = 0; hostile_make(i, &h); i++) {
		char name[NAME_SIZE];

		least = MAX_MS;
		for (size_t run = 0; run < BENCH_RUNS; run++) {
			runs[run] = check_once(c, &h);
			max[run] = runs[run] > max[run] ? runs[run] : max[run];
			least = runs[run] < least ? runs[run] : least;
		}
		snprintf(name, sizeof(name), "verify.hostile_ms.%s", h.name);
		bench_figure(name, "ms", runs, BENCH_RUNS);
		/* What else runs on the machine only adds. */
		CHECK(least < MAX_MS);
		hostile_release(&h);
	}
	bench_figure("verify.hostile_max_ms", "ms", max, BENCH_RUNS);
	bench_end();
	checker_free(c);
}
