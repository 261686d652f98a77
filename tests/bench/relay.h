/*
 * A relay in a simulated network, for benches: the network and a consumer live in the bench's own
 * process, the stages in theirs, so that what a stage costs is what its process was given.
 */
#pragma once

#include "tests/bench/bench.h"
#include "tests/lib/group.h"
#include "tests/simnet/network.h"
#include "tests/simnet/reader.h"

enum bench_stage {
	BENCH_INGEST,
	BENCH_RESOLVE,
	BENCH_VALIDATE,
	BENCH_STORE,
	BENCH_FANOUT,
	BENCH_STAGES,
};

/* "ingest", ... */
extern const char *const bench_stage_names[BENCH_STAGES];

struct bench_relay {
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct group_test *group;
	pid_t pids[BENCH_STAGES];
	struct stream_reader *reader;
	uint64_t received;                           /* events, by the consumer */
	void (*frame)(void *arg, struct span frame); /* is told of each; may be NULL */
	void *arg;
};

/* settings: more lines "section.key=value", NULL at the end. The first host's list is the relay's
 * bootstrap. Copies what it needs of the world's settings, but for the port, which is a free one. */
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
/* What each stage has had so far. */
void bench_relay_cpu(const struct bench_relay *r, uint64_t ret_nsec[static BENCH_STAGES]);
