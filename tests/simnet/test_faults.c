/*
 * Every named fault against a running relay: the verdict, the counter, what becomes of the
 * connection, that the host is heard again afterwards, and that its neighbours lose nothing.
 *
 * There is one relay for all faults, and one host for each: what a fault leaves behind is still
 * there when the next ones come. A test is called as its fault.
 */
#include <assert.h>
#include <stdlib.h>

#include "tests/lib/frame.h"
#include "tests/simnet/fault.h"
#include "tests/simnet/relay.h"
#include "tests/test.h"

#define NEIGHBOURS       2
#define EVENTS           3   /* of each neighbour, before a fault, with it, and after it */
#define ACCOUNTS         100 /* of each host: enough to find one on either curve */
#define BACKOFF_MIN_USEC (20 * USEC_PER_MSEC)
#define IDENTITY_WAIT    "8s" /* longer than a machine may stall */

struct neighbour {
	struct fault_scene scene;
	unsigned sent, seen;
};

/* What all tests stand in. */
static struct {
	bool is_open;
	struct loop *loop;
	struct world *world;
	struct network *network;
	struct judge *judge;
	struct group_test *group;
	struct stream_reader *reader;
	struct judge_reader *judged;
	bool reader_ended;
	struct neighbour neighbours[NEIGHBOURS];
	struct fault_scene *scenes; /* one for each fault */
} all;

/* Opening and closing. */

static void on_frame(void *arg, struct span frame)
{
	(void)arg;
	judge_received(all.judged, frame);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		all.neighbours[i].seen += test_contains(frame, all.neighbours[i].scene.repo.did);
}

static void on_closed(void *arg)
{
	(void)arg;
	all.reader_ended = true;
}

static bool is_reading(void *arg)
{
	(void)arg;
	return stream_reader_is_open(all.reader);
}

static uint32_t host_of(size_t fault)
{
	return NEIGHBOURS + (uint32_t)fault;
}

/* Accounts are dealt out to the hosts in turn. The first of a host's is the newcomer. */
static void init_scene(struct fault_scene *s, uint32_t host, enum fault_curve curve)
{
	const struct world_settings *settings = world_settings(all.world);
	uint32_t account = host + settings->hosts;

	while (curve != ANY_CURVE &&
	       world_curve(all.world, account) != (curve == ON_P256 ? CURVE_P256 : CURVE_K256))
		account += settings->hosts;
	fault_scene_init(s, all.network, all.world, all.judge, host, account, host);
}

static void open_network(void)
{
	const struct world_settings settings = {
		.seed = test_random(),
		.hosts = host_of(fault_count) + 1,
		.accounts = ACCOUNTS * host_of(fault_count),
		.port = free_port(),
		.p256_percent = 40,
		.legacy_percent = 20,
	};

	all.loop = loop_new();
	all.world = world_new(&settings);
	all.network = network_new(all.loop, all.world);
	all.judge = judge_open();
	for (size_t i = 0; i < NEIGHBOURS; i++)
		init_scene(&all.neighbours[i].scene, (uint32_t)i, ANY_CURVE);
	all.scenes = xcalloc(fault_count, sizeof(*all.scenes));
	for (size_t i = 0; i < fault_count; i++) {
		init_scene(&all.scenes[i], host_of(i), faults[i].curve);
		all.scenes[i].neighbour = &all.neighbours[i % NEIGHBOURS].scene;
	}
}

static void open_relay(const char *identity_wait)
{
	const struct reader_handler handler = {on_frame, on_closed, NULL};
	char wait[64];
	const char *const settings[] = {
		"ingest.backoff_min=20ms",
		"ingest.backoff_max=2s",
		"ingest.connect_timeout=8s",
		"ingest.ping_interval=500ms",
		"ingest.read_timeout=8s",
		"ingest.host_window=256K",
		"resolve.ttl_failed=100ms",
		wait,
		NULL,
	};

	snprintf(wait, sizeof(wait), "validate.identity_wait=%s", identity_wait);
	all.group = relay_new(all.loop, all.network, settings);
	group_start(all.group);
	all.judged = judge_reader_new(all.judge, "the reader");
	all.reader = relay_read(all.loop, all.group, 0, &handler);
}

static void close_all(void)
{
	if (!all.is_open)
		return;
	stream_reader_free(all.reader);
	group_free(all.group);
	judge_reader_free(all.judged);
	judge_close(all.judge);
	network_free(all.network);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		fault_scene_release(&all.neighbours[i].scene);
	for (size_t i = 0; i < fault_count; i++)
		fault_scene_release(&all.scenes[i]);
	free(all.scenes);
	world_free(all.world);
	loop_free(all.loop);
	memset(&all, 0, sizeof(all));
}

