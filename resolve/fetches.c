#include "resolve/fetches.h"

#include <stdlib.h>

#define BUCKETS FETCHES_MAX

struct fetches {
	struct loop *loop;
	struct fetch *buckets[BUCKETS];
	size_t fetch_count, waiter_count;
	struct {
		size_t fetches, waiters;
	} of[DID_METHODS];
	int64_t bytes; /* of both */
};

struct span fetch_did(const struct fetch *f)
{
	return span_of(f->did, f->did_len);
}

/* Waiters. */

/* Whether news of that time cannot be had from the fetch that is under way. */
static bool began_too_early(const struct fetch *f, uint64_t newer_than_usec)
{
	return f->under_way && newer_than_usec > f->started_usec;
}

/* The waiter of this asker for the same fetch, if it waits already. */
static struct waiter *find_waiter(const struct fetch *f, const void *asker, bool needs_next)
{
	struct waiter *w = f->waiters;

	while (w && (w->asker != asker || w->needs_next != needs_next))
		w = w->next;
	return w;
}

void fetch_add_waiter(struct fetch *f, uint64_t newer_than_usec, void *asker)
{
	bool needs_next = began_too_early(f, newer_than_usec);
	struct waiter *w = find_waiter(f, asker, needs_next);

	if (w) {
		if (w->newer_than_usec < newer_than_usec)
			w->newer_than_usec = newer_than_usec;
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->asker = asker;
	w->newer_than_usec = newer_than_usec;
	w->needs_next = needs_next;
	*f->waiters_end = w;
	f->waiters_end = &w->next;
	f->all->waiter_count++;
	f->all->of[f->method].waiters++;
	f->all->bytes += (int64_t)sizeof(*w);
}

struct waiter *fetch_take_waiter(struct fetch *f, struct waiter **at)
{
	struct waiter *w = *at;

	*at = w->next;
	if (f->waiters_end == &w->next)
		f->waiters_end = at;
	f->all->waiter_count--;
	f->all->of[f->method].waiters--;
	f->all->bytes -= (int64_t)sizeof(*w);
	return w;
}

static void forget_in(struct fetch *f, const void *asker)
{
	struct waiter **at = &f->waiters;

	while (*at) {
		if ((*at)->asker == asker)
			free(fetch_take_waiter(f, at));
		else
			at = &(*at)->next;
	}
}

void fetches_forget(struct fetches *all, const void *asker)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct fetch *f = all->buckets[i]; f; f = f->next_in_bucket)
			forget_in(f, asker);
}

/* Fetches. */

static struct fetch **bucket_of(struct fetches *all, struct span did)
{
	return &all->buckets[span_hash(did) % BUCKETS];
}

struct fetch *fetches_find(const struct fetches *all, struct span did)
{
	struct fetch *f = all->buckets[span_hash(did) % BUCKETS];

	while (f && !span_equal(fetch_did(f), did))
		f = f->next_in_bucket;
	return f;
}

struct fetch *fetch_new(struct fetches *all, struct span did, enum did_method method,
			void (*on_due)(void *fetch), void *owner)
{
	struct fetch *f = xcalloc(1, sizeof(*f) + did.len), **bucket = bucket_of(all, did);

	f->all = all;
	f->waiters_end = &f->waiters;
	f->method = method;
	f->owner = owner;
	loop_timer_init(&f->due, on_due, f);
	f->did_len = did.len;
	memcpy(f->did, did.ptr, did.len);
	f->next_in_bucket = *bucket;
	*bucket = f;
	all->fetch_count++;
	all->of[method].fetches++;
	all->bytes += (int64_t)(sizeof(*f) + did.len);
	return f;
}

void fetch_free(struct fetch *f)
{
	struct fetches *all = f->all;
	struct fetch **at = bucket_of(all, fetch_did(f));

	while (*at != f)
		at = &(*at)->next_in_bucket;
	*at = f->next_in_bucket;
	loop_timer_cancel(all->loop, &f->due);
	all->fetch_count--;
	all->of[f->method].fetches--;
	all->bytes -= (int64_t)(sizeof(*f) + f->did_len);
	free(f);
}

static size_t part_of(size_t max, enum did_method method)
{
	return method == DID_METHOD_WEB ? max / FETCHES_WEB_PART : max;
}

bool fetches_has_its_part(const struct fetches *all, enum did_method method)
{
	return all->of[method].fetches >= part_of(FETCHES_MAX, method);
}

bool fetches_has_room(const struct fetches *all, enum did_method method)
{
	return all->fetch_count < FETCHES_MAX && !fetches_has_its_part(all, method);
}

bool fetches_has_room_to_wait(const struct fetches *all, enum did_method method)
{
	return all->waiter_count < FETCHES_WAITERS_MAX &&
	       all->of[method].waiters < part_of(FETCHES_WAITERS_MAX, method);
}

size_t fetches_count(const struct fetches *all)
{
	return all->fetch_count;
}

void fetches_each(struct fetches *all, void (*see)(struct fetch *f))
{
	struct fetch *next;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct fetch *f = all->buckets[i]; f; f = next) {
			next = f->next_in_bucket;
			see(f);
		}
}

int64_t fetches_bytes(const struct fetches *all)
{
	return all->bytes + (int64_t)sizeof(*all);
}

struct fetches *fetches_new(struct loop *loop)
{
	struct fetches *all = xcalloc(1, sizeof(*all));

	all->loop = loop;
	return all;
}

void fetches_free(struct fetches *all)
{
	if (!all)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (all->buckets[i]) {
			struct fetch *f = all->buckets[i];

			while (f->waiters)
				free(fetch_take_waiter(f, &f->waiters));
			fetch_free(f);
		}
	free(all);
}
