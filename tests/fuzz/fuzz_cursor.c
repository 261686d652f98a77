/* A cursor that is taken is its own number in decimal, and never leads outside the window. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "fanout/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct head heads[] = {
		{.first_seq = 1, .next_seq = 1},
		{.first_seq = 100, .next_seq = 200},
		{.first_seq = 200, .next_seq = 200},
	};
	struct cursor c = {0};
	char again[32];

	if (cursor_parse(span_of(data, size), &c) < 0) {
		assert(!c.given);
		return 0;
	}
	int n = snprintf(again, sizeof(again), "%" PRIu64, c.seq);
	assert(n > 0 && (size_t)n <= size && c.seq <= INT64_MAX);
	assert(span_equal(span_of(again, (size_t)n), span_of(data + size - n, (size_t)n)));
	for (size_t i = 0; i < ARRAY_SIZE(heads); i++) {
		uint64_t seq;
		enum cursor_place place = cursor_find(&c, &heads[i], &seq);

		assert(place != CURSOR_LIVE);
		assert(seq >= heads[i].first_seq && seq <= heads[i].next_seq);
	}
	return 0;
}