static void open_all(const char *identity_wait)
{
	if (all.is_open)
		return;
	open_network();
	open_relay(identity_wait);
	all.is_open = true;
	relay_wait_hosts(all.loop, all.network);
	wait_until(all.loop, is_reading, NULL, "the reader is connected");
}

/* Neighbours. */

static void let_neighbours_speak(void)
{
	for (size_t i = 0; i < EVENTS * NEIGHBOURS; i++) {
		struct neighbour *n = &all.neighbours[i % NEIGHBOURS];

		fault_scene_speak(&n->scene);
		n->sent++;
	}
}

static bool are_neighbours_heard(void *arg)
{
	(void)arg;
	for (size_t i = 0; i < NEIGHBOURS; i++)
		if (all.neighbours[i].seen < all.neighbours[i].sent)
			return false;
	return true;
}

static bool is_complete(void *arg)
{
	(void)arg;
	return judge_is_complete(all.judge);
}

/* Counters. */

struct counts {
	int64_t counter, refused, dropped, failed;
};

static int64_t count_in(const struct buf *metrics, const char *name, const char *labels)
{
	int64_t v = group_metric_in(buf_span(metrics), name, labels);

	return v < 0 ? 0 : v;
}

static void read_counts(const struct fault *f, struct counts *ret)
{
	struct buf m;

	buf_init(&m, LIMIT_MESSAGE);
	group_metrics(all.group, "ingest", &m);
	*ret = (struct counts){
		.counter = f->counter ? count_in(&m, f->counter, f->labels) : 0,
		.refused = count_in(&m, COUNT_ACKNOWLEDGED, "") -
			   count_in(&m, COUNT_ACKNOWLEDGED, "\"accepted\""),
		.dropped = count_in(&m, COUNT_DROPPED, ""),
		.failed = count_in(&m, COUNT_FAILED, ""),
	};
	buf_release(&m);
}

/* Nothing is refused or dropped but what has to be. */
static void check_counts(const struct fault *f, const struct counts *before)
{
	unsigned refused = f->verdict == VERDICT_ACCEPTED ? 0 : f->count;
	struct counts now;

	read_counts(f, &now);
	if (f->end == CONNECTION_REFUSED) {
		CHECK(now.counter - before->counter >= f->count);
		CHECK(now.failed - before->failed >= f->dials);
	} else {
		CHECK_INT(now.counter - before->counter, f->counter ? f->count : 0);
		CHECK_INT(now.failed - before->failed, f->dials);
	}
	CHECK_INT(now.refused - before->refused, refused);
	CHECK_INT(now.dropped - before->dropped, f->drops);
}

/* The connection. */

struct dials {
	const struct fault *fault;
	uint32_t host;
	uint64_t before;
};

static uint64_t count_dials(const struct dials *d)
{
	return network_host_connections(all.network, d->host) - d->before;
}

static bool has_dialled(void *arg)
{
	const struct dials *d = arg;

	return count_dials(d) >= d->fault->dials;
}

static bool is_back(void *arg)
{
	const struct dials *d = arg;

	return has_dialled(arg) && network_subscribers(all.network, d->host) == 1;
}

/* The first wait has half of backoff_min at least, and each one twice as much as the one before. */
static void check_backoff(const struct dials *d, uint64_t since_usec)
{
	uint64_t least = BACKOFF_MIN_USEC / 2 * ((UINT64_C(1) << d->fault->dials) - 1);

	wait_until(all.loop, has_dialled, (void *)(uintptr_t)d, "dials");
	/* A timer counts in milliseconds. */
	CHECK(loop_now_usec(all.loop) - since_usec + d->fault->dials * USEC_PER_MSEC >= least);
	CHECK_INT(network_subscribers(all.network, d->host), 0);
}

static void wait_counted(const struct fault *f, const struct counts *before)
{
	if (f->counter)
		group_wait_metric(all.group, "ingest", f->counter, f->labels,
				  before->counter + f->count);
}

static void check_connection(const struct fault *f, struct fault_scene *s, struct dials *d,
			     uint64_t since_usec)
{
	switch (f->end) {
	case CONNECTION_KEPT:
		wait_until(all.loop, is_complete, NULL, "what the host still says");
		CHECK_INT(count_dials(d), 0);
		fault_undo(f, s);
		break;
	case CONNECTION_REFUSED:
		check_backoff(d, since_usec);
		fault_undo(f, s);
		wait_until(all.loop, is_back, d, "the host has its subscriber again");
		break;
	case CONNECTION_ENDED:
		fault_undo(f, s);
		wait_until(all.loop, is_back, d, "the host has its subscriber again");
		CHECK_INT(count_dials(d), f->dials);
		break;
	}
}

