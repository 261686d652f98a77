/*
 * What sending costs: a log of 5 GB read at full speed, beside a bare sendfile loop that does
 * nothing else (the kernel's loopback work included, on both sides of a socket: it is done when a
 * sender sends); live consumers, who get each event as it is logged; how long it takes to be there,
 * with many of them, and some that replay all the while; and what a consumer holds in memory.
 *
 * It fails if what is promised of fanout does not hold.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log_file.h"
#include "common/loop.h"
#include "fanout/range.h"
#include "tests/bench/bench.h"
#include "tests/bench/readers.h"
#include "tests/lib/fanout_rig.h"

#define EVENT_BYTES 4096
#define FILE_EVENTS 32768
#define FILES       38 /* 5.1 GB */
#define REPLAYERS   20

#define LIVE_PER_SEC     700
#define LIVE_EVENTS      (LIVE_PER_SEC * 3)
#define LIVE_RUNS        3
#define MEMORY_STEP      250 /* consumers that come between two looks at memory */
#define MEMORY_STEPS     4
#define LIVE_MANY        2000
/* 2,000 times 700 events of 4 KiB are what one core sends at most: 5.7 GB a second. */
#define LATENCY_BYTES    2048
#define LATENCY_EVENTS   LIVE_PER_SEC
#define LATENCY_RUNS     9
#define LATENCY_RUNS_MIN 3 /* that are judged */

#define BARE_BYTES ((uint64_t)1 << 33)
#define WAIT_SEC   300

/* What has to hold. */
#define REPLAY_PER_CPU_SEC_MIN 2e9
#define LIVE_PER_CPU_SEC_MIN   200e3
#define P99_MS_MAX             50.0
#define STARVED_MAX            0.05
#define RSS_MAX(consumers)     (MIB(16) + KIB(8) * (consumers))

static uint64_t message_bytes(size_t event_bytes)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX];

	return event_bytes + log_message_header_encode(event_bytes, header);
}

static bool wait_for(const _Atomic uint64_t *value, uint64_t want, const char *what)
{
	uint64_t until = bench_wall_nsec() + WAIT_SEC * (uint64_t)1000000000;

	while (atomic_load(value) < want) {
		if (bench_wall_nsec() > until) {
			test_fail(__FILE__, __LINE__, "%zu of %zu %s came",
				  (size_t)atomic_load(value), (size_t)want, what);
			return false;
		}
		usleep(500);
	}
	return true;
}

static double median(const double *runs, size_t count)
{
	size_t below;

	for (size_t i = 0; i < count; i++) {
		below = 0;
		for (size_t k = 0; k < count; k++)
			below += runs[k] < runs[i] || (runs[k] == runs[i] && k < i);
		if (below == count / 2)
			return runs[i];
	}
	return 0;
}

static void check_least(const char *name, const double *runs, size_t count, double least)
{
	if (!(median(runs, count) >= least))
		test_fail(__FILE__, __LINE__, "%s is %.0f, less than %.0f", name,
			  median(runs, count), least);
}

/* ---- a bare loop ---- */

/* The handshake of stream_client.h, without a look at it. */
static int accept_reader(int listening)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	char request[4096];
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0 || recv(fd, request, sizeof(request), 0) <= 0 ||
	    send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) != sizeof(answer) - 1)
		abort();
	return fd;
}

