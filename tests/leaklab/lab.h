/*
 * One relay of the leak lab, in the simulated network: its resolver is built with leaks
 * (leak/leaks.c), all else is as it always is. Traffic comes from accounts that need a resolve, far
 * more of them than on the real network; the stages are watched meanwhile.
 *
 * What a leak comes to is told per resolve, and from that in MiB an hour at the real network's
 * rate.
 */
#pragma once

#include "tests/leaklab/delay.h"
#include "tests/leaklab/feed.h"
#include "tests/leaklab/watch.h"

/* The network's rate, and the share of its events that need a resolve: a relay that runs for long
 * has most keys in its caches; one in five is that of a relay whose caches are too small. */
#define LAB_FRAMES_PER_SEC 700
#define LAB_RESOLVE_SHARE  0.2

struct lab {
	struct bench_relay relay;
	struct feed feed;
	struct watch watch;
	struct judge *judge; /* while it judges */
	struct judge_reader *judged;
	struct delay delay;
	uint64_t started_usec;
	const char *name; /* of the leak, in the table */
};

/* programs: the folder of the group's programs below the build folder; leak: what leaks.c is told,
 * NULL for nothing. Returns when traffic runs. */
void lab_open(struct lab *l, const char *programs, const char *name, const char *leak);
void lab_close(struct lab *l);
/* Runs `standpipe WORDS` for the group, and checks that it did as told. ret: what it printed. */
void lab_order(struct lab *l, struct buf *ret, const char *words);
/* The same for "standpipe set resolve.SETTING". */
void lab_set(struct lab *l, const char *setting);
void lab_unset(struct lab *l, const char *key);
/* Stops the traffic, waits for all of it to come, and forgets it. */
void lab_rest(struct lab *l);
/* Watches for so long, and prints what the samples of that time come to as a row of the table. */
void lab_measure(struct lab *l, const char *experiment, uint64_t usec);
/* The same of the samples from this one on. */
void lab_report(struct lab *l, const char *experiment, size_t from);
/* From now on every event is judged and timed; until lab_judged. Traffic rests at both ends. */
void lab_judge(struct lab *l);
/* Whether everything came once and none late. */
bool lab_judged(struct lab *l, uint64_t late_usec);
/* The head of the table. */
void lab_print_head(void);
