#include "ingest/resolver.h"

#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>

#define SOCKETS_MAX 32 /* c-ares has one of each kind a name server */

struct resolver_query {
	struct resolver *resolver;
	struct resolver_query *previous;
	struct resolver_query *next;
	void (*done)(void *arg, int error, const struct address *addresses, size_t count);
	void *arg;
	bool forgotten;
	bool answered; /* c-ares is done with it; the answer is below */
	int error;
	size_t count;
	struct address addresses[RESOLVER_ADDRESSES_MAX];
};

struct socket_io {
	struct loop_io io;
	struct resolver *resolver;
};

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct loop_timer timer;
	struct loop_task deliver; /* answers, outside of c-ares's own functions */
	struct socket_io sockets[SOCKETS_MAX];
	struct resolver_query *first;
	unsigned query_count;
	bool closing;
};

static void set_timer(struct resolver *r)
{
	struct timeval max = {.tv_sec = RESOLVER_TIMEOUT_MSEC / 1000 + 1}, tv;
	struct timeval *t = ares_timeout(r->channel, &max, &tv);

	if (r->query_count == 0)
		loop_timer_cancel(r->loop, &r->timer);
	else
		loop_timer_set(r->loop, &r->timer,
			       (uint64_t)t->tv_sec * USEC_PER_SEC + (uint64_t)t->tv_usec);
}

static void time_out(void *arg)
{
	struct resolver *r = arg;

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	set_timer(r);
}

static void socket_ready(void *arg, uint32_t events)
{
	struct socket_io *s = arg;
	struct resolver *r = s->resolver;
	int fd = s->io.fd;
	bool readable = events & (EPOLLIN | EPOLLERR | EPOLLHUP);

	ares_process_fd(r->channel, readable ? fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	set_timer(r);
}

static struct socket_io *find_socket(struct resolver *r, int fd)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (r->sockets[i].io.fd == fd)
			return &r->sockets[i];
	return NULL;
}

/* c-ares says which of its sockets to watch. One that finds no place is never read, and its query
 * times out. */
static void watch_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	struct socket_io *s = find_socket(r, fd);
	uint32_t events = (readable ? (uint32_t)EPOLLIN : 0) | (writable ? (uint32_t)EPOLLOUT : 0);

	if (s && events)
		loop_io_change(r->loop, &s->io, events);
	else if (s)
		loop_io_remove(r->loop, &s->io);
	else if (events && (s = find_socket(r, -1)))
		loop_io_add(r->loop, &s->io, fd, events);
}

static void free_query(struct resolver_query *q)
{
	struct resolver *r = q->resolver;

	if (q->previous)
		q->previous->next = q->next;
	else
		r->first = q->next;
	if (q->next)
		q->next->previous = q->previous;
	r->query_count--;
	free(q);
}

static void deliver_answers(void *arg)
{
	struct resolver *r = arg;
	struct resolver_query *q, *next;

	for (q = r->first; q; q = next) {
		struct resolver_query answer = *q;

		next = q->next;
		if (!q->answered)
			continue;
		free_query(q);
		if (!answer.forgotten)
			answer.done(answer.arg, answer.error, answer.addresses, answer.count);
		/* done may have changed the list, so it is walked anew; what is answered gets less
		 * each time. */
		next = r->first;
	}
	set_timer(r);
}

static int translate(int status)
{
	switch (status) {
	case ARES_SUCCESS:
		return 0;
	case ARES_ENOTFOUND:
	case ARES_ENODATA:
	case ARES_EBADNAME:
	case ARES_ENONAME:
		return -ENOENT;
	default:
		return -EAGAIN;
	}
}

static void take_addresses(struct resolver_query *q, const struct ares_addrinfo *info)
{
	for (const struct ares_addrinfo_node *n = info->nodes; n; n = n->ai_next) {
		struct address *a = &q->addresses[q->count];

		if (q->count == RESOLVER_ADDRESSES_MAX)
			break;
		if (n->ai_family != AF_INET && n->ai_family != AF_INET6)
			continue;
		*a = (struct address){.len = (socklen_t)n->ai_addrlen};
		memcpy(&a->sockaddr, n->ai_addr, (size_t)n->ai_addrlen);
		q->count++;
	}
}

/* Also called from inside of ares_getaddrinfo and ares_destroy. */
static void on_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct resolver_query *q = arg;

	(void)timeouts;
	q->answered = true;
	q->error = translate(status);
	if (info) {
		take_addresses(q, info);
		ares_freeaddrinfo(info);
	}
	if (!q->error && q->count == 0)
		q->error = -ENOENT;
	if (!q->resolver->closing)
		loop_task_queue(q->resolver->loop, &q->resolver->deliver);
}

int resolver_new(struct loop *l, struct resolver **ret)
{
	struct resolver *r = xcalloc(1, sizeof(*r));
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH,
		.timeout = RESOLVER_TIMEOUT_MSEC,
		.tries = RESOLVER_TRIES,
		.sock_state_cb = watch_socket,
		.sock_state_cb_data = r,
	};
	int status;

	r->loop = l;
	loop_timer_init(&r->timer, time_out, r);
	loop_task_init(&r->deliver, deliver_answers, r);
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		r->sockets[i].resolver = r;
		loop_io_init(&r->sockets[i].io, socket_ready, &r->sockets[i]);
	}
	status = ares_library_init(ARES_LIB_INIT_ALL);
	if (!status)
		status = ares_init_options(&r->channel, &options,
					   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
						   ARES_OPT_SOCK_STATE_CB);
	if (status) {
		free(r);
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	}
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	r->closing = true;
	ares_destroy(r->channel);
	ares_library_cleanup();
	while (r->first) {
		assert(r->first->forgotten);
		free_query(r->first);
	}
	loop_timer_cancel(r->loop, &r->timer);
	loop_task_cancel(r->loop, &r->deliver);
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		loop_io_remove(r->loop, &r->sockets[i].io);
	free(r);
}

struct resolver_query *resolver_ask(struct resolver *r, const char *name, uint16_t port,
				    void (*done)(void *arg, int error,
						 const struct address *addresses, size_t count),
				    void *arg)
{
	static const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC,
							 .ai_socktype = SOCK_STREAM,
							 .ai_flags = ARES_AI_NUMERICSERV};
	struct resolver_query *q = xcalloc(1, sizeof(*q));
	char service[8];

	*q = (struct resolver_query){.resolver = r, .next = r->first, .done = done, .arg = arg};
	if (r->first)
		r->first->previous = q;
	r->first = q;
	if (r->query_count++ >= RESOLVER_QUERIES_MAX) {
		q->answered = true;
		q->error = -ENOBUFS;
		loop_task_queue(r->loop, &r->deliver);
		return q;
	}
	snprintf(service, sizeof(service), "%u", port);
	ares_getaddrinfo(r->channel, name, service, &hints, on_answer, q);
	set_timer(r);
	return q;
}

void resolver_forget(struct resolver_query *q)
{
	if (q)
		q->forgotten = true;
}

int64_t resolver_memory_bytes(void *resolver)
{
	const struct resolver *r = resolver;

	return (int64_t)(sizeof(*r) + r->query_count * sizeof(struct resolver_query));
}
