#include "ingest/websocket.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "common/memory.h"

#define READ_BYTES       4096    /* what wslay reads at a time */
#define SPARE_KEEP_BYTES KIB(64) /* of the pool's buffer; nearly all frames are below */
#define ANSWERS_MAX      16      /* pongs that wait to be sent; an honest host has one */
#define GROWTH_MIN       256     /* more than a buffer's first bytes */

/* Held messages: u32 length before each. READ_BYTES have at most half as many messages, whose
 * lengths take 4 bytes each. */
#define HELD_BYTES_MAX (LIMIT_FRAME + 4 + 3 * READ_BYTES)

struct websocket {
	struct websocket_handler handler;
	struct websocket_pool *pool;
	TAILQ_ENTRY(websocket) in_pool; /* while `bytes` is not 0 */
	size_t bytes;                   /* of `message` and `held`, as the pool knows them */
	wslay_event_context_ptr wslay;
	enum websocket_state state;
	bool drained;       /* read gave nothing */
	bool in_control;    /* the frame that is being read is a control frame */
	bool amid;          /* a message has begun */
	size_t message_len; /* of the message so far, with the present frame's whole payload */
	bool last_frame;    /* the present frame is the message's last */
	struct span whole;  /* the message, where it lies whole in what was read */
	struct buf message; /* the message otherwise */
	struct buf held;
	uint64_t messages;
	uint64_t received;
};

void websocket_pool_init(struct websocket_pool *p, size_t limit_bytes)
{
	assert(limit_bytes >= WEBSOCKET_POOL_MIN_BYTES);
	*p = (struct websocket_pool){.limit_bytes = limit_bytes};
	buf_init(&p->spare, LIMIT_FRAME);
	TAILQ_INIT(&p->holders);
}

void websocket_pool_release(struct websocket_pool *p)
{
	buf_release(&p->spare);
}

static void swap_message(struct websocket *w)
{
	struct buf b = w->message;

	w->message = w->pool->spare;
	w->pool->spare = b;
}

static void fail(struct websocket *w, enum websocket_state state)
{
	if (w->state == WEBSOCKET_OPEN)
		w->state = state;
}

/* What the sockets of a pool hold. */

/* Tells the pool what this one's buffers are now. */
static void account(struct websocket *w)
{
	struct websocket_pool *p = w->pool;
	size_t bytes = w->message.cap + w->held.cap;

	if (w->bytes == 0 && bytes > 0) {
		TAILQ_INSERT_TAIL(&p->holders, w, in_pool);
		p->holder_count++;
	} else if (w->bytes > 0 && bytes == 0) {
		TAILQ_REMOVE(&p->holders, w, in_pool);
		p->holder_count--;
	}
	p->bytes = p->bytes - w->bytes + bytes;
	w->bytes = bytes;
}

static void release_buffers(struct websocket *w)
{
	buf_release(&w->message);
	buf_release(&w->held);
	account(w);
}

/* There is always one that holds the average. */
static struct websocket *oldest_with_much(const struct websocket_pool *p)
{
	struct websocket *w = TAILQ_FIRST(&p->holders);

	while (w->bytes < p->bytes / p->holder_count)
		w = TAILQ_NEXT(w, in_pool);
	return w;
}

/* What a buffer may take more when so much is added. */
static size_t growth_of(const struct websocket *w, const struct buf *b, size_t len)
{
	/* Without one it takes the spare one, and grows by as much as that has. */
	size_t most = b->cap ? b->cap : 2 * w->pool->spare.cap;

	if (len <= b->cap - b->len)
		return 0;
	most = most > len ? most : len;
	return most > GROWTH_MIN ? most : GROWTH_MIN;
}

/* For len more bytes in b, a buffer of w. False if it was w that had to go. */
static bool make_room(struct websocket *w, const struct buf *b, size_t len)
{
	struct websocket_pool *p = w->pool;

	while (p->bytes > p->limit_bytes || growth_of(w, b, len) > p->limit_bytes - p->bytes) {
		struct websocket *victim = oldest_with_much(p);

		fail(victim, WEBSOCKET_CROWDED);
		release_buffers(victim);
		if (victim == w)
			return false;
		victim->handler.crowded(victim->handler.arg);
	}
	return true;
}

/* wslay's callbacks. They only take notes: none of them may free the context. */

