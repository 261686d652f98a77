#include "common/pipe.h"

#include <assert.h>
#include <errno.h>
#include <sys/queue.h>

#include "common/endpoint.h"
#include "common/limits.h"

/* A pair's messages wait in our queue up to QUEUE_BYTES, or one that is larger; as much again, and
 * the kernel's buffers, are on their way. Two full batches of events, so that both ends are kept
 * busy. */
#define QUEUE_BYTES       (2 * (size_t)LIMIT_BATCH_BYTES)
/* For a subscriber that does not read; then the old give way to the new. */
#define PUB_QUEUE_BYTES   KIB(64)
/* For all callers of a rep pipe that do not read: whoever has most is cut off. */
#define REPLIES_BYTES_MAX (8 * ((size_t)LIMIT_MESSAGE + REPLY_HEAD_BYTES))
#define REPLY_HEAD_BYTES  16 /* on the wire, the id included */
#define SUBSCRIBERS_MAX   256
#define CALLERS_MAX       256  /* on one rep pipe */
#define CALLS_MAX         1024 /* under way on one req pipe, and from one caller on a rep pipe */
#define CALLS_BYTES_MAX   (4 * (size_t)LIMIT_MESSAGE) /* of their requests */
#define ID_BYTES          4
/* Of the first byte: the id ends here. One from further away has others before it. */
#define ID_BIT            0x80

enum kind { KIND_PAIR, KIND_PUB, KIND_SUB, KIND_REP, KIND_REQ };

static const struct kind_info {
	enum protocol protocol;
	unsigned links_max; /* listening */
} kinds[] = {
	[KIND_PAIR] = {PROTOCOL_PAIR, 1}, [KIND_PUB] = {PROTOCOL_PUB, SUBSCRIBERS_MAX},
	[KIND_SUB] = {PROTOCOL_SUB, 1},   [KIND_REP] = {PROTOCOL_REP, CALLERS_MAX},
	[KIND_REQ] = {PROTOCOL_REQ, 1},
};

/* rep: a connection, and the requests that it brought. Also pub: a subscriber. */
struct caller {
	LIST_ENTRY(caller) in_pipe;
	struct pipe *pipe;
	struct link *link;
	LIST_HEAD(, call) requests;
	size_t request_count;
};

struct call {
	LIST_ENTRY(call) in_caller;
	struct caller *caller; /* NULL once it is gone */
	uint8_t id[ID_BYTES];
};

/* req: a call under way, from pipe_call to done. */
struct pending {
	TAILQ_ENTRY(pending) in_pipe;
	struct pipe *pipe;
	uint32_t id; /* 0: refused, done is yet to say so */
	struct buf message;
	struct loop_timer timer;
	void (*done)(void *arg, int error, struct span reply);
	void *arg;
};

struct pipe {
	struct loop *loop;
	enum kind kind;
	struct pipe_handler handler;
	struct endpoint *endpoint;
	unsigned refs; /* the owner's, and one for each callback that is running */
	bool closed;
	struct link *link; /* pair, sub, req: NULL while it is not up */
	bool held;
	bool blocked;                /* pair: a pipe_send gave -EAGAIN */
	bool broken;                 /* pair: by pipe_break; `down` is on its way */
	struct loop_task room;       /* pair: says writable, once it is up */
	LIST_HEAD(, caller) callers; /* rep, pub */
	TAILQ_HEAD(, pending) calls; /* req, the oldest first */
	size_t call_count;
	size_t call_bytes;
	uint32_t last_id;
	struct pending **slots; /* CALLS_MAX; a call is at its id modulo that */
};

static void unref(struct pipe *p)
{
	if (--p->refs > 0)
		return;
	free(p->slots);
	free(p);
}

/* Pair. */

static int send_pair(struct pipe *p, struct span message)
{
	size_t queued;

	if (p->link && !p->broken) {
		queued = link_queued(p->link);
		if (queued == 0 || (queued < QUEUE_BYTES && message.len < QUEUE_BYTES - queued)) {
			link_send(p->link, SPAN_EMPTY, message);
			return 0;
		}
	}
	p->blocked = true;
	return -EAGAIN;
}

static void say_writable(void *arg)
{
	struct pipe *p = arg;

	if (!p->blocked || !p->link)
		return;
	p->blocked = false;
	p->handler.writable(p->handler.arg);
}

static void pair_up(struct pipe *p)
{
	p->broken = false;
	if (p->held)
		link_hold(p->link, true);
	if (p->blocked)
		loop_task_queue(p->loop, &p->room);
	p->handler.up(p->handler.arg);
}

void pipe_hold(struct pipe *p, bool hold)
{
	p->held = hold;
	if (p->link)
		link_hold(p->link, hold);
}

void pipe_break(struct pipe *p)
{
	if (!p->link)
		return;
	p->broken = true;
	link_close(p->link);
}

bool pipe_is_up(const struct pipe *p)
{
	return p->link != NULL;
}

/* pub and rep: many connections. */

