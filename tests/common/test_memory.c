#include "tests/test.h"

#include <stdlib.h>

#include "common/memory.h"

/* The value of a sample, by the text before it. */
static int64_t sample(struct metrics *m, const char *name)
{
	struct buf out;
	const char *at;
	int64_t value = INT64_MIN;

	buf_init(&out, MIB(1));
	buf_put_u8(&out, '\n');
	metrics_render(m, &out);
	buf_put_u8(&out, '\0');
	at = strstr((const char *)out.ptr, name);
	if (!at || sscanf(at + strlen(name), "%" SCNd64, &value) != 1)
		test_fail(__FILE__, __LINE__, "no sample %s", name);
	buf_release(&out);
	return value;
}

static int64_t size_of(void *arg)
{
	return *(int64_t *)arg;
}

TEST(process_and_allocator)
{
	struct metrics *m = metrics_new("x", -1);
	struct memory *a = memory_new(m);
	int64_t rss = sample(m, "\nrelay_process_rss_bytes{stage=\"x\"} ");
	int64_t pss = sample(m, "\nrelay_process_pss_bytes{stage=\"x\"} ");
	int64_t anonymous = sample(m, "\nrelay_process_anonymous_bytes{stage=\"x\"} ");
	int64_t in_use = sample(m, "\nrelay_malloc_in_use_bytes{stage=\"x\"} ");
	int64_t arena = sample(m, "\nrelay_malloc_arena_bytes{stage=\"x\"} ");

	CHECK(rss > 1 << 20);
	CHECK(pss > 0 && pss <= rss + (1 << 20));
	CHECK(anonymous > 0 && anonymous <= rss + (1 << 20));
#ifndef __SANITIZE_ADDRESS__
	CHECK(in_use > 1000);
	CHECK(arena >= in_use);
#else
	(void)in_use;
	(void)arena;
#endif
	CHECK_STR(memory_allocator(),
#ifdef HAVE_JEMALLOC
		  "jemalloc"
#else
		  "glibc"
#endif
	);
	memory_free(a);
	memory_free(NULL);
	metrics_free(m);
}

/* Each rendering reads anew. */
TEST(growth_is_seen)
{
	struct metrics *m = metrics_new("x", -1);
	struct memory *a = memory_new(m);
	int64_t rss = sample(m, "\nrelay_process_rss_bytes{stage=\"x\"} ");
	int64_t in_use = sample(m, "\nrelay_malloc_in_use_bytes{stage=\"x\"} ");
	size_t size = MIB(32);
	volatile uint8_t *block = xmalloc(size);

	for (size_t i = 0; i < size; i += 4096)
		block[i] = 1;
	CHECK(sample(m, "\nrelay_process_rss_bytes{stage=\"x\"} ") >= rss + (24 << 20));
#ifndef __SANITIZE_ADDRESS__
	CHECK(sample(m, "\nrelay_malloc_in_use_bytes{stage=\"x\"} ") >= in_use + (32 << 20));
#else
	(void)in_use;
#endif
	free((void *)block);
	memory_free(a);
	metrics_free(m);
}

TEST(accounts)
{
	struct metrics *m = metrics_new("x", -1);
	struct memory *a = memory_new(m);
	int64_t window = 1000, cache = 234, in_use, unaccounted;
	struct buf out;

	memory_register(a, "window", size_of, &window);
	memory_register(a, "cache", size_of, &cache);
	CHECK_INT(sample(m, "\nrelay_accounted_bytes{stage=\"x\",what=\"window\"} "), 1000);
	window = 5000;
	CHECK_INT(sample(m, "\nrelay_accounted_bytes{stage=\"x\",what=\"window\"} "), 5000);
	CHECK_INT(sample(m, "\nrelay_accounted_bytes{stage=\"x\",what=\"cache\"} "), 234);
	/* Of one rendering, the three fit together. */
	buf_init(&out, MIB(1));
	metrics_render(m, &out);
	buf_put_u8(&out, '\0');
	CHECK_INT(sscanf(strstr((const char *)out.ptr, "\nrelay_malloc_in_use_bytes{stage=\"x\"} "),
			 "\nrelay_malloc_in_use_bytes{stage=\"x\"} %" SCNd64, &in_use),
		  1);
	CHECK_INT(sscanf(strstr((const char *)out.ptr, "\nrelay_unaccounted_bytes{stage=\"x\"} "),
			 "\nrelay_unaccounted_bytes{stage=\"x\"} %" SCNd64, &unaccounted),
		  1);
	CHECK_INT(unaccounted, in_use - 5234);
	buf_release(&out);
	memory_free(a);
	metrics_free(m);
}
