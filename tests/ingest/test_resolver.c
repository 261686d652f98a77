#include "ingest/resolver.h"

#include <errno.h>

#include "tests/lib/wait.h"
#include "tests/test.h"

struct answers {
	size_t count, refused, wanted;
};

static void take_answer(void *arg, int error, const struct address *addresses, size_t count)
{
	struct answers *a = arg;

	CHECK(error != 0 || (addresses && count > 0 && count <= RESOLVER_ADDRESSES_MAX));
	a->count++;
	a->refused += error == -ENOBUFS;
}

static bool have_come(void *arg)
{
	const struct answers *a = arg;

	return a->count == a->wanted;
}

/* Answers are given from the loop, so all that is asked before it runs is under way; also what was
 * forgotten. */
TEST(queries_under_way_are_bounded)
{
	struct answers a = {.wanted = RESOLVER_QUERIES_MAX + 10 - 1};
	struct resolver_query *first;
	struct loop *l = loop_new();
	struct resolver *r = NULL;

	CHECK_INT(resolver_new(l, &r), 0);
	first = resolver_ask(r, "localhost", 80, take_answer, &a);
	resolver_forget(first);
	for (size_t i = 1; i < RESOLVER_QUERIES_MAX + 10; i++)
		resolver_ask(r, "localhost", 80, take_answer, &a);
	CHECK_INT(a.count, 0);
	CHECK(resolver_memory_bytes(r) > (int64_t)(RESOLVER_QUERIES_MAX * KIB(1) / 2));
	CHECK(resolver_memory_bytes(r) < (int64_t)((RESOLVER_QUERIES_MAX + 10) * KIB(2)));
	wait_until(l, have_come, &a, "all answers");
	CHECK_INT(a.refused, 10);
	CHECK(resolver_memory_bytes(r) < (int64_t)KIB(4));
	/* There is room again. */
	a = (struct answers){.wanted = 1};
	resolver_ask(r, "localhost", 80, take_answer, &a);
	wait_until(l, have_come, &a, "an answer");
	CHECK_INT(a.refused, 0);
	resolver_free(r);
	loop_free(l);
}
