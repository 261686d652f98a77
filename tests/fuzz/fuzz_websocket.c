/* The same bytes give the same messages and the same end, in whatever pieces they are read. */
#include <assert.h>
#include <errno.h>

#include "ingest/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct side {
	struct span in;
	size_t piece;
	bool hold; /* every second message at first */
	bool held;
	struct buf got;
};

static ssize_t side_read(void *arg, uint8_t *ret, size_t size)
{
	struct side *s = arg;
	size_t n = s->in.len < size ? s->in.len : size;

	n = n < s->piece ? n : s->piece;
	if (n == 0)
		return -EAGAIN;
	memcpy(ret, s->in.ptr, n);
	s->in = span_of(s->in.ptr + n, s->in.len - n);
	return (ssize_t)n;
}

static ssize_t side_write(void *arg, const uint8_t *bytes, size_t len)
{
	(void)arg;
	(void)bytes;
	return (ssize_t)len;
}

static int side_message(void *arg, struct span message)
{
	struct side *s = arg;

	s->held = s->hold && !s->held;
	if (s->held)
		return -EAGAIN;
	assert(message.len <= LIMIT_FRAME);
	buf_put_u32(&s->got, (uint32_t)message.len);
	buf_append(&s->got, message);
	return 0;
}

static enum websocket_state run(struct span input, size_t piece, bool hold, struct buf *ret_got)
{
	struct side s = {.in = input, .piece = piece, .hold = hold};
	const struct websocket_handler h = {side_read, side_write, side_message, NULL, &s};
	struct websocket_pool pool;
	struct websocket *w;
	enum websocket_state state;

	buf_init(&s.got, MIB(64));
	websocket_pool_init(&pool, WEBSOCKET_POOL_MIN_BYTES);
	w = websocket_new(&pool, &h);
	do {
		websocket_receive(w);
		websocket_resume(w);
	} while (websocket_state(w) == WEBSOCKET_OPEN && (s.in.len || websocket_is_holding(w)));
	state = websocket_state(w);
	websocket_free(w);
	websocket_pool_release(&pool);
	*ret_got = s.got;
	return state;
}

/* wslay overlooks bad UTF-8 in the reason of a close frame that it reads in small pieces. */
static bool is_same_end(enum websocket_state a, enum websocket_state b)
{
	const unsigned close = 1u << WEBSOCKET_OPEN | 1u << WEBSOCKET_CLOSED |
			       1u << WEBSOCKET_FRAMING;

	return a == b || (close >> a & close >> b & 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t pieces[] = {1, 3, 4096};
	struct span input = span_of(data, size);
	struct buf want, got;
	enum websocket_state state = run(input, SIZE_MAX, false, &want);

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		assert(is_same_end(run(input, pieces[i], i > 0, &got), state));
		/* What is held when the stream breaks is given up: its host is asked for it again.
		 */
		assert(span_starts_with(buf_span(&want), buf_span(&got)));
		assert(got.len == want.len || (i > 0 && state != WEBSOCKET_OPEN));
		buf_release(&got);
	}
	buf_release(&want);
	return 0;
}
