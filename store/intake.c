#include "store/intake.h"

#include <errno.h>

#include "common/lane.h"
#include "common/limits.h"

/* One message takes them all. An event of any kind has more bytes than its acknowledgement, so that
 * only a turn with several of the largest messages can have more than this; then the session ends,
 * and what was taken is acknowledged as replays. */
#define ACKS_BYTES (LIMIT_MESSAGE - 64)
#define ACK_BYTES  9
#define ACKS_KEEP  KIB(64)

struct intake {
	struct intake_handler handler;
	struct lane *lane;
	struct buf acks; /* encoded, in the order of the events */
	size_t durable;  /* the first bytes of acks, which may be sent */
	bool stopped;
};

static void drop_acks(struct intake *in)
{
	buf_trim(&in->acks, ACKS_KEEP);
	in->durable = 0;
	lane_hold(in->lane, in->stopped);
}

/* A lane that is not open is not held: that would keep the next session out. */
static void send_acks(struct intake *in)
{
	if (in->durable > 0 && lane_is_writable(in->lane)) {
		struct span acks = span_of(in->acks.ptr, in->durable);

		buf_append(lane_start(in->lane, MESSAGE_ACKS), acks);
		buf_consume(&in->acks, in->durable);
		in->durable = 0;
		if (lane_send(in->lane) == -ENOTCONN)
			return;
	}
	lane_hold(in->lane, in->stopped || (lane_is_open(in->lane) && !lane_is_writable(in->lane)));
}

/* What was taken in the session before stays in the owner's group: it was verified, and is
 * acknowledged as a replay when it comes again. */
static void opened(void *arg)
{
	struct intake *in = arg;

	drop_acks(in);
	if (in->handler.is_ready(in->handler.arg))
		lane_ready(in->lane);
}

static void closed(void *arg)
{
	drop_acks(arg);
}

static int take(struct intake *in, const struct verified *v)
{
	struct ack ack = {.ticket = v->ticket};

	if (in->acks.len > ACKS_BYTES - ACK_BYTES)
		return -EBADMSG;
	if (in->handler.take(in->handler.arg, v, &ack.verdict) < 0)
		return -ECANCELED;
	ack_encode(&in->acks, &ack);
	return 0;
}

static int message(void *arg, enum message_type type, struct reader body)
{
	struct intake *in = arg;
	struct verified v;
	int r = 0;

	if (type != MESSAGE_VERIFIED || body.left == 0)
		return -EBADMSG;
	while (r == 0 && body.left > 0) {
		r = verified_decode(&body, &v);
		if (r == 0)
			r = take(in, &v);
	}
	/* The owner resets all lanes when it cannot go on. */
	return r == -ECANCELED ? 0 : r;
}

static void writable(void *arg)
{
	send_acks(arg);
}

static void foreign(void *arg, unsigned version)
{
	struct intake *in = arg;

	in->handler.foreign(in->handler.arg, in, version);
}

int intake_new(struct loop *l, const char *url, const struct intake_handler *h, struct intake **ret)
{
	struct intake *in = xcalloc(1, sizeof(*in));
	struct lane_handler lane_handler = {
		.opened = opened,
		.closed = closed,
		.message = message,
		.writable = writable,
		.foreign = foreign,
		.arg = in,
	};
	int r;

	in->handler = *h;
	buf_init(&in->acks, ACKS_BYTES);
	r = lane_listen_downstream(l, url, &lane_handler, &in->lane);
	if (r < 0) {
		intake_free(in);
		return r;
	}
	*ret = in;
	return 0;
}

void intake_free(struct intake *in)
{
	if (!in)
		return;
	lane_close(in->lane);
	buf_release(&in->acks);
	free(in);
}

void intake_ready(struct intake *in)
{
	lane_ready(in->lane);
}

void intake_acknowledge(struct intake *in)
{
	in->durable = in->acks.len;
	send_acks(in);
}

void intake_reset(struct intake *in)
{
	lane_reset(in->lane);
	drop_acks(in);
}

void intake_stop(struct intake *in)
{
	in->stopped = true;
	lane_hold(in->lane, true);
}

size_t intake_bytes(const struct intake *in)
{
	return in->acks.cap;
}
