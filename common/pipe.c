/*
 * nng 1.5.2 under our loop. nng does its input and output on threads of its own (on two cores 14:
 * four for names, four for tasks, two for deadlines, and one each for epoll, reaping and timers),
 * which it starts with the first socket; loop_new comes before that, so that they have the stages'
 * signals blocked. They touch one thing of ours: struct connection, under its lock.
 *
 * Everything else happens on the loop's thread, through the descriptors that nng makes readable
 * while a socket has a message to give, or room for one to send. They are levels, not edges: what
 * is left over for the next turn is reported again.
 *
 * A socket keeps at most QUEUE_MESSAGES in either direction, and one more that is being written or
 * has just been read: 2 * (QUEUE_MESSAGES + 1) * LIMIT_MESSAGE bytes in the worst case, and
 * about 2.4 MB with full batches of events.
 *
 * A pair socket of this version of nng does not close its two descriptors, so pair pipes are made
 * to live as long as the process.
 */
#include "common/pipe.h"

#include <assert.h>
#include <errno.h>
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/limits.h"

#define QUEUE_MESSAGES                                                                             \
	8 /* enough to keep both ends busy: a batch of events takes about a millisecond */
#define TURN_MESSAGES    64 /* taken from one pipe before the others get their turn */
#define REDIAL_MIN_MSEC  20
#define REDIAL_MAX_MSEC  500
#define SOCKET_FILE_MODE 0660 /* the group's stages and nobody else */

#define CALLS_MAX       1024                /* under way on one req pipe */
#define CALLS_BYTES_MAX (4 * LIMIT_MESSAGE) /* their requests, as long as they are not sent */
/* nng keeps 64 replies for a peer and drops what is beyond. So no more calls are sent at once;
 * those that have waited for a while are answered one by one, if at all, and do not count. */
#define CALLS_FRESH_MAX 64
#define CALL_FRESH_USEC (250 * USEC_PER_MSEC)
#define REQUESTS_MAX                                                                               \
	4096 /* on one rep pipe, waiting for their replies: four peers with CALLS_MAX each */
#define CALL_ID_BIT         0x80000000u /* says that the backtrace ends here */
#define CALL_ID_BYTES       4
#define BACKTRACE_BYTES_MAX 64 /* nng's own maximum: 16 hops */

enum kind { KIND_PAIR, KIND_PUB, KIND_SUB, KIND_REP, KIND_REQ };

static const struct kind_info {
	int (*open)(nng_socket *ret);
	bool receives;
	bool waits_to_send;
	size_t overhead; /* bytes of a message beside what was given to pipe_send or pipe_call */
} kinds[] = {
	[KIND_PAIR] = {nng_pair0_open, true, true, 0},
	[KIND_PUB] = {nng_pub0_open, false, false, 0},
	[KIND_SUB] = {nng_sub0_open, true, false, 0},
	[KIND_REP] = {nng_rep0_open_raw, true, true, CALL_ID_BYTES},
	[KIND_REQ] = {nng_req0_open_raw, true, true, CALL_ID_BYTES},
};

/*
 * What nng's threads say of a pair socket's connections, by nng's number for each. One that is
 * refused because there is one already starts, and never gets further. nng may report the end of a
 * connection before it reports that it was made.
 */
struct connection {
	pthread_mutex_t lock;
	uint32_t starting; /* 0: none */
	uint32_t current;  /* 0: none */
	int event_fd;      /* written to after a change */
};

/* rep: a request that was given to the handler. */
struct call {
	LIST_ENTRY(call) in_pipe;
	TAILQ_ENTRY(call) in_replies;
	struct pipe *pipe; /* NULL once it is closed */
	nng_msg *reply;    /* NULL until it is answered */
	size_t backtrace_len;
	uint8_t backtrace[BACKTRACE_BYTES_MAX];
};

/* req: a call under way, from pipe_call to done. */
struct pending {
	TAILQ_ENTRY(pending) in_pipe;
	TAILQ_ENTRY(pending) in_unsent;
	struct pipe *pipe;
	uint32_t id; /* 0: refused, done is yet to say so */
	nng_msg *unsent;
	bool fresh;
	uint64_t deadline_usec;
	struct loop_timer timer;
	void (*done)(void *arg, int error, struct span reply);
	void *arg;
};

