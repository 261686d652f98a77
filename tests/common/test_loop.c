#include "common/loop.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/test.h"

#define IO_COUNT 8

struct source {
	struct loop *loop;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task task;
	struct source **all; /* what a callback frees: everything but itself, or everything */
	bool frees_itself;
	unsigned *calls;
};

static void free_source(struct source **at)
{
	struct source *s = *at;
	int fd = s->io.fd;

	*at = NULL;
	loop_io_remove(s->loop, &s->io);
	loop_timer_cancel(s->loop, &s->timer);
	loop_task_cancel(s->loop, &s->task);
	if (fd >= 0)
		close(fd);
	memset(s, 0xee, sizeof(*s));
	free(s);
}

static void free_all(struct source *self)
{
	struct source **all = self->all;
	bool frees_itself = self->frees_itself;

	(*self->calls)++;
	for (size_t i = 0; i < IO_COUNT; i++)
		if (all[i] && (all[i] != self || frees_itself))
			free_source(&all[i]);
}

static void source_ready(void *arg, uint32_t events)
{
	CHECK(events & EPOLLIN);
	free_all(arg);
}

static void source_called(void *arg)
{
	free_all(arg);
}

static struct source *new_source(struct loop *l, struct source **all, bool frees_itself,
				 unsigned *calls)
{
	struct source *s = xcalloc(1, sizeof(*s));

	s->loop = l;
	s->all = all;
	s->frees_itself = frees_itself;
	s->calls = calls;
	loop_io_init(&s->io, source_ready, s);
	loop_timer_init(&s->timer, source_called, s);
	loop_task_init(&s->task, source_called, s);
	return s;
}

static void quit(void *arg)
{
	loop_quit(arg, 0);
}

/* Eight of a kind are due at once; the first one that is called frees all the others, with or
 * without itself. */
TEST(callbacks_free_each_other)
{
	static const char *const kinds[] = {"io", "timer", "task"};

	for (unsigned kind = 0; kind < 3; kind++)
		for (unsigned itself = 0; itself < 2; itself++) {
			struct loop *l = loop_new();
			struct source *all[IO_COUNT];
			struct loop_timer end;
			unsigned calls = 0;

			loop_timer_init(&end, quit, l);
			loop_timer_set(l, &end, 2000);
			for (size_t i = 0; i < IO_COUNT; i++) {
				all[i] = new_source(l, all, itself, &calls);
				if (kind == 0)
					loop_io_add(l, &all[i]->io, eventfd(1, EFD_NONBLOCK),
						    EPOLLIN);
				else if (kind == 1)
					loop_timer_set(l, &all[i]->timer, 0);
				else
					loop_task_queue(l, &all[i]->task);
			}
			CHECK_INT(loop_run(l), 0);
			if (kind == 0 && !itself)
				CHECK(calls >= 1); /* its descriptor stays ready */
			else if (calls != 1)
				test_fail(__FILE__, __LINE__, "%s: %u calls", kinds[kind], calls);
			for (size_t i = 0; i < IO_COUNT; i++)
				if (all[i])
					free_source(&all[i]);
			loop_free(l);
		}
}

struct readd {
	struct loop *loop;
	struct loop_io io[2];
	unsigned calls[2];
	bool done;
};

/* Removes the other one and adds it again: its event of this batch is void, and the next turn
 * brings it anew. */
static void readd_ready(struct readd *r, unsigned self)
{
	unsigned other = 1 - self;
	int fd = r->io[other].fd;

	r->calls[self]++;
	if (r->done) {
		loop_quit(r->loop, 0);
		return;
	}
	r->done = true;
	loop_io_remove(r->loop, &r->io[other]);
	loop_io_add(r->loop, &r->io[other], fd, EPOLLIN);
	loop_io_change(r->loop, &r->io[self], 0);
}

static void readd_first(void *arg, uint32_t events)
{
	(void)events;
	readd_ready(arg, 0);
}

static void readd_second(void *arg, uint32_t events)
{
	(void)events;
	readd_ready(arg, 1);
}

