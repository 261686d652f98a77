#include "common/lane.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>

#include "common/limits.h"
#include "common/pipe.h"

#define OPEN_INTERVAL_USEC (200 * USEC_PER_MSEC)
#define FRAME_BYTES        16
#define FRAME_NUMBER_AT    4
#define BUFFER_KEEP_BYTES                                                                          \
	(2 * LIMIT_BATCH_BYTES) /* what a message larger than a batch took is given back */

enum state {
	STATE_CLOSED,
	STATE_OPENING, /* upstream: OPEN is sent; downstream: lane_ready is yet to come */
	STATE_OPEN,
};

struct frame {
	enum message_type type;
	uint32_t number;
	uint64_t session;
};

struct lane {
	struct loop *loop;
	struct pipe *pipe;
	struct lane_handler handler;
	bool is_upstream;
	unsigned refs; /* the owner's, and one for each callback of ours that is running */
	bool freed;
	bool foreign; /* the other end of this connection: nothing more of it is looked at */
	enum state state;
	uint64_t session; /* kept when it is closed, so that it is not opened twice */
	uint32_t next_in;
	uint32_t next_out;
	struct loop_timer open_timer; /* upstream: says OPEN again */
	bool ready_waits;             /* downstream: READY is to go out before anything else */

	struct buf out; /* one message, its frame first */
	bool started;
	uint64_t started_session;
	bool out_waits; /* lane_send has taken it, the pipe has not */
};

static void unref(struct lane *lane)
{
	if (--lane->refs > 0)
		return;
	buf_release(&lane->out);
	free(lane);
}

/* See frame_decode. */
static void frame_encode(struct buf *b, const struct frame *f)
{
	buf_put_u8(b, MESSAGE_VERSION);
	buf_put_u8(b, (uint8_t)f->type);
	buf_put_u16(b, 0);
	buf_put_u32(b, f->number);
	buf_put_u64(b, f->session);
}

/* See frame_encode. */
static int frame_decode(struct reader *r, struct frame *ret)
{
	uint8_t version, type;
	uint16_t zero;
	uint32_t number;
	uint64_t session;

	if (reader_get_u8(r, &version) < 0 || reader_get_u8(r, &type) < 0 ||
	    reader_get_u16(r, &zero) < 0 || reader_get_u32(r, &number) < 0 ||
	    reader_get_u64(r, &session) < 0)
		return -EBADMSG;
	if (version != MESSAGE_VERSION || zero != 0)
		return -EBADMSG;
	*ret = (struct frame){.type = type, .number = number, .session = session};
	return 0;
}

static bool send_control(struct lane *lane, enum message_type type)
{
	struct buf b;
	bool sent;

	buf_init(&b, FRAME_BYTES);
	frame_encode(&b, &(struct frame){.type = type, .session = lane->session});
	sent = pipe_send(lane->pipe, buf_span(&b)) == 0;
	buf_release(&b);
	return sent;
}

/* Sends what waits. False if some of it still does; the pipe says when to go on. */
static bool flush(struct lane *lane)
{
	if (lane->ready_waits) {
		if (!send_control(lane, MESSAGE_READY))
			return false;
		lane->ready_waits = false;
	}
	if (lane->out_waits) {
		if (pipe_send(lane->pipe, buf_span(&lane->out)) < 0)
			return false;
		lane->out_waits = false;
		buf_trim(&lane->out, BUFFER_KEEP_BYTES);
	}
	return true;
}

static void begin_session(struct lane *lane, uint64_t session)
{
	lane->session = session;
	lane->state = STATE_OPENING;
	lane->next_in = 0;
	lane->next_out = 0;
}

/* Returns whether the handler has been told of the session that ends here. */
static bool end_session(struct lane *lane)
{
	bool told = lane->is_upstream ? lane->state == STATE_OPEN : lane->state != STATE_CLOSED;

	lane->state = STATE_CLOSED;
	lane->ready_waits = false;
	lane->out_waits = false;
	loop_timer_cancel(lane->loop, &lane->open_timer);
	return told;
}