static void add_caller(struct pipe *p, struct link *link)
{
	struct caller *c = xcalloc(1, sizeof(*c));

	c->pipe = p;
	c->link = link;
	LIST_INIT(&c->requests);
	LIST_INSERT_HEAD(&p->callers, c, in_pipe);
	link_set_data(link, c);
}

/* The account of memory ends with the endpoint. */
static void add_bytes(struct pipe *p, int64_t bytes)
{
	if (!p->closed)
		endpoint_add_bytes(p->endpoint, bytes);
}

static void remove_request(struct call *c)
{
	add_bytes(c->caller->pipe, -(int64_t)sizeof(*c));
	LIST_REMOVE(c, in_caller);
	c->caller = NULL;
}

/* Those who still work on its requests answer to nobody. */
static void remove_caller(struct caller *caller)
{
	while (!LIST_EMPTY(&caller->requests))
		remove_request(LIST_FIRST(&caller->requests));
	LIST_REMOVE(caller, in_pipe);
	free(caller);
}

static int send_pub(struct pipe *p, struct span message)
{
	struct caller *c;

	LIST_FOREACH(c, &p->callers, in_pipe)
	{
		if (link_queued(c->link) >= PUB_QUEUE_BYTES)
			link_clear(c->link);
		link_send(c->link, SPAN_EMPTY, message);
	}
	return 0;
}

static void take_request(struct pipe *p, struct caller *caller, struct span message)
{
	struct call *c;

	if (message.len < ID_BYTES || !(message.ptr[0] & ID_BIT)) {
		link_close(caller->link);
		return;
	}
	c = xcalloc(1, sizeof(*c));
	memcpy(c->id, message.ptr, ID_BYTES);
	c->caller = caller;
	LIST_INSERT_HEAD(&caller->requests, c, in_caller);
	add_bytes(p, (int64_t)sizeof(*c));
	if (++caller->request_count == CALLS_MAX)
		link_hold(caller->link, true);
	p->handler.request(p->handler.arg, c,
			   span_of(message.ptr + ID_BYTES, message.len - ID_BYTES));
}

/* What is being written is there until the connection has ended. */
static size_t cut_off(struct caller *caller)
{
	size_t freed = link_queued(caller->link);

	link_clear(caller->link);
	link_close(caller->link);
	return freed;
}

/* Among what waits for all callers, for one of them. False if it is cut off: it has most itself, or
 * what the other had cannot be freed at once. Then it comes back and asks again. */
static bool make_room(struct caller *caller, size_t len)
{
	struct caller *c, *most = caller;
	size_t sum = 0;

	LIST_FOREACH(c, &caller->pipe->callers, in_pipe)
	{
		sum += link_unsent(c->link);
		if (link_unsent(c->link) > link_unsent(most->link))
			most = c;
	}
	if (len <= REPLIES_BYTES_MAX - sum)
		return true;
	sum -= cut_off(most);
	if (most != caller && len <= REPLIES_BYTES_MAX - sum)
		return true;
	cut_off(caller);
	return false;
}

void call_reply(struct call *c, struct span message)
{
	struct caller *caller = c->caller;

	if (caller && make_room(caller, REPLY_HEAD_BYTES + message.len))
		link_send(caller->link, span_of(c->id, ID_BYTES), message);
	call_drop(c);
}

void call_drop(struct call *c)
{
	struct caller *caller = c->caller;

	if (caller) {
		remove_request(c);
		if (caller->request_count-- == CALLS_MAX)
			link_hold(caller->link, false);
	}
	free(c);
}

/* req */

static int64_t bytes_of(const struct pending *c)
{
	return (int64_t)(sizeof(*c) + c->message.cap);
}

static void finish_call(struct pending *c, int error, struct span reply)
{
	struct pipe *p = c->pipe;

	TAILQ_REMOVE(&p->calls, c, in_pipe);
	add_bytes(p, -bytes_of(c));
	loop_timer_cancel(p->loop, &c->timer);
	if (c->id != 0) {
		p->slots[c->id % CALLS_MAX] = NULL;
		p->call_count--;
		p->call_bytes -= c->message.len;
	}
	buf_release(&c->message);
	c->done(c->arg, error, reply);
	free(c);
}

static void call_is_late(void *arg)
{
	struct pending *c = arg;

	finish_call(c, c->id == 0 ? -ENOBUFS : -ETIMEDOUT, SPAN_EMPTY);
}

static void encode_id(uint8_t *p, uint32_t id)
{
	for (unsigned i = 0; i < ID_BYTES; i++)
		p[i] = (uint8_t)(id >> (24 - 8 * i));
}

