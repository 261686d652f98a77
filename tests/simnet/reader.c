#include "tests/simnet/reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/limits.h"

#define READ_BYTES KIB(256) /* room for one read: some 50 events */
#define IN_MAX     (LIMIT_FRAME + 14 + READ_BYTES)
#define HEAD_MAX   8192
#define TURN_READS 8    /* then others have their turn */
#define OUT_MAX    4096 /* of pongs that the server does not take: it is ended */

enum phase { PHASE_CONNECT, PHASE_HEAD, PHASE_STREAM, PHASE_CLOSED };

struct stream_reader {
	struct loop *loop;
	struct reader_handler handler;
	enum phase phase;
	int fd;
	struct loop_io io;
	struct loop_task again; /* what is left is taken; or the end is told */
	struct buf in;
	size_t taken; /* of in */
	struct buf out;
	uint64_t bytes;
	bool paused;
};

static void end(struct stream_reader *r)
{
	if (r->phase == PHASE_CLOSED)
		return;
	r->phase = PHASE_CLOSED;
	loop_io_remove(r->loop, &r->io);
	close(r->fd);
	loop_task_queue(r->loop, &r->again);
}

/* An error on a socket wakes the loop even if nothing is waited for, so then it is not watched. */
static void watch(struct stream_reader *r)
{
	uint32_t events = (r->paused ? 0 : (uint32_t)EPOLLIN) |
			  (r->out.len ? (uint32_t)EPOLLOUT : 0);
	int fd = r->fd;

	if (r->phase == PHASE_CLOSED)
		return;
	if (!events)
		loop_io_remove(r->loop, &r->io);
	else if (r->io.fd < 0)
		loop_io_add(r->loop, &r->io, fd, events);
	else
		loop_io_change(r->loop, &r->io, events);
}

static void flush(struct stream_reader *r)
{
	ssize_t n = r->out.len ? send(r->fd, r->out.ptr, r->out.len, MSG_NOSIGNAL) : 0;

	if (n > 0)
		buf_consume(&r->out, (size_t)n);
	else if (n < 0 && errno != EAGAIN)
		end(r);
}

/* The mask is 0: the other side is our own. */
static void put_pong(struct stream_reader *r, struct span payload)
{
	if (r->out.len + payload.len + 6 > OUT_MAX) {
		end(r);
		return;
	}
	buf_put_u8(&r->out, 0x8a);
	buf_put_u8(&r->out, (uint8_t)(0x80 | payload.len));
	buf_put_u32(&r->out, 0);
	buf_append(&r->out, payload);
	flush(r);
}

/* The length of a frame's head and of its payload; false: not all of the head is there. */
static bool read_head(struct span in, size_t *ret_head, uint64_t *ret_payload)
{
	size_t head = 2;
	uint64_t payload;

	if (in.len < head)
		return false;
	payload = in.ptr[1];
	if (payload == 126 || payload == 127) {
		head = payload == 126 ? 4 : 10;
		if (in.len < head)
			return false;
		payload = 0;
		for (size_t i = 2; i < head; i++)
			payload = payload << 8 | in.ptr[i];
	}
	*ret_head = head;
	*ret_payload = payload;
	return true;
}

static void take_message(struct stream_reader *r, uint8_t first, struct span payload)
{
	switch (first) {
	case 0x82:
		r->handler.frame(r->handler.arg, payload);
		break;
	case 0x89:
		if (payload.len <= 125)
			put_pong(r, payload);
		else
			end(r);
		break;
	case 0x8a:
		break;
	default:
		end(r);
	}
}

static void give_messages(struct stream_reader *r)
{
	while (r->phase == PHASE_STREAM && !r->paused) {
		struct span in = span_of(r->in.ptr + r->taken, r->in.len - r->taken);
		uint64_t payload;
		size_t head;

		if (!read_head(in, &head, &payload))
			break;
		if (payload > LIMIT_FRAME) {
			end(r);
			break;
		}
		if (in.len - head < payload)
			break;
		r->taken += head + (size_t)payload;
		take_message(r, in.ptr[0], span_of(in.ptr + head, (size_t)payload));
	}
	buf_consume(&r->in, r->taken);
	r->taken = 0;
}

