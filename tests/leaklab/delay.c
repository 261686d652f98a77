#include "tests/leaklab/delay.h"

#include <assert.h>
#include <stdlib.h>

#define TAIL_BYTES 128
#define PROBES_MAX 64

void delay_init(struct delay *d)
{
	*d = (struct delay){.slots = xcalloc(DELAY_SLOTS, sizeof(*d->slots))};
}

void delay_release(struct delay *d)
{
	free(d->slots);
}

static uint64_t hash_of(struct span frame)
{
	size_t len = frame.len < TAIL_BYTES ? frame.len : TAIL_BYTES;
	uint64_t hash = span_hash(span_of(frame.ptr + frame.len - len, len));

	return hash ? hash : 1;
}

/* Its slot, or with hash 0 a free one. What has come leaves its slot free, so all that are near are
 * looked at. */
static struct delay_slot *find(struct delay *d, uint64_t at, uint64_t hash)
{
	for (size_t i = 0; i < PROBES_MAX; i++) {
		struct delay_slot *s = &d->slots[(at + i) % DELAY_SLOTS];

		if (s->hash == hash)
			return s;
	}
	return NULL;
}

void delay_sent(struct delay *d, struct span frame, uint64_t now_usec)
{
	uint64_t hash = hash_of(frame);
	struct delay_slot *s = find(d, hash, 0);

	assert(s);
	*s = (struct delay_slot){hash, now_usec};
}

void delay_received(struct delay *d, struct span frame, uint64_t now_usec)
{
	uint64_t hash = hash_of(frame), usec;
	struct delay_slot *s = find(d, hash, hash);

	if (!s)
		return;
	usec = now_usec - s->sent_usec;
	d->count++;
	d->total_usec += usec;
	d->most_usec = usec > d->most_usec ? usec : d->most_usec;
	*s = (struct delay_slot){0};
}
