/*
 * The end of this process, asked for or of its own accord: it ends when its memory passes
 * resolve.recycle_memory, so that a leak has a bound; whoever started it starts it again. Memory is
 * that of the process which is not of files: the identities' database is mapped, and is none of it.
 *
 * Before the end it drains: it takes no more lookups, and answers those in hand, for RECYCLE_USEC
 * at most. What is not answered then is asked again, over the next connection.
 */
#pragma once

#include "common/stage.h"
#include "resolve/calls.h"
#include "resolve/lanes.h"

#define RECYCLE_USEC     USEC_PER_SEC
/* A process this young is not ended: a limit that is too low would make it a loop. */
#define RECYCLE_AGE_USEC (10 * USEC_PER_SEC)

struct recycle {
	struct stage *stage;
	struct resolver *resolver;
	struct lanes *lanes;
	struct calls *calls;
	uint64_t limit_bytes; /* 0: none */
	uint64_t started_usec;
	uint64_t drain_end_usec;
	struct loop_timer watch, drain;
};

/* Borrows all of it until recycle_release. */
void recycle_init(struct recycle *r, struct stage *stage, struct resolver *resolver,
		  struct lanes *lanes, struct calls *calls);
/* Reads resolve.recycle_memory. */
void recycle_configure(struct recycle *r, const struct config *config);
void recycle_release(struct recycle *r);
/* Drains, and then ends the stage's loop with status 0. */
void recycle_drain(struct recycle *r);
