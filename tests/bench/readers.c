#include "tests/bench/readers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/lib/stream_client.h"

#define SLOTS         20     /* of a round */
#define RECEIVE_BYTES MIB(1) /* a window for several rounds, from the beginning */

struct order {
	enum readers_kind kind;
	size_t count;
	char query[64];
};

struct connection {
	int fd;
	enum readers_kind kind;
	bool timed, ended;
	uint64_t bytes;
	uint64_t first, events; /* the event it began with, and how many it has */
};

struct process {
	int fd, epoll_fd;
	uint16_t port;
	uint64_t message_bytes;
	struct readers_counts *counts;
	struct connection connections[READERS_MAX];
	size_t count, live;
	size_t slot;
	uint64_t slot_nsec; /* when the next is due */
	uint64_t least;     /* in this round so far */
};

/* ---- the process ---- */

static void watch(struct process *p, int fd, size_t number)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = number};

	if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
		abort();
}

static void note_waits(struct process *p, struct connection *r)
{
	uint64_t now = bench_wall_nsec();

	for (; r->events < r->bytes / p->message_bytes; r->events++) {
		uint64_t event = (r->first + r->events) % READERS_EVENTS_MAX;
		uint64_t wait = (now - p->counts->announced_nsec[event]) / 1000 / READERS_WAIT_USEC;

		if (wait >= READERS_WAITS)
			wait = READERS_WAITS - 1;
		atomic_fetch_add(&p->counts->waits[wait], 1);
	}
}

static void read_one(struct process *p, struct connection *r)
{
	/* MSG_TRUNC: TCP takes the bytes off without copying them. */
	ssize_t n = recv(r->fd, NULL, MIB(4), MSG_TRUNC | MSG_DONTWAIT);

	if (n > 0) {
		r->bytes += (uint64_t)n;
		atomic_fetch_add(&p->counts->bytes[r->kind], (uint64_t)n);
		if (r->timed)
			note_waits(p, r);
	} else if (!r->ended && (n == 0 || errno != EAGAIN)) {
		r->ended = true;
		epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, r->fd, NULL);
		atomic_fetch_add(&p->counts->ended, 1);
	}
}

static void join_one(struct process *p, const struct order *o)
{
	struct connection *r = &p->connections[p->count];
	struct stream_client c;

	stream_connect(&c, p->port, o->kind == READERS_LIVE ? RECEIVE_BYTES : 0);
	if (p->count == READERS_MAX || !stream_handshake(&c, o->query, ""))
		abort();
	*r = (struct connection){
		.fd = c.fd,
		.kind = o->kind,
		.timed = o->kind == READERS_LIVE && p->live % READERS_TIMED == 0,
		.bytes = c.in.len - c.taken, /* came with the handshake */
		.first = p->counts->announced,
	};
	buf_release(&c.in);
	atomic_fetch_add(&p->counts->bytes[r->kind], r->bytes);
	if (r->timed || r->kind == READERS_REPLAY)
		watch(p, r->fd, p->count);
	p->live += r->kind == READERS_LIVE;
	p->count++;
}

static void take_order(struct process *p)
{
	struct order o;

	if (recv(p->fd, &o, sizeof(o), 0) != sizeof(o))
		_exit(0);
	for (size_t i = 0; i < o.count; i++)
		join_one(p, &o);
	if (send(p->fd, "", 1, MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* The next part of those that are not woken. */
static void empty_some(struct process *p, uint64_t now)
{
	if (now < p->slot_nsec)
		return;
	p->slot_nsec = now + (uint64_t)READERS_ROUND_USEC * 1000 / SLOTS;
	for (size_t i = p->slot; i < p->count; i += SLOTS) {
		struct connection *r = &p->connections[i];

		if (r->kind != READERS_LIVE)
			continue;
		if (!r->timed)
			read_one(p, r);
		uint64_t all = r->first * p->message_bytes + r->bytes;
		p->least = all < p->least ? all : p->least;
	}
	if (++p->slot == SLOTS) {
		atomic_store(&p->counts->live_least, p->least);
		p->slot = 0;
		p->least = UINT64_MAX;
	}
}

static void process_run(struct process *p)
{
	struct epoll_event events[64];

	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	p->least = UINT64_MAX;
	watch(p, p->fd, READERS_MAX);
	for (;;) {
		int n = epoll_wait(p->epoll_fd, events, 64, p->live > 0 ? 1 : -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.u64 == READERS_MAX)
				take_order(p);
			else
				read_one(p, &p->connections[events[i].data.u64]);
		}
		empty_some(p, bench_wall_nsec());
	}
}

/* ---- the owner ---- */

static void raise_limit(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

void readers_start(struct readers *r, uint16_t port, uint64_t message_bytes)
{
	static struct process p;
	int fds[2];

	*r = (struct readers){
		.counts = mmap(NULL, sizeof(*r->counts), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0),
	};
	if (r->counts == MAP_FAILED ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	fflush(stdout);
	r->pid = fork();
	if (r->pid == 0) {
		close(fds[0]);
		raise_limit();
		p = (struct process){.fd = fds[1],
				     .port = port,
				     .message_bytes = message_bytes,
				     .counts = r->counts};
		process_run(&p);
	}
	close(fds[1]);
	r->fd = fds[0];
}

void readers_add(struct readers *r, enum readers_kind kind, size_t count, const char *query)
{
	struct order o = {.kind = kind, .count = count};

	snprintf(o.query, sizeof(o.query), "%s", query);
	CHECK_INT(send(r->fd, &o, sizeof(o), MSG_NOSIGNAL), sizeof(o));
}

void readers_wait_open(struct readers *r)
{
	char done;

	CHECK_INT(recv(r->fd, &done, 1, 0), 1);
}

void readers_note(struct readers *r)
{
	uint64_t event = r->counts->announced % READERS_EVENTS_MAX;

	atomic_store(&r->counts->announced_nsec[event], bench_wall_nsec());
	atomic_fetch_add(&r->counts->announced, 1);
}

double readers_wait_ms(const struct readers *r, double share)
{
	uint64_t all = 0, so_far = 0;
	size_t i = 0;

	for (size_t k = 0; k < READERS_WAITS; k++)
		all += r->counts->waits[k];
	while (i < READERS_WAITS - 1 &&
	       (double)(so_far += r->counts->waits[i]) < (double)all * share)
		i++;
	return all ? (double)(i + 1) * READERS_WAIT_USEC / 1000 : -1;
}

void readers_forget_waits(struct readers *r)
{
	for (size_t i = 0; i < READERS_WAITS; i++)
		atomic_store(&r->counts->waits[i], 0);
}

void readers_stop(struct readers *r)
{
	int status = -1;

	close(r->fd);
	CHECK_INT(waitpid(r->pid, &status, 0), r->pid);
	CHECK_INT(status, 0);
	munmap(r->counts, sizeof(*r->counts));
}