struct pipe {
	struct loop *loop;
	enum kind kind;
	struct pipe_handler handler;
	unsigned refs; /* the owner's, and one for each callback that is running */
	bool closed;
	nng_socket socket;
	int receive_fd;
	int send_fd;
	struct loop_io receivable; /* added while messages are taken */
	struct loop_io sendable;   /* added while something waits to be sent */

	/* pair */
	struct connection connection;
	struct loop_io changed;
	uint32_t up; /* the connection that the handler knows of; 0: none */
	bool held;
	bool blocked; /* a pipe_send gave -EAGAIN */

	/* rep */
	LIST_HEAD(, call) requests;
	size_t request_count;
	TAILQ_HEAD(, call) replies; /* yet to be sent */

	/* req */
	TAILQ_HEAD(, pending) calls;
	TAILQ_HEAD(, pending) unsent;
	size_t unsent_bytes;
	size_t call_count;
	size_t fresh_count;
	uint32_t last_id;
	struct pending **slots; /* CALLS_MAX; a call is at its id modulo that */
};

static int translate(int nng_error)
{
	static const struct {
		int from, to;
	} errors[] = {
		{NNG_ENOMEM, ENOMEM},         {NNG_EINVAL, EINVAL},       {NNG_EADDRINVAL, EINVAL},
		{NNG_EADDRINUSE, EADDRINUSE}, {NNG_EPERM, EACCES},        {NNG_ENOENT, ENOENT},
		{NNG_ENOFILES, EMFILE},       {NNG_ENOTSUP, EINVAL},      {NNG_ENOSPC, ENOSPC},
		{NNG_EEXIST, EADDRINUSE},     {NNG_ETIMEDOUT, ETIMEDOUT},
	};

	if (nng_error & NNG_ESYSERR)
		return -(nng_error & ~NNG_ESYSERR);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (errors[i].from == nng_error)
			return -errors[i].to;
	return -EIO;
}

static void unref(struct pipe *p)
{
	if (--p->refs > 0)
		return;
	pthread_mutex_destroy(&p->connection.lock);
	free(p->slots);
	free(p);
}

static void watch(struct pipe *p, struct loop_io *io, int fd, bool on)
{
	if (!on || p->closed)
		loop_io_remove(p->loop, io);
	else if (io->fd < 0)
		loop_io_add(p->loop, io, fd, EPOLLIN);
}

static void watch_receivable(struct pipe *p)
{
	bool full = p->request_count >= REQUESTS_MAX;

	watch(p, &p->receivable, p->receive_fd, !p->held && !full);
}

static nng_msg *new_message(struct span s)
{
	nng_msg *m;
	int r;

	assert(s.len <= LIMIT_MESSAGE);
	r = nng_msg_alloc(&m, s.len);
	assert(r == 0); /* like every other allocation */
	if (s.len > 0)
		memcpy(nng_msg_body(m), s.ptr, s.len);
	return m;
}

static struct span message_body(nng_msg *m)
{
	return span_of(nng_msg_body(m), nng_msg_len(m));
}

/* Takes m if there is room for it. */
static bool try_send(struct pipe *p, nng_msg *m)
{
	int r = nng_sendmsg(p->socket, m, NNG_FLAG_NONBLOCK);

	assert(r == 0 || r == NNG_EAGAIN);
	return r == 0;
}

/* Connections of a pair. */

/* On nng's threads. */
static void note_event(nng_pipe connection, nng_pipe_ev event, void *arg)
{
	struct connection *c = arg;
	uint32_t id = (uint32_t)nng_pipe_id(connection);

	pthread_mutex_lock(&c->lock);
	if (event == NNG_PIPE_EV_ADD_PRE) {
		c->starting = id;
	} else if (event == NNG_PIPE_EV_ADD_POST && c->starting == id) {
		c->starting = 0;
		c->current = id;
	} else if (event == NNG_PIPE_EV_REM_POST) {
		c->starting = c->starting == id ? 0 : c->starting;
		c->current = c->current == id ? 0 : c->current;
	}
	pthread_mutex_unlock(&c->lock);
	eventfd_write(c->event_fd, 1);
}

