#include "fanout/tunnels.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CHECKS_PER_HANDSHAKE 10                    /* how finely its time is kept */
#define FRESH_USEC           (500 * USEC_PER_MSEC) /* between a new connection and its request */
#define ROUNDS_MAX           4 /* in a turn, of TUNNEL_BYTES in each direction */

struct tunnel {
	struct tunnels *set;
	struct tunnel *next, *previous;
	struct tunnel **ref;
	struct wire wire;
	struct loop_io outer, inner; /* in the loop while something is waited for */
	int inner_fd;
	struct sockaddr_storage address;
	socklen_t address_len;
	bool open;        /* the handshake is done */
	bool outer_ended; /* nothing more comes from the client, */
	bool inner_ended; /* or from libmicrohttpd */
	bool leaving;
	struct newcomer who; /* as which it leaves */
	struct buf in;       /* from the client; leaving: what the consumer begins with */
	struct buf out;      /* to the client */
	uint64_t since_usec;
	uint64_t deadline_usec; /* 0: none of ours */
};

struct tunnels {
	struct loop *loop;
	struct tls_server *server;
	uint64_t handshake_usec;
	struct tunnels_handler handler;
	struct tunnel *first;
	size_t count;
	struct loop_timer check;
};

/* ---- ends ---- */

static void unlink_tunnel(struct tunnel *t)
{
	struct tunnels *s = t->set;

	loop_io_remove(s->loop, &t->outer);
	loop_io_remove(s->loop, &t->inner);
	if (t->inner_fd >= 0)
		close(t->inner_fd);
	if (t->ref)
		*t->ref = NULL;
	if (t->previous)
		t->previous->next = t->next;
	else
		s->first = t->next;
	if (t->next)
		t->next->previous = t->previous;
	s->count--;
	buf_release(&t->out);
}

static void end(struct tunnel *t, const struct newcomer *lost)
{
	struct tunnels *s = t->set;

	buf_release(&t->in);
	s->handler.ended(s->handler.arg, (const struct sockaddr *)&t->address, lost);
	free(t);
}

static void tunnel_free(struct tunnel *t, bool in_order)
{
	unlink_tunnel(t);
	wire_close(&t->wire, in_order);
	end(t, t->leaving ? &t->who : NULL);
}

static void leave(struct tunnel *t)
{
	struct tunnels *s = t->set;

	unlink_tunnel(t);
	s->handler.left(s->handler.arg, &t->wire, &t->who, buf_span(&t->in));
	end(t, NULL);
}

/* ---- carrying ---- */