static ssize_t on_read(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags, void *arg)
{
	struct websocket *w = arg;
	ssize_t n = -EAGAIN;

	(void)flags;
	if (w->state == WEBSOCKET_OPEN && w->held.len == 0)
		n = w->handler.read(w->handler.arg, buf, len);
	w->drained = n <= 0;
	if (n > 0)
		return n;
	if (n != -EAGAIN)
		fail(w, WEBSOCKET_TRANSPORT);
	wslay_event_set_error(ctx,
			      n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_write(wslay_event_context_ptr ctx, const uint8_t *data, size_t len, int flags,
			void *arg)
{
	struct websocket *w = arg;
	ssize_t n = w->handler.write(w->handler.arg, data, len);

	(void)flags;
	if (n > 0)
		return n;
	wslay_event_set_error(ctx,
			      n == -EAGAIN ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, void *arg)
{
	(void)ctx;
	(void)arg;
	return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -1;
}

static void on_frame_start(wslay_event_context_ptr ctx,
			   const struct wslay_event_on_frame_recv_start_arg *frame, void *arg)
{
	struct websocket *w = arg;

	(void)ctx;
	w->in_control = wslay_is_ctrl_frame(frame->opcode);
	if (w->in_control || w->state != WEBSOCKET_OPEN)
		return;
	if (!w->amid) {
		w->amid = true;
		w->message_len = 0;
	}
	if (frame->opcode == WSLAY_TEXT_FRAME)
		fail(w, WEBSOCKET_TEXT);
	else if (frame->payload_length > LIMIT_FRAME - w->message_len)
		fail(w, WEBSOCKET_OVERSIZE);
	w->message_len += frame->payload_length;
	w->last_frame = frame->fin;
}

static void on_chunk(wslay_event_context_ptr ctx,
		     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *arg)
{
	struct websocket *w = arg;
	struct span s = span_of(chunk->data, chunk->data_length);

	(void)ctx;
	if (w->in_control || w->state != WEBSOCKET_OPEN || s.len == 0)
		return;
	if (w->last_frame && w->message.len == 0 && s.len == w->message_len) {
		w->whole = s;
		return;
	}
	if (!make_room(w, &w->message, s.len))
		return;
	if (w->message.cap == 0)
		swap_message(w);
	buf_append(&w->message, s);
	account(w);
}

static void hold(struct websocket *w, struct span message)
{
	if (!make_room(w, &w->held, 4 + message.len))
		return;
	/* In one step, as make_room has it. */
	buf_extend(&w->held, 4 + message.len);
	w->held.len -= 4 + message.len;
	buf_put_u32(&w->held, (uint32_t)message.len);
	buf_append(&w->held, message);
	account(w);
}

/* Behind a held message there is no overtaking. */
static void deliver(struct websocket *w, struct span message)
{
	int error = w->held.len ? -EAGAIN : w->handler.message(w->handler.arg, message);

	if (error == -EAGAIN)
		hold(w, message);
	else if (error)
		fail(w, WEBSOCKET_REFUSED);
}

/* To the pool if it has none. */
static void give_back_message(struct websocket *w)
{
	if (w->pool->spare.cap == 0) {
		buf_trim(&w->message, SPARE_KEEP_BYTES);
		swap_message(w);
	} else {
		buf_trim(&w->message, 0);
	}
	account(w);
}

static void on_message(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *msg,
		       void *arg)
{
	struct websocket *w = arg;

	if (w->state != WEBSOCKET_OPEN)
		return;
	w->received++;
	if (wslay_is_ctrl_frame(msg->opcode)) {
		if (wslay_event_get_queued_msg_count(ctx) > ANSWERS_MAX)
			fail(w, WEBSOCKET_FLOOD);
		return;
	}
	w->messages++;
	deliver(w, w->whole.ptr ? w->whole : buf_span(&w->message));
	w->amid = false;
	w->whole = SPAN_EMPTY;
	give_back_message(w);
}

static const struct wslay_event_callbacks callbacks = {
	.recv_callback = on_read,
	.send_callback = on_write,
	.genmask_callback = on_mask,
	.on_frame_recv_start_callback = on_frame_start,
	.on_frame_recv_chunk_callback = on_chunk,
	.on_msg_recv_callback = on_message,
};

struct websocket *websocket_new(struct websocket_pool *pool, const struct websocket_handler *h)
{
	struct websocket *w = xcalloc(1, sizeof(*w));
	int r;

	w->handler = *h;
	w->pool = pool;
	buf_init(&w->message, LIMIT_FRAME);
	buf_init(&w->held, HELD_BYTES_MAX);
	r = wslay_event_context_client_init(&w->wslay, &callbacks, w);
	assert(r == 0);
	wslay_event_config_set_no_buffering(w->wslay, 1);
	wslay_event_config_set_max_recv_msg_length(w->wslay, LIMIT_FRAME);
	return w;
}

void websocket_free(struct websocket *w)
{
	if (!w)
		return;
	wslay_event_context_free(w->wslay);
	release_buffers(w);
	free(w);
}

/* wslay stops reading after what it takes for an error, and has put a close frame with its reason
 * into the queue. */
static void judge_stop(struct websocket *w)
{
	if (wslay_event_get_close_received(w->wslay)) {
		fail(w, WEBSOCKET_CLOSED);
		return;
	}
	if (wslay_event_get_status_code_sent(w->wslay) == WSLAY_CODE_MESSAGE_TOO_BIG)
		fail(w, WEBSOCKET_OVERSIZE);
	else
		fail(w, WEBSOCKET_FRAMING);
}

void websocket_receive(struct websocket *w)
{
	int r = 0;

	if (w->state != WEBSOCKET_OPEN || w->held.len)
		return;
	/* wslay also stops after a read that ends within a frame's head. */
	do {
		w->drained = false;
		r = wslay_event_recv(w->wslay);
	} while (r == 0 && !w->drained && wslay_event_want_read(w->wslay));
	websocket_flush(w);
	if (w->state == WEBSOCKET_OPEN && (r != 0 || !wslay_event_want_read(w->wslay)))
		judge_stop(w);
}

void websocket_flush(struct websocket *w)
{
	if (wslay_event_want_write(w->wslay) && wslay_event_send(w->wslay) != 0)
		fail(w, WEBSOCKET_TRANSPORT);
}

bool websocket_wants_write(const struct websocket *w)
{
	return wslay_event_want_write(w->wslay);
}

void websocket_ping(struct websocket *w)
{
	struct wslay_event_msg ping = {.opcode = WSLAY_PING};

	if (w->state != WEBSOCKET_OPEN || wslay_event_get_queued_msg_count(w->wslay) > 0)
		return;
	if (wslay_event_queue_msg(w->wslay, &ping) == 0)
		websocket_flush(w);
}

void websocket_close(struct websocket *w, uint16_t status)
{
	if (w->state != WEBSOCKET_TRANSPORT &&
	    wslay_event_queue_close(w->wslay, status, NULL, 0) == 0)
		websocket_flush(w);
}

enum websocket_state websocket_state(const struct websocket *w)
{
	return w->state;
}

uint16_t websocket_close_status(const struct websocket *w)
{
	return wslay_event_get_close_received(w->wslay)
		       ? wslay_event_get_status_code_received(w->wslay)
		       : 0;
}

bool websocket_is_holding(const struct websocket *w)
{
	return w->held.len > 0;
}

static int offer_first(struct websocket *w)
{
	struct reader r = reader_of(buf_span(&w->held));
	struct span message = SPAN_EMPTY;
	uint32_t len = 0;
	int error = reader_get_u32(&r, &len);

	assert(!error);
	error = reader_get_span(&r, len, &message);
	assert(!error);
	error = w->handler.message(w->handler.arg, message);
	if (error != -EAGAIN)
		buf_consume(&w->held, 4 + message.len);
	return error;
}

void websocket_resume(struct websocket *w)
{
	int error = 0;

	while (!error && w->state == WEBSOCKET_OPEN && w->held.len)
		error = offer_first(w);
	if (error && error != -EAGAIN)
		fail(w, WEBSOCKET_REFUSED);
	if (w->held.len == 0)
		buf_trim(&w->held, 0);
	account(w);
}

uint64_t websocket_messages(const struct websocket *w)
{
	return w->messages;
}

uint64_t websocket_received(const struct websocket *w)
{
	return w->received;
}

bool websocket_is_amid(const struct websocket *w)
{
	return w->amid;
}

size_t websocket_memory_bytes(const struct websocket *w)
{
	/* A context is two blocks of one size, each with a buffer of READ_BYTES in it. */
	return (size_t)(memory_block_bytes(w) + 2 * memory_block_bytes(w->wslay)) + w->message.cap +
	       w->held.cap;
}
