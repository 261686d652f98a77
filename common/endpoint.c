#include "common/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <nng/nng.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/limits.h"

#define HELLO_BYTES      8
#define HELLO_USEC       (5 * USEC_PER_SEC)
#define REQUEST_ID_BYTES 4 /* what req and rep put before a message of LIMIT_MESSAGE */
#define READ_BYTES       KIB(128)
#define KEEP_BYTES       KIB(256) /* what a large message took beyond that is given back */
#define TURN_MESSAGES    64       /* taken from one connection before the others get their turn */
#define REDIAL_MIN_USEC  (20 * USEC_PER_MSEC)
#define REDIAL_MAX_USEC  (500 * USEC_PER_MSEC)
#define REDIAL_IPC_USEC  (50 * USEC_PER_MSEC) /* the same, where a try costs next to nothing */
#define SOCKET_FILE_MODE 0660                 /* the group's stages and nobody else */

/* Connections that have not said hello, beside the endpoint's own limit. */
#define HANDSHAKES_MAX    16
/* Asserted; every sender has a lower limit of its own. */
#define QUEUE_BYTES_MAX   (12 * (size_t)LIMIT_MESSAGE)
/* After an error, such as too many descriptors. */
#define ACCEPT_AGAIN_USEC (100 * USEC_PER_MSEC)

/* Something that nng does for us. It is busy from its start until the loop has taken its end. */
struct op {
	nng_aio *aio;
	struct endpoint *endpoint;
	void (*done)(void *arg);
	void *arg;
	bool busy;
	struct op *next_done;
};

/* What nng's threads touch. */
struct done_list {
	pthread_mutex_t lock;
	struct op *first;
	struct op **end;
	int event_fd;
};

struct link {
	LIST_ENTRY(link) in_endpoint;
	struct endpoint *endpoint;
	nng_stream *stream;
	void *data;
	bool up;
	bool closing;
	bool held;
	struct loop_timer hello_timer;
	struct loop_task task; /* goes on with messages that are there, or ends what is closing */

	struct op reading;
	uint8_t *in;
	size_t in_cap;
	size_t in_from; /* where the next message begins */
	size_t in_to;

	struct op writing;
	struct buf out;     /* queued */
	struct buf sending; /* being written */
	size_t sent;
};

struct endpoint {
	LIST_ENTRY(endpoint) in_process;
	struct loop *loop;
	struct endpoint_handler handler;
	enum protocol protocol;
	unsigned max;
	bool is_ipc;
	unsigned refs; /* the owner's, and one for each callback that is running */
	bool closed;
	struct done_list done;
	struct loop_io done_io;
	LIST_HEAD(, link) links;
	/* By endpoint_close; a callback may still be at work on one. */
	LIST_HEAD(, link) freed;
	unsigned up_count;
	unsigned hello_count;
	nng_stream_listener *listener; /* or */
	nng_stream_dialer *dialer;
	struct op making; /* accepting, or dialling */
	struct loop_timer again;
	uint64_t redial_usec;
	int64_t owner_bytes;
};

/* Those that are open: for the account of memory, which is one for the process. */
static LIST_HEAD(, endpoint) endpoints = LIST_HEAD_INITIALIZER(endpoints);

static void make_link(void *arg);

static int translate(int nng_error)
{
	static const struct {
		int from, to;
	} errors[] = {
		{NNG_ENOMEM, ENOMEM},   {NNG_EINVAL, EINVAL},         {NNG_EADDRINVAL, EINVAL},
		{NNG_ENOTSUP, EINVAL},  {NNG_EADDRINUSE, EADDRINUSE}, {NNG_EEXIST, EADDRINUSE},
		{NNG_EPERM, EACCES},    {NNG_ENOENT, ENOENT},         {NNG_ENOSPC, ENOSPC},
		{NNG_ENOFILES, EMFILE},
	};

	if (nng_error == 0)
		return 0;
	if (nng_error & NNG_ESYSERR)
		return -(nng_error & ~NNG_ESYSERR);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].from == nng_error)
			return -errors[i].to;
	return -EIO;
}

/* Operations. */

/* On a thread of nng's. */
static void op_is_done(void *arg)
{
	struct op *op = arg;
	struct done_list *done = &op->endpoint->done;

	pthread_mutex_lock(&done->lock);
	op->next_done = NULL;
	*done->end = op;
	done->end = &op->next_done;
	eventfd_write(done->event_fd, 1);
	pthread_mutex_unlock(&done->lock);
}

