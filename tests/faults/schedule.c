#include "tests/faults/schedule.h"

#include <inttypes.h>
#include <stdlib.h>

#include "tests/faults/control.h"
#include "tests/lib/random.h"

#define CLOCK_MAX_USEC (100 * USEC_PER_SEC)  /* less than a rev may be ahead */
#define TORN_MAX_BYTES MIB(1)                /* modulo the size of a write */
#define CUT_MAX_USEC   (100 * USEC_PER_MSEC) /* a sync takes that long before a power cut */

/* The kinds by how often they are drawn, and how long they last. */
static const struct {
	const char *name;
	unsigned weight;
	uint64_t max_usec; /* 0: over at once */
} types[FAULT_TYPES] = {
	[FAULT_KILL] = {"kill", 6, 0},
	[FAULT_TERM] = {"term", 3, 0},
	[FAULT_STOP] = {"stop", 3, 4 * USEC_PER_SEC},
	[FAULT_CRASH] = {"crash", 1, 0},
	[FAULT_RESTART] = {"restart", 1, 0},
	[FAULT_POWER_CUT] = {"power_cut", 2, 0},
	[FAULT_CUT_PIPES] = {"cut_pipes", 3, 0},
	[FAULT_DISK_FULL] = {"disk_full", 2, 3 * USEC_PER_SEC},
	[FAULT_WRITE_ERROR] = {"write_error", 1, 200 * USEC_PER_MSEC},
	[FAULT_SYNC_ERROR] = {"sync_error", 1, 200 * USEC_PER_MSEC},
	[FAULT_TORN_WRITE] = {"torn_write", 3, 0},
	[FAULT_SLOW_DISK] = {"slow_disk", 2, 3 * USEC_PER_SEC},
	[FAULT_CLOCK] = {"clock", 2, 5 * USEC_PER_SEC},
	[FAULT_DIRECTORY_DOWN] = {"directory_down", 1, 5 * USEC_PER_SEC},
	[FAULT_HOST_VANISHES] = {"host_vanishes", 2, 3 * USEC_PER_SEC},
	[FAULT_HOST_CUTS] = {"host_cuts", 2, 0},
};

const char *fault_type_name(enum fault_type t)
{
	return types[t].name;
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
	return random_mix(*state += UINT64_C(0x9e3779b97f4a7c15)) % below;
}

static enum fault_type draw_type(uint64_t *state)
{
	unsigned sum = 0, at;

	for (size_t i = 0; i < FAULT_TYPES; i++)
		sum += types[i].weight;
	at = (unsigned)draw(state, sum);
	for (enum fault_type t = 0; t < FAULT_TYPES; t++) {
		if (at < types[t].weight)
			return t;
		at -= types[t].weight;
	}
	abort();
}

/* One in most cases, sometimes two at once, seldom all. */
static unsigned draw_members(uint64_t *state, unsigned count)
{
	unsigned one = 1u << draw(state, count);

	switch (draw(state, 10)) {
	case 0:
		return (1u << count) - 1;
	case 1:
	case 2:
		return one | 1u << draw(state, count);
	default:
		return one;
	}
}

/* Most faults of disks are store's. */
static unsigned draw_disks(uint64_t *state)
{
	static const unsigned disks[] = {
		1u << CONTROL_STORE,
		1u << CONTROL_STORE,
		1u << CONTROL_STORE,
		1u << CONTROL_INGEST,
		1u << CONTROL_RESOLVE,
		1u << CONTROL_STORE | 1u << CONTROL_INGEST | 1u << CONTROL_RESOLVE};

	return disks[draw(state, ARRAY_SIZE(disks))];
}

static int64_t draw_amount(uint64_t *state, enum fault_type t)
{
	switch (t) {
	case FAULT_TORN_WRITE:
		return 1 + (int64_t)draw(state, TORN_MAX_BYTES);
	case FAULT_POWER_CUT:
		return (int64_t)draw(state, CUT_MAX_USEC);
	case FAULT_SLOW_DISK:
		return 1000 + (int64_t)draw(state, 300000);
	case FAULT_CLOCK:
		return (int64_t)draw(state, 2 * CLOCK_MAX_USEC) - (int64_t)CLOCK_MAX_USEC;
	default:
		return 0;
	}
}

