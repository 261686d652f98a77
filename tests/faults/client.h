/*
 * A consumer of a relay that may die: it holds what it gets against the judge, and when its
 * connection ends it comes back with the number that it had last, until it is told to stay away.
 */
#pragma once

#include "common/loop.h"
#include "tests/simnet/judge.h"
#include "tests/simnet/reader.h"

struct client {
	struct loop *loop;
	uint16_t port;  /* of the relay, at 127.0.0.1 */
	int64_t cursor; /* the first; -1: none */
	struct judge_reader *judged;
	struct stream_reader *reader;
	struct loop_timer dial;
	struct loop_timer change; /* what it does of itself: leaves, or stops reading */
	uint64_t every_usec;      /* 0: nothing */
	bool pauses;              /* stops reading; else it leaves */
	bool paused;
	unsigned connections;
	uint64_t last_usec;    /* when the last event came; 0: none did */
	uint64_t silence_usec; /* the longest between two */
};

/* Connects. Borrows the judge. */
void client_open(struct client *c, struct loop *l, uint16_t port, int64_t cursor, struct judge *j,
		 const char *name);
/* From now on it leaves and comes back after every such time, or stops and begins to read. */
void client_leaves(struct client *c, uint64_t every_usec);
void client_pauses(struct client *c, uint64_t every_usec);
/* It does so no more, and reads. */
void client_behaves(struct client *c);
/* 0: nothing yet. */
uint64_t client_last_seq(const struct client *c);
void client_close(struct client *c);
