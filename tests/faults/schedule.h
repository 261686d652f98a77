/*
 * What happens to a relay, and when: made from a seed, so that a run that failed can be had again.
 * Random numbers are the schedule's own: nothing else that draws some changes it.
 */
#pragma once

#include <stdio.h>

#include "common/loop.h"

enum fault_type {
	FAULT_KILL,           /* SIGKILL for the members, */
	FAULT_TERM,           /* SIGTERM for them, */
	FAULT_STOP,           /* SIGSTOP for them, SIGCONT after its time */
	FAULT_CRASH,          /* SIGKILL for all, and a new start */
	FAULT_RESTART,        /* the group is stopped in order, and started again */
	FAULT_POWER_CUT,      /* FAULT_CRASH, and what was not synced is gone */
	FAULT_CUT_PIPES,      /* of the members, to other stages */
	FAULT_DISK_FULL,      /* ENOSPC for the members' writes, for its time */
	FAULT_WRITE_ERROR,    /* EIO for them */
	FAULT_SYNC_ERROR,     /* EIO for their syncs */
	FAULT_TORN_WRITE,     /* store is killed within a write */
	FAULT_SLOW_DISK,      /* every sync takes longer, for its time */
	FAULT_CLOCK,          /* the clock is set, for its time */
	FAULT_DIRECTORY_DOWN, /* for its time */
	FAULT_HOST_VANISHES,  /* for its time */
	FAULT_HOST_CUTS,      /* its connections */
	FAULT_TYPES,
};

#define DARK_MARGIN_USEC (10 * USEC_PER_SEC)

/* "kill", ... */
const char *fault_type_name(enum fault_type t);

#define FAULTS_MAX 256

struct fault_step {
	enum fault_type type;
	uint64_t at_usec;  /* since the beginning */
	uint64_t for_usec; /* how long; 0: it is over at once */
	bool is_disk;
	unsigned members; /* bits: places in the group; of disks and pipes: enum control_stage */
	uint32_t host;    /* any number: the driver makes one of its hosts of it */
	int64_t amount;   /* bytes, microseconds */
};

struct schedule {
	uint64_t seed;
	/* Each fault that has not taken effect by its end goes on until it has, and one that is
	 * over at once and met nobody is done again. */
	bool insists;
	uint64_t usec; /* while events flow; the last fault is over by then */
	size_t count;
	struct fault_step steps[FAULTS_MAX];
};

/* members: processes of the group. A fault every second, in the mean. */
void schedule_make(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members);
/* The same, from DARK_MARGIN_USEC on, with the directory down until that much before the end. */
void schedule_make_dark(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members);
/* One fault of every kind, one after another, each until it took effect. */
void schedule_make_all(struct schedule *s, uint64_t seed, uint64_t usec, unsigned members);
/* That one fault, after a third of the time, until it took effect; of a disk it is store's. A
 * directory is down from the beginning, when it is asked for all; a clock is as far ahead as
 * any. */
void schedule_make_single(struct schedule *s, enum fault_type type, uint64_t seed, uint64_t usec,
			  unsigned members);
void schedule_print(const struct schedule *s, FILE *out);
