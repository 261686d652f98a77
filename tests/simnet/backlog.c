#include "tests/simnet/backlog.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_ENTRIES 16

void backlog_release(struct backlog *b)
{
	free(b->entries);
	*b = (struct backlog){0};
}

void backlog_clear(struct backlog *b)
{
	b->count = 0;
}

/* Bytes of the frames before this place. */
static uint64_t begin(const struct backlog *b, size_t place)
{
	return place ? b->entries[place - 1].end : 0;
}

bool backlog_put(struct backlog *b, uint64_t seq, struct span frame)
{
	if (seq <= backlog_seq(b))
		return false;
	if (b->count == b->cap) {
		b->cap = b->cap ? 2 * b->cap : FIRST_ENTRIES;
		b->entries = xrealloc(b->entries, b->cap * sizeof(*b->entries));
	}
	b->entries[b->count] = (struct backlog_entry){
		.seq = seq, .frame = frame.ptr, .end = begin(b, b->count) + frame.len};
	b->count++;
	return true;
}

uint64_t backlog_seq(const struct backlog *b)
{
	return b->count ? b->entries[b->count - 1].seq : 0;
}

size_t backlog_find(const struct backlog *b, uint64_t cursor)
{
	size_t low = 0, high = b->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (b->entries[middle].seq > cursor)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

struct span backlog_frame(const struct backlog *b, size_t place)
{
	assert(place < b->count);
	return span_of(b->entries[place].frame, (size_t)(b->entries[place].end - begin(b, place)));
}

uint64_t backlog_bytes(const struct backlog *b, size_t place)
{
	return b->count ? b->entries[b->count - 1].end - begin(b, place) : 0;
}
