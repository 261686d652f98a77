/*
 * What sending costs: a log that was written before, read at full speed (the kernel's loopback work
 * included, on both sides of a socket: it is done when a sender sends); live consumers, who get
 * each event as it is logged; and what a consumer holds in memory.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log_file.h"
#include "tests/bench/bench.h"
#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"

#define EVENT_BYTES 4096
#define LOG_EVENTS  131072
#define FILE_EVENTS 32768
#define REPLAYERS   4

#define LIVE_PER_SEC  700
#define LIVE_EVENTS   (LIVE_PER_SEC * 3)
#define MEMORY_STEP   250 /* consumers that come between two looks at memory */
#define MEMORY_STEPS  4
#define CONSUMERS_MAX 2000

/* Reads what comes on many sockets and throws it away, on a thread of its own. */
struct drain {
	pthread_t thread;
	int epoll_fd;
	int stop_fd[2];
	_Atomic uint64_t bytes;
	size_t count;
	struct stream_client clients[CONSUMERS_MAX];
};

static void *drain_run(void *arg)
{
	struct drain *d = arg;
	struct epoll_event events[64];

	for (;;) {
		int n = epoll_wait(d->epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++) {
			ssize_t got;

			if (events[i].data.fd == d->stop_fd[0])
				return NULL;
			/* MSG_TRUNC: TCP takes the bytes off without copying them. */
			got = recv(events[i].data.fd, NULL, MIB(4), MSG_TRUNC | MSG_DONTWAIT);
			if (got > 0)
				atomic_fetch_add(&d->bytes, (uint64_t)got);
			else if (got == 0)
				epoll_ctl(d->epoll_fd, EPOLL_CTL_DEL, events[i].data.fd, NULL);
		}
	}
}

static void watch(struct drain *d, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
		abort();
}

static void drain_start(struct drain *d)
{
	d->count = 0;
	d->bytes = 0;
	d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (pipe(d->stop_fd) < 0)
		abort();
	watch(d, d->stop_fd[0]);
	if (pthread_create(&d->thread, NULL, drain_run, d) != 0)
		abort();
}

static void drain_add(struct drain *d, uint16_t port, const char *query)
{
	struct stream_client *c = &d->clients[d->count++];

	CHECK(stream_open(c, port, query, ""));
	atomic_fetch_add(&d->bytes, c->in.len - c->taken);
	buf_release(&c->in); /* stays empty from here on */
	watch(d, c->fd);
}

static void drain_stop(struct drain *d)
{
	(void)!write(d->stop_fd[1], "", 1);
	pthread_join(d->thread, NULL);
	for (size_t i = 0; i < d->count; i++)
		close(d->clients[i].fd);
	close(d->stop_fd[0]);
	close(d->stop_fd[1]);
	close(d->epoll_fd);
}

static bool drain_has(struct drain *d, uint64_t bytes)
{
	uint64_t until = bench_wall_nsec() + 60 * (uint64_t)1000000000;

	while (atomic_load(&d->bytes) < bytes) {
		if (bench_wall_nsec() > until) {
			test_fail(__FILE__, __LINE__, "%zu of %zu bytes came", (size_t)d->bytes,
				  (size_t)bytes);
			return false;
		}
		usleep(500);
	}
	return true;
}

static uint64_t message_bytes(void)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX];

	return EVENT_BYTES + log_message_header_encode(EVENT_BYTES, header);
}

/* Bytes a CPU second of the fanout's. */
static double replay(struct server *s)
{
	static struct drain d;
	uint64_t bytes = REPLAYERS * LOG_EVENTS * message_bytes(), cpu;

	drain_start(&d);
	cpu = bench_other_nsec(s->pid);
	for (size_t i = 0; i < REPLAYERS; i++)
		drain_add(&d, s->port, "?cursor=0");
	drain_has(&d, bytes);
	cpu = bench_other_nsec(s->pid) - cpu;
	drain_stop(&d);
	return (double)bytes * 1e9 / (double)cpu;
}

static void sleep_until(uint64_t nsec)
{
	uint64_t now = bench_wall_nsec();

	if (now < nsec)
		usleep((useconds_t)((nsec - now) / 1000));
}

/* Messages a CPU second: every consumer gets every event, at a rate that follows the clock. */
static double live(struct server *s, struct drain *d)
{
	uint64_t before = atomic_load(&d->bytes), from = bench_wall_nsec();
	uint64_t cpu = bench_other_nsec(s->pid);

	for (uint64_t i = 0; i < LIVE_EVENTS; i++) {
		sleep_until(from + i * 1000000000 / LIVE_PER_SEC);
		log_maker_add(&s->log, 1, EVENT_BYTES);
		server_announce(s);
	}
	drain_has(d, before + LIVE_EVENTS * d->count * message_bytes());
	cpu = bench_other_nsec(s->pid) - cpu;
	return (double)(LIVE_EVENTS * d->count) * 1e9 / (double)cpu;
}

static uint64_t rss(const struct server *s)
{
	struct bench_memory m;

	bench_memory_of(s->pid, &m);
	return m.rss;
}

/* Bytes a consumer that has connected and waits. */
static double add_consumers(struct server *s, struct drain *d)
{
	uint64_t before = rss(s);

	for (size_t i = 0; i < MEMORY_STEP; i++)
		drain_add(d, s->port, "");
	return ((double)rss(s) - (double)before) / MEMORY_STEP;
}

static void start(struct server *s)
{
	struct server_settings settings = server_ordinary;

	settings.max = CONSUMERS_MAX;
	settings.file_events = FILE_EVENTS;
	server_start(s, &settings);
}

static void raise_limits(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < CONSUMERS_MAX)
		bench_say("too few descriptors: %zu", (size_t)files.rlim_max);
}

static void measure_replay(void)
{
	struct server s;
	double runs[BENCH_RUNS];

	start(&s);
	server_add(&s, LOG_EVENTS, EVENT_BYTES);
	for (size_t i = 0; i < BENCH_RUNS; i++)
		runs[i] = replay(&s);
	bench_figure("fanout.bytes_per_cpu_s", "B/s", runs, BENCH_RUNS);
	server_stop(&s);
}

static void measure_live(void)
{
	static struct drain d;
	struct server s;
	double memory[MEMORY_STEPS], runs[3];

	start(&s);
	server_add(&s, 1, EVENT_BYTES);
	drain_start(&d);
	for (size_t i = 0; i < MEMORY_STEPS; i++)
		memory[i] = add_consumers(&s, &d);
	bench_figure("fanout.rss_per_consumer_bytes", "B", memory, MEMORY_STEPS);
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		runs[i] = live(&s, &d);
	bench_figure("fanout.live_messages_per_cpu_s", "1/s", runs, ARRAY_SIZE(runs));
	bench_say("fanout holds %.1f MiB with them", (double)rss(&s) / (double)MIB(1));
	drain_stop(&d);
	server_stop(&s);
}

TEST(fanout)
{
	bench_begin("fanout");
	bench_setting("replay", "%d consumers read %d events of %d bytes each, in files of %d",
		      REPLAYERS, LOG_EVENTS, EVENT_BYTES, FILE_EVENTS);
	bench_setting("memory", "%d consumers, %d at a time", MEMORY_STEPS * MEMORY_STEP,
		      MEMORY_STEP);
	bench_setting("live", "as many, %d events a second of %d bytes, %d a run", LIVE_PER_SEC,
		      EVENT_BYTES, LIVE_EVENTS);
	raise_limits();
	measure_replay();
	measure_live();
	bench_end();
}
