#include "tests/bench/relay.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#define SETTINGS_MAX  32
#define PROGRESS_USEC (10 * USEC_PER_SEC)
#define TICK_USEC     USEC_PER_MSEC
#define BURST_MAX     256    /* events sent before everything else on the loop has its turn */
#define PENDING_MAX   MIB(8) /* bytes that wait for the hosts' sockets, at full speed */

static void play(void *arg);

const char *const bench_stage_names[BENCH_STAGES] = {"ingest", "resolve", "validate", "store",
						     "fanout"};
const char *const bench_member_names[BENCH_STAGES] = {"ingest", "resolve", "validate-0", "store",
						      "fanout-0"};

/* The loop keeps signals for itself; a bench may be ended by one. */
static void let_signals_end_us(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void raise_limits(void)
{
	struct rlimit files;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

static void open_group(struct bench_relay *r, const char *const *settings)
{
	const char *all[SETTINGS_MAX] = {NULL};
	char name[LIMIT_HOST + 1], bootstrap[LIMIT_HOST + 64];
	size_t n = 0;

	snprintf(bootstrap, sizeof(bootstrap), "ingest.bootstrap=%s://%s",
		 world_settings(r->world)->plain ? "http" : "https",
		 world_host_name(r->world, 0, name));
	all[n++] = bootstrap;
	for (const char *const *s = network_relay_settings(r->network, test_folder()); *s; s++)
		all[n++] = *s;
	for (; *settings && n + 1 < SETTINGS_MAX; settings++)
		all[n++] = *settings;
	for (size_t i = 0; i < n; i++)
		bench_say("set %s", all[i]);
	r->group = group_new(r->loop, all);
}

void bench_relay_open(struct bench_relay *r, const struct world_settings *w,
		      const char *const *settings)
{
	struct world_settings world = *w;

	raise_limits();
	*r = (struct bench_relay){.loop = loop_new()};
	let_signals_end_us();
	world.port = free_port();
	bench_setting("network", "%u %s hosts, %u accounts", world.hosts,
		      world.plain ? "plain" : "TLS", world.accounts);
	loop_timer_init(&r->timer, play, r);
	r->world = world_new(&world);
	r->network = network_new(r->loop, r->world);
	open_group(r, settings);
}

void bench_relay_close(struct bench_relay *r)
{
	bench_relay_pause(r);
	bench_relay_stop(r);
	group_free(r->group);
	network_free(r->network);
	world_free(r->world);
	loop_free(r->loop);
}

static void take_frame(void *arg, struct span frame)
{
	struct bench_relay *r = arg;

	r->received++;
	if (r->on_frame)
		r->on_frame(r->arg, frame);
}

static void closed(void *arg)
{
	struct bench_relay *r = arg;

	r->reader = NULL;
}

static bool is_reading(void *arg)
{
	struct bench_relay *r = arg;

	return r->reader && stream_reader_is_open(r->reader);
}

void bench_relay_start(struct bench_relay *r)
{
	const struct reader_handler h = {take_frame, closed, r};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	group_start(r->group);
	address.sin_port = htons(group_port(r->group));
	for (size_t i = 0; i < BENCH_STAGES; i++)
		r->pids[i] = group_pid(r->group, bench_member_names[i]);
	r->reader = stream_reader_new(r->loop, (struct sockaddr *)&address, -1, &h);
	wait_until(r->loop, is_reading, r, "the consumer is connected");
}

void bench_relay_stop(struct bench_relay *r)
{
	if (r->reader)
		stream_reader_free(r->reader);
	r->reader = NULL;
	group_stop(r->group);
}

/* wait_until gives up after a minute, and says nothing meanwhile. */
struct wait {
	struct bench_relay *relay;
	bool (*condition)(void *arg);
	void *arg;
	uint64_t until_usec, progress_usec;
};

static bool part_is_over(void *arg)
{
	struct wait *w = arg;

	return w->condition(w->arg) || loop_now_usec(w->relay->loop) >= w->progress_usec;
}

bool bench_relay_wait(struct bench_relay *r, bool (*condition)(void *arg), void *arg,
		      unsigned seconds, const char *what)
{
	struct wait w = {r, condition, arg, loop_now_usec(r->loop) + seconds * USEC_PER_SEC, 0};
	struct network_counts counts;

	while (!condition(arg)) {
		if (loop_now_usec(r->loop) > w.until_usec) {
			test_fail(__FILE__, __LINE__, "waited too long: %s", what);
			return false;
		}
		w.progress_usec = loop_now_usec(r->loop) + PROGRESS_USEC;
		if (!wait_until(r->loop, part_is_over, &w, what))
			return false;
		network_counts(r->network, &counts);
		if (!condition(arg))
			bench_say("waiting: %s; %u hosts, %" PRIu64 " sent, %" PRIu64
				  " documents, %" PRIu64 " received",
				  what, counts.subscribed, counts.events, counts.documents,
				  r->received);
	}
	return true;
}

static bool has_hosts(void *arg)
{
	struct bench_relay *r = arg;
	struct network_counts counts;

	network_counts(r->network, &counts);
	return counts.subscribed == world_settings(r->world)->hosts;
}

bool bench_relay_wait_hosts(struct bench_relay *r)
{
	return bench_relay_wait(r, has_hosts, r, 300, "every host is subscribed to");
}

static void send_next(struct bench_relay *r)
{
	struct corpus_record record;

	if (corpus_next(r->corpus, &record) != 1 || record.type != CORPUS_EVENT) {
		test_fail(__FILE__, __LINE__, "the corpus has too few events");
		r->limit = r->sent;
		return;
	}
	if (r->on_send)
		r->on_send(r->arg, record.frame);
	network_send(r->network, &record);
	r->sent += record.verdict == VERDICT_ACCEPTED; /* the rest is dropped, and not waited for */
}

static bool is_due(const struct bench_relay *r)
{
	struct network_counts counts;

	if (r->per_sec > 0)
		return r->sent < r->sent_before + (loop_now_usec(r->loop) - r->since_usec) *
							  r->per_sec / USEC_PER_SEC;
	network_counts(r->network, &counts);
	return counts.pending_bytes < PENDING_MAX;
}

static void play(void *arg)
{
	struct bench_relay *r = arg;

	for (unsigned n = 0; n < BURST_MAX && r->sent < r->limit && is_due(r); n++)
		send_next(r);
	if (r->sent < r->limit)
		loop_timer_set(r->loop, &r->timer, TICK_USEC);
}

void bench_relay_play(struct bench_relay *r, struct corpus *corpus, uint64_t count,
		      uint64_t per_sec)
{
	r->corpus = corpus;
	r->limit = r->sent + count;
	r->per_sec = per_sec;
	r->since_usec = loop_now_usec(r->loop);
	r->sent_before = r->sent;
	loop_timer_set(r->loop, &r->timer, 0);
}

void bench_relay_pause(struct bench_relay *r)
{
	loop_timer_cancel(r->loop, &r->timer);
	r->limit = r->sent;
}

bool bench_relay_has_all(void *arg)
{
	const struct bench_relay *r = arg;

	return r->sent == r->limit && r->received >= r->sent;
}

void bench_relay_cpu(const struct bench_relay *r, uint64_t ret_nsec[static BENCH_STAGES])
{
	for (size_t i = 0; i < BENCH_STAGES; i++)
		ret_nsec[i] = bench_other_nsec(r->pids[i]);
}