static void close_session(struct lane *lane)
{
	if (end_session(lane))
		lane->handler.closed(lane->handler.arg);
}

/* The other end notices that the connection is gone. */
static void break_session(struct lane *lane)
{
	if (lane->state == STATE_CLOSED)
		return;
	pipe_break(lane->pipe);
	close_session(lane);
}

/* If there is no room for an OPEN, the next one does as well. */
static void say_open(void *arg)
{
	struct lane *lane = arg;

	send_control(lane, MESSAGE_OPEN);
	loop_timer_set(lane->loop, &lane->open_timer, OPEN_INTERVAL_USEC);
}

static uint64_t random_session(void)
{
	uint64_t session;
	ssize_t n = getrandom(&session, sizeof(session), 0);

	assert(n == (ssize_t)sizeof(session));
	return session;
}

static void take_open(struct lane *lane, uint64_t session)
{
	if (session == lane->session) {
		if (lane->state == STATE_OPEN) {
			lane->ready_waits = true;
			flush(lane);
		}
		return;
	}
	close_session(lane);
	if (lane->freed)
		return;
	begin_session(lane, session);
	lane->handler.opened(lane->handler.arg);
}

static void take_ready(struct lane *lane)
{
	if (lane->state != STATE_OPENING)
		return;
	lane->state = STATE_OPEN;
	loop_timer_cancel(lane->loop, &lane->open_timer);
	lane->handler.opened(lane->handler.arg);
}

static void take_message(struct lane *lane, const struct frame *f, struct reader body)
{
	int r = -EBADMSG;

	if (lane->state == STATE_OPEN && f->number == lane->next_in) {
		lane->next_in++;
		r = lane->handler.message(lane->handler.arg, f->type, body);
	}
	if (r < 0 && !lane->freed)
		break_session(lane);
}

/* Whether nothing that is of this version has come over the connection yet. */
static bool is_new_connection(const struct lane *lane)
{
	return lane->state == (lane->is_upstream ? STATE_OPENING : STATE_CLOSED);
}

static void take_foreign(struct lane *lane, unsigned version)
{
	struct buf b;

	lane->foreign = true;
	loop_timer_cancel(lane->loop, &lane->open_timer);
	if (!lane->is_upstream) {
		buf_init(&b, FRAME_BYTES);
		message_put_type(&b, MESSAGE_REFUSED);
		(void)!pipe_send(lane->pipe, buf_span(&b)); /* an empty pipe takes it */
		buf_release(&b);
	}
	lane->handler.foreign(lane->handler.arg, version);
}

static void take_frame(struct lane *lane, struct span message)
{
	struct reader r = reader_of(message);
	struct frame f;
	unsigned version;
	bool is_control;

	if (lane->foreign)
		return;
	if (message_is_foreign(message, &version) && is_new_connection(lane)) {
		take_foreign(lane, version);
		return;
	}
	if (frame_decode(&r, &f) < 0) {
		break_session(lane);
		return;
	}
	is_control = f.type == MESSAGE_OPEN || f.type == MESSAGE_READY;
	if (is_control && (f.number != 0 || r.left != 0))
		break_session(lane);
	else if (f.type == MESSAGE_OPEN && !lane->is_upstream)
		take_open(lane, f.session);
	else if (lane->state == STATE_CLOSED || f.session != lane->session)
		return;
	else if (f.type == MESSAGE_READY && lane->is_upstream)
		take_ready(lane);
	else if (is_control)
		break_session(lane);
	else
		take_message(lane, &f, r);
}

static void pipe_message(void *arg, struct span message)
{
	struct lane *lane = arg;

	lane->refs++;
	take_frame(lane, message);
	unref(lane);
}

