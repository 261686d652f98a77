/*
 * All consumers of this process: they are woken when the log has grown, all in one pass for
 * whatever came in meanwhile, and looked after now and then (progress, pings, deadlines).
 *
 * A call costs nearly the same for one event as for several, so a pass is followed by a rest as
 * long as itself, until both take twice CONSUMERS_REST_USEC: few consumers get each event at once,
 * and many get more of them with each call. A pass goes on over turns of the loop, some consumers
 * in each, so that notices are read meanwhile and who is served late gets what is new by then:
 * nobody waits for longer than a pass. Those that are behind have their turns in between.
 *
 * Bounded by settings.max, and by settings.max_per_client of one client. A place is taken before
 * the handshake and given back when the consumer ends, or was none after all.
 */
#pragma once

#include "common/log.h"
#include "common/memory.h"
#include "common/metrics.h"

#include "fanout/consumer.h"
#include "fanout/cursor.h"
#include "fanout/quota.h"

/* A cursor that this replica has not heard of may be of another one, which hears sooner. It is in
 * the future when a notice that comes after this time knows nothing of it either. */
#define CONSUMERS_AHEAD_USEC (500 * USEC_PER_MSEC)

#define CONSUMERS_REST_USEC      (10 * USEC_PER_MSEC)
#define CONSUMERS_SERVED_AT_ONCE 256 /* about 3 ms of calls */

/* A hundred that come back in a second are a burden to nobody. */
#define CONSUMERS_DRAIN_STEP_USEC (10 * USEC_PER_MSEC)

struct consumers_settings {
	size_t max;
	size_t max_per_client;  /* 0: no limit */
	uint64_t ping_usec;     /* a quiet consumer is pinged, and has this time to answer */
	uint64_t progress_usec; /* in which it has to take something of what waits for it */
	uint64_t drain_usec;    /* in which consumers_stop closes them, one after another */
};

/* Whether there is a place: the label `reason` of relay_consumers_refused_total. */
enum room { ROOM_FREE, ROOM_STOPPING, ROOM_UNKNOWN, ROOM_FULL, ROOM_CLIENT_FULL, ROOM_COUNT };

struct consumers {
	struct loop *loop;
	struct window *window; /* borrows */
	struct consumers_settings settings;
	struct consumer *first;
	size_t count;
	size_t places;      /* taken */
	struct quota quota; /* of these, by client */
	uint64_t last_id;
	size_t ahead_count; /* consumers with ahead_since_usec */
	struct loop_task wake;
	struct consumer *next_served; /* of the pass that is under way; NULL: none is */
	uint64_t pass_usec;           /* that it took so far */
	struct loop_timer rest;       /* set: a pass goes on, or what comes in waits for a rest */
	bool wake_due;                /* to be woken after it */
	struct loop_timer check;
	bool stopping;
	struct loop_timer drain;
	uint64_t drain_since_usec, drain_usec;
	size_t drain_count, drained; /* how many there were, and how many have been closed */
	struct consumer *drain_next; /* those from here on have not */
	void (*stopped)(void *arg);
	void *stopped_arg;
	struct log_limit log_limit;
	uint64_t *started_total, *events_total, *bytes_total;
	uint64_t *ends_total[END_COUNT];
	uint64_t *refused_total[ROOM_COUNT];
};

void consumers_init(struct consumers *s, struct loop *l, struct window *w,
		    const struct consumers_settings *settings, struct metrics *m, struct memory *a);
/* Whoever is still there is cut off. */
void consumers_release(struct consumers *s);

/* Takes a place if there is one, else counts the refusal. */
enum room consumers_take_place(struct consumers *s, const struct visitor *who,
			       const struct cursor *cursor);
/* For a consumer that is gone, or did not become one. */
void consumers_give_back(struct consumers *s, const struct visitor *who);
/* A new consumer whose handshake is done, with the place that was taken for it. Takes the
 * wire; extra: what it sent behind the handshake. */
void consumers_add(struct consumers *s, const struct wire *wire, const struct visitor *who,
		   const struct cursor *cursor, struct span extra);
/* A notice has come, whatever it says: who is still ahead of the log by it is told. */
void consumers_judge_ahead(struct consumers *s);
/* The log has grown: everybody is woken before the loop sleeps, or after the rest. */
void consumers_wake(struct consumers *s);
void consumers_close_all(struct consumers *s, enum consumer_end end);
/*
 * Closes everybody, spread evenly over settings.drain_usec, but not slower than one in
 * CONSUMERS_DRAIN_STEP_USEC: they come back elsewhere as they are closed here. Until then they are
 * served. stopped is called when nobody is left, within that time, CONSUMER_CLOSE_USEC and one
 * second. It may be called from inside.
 */
void consumers_stop(struct consumers *s, void (*stopped)(void *arg), void *arg);
