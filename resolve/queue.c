#include "resolve/queue.h"

void queue_init(struct queue *q)
{
	*q = (struct queue){.end = &q->first};
}

void queue_put(struct queue *q, struct fetch *f)
{
	f->next_in_queue = NULL;
	*q->end = f;
	q->end = &f->next_in_queue;
	q->count++;
}

struct fetch *queue_peek(const struct queue *q)
{
	return q->first;
}

struct fetch *queue_get(struct queue *q)
{
	struct fetch *f = q->first;

	q->first = f->next_in_queue;
	if (!q->first)
		q->end = &q->first;
	q->count--;
	return f;
}