static void run_fault(void)
{
	const struct fault *f = fault_find(test_name());
	struct fault_scene *s;
	struct counts before;
	struct dials d;
	uint64_t since_usec;

	open_all(IDENTITY_WAIT);
	s = &all.scenes[f - faults];
	for (unsigned i = 0; i < EVENTS; i++)
		fault_scene_speak(s);
	let_neighbours_speak();
	wait_until(all.loop, is_complete, NULL, "all events before the fault");
	read_counts(f, &before);
	d = (struct dials){f, s->host, network_host_connections(all.network, s->host)};
	CHECK_INT(network_subscribers(all.network, s->host), 1);

	since_usec = loop_now_usec(all.loop);
	fault_do(f, s);
	let_neighbours_speak();
	wait_until(all.loop, are_neighbours_heard, NULL, "the neighbours' events");
	wait_counted(f, &before);
	check_connection(f, s, &d, since_usec);

	fault_scene_speak(s);
	let_neighbours_speak();
	wait_until(all.loop, is_complete, NULL, "all events after the fault");
	check_counts(f, &before);
	CHECK(judge_verdict(all.judge));
	CHECK(!all.reader_ended);
	/* What went wrong is not held against the next ones. */
	if (test_has_failed()) {
		printf("# %s: %s [%s]\n", f->name, f->what, *f->rule ? f->rule : "no rule");
		close_all();
	}
}

/* A test for each fault. */
__attribute__((constructor)) static void register_faults(void)
{
	struct test *tests = xcalloc(fault_count, sizeof(*tests));

	atexit(close_all);
	for (size_t i = 0; i < fault_count; i++) {
		tests[i] = (struct test){faults[i].name, run_fault, NULL};
		test_register(&tests[i]);
	}
}

/* What ingest's page knows how to count, and no fault of the table brings about. */
static const struct {
	const char *reason, *why;
} without_fault[] = {
	{"accepted", "is no fault"},
	{"unknown", "is for numbers that are no verdict"},
	{"frame_bad_cbor", "ingest has seen to it: bad_cbor"},
	{"frame_too_large", "ingest has seen to it: oversize"},
	{"duplicate", "comes of stages that were killed: tests/pipeline, tests/faults"},
	{"dns", "test_names.c"},
	{"forbidden_address", "test_names.c"},
	{"connect", "test_names.c"},
	{"crowded_out", "takes many hosts: test_crawler, what_hosts_leave_unfinished_is_bounded"},
};

/* Notes which of them is met. */
static bool is_without_fault(struct span reason, bool *met)
{
	for (size_t i = 0; i < ARRAY_SIZE(without_fault); i++)
		if (span_is(reason, without_fault[i].reason)) {
			met[i] = true;
			return true;
		}
	return false;
}

static bool has_fault(struct span reason)
{
	char labels[64];

	snprintf(labels, sizeof(labels), "\"%.*s\"", (int)reason.len, (const char *)reason.ptr);
	for (size_t i = 0; i < fault_count; i++)
		if (faults[i].labels && strcmp(faults[i].labels, labels) == 0)
			return true;
	return false;
}

/* Of each line that begins so, what stands before the next quote. How many there were. */
static size_t check_reasons(struct span page, const char *beginning, bool *met)
{
	const uint8_t *at = page.ptr, *end = page.ptr + page.len;
	size_t count = 0;

	while ((at = memmem(at, (size_t)(end - at), beginning, strlen(beginning)))) {
		const uint8_t *quote;
		struct span reason;

		at += strlen(beginning);
		quote = memchr(at, '"', (size_t)(end - at));
		assert(quote);
		reason = span_of(at, (size_t)(quote - at));
		if (has_fault(reason) == is_without_fault(reason, met))
			test_fail(__FILE__, __LINE__, "%s%.*s\" has %s", beginning, (int)reason.len,
				  (const char *)reason.ptr,
				  has_fault(reason) ? "a fault and an excuse" : "no fault");
		count++;
	}
	return count;
}

