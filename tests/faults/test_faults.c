/*
 * A relay under faults, always the same ones. FAULT_SECONDS=n makes it a long run: a schedule of
 * every single fault, and then random ones until the time is over; TEST_SEED=n begins with that
 * seed.
 */
#include <stdlib.h>
#include <time.h>

#include "tests/faults/ordeal.h"
#include "tests/test.h"

#define SHORT_USEC        (10 * USEC_PER_SEC)
#define LONG_USEC         (20 * USEC_PER_SEC)
#define DARK_USEC         (150 * USEC_PER_SEC)
#define DARK_EVERY        60 /* random schedules: one of them is that long and dark */
#define CHANGES_EVERY     3  /* random schedules: in one of them identities change */
#define DARK_ACCOUNTS     4000
#define DARK_WINDOW_BYTES MIB(128)
#define PER_SEC           2300 /* 2,000 in the mean: before identities change all has to come */
#define SILENCE_USEC      (30 * USEC_PER_SEC)

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
		.forgets = true,
		.makes_up_waits = true,
	};
}

/* Of a schedule that insists on it: every kind that it has took effect. */
static void check_effects(const struct ordeal_result *r)
{
	for (enum fault_type t = 0; t < FAULT_TYPES; t++)
		if (r->faults[t].hit < r->faults[t].planned)
			test_fail(__FILE__, __LINE__, "%s took no effect", fault_type_name(t));
}

TEST(a_fault_of_every_kind)
{
	struct scene_settings settings = settings_for(LONG_USEC);
	struct ordeal_result r;
	struct schedule s;

	schedule_make_all(&s, 1, LONG_USEC, ordeal_members(&settings));
	ordeal_run(&settings, &s, "every kind", &r);
	ordeal_print(&r);
	check_effects(&r);
	for (enum fault_type t = 0; t < FAULT_TYPES; t++)
		CHECK_INT(r.faults[t].planned, 1);
}

/* Each of a host or stage that the one before it has just struck. */
TEST(a_fault_that_meets_nobody_is_done_again)
{
	const uint64_t at = USEC_PER_SEC / 2, later = USEC_PER_SEC, usec = 2 * USEC_PER_SEC;
	const unsigned validate = 1u << 3;
	const struct schedule s = {
		.insists = true,
		.usec = usec,
		.count = 6,
		.steps =
			{{.type = FAULT_HOST_VANISHES, .at_usec = at, .for_usec = 1, .host = 7},
			 {.type = FAULT_HOST_CUTS, .at_usec = at + 1, .host = 7},
			 {.type = FAULT_HOST_VANISHES, .at_usec = at + 1, .for_usec = 1, .host = 7},
			 {.type = FAULT_KILL, .at_usec = later, .members = validate},
			 {.type = FAULT_STOP, .at_usec = later, .for_usec = 1, .members = validate},
			 {.type = FAULT_TERM, .at_usec = later + 1, .members = validate}},
	};
	struct scene_settings settings = settings_for(usec);
	struct ordeal_result r;

	CHECK(ordeal_run(&settings, &s, "met nobody", &r));
	check_effects(&r);
}

TEST(random_faults)
{
	struct scene_settings settings = settings_for(SHORT_USEC);
	struct ordeal_result r;
	struct schedule s;

	schedule_make(&s, 2, SHORT_USEC, ordeal_members(&settings));
	ordeal_run(&settings, &s, "random", &r);
}

struct long_run {
	struct scene_settings settings;
	struct ordeal_result sum;
	unsigned schedules, failed;
};

/* After a fault of which nothing is left, the stream goes on: at once, but for a machine that is
 * busy. */
static void check_silence(const struct ordeal_result *r, uint64_t for_usec)
{
	if (r->silence_usec > for_usec + SILENCE_USEC)
		test_fail(__FILE__, __LINE__, "nothing came for %.1f s",
			  (double)r->silence_usec / 1e6);
}

static void go_on(struct long_run *l, const struct schedule *s, const char *what)
{
	struct ordeal_result r;

	l->schedules++;
	l->failed += !ordeal_run(&l->settings, s, what, &r);
	CHECK(r.usec >= s->usec);
	if (s->insists) {
		check_effects(&r);
		check_silence(&r, s->steps[0].for_usec);
	}
	ordeal_add(&l->sum, &r);
}

/* More and more accounts wait for news of their identities, and the others go on: there are many,
 * and windows that have room for what waits. */
static void go_on_in_the_dark(struct long_run *l, uint64_t seed, unsigned members)
{
	struct scene_settings usual = l->settings;
	struct schedule s;

	l->settings.events = PER_SEC * (DARK_USEC / USEC_PER_SEC);
	l->settings.accounts = DARK_ACCOUNTS;
	l->settings.window_bytes = DARK_WINDOW_BYTES;
	l->settings.no_changes = true;
	l->settings.forgets = false;
	schedule_make_dark(&s, seed, DARK_USEC, members);
	go_on(l, &s, "random, without a directory");
	l->settings = usual;
}

static void the_long_run(void)
{
	uint64_t begin = now_usec(), until = begin + seconds_wanted() * USEC_PER_SEC;
	struct long_run l = {.settings = settings_for(LONG_USEC)};
	unsigned members = ordeal_members(&l.settings);
	uint64_t seed = test_random();
	struct schedule s;

	for (enum fault_type t = 0; t < FAULT_TYPES; t++) {
		schedule_make_single(&s, t, seed, LONG_USEC, members);
		go_on(&l, &s, fault_type_name(t));
	}
	for (unsigned i = 1; now_usec() < until; i++) {
		if (i % DARK_EVERY == 0) {
			go_on_in_the_dark(&l, ++seed, members);
			continue;
		}
		schedule_make(&s, ++seed, LONG_USEC, members);
		l.settings.no_changes = i % CHANGES_EVERY != 0;
		go_on(&l, &s, l.settings.no_changes ? "random" : "random, with changes");
	}
	ordeal_print(&l.sum);
	printf("# schedules=%u (%u of a single fault) failed=%u seconds=%.0f, of them with faults "
	       "%.0f;"
	       " events a second %.0f\n",
	       l.schedules, (unsigned)FAULT_TYPES, l.failed, (double)(now_usec() - begin) / 1e6,
	       (double)l.sum.usec / 1e6, (double)l.sum.sent_end * 1e6 / (double)l.sum.usec);
}

/* Only where it is asked for. */
__attribute__((constructor)) static void register_the_long_run(void)
{
	static struct test test = {"the_long_run", the_long_run, NULL};

	if (seconds_wanted() > 0)
		test_register(&test);
}
