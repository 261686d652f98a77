/*
 * A schedule of faults goes over a relay while events flow (scene.h). Then everything is made whole
 * again, and what is still due has to come.
 *
 * Of every step it is told whether it took effect, and how often: writes that failed, connections
 * that were cut, processes that were killed. A step may meet nothing: a disk that nobody writes to,
 * a stage that is dead already.
 */
#pragma once

#include "tests/faults/scene.h"
#include "tests/faults/schedule.h"

/* Of the steps of a kind. */
struct ordeal_fault {
	unsigned planned;
	unsigned hit;     /* those that took effect */
	uint64_t effects; /* of all of them together */
};

/* Sums, but for the times and ok: ordeal_add. */
struct ordeal_result {
	uint64_t usec;     /* of the schedule, as it was */
	uint64_t sent;     /* events */
	uint64_t sent_end; /* by the end of the schedule */
	uint64_t logged;   /* sequence numbers used */
	uint64_t received[SCENE_CLIENTS];
	uint64_t connections[SCENE_CLIENTS];
	unsigned signals[CONTROL_STAGES][SCENE_SIGNALS];
	struct ordeal_fault faults[FAULT_TYPES];
	struct judge_report report;
	uint64_t silence_usec; /* the longest time without an event for the consumer that stays */
	uint64_t end_usec;     /* from the end of the schedule until everything due had come */
	bool ok;
};

/* Processes of such a group. */
unsigned ordeal_members(const struct scene_settings *s);
/* Whether nothing was lost, repeated, out of order, or numbered twice; if not, says what, with the
 * schedule, and the test has failed. what: for people. */
bool ordeal_run(const struct scene_settings *settings, const struct schedule *schedule,
		const char *what, struct ordeal_result *ret);
void ordeal_add(struct ordeal_result *sum, const struct ordeal_result *r);
/* Lines for people: the table of faults, and what came of them. */
void ordeal_print(const struct ordeal_result *r);
