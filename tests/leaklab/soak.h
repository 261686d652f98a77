/*
 * The verdict on a soak: whether anything grew, and whether the load was such that this means
 * something. From samples alone, so that the verdict itself can be tried.
 */
#pragma once

#include "tests/leaklab/watch.h"

#define SOAK_SLOPE_MAX  MIB(1) /* an hour, of what is unaccounted */
#define SOAK_FLAT_PART  0.1    /* of its resident memory, by which a stage may change, */
#define SOAK_FLAT_BYTES MIB(4) /* or this */
#define SOAK_LOAD_PART  0.95   /* of what was asked for, at least */
#define SOAK_FULL       950    /* permille; as in common/memory.c */

/* What was asked for, and what was sent since the first sample that counts. */
struct soak_load {
	uint64_t per_sec;
	unsigned resolve_percent;
	uint64_t sent;
};

/* A row for each stage, in MiB and MiB/h. Appends; from: the first sample that counts. */
void soak_put_table(const struct watch *w, size_t from, struct buf *out);
/* How many things are wrong. Appends a line for each, what makes the others doubtful first. */
unsigned soak_judge(const struct watch *w, size_t from, const struct soak_load *load,
		    struct buf *out);