/* All that are there, in order. */
static struct op *take_list(struct done_list *done)
{
	struct op *first;

	pthread_mutex_lock(&done->lock);
	first = done->first;
	done->first = NULL;
	done->end = &done->first;
	pthread_mutex_unlock(&done->lock);
	return first;
}

static void op_init(struct op *op, struct endpoint *e, void (*done)(void *arg), void *arg)
{
	int r;

	*op = (struct op){.endpoint = e, .done = done, .arg = arg};
	r = nng_aio_alloc(&op->aio, op_is_done, op);
	assert(r == 0); /* like every other allocation */
}

/* Cancels it and waits for nng's thread to let go of it. */
static void op_release(struct op *op)
{
	nng_aio_stop(op->aio);
	nng_aio_free(op->aio);
}

static void free_link(struct link *c)
{
	free(c->in);
	free(c);
}

static void unref(struct endpoint *e)
{
	struct link *c;

	if (--e->refs > 0)
		return;
	while ((c = LIST_FIRST(&e->freed))) {
		LIST_REMOVE(c, in_endpoint);
		free_link(c);
	}
	pthread_mutex_destroy(&e->done.lock);
	free(e);
}

static void take_done(void *arg, uint32_t events)
{
	struct endpoint *e = arg;
	struct op *op, *next;
	eventfd_t count;

	(void)events;
	e->refs++;
	eventfd_read(e->done.event_fd, &count);
	for (op = take_list(&e->done); op && !e->closed; op = next) {
		next = op->next_done; /* it may be started again, and done, before we are back */
		op->busy = false;
		op->done(op->arg);
	}
	unref(e);
}

/* The end of a connection. */

/* All but what a handler that is running may still look at. */
static void release_link(struct link *c)
{
	struct loop *l = c->endpoint->loop;

	LIST_REMOVE(c, in_endpoint);
	loop_timer_cancel(l, &c->hello_timer);
	loop_task_cancel(l, &c->task);
	op_release(&c->reading);
	op_release(&c->writing);
	nng_stream_free(c->stream);
	buf_release(&c->out);
	buf_release(&c->sending);
}

static void redial(struct endpoint *e)
{
	uint64_t most = e->is_ipc ? REDIAL_IPC_USEC : REDIAL_MAX_USEC;

	loop_timer_set(e->loop, &e->again, e->redial_usec);
	e->redial_usec = 2 * e->redial_usec < most ? 2 * e->redial_usec : most;
}

static void end_link(struct link *c)
{
	struct endpoint *e = c->endpoint;

	if (e->dialer)
		redial(e);
	if (c->up) {
		e->up_count--;
		e->handler.down(e->handler.arg, c);
	} else {
		e->hello_count--;
	}
	if (e->closed)
		return;
	release_link(c);
	free_link(c);
}

/* Its operations end soon; the last one of them ends the connection. */
void link_close(struct link *c)
{
	if (c->closing)
		return;
	c->closing = true;
	nng_stream_close(c->stream);
	loop_task_queue(c->endpoint->loop, &c->task);
}

static void end_if_idle(struct link *c)
{
	if (!c->reading.busy && !c->writing.busy)
		end_link(c);
}

/* Writing. */

static void write_on(struct link *c)
{
	nng_iov iov = {.iov_buf = c->sending.ptr + c->sent, .iov_len = c->sending.len - c->sent};
	int r = nng_aio_set_iov(c->writing.aio, 1, &iov);

	assert(r == 0);
	c->writing.busy = true;
	nng_stream_send(c->stream, c->writing.aio);
}

static void write_queue(struct link *c)
{
	struct buf empty = c->sending;

	c->sending = c->out;
	c->out = empty;
	c->sent = 0;
	write_on(c);
}

static void written(void *arg)
{
	struct link *c = arg;
	struct endpoint *e = c->endpoint;

	if (nng_aio_result(c->writing.aio) != 0)
		link_close(c);
	if (c->closing) {
		end_if_idle(c);
		return;
	}
	c->sent += nng_aio_count(c->writing.aio);
	if (c->sent < c->sending.len) {
		write_on(c);
		return;
	}
	buf_trim(&c->sending, KEEP_BYTES);
	if (c->out.len > 0)
		write_queue(c);
	if (c->up)
		e->handler.writable(e->handler.arg, c);
}

static void put_length(struct buf *b, uint64_t v)
{
	for (unsigned i = 0; i < sizeof(v); i++)
		buf_put_u8(b, (uint8_t)(v >> (56 - 8 * i)));
}

