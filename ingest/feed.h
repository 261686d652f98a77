/*
 * The way of events from the hosts into one lane: the window, the batches that leave it, the
 * acknowledgements that empty it, and the hosts that wait for room in it.
 *
 *	feed_put -> [ window ] -> batches -> validate
 *	               ^ acknowledgements <-'
 *
 * A batch leaves when it has LIMIT_BATCH_BYTES or LIMIT_BATCH_EVENTS, or its first event is
 * LIMIT_BATCH_USEC old. When a session of the lane opens, the whole window is sent, in the order of
 * the tickets.
 *
 * Back-pressure has two marks: feed_put refuses when the window is full, and the refused are woken,
 * first come first served, when a quarter of it is free again. Nobody overtakes those who wait.
 */
#pragma once

#include <sys/queue.h>

#include "common/lane.h"
#include "ingest/window.h"

struct feed;

/* Somebody who was refused. In its owner's memory; zeroed but for wake and arg. */
struct feed_waiter {
	void (*wake)(void *arg); /* from the loop: try again */
	void *arg;
	struct feed *feed; /* where it waits; NULL: nowhere */
	size_t frame_bytes;
	TAILQ_ENTRY(feed_waiter) link;
};

struct feed_handler {
	/* An event is finished. It leaves the window right after. */
	void (*acknowledged)(void *arg, const struct window_entry *e, enum verdict v);
	/* The validate of this lane speaks another version, lane.h. */
	void (*foreign)(void *arg, const struct feed *f, unsigned version);
	void *arg;
};

/* Dials the lane at url. What pipe_dial_pair says. sessions: a counter. */
int feed_new(struct loop *l, const char *url, size_t window_bytes, const struct feed_handler *h,
	     uint64_t *sessions, struct feed **ret) MUST_CHECK;
void feed_free(struct feed *f);

/* Takes a copy of the event, with a ticket of its own; see window_put. NULL: there is no room, and
 * w waits for it. */
struct window_entry *feed_put(struct feed *f, const struct event *e, struct feed_waiter *w);
/* It waits no more. Does nothing if it does not wait. */
void feed_forget(struct feed_waiter *w);

size_t feed_event_count(const struct feed *f);
size_t feed_event_bytes(const struct feed *f);
/* When the oldest event in the window was received; 0: it is empty. */
uint64_t feed_oldest_usec(const struct feed *f);
int64_t feed_memory_bytes(const struct feed *f);
size_t feed_waiter_count(const struct feed *f);