TEST(io_is_removed_and_added_again)
{
	struct readd r = {.loop = loop_new()};
	int fds[2];

	loop_io_init(&r.io[0], readd_first, &r);
	loop_io_init(&r.io[1], readd_second, &r);
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = eventfd(1, EFD_NONBLOCK);
		loop_io_add(r.loop, &r.io[i], fds[i], EPOLLIN);
	}
	loop_run(r.loop);
	CHECK_INT(r.calls[0], 1);
	CHECK_INT(r.calls[1], 1);
	for (unsigned i = 0; i < 2; i++) {
		loop_io_remove(r.loop, &r.io[i]);
		loop_io_remove(r.loop, &r.io[i]);
		close(fds[i]);
	}
	loop_free(r.loop);
}

#define TIMERS 500

struct clockwork {
	struct loop *loop;
	struct timed {
		struct clockwork *of;
		struct loop_timer timer;
		uint64_t wanted_usec;
		bool wanted;
	} timers[TIMERS];
	unsigned left;
	uint64_t last_usec;
};

static void timed_fires(void *arg)
{
	struct timed *t = arg;
	struct clockwork *c = t->of;

	CHECK(t->wanted);
	CHECK(!loop_timer_is_set(&t->timer));
	CHECK(t->wanted_usec >= c->last_usec);
	CHECK(loop_now_usec(c->loop) >= t->wanted_usec);
	t->wanted = false;
	c->last_usec = t->wanted_usec;
	if (--c->left == 0)
		loop_quit(c->loop, 0);
}

static void set_timed(struct timed *t)
{
	uint64_t after = 1 + test_random() % 20000, now = loop_now_usec(t->of->loop);

	loop_timer_set(t->of->loop, &t->timer, after);
	t->wanted_usec = t->timer.at_usec;
	CHECK(t->wanted_usec >= now + after);
	CHECK(t->wanted_usec <= loop_now_usec(t->of->loop) + after);
	t->of->left += !t->wanted;
	t->wanted = true;
}

/* Random settings, moves and cancellations: those that stay fire in order, once, and not early. */
static void count_ready(void *arg, uint32_t events)
{
	(void)events;
	++*(unsigned *)arg;
}

/* One that its owner has closed before, one whose number is another's now, and one that is open. */
TEST(io_is_forgotten_open_or_closed)
{
	struct loop *l = loop_new();
	struct loop_timer end;
	struct loop_io io[3];
	unsigned calls = 0;
	int fds[3];

	for (size_t i = 0; i < 3; i++) {
		fds[i] = eventfd(1, EFD_NONBLOCK);
		loop_io_init(&io[i], count_ready, &calls);
		loop_io_add(l, &io[i], fds[i], EPOLLIN);
	}
	close(fds[0]);
	loop_io_forget(l, &io[0]);
	close(fds[1]);
	fds[0] = eventfd(1, EFD_NONBLOCK);
	fds[1] = eventfd(1, EFD_NONBLOCK);
	loop_io_forget(l, &io[1]);
	for (size_t i = 0; i < 2; i++) {
		loop_io_forget(l, &io[2]);
		CHECK_INT(io[i].fd, -1);
	}
	loop_timer_init(&end, quit, l);
	loop_timer_set(l, &end, 2000);
	CHECK_INT(loop_run(l), 0);
	CHECK_INT(calls, 0);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
	loop_free(l);
}

/* No file of a disk can be in the set, which the kernel says in its own way. */
TEST(io_whose_number_is_a_file_now_is_forgotten)
{
	struct loop *l = loop_new();
	struct loop_io io;
	unsigned calls = 0;
	int fd = eventfd(1, EFD_NONBLOCK), file = open(test_folder(), O_RDONLY);

	loop_io_init(&io, count_ready, &calls);
	loop_io_add(l, &io, fd, EPOLLIN);
	CHECK_INT(dup2(file, fd), fd);
	loop_io_forget(l, &io);
	CHECK_INT(io.fd, -1);
	close(fd);
	close(file);
	loop_free(l);
}