static int open_first_file(const struct server *s)
{
	char name[LOG_FILE_NAME_SIZE], path[256];

	snprintf(path, sizeof(path), "%s/%s", s->log.folder,
		 log_file_name(s->log.firsts[0], LOG_FILE_MESSAGES, name));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

/* One range to each in turn, until all that is to be sent is; bytes a CPU second. */
static double send_bare(const int *fds, int file, uint64_t file_bytes)
{
	uint64_t cpu = bench_thread_nsec(), sent = 0;
	off_t at = 0;

	while (sent < BARE_BYTES) {
		off_t end = at;

		for (size_t i = 0; i < REPLAYERS; i++) {
			for (end = at; end < at + (off_t)RANGE_BYTES;) {
				ssize_t n = sendfile(fds[i], file, &end,
						     (size_t)(at + (off_t)RANGE_BYTES - end));
				if (n <= 0)
					abort();
				sent += (uint64_t)n;
			}
		}
		at = (uint64_t)end + RANGE_BYTES <= file_bytes ? end : 0;
	}
	return (double)sent * 1e9 / (double)(bench_thread_nsec() - cpu);
}

static void measure_bare(const struct server *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fds[REPLAYERS], listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int file = open_first_file(s);
	double runs[LIVE_RUNS];
	struct readers r;

	if (bind(listening, (struct sockaddr *)&address, len) < 0 ||
	    listen(listening, REPLAYERS) < 0 ||
	    getsockname(listening, (struct sockaddr *)&address, &len) < 0)
		abort();
	readers_start(&r, ntohs(address.sin_port), message_bytes(EVENT_BYTES));
	readers_add(&r, READERS_REPLAY, REPLAYERS, "");
	for (size_t i = 0; i < REPLAYERS; i++)
		fds[i] = accept_reader(listening);
	readers_wait_open(&r);
	for (size_t i = 0; i < LIVE_RUNS; i++)
		runs[i] = send_bare(fds, file, FILE_EVENTS * message_bytes(EVENT_BYTES));
	bench_figure("fanout.bare_bytes_per_cpu_s", "B/s", runs, LIVE_RUNS);
	for (size_t i = 0; i < REPLAYERS; i++)
		close(fds[i]);
	close(listening);
	close(file);
	readers_stop(&r);
}

/* ---- replay ---- */

/* Bytes a CPU second of the fanout's, for one after another of the equal parts of what all get. */
static void measure_replay(struct server *s)
{
	uint64_t all = REPLAYERS * FILES * FILE_EVENTS * message_bytes(EVENT_BYTES), cpu,
		 readers_cpu;
	double runs[BENCH_RUNS];
	struct readers r;

	readers_start(&r, s->port, message_bytes(EVENT_BYTES));
	readers_add(&r, READERS_REPLAY, REPLAYERS, "?cursor=0");
	readers_wait_open(&r);
	cpu = bench_other_nsec(s->pid);
	readers_cpu = bench_other_nsec(r.pid);
	uint64_t bytes = r.counts->bytes[READERS_REPLAY];
	for (size_t i = 0; i < BENCH_RUNS; i++) {
		wait_for(&r.counts->bytes[READERS_REPLAY], all * (i + 1) / BENCH_RUNS, "bytes");
		uint64_t now = bench_other_nsec(s->pid);
		uint64_t bytes_now = r.counts->bytes[READERS_REPLAY];
		runs[i] = (double)(bytes_now - bytes) * 1e9 / (double)(now - cpu);
		cpu = now;
		bytes = bytes_now;
	}
	readers_cpu = bench_other_nsec(r.pid) - readers_cpu;
	bench_say("the readers took %.1f CPU seconds", (double)readers_cpu / 1e9);
	CHECK_INT(r.counts->bytes[READERS_REPLAY], all);
	CHECK_INT(r.counts->ended, 0);
	bench_figure("fanout.bytes_per_cpu_s", "B/s", runs, BENCH_RUNS);
	check_least("fanout.bytes_per_cpu_s", runs, BENCH_RUNS, REPLAY_PER_CPU_SEC_MIN);
	readers_stop(&r);
}

/* ---- live ---- */

static void sleep_until(uint64_t nsec)
{
	uint64_t now = bench_wall_nsec();

	if (now < nsec)
		usleep((useconds_t)((nsec - now) / 1000));
}

/* How long a process was ready to run and did not, so far; 0 where the kernel does not tell. */
static uint64_t starved_nsec(pid_t pid)
{
	char path[64];
	uint64_t nsec = 0;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%*u %" SCNu64, &nsec) != 1)
		nsec = 0;
	if (f)
		fclose(f);
	return nsec;
}

struct run {
	double per_cpu_sec, p50_ms, p99_ms;
	double starved; /* of the run's time, the share in which fanout had no CPU to run on */
};

/* Events at a rate that follows the clock, until every live consumer has them all. */
static struct run live(struct server *s, struct readers *r, size_t consumers, size_t events,
		       size_t event_bytes)
{
	uint64_t from = bench_wall_nsec(), cpu = bench_other_nsec(s->pid);
	uint64_t readers_cpu = bench_other_nsec(r->pid), starved = starved_nsec(s->pid);

	readers_forget_waits(r);
	for (uint64_t i = 0; i < events; i++) {
		sleep_until(from + i * 1000000000 / LIVE_PER_SEC);
		log_maker_add(&s->log, 1, event_bytes);
		readers_note(r);
		server_announce(s);
	}
	wait_for(&r->counts->live_least, r->counts->announced * message_bytes(event_bytes),
		 "bytes");
	cpu = bench_other_nsec(s->pid) - cpu;
	readers_cpu = bench_other_nsec(r->pid) - readers_cpu;
	starved = starved_nsec(s->pid) - starved;
	uint64_t took = bench_wall_nsec() - from;
	struct run run = {
		.per_cpu_sec = (double)(events * consumers) * 1e9 / (double)cpu,
		.p50_ms = readers_wait_ms(r, 0.5),
		.p99_ms = readers_wait_ms(r, 0.99),
		.starved = (double)starved / (double)took,
	};
	bench_say("%zu consumers, %.1f s: %.1f CPU seconds of fanout's, which waited for a CPU "
		  "%.1f s, %.1f of the readers'; p50 %.1f ms, p99 %.1f ms",
		  consumers, (double)took / 1e9, (double)cpu / 1e9, (double)starved / 1e9,
		  (double)readers_cpu / 1e9, run.p50_ms, run.p99_ms);
	return run;
}

static uint64_t rss(const struct server *s)
{
	struct bench_memory m;

	bench_memory_of(s->pid, &m);
	return m.rss;
}

/* Bytes a consumer that has connected and waits. */
static double add_consumers(struct server *s, struct readers *r)
{
	uint64_t before = rss(s);

	readers_add(r, READERS_LIVE, MEMORY_STEP, "");
	readers_wait_open(r);
	return ((double)rss(s) - (double)before) / MEMORY_STEP;
}

static void measure_live(struct server *s)
{
	double memory[MEMORY_STEPS], runs[LIVE_RUNS];
	struct readers r;

	readers_start(&r, s->port, message_bytes(EVENT_BYTES));
	for (size_t i = 0; i < MEMORY_STEPS; i++)
		memory[i] = add_consumers(s, &r);
	bench_figure("fanout.rss_per_consumer_bytes", "B", memory, MEMORY_STEPS);
	for (size_t i = 0; i < LIVE_RUNS; i++)
		runs[i] = live(s, &r, MEMORY_STEPS * MEMORY_STEP, LIVE_EVENTS, EVENT_BYTES)
				  .per_cpu_sec;
	bench_figure("fanout.live_messages_per_cpu_s", "1/s", runs, LIVE_RUNS);
	check_least("fanout.live_messages_per_cpu_s", runs, LIVE_RUNS, LIVE_PER_CPU_SEC_MIN);
	CHECK_INT(r.counts->ended, 0);
	readers_stop(&r);
}

/* Runs in which fanout had a CPU to run on come first; returns how many they are. Of those that had
 * none, the latency is the machine's. */
static size_t sort_runs(struct run *runs, size_t count)
{
	size_t calm = 0;

	for (size_t i = 0; i < count; i++) {
		struct run run = runs[i];

		if (run.starved > STARVED_MAX)
			continue;
		runs[i] = runs[calm];
		runs[calm++] = run;
	}
	return calm;
}

static void report_latency(struct run *runs)
{
	size_t calm = sort_runs(runs, LATENCY_RUNS);
	bool is_judged = calm >= LATENCY_RUNS_MIN;
	size_t count = is_judged ? calm : LATENCY_RUNS;
	double p50[LATENCY_RUNS], p99[LATENCY_RUNS], per_cpu_sec[LATENCY_RUNS];

	for (size_t i = 0; i < LATENCY_RUNS; i++) {
		p50[i] = runs[i].p50_ms;
		p99[i] = runs[i].p99_ms;
		per_cpu_sec[i] = runs[i].per_cpu_sec;
	}
	bench_say("fanout had a CPU when it wanted one in %zu of %d runs%s", calm, LATENCY_RUNS,
		  is_judged ? "" : ", too few to judge latency by");
	bench_figure("fanout.mixed_messages_per_cpu_s", "1/s", per_cpu_sec, LATENCY_RUNS);
	bench_figure("fanout.live_p50_ms", "ms", p50, count);
	bench_figure("fanout.live_p99_ms", "ms", p99, count);
	if (is_judged && median(p99, count) > P99_MS_MAX)
		test_fail(__FILE__, __LINE__, "fanout.live_p99_ms is %.1f, more than %.1f",
			  median(p99, count), P99_MS_MAX);
}

/* Many that are live, and some that read all there is meanwhile. */
static void measure_latency(struct server *s)
{
	struct readers r;
	struct run runs[LATENCY_RUNS];
	uint64_t most = 0;

	readers_start(&r, s->port, message_bytes(LATENCY_BYTES));
	readers_add(&r, READERS_LIVE, LIVE_MANY, "");
	readers_wait_open(&r);
	readers_add(&r, READERS_REPLAY, REPLAYERS, "?cursor=0");
	readers_wait_open(&r);
	for (size_t i = 0; i < LATENCY_RUNS; i++) {
		uint64_t replayed = r.counts->bytes[READERS_REPLAY];

		runs[i] = live(s, &r, LIVE_MANY, LATENCY_EVENTS, LATENCY_BYTES);
		replayed = r.counts->bytes[READERS_REPLAY] - replayed;
		most = rss(s) > most ? rss(s) : most;
		bench_say("meanwhile %.1f GB were replayed", (double)replayed / 1e9);
	}
	bench_say("fanout held %.1f MiB at most", (double)most / (double)MIB(1));
	CHECK_INT(r.counts->ended, 0);
	CHECK(most <= RSS_MAX(LIVE_MANY + REPLAYERS));
	report_latency(runs);
	readers_stop(&r);
}

static void start(struct server *s)
{
	struct server_settings settings = server_ordinary;

	settings.max = READERS_MAX;
	settings.file_events = FILE_EVENTS;
	settings.ping_usec = settings.progress_usec = 600 * USEC_PER_SEC;
	server_start(s, &settings);
	log_maker_add(&s->log, FILE_EVENTS, EVENT_BYTES);
	log_maker_repeat(&s->log, FILES - 1);
	server_tell(s);
}

static void raise_limit(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max < READERS_MAX)
		bench_say("too few descriptors: %zu", (size_t)files.rlim_max);
}

