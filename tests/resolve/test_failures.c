#include "resolve/failures.h"

#include <stdio.h>

#include "tests/test.h"

TEST(a_failure_is_known_until_its_time)
{
	struct failures *f = failures_new();
	struct span a = SPAN_LITERAL("did:web:a.example.com"),
		    b = SPAN_LITERAL("did:web:b.example.com");

	CHECK(!failures_has(f, a, 0));
	failures_add(f, a, 0, 1000);
	CHECK(failures_has(f, a, 999));
	CHECK(!failures_has(f, b, 999));
	CHECK(!failures_has(f, a, 1000));
	/* Twice as long the second time, and so on up to the longest. */
	failures_add(f, a, 1000, 1000);
	CHECK(failures_has(f, a, 2999));
	CHECK(!failures_has(f, a, 3000));
	for (unsigned i = 0; i < 100; i++)
		failures_add(f, a, 3000, 1000);
	CHECK(failures_has(f, a, 2999 + FAILURES_WAIT_MAX_USEC));
	CHECK(!failures_has(f, a, 3000 + FAILURES_WAIT_MAX_USEC));
	/* What is asked for may be longer than that. */
	failures_add(f, a, 3000, 2 * FAILURES_WAIT_MAX_USEC);
	CHECK(failures_has(f, a, 2999 + 2 * FAILURES_WAIT_MAX_USEC));
	failures_forget(f, b);
	CHECK(failures_has(f, a, 3000));
	failures_forget(f, a);
	CHECK(!failures_has(f, a, 3000));
	failures_add(f, a, 3000, 1000);
	CHECK(!failures_has(f, a, 4000));
	failures_free(f);
}

TEST(the_table_never_grows)
{
	struct failures *f = failures_new();
	int64_t bytes = failures_memory_bytes(f);
	unsigned known = 0;
	char did[64];

	for (unsigned i = 0; i < 4 * FAILURES_MAX; i++) {
		snprintf(did, sizeof(did), "did:web:host%u.example.com", i);
		failures_add(f, span_str(did), 0, 1);
		CHECK(failures_has(f, span_str(did), 0));
	}
	for (unsigned i = 0; i < 4 * FAILURES_MAX; i++) {
		snprintf(did, sizeof(did), "did:web:host%u.example.com", i);
		known += failures_has(f, span_str(did), 0);
	}
	CHECK(known <= FAILURES_MAX);
	CHECK_INT(failures_memory_bytes(f), bytes);
	failures_free(f);
}
