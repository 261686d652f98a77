/*
 * Fetches that wait to begin, first in, first out, and how many of them may be under way at once.
 * There is one queue for each method. Borrows the fetches.
 */
#pragma once

#include "resolve/fetches.h"

struct queue {
	struct fetch *first, **end;
	size_t count;
	unsigned under_way, under_way_max;
};

void queue_init(struct queue *q);
void queue_put(struct queue *q, struct fetch *f);
/* The one that begins next; NULL if there is none. */
struct fetch *queue_peek(const struct queue *q);
/* Takes it out; there is one. */
struct fetch *queue_get(struct queue *q);
