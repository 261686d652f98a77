#include "tests/bench/relay.h"

#include <signal.h>

#define PROGRESS_USEC (10 * USEC_PER_SEC)

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

void bench_relay_open(struct bench_relay *r, const struct world_settings *w,
		      const char *const *settings)
{
	struct world_settings world = *w;

	*r = (struct bench_relay){.loop = loop_new()};
	let_signals_end_us();
	world.port = free_port();
	bench_setting("network", "%u %s hosts, %u accounts", world.hosts,
		      world.plain ? "plain" : "TLS", world.accounts);
	r->world = world_new(&world);
	r->network = network_new(r->loop, r->world);
	r->group = relay_new(r->loop, r->network, settings);
	bench_settings(group_settings(r->group));
}

void bench_relay_close(struct bench_relay *r)
{
	bench_relay_stop(r);
	group_free(r->group);
	if (r->player)
		player_free(r->player);
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

	group_start(r->group);
	for (size_t i = 0; i < BENCH_STAGES; i++)
		r->pids[i] = group_pid(r->group, bench_member_names[i]);
	r->reader = relay_read(r->loop, r->group, -1, &h);
	wait_until(r->loop, is_reading, r, "the consumer is connected");
}

void bench_relay_stop(struct bench_relay *r)
{
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

bool bench_relay_wait_hosts(struct bench_relay *r)
{
	return bench_relay_wait(r, relay_has_hosts, r->network, 300, "every host is subscribed to");
}

static void note_sent(void *arg, const struct corpus_record *record)
{
	struct bench_relay *r = arg;

	/* The rest is dropped, and not waited for. */
	r->due += record->verdict == VERDICT_ACCEPTED;
	if (r->on_send)
		r->on_send(r->arg, record->frame);
}

void bench_relay_play(struct bench_relay *r, struct corpus *corpus, uint64_t count,
		      uint64_t per_sec)
{
	if (!r->player) {
		r->player = player_new(r->loop, corpus, r->world, r->network, NULL, per_sec);
		player_on_send(r->player, note_sent, r);
	}
	r->end = player_sent(r->player) + count;
	player_set_rate(r->player, per_sec);
	player_start_for(r->player, count);
}

void bench_relay_pause(struct bench_relay *r)
{
	player_stop(r->player);
	r->end = player_sent(r->player);
}

bool bench_relay_has_all(void *arg)
{
	const struct bench_relay *r = arg;

	return player_sent(r->player) == r->end && r->received >= r->due;
}

void bench_relay_cpu(const struct bench_relay *r, uint64_t ret_nsec[static BENCH_STAGES])
{
	for (size_t i = 0; i < BENCH_STAGES; i++)
		ret_nsec[i] = bench_other_nsec(r->pids[i]);
}
