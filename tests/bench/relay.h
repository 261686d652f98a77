/*
 * A relay in a simulated network, for benches: the network and a consumer live in the bench's own
 * process, the stages in theirs, so that what a stage costs is what its process was given.
 */
#pragma once

#include "tests/bench/bench.h"
#include "tests/simnet/player.h"
#include "tests/simnet/relay.h"

enum bench_stage {
	BENCH_INGEST,
	BENCH_RESOLVE,
	BENCH_VALIDATE,
	BENCH_STORE,
	BENCH_FANOUT,
	BENCH_STAGES,
};

/* "ingest", ..., and the members of the group: "validate-0", ... */
extern const char *const bench_stage_names[BENCH_STAGES], *const bench_member_names[BENCH_STAGES];

struct bench_relay {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct group_test *group;
	pid_t pids[BENCH_STAGES];
	struct stream_reader *reader;
	uint64_t received; /* events, by the consumer */
	/* For the bench, to be told of each event; may be NULL. */
	void (*on_send)(void *arg, struct span frame);
	void (*on_frame)(void *arg, struct span frame);
	void *arg;
	struct player *player; /* from the first bench_relay_play on */
	uint64_t due;          /* of what was sent, that has to come out */
	uint64_t end;          /* of what is sent */
};

/* settings: see relay_new. Copies what it needs of the world's settings, but for the port, which is
 * a free one. */
void bench_relay_open(struct bench_relay *r, const struct world_settings *w,
		      const char *const *settings);
void bench_relay_close(struct bench_relay *r);
/* Returns when the group serves; its consumer is connected then. */
void bench_relay_start(struct bench_relay *r);
void bench_relay_stop(struct bench_relay *r);
/* Every host of the world has a subscriber. */
bool bench_relay_wait_hosts(struct bench_relay *r);
/* Waits with progress lines, for at most so many seconds; false (and a failed check) after that. */
bool bench_relay_wait(struct bench_relay *r, bool (*condition)(void *arg), void *arg,
		      unsigned seconds, const char *what);
/* Lets the hosts send the next count events of the corpus, which has events only; per_sec: 0 for as
 * fast as their sockets take them. Borrows the corpus; begins with the next turn of the loop. */
void bench_relay_play(struct bench_relay *r, struct corpus *corpus, uint64_t count,
		      uint64_t per_sec);
/* No more for now. */
void bench_relay_pause(struct bench_relay *r);
/* All that was sent is with the consumer. For bench_relay_wait; arg: the relay. */
bool bench_relay_has_all(void *arg);
/* What each stage has had so far. */
void bench_relay_cpu(const struct bench_relay *r, uint64_t ret_nsec[static BENCH_STAGES]);