TEST(timers_fire_in_order)
{
	static struct clockwork c;

	c = (struct clockwork){.loop = loop_new()};
	for (size_t i = 0; i < TIMERS; i++) {
		c.timers[i].of = &c;
		loop_timer_init(&c.timers[i].timer, timed_fires, &c.timers[i]);
	}
	for (unsigned n = 0; n < 10 * TIMERS; n++) {
		struct timed *t = &c.timers[test_random() % TIMERS];

		if (test_random() % 3 == 0) {
			loop_timer_cancel(c.loop, &t->timer);
			c.left -= t->wanted;
			t->wanted = false;
		} else {
			set_timed(t);
		}
		CHECK_INT(loop_timer_is_set(&t->timer), t->wanted);
	}
	CHECK(c.left > 0);
	loop_run(c.loop);
	CHECK_INT(c.left, 0);
	loop_free(c.loop);
}

struct rerun {
	struct loop *loop;
	struct loop_timer timer;
	struct loop_task task;
	struct loop_io io;
	uint64_t turn_usec;
	unsigned timer_calls, task_calls;
};

static void rerun_timer(void *arg)
{
	struct rerun *r = arg;

	r->timer_calls++;
	loop_timer_set(r->loop, &r->timer, 0);
}

static void rerun_task(void *arg)
{
	struct rerun *r = arg;

	r->task_calls++;
	loop_task_queue(r->loop, &r->task);
}

static void rerun_ready(void *arg, uint32_t events)
{
	struct rerun *r = arg;

	(void)events;
	if (r->timer_calls > 10 && r->task_calls > 10)
		loop_quit(r->loop, 0);
}

/* What calls itself again at once starves neither the descriptors nor the others. */
TEST(nothing_starves)
{
	struct rerun r = {.loop = loop_new()};
	int fd = eventfd(1, EFD_NONBLOCK);

	loop_timer_init(&r.timer, rerun_timer, &r);
	loop_task_init(&r.task, rerun_task, &r);
	loop_io_init(&r.io, rerun_ready, &r);
	loop_timer_set(r.loop, &r.timer, 0);
	loop_task_queue(r.loop, &r.task);
	loop_io_add(r.loop, &r.io, fd, EPOLLIN);
	loop_run(r.loop);
	CHECK(r.timer_calls > 10);
	CHECK(r.task_calls > 10);
	loop_io_remove(r.loop, &r.io);
	close(fd);
	loop_free(r.loop);
}

struct gather {
	struct loop *loop;
	struct loop_io io[IO_COUNT];
	struct loop_task tasks[3];
	unsigned order[3], runs;
	unsigned arrived, seen;
};

static void gather_ready(void *arg, uint32_t events)
{
	struct gather *g = arg;

	(void)events;
	g->arrived++;
	for (size_t i = 0; i < ARRAY_SIZE(g->tasks); i++)
		loop_task_queue(g->loop, &g->tasks[i]);
	if (g->arrived == IO_COUNT)
		loop_task_cancel(g->loop, &g->tasks[1]);
}

static void gather_task(struct gather *g, unsigned which)
{
	g->order[g->runs++] = which;
	g->seen = g->arrived;
	loop_quit(g->loop, 7);
}

static void gather_first(void *arg)
{
	gather_task(arg, 0);
}

static void gather_second(void *arg)
{
	gather_task(arg, 1);
}

static void gather_third(void *arg)
{
	gather_task(arg, 2);
}

/* Tasks run once, in order, after all descriptors that were ready together; a cancelled one does
 * not. */
TEST(tasks_gather)
{
	static void (*const runs[])(void *arg) = {gather_first, gather_second, gather_third};
	struct gather g = {.loop = loop_new()};
	int fds[IO_COUNT];

	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		loop_task_init(&g.tasks[i], runs[i], &g);
	for (size_t i = 0; i < IO_COUNT; i++) {
		loop_io_init(&g.io[i], gather_ready, &g);
		fds[i] = eventfd(1, EFD_NONBLOCK);
		loop_io_add(g.loop, &g.io[i], fds[i], EPOLLIN);
	}
	CHECK_INT(loop_run(g.loop), 7);
	CHECK_INT(g.seen, IO_COUNT);
	CHECK_INT(g.runs, 2);
	CHECK_INT(g.order[0], 0);
	CHECK_INT(g.order[1], 2);
	for (size_t i = 0; i < IO_COUNT; i++) {
		loop_io_remove(g.loop, &g.io[i]);
		close(fds[i]);
	}
	loop_free(g.loop);
}

