/*
 * The stage: takes verified events from every lane, numbers and keeps them, acknowledges them, and
 * tells fanout how far the log is real.
 *
 *	lanes --> intake --> storage: decide and gather
 *	                        |  at the end of the loop's turn, or when the group is full
 *	                     storage: commit
 *	      <-- acknowledgements, head notice
 *
 * While one group is on its way to the disk the next one gathers in the pipes, so groups grow with
 * the load and nobody waits for a timer. A disk without room stops the lanes, is told with the head
 * notices, and is tried again from time to time, also at a start; any other failure ends the
 * process, whose next start recovers.
 */
#pragma once

#include "common/stage.h"

struct store;

/* Logs why it cannot. */
int store_new(struct stage *stage, struct store **ret) MUST_CHECK;
void store_free(struct store *s);
/* Makes durable what is in hand, acknowledges it, and ends the loop. */
void store_stop(void *arg);
