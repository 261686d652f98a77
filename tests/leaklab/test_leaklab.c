/*
 * Leaks of three kinds in resolve, and how a relay's operator finds them: `standpipe top` names the
 * stage, `standpipe heap` the function; and the experiments that tell what the growth depends on.
 */
#include <math.h>
#include <stdlib.h>

#include "tests/leaklab/lab.h"

#define KNOWN_USEC      (200 * USEC_PER_SEC) /* until every stage knows its slopes: two minutes */
#define BASE_USEC       (60 * USEC_PER_SEC)
#define EXPERIMENT_USEC (30 * USEC_PER_SEC)
#define FOUND_USEC      (300 * USEC_PER_SEC) /* stage and function are known by then */
#define RECYCLED_USEC   (300 * USEC_PER_SEC)
#define LATE_USEC       (2 * USEC_PER_SEC)

/* A young process has some 14 MiB at this rate, and looks at itself once a second. */
#define BOUND_TEXT  "20M"
#define BOUND_BYTES MIB(20)
#define SLACK_BYTES MIB(1)
#define PROCESSES   3 /* one after another */

#define FLAT_MIB 2.0 /* an hour; of one that does not leak */

/* The slopes of `standpipe top`, and how many times any other stage's one has to be that stands
 * out: what libraries hold comes and goes in all of them. */
enum column { LEAK, LIBRARIES, UNUSED, COLUMNS };

static const double stands_out[COLUMNS] = {10, 4, 10};

static const struct leak {
	const char *name, *what, *function;
	enum column column;
} document = {"each document", "document:512", "leak_of_each_document", LEAK},
  connection = {"each connection", "connection:8192", "leak_of_each_connection", LEAK},
  library = {"a library's", "library:8192", "leak_of_the_library", LIBRARIES},
  fragments = {"fragments", "fragments:512", "fragments_of_each_document", UNUSED};

/* One row of `standpipe top`, in MiB an hour. */
struct row {
	double slopes[COLUMNS];
};

static bool parse_row(const char *text, const char *member, struct row *ret)
{
	char start[64];
	const char *line;

	snprintf(start, sizeof(start), "%s ", member);
	line = strstr(text, start);
	return line && sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %lf %lf %lf", &ret->slopes[LEAK],
			      &ret->slopes[LIBRARIES], &ret->slopes[UNUSED]) == COLUMNS;
}

static void look_at_top(struct lab *l, struct row ret[static BENCH_STAGES])
{
	struct buf said;

	buf_init(&said, MIB(1));
	lab_order(l, &said, "--once top");
	printf("%.*s", (int)said.len, (const char *)said.ptr);
	buf_put_u8(&said, '\0');
	for (size_t i = 0; i < BENCH_STAGES; i++)
		if (!parse_row((const char *)said.ptr, bench_member_names[i], &ret[i]))
			test_fail(__FILE__, __LINE__, "no slopes of %s", bench_member_names[i]);
	buf_release(&said);
}

/* The stage that leaks, or fragments, is the one whose figure stands out. */
static void check_top(struct lab *l, const struct leak *leak)
{
	enum column column = leak ? leak->column : LEAK;
	struct row rows[BENCH_STAGES] = {0};
	double most = 0, mine;

	look_at_top(l, rows);
	for (size_t i = 0; i < BENCH_STAGES; i++) {
		if (leak && i == BENCH_RESOLVE)
			continue;
		most = fmax(most, fabs(rows[i].slopes[column]));
		if (fabs(rows[i].slopes[LEAK]) > FLAT_MIB)
			test_fail(__FILE__, __LINE__, "%s is not flat: %+.1f MiB/h",
				  bench_stage_names[i], rows[i].slopes[LEAK]);
	}
	mine = rows[BENCH_RESOLVE].slopes[column];
	if (leak && mine < stands_out[column] * most)
		test_fail(__FILE__, __LINE__, "resolve does not stand out: %+.1f, others %.1f",
			  mine, most);
}

/* The call site that grew most is the one that leaks, or calls the library that does. */
static void check_heap(struct lab *l, const struct leak *leak)
{
	struct buf said;
	char *line, *end;

	buf_init(&said, MIB(1));
	lab_order(l, &said, "heap resolve 30s");
	buf_put_u8(&said, '\0');
	line = strstr((char *)said.ptr, " blocks  ");
	end = line ? strchr(line, '\n') : NULL;
	if (end)
		*end = '\0';
	printf("%s\n", (const char *)said.ptr);
	if (!end || !strstr(line, leak->function))
		test_fail(__FILE__, __LINE__, "the heap does not name %s", leak->function);
	buf_release(&said);
}