/* sender: the connection a message came by, which so is more than starting; 0: there is none. */
static uint32_t current_connection(struct connection *c, uint32_t sender)
{
	uint32_t current;

	pthread_mutex_lock(&c->lock);
	if (sender != 0 && c->starting == sender) {
		c->starting = 0;
		c->current = sender;
	}
	current = c->current;
	pthread_mutex_unlock(&c->lock);
	return current;
}

/* Tells the handler what it does not know yet. However often connections came and went since, it
 * sees down and up in turn. */
static void follow_connection(struct pipe *p, uint32_t sender)
{
	uint32_t current = current_connection(&p->connection, sender);

	if (p->up != 0 && p->up != current) {
		p->up = 0;
		watch(p, &p->sendable, p->send_fd, false);
		p->handler.down(p->handler.arg);
	}
	if (p->up == 0 && current != 0 && !p->closed) {
		p->up = current;
		watch(p, &p->sendable, p->send_fd, p->blocked);
		p->handler.up(p->handler.arg);
	}
}

static void connection_changed(void *arg, uint32_t events)
{
	struct pipe *p = arg;
	eventfd_t count;

	(void)events;
	p->refs++;
	eventfd_read(p->connection.event_fd, &count);
	follow_connection(p, 0);
	unref(p);
}

static void take_pair(struct pipe *p, nng_msg *m)
{
	uint32_t sender = (uint32_t)nng_pipe_id(nng_msg_get_pipe(m));

	follow_connection(p, sender);
	if (p->up == sender && !p->closed)
		p->handler.message(p->handler.arg, message_body(m));
}

/* Replies of a rep. */

static void free_call(struct call *c)
{
	if (c->pipe) {
		LIST_REMOVE(c, in_pipe);
		c->pipe->request_count--;
		watch_receivable(c->pipe);
	}
	free(c);
}

static void send_replies(struct pipe *p)
{
	struct call *c;

	while ((c = TAILQ_FIRST(&p->replies)) && try_send(p, c->reply)) {
		TAILQ_REMOVE(&p->replies, c, in_replies);
		free_call(c);
	}
	watch(p, &p->sendable, p->send_fd, c != NULL);
}

static void take_request(struct pipe *p, nng_msg *m)
{
	struct call *c = xcalloc(1, sizeof(*c));

	c->backtrace_len = nng_msg_header_len(m);
	assert(c->backtrace_len <= sizeof(c->backtrace));
	memcpy(c->backtrace, nng_msg_header(m), c->backtrace_len);
	c->pipe = p;
	LIST_INSERT_HEAD(&p->requests, c, in_pipe);
	p->request_count++;
	watch_receivable(p);
	p->handler.request(p->handler.arg, c, message_body(m));
}

void call_reply(struct call *c, struct span message)
{
	struct pipe *p = c->pipe;
	int r;

	assert(!c->reply);
	if (!p) {
		free_call(c);
		return;
	}
	c->reply = new_message(message);
	r = nng_msg_header_append(c->reply, c->backtrace, c->backtrace_len);
	assert(r == 0);
	TAILQ_INSERT_TAIL(&p->replies, c, in_replies);
	send_replies(p);
}

void call_drop(struct call *c)
{
	assert(!c->reply);
	free_call(c);
}

static void release_requests(struct pipe *p)
{
	struct call *c;

	while ((c = LIST_FIRST(&p->requests))) {
		LIST_REMOVE(c, in_pipe);
		c->pipe = NULL;
		if (c->reply) {
			nng_msg_free(c->reply);
			free_call(c);
		}
	}
}

/* Calls of a req. */

static void take_out_unsent(struct pending *c)
{
	struct pipe *p = c->pipe;

	TAILQ_REMOVE(&p->unsent, c, in_unsent);
	p->unsent_bytes -= nng_msg_len(c->unsent);
	c->unsent = NULL;
}

static void set_fresh(struct pending *c, bool fresh)
{
	if (c->fresh == fresh)
		return;
	c->fresh = fresh;
	if (fresh)
		c->pipe->fresh_count++;
	else
		c->pipe->fresh_count--;
}

