#include "tests/test.h"

#include <stdlib.h>

#include "common/memory.h"

/* The value of a sample, by the text before it; false if there is none. */
static bool find_sample(struct metrics *m, const char *name, int64_t *ret)
{
	struct buf out;
	const char *at;
	bool found;

	buf_init(&out, MIB(1));
	buf_put_u8(&out, '\n');
	metrics_render(m, &out);
	buf_put_u8(&out, '\0');
	at = strstr((const char *)out.ptr, name);
	found = at && sscanf(at + strlen(name), "%" SCNd64, ret) == 1;
	buf_release(&out);
	return found;
}

static int64_t sample(struct metrics *m, const char *name)
{
	int64_t value = INT64_MIN;

	if (!find_sample(m, name, &value))
		test_fail(__FILE__, __LINE__, "no sample %s", name);
	return value;
}

#define IN_USE "\nrelay_malloc_in_use_bytes{stage=\"x\"} "

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
	int64_t file = sample(m, "\nrelay_process_file_bytes{stage=\"x\"} ");
	int64_t in_use = sample(m, IN_USE);
	int64_t arena = sample(m, "\nrelay_malloc_arena_bytes{stage=\"x\"} ");

	CHECK(rss > 1 << 20);
	CHECK(pss > 0 && pss <= rss + (1 << 20));
	CHECK(anonymous > 0 && anonymous <= rss + (1 << 20));
	CHECK(file > 0 && file + anonymous >= rss - (1 << 20) &&
	      file + anonymous <= rss + (1 << 20));
	CHECK(memory_anonymous_bytes() > anonymous / 2 &&
	      memory_anonymous_bytes() < 2 * anonymous + (1 << 20));
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
#elif defined(HAVE_MIMALLOC)
		  "mimalloc"
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
	int64_t in_use = sample(m, IN_USE);
	size_t size = MIB(32);
	volatile uint8_t *block = xmalloc(size);

	for (size_t i = 0; i < size; i += 4096)
		block[i] = 1;
	CHECK(sample(m, "\nrelay_process_rss_bytes{stage=\"x\"} ") >= rss + (24 << 20));
#ifndef __SANITIZE_ADDRESS__
	CHECK(sample(m, IN_USE) >= in_use + (32 << 20));
#else
	(void)in_use;
#endif
	free((void *)block);
	memory_free(a);
	metrics_free(m);
}

/* Freed blocks that a thread keeps for its next allocations are not in use. */
TEST(what_a_thread_keeps_is_not_in_use)
{
	struct metrics *m = metrics_new("x", -1);
	struct memory *a = memory_new(m);
	int64_t before = sample(m, IN_USE), now;
	void *volatile blocks[8];

	for (size_t size = 32; size <= KIB(32); size *= 2) {
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			blocks[i] = xmalloc(size);
		for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
			free(blocks[i]);
	}
	now = sample(m, IN_USE);
#ifdef HAVE_JEMALLOC
	CHECK(now < before + (int64_t)KIB(8));
#else
	(void)before;
	(void)now;
#endif
	memory_free(a);
	metrics_free(m);
}

TEST(accounts)
{
	struct metrics *m = metrics_new("x", -1);
	struct memory *a = memory_new(m);
	int64_t window = 1000, cache = 234, in_use, unaccounted, own;
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
	own = sample(m, "\nrelay_accounted_bytes{stage=\"x\",what=\"memory_accounts\"} ");
	own += sample(m, "\nrelay_accounted_bytes{stage=\"x\",what=\"openssl\"} ");
	CHECK_INT(unaccounted, in_use - own - 5234);
	buf_release(&out);
	memory_free(a);
	metrics_free(m);
}

#define SHORT_SLOPE                                                                                \
	"\nrelay_memory_slope_bytes_per_hour{stage=\"x\",of=\"unaccounted\",window=\"10m\"} "
#define WAIT "\nrelay_memory_slope_wait_seconds{stage=\"x\"} "