static bool wait_known(struct lab *l)
{
	while (!watch_is_known(&l->watch)) {
		if (loop_now_usec(l->relay.loop) - l->started_usec > KNOWN_USEC) {
			test_fail(__FILE__, __LINE__, "the stages do not know their slopes");
			return false;
		}
		if (!watch_for(&l->watch, l->watch.every_usec))
			return false;
	}
	return true;
}

/* As an operator does it: first which stage, then what in it. */
static void find(struct lab *l, const struct leak *leak)
{
	uint64_t usec;

	if (!wait_known(l) || !watch_for(&l->watch, BASE_USEC / 2))
		return;
	lab_report(l, "as it is", l->watch.count - (size_t)(BASE_USEC / l->watch.every_usec));
	check_top(l, leak);
	if (leak)
		check_heap(l, leak);
	usec = loop_now_usec(l->relay.loop) - l->started_usec;
	bench_say("found after %.0f s", (double)usec / 1e6);
	CHECK(usec <= FOUND_USEC);
	lab_rest(l);
	feed_start(&l->feed);
}

static int64_t count_starts(const struct lab *l)
{
	return group_metric(l->relay.group, "resolve", "relay_process_starts", "");
}

/* Until so many more processes were started. */
static bool wait_starts(struct lab *l, int64_t wanted)
{
	uint64_t until = loop_now_usec(l->relay.loop) + RECYCLED_USEC;

	while (count_starts(l) < wanted) {
		if (loop_now_usec(l->relay.loop) > until) {
			test_fail(__FILE__, __LINE__, "it is not started again");
			return false;
		}
		if (!watch_for(&l->watch, l->watch.every_usec))
			return false;
	}
	return true;
}

/* The present process is far above the bound, and ends when that is set; its successors end when
 * they come to it. */
static void contain(struct lab *l)
{
	int64_t starts = count_starts(l), most;
	size_t from;

	lab_judge(l);
	lab_set(l, "recycle_memory " BOUND_TEXT);
	if (!wait_starts(l, starts + 1))
		return;
	from = l->watch.count;
	if (wait_starts(l, starts + PROCESSES))
		lab_report(l, "process recycled", from);
	CHECK(lab_judged(l, LATE_USEC));
	most = watch_most(&l->watch, BENCH_RESOLVE, WATCH_ANONYMOUS, from);
	bench_say("%d processes, each %.0f s; %.1f MiB at most", PROCESSES,
		  watch_seconds(&l->watch, from) / (PROCESSES - 1), (double)most / (double)MIB(1));
	CHECK(most < (int64_t)(BOUND_BYTES + SLACK_BYTES));
	lab_unset(l, "recycle_memory");
}

static void experiment(struct lab *l)
{
	lab_set(l, "concurrency 0");
	lab_measure(l, "resolution off", EXPERIMENT_USEC);
	lab_unset(l, "concurrency");
	lab_rest(l);
	feed_start(&l->feed);
	lab_set(l, "recycle_interval 1000");
	lab_measure(l, "client recycled", EXPERIMENT_USEC);
	lab_unset(l, "recycle_interval");
	lab_set(l, "keep_alive false");
	lab_measure(l, "keep-alive off", EXPERIMENT_USEC);
	lab_unset(l, "keep_alive");
	lab_rest(l);
	contain(l);
}

static void run(const struct leak *leak)
{
	static struct lab lab;

	lab_open(&lab, "leaklab", leak->name, leak->what);
	find(&lab, leak);
	experiment(&lab);
	lab_close(&lab);
}

TEST(no_leak)
{
	static struct lab lab;

	lab_print_head();
	lab_open(&lab, "leaklab", "none", NULL);
	find(&lab, NULL);
	lab_close(&lab);
}

TEST(a_leak_of_each_document)
{
	run(&document);
}

TEST(a_leak_of_each_connection)
{
	run(&connection);
}

/* It is accounted for, and found all the same. */
TEST(a_leak_of_a_library)
{
	static struct lab lab;

	lab_open(&lab, "leaklab", library.name, library.what);
	find(&lab, &library);
	lab_close(&lab);
}

TEST(fragmentation)
{
	run(&fragments);
}

/* A leak is the same with any allocator; fragmentation is not. */
TEST(another_allocator)
{
	static const struct leak *const leaks[] = {&document, &connection, &fragments};
	static struct lab lab;

	for (size_t i = 0; i < ARRAY_SIZE(leaks); i++) {
		lab_open(&lab, "glibc/leaklab", leaks[i]->name, leaks[i]->what);
		watch_for(&lab.watch, BASE_USEC / 2);
		lab_measure(&lab, "glibc's malloc", BASE_USEC);
		lab_rest(&lab);
		lab_close(&lab);
	}
}