static void finish_call(struct pending *c, int error, struct span reply)
{
	struct pipe *p = c->pipe;
	nng_msg *unsent = c->unsent;

	TAILQ_REMOVE(&p->calls, c, in_pipe);
	loop_timer_cancel(p->loop, &c->timer);
	if (unsent) {
		take_out_unsent(c);
		nng_msg_free(unsent);
	}
	set_fresh(c, false);
	if (c->id != 0) {
		p->slots[c->id % CALLS_MAX] = NULL;
		p->call_count--;
	}
	c->done(c->arg, error, reply);
	free(c);
}

/* The timer goes off when the call is no longer fresh, or at its deadline if that is sooner. */
static void set_call_timer(struct pending *c)
{
	struct loop *l = c->pipe->loop;
	uint64_t now = loop_now_usec(l);
	uint64_t left = c->deadline_usec > now ? c->deadline_usec - now : 0;

	if (c->fresh && left > CALL_FRESH_USEC)
		left = CALL_FRESH_USEC;
	loop_timer_set(l, &c->timer, left);
}

static void send_calls(struct pipe *p)
{
	struct pending *c = NULL;

	while (p->fresh_count < CALLS_FRESH_MAX && (c = TAILQ_FIRST(&p->unsent)) &&
	       try_send(p, c->unsent)) {
		take_out_unsent(c);
		set_fresh(c, true);
		set_call_timer(c);
	}
	watch(p, &p->sendable, p->send_fd, c && p->fresh_count < CALLS_FRESH_MAX);
}

static void call_timer(void *arg)
{
	struct pending *c = arg;
	struct pipe *p = c->pipe;

	p->refs++;
	if (c->id == 0) {
		finish_call(c, -ENOBUFS, SPAN_EMPTY);
	} else if (loop_now_usec(p->loop) >= c->deadline_usec) {
		finish_call(c, -ETIMEDOUT, SPAN_EMPTY);
	} else {
		set_fresh(c, false);
		set_call_timer(c);
	}
	if (!p->closed)
		send_calls(p);
	unref(p);
}

static void take_reply(struct pipe *p, nng_msg *m)
{
	struct pending *c;
	uint32_t id;

	if (nng_msg_header_trim_u32(m, &id) != 0)
		return;
	c = p->slots[id % CALLS_MAX];
	if (!c || c->id != id || c->unsent)
		return; /* it came too late */
	finish_call(c, 0, message_body(m));
	if (!p->closed)
		send_calls(p);
}

static uint32_t next_call_id(struct pipe *p)
{
	do {
		p->last_id = (p->last_id + 1) | CALL_ID_BIT;
	} while (p->slots[p->last_id % CALLS_MAX]);
	return p->last_id;
}

void pipe_call(struct pipe *p, struct span message, uint64_t timeout_usec,
	       void (*done)(void *arg, int error, struct span reply), void *arg)
{
	struct pending *c = xcalloc(1, sizeof(*c));
	int r;

	assert(p->kind == KIND_REQ && !p->closed);
	c->pipe = p;
	c->done = done;
	c->arg = arg;
	loop_timer_init(&c->timer, call_timer, c);
	TAILQ_INSERT_TAIL(&p->calls, c, in_pipe);
	if (p->call_count == CALLS_MAX || message.len > CALLS_BYTES_MAX - p->unsent_bytes) {
		loop_timer_set(p->loop, &c->timer, 0);
		return;
	}
	c->id = next_call_id(p);
	p->slots[c->id % CALLS_MAX] = c;
	p->call_count++;
	if (__builtin_add_overflow(loop_now_usec(p->loop), timeout_usec, &c->deadline_usec))
		c->deadline_usec = UINT64_MAX;
	c->unsent = new_message(message);
	r = nng_msg_header_append_u32(c->unsent, c->id);
	assert(r == 0);
	TAILQ_INSERT_TAIL(&p->unsent, c, in_unsent);
	p->unsent_bytes += message.len;
	set_call_timer(c);
	send_calls(p);
}

/* All kinds. */

static void take(struct pipe *p, nng_msg *m)
{
	switch (p->kind) {
	case KIND_PAIR:
		take_pair(p, m);
		break;
	case KIND_SUB:
		p->handler.message(p->handler.arg, message_body(m));
		break;
	case KIND_REP:
		take_request(p, m);
		break;
	case KIND_REQ:
		take_reply(p, m);
		break;
	case KIND_PUB:
		break;
	}
}

