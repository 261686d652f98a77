#include "fanout/quota.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#define CAP_MIN 16

void quota_init(struct quota *q)
{
	*q = (struct quota){0};
	/* Without it (early at boot) the table is right all the same. */
	(void)!getrandom(&q->seed, sizeof(q->seed), GRND_NONBLOCK);
}

void quota_release(struct quota *q)
{
	free(q->slots);
	*q = (struct quota){0};
}

/* Two rounds of multiplication and folding: every bit of client and seed reaches every other. */
static size_t home_of(const struct quota *q, uint64_t client)
{
	uint64_t h = client ^ q->seed;

	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93) + q->seed;
	h = (h ^ h >> 32) * UINT64_C(0xd6e8feb86659fd93);
	return (size_t)(h ^ h >> 32) & (q->cap - 1);
}

/* Its slot, or the empty one where it would be. There is always an empty one. */
static struct quota_slot *find(const struct quota *q, uint64_t client)
{
	size_t i = home_of(q, client);

	while (q->slots[i].count > 0 && q->slots[i].client != client)
		i = (i + 1) & (q->cap - 1);
	return &q->slots[i];
}

static void resize(struct quota *q, size_t cap)
{
	struct quota old = *q;

	q->cap = cap;
	q->slots = xcalloc(cap, sizeof(*q->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].count > 0)
			*find(q, old.slots[i].client) = old.slots[i];
	free(old.slots);
}

uint64_t quota_count(const struct quota *q, const struct address *a)
{
	return q->cap > 0 ? find(q, address_client(a))->count : 0;
}

void quota_add(struct quota *q, const struct address *a)
{
	struct quota_slot *s;

	if (q->used >= q->cap / 2)
		resize(q, q->cap ? 2 * q->cap : CAP_MIN);
	s = find(q, address_client(a));
	s->client = address_client(a);
	q->used += s->count++ == 0;
}

/* Whoever stands behind an empty slot and could not be found any more moves into it. */
static void close_gap(struct quota *q, size_t gap)
{
	for (size_t i = (gap + 1) & (q->cap - 1); q->slots[i].count > 0;
	     i = (i + 1) & (q->cap - 1)) {
		size_t home = home_of(q, q->slots[i].client);

		if (((i - home) & (q->cap - 1)) < ((i - gap) & (q->cap - 1)))
			continue;
		q->slots[gap] = q->slots[i];
		q->slots[i].count = 0;
		gap = i;
	}
}

void quota_remove(struct quota *q, const struct address *a)
{
	struct quota_slot *s = find(q, address_client(a));

	assert(s->count > 0);
	if (--s->count > 0)
		return;
	q->used--;
	close_gap(q, (size_t)(s - q->slots));
	if (q->cap > CAP_MIN && q->used < q->cap / 8)
		resize(q, q->cap / 2);
}

size_t quota_bytes(const struct quota *q)
{
	return q->cap * sizeof(*q->slots);
}
