#include "ingest/feed.h"

#include <assert.h>
#include <errno.h>

#include "common/limits.h"
#include "common/memory.h"

TAILQ_HEAD(waiter_list, feed_waiter);

struct feed {
	struct loop *loop;
	struct lane *lane;
	struct window window;
	struct feed_handler handler;
	uint64_t *sessions;
	struct loop_timer batch_timer; /* the oldest unsent event is due */
	struct loop_task send_task;
	struct loop_task wake_task;
	bool due; /* what is unsent is to go, even if it is no full batch */
	struct waiter_list waiters;
	size_t waiter_count;
	const struct feed_waiter *woken; /* may put although others wait */
};

static bool is_full_batch(const struct window *w)
{
	return w->unsent_count >= LIMIT_BATCH_EVENTS || w->unsent_bytes >= LIMIT_BATCH_BYTES;
}

static void send_batch(struct feed *f)
{
	struct buf *out = lane_start(f->lane, MESSAGE_EVENTS);
	size_t start = out->len;
	int error;

	for (unsigned n = 0; n < LIMIT_BATCH_EVENTS && out->len - start < LIMIT_BATCH_BYTES; n++) {
		struct window_entry *e = window_send(&f->window);

		if (!e)
			break;
		event_encode(out, &e->event);
	}
	error = lane_send(f->lane);
	assert(!error || error == -EAGAIN || error == -ENOTCONN);
	/* -EAGAIN: the lane keeps it. -ENOTCONN: the next session begins with the whole window. */
}

static void send_batches(void *arg)
{
	struct feed *f = arg;
	struct window *w = &f->window;

	while (w->unsent && (f->due || is_full_batch(w)) && lane_is_open(f->lane) &&
	       lane_is_writable(f->lane))
		send_batch(f);
	if (!w->unsent)
		f->due = false;
	else if (!f->due && !loop_timer_is_set(&f->batch_timer))
		loop_timer_set(f->loop, &f->batch_timer, LIMIT_BATCH_USEC);
}

static void send_what_is_due(void *arg)
{
	struct feed *f = arg;

	f->due = true;
	send_batches(f);
}

static void on_opened(void *arg)
{
	struct feed *f = arg;

	++*f->sessions;
	window_rewind(&f->window);
	f->due = true;
	loop_task_queue(f->loop, &f->send_task);
}

static void on_closed(void *arg)
{
	(void)arg;
}

/* Acknowledgements, and who waits for them. */

static bool is_below_low_mark(const struct window *w)
{
	return w->used_bytes <= w->max_bytes / 4 * 3;
}

/* One round: who is refused again comes last. */
static void wake_waiters(void *arg)
{
	struct feed *f = arg;

	for (size_t n = f->waiter_count; n > 0; n--) {
		struct feed_waiter *w = TAILQ_FIRST(&f->waiters);

		if (!w || !window_has_room(&f->window, w->frame_bytes))
			break;
		feed_forget(w);
		f->woken = w;
		w->wake(w->arg);
	}
	f->woken = NULL;
}

static int take_ack(struct feed *f, const struct ack *a)
{
	struct window_entry *e = window_find(&f->window, a->ticket);

	if (!e)
		return -EBADMSG;
	f->handler.acknowledged(f->handler.arg, e, a->verdict);
	window_remove(&f->window, e);
	return 0;
}

static int on_message(void *arg, enum message_type type, struct reader body)
{
	struct feed *f = arg;
	struct ack a;
	int error = type == MESSAGE_ACKS ? 0 : -EBADMSG;

	while (!error && body.left > 0) {
		error = ack_decode(&body, &a);
		if (!error)
			error = take_ack(f, &a);
	}
	if (f->waiter_count && is_below_low_mark(&f->window))
		loop_task_queue(f->loop, &f->wake_task);
	return error;
}

static void on_foreign(void *arg, unsigned version)
{
	struct feed *f = arg;

	f->handler.foreign(f->handler.arg, f, version);
}

int feed_new(struct loop *l, const char *url, size_t window_bytes, const struct feed_handler *h,
	     uint64_t *sessions, struct feed **ret)
{
	struct feed *f = xcalloc(1, sizeof(*f));
	const struct lane_handler lh = {.opened = on_opened,
					.closed = on_closed,
					.message = on_message,
					.writable = send_what_is_due,
					.foreign = on_foreign,
					.arg = f};
	int error;

	f->loop = l;
	f->handler = *h;
	f->sessions = sessions;
	TAILQ_INIT(&f->waiters);
	window_init(&f->window, window_bytes);
	loop_timer_init(&f->batch_timer, send_what_is_due, f);
	loop_task_init(&f->send_task, send_batches, f);
	loop_task_init(&f->wake_task, wake_waiters, f);
	error = lane_dial_upstream(l, url, &lh, &f->lane);
	if (error) {
		feed_free(f);
		return error;
	}
	*ret = f;
	return 0;
}

void feed_free(struct feed *f)
{
	if (!f)
		return;
	lane_close(f->lane);
	loop_timer_cancel(f->loop, &f->batch_timer);
	loop_task_cancel(f->loop, &f->send_task);
	loop_task_cancel(f->loop, &f->wake_task);
	while (f->waiter_count)
		feed_forget(TAILQ_FIRST(&f->waiters));
	window_release(&f->window);
	free(f);
}

static void wait_for_room(struct feed *f, struct feed_waiter *w, size_t frame_bytes)
{
	assert(!w->feed);
	w->feed = f;
	w->frame_bytes = frame_bytes;
	TAILQ_INSERT_TAIL(&f->waiters, w, link);
	f->waiter_count++;
}

struct window_entry *feed_put(struct feed *f, const struct event *e, struct feed_waiter *w)
{
	struct window_entry *entry;

	if ((f->waiter_count && f->woken != w) || !window_has_room(&f->window, e->frame.len)) {
		wait_for_room(f, w, e->frame.len);
		return NULL;
	}
	entry = window_put(&f->window, e);
	if (is_full_batch(&f->window))
		loop_task_queue(f->loop, &f->send_task);
	else if (!loop_timer_is_set(&f->batch_timer))
		loop_timer_set(f->loop, &f->batch_timer, LIMIT_BATCH_USEC);
	return entry;
}

void feed_forget(struct feed_waiter *w)
{
	if (!w->feed)
		return;
	TAILQ_REMOVE(&w->feed->waiters, w, link);
	w->feed->waiter_count--;
	w->feed = NULL;
}

size_t feed_event_count(const struct feed *f)
{
	return f->window.count;
}

size_t feed_event_bytes(const struct feed *f)
{
	return f->window.used_bytes;
}

uint64_t feed_oldest_usec(const struct feed *f)
{
	return f->window.first ? f->window.first->event.received_usec : 0;
}

int64_t feed_memory_bytes(const struct feed *f)
{
	return memory_block_bytes(f) + window_memory_bytes(&f->window);
}

size_t feed_waiter_count(const struct feed *f)
{
	return f->waiter_count;
}
