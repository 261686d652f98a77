#include "validate/arena.h"

#include "tests/test.h"

TEST(pieces_stay_and_do_not_overlap)
{
	enum { COUNT = 3000 };
	static uint8_t *pieces[COUNT];
	static size_t sizes[COUNT];
	struct arena a;
	size_t at_first;

	arena_init(&a);
	at_first = a.bytes;
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT; i++) {
			sizes[i] = (size_t)(test_random() % (i % 500 == 0 ? 500000 : 400));
			pieces[i] = arena_get(&a, sizes[i]);
			CHECK_INT((uintptr_t)pieces[i] % 16, 0);
			memset(pieces[i], (int)(i & 0xff), sizes[i]);
		}
		for (size_t i = 0; i < COUNT; i++)
			for (size_t j = 0; j < sizes[i]; j++)
				if (pieces[i][j] != (i & 0xff)) {
					test_fail(__FILE__, __LINE__, "piece %zu changed", i);
					break;
				}
		CHECK(a.bytes > at_first);
		arena_clear(&a);
		CHECK_INT(a.bytes, at_first);
	}
	arena_release(&a);
}
