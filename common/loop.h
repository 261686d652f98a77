/*
 * The event loop: one per process, one thread. epoll for descriptors, a heap of timers, a signalfd.
 *
 * The structs loop_io, loop_timer and loop_task live in their owner's memory; the loop borrows them
 * from add (or set) until remove (or cancel). Any of them may be removed, and its owner freed, from
 * inside any callback.
 */
#pragma once

#include <sys/epoll.h>

#include "common/bytes.h"

#define USEC_PER_SEC  ((uint64_t)1000000)
#define USEC_PER_MSEC ((uint64_t)1000)

struct loop;

struct loop_io {
	void (*ready)(void *arg, uint32_t events); /* EPOLLIN, ... */
	void *arg;
	int fd;          /* -1 while not added */
	uint32_t events; /* that are waited for */
};

struct loop_timer {
	void (*fire)(void *arg);
	void *arg;
	uint64_t at_usec;
	size_t place; /* 1 + place in the heap; 0 while not set */
};

/* Runs once, before the loop sleeps next: to gather work (flush a batch, wake consumers) after all
 * that came in at once. */
struct loop_task {
	void (*run)(void *arg);
	void *arg;
	struct loop_task *next;
	bool queued;
};

/* Blocks SIGTERM, SIGINT, SIGHUP and SIGPIPE in the process: call it before anything that starts
 * threads. */
struct loop *loop_new(void);
void loop_free(struct loop *l);

void loop_io_init(struct loop_io *io, void (*ready)(void *arg, uint32_t events), void *arg);
void loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events);
void loop_io_change(struct loop *l, struct loop_io *io, uint32_t events);
/* Does nothing if it is not added. Does not close the descriptor. */
void loop_io_remove(struct loop *l, struct loop_io *io);
/* The same of a library's descriptor, which it may have closed before it says that it is done. */
void loop_io_forget(struct loop *l, struct loop_io *io);

void loop_timer_init(struct loop_timer *t, void (*fire)(void *arg), void *arg);
/* Fires once, after_usec from now; setting it again moves it. */
void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t after_usec);
void loop_timer_cancel(struct loop *l, struct loop_timer *t);
static inline bool loop_timer_is_set(const struct loop_timer *t)
{
	return t->place != 0;
}

void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg);
void loop_task_queue(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* SIGTERM or SIGINT: stop is called, once; a second one ends loop_run at once. */
void loop_on_stop(struct loop *l, void (*stop)(void *arg), void *arg);
/* Until loop_quit. Returns what loop_quit was given. */
int loop_run(struct loop *l);
void loop_quit(struct loop *l, int status);

/* CLOCK_MONOTONIC as of this turn of the loop; outside of loop_run, asked anew. */
uint64_t loop_now_usec(const struct loop *l);
/* CLOCK_REALTIME, asked anew: microseconds since 1970. It is set, forward and back. */
uint64_t clock_usec(void);
/* CLOCK_BOOTTIME, asked anew: microseconds since the machine was started. All its processes have
 * the same, and nobody sets it: it says what came first. */
uint64_t uptime_usec(void);
