#include "common/lag.h"

#define SLOT_USEC (10 * USEC_PER_SEC)

static void turn(struct lag *l, uint64_t now_usec)
{
	uint64_t slot = now_usec / SLOT_USEC;

	if (slot == l->slot)
		return;
	l->max_before_usec = slot == l->slot + 1 ? l->max_usec : 0;
	l->max_usec = 0;
	l->slot = slot;
}

static uint64_t get_sum_usec(void *arg)
{
	const struct lag *l = arg;

	return l->sum_usec;
}

static uint64_t get_max_usec(void *arg)
{
	struct lag *l = arg;

	turn(l, clock_usec());
	return l->max_usec > l->max_before_usec ? l->max_usec : l->max_before_usec;
}

void lag_register(struct lag *l, struct metrics *m)
{
	*l = (struct lag){
		.events = metrics_counter(m, "relay_lag_events_total",
					  "Events in relay_lag_seconds_total.", NULL),
	};
	metrics_seconds_call(m, "relay_lag_seconds_total",
			     "Time from ingest's receiving an event to this stage's being done "
			     "with it, added up.",
			     NULL, get_sum_usec, l);
	metrics_seconds_call(m, "relay_lag_max_seconds",
			     "The longest such time within the last 10 to 20 seconds.", NULL,
			     get_max_usec, l);
}

void lag_note(struct lag *l, uint64_t events, uint64_t received_usec, uint64_t now_usec)
{
	uint64_t usec = now_usec > received_usec ? now_usec - received_usec : 0;

	turn(l, now_usec);
	*l->events += events;
	l->sum_usec += events * usec;
	if (usec > l->max_usec)
		l->max_usec = usec;
}