static uint32_t decode_id(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void send_call(struct pending *c)
{
	uint8_t id[ID_BYTES];

	encode_id(id, c->id);
	link_send(c->pipe->link, span_of(id, ID_BYTES), buf_span(&c->message));
}

/* On a new connection everything that has no answer yet is asked again. */
static void send_all_calls(struct pipe *p)
{
	struct pending *c;

	TAILQ_FOREACH(c, &p->calls, in_pipe)
	if (c->id != 0)
		send_call(c);
}

static void take_reply(struct pipe *p, struct span message)
{
	struct pending *c;
	uint32_t id;

	if (message.len < ID_BYTES)
		return;
	id = decode_id(message.ptr);
	c = p->slots[id % CALLS_MAX];
	if (c && c->id == id) /* otherwise it comes too late */
		finish_call(c, 0, span_of(message.ptr + ID_BYTES, message.len - ID_BYTES));
}

static uint32_t next_call_id(struct pipe *p)
{
	do {
		p->last_id = (p->last_id + 1) | (uint32_t)ID_BIT << 24;
	} while (p->slots[p->last_id % CALLS_MAX]);
	return p->last_id;
}

static bool has_room_for(const struct pipe *p, size_t len)
{
	size_t queued = p->link ? link_queued(p->link) : 0;

	/* What is queued may be of calls that timed out since. */
	return p->call_count < CALLS_MAX && len <= CALLS_BYTES_MAX - p->call_bytes &&
	       queued <= CALLS_BYTES_MAX;
}

void pipe_call(struct pipe *p, struct span message, uint64_t timeout_usec,
	       void (*done)(void *arg, int error, struct span reply), void *arg)
{
	struct pending *c = xcalloc(1, sizeof(*c));

	assert(p->kind == KIND_REQ && !p->closed && message.len <= LIMIT_MESSAGE);
	c->pipe = p;
	c->done = done;
	c->arg = arg;
	buf_init(&c->message, LIMIT_MESSAGE);
	loop_timer_init(&c->timer, call_is_late, c);
	TAILQ_INSERT_TAIL(&p->calls, c, in_pipe);
	if (!has_room_for(p, message.len)) {
		add_bytes(p, bytes_of(c));
		loop_timer_set(p->loop, &c->timer, 0);
		return;
	}
	c->id = next_call_id(p);
	p->slots[c->id % CALLS_MAX] = c;
	p->call_count++;
	p->call_bytes += message.len;
	buf_append(&c->message, message);
	add_bytes(p, bytes_of(c));
	loop_timer_set(p->loop, &c->timer, timeout_usec);
	if (p->link)
		send_call(c);
}

/* All kinds. */

static void link_up(void *arg, struct link *c)
{
	struct pipe *p = arg;

	p->refs++;
	if (p->kind == KIND_PUB || p->kind == KIND_REP)
		add_caller(p, c);
	else
		p->link = c;
	if (p->kind == KIND_REQ)
		send_all_calls(p);
	else if (p->kind == KIND_PAIR)
		pair_up(p);
	unref(p);
}

static void link_down(void *arg, struct link *c)
{
	struct pipe *p = arg;

	p->refs++;
	if (p->kind == KIND_PUB || p->kind == KIND_REP)
		remove_caller(link_data(c));
	else
		p->link = NULL;
	if (p->kind == KIND_PAIR)
		p->handler.down(p->handler.arg);
	unref(p);
}

static void link_message(void *arg, struct link *c, struct span message)
{
	struct pipe *p = arg;

	p->refs++;
	switch (p->kind) {
	case KIND_PAIR:
	case KIND_SUB:
		p->handler.message(p->handler.arg, message);
		break;
	case KIND_REP:
		take_request(p, link_data(c), message);
		break;
	case KIND_REQ:
		take_reply(p, message);
		break;
	case KIND_PUB:
		break;
	}
	unref(p);
}

static void link_writable(void *arg, struct link *c)
{
	(void)c;
	say_writable(arg);
}

int pipe_send(struct pipe *p, struct span message)
{
	assert(message.len <= LIMIT_MESSAGE);
	return p->kind == KIND_PAIR ? send_pair(p, message) : send_pub(p, message);
}

void pipe_close(struct pipe *p)
{
	struct caller *caller;
	struct pending *c;

	if (!p)
		return;
	p->closed = true;
	p->link = NULL;
	loop_task_cancel(p->loop, &p->room);
	endpoint_close(p->endpoint);
	while ((caller = LIST_FIRST(&p->callers)))
		remove_caller(caller);
	while ((c = TAILQ_FIRST(&p->calls)))
		finish_call(c, c->id ? -ECANCELED : -ENOBUFS, SPAN_EMPTY);
	unref(p);
}

static int open_pipe(struct loop *l, enum kind kind, bool listen, const char *url,
		     const struct pipe_handler *h, struct pipe **ret)
{
	const struct kind_info *k = &kinds[kind];
	struct pipe *p = xcalloc(1, sizeof(*p));
	const struct endpoint_handler eh = {.up = link_up,
					    .down = link_down,
					    .message = link_message,
					    .writable = link_writable,
					    .arg = p};
	int r;

	p->loop = l;
	p->kind = kind;
	p->refs = 1;
	if (h)
		p->handler = *h;
	loop_task_init(&p->room, say_writable, p);
	LIST_INIT(&p->callers);
	TAILQ_INIT(&p->calls);
	if (kind == KIND_REQ)
		p->slots = xcalloc(CALLS_MAX, sizeof(struct pending *));
	if (listen)
		r = endpoint_listen(l, url, k->protocol, k->links_max, &eh, &p->endpoint);
	else
		r = endpoint_dial(l, url, k->protocol, &eh, &p->endpoint);
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
