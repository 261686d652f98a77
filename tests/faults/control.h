/*
 * What a test tells the interposer (preload/interposer.c), which is loaded into every process of a
 * group: a block of memory that both map, named by $FAULT_CONTROL. All in it is read anew with
 * every call that is interposed, so a fault begins and ends when its field is set.
 *
 *	[ test ] --- writes ---> | control | <--- reads --- [ ingest, resolve, store ... ]
 *
 * What is known to be on the disk is written the other way: for each file the bytes that it had
 * when it was last synced. control_cut_power goes back to that. So is how often each fault took
 * effect, for a fault that meets nothing tests nothing.
 *
 * Nothing here is held by a process in a way that its death would leave behind: every word is
 * written at once, and those that belong together in an order in which the first alone says
 * nothing.
 */
#pragma once

#include <stdatomic.h>

#include "common/bytes.h"

#define CONTROL_ENVIRONMENT "FAULT_CONTROL"
#define CONTROL_FILES_MAX   2048 /* of a stage: files that were synced and are there */

/* What a fault does when it meets something. */
enum control_effect {
	EFFECT_DISK_FULL,   /* a write that failed with ENOSPC, */
	EFFECT_WRITE_ERROR, /* or with another error */
	EFFECT_SYNC_ERROR,
	EFFECT_SLOW_SYNC,
	EFFECT_TORN_WRITE, /* a write of which a part was done, and its process killed */
	EFFECT_CUT_PIPE,   /* a connection to another stage */
	EFFECT_CLOCK,      /* a calendar time that was told wrong */
	CONTROL_EFFECTS
};

/* A file that is known to the disk. The test reads it when all processes are dead. */
struct control_file {
	_Atomic uint64_t inode; /* 0: free */
	_Atomic uint64_t synced_bytes;
};

/* Of one stage. Its disk is its files below the data folder. */
struct control_of {
	_Atomic int write_error;    /* errno of all that makes files longer; 0: none */
	_Atomic int sync_error;     /* errno of all that syncs; 0: none */
	_Atomic uint64_t sync_usec; /* that a sync takes longer */
	/* More than 0: of the next write to the log's messages a part is written, this number less
	 * one modulo its size; then the process is killed. */
	_Atomic uint64_t torn_bytes;
	/* Raised by one, all its connections to other stages are cut. */
	_Atomic uint32_t cuts;
	_Atomic uint64_t effects[CONTROL_EFFECTS];
	struct control_file files[CONTROL_FILES_MAX]; /* no two stages write to the same */
};

enum control_stage {
	CONTROL_INGEST,
	CONTROL_RESOLVE,
	CONTROL_VALIDATE,
	CONTROL_STORE,
	CONTROL_FANOUT,
	CONTROL_STAGES
};

struct control {
	char data_folder[512];
	struct control_of stages[CONTROL_STAGES];
	_Atomic int64_t clock_usec; /* by which the clock is ahead */
};

/* A new block, in a file of its own in this folder; its path goes into the environment. Ends the
 * test if that cannot be. */
struct control *control_new(const char *folder, const char *data_folder, char *ret_path,
			    size_t size);
void control_free(struct control *c);
/* How often so far, over all stages. */
uint64_t control_effects(const struct control *c, enum control_effect e);
/* The library to be loaded: beside the test's own program. */
const char *control_library(void);

/*
 * After the death of all processes: of each file below the data folder what was never synced is
 * taken away, as far as chance (test_random) will have it: all of it, a part, with zeros in the
 * place of some of the rest, or nothing. Returns how many bytes that were.
 */
uint64_t control_cut_power(struct control *c);