static void take_head(struct stream_reader *r)
{
	const uint8_t *end_of_head = r->in.len > 0 ? memmem(r->in.ptr, r->in.len, "\r\n\r\n", 4)
						   : NULL;

	if (!end_of_head) {
		if (r->in.len >= HEAD_MAX)
			end(r);
		return;
	}
	if (!span_starts_with(buf_span(&r->in), SPAN_LITERAL("HTTP/1.1 101"))) {
		end(r);
		return;
	}
	buf_consume(&r->in, (size_t)(end_of_head - r->in.ptr) + 4);
	r->phase = PHASE_STREAM;
}

static void take_input(struct stream_reader *r)
{
	if (r->phase == PHASE_HEAD)
		take_head(r);
	if (r->phase == PHASE_STREAM)
		give_messages(r);
}

/* Whether there may be more. */
static bool read_some(struct stream_reader *r)
{
	size_t before = r->in.len;
	uint8_t *into = buf_extend(&r->in, READ_BYTES);
	ssize_t n = recv(r->fd, into, READ_BYTES, 0);
	int error = errno;

	r->in.len = before + (n > 0 ? (size_t)n : 0);
	if (n > 0)
		r->bytes += (uint64_t)n;
	else if (n == 0 || error != EAGAIN)
		end(r);
	return n == (ssize_t)READ_BYTES;
}

static void receive(struct stream_reader *r)
{
	bool more = true;

	for (unsigned i = 0; i < TURN_READS && more; i++) {
		more = read_some(r) && !r->paused && r->phase != PHASE_CLOSED;
		take_input(r);
	}
}

static void finish_connect(struct stream_reader *r)
{
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(r->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
		end(r);
		return;
	}
	r->phase = PHASE_HEAD;
	flush(r);
}

static void on_ready(void *arg, uint32_t events)
{
	struct stream_reader *r = arg;

	if (r->phase == PHASE_CONNECT)
		finish_connect(r);
	else if (events & EPOLLOUT)
		flush(r);
	if (r->phase != PHASE_CLOSED && !r->paused && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(r);
	watch(r);
}

static void on_again(void *arg)
{
	struct stream_reader *r = arg;

	if (r->phase == PHASE_CLOSED) {
		r->handler.closed(r->handler.arg);
		return;
	}
	take_input(r);
	watch(r);
}

static void put_request(struct stream_reader *r, int64_t cursor)
{
	buf_append_str(&r->out, "GET /xrpc/com.atproto.sync.subscribeRepos");
	if (cursor >= 0)
		buf_printf(&r->out, "?cursor=%" PRId64, cursor);
	buf_append_str(&r->out, " HTTP/1.1\r\n"
				"Host: localhost\r\n"
				"Upgrade: websocket\r\n"
				"Connection: Upgrade\r\n"
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
				"Sec-WebSocket-Version: 13\r\n"
				"\r\n");
}

static socklen_t size_of(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
					      : sizeof(struct sockaddr_in);
}

struct stream_reader *stream_reader_new(struct loop *l, const struct sockaddr *address,
					int64_t cursor, const struct reader_handler *h)
{
	struct stream_reader *r = xcalloc(1, sizeof(*r));
	const int on = 1;

	r->loop = l;
	r->handler = *h;
	loop_io_init(&r->io, on_ready, r);
	loop_task_init(&r->again, on_again, r);
	buf_init(&r->in, IN_MAX);
	buf_init(&r->out, OUT_MAX);
	put_request(r, cursor);
	r->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(r->fd >= 0);
	(void)setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(r->fd, address, size_of(address)) < 0 && errno != EINPROGRESS)
		end(r);
	watch(r);
	return r;
}

void stream_reader_free(struct stream_reader *r)
{
	if (!r)
		return;
	if (r->phase != PHASE_CLOSED) {
		loop_io_remove(r->loop, &r->io);
		close(r->fd);
	}
	loop_task_cancel(r->loop, &r->again);
	buf_release(&r->in);
	buf_release(&r->out);
	free(r);
}

void stream_reader_pause(struct stream_reader *r, bool paused)
{
	if (r->paused == paused)
		return;
	r->paused = paused;
	watch(r);
	if (!paused)
		loop_task_queue(r->loop, &r->again);
}

bool stream_reader_is_open(const struct stream_reader *r)
{
	return r->phase == PHASE_STREAM;
}

uint64_t stream_reader_bytes(const struct stream_reader *r)
{
	return r->bytes;
}
