#include "ingest/backoff.h"

#include "tests/test.h"

TEST(doubles_up_to_the_maximum)
{
	struct backoff b = {1000, 60000, 0};
	uint64_t step = 1000;

	for (unsigned i = 0; i < 40; i++) {
		uint64_t wait = backoff_next(&b, 0);

		if (wait < step / 2 || wait > step)
			test_fail(__FILE__, __LINE__, "step %u: %" PRIu64, i, wait);
		step = step * 2 < 60000 ? step * 2 : 60000;
	}
}

TEST(never_nothing_in_a_row)
{
	struct backoff b = {1000000, 1800000000, 0};

	for (unsigned i = 0; i < 1000; i++)
		CHECK(backoff_next(&b, 0) >= 500000);
}

TEST(only_a_long_session_ends_the_row)
{
	struct backoff b = {1000, 64000, 0};

	for (unsigned i = 0; i < 6; i++)
		backoff_next(&b, 0);
	CHECK(backoff_next(&b, BACKOFF_GOOD_SESSION_USEC - 1) >= 32000);
	CHECK(backoff_next(&b, BACKOFF_GOOD_SESSION_USEC) <= 1000);
	CHECK_INT(b.failures, 1);
}

TEST(offline_after_many)
{
	struct backoff b = {1000, 64000, 0};

	for (unsigned i = 1; i < BACKOFF_OFFLINE; i++)
		backoff_next(&b, 0);
	CHECK(!backoff_is_offline(&b));
	backoff_next(&b, 0);
	CHECK(backoff_is_offline(&b));
	backoff_next(&b, BACKOFF_GOOD_SESSION_USEC);
	CHECK(!backoff_is_offline(&b));
}

TEST(jitter)
{
	uint64_t first = 0;
	bool differs = false;

	for (unsigned i = 0; i < 100; i++) {
		struct backoff b = {1000000, 1000000, 0};
		uint64_t wait = backoff_next(&b, 0);

		differs |= first && wait != first;
		first = wait;
	}
	CHECK(differs);
}

TEST(extremes)
{
	struct backoff b = {UINT64_MAX / 2, UINT64_MAX - 1, 0};

	for (unsigned i = 0; i < 5; i++)
		CHECK(backoff_next(&b, 0) >= UINT64_MAX / 4);
}
