#include "common/heap.h"

#include <errno.h>
#include <stdlib.h>

#include "common/symbol.h"
#include "tests/test.h"

#define BLOCKS     10000
#define BLOCK_SIZE 1000

static void *blocks[BLOCKS];

/* A leak with a name. The call has to stay one. */
static __attribute__((noinline)) void hold_these_blocks(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		blocks[i] = xmalloc(BLOCK_SIZE);
		__asm__ volatile("" : : "r"(blocks[i]) : "memory");
	}
}

static void free_them(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	memset(blocks, 0, sizeof(blocks));
}

struct seen {
	size_t sites;
	struct heap_site largest;
	char stack[4096];
};

static void take(void *arg, const struct heap_site *site)
{
	struct seen *s = arg;

	if (s->sites++ > 0)
		return;
	s->largest = *site;
	snprintf(s->stack, sizeof(s->stack), "%s", site->stack);
}

static bool open_heap(struct heap **ret)
{
	struct heap *h = heap_new();

	if (heap_start(h) == -ENOTSUP) {
		heap_free(h);
		return false;
	}
	*ret = h;
	return true;
}

TEST(the_site_that_grew_is_named)
{
	struct seen seen = {0};
	struct heap_totals totals;
	struct heap *h;

	if (!open_heap(&h))
		SKIP("this build's allocator takes no profiles");
	CHECK(heap_is_on(h));
	hold_these_blocks(BLOCKS);
	CHECK_INT(heap_growth(h, 3, take, &seen, &totals), 0);
	CHECK(strncmp(seen.stack, "hold_these_blocks < ", 20) == 0);
	CHECK(strstr(seen.stack, "main"));
	/* 10 MB are about 80 samples: within a half, whatever they were. */
	CHECK(seen.largest.bytes > 5000000 && seen.largest.bytes < 15000000);
	CHECK(seen.largest.blocks > 5000 && seen.largest.blocks < 15000);
	CHECK(totals.bytes >= seen.largest.bytes && totals.sites >= seen.sites);
	free_them();
	heap_free(h);
}

TEST(growth_is_since_the_mark)
{
	struct seen seen = {0};
	struct heap_totals totals;
	struct heap *h;

	if (!open_heap(&h))
		SKIP("this build's allocator takes no profiles");
	hold_these_blocks(BLOCKS);
	CHECK_INT(heap_mark(h), 0);
	CHECK_INT(heap_growth(h, 1, take, &seen, &totals), 0);
	CHECK(!strstr(seen.stack, "hold_these_blocks"));
	/* What is freed is growth no more, but its contrary. */
	free_them();
	CHECK_INT(heap_growth(h, 1, take, &seen, &totals), 0);
	CHECK(totals.bytes < -5000000);
	heap_free(h);
}

/* Who looks at a heap that is sampled to its end takes nothing from what is seen there. */
TEST(one_that_stays_on_loses_nothing_to_a_start_and_a_stop)
{
	struct heap_totals totals;
	struct seen seen = {0};
	struct heap *h = heap_new();

	if (heap_keep_on(h, 12) == -ENOTSUP) {
		heap_free(h);
		SKIP("this build's allocator takes no profiles");
	}
	hold_these_blocks(BLOCKS);
	CHECK_INT(heap_start(h), 0);
	CHECK_INT(heap_growth(h, 1, take, &seen, &totals), 0);
	CHECK(!strstr(seen.stack, "hold_these_blocks"));
	heap_stop(h);
	CHECK(heap_is_on(h));
	seen = (struct seen){0};
	CHECK_INT(heap_growth(h, 1, take, &seen, &totals), 0);
	CHECK(strstr(seen.stack, "hold_these_blocks"));
	CHECK(seen.largest.bytes > 9000000 && seen.largest.bytes < 11000000);
	free_them();
	heap_free(h);
	/* The next one begins anew. */
	CHECK(open_heap(&h));
	heap_stop(h);
	CHECK(!heap_is_on(h));
	heap_free(h);
}

TEST(nothing_without_a_start)
{
	struct heap *h = heap_new();
	struct heap_totals totals;
	struct seen seen = {0};

	CHECK(!heap_is_on(h));
	CHECK_INT(heap_mark(h), -EAGAIN);
	CHECK_INT(heap_growth(h, 1, take, &seen, &totals), -EAGAIN);
	heap_stop(h);
	heap_free(h);
	heap_free(NULL);
}

static __attribute__((noinline)) int a_static_function(int n)
{
	return n + (int)test_random() % 7;
}

TEST(addresses_have_names)
{
	struct symbols *s = symbols_new();
	struct symbol found;

	CHECK(a_static_function(1) < 8);
	symbols_find(s, (uint64_t)(uintptr_t)a_static_function + 1, &found);
	CHECK_STR(found.function, "a_static_function");
	CHECK_INT(found.offset_bytes, 1);
	CHECK(strstr(found.module, "test_heap"));
	symbols_find(s, (uint64_t)(uintptr_t)heap_new, &found);
	CHECK_STR(found.function, "heap_new");
	/* A library's. */
	symbols_find(s, (uint64_t)(uintptr_t)getenv, &found);
	CHECK(strstr(found.module, ".so") || strstr(found.module, "test_heap"));
	symbols_find(s, 1, &found);
	CHECK_STR(found.module, "?");
	CHECK_STR(found.function, "");
	symbols_free(s);
	symbols_free(NULL);
}