static void pipe_up(void *arg)
{
	struct lane *lane = arg;

	if (!lane->is_upstream)
		return;
	begin_session(lane, random_session());
	say_open(lane);
}

static void pipe_down(void *arg)
{
	struct lane *lane = arg;

	lane->foreign = false;
	close_session(lane);
}

static void pipe_writable(void *arg)
{
	struct lane *lane = arg;

	if (flush(lane) && lane->state == STATE_OPEN)
		lane->handler.writable(lane->handler.arg);
}

static struct pipe_handler new_lane(struct loop *l, bool is_upstream, const struct lane_handler *h)
{
	struct lane *lane = xcalloc(1, sizeof(*lane));

	lane->loop = l;
	lane->handler = *h;
	lane->is_upstream = is_upstream;
	lane->refs = 1;
	loop_timer_init(&lane->open_timer, say_open, lane);
	buf_init(&lane->out, LIMIT_MESSAGE);
	return (struct pipe_handler){
		.up = pipe_up,
		.down = pipe_down,
		.message = pipe_message,
		.writable = pipe_writable,
		.arg = lane,
	};
}

int lane_dial_upstream(struct loop *l, const char *url, const struct lane_handler *h,
		       struct lane **ret)
{
	struct pipe_handler ph = new_lane(l, true, h);
	struct lane *lane = ph.arg;
	int r = pipe_dial_pair(l, url, &ph, &lane->pipe);

	if (r < 0) {
		lane_close(lane);
		return r;
	}
	*ret = lane;
	return 0;
}

int lane_listen_downstream(struct loop *l, const char *url, const struct lane_handler *h,
			   struct lane **ret)
{
	struct pipe_handler ph = new_lane(l, false, h);
	struct lane *lane = ph.arg;
	int r = pipe_listen_pair(l, url, &ph, &lane->pipe);

	if (r < 0) {
		lane_close(lane);
		return r;
	}
	*ret = lane;
	return 0;
}

void lane_close(struct lane *lane)
{
	if (!lane)
		return;
	end_session(lane);
	pipe_close(lane->pipe);
	lane->freed = true;
	unref(lane);
}

void lane_ready(struct lane *lane)
{
	assert(!lane->is_upstream);
	if (lane->state != STATE_OPENING)
		return; /* it has ended meanwhile */
	lane->state = STATE_OPEN;
	lane->ready_waits = true;
	flush(lane);
}

bool lane_is_open(const struct lane *lane)
{
	return lane->state == STATE_OPEN;
}

struct buf *lane_start(struct lane *lane, enum message_type type)
{
	assert(!lane->out_waits);
	assert(!lane->started || lane->started_session != lane->session || !lane_is_open(lane));
	lane->started = true;
	lane->started_session = lane->session;
	buf_clear(&lane->out);
	frame_encode(&lane->out, &(struct frame){.type = type, .session = lane->session});
	return &lane->out;
}

static void put_number(struct buf *b, uint32_t number)
{
	for (unsigned i = 0; i < sizeof(number); i++)
		b->ptr[FRAME_NUMBER_AT + i] = (uint8_t)(number >> (8 * i));
}

int lane_send(struct lane *lane)
{
	assert(lane->started);
	lane->started = false;
	if (lane->state != STATE_OPEN || lane->started_session != lane->session) {
		buf_trim(&lane->out, BUFFER_KEEP_BYTES);
		return -ENOTCONN;
	}
	put_number(&lane->out, lane->next_out++);
	lane->out_waits = true;
	return flush(lane) ? 0 : -EAGAIN;
}

bool lane_is_writable(const struct lane *lane)
{
	return lane->state == STATE_OPEN && !lane->ready_waits && !lane->out_waits;
}

void lane_reset(struct lane *lane)
{
	end_session(lane);
	pipe_break(lane->pipe);
}

void lane_hold(struct lane *lane, bool hold)
{
	pipe_hold(lane->pipe, hold);
}
