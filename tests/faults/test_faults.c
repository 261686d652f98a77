/*
 * A relay under faults, always the same ones. FAULT_SECONDS=n makes it a long run: a schedule of
 * every single fault, and then random ones until the time is over; TEST_SEED=n begins with that
 * seed.
 */
#include <stdlib.h>
#include <time.h>

#include "tests/faults/ordeal.h"
#include "tests/test.h"

#define SHORT_USEC (10 * USEC_PER_SEC)
#define LONG_USEC  (20 * USEC_PER_SEC)
#define PER_SEC    2000

static uint64_t seconds_wanted(void)
{
	const char *text = getenv("FAULT_SECONDS");
	uint64_t seconds = 0;

	return text && sscanf(text, "%" SCNu64, &seconds) == 1 ? seconds : 0;
}

static uint64_t now_usec(void)
{
	struct timespec now = {0};

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static struct scene_settings settings_for(uint64_t usec)
{
	return (struct scene_settings){
		.seed = 1,
		.events = PER_SEC * usec / USEC_PER_SEC,
		.per_sec = PER_SEC,
		.lanes = 2,
		.replicas = 1,
	};
}

static bool run(const struct scene_settings *settings, const struct schedule *schedule,
		const char *what, struct ordeal_result *sum)
{
	struct ordeal_result r;
	bool ok = ordeal_run(settings, schedule, &r);

	printf("# %s seed=%" PRIu64 ": %s, events=%" PRIu64 " logged=%" PRIu64
	       " faults=%u signals=%u power_cut_bytes=%" PRIu64
	       " longest_silence=%.1fs rest_after=%.1fs\n",
	       what, schedule->seed, ok ? "nothing lost" : "FAILED", r.events, r.logged, r.steps,
	       r.signals, r.lost_bytes, (double)r.silence_usec / 1e6, (double)r.end_usec / 1e6);
	fflush(stdout);
	sum->events += r.events;
	sum->logged += r.logged;
	sum->steps += r.steps;
	sum->signals += r.signals;
	sum->lost_bytes += r.lost_bytes;
	return ok;
}

TEST(a_fault_of_every_kind)
{
	struct scene_settings settings = settings_for(LONG_USEC);
	struct ordeal_result sum = {0};
	struct schedule s;

	schedule_make_all(&s, 1, LONG_USEC, ordeal_members(&settings));
	run(&settings, &s, "every kind", &sum);
}

TEST(random_faults)
{
	struct scene_settings settings = settings_for(SHORT_USEC);
	struct ordeal_result sum = {0};
	struct schedule s;

	schedule_make(&s, 2, SHORT_USEC, ordeal_members(&settings));
	run(&settings, &s, "random", &sum);
}

static void the_long_run(void)
{
	uint64_t until = now_usec() + seconds_wanted() * USEC_PER_SEC;
	struct scene_settings settings = settings_for(LONG_USEC);
	struct ordeal_result sum = {0};
	unsigned schedules = 0, failed = 0;
	uint64_t seed = test_random();
	struct schedule s;

	for (enum fault_type t = 0; t < FAULT_TYPES; t++, schedules++) {
		schedule_make_single(&s, t, seed, LONG_USEC, ordeal_members(&settings));
		failed += !run(&settings, &s, fault_type_name(t), &sum);
	}
	for (; now_usec() < until; schedules++) {
		schedule_make(&s, ++seed, LONG_USEC, ordeal_members(&settings));
		failed += !run(&settings, &s, "random", &sum);
	}
	printf("# schedules=%u failed=%u events=%" PRIu64 " logged=%" PRIu64
	       " faults=%u signals=%u power_cut_bytes=%" PRIu64 "\n",
	       schedules, failed, sum.events, sum.logged, sum.steps, sum.signals, sum.lost_bytes);
}

/* Only where it is asked for. */
__attribute__((constructor)) static void register_the_long_run(void)
{
	static struct test test = {"the_long_run", the_long_run, NULL};

	if (seconds_wanted() > 0)
		test_register(&test);
}