void link_send(struct link *c, struct span head, struct span body)
{
	if (c->closing)
		return;
	assert(body.len <= LIMIT_MESSAGE);
	if (c->endpoint->is_ipc)
		buf_put_u8(&c->out, 1);
	put_length(&c->out, head.len + body.len);
	buf_append(&c->out, head);
	buf_append(&c->out, body);
	if (!c->writing.busy)
		write_queue(c);
}

size_t link_queued(const struct link *c)
{
	return c->out.len;
}

size_t link_unsent(const struct link *c)
{
	return c->out.len + c->sending.len;
}

void link_clear(struct link *c)
{
	buf_trim(&c->out, KEEP_BYTES);
}

/* Reading. */

static void read_on(struct link *c)
{
	nng_iov iov = {.iov_buf = c->in + c->in_to, .iov_len = c->in_cap - c->in_to};
	int r = nng_aio_set_iov(c->reading.aio, 1, &iov);

	assert(r == 0 && iov.iov_len > 0);
	c->reading.busy = true;
	nng_stream_recv(c->stream, c->reading.aio);
}

/* Moves what is there to the front, of a buffer that holds want bytes and more. */
static void make_room(struct link *c, size_t want)
{
	size_t left = c->in_to - c->in_from;

	if (left > 0 && c->in_from > 0)
		memmove(c->in, c->in + c->in_from, left);
	c->in_from = 0;
	c->in_to = left;
	want = want < READ_BYTES ? READ_BYTES : want;
	if (c->in_cap < want || (c->in_cap > READ_BYTES && want == READ_BYTES && left < want)) {
		c->in = xrealloc(c->in, want);
		c->in_cap = want;
	}
}

static size_t largest_message(enum protocol p)
{
	bool has_id = p == PROTOCOL_REQ || p == PROTOCOL_REP;

	return LIMIT_MESSAGE + (has_id ? REQUEST_ID_BYTES : 0);
}

/* 1: ret is a whole message. 0: it is not all there, and takes *ret_want bytes. -EBADMSG. */
static int next_message(struct link *c, struct span *ret, size_t *ret_want)
{
	/* Over ipc a 1, then the length in 8 bytes. */
	size_t head = c->endpoint->is_ipc ? 9 : 8, left = c->in_to - c->in_from;
	const uint8_t *p = c->in + c->in_from;
	uint64_t len = 0;

	*ret_want = head;
	if (left < head)
		return 0;
	if (c->endpoint->is_ipc && p[0] != 1)
		return -EBADMSG;
	for (size_t i = head - 8; i < head; i++)
		len = len << 8 | p[i];
	if (len > largest_message(c->endpoint->protocol))
		return -EBADMSG;
	*ret_want = head + (size_t)len;
	if (left < *ret_want)
		return 0;
	*ret = span_of(p + head, (size_t)len);
	return 1;
}

/* Hands out the messages that are there, and reads on when there are none. */
static void take_messages(struct link *c)
{
	struct endpoint *e = c->endpoint;
	struct span message;
	size_t want;
	int r = 1;

	for (unsigned n = 0; n < TURN_MESSAGES && !c->held && !c->closing; n++) {
		r = next_message(c, &message, &want);
		if (r <= 0)
			break;
		c->in_from += want;
		e->handler.message(e->handler.arg, c, message);
		if (e->closed)
			return;
	}
	if (c->held || c->closing)
		return;
	if (r < 0) {
		link_close(c);
	} else if (r > 0) {
		loop_task_queue(e->loop, &c->task);
	} else {
		make_room(c, want);
		read_on(c);
	}
}

static void run_task(void *arg)
{
	struct link *c = arg;
	struct endpoint *e = c->endpoint;

	e->refs++;
	if (c->closing)
		end_if_idle(c);
	else if (!c->reading.busy)
		take_messages(c);
	unref(e);
}

void link_hold(struct link *c, bool hold)
{
	c->held = hold;
	if (!hold && !c->closing && c->up)
		loop_task_queue(c->endpoint->loop, &c->task);
}

/* The beginning of a connection. */

static void encode_hello(struct buf *b, enum protocol p)
{
	buf_append(b, SPAN_LITERAL("\0SP\0"));
	buf_put_u8(b, 0);
	buf_put_u8(b, (uint8_t)p);
	buf_put_u16(b, 0);
}

