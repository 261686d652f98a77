#include "resolve/names.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/time.h>

#include <ares.h>

#define TRY_MSEC    1500
#define TRIES       2 /* with c-ares' doubling: 4.5 s in all for one server */
/* Sockets of c-ares at a time: a UDP and a TCP one for each of a few servers. */
#define SOCKETS_MAX 16

struct names {
	struct loop *loop;
	ares_channel channel;
	struct loop_timer timer;
	struct loop_io sockets[SOCKETS_MAX];
	struct watch {
		struct names *names;
		size_t place;
	} watches[SOCKETS_MAX];
	bool closing;
};

struct question {
	struct names *names;
	void (*done)(void *arg, enum name_state state);
	void *arg;
};

/* c-ares says by itself when its next time-out is. */
static void set_timer(struct names *n)
{
	struct timeval most = {.tv_sec = 5}, wait, *next = ares_timeout(n->channel, &most, &wait);

	loop_timer_set(n->loop, &n->timer,
		       (uint64_t)next->tv_sec * USEC_PER_SEC + (uint64_t)next->tv_usec);
}

static bool is_asking(const struct names *n)
{
	for (size_t i = 0; i < SOCKETS_MAX; i++)
		if (n->sockets[i].fd >= 0)
			return true;
	return false;
}

static void process(struct names *n, ares_socket_t readable, ares_socket_t writable)
{
	ares_process_fd(n->channel, readable, writable);
	if (is_asking(n))
		set_timer(n);
	else
		loop_timer_cancel(n->loop, &n->timer);
}

static void on_timer(void *arg)
{
	process(arg, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_ready(void *arg, uint32_t events)
{
	const struct watch *w = arg;
	ares_socket_t fd = w->names->sockets[w->place].fd;

	process(w->names, events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? fd : ARES_SOCKET_BAD,
		events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
}

/* c-ares opened a socket, wants other events of it, or is about to close it. */
static void set_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct names *n = arg;
	uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
	size_t i = 0, place = SOCKETS_MAX;

	for (; i < SOCKETS_MAX && n->sockets[i].fd != fd; i++)
		if (n->sockets[i].fd < 0)
			place = i;
	if (i < SOCKETS_MAX && events)
		loop_io_change(n->loop, &n->sockets[i], events);
	else if (i < SOCKETS_MAX)
		loop_io_remove(n->loop, &n->sockets[i]);
	else if (events && place < SOCKETS_MAX)
		loop_io_add(n->loop, &n->sockets[place], fd, events);
	/* A socket beyond the limit is not watched: its questions run into their time-out. */
}

struct names *names_new(struct loop *loop, const char *servers)
{
	struct names *n = xcalloc(1, sizeof(*n));
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH, /* the name as it is, without local suffixes */
		.timeout = TRY_MSEC,
		.tries = TRIES,
		.sock_state_cb = set_socket,
		.sock_state_cb_data = n,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB, r;

	n->loop = loop;
	loop_timer_init(&n->timer, on_timer, n);
	for (size_t i = 0; i < SOCKETS_MAX; i++) {
		n->watches[i] = (struct watch){n, i};
		loop_io_init(&n->sockets[i], on_ready, &n->watches[i]);
	}
	r = ares_library_init(ARES_LIB_INIT_ALL);
	assert(r == ARES_SUCCESS);
	r = ares_init_options(&n->channel, &options, mask);
	assert(r == ARES_SUCCESS);
	if (servers) {
		r = ares_set_servers_ports_csv(n->channel, servers);
		assert(r == ARES_SUCCESS);
	}
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	n->closing = true;
	ares_destroy(n->channel);
	ares_library_cleanup();
	loop_timer_cancel(n->loop, &n->timer);
	free(n);
}

static void take_answer(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
	struct question *q = arg;
	enum name_state state = NAME_UNKNOWN;

	(void)timeouts;
	if (status == ARES_SUCCESS)
		state = NAME_EXISTS;
	else if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
		state = NAME_MISSING;
	ares_freeaddrinfo(info);
	if (!q->names->closing)
		q->done(q->arg, state);
	free(q);
}

void names_ask(struct names *n, const char *name, void (*done)(void *arg, enum name_state state),
	       void *arg)
{
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct question *q = xcalloc(1, sizeof(*q));

	q->names = n;
	q->done = done;
	q->arg = arg;
	ares_getaddrinfo(n->channel, name, NULL, &hints, take_answer, q);
	if (is_asking(n))
		set_timer(n);
}
