/* What the standpipe command shows of a running group, and what it tells it to do. */
#include "common/heap.h"
#include "tests/lib/group.h"
#include "tests/test.h"

static void check_order(struct group_test *g, const char *words, int status, const char *says)
{
	struct buf out;
	int got;

	buf_init(&out, MIB(1));
	got = group_order(g, words, &out);
	if (got != status || !test_contains(buf_span(&out), says))
		test_fail(__FILE__, __LINE__, "%s: %d %.*s", words, got, (int)out.len,
			  (const char *)out.ptr);
	buf_release(&out);
}

static bool can_profile(void)
{
	struct heap *h = heap_new();
	bool can = heap_start(h) == 0;

	heap_free(h);
	return can;
}

TEST(a_group_shows_its_memory)
{
	static const char *const rows[] = {"store ",    "resolve ", "validate-0 ", "ingest ",
					   "fanout-0 ", "RESTRT\n", " in "};
	struct loop *l = loop_new();
	struct group_test *g;

	g = group_new(l, (const char *const[]){NULL});
	group_start(g);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_order(g, "--once top", 0, rows[i]);
	check_order(g, "memory resolve", 0, "    curl ");
	check_order(g, "memory resolve", 0, "    openssl ");
	check_order(g, "memory validate", 0, "validate-0, pid ");
	check_order(g, "memory validate", 0, "  cache identity_cache is 0.0 % full");
	check_order(g, "memory validate", 0, "    unaccounted ");
	check_order(g, "memory nothing", 1, "no such process: nothing");
	group_free(g);
	loop_free(l);
}

TEST(a_setting_is_changed_while_its_stage_runs)
{
	struct loop *l = loop_new();
	struct group_test *g;

	g = group_new(l, (const char *const[]){"resolve.concurrency=9", NULL});
	group_start(g);
	check_order(g, "settings", 0, "resolve.concurrency = 9\n");
	check_order(g, "set resolve.concurrency 5000", 1, "resolve: resolve.concurrency: ");
	check_order(g, "set resolve.plc_url http://x", 1, "cannot be changed while");
	check_order(g, "set ingest.nonsense 1", 1, "ingest: ingest.nonsense cannot be changed");
	check_order(g, "set nonsense 1", 1, "no such process: nonsense");
	check_order(g, "set resolve.concurrency 0", 0, "");
	check_order(g, "set resolve.cache 1M", 0, "");
	check_order(g, "settings", 0, "resolve.concurrency = 0 (configured: 9)\n");
	group_kill(g, "resolve");
	check_order(g, "settings", 0, "resolve.concurrency = 0 (configured: 9)\n");
	check_order(g, "settings", 0, "resolve.cache = 1M (configured: 8M)\n");
	check_order(g, "unset resolve.concurrency", 0, "");
	check_order(g, "settings", 0, "resolve.concurrency = 9\n");
	group_free(g);
	loop_free(l);
}

TEST(a_heap_is_profiled_while_its_stage_runs)
{
	struct loop *l = loop_new();
	struct group_test *g;

	g = group_new(l, (const char *const[]){NULL});
	group_start(g);
	if (can_profile()) {
		check_order(g, "heap resolve report", 1, "start one first");
		check_order(g, "heap resolve start", 0, "");
		check_order(g, "heap resolve mark", 0, "");
		check_order(g, "heap resolve report", 0, "call sites grew");
		check_order(g, "heap resolve stop", 0, "");
		check_order(g, "heap validate 1s", 0, "call sites grew");
	} else {
		check_order(g, "heap resolve start", 1, "takes no profiles");
	}
	check_order(g, "heap resolve nonsense", 64, "start, mark, report, stop or a time");
	group_free(g);
	loop_free(l);
}

/* Far below what it holds: it goes on for ten seconds, and its successor is another process. */
TEST(a_process_above_its_bound_is_started_again)
{
	struct loop *l = loop_new();
	struct group_test *g;
	int64_t pid;

	g = group_new(l, (const char *const[]){NULL});
	group_start(g);
	pid = group_metric(g, "resolve", "relay_process_pid", "");
	CHECK_INT(group_metric(g, "resolve", "relay_process_starts", ""), 1);
	check_order(g, "set resolve.recycle_memory 1K", 0, "");
	CHECK(group_wait_metric(g, "resolve", "relay_process_starts", "", 2));
	CHECK(group_metric(g, "resolve", "relay_process_pid", "") != pid);
	check_order(g, "unset resolve.recycle_memory", 0, "");
	CHECK_INT(group_metric(g, "store", "relay_process_starts", ""), 1);
	group_free(g);
	loop_free(l);
}
