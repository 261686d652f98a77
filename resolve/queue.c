#include "resolve/queue.h"

#include <stdlib.h>

struct queue_line {
	TAILQ_ENTRY(queue_line) next_turn;
	struct queue_line *next_in_bucket;
	uint64_t host_id;
	TAILQ_HEAD(fetch_line, fetch) fetches; /* one at least */
	size_t count;
	uint64_t places; /* given to those that came; those of the fetches rise along the line */
};

void queue_init(struct queue *q)
{
	*q = (struct queue){0};
	TAILQ_INIT(&q->turns);
}

static struct queue_line **find_line(struct queue *q, uint64_t host_id)
{
	struct queue_line **at = &q->buckets[host_id % QUEUE_BUCKETS];

	while (*at && (*at)->host_id != host_id)
		at = &(*at)->next_in_bucket;
	return at;
}

static struct queue_line *line_new(struct queue *q, uint64_t host_id)
{
	struct queue_line *l = xcalloc(1, sizeof(*l));

	l->host_id = host_id;
	TAILQ_INIT(&l->fetches);
	*find_line(q, host_id) = l;
	TAILQ_INSERT_TAIL(&q->turns, l, next_turn);
	q->lines++;
	return l;
}

static void line_free(struct queue *q, struct queue_line *l)
{
	struct queue_line **at = find_line(q, l->host_id);

	*at = l->next_in_bucket;
	TAILQ_REMOVE(&q->turns, l, next_turn);
	q->lines--;
	free(l);
}

void queue_put(struct queue *q, struct fetch *f)
{
	struct queue_line *l = *find_line(q, f->host_id);

	if (!l)
		l = line_new(q, f->host_id);
	f->queue = q;
	f->line = l;
	f->place = l->places++;
	TAILQ_INSERT_TAIL(&l->fetches, f, next_in_line);
	l->count++;
	q->count++;
}

void queue_remove(struct fetch *f)
{
	struct queue_line *l = f->line;
	struct queue *q = f->queue;

	TAILQ_REMOVE(&l->fetches, f, next_in_line);
	f->queue = NULL;
	f->line = NULL;
	q->count--;
	if (--l->count == 0)
		line_free(q, l);
}

struct fetch *queue_peek(const struct queue *q)
{
	const struct queue_line *l = TAILQ_FIRST(&q->turns);

	return l ? TAILQ_FIRST(&l->fetches) : NULL;
}

struct fetch *queue_get(struct queue *q)
{
	struct queue_line *l = TAILQ_FIRST(&q->turns);
	struct fetch *f = TAILQ_FIRST(&l->fetches);

	TAILQ_REMOVE(&q->turns, l, next_turn);
	TAILQ_INSERT_TAIL(&q->turns, l, next_turn);
	queue_remove(f);
	return f;
}

size_t queue_length(const struct queue *q, uint64_t host_id)
{
	const struct queue_line *l = q->buckets[host_id % QUEUE_BUCKETS];

	while (l && l->host_id != host_id)
		l = l->next_in_bucket;
	return l ? l->count : 0;
}

/* How many are before it, or a little more: those that were taken out of their turn count. */
static uint64_t ahead_of(const struct fetch *f)
{
	return f->place - TAILQ_FIRST(&f->line->fetches)->place;
}

void queue_offer(struct queue *q, struct fetch *f, uint64_t host_id)
{
	if (f->host_id == host_id || queue_length(q, host_id) >= ahead_of(f))
		return;
	queue_remove(f);
	f->host_id = host_id;
	queue_put(q, f);
}

struct fetch *queue_last_of_longest(const struct queue *q)
{
	const struct queue_line *longest = TAILQ_FIRST(&q->turns);

	for (const struct queue_line *l = longest; l; l = TAILQ_NEXT(l, next_turn))
		if (l->count > longest->count)
			longest = l;
	return longest ? TAILQ_LAST(&longest->fetches, fetch_line) : NULL;
}

void queue_release(struct queue *q)
{
	while (q->count > 0)
		(void)queue_get(q);
}

int64_t queue_bytes(const struct queue *q)
{
	return (int64_t)(q->lines * sizeof(struct queue_line));
}
