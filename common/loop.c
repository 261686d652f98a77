#include "common/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 64 /* taken from epoll at a time; what does not fit comes with the next turn */

struct task_list {
	struct loop_task *first;
	struct loop_task **end; /* where the next one goes */
};

struct loop {
	int epoll_fd;
	uint64_t now_usec; /* when this turn began */
	bool in_turn;
	struct epoll_event events[EVENTS_MAX]; /* data.ptr: the loop_io, NULL once it is removed */
	int event_count;                       /* those of this turn; 0 outside dispatch */
	struct loop_timer **timers;            /* binary heap, the earliest first */
	size_t timer_count;
	size_t timer_cap;
	struct task_list queued;
	struct task_list running; /* what is left of those that run in this turn */
	struct loop_io signals;
	void (*stop)(void *arg);
	void *stop_arg;
	bool stop_called;
	bool quit;
	int status;
};

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts;
	int r = clock_gettime(clock, &ts);

	assert(r == 0);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t clock_usec(void)
{
	return read_clock(CLOCK_REALTIME);
}

uint64_t uptime_usec(void)
{
	return read_clock(CLOCK_BOOTTIME);
}

uint64_t loop_now_usec(const struct loop *l)
{
	return l->in_turn ? l->now_usec : read_clock(CLOCK_MONOTONIC);
}

/* Descriptors. epoll refuses only what is our own mistake, or what running out of memory is. */

static void control(struct loop *l, struct loop_io *io, int op, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = io};
	int r = epoll_ctl(l->epoll_fd, op, io->fd, &e);

	assert(r == 0);
	io->events = events;
}

void loop_io_init(struct loop_io *io, void (*ready)(void *arg, uint32_t events), void *arg)
{
	*io = (struct loop_io){.ready = ready, .arg = arg, .fd = -1};
}

void loop_io_add(struct loop *l, struct loop_io *io, int fd, uint32_t events)
{
	assert(io->fd < 0 && fd >= 0);
	io->fd = fd;
	control(l, io, EPOLL_CTL_ADD, events);
}

void loop_io_change(struct loop *l, struct loop_io *io, uint32_t events)
{
	assert(io->fd >= 0);
	if (events != io->events)
		control(l, io, EPOLL_CTL_MOD, events);
}

static void drop_events(struct loop *l, struct loop_io *io)
{
	io->fd = -1;
	for (int i = 0; i < l->event_count; i++)
		if (l->events[i].data.ptr == io)
			l->events[i].data.ptr = NULL;
}

void loop_io_remove(struct loop *l, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	control(l, io, EPOLL_CTL_DEL, 0);
	drop_events(l, io);
}

/* What is closed has left the set by itself, and its number may be another file's by now. */
void loop_io_forget(struct loop *l, struct loop_io *io)
{
	if (io->fd < 0)
		return;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, io->fd, NULL) < 0)
		assert(errno == EBADF || errno == ENOENT || errno == EPERM);
	drop_events(l, io);
}

static void dispatch_events(struct loop *l)
{
	for (int i = 0; i < l->event_count && !l->quit; i++) {
		struct loop_io *io = l->events[i].data.ptr;

		if (io)
			io->ready(io->arg, l->events[i].events);
	}
	l->event_count = 0;
}

/* Timers. */

static void place_timer(struct loop *l, size_t i, struct loop_timer *t)
{
	l->timers[i] = t;
	t->place = i + 1;
}