static void draw_step(struct fault_step *s, uint64_t *state, enum fault_type t, uint64_t at_usec,
		      uint64_t end_usec, unsigned members)
{
	uint64_t most = types[t].max_usec < end_usec - at_usec ? types[t].max_usec
							       : end_usec - at_usec;

	*s = (struct fault_step){
		.type = t,
		.at_usec = at_usec,
		.for_usec = most > 0 ? 1 + draw(state, most) : 0,
		.host = (uint32_t)draw(state, UINT32_MAX),
		.amount = draw_amount(state, t),
	};
	switch (t) {
	case FAULT_DISK_FULL:
	case FAULT_WRITE_ERROR:
	case FAULT_SYNC_ERROR:
	case FAULT_SLOW_DISK:
		s->is_disk = true;
		s->members = draw_disks(state);
		break;
	case FAULT_CUT_PIPES:
		s->members = draw_members(state, CONTROL_STAGES);
		break;
	default:
		s->members = draw_members(state, members);
	}
}

/* These heal everything else. */
static bool brings_the_directory_back(enum fault_type t)
{
	return t == FAULT_DIRECTORY_DOWN || t == FAULT_CRASH || t == FAULT_RESTART ||
	       t == FAULT_POWER_CUT;
}

static void make(struct schedule *s, uint64_t *state, uint64_t at, bool is_dark, unsigned members)
{
	while (s->count < FAULTS_MAX && at < s->usec) {
		enum fault_type t = draw_type(state);

		if (!is_dark || !brings_the_directory_back(t))
			draw_step(&s->steps[s->count++], state, t, at, s->usec, members);
		at += draw(state, 2 * USEC_PER_SEC);
	}
}

void schedule_make(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members)
{
	uint64_t state = seed;

	*s = (struct schedule){.seed = seed, .usec = usec};
	make(s, &state, USEC_PER_SEC / 2, false, members);
}

void schedule_make_dark(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members)
{
	uint64_t state = seed;

	*s = (struct schedule){.seed = seed, .usec = usec, .count = 1};
	s->steps[0] = (struct fault_step){
		.type = FAULT_DIRECTORY_DOWN,
		.at_usec = DARK_MARGIN_USEC,
		.for_usec = usec - 2 * DARK_MARGIN_USEC,
	};
	make(s, &state, DARK_MARGIN_USEC, true, members);
}

void schedule_make_all(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members)
{
	uint64_t state = seed, part = usec / (FAULT_TYPES + 1), at = part;

	*s = (struct schedule){.seed = seed, .usec = usec, .insists = true};
	draw_step(&s->steps[s->count++], &state, FAULT_DIRECTORY_DOWN, 0, part, members);
	for (enum fault_type t = 0; t < FAULT_TYPES; t++) {
		if (t == FAULT_DIRECTORY_DOWN)
			continue;
		draw_step(&s->steps[s->count++], &state, t, at, at + part, members);
		at += part;
	}
}

void schedule_make_single(struct schedule *s, enum fault_type type, uint64_t seed, uint64_t usec,
			  unsigned members)
{
	uint64_t state = seed, at = type == FAULT_DIRECTORY_DOWN ? 0 : usec / 3;

	*s = (struct schedule){.seed = seed, .usec = usec, .insists = true, .count = 1};
	draw_step(&s->steps[0], &state, type, at, usec, members);
	if (s->steps[0].is_disk)
		s->steps[0].members = 1u << CONTROL_STORE;
	if (type == FAULT_CLOCK)
		s->steps[0].amount = (int64_t)CLOCK_MAX_USEC;
}

void schedule_print(const struct schedule *s, FILE *out)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct fault_step *f = &s->steps[i];

		fprintf(out,
			"#   at %.3f s: %s members=%x for=%.3f s host=%" PRIu32 " amount=%" PRId64
			"\n",
			(double)f->at_usec / 1e6, fault_type_name(f->type), f->members,
			(double)f->for_usec / 1e6, f->host, f->amount);
	}
}