static void receive_ready(void *arg, uint32_t events)
{
	struct pipe *p = arg;
	nng_msg *m;

	(void)events;
	p->refs++;
	/* A handler may hold or close the pipe: then it is not watched any more. */
	for (unsigned n = 0; n < TURN_MESSAGES && p->receivable.fd >= 0; n++) {
		if (nng_recvmsg(p->socket, &m, NNG_FLAG_NONBLOCK) != 0)
			break;
		take(p, m);
		nng_msg_free(m);
	}
	unref(p);
}

static void send_ready(void *arg, uint32_t events)
{
	struct pipe *p = arg;

	(void)events;
	p->refs++;
	if (p->kind == KIND_REQ) {
		send_calls(p);
	} else if (p->kind == KIND_REP) {
		send_replies(p);
	} else {
		watch(p, &p->sendable, p->send_fd, false);
		p->blocked = false;
		p->handler.writable(p->handler.arg);
	}
	unref(p);
}

int pipe_send(struct pipe *p, struct span message)
{
	nng_msg *m;

	if (p->kind == KIND_PAIR && p->up == 0) {
		p->blocked = true;
		return -EAGAIN;
	}
	m = new_message(message);
	if (try_send(p, m))
		return 0;
	nng_msg_free(m);
	p->blocked = true;
	watch(p, &p->sendable, p->send_fd, true);
	return -EAGAIN;
}

void pipe_hold(struct pipe *p, bool hold)
{
	p->held = hold;
	watch_receivable(p);
}

void pipe_break(struct pipe *p)
{
	if (p->up != 0)
		nng_pipe_close((nng_pipe){.id = p->up});
}

bool pipe_is_up(const struct pipe *p)
{
	return p->up != 0;
}

void pipe_close(struct pipe *p)
{
	struct pending *c;

	if (!p)
		return;
	p->closed = true;
	loop_io_remove(p->loop, &p->receivable);
	loop_io_remove(p->loop, &p->sendable);
	loop_io_remove(p->loop, &p->changed);
	nng_close(p->socket);
	if (p->connection.event_fd >= 0)
		close(p->connection.event_fd);
	release_requests(p);
	while ((c = TAILQ_FIRST(&p->calls)))
		finish_call(c, c->id ? -ECANCELED : -ENOBUFS, SPAN_EMPTY);
	unref(p);
}

/* Takes the socket. */
static struct pipe *new_pipe(struct loop *l, enum kind kind, nng_socket socket,
			     const struct pipe_handler *h)
{
	struct pipe *p = xcalloc(1, sizeof(*p));

	p->loop = l;
	p->kind = kind;
	p->socket = socket;
	p->refs = 1;
	if (h)
		p->handler = *h;
	loop_io_init(&p->receivable, receive_ready, p);
	loop_io_init(&p->sendable, send_ready, p);
	loop_io_init(&p->changed, connection_changed, p);
	pthread_mutex_init(&p->connection.lock, NULL);
	p->connection.event_fd = -1;
	LIST_INIT(&p->requests);
	TAILQ_INIT(&p->replies);
	TAILQ_INIT(&p->calls);
	TAILQ_INIT(&p->unsent);
	if (kind == KIND_REQ)
		p->slots = xcalloc(CALLS_MAX, sizeof(struct pending *));
	return p;
}

/* The first error in nng's words, or 0. The buffers come before the descriptors, whose level
 * depends on them. */
