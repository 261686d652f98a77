/*
 * A schedule of faults goes over a relay while events flow (scene.h). Then everything is made whole
 * again, and what is still due has to come.
 */
#pragma once

#include "tests/faults/scene.h"
#include "tests/faults/schedule.h"

struct ordeal_result {
	uint64_t events;       /* sent */
	uint64_t logged;       /* sequence numbers used */
	unsigned signals;      /* processes that got one that ends or stops them */
	unsigned steps;        /* of the schedule, that were taken */
	uint64_t lost_bytes;   /* by power cuts */
	uint64_t silence_usec; /* the longest time without an event for the consumer that stays */
	uint64_t end_usec;     /* from the end of the schedule until everything due had come */
	bool ok;
};

/* Processes of such a group. */
unsigned ordeal_members(const struct scene_settings *s);
/* Whether nothing was lost, repeated, out of order, or numbered twice; if not, says what, with the
 * schedule, and the test has failed. */
bool ordeal_run(const struct scene_settings *settings, const struct schedule *schedule,
		struct ordeal_result *ret);
