/*
 * What a lane costs, both ends together: events in batches one way, acknowledgements the other, as
 * between ingest and validate. Dense: as fast as the other end takes full batches. Sparse: the next
 * batch of two events goes when the last one is acknowledged, so that every batch wakes both ends,
 * as it does at the network's ordinary rate.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/lane.h"
#include "common/limits.h"
#include "tests/bench/bench.h"
#include "tests/lib/wait.h"

#define FRAME_BYTES   4096
#define DENSE_EVENTS  100000
#define SPARSE_EVENTS 10000
#define SPARSE_BATCH  2

struct end {
	struct loop *loop;
	struct lane *lane;
	/* upstream */
	uint64_t sent, acknowledged, want;
	bool sparse;
	/* downstream */
	struct buf acks; /* that do not fit on their way at the moment */
};

static void nothing(void *arg)
{
	(void)arg;
}

/* Downstream, in a process of its own. */

static void send_acks(void *arg)
{
	struct end *e = arg;

	if (e->acks.len == 0 || !lane_is_writable(e->lane))
		return;
	buf_append(lane_start(e->lane, MESSAGE_ACKS), buf_span(&e->acks));
	buf_clear(&e->acks);
	(void)!lane_send(e->lane);
}

static int take_events(void *arg, enum message_type type, struct reader body)
{
	struct end *e = arg;
	struct event event;

	(void)type;
	while (body.left > 0) {
		if (event_decode(&body, &event) < 0)
			return -1;
		ack_encode(&e->acks, &(struct ack){.ticket = event.ticket});
	}
	send_acks(e);
	return 0;
}

static void be_ready(void *arg)
{
	struct end *e = arg;

	lane_ready(e->lane);
}

static _Noreturn void downstream(const char *url)
{
	struct end e = {.loop = loop_new()};
	const struct lane_handler h = {be_ready, nothing, take_events, send_acks, NULL, &e};

	buf_init(&e.acks, LIMIT_MESSAGE);
	if (lane_listen_downstream(e.loop, url, &h, &e.lane) < 0)
		_exit(1);
	_exit(loop_run(e.loop));
}

/* Upstream. */

static void send_batch(struct end *e, unsigned count)
{
	static const uint8_t frame[FRAME_BYTES];
	struct buf *out = lane_start(e->lane, MESSAGE_EVENTS);

	for (unsigned i = 0; i < count && out->len < LIMIT_BATCH_BYTES; i++)
		event_encode(out, &(struct event){
					  .ticket = ++e->sent,
					  .host_id = 1,
					  .host_seq = e->sent,
					  .host = SPAN_LITERAL("host.example.com"),
					  .frame = span_of(frame, sizeof(frame)),
				  });
	(void)!lane_send(e->lane);
}

static void go_on(void *arg)
{
	struct end *e = arg;

	if (e->sparse && e->sent == e->acknowledged && e->sent < e->want)
		send_batch(e, SPARSE_BATCH);
	while (!e->sparse && e->sent < e->want && lane_is_writable(e->lane))
		send_batch(e, LIMIT_BATCH_EVENTS);
}

static int take_acks(void *arg, enum message_type type, struct reader body)
{
	struct end *e = arg;
	struct ack ack;

	(void)type;
	while (body.left > 0) {
		if (ack_decode(&body, &ack) < 0 || ack.ticket != ++e->acknowledged)
			return -1;
	}
	go_on(e);
	return 0;
}

static bool is_open(void *arg)
{
	const struct end *e = arg;

	return lane_is_open(e->lane);
}

static bool is_done(void *arg)
{
	const struct end *e = arg;

	return e->acknowledged >= e->want;
}

/* Microseconds an event. */
static double run(struct end *e, pid_t other, bool sparse, uint64_t events)
{
	uint64_t cpu = bench_process_nsec() + bench_other_nsec(other), first = e->sent;

	e->sparse = sparse;
	e->want = first + events;
	go_on(e);
	wait_until(e->loop, is_done, e, "all events are acknowledged");
	cpu = bench_process_nsec() + bench_other_nsec(other) - cpu;
	return (double)cpu / 1000 / (double)(e->sent - first);
}

static void measure(struct end *e, pid_t other)
{
	double dense[BENCH_RUNS], sparse[BENCH_RUNS];

	if (!wait_until(e->loop, is_open, e, "the lane is open"))
		return;
	for (size_t i = 0; i < BENCH_RUNS; i++) {
		dense[i] = run(e, other, false, DENSE_EVENTS);
		sparse[i] = run(e, other, true, SPARSE_EVENTS);
	}
	bench_figure("pipe.dense_us_per_event", "us", dense, BENCH_RUNS);
	bench_figure("pipe.sparse_us_per_event", "us", sparse, BENCH_RUNS);
}

TEST(lane)
{
	char url[128];
	struct end e = {0};
	const struct lane_handler h = {go_on, nothing, take_acks, go_on, NULL, &e};
	pid_t pid;

	bench_begin("pipe");
	bench_setting("events", "%d bytes; dense: full batches, sparse: %d a batch", FRAME_BYTES,
		      SPARSE_BATCH);
	snprintf(url, sizeof(url), "ipc://%s/lane", test_folder());
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		downstream(url);
	e.loop = loop_new();
	CHECK_INT(lane_dial_upstream(e.loop, url, &h, &e.lane), 0);
	measure(&e, pid);
	bench_end();
	lane_close(e.lane);
	loop_free(e.loop);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