static int set_options(struct pipe *p)
{
	const struct kind_info *k = &kinds[p->kind];
	nng_socket s = p->socket;
	size_t max = LIMIT_MESSAGE + k->overhead;
	int r = nng_socket_set_size(s, NNG_OPT_RECVMAXSZ, max);

	r = r ? r : nng_socket_set_ms(s, NNG_OPT_RECONNMINT, REDIAL_MIN_MSEC);
	r = r ? r : nng_socket_set_ms(s, NNG_OPT_RECONNMAXT, REDIAL_MAX_MSEC);
	r = r ? r : nng_socket_set_bool(s, NNG_OPT_TCP_KEEPALIVE, true);
	r = r ? r : nng_socket_set_int(s, NNG_OPT_SENDBUF, QUEUE_MESSAGES);
	r = r ? r : nng_socket_set_int(s, NNG_OPT_RECVBUF, QUEUE_MESSAGES);
	if (r == 0 && p->kind == KIND_SUB)
		r = nng_socket_set(s, NNG_OPT_SUB_SUBSCRIBE, "", 0);
	if (r == 0 && k->receives)
		r = nng_socket_get_int(s, NNG_OPT_RECVFD, &p->receive_fd);
	if (r == 0 && k->waits_to_send)
		r = nng_socket_get_int(s, NNG_OPT_SENDFD, &p->send_fd);
	return r;
}

static int follow_connections(struct pipe *p)
{
	static const nng_pipe_ev events[] = {NNG_PIPE_EV_ADD_PRE, NNG_PIPE_EV_ADD_POST,
					     NNG_PIPE_EV_REM_POST};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	p->connection.event_fd = fd;
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		nng_pipe_notify(p->socket, events[i], note_event, &p->connection);
	loop_io_add(p->loop, &p->changed, fd, EPOLLIN);
	return 0;
}

static bool is_ipc(const char *url)
{
	return span_starts_with(span_str(url), SPAN_LITERAL("ipc:///"));
}

static int check_url(const char *url)
{
	struct sockaddr_un a;

	if (is_ipc(url))
		return strlen(url) - strlen("ipc://") < sizeof(a.sun_path) ? 0 : -EINVAL;
	return span_starts_with(span_str(url), SPAN_LITERAL("tcp://")) ? 0 : -EINVAL;
}

static int start_listening(struct pipe *p, const char *url)
{
	nng_listener listener;
	int r = nng_listener_create(&listener, p->socket, url);

	if (r == 0 && is_ipc(url))
		r = nng_listener_set_int(listener, NNG_OPT_IPC_PERMISSIONS, SOCKET_FILE_MODE);
	return r ? r : nng_listener_start(listener, 0);
}

/* p->socket is there. */
static int start(struct pipe *p, bool listen, const char *url)
{
	int r = set_options(p);

	if (r != 0)
		return translate(r);
	if (p->kind == KIND_PAIR && (r = follow_connections(p)) < 0)
		return r;
	r = listen ? start_listening(p, url) : nng_dial(p->socket, url, NULL, NNG_FLAG_NONBLOCK);
	if (r != 0)
		return translate(r);
	if (kinds[p->kind].receives)
		watch_receivable(p);
	return 0;
}

static int open_pipe(struct loop *l, enum kind kind, bool listen, const char *url,
		     const struct pipe_handler *h, struct pipe **ret)
{
	struct pipe *p;
	nng_socket s;
	int r = check_url(url);

	if (r < 0)
		return r;
	r = kinds[kind].open(&s);
	if (r != 0)
		return translate(r);
	p = new_pipe(l, kind, s, h);
	r = start(p, listen, url);
	if (r < 0) {
		pipe_close(p);
		return r;
	}
	*ret = p;
	return 0;
}

int pipe_listen_pair(struct loop *l, const char *url, const struct pipe_handler *h,
		     struct pipe **ret)
{
	return open_pipe(l, KIND_PAIR, true, url, h, ret);
}

int pipe_dial_pair(struct loop *l, const char *url, const struct pipe_handler *h, struct pipe **ret)
{
	return open_pipe(l, KIND_PAIR, false, url, h, ret);
}

int pipe_listen_pub(struct loop *l, const char *url, struct pipe **ret)
{
	return open_pipe(l, KIND_PUB, true, url, NULL, ret);
}

int pipe_dial_sub(struct loop *l, const char *url, const struct pipe_handler *h, struct pipe **ret)
{
	return open_pipe(l, KIND_SUB, false, url, h, ret);
}

int pipe_listen_rep(struct loop *l, const char *url, const struct pipe_handler *h,
		    struct pipe **ret)
{
	return open_pipe(l, KIND_REP, true, url, h, ret);
}

int pipe_dial_req(struct loop *l, const char *url, struct pipe **ret)
{
	return open_pipe(l, KIND_REQ, false, url, NULL, ret);
}