/* A stage whose unaccounted bytes and cache are what the test says. */
struct stand {
	struct metrics *metrics;
	struct memory *memory;
	uint64_t now_usec;
	int64_t fill;
	int64_t in_use; /* what the account says beside the allocator's own figure */
};

/* The account makes up for all that the allocator says, up to what the test wants left. */
static int64_t rest_of(void *arg)
{
	const struct stand *s = arg;

	return -s->in_use;
}

static void stand_open(struct stand *s)
{
	*s = (struct stand){.metrics = metrics_new("x", -1)};
	s->memory = memory_new(s->metrics);
	memory_register(s->memory, "rest", rest_of, s);
	memory_register_fill(s->memory, "cache", size_of, &s->fill);
}

static void stand_close(struct stand *s)
{
	memory_free(s->memory);
	metrics_free(s->metrics);
}

/* Time passes: so many samples, between each of which memory and cache grow by this. */
static void pass(struct stand *s, unsigned samples, int64_t grow, int64_t fill)
{
	while (samples-- > 0) {
		s->now_usec += MEMORY_SAMPLE_USEC;
		s->in_use += grow;
		s->fill += fill;
		memory_sample(s->memory, s->now_usec);
	}
}

TEST(a_leak_shows_as_a_slope_within_minutes)
{
	struct stand s;
	int64_t slope = 0;

	stand_open(&s);
	CHECK(!find_sample(s.metrics, SHORT_SLOPE, &slope));
	CHECK_INT(sample(s.metrics, WAIT), 120);
	pass(&s, 20, MIB(1), 0);
	CHECK(!find_sample(s.metrics, SHORT_SLOPE, &slope));
	CHECK(sample(s.metrics, WAIT) > 0 && sample(s.metrics, WAIT) <= 20);
	pass(&s, 4, MIB(1), 0);
	CHECK_INT(sample(s.metrics, WAIT), 0);
	slope = sample(s.metrics, SHORT_SLOPE);
	/* 720 MiB an hour, and what the test itself allocates */
	CHECK(slope > 700 << 20 && slope < 740 << 20);
	stand_close(&s);
}

#define LIBRARIES_SLOPE                                                                            \
	"\nrelay_memory_slope_bytes_per_hour{stage=\"x\",of=\"libraries\",window=\"10m\"} "

/* What a library leaks is accounted for, and has a slope for itself. */
TEST(growth_of_a_library_shows_as_its_slope)
{
	int64_t library = 0, slope;
	struct stand s;

	stand_open(&s);
	memory_register_library(s.memory, "library", size_of, &library);
	for (unsigned i = 0; i < 24; i++) {
		library += (int64_t)MIB(1);
		pass(&s, 1, MIB(1), 0);
	}
	CHECK_INT(sample(s.metrics, "\nrelay_accounted_bytes{stage=\"x\",what=\"library\"} "),
		  24 << 20);
	slope = sample(s.metrics, LIBRARIES_SLOPE);
	CHECK(slope >= (720 << 20) - 1 && slope <= (720 << 20) + 1);
	slope = sample(s.metrics, SHORT_SLOPE);
	CHECK(slope > -(20 << 20) && slope < 20 << 20);
	stand_close(&s);
}

#ifdef HAVE_JEMALLOC
#define FRAGMENTATION_SLOPE                                                                        \
	"\nrelay_memory_slope_bytes_per_hour{stage=\"x\",of=\"fragmentation\",window=\"10m\"} "
#define ROUNDS 24
#define BLOCKS 1024 /* of a round, which is five seconds */

/* Blocks of a database that frees what it has written, all at once, and begins to fill it anew. */
TEST(free_pages_are_no_fragmentation)
{
	static void *blocks[ROUNDS * BLOCKS];
	struct stand s;
	int64_t slope;

	stand_open(&s);
	for (size_t n = 0; n < ARRAY_SIZE(blocks); n++)
		blocks[n] = xcalloc(1, KIB(4));
	for (size_t n = 0; n < ARRAY_SIZE(blocks); n++)
		free(blocks[n]);
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t n = round * BLOCKS; n < (round + 1) * BLOCKS; n++)
			blocks[n] = xcalloc(1, KIB(4));
		pass(&s, 1, 0, 0);
	}
	slope = sample(s.metrics, FRAGMENTATION_SLOPE);
	CHECK(slope > -(20 << 20) && slope < 20 << 20);
	for (size_t n = 0; n < ARRAY_SIZE(blocks); n++)
		free(blocks[n]);
	stand_close(&s);
}

