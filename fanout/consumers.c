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
	return (int64_t)(s->count * sizeof(struct consumer) + quota_bytes(&s->quota));
}

static int64_t count_closing(void *arg)
{
	const struct consumers *s = arg;
	int64_t n = 0;

	for (const struct consumer *c = s->first; c; c = c->next)
		n += c->closing;
	return n;
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

static const char *const room_names[ROOM_COUNT] = {
	[ROOM_STOPPING] = "stopping",
	[ROOM_UNKNOWN] = "unknown",
	[ROOM_FULL] = "full",
	[ROOM_CLIENT_FULL] = "client",
};

static void register_metrics(struct consumers *s, struct metrics *m)
{
	metrics_gauge_call(m, "relay_consumers", "Connected consumers.", NULL, count_consumers, s);
	metrics_gauge_call(m, "relay_consumers_closing",
			   "Of these, consumers that were told to go and are not gone yet.", NULL,
			   count_closing, s);
	metrics_gauge_call(m, "relay_consumer_lag_events",
			   "Events that the consumer farthest behind has still to be sent.", NULL,
			   find_lag, s);
	s->started_total = metrics_counter(m, "relay_consumers_total", "Consumers ever connected.",
					   NULL);
	s->events_total = metrics_counter(m, "relay_events_sent_total",
					  "Events sent, over all consumers.", NULL);
	s->bytes_total = metrics_counter(m, "relay_bytes_sent_total", "Bytes sent to consumers.",
					 NULL);
	for (size_t r = ROOM_FREE + 1; r < ROOM_COUNT; r++) {
		char labels[64];
		snprintf(labels, sizeof(labels), "reason=\"%s\"", room_names[r]);
		s->refused_total[r] = metrics_counter(
			m, "relay_consumers_refused_total",
			"Consumers refused before the handshake, by reason.", labels);
	}
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
	quota_init(&s->quota);
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
	quota_release(&s->quota);
}

/* A cursor may be right that is beyond what store can say. */
static bool is_known(const struct window *w, const struct cursor *c)
{
	return w->known && !(w->has_more && c->given && c->seq >= w->head.next_seq);
}

static enum room find_room(const struct consumers *s, const struct visitor *who,
			   const struct cursor *cursor)
{
	if (s->stopping)
		return ROOM_STOPPING;
	if (!is_known(s->window, cursor))
		return ROOM_UNKNOWN;
	if (s->places >= s->settings.max)
		return ROOM_FULL;
	if (who->is_counted && s->settings.max_per_client > 0 &&
	    quota_count(&s->quota, &who->address) >= s->settings.max_per_client)
		return ROOM_CLIENT_FULL;
	return ROOM_FREE;
}

enum room consumers_take_place(struct consumers *s, const struct visitor *who,
			       const struct cursor *cursor)
{
	enum room room = find_room(s, who, cursor);

	if (room != ROOM_FREE) {
		++*s->refused_total[room];
		return room;
	}
	s->places++;
	if (who->is_counted)
		quota_add(&s->quota, &who->address);
	return ROOM_FREE;
}

void consumers_give_back(struct consumers *s, const struct visitor *who)
{
	s->places--;
	if (who->is_counted)
		quota_remove(&s->quota, &who->address);
}

void consumers_add(struct consumers *s, const struct wire *wire, const struct visitor *who,
		   const struct cursor *cursor, struct span extra)
{
	uint64_t seq;
	enum cursor_place place = cursor_find(cursor, &s->window->head, &seq);
	struct consumer *c = consumer_new(s, wire, place == CURSOR_FUTURE ? cursor->seq + 1 : seq,
					  who);

	if (place == CURSOR_OUTDATED)
		notice_put_info(
			&c->out, "OutdatedCursor",
			"The cursor is older than what is kept; the oldest that is follows.");
	if (place == CURSOR_FUTURE) {
		c->ahead_since_usec = loop_now_usec(s->loop);
		s->ahead_count++;
	}
	if (s->stopping) /* its handshake was under way */
		consumer_close(c, END_RESTART);
	else
		consumer_feed(c, extra);
}

void consumers_judge_ahead(struct consumers *s)
{
	uint64_t now_usec = loop_now_usec(s->loop);
	bool can_tell = s->ahead_count > 0 && !s->window->has_more;
	struct consumer *c = can_tell ? s->first : NULL;

	for (struct consumer *next; c; c = next) {
		next = c->next;
		if (c->ahead_since_usec == 0)
			continue;
		if (c->place.seq <= s->window->head.next_seq) {
			c->ahead_since_usec = 0;
			s->ahead_count--;
		} else if (now_usec - c->ahead_since_usec >= CONSUMERS_AHEAD_USEC) {
			consumer_close(c, END_FUTURE_CURSOR);
		}
	}
}

static uint64_t monotonic_usec(void)
{
	struct timespec ts = {0};

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

/* None after a pass that took long enough for events to gather. */
static uint64_t rest_after(uint64_t pass_usec)
{
	uint64_t left_usec = pass_usec < 2 * CONSUMERS_REST_USEC
				     ? 2 * CONSUMERS_REST_USEC - pass_usec
				     : 0;

	return pass_usec < left_usec ? pass_usec : left_usec;
}

/* A part of a pass. */
static void serve_some(struct consumers *s)
{
	uint64_t usec = monotonic_usec();

	for (size_t i = 0; s->next_served && i < CONSUMERS_SERVED_AT_ONCE; i++) {
		struct consumer *c = s->next_served;

		s->next_served = c->next;
		if (!(c->events & EPOLLOUT))
			consumer_pump(c);
	}
	usec = monotonic_usec() - usec;
	s->pass_usec += usec;
	if (s->next_served) {
		loop_timer_set(s->loop, &s->rest, 0); /* in the loop's next turn */
		return;
	}
	uint64_t rest_usec = rest_after(s->pass_usec);
	/* The loop's time is that of the turn's beginning, nearly this part's. */
	if (rest_usec >= REST_USEC_MIN || s->wake_due)
		loop_timer_set(s->loop, &s->rest, usec + rest_usec);
}

static void on_wake(void *arg)
{
	struct consumers *s = arg;

	s->next_served = s->first;
	s->pass_usec = 0;
	serve_some(s);
}

static void on_rested(void *arg)
{
	struct consumers *s = arg;

	if (s->next_served) {
		serve_some(s);
		return;
	}
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
