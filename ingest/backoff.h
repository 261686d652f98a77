/*
 * How long to wait before a host is dialled again. The wait doubles with every failure in a row,
 * from min to max, with jitter, so that hosts that failed together are not dialled together. A
 * session counts as a failure too if it was short: a host that accepts and closes, or whose first
 * frame always fails, is not dialled in a hot loop. Only a session that was long enough ends the
 * row.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

#define BACKOFF_GOOD_SESSION_USEC                                                                  \
	(60 *                                                                                      \
	 USEC_PER_SEC) /* a minute of service is no short session                             \
			     */
#define BACKOFF_OFFLINE                                                                            \
	15 /* failures in a row, after which a host is called offline, as deployed relays do */

struct backoff {
	uint64_t min_usec;
	uint64_t max_usec;
	unsigned failures; /* in a row */
};

/* A session of this length (0: there was none) ended. Gives the wait, from half the present step to
 * all of it. */
uint64_t backoff_next(struct backoff *b, uint64_t session_usec);
bool backoff_is_offline(const struct backoff *b);