/* One block in eight stays, and no page can be given back. */
TEST(fragmentation_shows_as_its_slope)
{
	static void *blocks[ROUNDS * BLOCKS];
	struct stand s;
	int64_t slope;

	stand_open(&s);
	for (size_t n = 0; n < ARRAY_SIZE(blocks); n++)
		blocks[n] = xcalloc(1, 512);
	for (size_t round = 0; round < ROUNDS; round++) {
		for (size_t n = round * BLOCKS; n < (round + 1) * BLOCKS; n++)
			if (n % 8 != 0) {
				free(blocks[n]);
				blocks[n] = NULL;
			}
		pass(&s, 1, 0, 0);
	}
	slope = sample(s.metrics, FRAGMENTATION_SLOPE);
	/* 448 KiB each time, which is 315 MiB an hour */
	CHECK(slope > 295 << 20 && slope < 335 << 20);
	for (size_t n = 0; n < ARRAY_SIZE(blocks); n++)
		free(blocks[n]);
	stand_close(&s);
}
#endif

TEST(slopes_begin_when_the_caches_are_full)
{
	struct stand s;
	int64_t slope = 0, wait;

	stand_open(&s);
	/* 10 in 1,000 each five seconds. */
	pass(&s, 30, MIB(1), 10);
	CHECK(!find_sample(s.metrics, SHORT_SLOPE, &slope));
	wait = sample(s.metrics, WAIT);
	CHECK(wait >= 65 * 5 && wait <= 65 * 5 + 65);
	CHECK_INT(sample(s.metrics, "\nrelay_cache_fill_permille{stage=\"x\",what=\"cache\"} "),
		  300);
	pass(&s, 65, MIB(1), 10);
	/* Full: from now on it counts, and what was before does not. */
	pass(&s, 20, 0, 0);
	CHECK_INT(sample(s.metrics, WAIT), 0);
	slope = sample(s.metrics, SHORT_SLOPE);
	CHECK(slope > -(20 << 20) && slope < 20 << 20);
	stand_close(&s);
}

TEST(a_cache_that_fills_no_more_is_as_good_as_full)
{
	struct stand s;
	int64_t slope;

	stand_open(&s);
	pass(&s, 20, 0, 10);
	CHECK(!find_sample(s.metrics, SHORT_SLOPE, &slope));
	pass(&s, 24, 0, 0);
	CHECK(find_sample(s.metrics, SHORT_SLOPE, &slope));
	/* It goes on filling: all over again. */
	pass(&s, 3, 0, 10);
	CHECK(!find_sample(s.metrics, SHORT_SLOPE, &slope));
	CHECK(sample(s.metrics, WAIT) > 0);
	stand_close(&s);
}

struct watched {
	struct loop *loop;
	struct metrics *metrics;
	struct loop_timer poll;
};

static void poll_wait(void *arg)
{
	struct watched *w = arg;

	if (sample(w->metrics, WAIT) < 120)
		loop_quit(w->loop, 0);
	else
		loop_timer_set(w->loop, &w->poll, 50 * USEC_PER_MSEC);
}

TEST(the_loop_takes_the_samples)
{
	struct watched w = {.loop = loop_new(), .metrics = metrics_new("x", -1)};
	struct memory *a = memory_new(w.metrics);

	memory_watch(a, w.loop);
	loop_timer_init(&w.poll, poll_wait, &w);
	loop_timer_set(w.loop, &w.poll, 0);
	CHECK_INT(loop_run(w.loop), 0);
	memory_free(a);
	metrics_free(w.metrics);
	loop_free(w.loop);
}
