/*
 * Plays a corpus on a network at a rate, and keeps the judge informed. At a barrier it waits until
 * the judge has all that is due, then the identities change.
 */
#pragma once

#include "tests/simnet/judge.h"
#include "tests/simnet/network.h"

/* At full speed, so many bytes wait for the hosts' sockets at most, and one event. */
#define PLAYER_PENDING_BYTES MIB(8)

struct player;

/* per_sec: events a second; 0: as fast as the hosts' sockets take them. A rate is kept whatever the
 * sockets take; of a time in which the loop stood still, a second at most is made up for. judge may
 * be NULL: then barriers are passed at once. Borrows all until player_free; w is the network's
 * world. Plays from where the corpus stands. */
struct player *player_new(struct loop *l, struct corpus *c, struct world *w, struct network *n,
			  struct judge *j, uint64_t per_sec);
void player_free(struct player *p);
void player_start(struct player *p);
/* So many events more, and no more until it is told to. Not while it plays. */
void player_start_for(struct player *p, uint64_t events);
void player_stop(struct player *p);
/* f is told of each event before it is sent. */
void player_on_send(struct player *p, void (*f)(void *arg, const struct corpus_record *r),
		    void *arg);
void player_set_rate(struct player *p, uint64_t per_sec);
/* Waits at barriers are made up for too, as fast as it goes, and so much of any wait. */
void player_make_up(struct player *p, uint64_t usec);
/* All of the corpus is with the hosts. */
bool player_is_done(const struct player *p);
uint64_t player_sent(const struct player *p);