static enum protocol peer_of(enum protocol p)
{
	switch (p) {
	case PROTOCOL_PUB:
		return PROTOCOL_SUB;
	case PROTOCOL_SUB:
		return PROTOCOL_PUB;
	case PROTOCOL_REQ:
		return PROTOCOL_REP;
	case PROTOCOL_REP:
		return PROTOCOL_REQ;
	case PROTOCOL_PAIR:
		break;
	}
	return PROTOCOL_PAIR;
}

static bool is_hello(const uint8_t *p, enum protocol want)
{
	struct buf b;
	bool is;

	buf_init(&b, HELLO_BYTES);
	encode_hello(&b, want);
	is = memcmp(p, b.ptr, HELLO_BYTES) == 0;
	buf_release(&b);
	return is;
}

/* It stays in the way of others until it is up or closed. */
static void take_hello(struct link *c)
{
	struct endpoint *e = c->endpoint;

	if (c->in_to < HELLO_BYTES) {
		read_on(c);
		return;
	}
	if (e->up_count >= e->max || !is_hello(c->in, peer_of(e->protocol))) {
		link_close(c);
		return;
	}
	c->in_from = HELLO_BYTES;
	c->up = true;
	e->hello_count--;
	e->up_count++;
	e->redial_usec = REDIAL_MIN_USEC;
	loop_timer_cancel(e->loop, &c->hello_timer);
	e->handler.up(e->handler.arg, c);
	if (!e->closed)
		take_messages(c);
}

static void have_read(void *arg)
{
	struct link *c = arg;

	if (nng_aio_result(c->reading.aio) != 0)
		link_close(c);
	if (c->closing) {
		end_if_idle(c);
		return;
	}
	c->in_to += nng_aio_count(c->reading.aio);
	if (c->up)
		take_messages(c);
	else
		take_hello(c);
}

static void hello_is_late(void *arg)
{
	link_close(arg);
}

static void new_link(struct endpoint *e, nng_stream *stream)
{
	struct link *c = xcalloc(1, sizeof(*c));

	c->endpoint = e;
	c->stream = stream;
	LIST_INSERT_HEAD(&e->links, c, in_endpoint);
	e->hello_count++;
	loop_timer_init(&c->hello_timer, hello_is_late, c);
	loop_timer_set(e->loop, &c->hello_timer, HELLO_USEC);
	loop_task_init(&c->task, run_task, c);
	op_init(&c->reading, e, have_read, c);
	op_init(&c->writing, e, written, c);
	buf_init(&c->out, QUEUE_BYTES_MAX);
	buf_init(&c->sending, QUEUE_BYTES_MAX);
	make_room(c, READ_BYTES);
	encode_hello(&c->out, e->protocol);
	write_queue(c);
	read_on(c);
}

static void link_made(void *arg)
{
	struct endpoint *e = arg;
	nng_stream *stream;

	if (nng_aio_result(e->making.aio) != 0) {
		if (e->dialer)
			redial(e);
		else
			loop_timer_set(e->loop, &e->again, ACCEPT_AGAIN_USEC);
		return;
	}
	stream = nng_aio_get_output(e->making.aio, 0);
	if (e->up_count >= e->max || e->hello_count >= HANDSHAKES_MAX)
		nng_stream_free(stream);
	else
		new_link(e, stream);
	if (e->listener)
		make_link(e);
}

static void make_link(void *arg)
{
	struct endpoint *e = arg;

	e->making.busy = true;
	if (e->listener)
		nng_stream_listener_accept(e->listener, e->making.aio);
	else
		nng_stream_dialer_dial(e->dialer, e->making.aio);
}

/* Endpoints. */

void endpoint_close(struct endpoint *e)
{
	struct link *c;

	if (!e)
		return;
	e->closed = true;
	LIST_REMOVE(e, in_process);
	loop_io_remove(e->loop, &e->done_io);
	loop_timer_cancel(e->loop, &e->again);
	if (e->listener)
		nng_stream_listener_close(e->listener);
	if (e->dialer)
		nng_stream_dialer_close(e->dialer);
	nng_aio_stop(e->making.aio);
	if (e->making.busy && nng_aio_result(e->making.aio) == 0)
		nng_stream_free(nng_aio_get_output(e->making.aio, 0));
	nng_aio_free(e->making.aio);
	while ((c = LIST_FIRST(&e->links))) {
		nng_stream_close(c->stream);
		release_link(c);
		LIST_INSERT_HEAD(&e->freed, c, in_endpoint);
	}
	nng_stream_listener_free(e->listener);
	nng_stream_dialer_free(e->dialer);
	close(e->done.event_fd);
	unref(e);
}

static bool is_ipc(const char *url)
{
	return span_starts_with(span_str(url), SPAN_LITERAL("ipc://"));
}

