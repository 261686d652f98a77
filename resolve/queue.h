/*
 * Fetches that wait, in a line for each host that asks, and how many of them may be under way at
 * once.
 *
 *	host 7    f f f f f f f f f		peek, get: the first of the line whose turn it is;
 *	host 12   f				then it is the next line's turn
 *	host 31   f f
 *
 * So a host that names many DIDs delays its own; the next of any other host begins within one round
 * of the hosts that wait. A fetch stands in one line only: when another host asks for it as well,
 * in the line where fewer are before it. And where there is no room for more, it is the longest
 * line that gives one up (queue_last_of_longest).
 *
 * Borrows the fetches. Its lines are as many as there are hosts with a fetch in it.
 */
#pragma once

#include "resolve/fetches.h"

#define QUEUE_BUCKETS 1024 /* hosts are some thousands */

struct queue {
	TAILQ_HEAD(, queue_line) turns;
	struct queue_line *buckets[QUEUE_BUCKETS];
	size_t count, lines;
	unsigned under_way, under_way_max;
};

void queue_init(struct queue *q);
/* Takes all out. */
void queue_release(struct queue *q);

/* At the end of the line of its host. */
void queue_put(struct queue *q, struct fetch *f);
/* The one that begins next; NULL if there is none. */
struct fetch *queue_peek(const struct queue *q);
/* Takes it out; there is one. */
struct fetch *queue_get(struct queue *q);
/* Takes one out that is in a queue, out of its turn. */
void queue_remove(struct fetch *f);
/* This host asks for the fetch, too: it is that one's from now on if it waits less there. */
void queue_offer(struct queue *q, struct fetch *f, uint64_t host_id);

/* How many of this host wait. */
size_t queue_length(const struct queue *q, uint64_t host_id);
/* The one that would wait longest in the longest line; NULL if there is none. A walk over the
 * lines. */
struct fetch *queue_last_of_longest(const struct queue *q);
int64_t queue_bytes(const struct queue *q);