/* Puts t where it belongs, on the way from the empty place i to the root or to the leaves. */
static void settle_timer(struct loop *l, size_t i, struct loop_timer *t)
{
	while (i > 0 && l->timers[(i - 1) / 2]->at_usec > t->at_usec) {
		place_timer(l, i, l->timers[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < l->timer_count &&
		    l->timers[child + 1]->at_usec < l->timers[child]->at_usec)
			child++;
		if (child >= l->timer_count || l->timers[child]->at_usec >= t->at_usec)
			break;
		place_timer(l, i, l->timers[child]);
		i = child;
	}
	place_timer(l, i, t);
}

void loop_timer_init(struct loop_timer *t, void (*fire)(void *arg), void *arg)
{
	*t = (struct loop_timer){.fire = fire, .arg = arg};
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t after_usec)
{
	size_t i;

	/* Always after this turn, so that a timer that sets itself again lets everything else have
	 * its turn. */
	if (__builtin_add_overflow(loop_now_usec(l), after_usec ? after_usec : 1, &t->at_usec))
		t->at_usec = UINT64_MAX;
	if (t->place) {
		i = t->place - 1;
	} else {
		if (l->timer_count == l->timer_cap) {
			l->timer_cap = l->timer_cap ? 2 * l->timer_cap : 64;
			l->timers = xrealloc(l->timers, l->timer_cap * sizeof(*l->timers));
		}
		i = l->timer_count++;
	}
	settle_timer(l, i, t);
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last;
	size_t i;

	if (!t->place)
		return;
	i = t->place - 1;
	t->place = 0;
	last = l->timers[--l->timer_count];
	if (last != t)
		settle_timer(l, i, last);
}

static void fire_timers(struct loop *l)
{
	while (l->timer_count > 0 && l->timers[0]->at_usec <= l->now_usec && !l->quit) {
		struct loop_timer *t = l->timers[0];

		loop_timer_cancel(l, t);
		t->fire(t->arg);
	}
}

/* Tasks. */

void loop_task_init(struct loop_task *t, void (*run)(void *arg), void *arg)
{
	*t = (struct loop_task){.run = run, .arg = arg};
}

static void empty_list(struct task_list *list)
{
	list->first = NULL;
	list->end = &list->first;
}

void loop_task_queue(struct loop *l, struct loop_task *t)
{
	if (t->queued)
		return;
	t->queued = true;
	t->next = NULL;
	*l->queued.end = t;
	l->queued.end = &t->next;
}

static bool unlink_task(struct task_list *list, struct loop_task *t)
{
	struct loop_task **at = &list->first;

	while (*at && *at != t)
		at = &(*at)->next;
	if (!*at)
		return false;
	*at = t->next;
	if (list->end == &t->next)
		list->end = at;
	return true;
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
	bool found;

	if (!t->queued)
		return;
	found = unlink_task(&l->queued, t) || unlink_task(&l->running, t);
	assert(found);
	t->queued = false;
}

/* Those that are queued now. What they queue runs in the next turn, which does not sleep then. */
static void run_tasks(struct loop *l)
{
	if (l->quit || !l->queued.first)
		return;
	assert(!l->running.first);
	l->running = l->queued;
	empty_list(&l->queued);
	while (l->running.first) {
		struct loop_task *t = l->running.first;

		unlink_task(&l->running, t);
		t->queued = false;
		t->run(t->arg);
	}
}

/* Signals and the loop itself. */

void loop_on_stop(struct loop *l, void (*stop)(void *arg), void *arg)
{
	l->stop = stop;
	l->stop_arg = arg;
}

static void take_signal(void *arg, uint32_t events)
{
	struct loop *l = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(l->signals.fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (l->stop_called || !l->stop) {
		loop_quit(l, EXIT_FAILURE);
	} else {
		l->stop_called = true;
		l->stop(l->stop_arg);
	}
}

struct loop *loop_new(void)
{
	struct loop *l = xcalloc(1, sizeof(*l));
	sigset_t set;
	int fd, r;

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert(l->epoll_fd >= 0);
	empty_list(&l->queued);
	empty_list(&l->running);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	assert(fd >= 0);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	r = pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert(r == 0);
	loop_io_init(&l->signals, take_signal, l);
	loop_io_add(l, &l->signals, fd, EPOLLIN);
	return l;
}

void loop_free(struct loop *l)
{
	int fd;

	if (!l)
		return;
	fd = l->signals.fd;
	loop_io_remove(l, &l->signals);
	close(fd);
	close(l->epoll_fd);
	free(l->timers);
	free(l);
}

/* How long to sleep: rounded up, so that a timer is due when the loop wakes for it. */
static int sleep_msec(const struct loop *l)
{
	uint64_t now = read_clock(CLOCK_MONOTONIC), msec;

	if (l->queued.first)
		return 0;
	if (l->timer_count == 0)
		return -1;
	if (l->timers[0]->at_usec <= now)
		return 0;
	msec = (l->timers[0]->at_usec - now - 1) / USEC_PER_MSEC + 1;
	return msec > 60000 ? 60000 : (int)msec;
}

static void turn(struct loop *l)
{
	int n = epoll_wait(l->epoll_fd, l->events, EVENTS_MAX, sleep_msec(l));

	assert(n >= 0 || errno == EINTR);
	l->event_count = n > 0 ? n : 0;
	l->now_usec = read_clock(CLOCK_MONOTONIC);
	l->in_turn = true;
	dispatch_events(l);
	fire_timers(l);
	run_tasks(l);
	l->in_turn = false;
}

int loop_run(struct loop *l)
{
	l->quit = false;
	while (!l->quit)
		turn(l);
	return l->status;
}

void loop_quit(struct loop *l, int status)
{
	l->quit = true;
	l->status = status;
}