static bool is_passing(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* For what libmicrohttpd has left behind. */
static void set_deadline(struct tunnel *t)
{
	if (t->deadline_usec == 0)
		t->deadline_usec = loop_now_usec(t->set->loop) + t->set->handshake_usec;
}

/* From libmicrohttpd to the client. false: the client is gone. */
static bool carry_out(struct tunnel *t)
{
	if (t->out.len == 0 && !t->inner_ended) {
		ssize_t n = recv(t->inner_fd, buf_extend(&t->out, TUNNEL_BYTES), TUNNEL_BYTES, 0);

		t->out.len = n > 0 ? (size_t)n : 0;
		if (n <= 0 && !is_passing(n)) {
			t->inner_ended = true;
			set_deadline(t);
		}
	}
	if (t->out.len > 0) {
		ssize_t n = wire_send(&t->wire, buf_span(&t->out));

		if (n <= 0 && !is_passing(n))
			return false;
		if (n > 0)
			buf_consume(&t->out, (size_t)n);
	}
	if (t->out.len == 0)
		buf_trim(&t->out, 0);
	return true;
}

/* From the client to libmicrohttpd. false: the client is gone. */
static bool carry_in(struct tunnel *t)
{
	if (t->in.len == 0 && !t->outer_ended) {
		ssize_t n = wire_receive(&t->wire, buf_extend(&t->in, TUNNEL_BYTES), TUNNEL_BYTES);

		t->in.len = n > 0 ? (size_t)n : 0;
		if (n < 0 && !is_passing(n))
			return false;
		t->outer_ended = n == 0;
		if (t->outer_ended)
			shutdown(t->inner_fd, SHUT_WR);
	}
	if (t->in.len > 0) {
		ssize_t n = send(t->inner_fd, t->in.ptr, t->in.len, MSG_NOSIGNAL);

		/* It takes no more: what it has said already is still to be carried. */
		if (n > 0 || !is_passing(n))
			buf_consume(&t->in, n > 0 ? (size_t)n : t->in.len);
	}
	if (t->in.len == 0)
		buf_trim(&t->in, 0);
	return true;
}

/* Without events it is not in the loop: an end that has hung up would be reported for ever. */
static void wait_for(struct tunnel *t, struct loop_io *io, int fd, uint32_t events)
{
	if (events == 0)
		loop_io_remove(t->set->loop, io);
	else if (io->fd < 0)
		loop_io_add(t->set->loop, io, fd, events);
	else if (io->events != events)
		loop_io_change(t->set->loop, io, events);
}

static void wait_for_more(struct tunnel *t)
{
	bool takes_in = !t->leaving && !t->inner_ended;
	uint32_t outer = (takes_in && t->in.len == 0 && !t->outer_ended ? EPOLLIN : 0U) |
			 (t->out.len > 0 ? EPOLLOUT : 0U);
	uint32_t inner = (t->out.len == 0 && !t->inner_ended ? EPOLLIN : 0U) |
			 (takes_in && t->in.len > 0 ? EPOLLOUT : 0U);

	wait_for(t, &t->outer, t->wire.fd, outer);
	wait_for(t, &t->inner, t->inner_fd, inner);
}

/* May free it. */
static void carry(struct tunnel *t)
{
	bool alive = true;

	for (int i = 0; i < ROUNDS_MAX && alive; i++) {
		alive = carry_out(t);
		if (alive && !t->leaving && !t->inner_ended)
			alive = carry_in(t);
	}
	if (!alive)
		tunnel_free(t, false);
	else if (!t->inner_ended || t->out.len > 0)
		wait_for_more(t);
	else if (t->leaving)
		leave(t);
	else
		tunnel_free(t, true);
}

static void on_inner(void *arg, uint32_t events)
{
	(void)events;
	carry(arg);
}

/* ---- beginnings ---- */

static void open_inner(struct tunnel *t)
{
	struct tunnels *s = t->set;
	const int bytes = TUNNEL_PAIR_BYTES;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0) {
		tunnel_free(t, false);
		return;
	}
	for (size_t i = 0; i < 2; i++)
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	t->inner_fd = fds[0];
	t->open = true;
	t->deadline_usec = 0;
	wait_for_more(t);
	s->handler.opened(s->handler.arg, t, fds[1], (const struct sockaddr *)&t->address,
			  t->address_len);
}

static void on_outer(void *arg, uint32_t events)
{
	struct tunnel *t = arg;

	if (t->open) {
		carry(t);
		return;
	}
	int done = tls_handshake(&t->wire, &events);
	if (done > 0)
		open_inner(t);
	else if (done < 0)
		tunnel_free(t, done == -EPROTO); /* an alert says why */
	else
		wait_for(t, &t->outer, t->wire.fd, events);
}

void tunnels_add(struct tunnels *s, int fd, const struct sockaddr *address, socklen_t len)
{
	struct tunnel *t = xcalloc(1, sizeof(*t));
	const int on = 1;

	t->set = s;
	t->inner_fd = -1;
	memcpy(&t->address, address, len < sizeof(t->address) ? len : sizeof(t->address));
	t->address_len = len;
	buf_init(&t->in, TUNNEL_BYTES);
	buf_init(&t->out, TUNNEL_BYTES);
	loop_io_init(&t->outer, on_outer, t);
	loop_io_init(&t->inner, on_inner, t);
	t->since_usec = loop_now_usec(s->loop);
	t->deadline_usec = t->since_usec + s->handshake_usec;
	t->next = s->first;
	if (t->next)
		t->next->previous = t;
	s->first = t;
	s->count++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	tls_server_accept(s->server, fd, &t->wire);
	wait_for(t, &t->outer, fd, EPOLLIN);
}

