/*
 * How far a stage is behind: the time from the moment when ingest received an event to the moment
 * when this stage was done with it. The lag of one hop is what it has more than the one before.
 *
 *	relay_lag_seconds_total / relay_lag_events_total	the mean, over any time
 *	relay_lag_max_seconds					the longest of the last 10 to 20 s
 *
 * Both times are the clock's; one that was set back gives a lag of nothing.
 */
#pragma once

#include "common/metrics.h"

struct lag {
	uint64_t sum_usec;
	uint64_t *events;
	uint64_t slot; /* of 10 s */
	uint64_t max_usec, max_before_usec;
};

/* l is borrowed until metrics_free. */
void lag_register(struct lag *l, struct metrics *m);
/* So many events, received at the same time, are done. */
void lag_note(struct lag *l, uint64_t events, uint64_t received_usec, uint64_t now_usec);