static void say_settings(void)
{
	bench_setting("replay", "%d consumers read %d files of %d events of %d bytes each",
		      REPLAYERS, FILES, FILE_EVENTS, EVENT_BYTES);
	bench_setting("bare",
		      "sendfile of the first of these files in ranges of %zu bytes, %d sockets",
		      (size_t)RANGE_BYTES, REPLAYERS);
	bench_setting("memory", "%d consumers, %d at a time", MEMORY_STEPS * MEMORY_STEP,
		      MEMORY_STEP);
	bench_setting("live", "as many, %d events a second of %d bytes, %d a run", LIVE_PER_SEC,
		      EVENT_BYTES, LIVE_EVENTS);
	bench_setting("latency",
		      "%d consumers, %d more that replay, %d events a run of %d bytes; from the "
		      "notice until "
		      "an event's last byte was read, by one consumer in %d",
		      LIVE_MANY, REPLAYERS, LATENCY_EVENTS, LATENCY_BYTES, READERS_TIMED);
}

TEST(fanout)
{
	struct server s;

	bench_begin("fanout");
	say_settings();
	raise_limit();
	start(&s);
	measure_bare(&s);
	measure_replay(&s);
	measure_live(&s);
	measure_latency(&s);
	server_stop(&s);
	bench_end();
}