/* A task that is queued keeps its place; the last one may be cancelled. */
TEST(tasks_queue_and_cancel)
{
	struct gather g = {.loop = loop_new()};

	loop_task_init(&g.tasks[0], gather_first, &g);
	loop_task_init(&g.tasks[1], gather_second, &g);
	loop_task_init(&g.tasks[2], gather_third, &g);
	loop_task_queue(g.loop, &g.tasks[0]);
	loop_task_queue(g.loop, &g.tasks[1]);
	loop_task_queue(g.loop, &g.tasks[0]);
	loop_task_cancel(g.loop, &g.tasks[1]);
	loop_task_cancel(g.loop, &g.tasks[1]);
	loop_task_queue(g.loop, &g.tasks[2]);
	loop_run(g.loop);
	CHECK_INT(g.runs, 2);
	CHECK_INT(g.order[0], 0);
	CHECK_INT(g.order[1], 2);
	loop_free(g.loop);
}

static void ready_and_quit(void *arg, uint32_t events)
{
	struct gather *g = arg;

	(void)events;
	g->arrived++;
	loop_quit(g->loop, 3);
}

TEST(quit_is_at_once)
{
	struct gather g = {.loop = loop_new()};
	int fds[2];

	loop_task_init(&g.tasks[0], gather_first, &g);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		loop_io_init(&g.io[i], ready_and_quit, &g);
		fds[i] = eventfd(1, EFD_NONBLOCK);
		loop_io_add(g.loop, &g.io[i], fds[i], EPOLLIN);
	}
	loop_task_queue(g.loop, &g.tasks[0]);
	CHECK_INT(loop_run(g.loop), 3);
	CHECK_INT(g.arrived, 1);
	CHECK_INT(g.runs, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		loop_io_remove(g.loop, &g.io[i]);
		close(fds[i]);
	}
	loop_free(g.loop);
}

struct stopped {
	struct loop *loop;
	unsigned calls;
	bool again;
};

static void stop(void *arg)
{
	struct stopped *s = arg;

	s->calls++;
	if (s->again)
		kill(getpid(), SIGINT);
	else
		loop_quit(s->loop, 0);
}

TEST(signals_stop)
{
	static const int signals[] = {SIGTERM, SIGINT};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		struct stopped s = {.loop = loop_new()};

		loop_on_stop(s.loop, stop, &s);
		kill(getpid(), signals[i]);
		CHECK_INT(loop_run(s.loop), 0);
		CHECK_INT(s.calls, 1);
		loop_free(s.loop);
	}
}

TEST(second_signal_ends_at_once)
{
	struct stopped s = {.loop = loop_new(), .again = true};

	loop_on_stop(s.loop, stop, &s);
	kill(getpid(), SIGTERM);
	CHECK(loop_run(s.loop) != 0);
	CHECK_INT(s.calls, 1);
	loop_free(s.loop);
}

TEST(other_signals_are_blocked)
{
	struct loop *l = loop_new();
	sigset_t set;

	kill(getpid(), SIGHUP);
	kill(getpid(), SIGPIPE);
	sigpending(&set);
	CHECK(sigismember(&set, SIGHUP));
	CHECK(sigismember(&set, SIGPIPE));
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGPIPE);
	for (unsigned i = 0; i < 2; i++)
		sigwaitinfo(&set, NULL);
	loop_free(l);
}

TEST(clocks)
{
	struct loop *l = loop_new();

	CHECK(loop_now_usec(l) > 0);
	CHECK(clock_usec() > 1700000000 * USEC_PER_SEC);
	loop_free(l);
}

/* A caller that works for a minute before it runs the loop has not lost that minute. */
TEST(the_time_goes_on_while_the_loop_does_not_run)
{
	struct loop *l = loop_new();
	uint64_t before = loop_now_usec(l);

	usleep(2000);
	CHECK(loop_now_usec(l) >= before + 2000);
	loop_free(l);
}
