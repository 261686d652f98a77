/*
 * Traffic without an end: commits of the accounts of a world, made when they are sent, so that a
 * run of hours needs no corpus. Some accounts are hot: a relay has their keys in its caches. The
 * others are cold: they take turns, and when the turn comes to one again it has left every cache,
 * so that each event of a cold account needs a resolve.
 *
 * What is sent is borrowed by the network (and by a judge), so it is kept, until feed_forget.
 *
 *	accounts	0 .. hot - 1 | hot .. hot + cold - 1
 *
 * Repositories are small, and stay so: a frame has 2 to 3 KB. It costs about 0.2 ms to make.
 */
#pragma once

#include "common/loop.h"
#include "tests/lib/random.h"
#include "tests/simnet/judge.h"
#include "tests/simnet/network.h"
#include "tests/simnet/repository.h"

struct feed_settings {
	uint32_t hot, cold;
	unsigned cold_percent; /* of events */
	uint64_t per_sec;
	uint64_t arrears_usec; /* at most, made up for after the loop stood still */
};

struct feed_author;
struct feed_block;

struct feed {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct feed_settings settings;
	struct judge *judge; /* told of each event, if it is set */
	/* Told of each event, if it is set. */
	void (*on_send)(void *arg, struct span frame);
	void *arg;
	uint64_t sent, sent_cold;
	/* feed.c's */
	struct feed_author *authors;
	struct feed_block *blocks;
	uint64_t *seqs; /* by host */
	uint64_t kept_bytes;
	struct random random;
	struct draft draft;
	struct buf frame, record;
	struct loop_timer timer;
	uint64_t commit_usec; /* of the revs */
	uint64_t since_usec;
	uint32_t next_cold;
};

/* Borrows the world and its network, in which nobody else sends, until feed_close. */
void feed_open(struct feed *f, struct loop *l, struct world *w, struct network *n,
	       const struct feed_settings *s);
/* After the network. */
void feed_close(struct feed *f);
void feed_start(struct feed *f);
void feed_stop(struct feed *f);
/* After a stop, which is made up for as if the loop had stood still. */
void feed_resume(struct feed *f);
/* One event of every hot account, at once. */
void feed_warm_up(struct feed *f);
/* The hosts forget what they have sent, and its memory is free again. Everything has to be with the
 * relay; with a judge, or before it is closed, it must not be called. */
void feed_forget(struct feed *f);