void tunnel_watch(struct tunnel *t, struct tunnel **ref)
{
	t->ref = ref;
	if (!ref)
		set_deadline(t);
}

void tunnel_leave(struct tunnel *t, int fd, const struct newcomer *who, struct span extra)
{
	struct buf early;
	uint8_t piece[TUNNEL_BYTES];
	ssize_t n;

	t->who = *who;
	t->leaving = true;
	buf_init(&early, TUNNEL_EARLY_BYTES);
	if (extra.len <= TUNNEL_BYTES)
		buf_append(&early, extra);
	/* The pair holds little; and what is on its way to it comes behind. */
	while ((n = recv(fd, piece, sizeof(piece), 0)) > 0 &&
	       early.len + (size_t)n + t->in.len <= TUNNEL_EARLY_BYTES)
		buf_append(&early, span_of(piece, (size_t)n));
	if (extra.len > TUNNEL_BYTES || n > 0) {
		buf_release(&early);
		tunnel_free(t, false);
		return;
	}
	buf_append(&early, buf_span(&t->in));
	buf_release(&t->in);
	t->in = early;
	wait_for_more(t);
}

/* ---- all of them ---- */

static void on_check(void *arg)
{
	struct tunnels *s = arg;
	uint64_t now = loop_now_usec(s->loop);

	for (struct tunnel *t = s->first, *next; t; t = next) {
		next = t->next;
		if (t->deadline_usec > 0 && now >= t->deadline_usec)
			tunnel_free(t, false);
	}
	loop_timer_set(s->loop, &s->check, s->handshake_usec / CHECKS_PER_HANDSHAKE);
}

static int64_t count_bytes(void *arg)
{
	const struct tunnels *s = arg;
	int64_t n = 0;

	for (const struct tunnel *t = s->first; t; t = t->next)
		n += (int64_t)(sizeof(*t) + t->in.cap + t->out.cap);
	return n;
}

struct tunnels *tunnels_new(struct loop *l, struct memory *a, struct tls_server *server,
			    uint64_t handshake_usec, const struct tunnels_handler *h)
{
	struct tunnels *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->server = server;
	s->handshake_usec = handshake_usec;
	s->handler = *h;
	loop_timer_init(&s->check, on_check, s);
	loop_timer_set(l, &s->check, handshake_usec / CHECKS_PER_HANDSHAKE);
	memory_register(a, "tunnels", count_bytes, s);
	return s;
}

void tunnels_free(struct tunnels *s)
{
	if (!s)
		return;
	/* What the kernel has yet to send of an answer is sent. */
	while (s->first)
		tunnel_free(s->first, s->first->open && s->first->out.len == 0);
	loop_timer_cancel(s->loop, &s->check);
	free(s);
}

size_t tunnels_count(const struct tunnels *s)
{
	return s->count;
}

/* Something of an answer is in the pair, or may be. */
static bool has_answer(const struct tunnel *t)
{
	int waiting = 0;

	if (!t->ref && !t->inner_ended)
		return true;
	return ioctl(t->inner_fd, FIONREAD, &waiting) == 0 && waiting > 0;
}

bool tunnels_are_busy(const struct tunnels *s)
{
	uint64_t now = loop_now_usec(s->loop);

	for (const struct tunnel *t = s->first; t; t = t->next)
		if (t->leaving || t->out.len > 0 ||
		    (t->open ? has_answer(t) : now - t->since_usec < FRESH_USEC))
			return true;
	return false;
}
