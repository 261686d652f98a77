#include "store/intake.h"

#include "common/lane.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

/* Four times what pipe and kernel keep of their acknowledgements, 9 bytes each. */
#define EVENTS        200000
#define BATCH         64
#define PATIENCE      3000 /* looks, one every LOOK_USEC */
#define LOOK_USEC     (20 * USEC_PER_MSEC)
#define STALLED_LOOKS 10

/* A validate that sends without a pause, and an owner for whom all is durable at the end of a turn.
 */
struct bench {
	struct loop *loop;
	struct loop_timer look;
	unsigned looks;
	struct lane *up;
	struct intake *in;
	struct loop_task acknowledge;
	uint64_t sent, taken, acked, out_of_order;
	size_t most_bytes; /* held by the intake */
	unsigned sessions;
	bool ready;
	bool holds; /* in the first session, it reads no acknowledgements */
};

static void look(void *arg)
{
	struct bench *b = arg;

	b->looks++;
	loop_timer_set(b->loop, &b->look, LOOK_USEC);
	loop_quit(b->loop, 0);
}

#define WAIT(b, cond)                                                                              \
	do {                                                                                       \
		(b)->looks = 0;                                                                    \
		while (!(cond) && (b)->looks < PATIENCE)                                           \
			loop_run((b)->loop);                                                       \
		CHECK(cond);                                                                       \
	} while (0)

static void send_events(struct bench *b)
{
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_id = 1, .host_seq = 1};
	struct verified v;
	struct buf frame;

	buf_init(&frame, 4096);
	verified_make(&spec, &frame, &v);
	while (b->sent < EVENTS && lane_is_writable(b->up)) {
		struct buf *message = lane_start(b->up, MESSAGE_VERIFIED);

		for (unsigned i = 0; i < BATCH && b->sent < EVENTS; i++) {
			v.ticket = b->sent++;
			verified_encode(message, &v);
		}
		CHECK(lane_send(b->up) <= 0);
	}
	buf_release(&frame);
}

static void up_opened(void *arg)
{
	struct bench *b = arg;

	b->sessions++;
	b->sent = b->acked = 0;
	lane_hold(b->up, b->sessions == 1 && b->holds);
	send_events(b);
}

static void up_closed(void *arg)
{
	(void)arg;
}

static int up_message(void *arg, enum message_type type, struct reader body)
{
	struct bench *b = arg;
	struct ack ack;

	CHECK_INT(type, MESSAGE_ACKS);
	while (body.left > 0) {
		CHECK_INT(ack_decode(&body, &ack), 0);
		b->out_of_order += ack.ticket != b->acked;
		b->acked++;
	}
	return 0;
}

static void up_writable(void *arg)
{
	send_events(arg);
}

static bool is_ready(void *arg)
{
	struct bench *b = arg;

	return b->ready;
}

static int take(void *arg, const struct verified *v, enum verdict *ret)
{
	struct bench *b = arg;

	(void)v;
	b->taken++;
	if (intake_bytes(b->in) > b->most_bytes)
		b->most_bytes = intake_bytes(b->in);
	loop_task_queue(b->loop, &b->acknowledge);
	*ret = VERDICT_ACCEPTED;
	return 0;
}

static void acknowledge(void *arg)
{
	struct bench *b = arg;

	intake_acknowledge(b->in);
}

static void start(struct bench *b, bool ready, bool holds)
{
	const struct intake_handler handler = {.is_ready = is_ready, .take = take, .arg = b};
	const struct lane_handler up_handler = {.opened = up_opened,
						.closed = up_closed,
						.message = up_message,
						.writable = up_writable,
						.arg = b};
	char url[128];

	*b = (struct bench){.loop = loop_new(), .ready = ready, .holds = holds};
	loop_timer_init(&b->look, look, b);
	loop_task_init(&b->acknowledge, acknowledge, b);
	look(b);
	snprintf(url, sizeof(url), "ipc://%s/lane", test_folder());
	CHECK_INT(intake_new(b->loop, url, &handler, &b->in), 0);
	CHECK_INT(lane_dial_upstream(b->loop, url, &up_handler, &b->up), 0);
}

static void end(struct bench *b)
{
	CHECK_INT(b->out_of_order, 0);
	lane_close(b->up);
	intake_free(b->in);
	loop_timer_cancel(b->loop, &b->look);
	loop_task_cancel(b->loop, &b->acknowledge);
	loop_free(b->loop);
}

/* validate does not read its acknowledgements: sooner or later nothing more is taken from it. */
static void stall(struct bench *b)
{
	uint64_t taken = 0;

	WAIT(b, b->taken > 0);
	b->looks = 0;
	while (b->looks < STALLED_LOOKS) {
		loop_run(b->loop);
		if (b->taken != taken)
			b->looks = 0;
		taken = b->taken;
	}
	CHECK(b->taken < EVENTS);
	CHECK(b->most_bytes < KIB(256));
}

TEST(whoever_does_not_take_acknowledgements_waits)
{
	struct bench b;

	start(&b, true, true);
	stall(&b);
	lane_hold(b.up, false);
	WAIT(&b, b.acked == EVENTS);
	CHECK_INT(b.sessions, 1);
	CHECK_INT(b.taken, EVENTS);
	end(&b);
}

TEST(acknowledgements_that_wait_end_with_their_session)
{
	struct bench b;

	start(&b, true, true);
	stall(&b);
	lane_hold(b.up, false);
	lane_reset(b.up);
	WAIT(&b, b.sessions == 2 && b.acked == EVENTS);
	end(&b);
}

TEST(a_reset_by_the_owner_brings_everything_again)
{
	struct bench b;

	start(&b, true, true);
	stall(&b);
	b.ready = false;
	lane_hold(b.up, false);
	intake_reset(b.in);
	intake_acknowledge(b.in); /* of no session: this must not keep the next one out */
	b.taken = 0;
	b.looks = 0;
	while (b.looks < STALLED_LOOKS)
		loop_run(b.loop);
	CHECK_INT(b.sessions, 1);
	CHECK_INT(b.taken, 0);
	b.ready = true;
	intake_ready(b.in);
	WAIT(&b, b.sessions == 2 && b.acked == EVENTS);
	end(&b);
}

TEST(a_session_waits_until_the_owner_is_ready)
{
	struct bench b;

	start(&b, false, false);
	while (b.looks < STALLED_LOOKS)
		loop_run(b.loop);
	CHECK_INT(b.sessions, 0);
	b.ready = true;
	intake_ready(b.in);
	WAIT(&b, b.acked == EVENTS);
	end(&b);
}
