#include "fanout/consumers.h"

#include <assert.h>

#include "fanout/notice.h"

#define CHECKS_PER_TIMEOUT 4 /* how finely deadlines are kept */
#define CHECK_USEC_MAX                                                                             \
	USEC_PER_SEC /* so that closing takes CONSUMER_CLOSE_USEC and one second at most */
#define LOG_LINES_PER_MINUTE 60
#define REST_USEC_MIN        200 /* less is not worth a timer, which keeps milliseconds */

static void on_wake(void *arg);
static void on_rested(void *arg);
static void on_check(void *arg);
static void on_drain(void *arg);

static int64_t count_consumers(void *arg)
{
	const struct consumers *s = arg;
	return (int64_t)s->count;
}

static int64_t count_bytes(void *arg)
{
	const struct consumers *s = arg;
	return (int64_t)(s->count * sizeof(struct consumer));
}

static int64_t find_lag(void *arg)
{
	const struct consumers *s = arg;
	uint64_t most = 0;

	for (const struct consumer *c = s->first; c; c = c->next) {
		uint64_t lag = consumer_lag(c);
		most = lag > most ? lag : most;
	}
	return (int64_t)most;
}

static void register_metrics(struct consumers *s, struct metrics *m)
{
	metrics_gauge_call(m, "relay_consumers", "Connected consumers.", NULL, count_consumers, s);
	metrics_gauge_call(m, "relay_consumer_lag_events",
			   "Events that the consumer farthest behind has still to be sent.", NULL,
			   find_lag, s);
	s->started_total = metrics_counter(m, "relay_consumers_total", "Consumers ever connected.",
					   NULL);
	s->events_total = metrics_counter(m, "relay_events_sent_total",
					  "Events sent, over all consumers.", NULL);
	s->bytes_total = metrics_counter(m, "relay_bytes_sent_total", "Bytes sent to consumers.",
					 NULL);
	for (size_t e = 0; e < END_COUNT; e++) {
		char labels[64];
		snprintf(labels, sizeof(labels), "reason=\"%s\"",
			 consumer_end_name((enum consumer_end)e));
		s->ends_total[e] = metrics_counter(m, "relay_consumer_closes_total",
						   "Consumers that ended, by reason.", labels);
	}
}

void consumers_init(struct consumers *s, struct loop *l, struct window *w,
		    const struct consumers_settings *settings, struct metrics *m, struct memory *a)
{
	*s = (struct consumers){
		.loop = l,
		.window = w,
		.settings = *settings,
		.log_limit = {.burst = LOG_LINES_PER_MINUTE, .period_usec = 60 * USEC_PER_SEC},
	};
	loop_task_init(&s->wake, on_wake, s);
	loop_timer_init(&s->rest, on_rested, s);
	loop_timer_init(&s->check, on_check, s);
	loop_timer_init(&s->drain, on_drain, s);
	register_metrics(s, m);
	memory_register(a, "consumers", count_bytes, s);
	on_check(s);
}

void consumers_release(struct consumers *s)
{
	s->stopping = false;
	while (s->first)
		consumer_free(s->first, END_RESTART);
	loop_task_cancel(s->loop, &s->wake);
	loop_timer_cancel(s->loop, &s->rest);
	loop_timer_cancel(s->loop, &s->check);
	loop_timer_cancel(s->loop, &s->drain);
}

bool consumers_are_full(const struct consumers *s)
{
	return s->count >= s->settings.max || s->stopping;
}

void consumers_add(struct consumers *s, const struct wire *wire, const struct cursor *cursor,
		   struct span extra)
{
	uint64_t seq;
	enum cursor_place place = cursor_find(cursor, &s->window->head, &seq);
	struct consumer *c = consumer_new(s, wire, seq);

	if (place == CURSOR_OUTDATED)
		notice_put_info(
			&c->out, "OutdatedCursor",
			"The cursor is older than what is kept; the oldest that is follows.");
	if (place == CURSOR_FUTURE)
		consumer_close(c, END_FUTURE_CURSOR);
	else if (s->stopping) /* its handshake was under way */
		consumer_close(c, END_RESTART);
	else
		consumer_feed(c, extra);
}

static uint64_t monotonic_usec(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static void on_wake(void *arg)
{
	struct consumers *s = arg;
	uint64_t took_usec = monotonic_usec();

	for (struct consumer *c = s->first, *next; c; c = next) {
		next = c->next;
		if (!(c->events & EPOLLOUT))
			consumer_pump(c);
	}
	took_usec = monotonic_usec() - took_usec;
	took_usec = took_usec < CONSUMERS_REST_USEC ? took_usec : CONSUMERS_REST_USEC;
	/* The loop's time is that of the turn's beginning. */
	if (took_usec >= REST_USEC_MIN)
		loop_timer_set(s->loop, &s->rest, 2 * took_usec);
}

static void on_rested(void *arg)
{
	struct consumers *s = arg;

	if (s->wake_due)
		loop_task_queue(s->loop, &s->wake);
	s->wake_due = false;
}

void consumers_wake(struct consumers *s)
{
	if (loop_timer_is_set(&s->rest))
		s->wake_due = true;
	else
		loop_task_queue(s->loop, &s->wake);
}

static void on_check(void *arg)
{
	struct consumers *s = arg;
	uint64_t now = loop_now_usec(s->loop);
	uint64_t wait = s->settings.ping_usec < s->settings.progress_usec
				? s->settings.ping_usec
				: s->settings.progress_usec;

	for (struct consumer *c = s->first, *next; c; c = next) {
		next = c->next;
		consumer_check(c, now);
	}
	wait /= CHECKS_PER_TIMEOUT;
	loop_timer_set(s->loop, &s->check, wait < CHECK_USEC_MAX ? wait : CHECK_USEC_MAX);
}

void consumers_close_all(struct consumers *s, enum consumer_end end)
{
	for (struct consumer *c = s->first, *next; c; c = next) {
		next = c->next;
		consumer_close(c, end);
	}
}

/* Closes as many more as are due by now. */
static void on_drain(void *arg)
{
	struct consumers *s = arg;
	uint64_t past_usec = loop_now_usec(s->loop) - s->drain_since_usec;
	size_t due = s->drain_count;

	if (past_usec < s->drain_usec)
		due = (size_t)((double)s->drain_count * (double)past_usec / (double)s->drain_usec);
	if (s->drain_next)
		loop_timer_set(s->loop, &s->drain, CONSUMERS_DRAIN_STEP_USEC);
	while (s->drain_next && s->drained <= due) {
		struct consumer *c = s->drain_next;

		s->drain_next = c->next;
		s->drained++;
		consumer_close(c, END_RESTART);
	}
}

void consumers_stop(struct consumers *s, void (*stopped)(void *arg), void *arg)
{
	uint64_t most_usec = s->count * CONSUMERS_DRAIN_STEP_USEC;

	assert(!s->stopping);
	s->stopping = true;
	s->stopped = stopped;
	s->stopped_arg = arg;
	if (s->count == 0) {
		stopped(arg);
		return;
	}
	s->drain_since_usec = loop_now_usec(s->loop);
	s->drain_usec = s->settings.drain_usec < most_usec ? s->settings.drain_usec : most_usec;
	s->drain_count = s->count;
	s->drain_next = s->first;
	on_drain(s);
}
