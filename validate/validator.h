/*
 * The stage: events of one lane come in from ingest, go through the judge, and leave for store, or
 * are refused; acknowledgements go back.
 *
 *	ingest --events--> [ upstream ] judge [ downstream ] --verified--> store
 *	       <--acks----      ^         |                  <---acks----
 *			        |   inquiry <--> resolve
 *
 * Nothing here outlives a session. When the downstream session ends, the upstream one is ended too,
 * and whatever is in hand forgotten: ingest sends its window again. When the upstream session ends,
 * store must forget what it has of it, so the downstream one is ended.
 *
 * While store takes no more, the upstream lane is held: events then wait in ingest's window, but
 * for the rest of the message in hand.
 */
#pragma once

#include "common/stage.h"

struct validator;

/* Opens the pipes, downstream first. Logs why it cannot. */
int validator_new(struct stage *stage, struct validator **ret) MUST_CHECK;
void validator_free(struct validator *v);
/* Sends what is in hand and ends the loop. */
void validator_stop(void *validator);