/* Every reason for which ingest, validate or store refuses something of a host. */
TEST(every_reason_has_its_fault)
{
	bool met[ARRAY_SIZE(without_fault)] = {false};
	struct buf page;

	open_all(IDENTITY_WAIT);
	buf_init(&page, LIMIT_MESSAGE);
	group_metrics(all.group, "ingest", &page);
	CHECK(check_reasons(buf_span(&page), COUNT_ACKNOWLEDGED "{stage=\"ingest\",verdict=\"",
			    met) > 25);
	CHECK(check_reasons(buf_span(&page), COUNT_DROPPED "{stage=\"ingest\",reason=\"", met) > 5);
	CHECK(check_reasons(buf_span(&page), COUNT_FAILED "{stage=\"ingest\",reason=\"", met) > 15);
	for (size_t i = 0; i < ARRAY_SIZE(without_fault); i++)
		if (!met[i])
			test_fail(__FILE__, __LINE__, "\"%s\" is counted nowhere",
				  without_fault[i].reason);
	buf_release(&page);
}

/* The relay has been one all the time, and stops as it should. */
TEST(all_faults_together)
{
	struct judge_report report;
	char path[128];
	struct buf body;

	open_all(IDENTITY_WAIT);
	buf_init(&body, KIB(64));
	CHECK(judge_verdict(all.judge));
	judge_report(all.judge, &report);
	printf("# %ju events sent, %ju of them due\n", (uintmax_t)report.sent,
	       (uintmax_t)report.due);
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		snprintf(path, sizeof(path), "/xrpc/com.atproto.sync.getRepoStatus?did=%s",
			 all.neighbours[i].scene.repo.did);
		CHECK_INT(group_get(all.group, path, &body), 200);
		CHECK(test_contains(buf_span(&body), "\"active\":true"));
	}
	buf_release(&body);
	close_all();
}

struct flood {
	struct fault_scene scene; /* of the host behind all others */
	struct repo repo;         /* of an account whose document cannot be had */
};

static void set_state(struct flood *f, enum world_identity_state state)
{
	struct world_identity i;

	world_identity(all.world, f->scene.newcomer, &i);
	i.state = state;
	world_change(all.world, f->scene.newcomer, &i);
}

/* Events of more bytes than one host may have on their way, and one of another account. */
static void send_flood(struct flood *f)
{
	uint8_t record[8192] = {0};

	for (unsigned i = 0; i < 64; i++) {
		struct buf *frame = fault_scene_frame(&f->scene);
		struct repo_commit c;
		char path[64];

		snprintf(path, sizeof(path), "com.example.record/%u", i);
		record[0] = (uint8_t)i;
		repo_put(&f->repo, path, span_of(record, sizeof(record)));
		repo_commit(&f->repo, clock_usec(), &c);
		frame_put_commit(frame, ++f->scene.seq, &c);
		repo_commit_release(&c);
		fault_scene_send(&f->scene, CORPUS_COMMIT, f->scene.newcomer, f->scene.seq,
				 buf_span(frame), VERDICT_ACCEPTED);
	}
	fault_scene_speak(&f->scene);
}

/* An account that nobody can tell of, and that has much to say, holds up its own host and no other;
 * what waits is lost neither. */
TEST(one_account_floods)
{
	struct judge_report report;
	struct flood f;

	close_all();
	open_all("10m");
	init_scene(&f.scene, host_of(fault_count), ANY_CURVE);
	fault_scene_make_repo(all.world, f.scene.newcomer, &f.repo);
	set_state(&f, WORLD_IDENTITY_UNKNOWN);
	let_neighbours_speak();
	wait_until(all.loop, is_complete, NULL, "all events before the flood");
	send_flood(&f);
	group_wait_metric(all.group, "ingest", "relay_hosts_paused", "", 1);
	let_neighbours_speak();
	wait_until(all.loop, are_neighbours_heard, NULL, "the neighbours' events");
	CHECK(!judge_is_complete(all.judge));
	set_state(&f, WORLD_IDENTITY_PRESENT);
	wait_until(all.loop, is_complete, NULL, "all events of the flood");
	judge_report(all.judge, &report);
	relay_settle(all.loop, all.group, report.sent, all.judged);
	CHECK_INT(group_metric(all.group, "ingest", "relay_hosts_paused", ""), 0);
	CHECK_INT(network_host_connections(all.network, f.scene.host), 1);
	CHECK(judge_verdict(all.judge));
	close_all();
	repo_release(&f.repo);
	fault_scene_release(&f.scene);
}

TEST(the_table_agrees_with_itself)
{
	for (size_t i = 0; i < fault_count; i++) {
		const struct fault *f = &faults[i];
		char labels[64];

		CHECK(fault_find(f->name) == f);
		CHECK(*f->what && f->rule);
		CHECK_INT(f->dials > 0, f->end != CONNECTION_KEPT);
		snprintf(labels, sizeof(labels), "\"%s\"", verdict_info(f->verdict)->name);
		if (f->verdict != VERDICT_ACCEPTED)
			CHECK_STR(f->labels, labels);
	}
	CHECK(!fault_find("no_such_fault"));
}
