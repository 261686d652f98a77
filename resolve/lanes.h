/*
 * The identity pipes, one for each lane of validate: lookups in, identities out, in any order. Head
 * and body of both messages are in common/message.h.
 *
 * A peer that does not take its answers first has its lookups wait (LANES_HOLD_BYTES of answers
 * kept), and then, should the answers to what it has asked already come to LANES_OUTBOX_MAX, its
 * connection is ended: it asks again over a new one. When a connection ends, its lookups are
 * forgotten.
 *
 * After a message that is no lookup nothing of its connection is looked at: a peer of another
 * version is told (MESSAGE_REFUSED), any other cut off.
 */
#pragma once

#include "common/stage.h"
#include "resolve/resolver.h"

#define LANES_HOLD_BYTES 262144  /* about 1,000 answers */
#define LANES_OUTBOX_MAX 4194304 /* an eighth of the largest answers to FETCHES_WAITERS_MAX */

struct lanes;

struct lanes *lanes_new(struct loop *loop, struct metrics *metrics, struct memory *memory);
/* resolver: borrowed until lanes_close, which comes before resolver_free. Errors of
 * pipe_listen_pair. */
int lanes_add(struct lanes *l, struct resolver *resolver, const char *url) MUST_CHECK;
void lanes_close(struct lanes *l);
/* Takes no more lookups: they wait at the other end, for the process that comes after this one. */
void lanes_stop(struct lanes *l);
/* The resolver's `answer`. */
void lanes_answer(void *asker, const struct identity *identity);
