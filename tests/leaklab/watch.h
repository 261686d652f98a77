/*
 * What the stages of a relay say of their memory, once in a while: samples, their slopes, and how
 * many documents were asked for meanwhile. A slope is per hour, and as robust as those of the
 * stages themselves (common/slope.h).
 */
#pragma once

#include "tests/bench/relay.h"

enum watch_series {
	WATCH_UNACCOUNTED, /* a leak */
	WATCH_LIBRARIES,   /* of OpenSSL and curl: one too, if it goes on */
	WATCH_UNUSED,      /* held by the allocator, and not in use: fragmentation */
	WATCH_IN_USE,
	WATCH_RSS,
	WATCH_ANONYMOUS, /* resident, and not of files */
	WATCH_SERIES,
};

struct watch_sample {
	uint64_t at_usec;
	uint64_t resolves; /* since the watch began */
	int64_t bytes[BENCH_STAGES][WATCH_SERIES];
	int64_t cache_permille[BENCH_STAGES]; /* how full its cache is; 1,000: it has none */
};

struct watch {
	struct bench_relay *relay;
	uint64_t every_usec;
	uint64_t resolves;
	int64_t resolves_said; /* by the present process */
	struct watch_sample *samples;
	size_t count, cap;
};

/* Borrows. */
void watch_init(struct watch *w, struct bench_relay *r, uint64_t every_usec);
void watch_release(struct watch *w);
/* Samples for so long. False (and a failed check) if a stage does not answer; a resolver that is
 * being started again is waited for. */
bool watch_for(struct watch *w, uint64_t usec);
/* One sample more, from elsewhere. */
void watch_add(struct watch *w, const struct watch_sample *s);
/* Whether each stage knows its own slopes. */
bool watch_is_known(struct watch *w);

/* Bytes an hour, of the samples from this one on. */
double watch_slope(const struct watch *w, enum bench_stage stage, enum watch_series series,
		   size_t from);
/* A second, since this sample. */
double watch_resolves(const struct watch *w, size_t from);
double watch_seconds(const struct watch *w, size_t from);
/* The most of a series since this sample. */
int64_t watch_most(const struct watch *w, enum bench_stage stage, enum watch_series series,
		   size_t from);