static int check_url(const char *url)
{
	struct sockaddr_un a;

	if (is_ipc(url)) {
		size_t path = strlen(url) - strlen("ipc://");

		return path > 0 && path < sizeof(a.sun_path) ? 0 : -EINVAL;
	}
	return span_starts_with(span_str(url), SPAN_LITERAL("tcp://")) ? 0 : -EINVAL;
}

/* The first error in nng's words, or 0. */
static int open_listener(struct endpoint *e, const char *url)
{
	int r = nng_stream_listener_alloc(&e->listener, url);

	if (r == 0 && e->is_ipc)
		r = nng_stream_listener_set_int(e->listener, NNG_OPT_IPC_PERMISSIONS,
						SOCKET_FILE_MODE);
	if (r == 0 && !e->is_ipc)
		r = nng_stream_listener_set_bool(e->listener, NNG_OPT_TCP_KEEPALIVE, true);
	if (r == 0 && !e->is_ipc)
		r = nng_stream_listener_set_bool(e->listener, NNG_OPT_TCP_NODELAY, true);
	return r ? r : nng_stream_listener_listen(e->listener);
}

static int open_dialer(struct endpoint *e, const char *url)
{
	int r = nng_stream_dialer_alloc(&e->dialer, url);

	if (r == 0 && !e->is_ipc)
		r = nng_stream_dialer_set_bool(e->dialer, NNG_OPT_TCP_KEEPALIVE, true);
	if (r == 0 && !e->is_ipc)
		r = nng_stream_dialer_set_bool(e->dialer, NNG_OPT_TCP_NODELAY, true);
	return r;
}

static struct endpoint *new_endpoint(struct loop *l, const char *url, enum protocol protocol,
				     unsigned max, const struct endpoint_handler *h)
{
	struct endpoint *e = xcalloc(1, sizeof(*e));

	e->loop = l;
	e->handler = *h;
	e->protocol = protocol;
	e->max = max;
	e->is_ipc = is_ipc(url);
	e->refs = 1;
	e->redial_usec = REDIAL_MIN_USEC;
	LIST_INSERT_HEAD(&endpoints, e, in_process);
	LIST_INIT(&e->links);
	LIST_INIT(&e->freed);
	pthread_mutex_init(&e->done.lock, NULL);
	e->done.end = &e->done.first;
	e->done.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert(e->done.event_fd >= 0);
	loop_io_init(&e->done_io, take_done, e);
	loop_io_add(l, &e->done_io, e->done.event_fd, EPOLLIN);
	loop_timer_init(&e->again, make_link, e);
	op_init(&e->making, e, link_made, e);
	return e;
}

static int open_endpoint(struct endpoint *e, int error, struct endpoint **ret)
{
	if (error != 0) {
		endpoint_close(e);
		return translate(error);
	}
	make_link(e);
	*ret = e;
	return 0;
}

int endpoint_listen(struct loop *l, const char *url, enum protocol protocol, unsigned max,
		    const struct endpoint_handler *h, struct endpoint **ret)
{
	struct endpoint *e;
	int r = check_url(url);

	if (r < 0)
		return r;
	e = new_endpoint(l, url, protocol, max, h);
	return open_endpoint(e, open_listener(e, url), ret);
}

int endpoint_dial(struct loop *l, const char *url, enum protocol protocol,
		  const struct endpoint_handler *h, struct endpoint **ret)
{
	struct endpoint *e;
	int r = check_url(url);

	if (r < 0)
		return r;
	e = new_endpoint(l, url, protocol, 1, h);
	return open_endpoint(e, open_dialer(e, url), ret);
}

void link_set_data(struct link *c, void *data)
{
	c->data = data;
}

void *link_data(const struct link *c)
{
	return c->data;
}

void endpoint_add_bytes(struct endpoint *e, int64_t bytes)
{
	e->owner_bytes += bytes;
}

static size_t link_bytes(const struct link *c)
{
	return sizeof(*c) + c->in_cap + c->out.cap + c->sending.cap;
}

int64_t endpoint_memory_bytes(void *arg)
{
	const struct endpoint *e;
	const struct link *c;
	int64_t sum = 0;

	(void)arg;
	LIST_FOREACH(e, &endpoints, in_process)
	{
		sum += (int64_t)sizeof(*e) + e->owner_bytes;
		LIST_FOREACH(c, &e->links, in_endpoint)
		sum += (int64_t)link_bytes(c);
	}
	return sum;
}
