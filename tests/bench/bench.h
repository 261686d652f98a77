/*
 * Benches: programs that measure, one a part ("verify", "log", ...), each a list of TESTs. What
 * they print:
 *
 *	# machine: ...			first, once
 *	# NAME: ...			settings, then progress
 *	# verify.k256_us: 54.0 54.3 55.1	the runs, least first
 *	BENCH verify.k256_us 54.3 us	their median
 *
 * $STANDPIPE_BUILD/bench.json keeps the last figures of every part, with machine and settings.
 *
 * What a figure says of CPU is CPU time as the kernel accounts it to the process or thread in
 * question, all of its threads included, user and system; the machine may be busy with other things
 * meanwhile. Wall time is in names that end in _s or _ms, but for per_cpu_s and verify.*, and in
 * per_s.
 */
#pragma once

#include <sys/types.h>

#include "tests/test.h"

#define BENCH_RUNS     5
#define BENCH_RUNS_MAX 64

/* First in a program: says what machine this is. */
void bench_begin(const char *part);
/* All of them before the first figure. */
void bench_setting(const char *name, const char *format, ...) PRINTF(2, 3);
/* Of a relay: lines "section.key=value", NULL at the end. */
void bench_settings(const char *const *lines);
/* A line of progress. */
void bench_say(const char *format, ...) PRINTF(1, 2);
/* The median of count runs (at least three, unless the figure is one of a long state such as
 * memory, where runs are samples of it). */
void bench_figure(const char *name, const char *unit, const double *runs, size_t count);
/* Last: writes bench.json. */
void bench_end(void);

/* CPU time so far, in nanoseconds: of this thread, of this process, of another one (0 if there is
 * none). */
uint64_t bench_thread_nsec(void);
uint64_t bench_process_nsec(void);
uint64_t bench_other_nsec(pid_t pid);
uint64_t bench_wall_nsec(void);

/* Memory of a process in bytes, from its smaps. */
struct bench_memory {
	uint64_t rss, pss, anonymous;
};
/* Zeros if there is no such process. */
void bench_memory_of(pid_t pid, struct bench_memory *ret);
