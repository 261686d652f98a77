#include "validate/inquiry.h"

#include <assert.h>
#include <sys/queue.h>
#include <sys/random.h>

#include "common/limits.h"
#include "common/memory.h"
#include "common/pipe.h"

#define SLOTS_MIN        64
#define ANSWER_USEC      (5 * USEC_PER_SEC)
#define BACKOFF_MIN_USEC (1 * USEC_PER_SEC)
#define BACKOFF_MAX_USEC (30 * USEC_PER_SEC)
/* Of one event: because nothing is known, or it is too old; its host; its signature. What is asked
 * more often is not answered as it was asked. */
#define ASKED_AT_ONCE    3
/* Of its time, however old it is when it comes: what waited elsewhere (a stage was away, the disk
 * was full) must have a chance to be answered. */
#define WAIT_PART        10

/* One allocation: this, the host's name, the frame. */
struct waiting {
	STAILQ_ENTRY(waiting) next;
	struct event event;
	uint64_t until_usec; /* loop_now_usec: the end of its time */
	uint8_t bytes[];
};

enum state {
	STATE_NEW,
	STATE_TO_ASK, /* the pipe did not take the question yet */
	STATE_ASKED,
	STATE_PAUSE, /* until the next try */
	STATE_READY,
};

struct inquiry {
	struct inquiries *all;
	struct inquiry *next_in_slot;
	TAILQ_ENTRY(inquiry) next_in_line; /* to ask, or ready */
	STAILQ_HEAD(, waiting) events;
	enum state state;
	uint64_t hash;
	uint64_t host_id;
	uint64_t newer_than_usec;
	uint64_t pause_usec;
	unsigned asked; /* since its first event is the first */
	struct loop_timer timer;
	size_t did_len;
	uint8_t did[];
};

TAILQ_HEAD(line, inquiry);

struct inquiries {
	struct loop *loop;
	struct pipe *pipe;
	struct inquiry_handler handler;
	uint64_t wait_usec;
	bool is_foreign; /* resolve speaks another version */
	uint64_t secret; /* so that nobody can choose DIDs that meet in one slot */
	size_t slot_count, count;
	struct inquiry **slots;
	struct line to_ask;
	struct line ready;
	size_t event_count;
	int64_t bytes; /* of inquiries and events, as they take it on the heap */
	struct buf message;
};

static struct span did_of(const struct inquiry *q)
{
	return span_of(q->did, q->did_len);
}

/* The table: all hosts' inquiries about one DID are in one slot. */

static uint64_t hash_of(const struct inquiries *s, struct span did)
{
	uint64_t h = s->secret;

	for (size_t i = 0; i < did.len; i++) {
		h = (h ^ did.ptr[i]) * UINT64_C(0x9fb21c651e98df25);
		h ^= h >> 32;
	}
	return h;
}

static struct inquiry **slot_of(const struct inquiries *s, uint64_t hash)
{
	return &s->slots[hash & (s->slot_count - 1)];
}

static void put_in_slot(struct inquiries *s, struct inquiry *q)
{
	struct inquiry **slot = slot_of(s, q->hash);

	q->next_in_slot = *slot;
	*slot = q;
}

static void grow(struct inquiries *s)
{
	struct inquiry **old = s->slots, *next;
	size_t old_count = s->slot_count;

	s->slot_count *= 2;
	s->slots = xcalloc(s->slot_count, sizeof(*s->slots));
	for (size_t i = 0; i < old_count; i++)
		for (struct inquiry *q = old[i]; q; q = next) {
			next = q->next_in_slot;
			put_in_slot(s, q);
		}
	free(old);
}

struct inquiry *inquiries_find(struct inquiries *s, struct span did, uint64_t host_id)
{
	struct inquiry *q = *slot_of(s, hash_of(s, did));

	while (q && (q->host_id != host_id || !span_equal(did_of(q), did)))
		q = q->next_in_slot;
	return q;
}

/* Events */

/* What is left of the time of an event that was received then. */
static uint64_t time_left(const struct inquiries *s, uint64_t received_uptime_usec)
{
	const uint64_t age = uptime_usec() - received_uptime_usec;
	const uint64_t left = age < s->wait_usec ? s->wait_usec - age : 0;
	const uint64_t least = s->wait_usec / WAIT_PART;

	return left > least ? left : least;
}

void inquiry_append(struct inquiry *q, const struct event *e)
{
	struct inquiries *s = q->all;
	struct waiting *w = xmalloc(sizeof(*w) + e->host.len + e->frame.len);

	w->event = *e;
	w->until_usec = loop_now_usec(s->loop) + time_left(s, e->received_uptime_usec);
	w->event.host = span_of(w->bytes, e->host.len);
	w->event.frame = span_of(w->bytes + e->host.len, e->frame.len);
	memcpy(w->bytes, e->host.ptr, e->host.len);
	memcpy(w->bytes + e->host.len, e->frame.ptr, e->frame.len);
	STAILQ_INSERT_TAIL(&q->events, w, next);
	s->event_count++;
	s->bytes += memory_block_bytes(w);
}

static void drop_first(struct inquiry *q)
{
	struct waiting *w = STAILQ_FIRST(&q->events);

	STAILQ_REMOVE_HEAD(&q->events, next);
	q->all->event_count--;
	q->all->bytes -= memory_block_bytes(w);
	free(w);
}

void inquiry_first(const struct inquiry *q, struct event *ret)
{
	*ret = STAILQ_FIRST(&q->events)->event;
}

/* Inquiries */

/* Out of the line it stands in, if it does, and with no timer set. */
static void set_state(struct inquiry *q, enum state state)
{
	struct inquiries *s = q->all;

	if (q->state == STATE_TO_ASK)
		TAILQ_REMOVE(&s->to_ask, q, next_in_line);
	else if (q->state == STATE_READY)
		TAILQ_REMOVE(&s->ready, q, next_in_line);
	loop_timer_cancel(s->loop, &q->timer);
	q->state = state;
	if (state == STATE_TO_ASK)
		TAILQ_INSERT_TAIL(&s->to_ask, q, next_in_line);
	else if (state == STATE_READY)
		TAILQ_INSERT_TAIL(&s->ready, q, next_in_line);
}

static void inquiry_free(struct inquiry *q)
{
	struct inquiries *s = q->all;
	struct inquiry **at = slot_of(s, q->hash);

	set_state(q, STATE_NEW);
	while (!STAILQ_EMPTY(&q->events))
		drop_first(q);
	while (*at != q)
		at = &(*at)->next_in_slot;
	*at = q->next_in_slot;
	s->count--;
	s->bytes -= memory_block_bytes(q);
	free(q);
}

bool inquiry_pop(struct inquiry *q)
{
	drop_first(q);
	q->asked = 0;
	if (!STAILQ_EMPTY(&q->events))
		return true;
	inquiry_free(q);
	return false;
}

/* How long until the first event's time is over. */
static uint64_t patience(const struct inquiry *q)
{
	const uint64_t now = loop_now_usec(q->all->loop);
	const uint64_t until = STAILQ_FIRST(&q->events)->until_usec;

	return until > now ? until - now : 0;
}

/* A state that ends by itself: after usec, or when the first event's time is over. */
static void set_state_for(struct inquiry *q, enum state state, uint64_t usec)
{
	uint64_t left = patience(q);

	set_state(q, state);
	loop_timer_set(q->all->loop, &q->timer, usec < left ? usec : left);
}

/* Asks now, or when the pipe takes it. */
static bool try_to_ask(struct inquiry *q)
{
	struct inquiries *s = q->all;
	const struct lookup lookup = {
		.newer_than_usec = q->newer_than_usec, .host_id = q->host_id, .did = did_of(q)};
	bool is_sent;

	buf_clear(&s->message);
	message_put_type(&s->message, MESSAGE_LOOKUP);
	lookup_encode(&s->message, &lookup);
	is_sent = pipe_send(s->pipe, buf_span(&s->message)) == 0;
	set_state_for(q, is_sent ? STATE_ASKED : STATE_TO_ASK, ANSWER_USEC);
	return is_sent;
}

static void pause_inquiry(struct inquiry *q)
{
	set_state_for(q, STATE_PAUSE, q->pause_usec);
	q->pause_usec = 2 * q->pause_usec < BACKOFF_MAX_USEC ? 2 * q->pause_usec : BACKOFF_MAX_USEC;
}

void inquiry_ask(struct inquiry *q, uint64_t newer_than_usec)
{
	q->newer_than_usec = newer_than_usec;
	if (q->asked++ < ASKED_AT_ONCE) {
		q->pause_usec = BACKOFF_MIN_USEC;
		try_to_ask(q);
	} else {
		pause_inquiry(q);
	}
}

/* Gives back the events whose time is over. False if that was all of them. */
static bool expire(struct inquiry *q)
{
	struct inquiries *s = q->all;
	struct event e;

	do {
		if (patience(q) > 0)
			return true;
		inquiry_first(q, &e);
		s->handler.expired(s->handler.arg, &e);
	} while (inquiry_pop(q));
	return false;
}

/* There was no answer, or the pause is over. */
static void timer_fired(void *arg)
{
	struct inquiry *q = arg;

	if (expire(q))
		try_to_ask(q);
}

struct inquiry *inquiries_begin(struct inquiries *s, struct span did, const struct event *e)
{
	struct inquiry *q = xmalloc(sizeof(*q) + did.len);

	*q = (struct inquiry){
		.all = s,
		.hash = hash_of(s, did),
		.host_id = e->host_id,
		.did_len = did.len,
	};
	memcpy(q->did, did.ptr, did.len);
	STAILQ_INIT(&q->events);
	loop_timer_init(&q->timer, timer_fired, q);
	if (s->count == s->slot_count)
		grow(s);
	put_in_slot(s, q);
	s->count++;
	s->bytes += memory_block_bytes(q);
	inquiry_append(q, e);
	return q;
}

struct inquiry *inquiries_take_ready(struct inquiries *s)
{
	struct inquiry *q = TAILQ_FIRST(&s->ready);

	if (q)
		set_state(q, STATE_NEW);
	return q;
}

void inquiry_put_back(struct inquiry *q)
{
	set_state(q, STATE_READY);
}

/* The pipe */

static void ask_all_in_line(struct inquiries *s)
{
	struct inquiry *q;

	while ((q = TAILQ_FIRST(&s->to_ask)) && try_to_ask(q))
		;
}

/* An answer that was on its way when the pipe broke is lost: all are asked again. */
static void pipe_up(void *arg)
{
	struct inquiries *s = arg;

	for (size_t i = 0; i < s->slot_count; i++)
		for (struct inquiry *q = s->slots[i]; q; q = q->next_in_slot)
			if (q->state == STATE_ASKED)
				set_state_for(q, STATE_TO_ASK, ANSWER_USEC);
	ask_all_in_line(s);
}

static void pipe_down(void *arg)
{
	struct inquiries *s = arg;

	s->is_foreign = false;
}

static void pipe_writable(void *arg)
{
	ask_all_in_line(arg);
}

static bool is_answered(const struct inquiry *q, const struct identity *i)
{
	return q->state != STATE_READY && i->fetched_usec >= q->newer_than_usec;
}

/* Tells all inquiries about this DID. Those that want a newer answer go on waiting for it. */
static void tell(struct inquiries *s, const struct identity *i)
{
	struct inquiry *q = *slot_of(s, hash_of(s, i->did)), *next;

	for (; q; q = next) {
		next = q->next_in_slot;
		if (!span_equal(did_of(q), i->did))
			continue;
		if (i->status != IDENTITY_UNAVAILABLE && is_answered(q, i))
			set_state(q, STATE_READY);
		else if (i->status == IDENTITY_UNAVAILABLE && q->state == STATE_ASKED && expire(q))
			pause_inquiry(q);
	}
	if (!TAILQ_EMPTY(&s->ready))
		s->handler.ready(s->handler.arg);
}

static void pipe_message(void *arg, struct span message)
{
	struct inquiries *s = arg;
	struct reader r = reader_of(message);
	enum message_type type;
	struct identity i;
	unsigned version;

	if (s->is_foreign)
		return;
	if (message_is_foreign(message, &version)) {
		s->is_foreign = true;
		s->handler.foreign(s->handler.arg, version);
		return;
	}
	if (message_get_type(&r, &type) < 0 || type != MESSAGE_IDENTITY ||
	    identity_decode(&r, &i) < 0) {
		pipe_break(s->pipe);
		return;
	}
	if (i.status != IDENTITY_UNAVAILABLE)
		s->handler.answered(s->handler.arg, &i);
	tell(s, &i);
}

int inquiries_new(struct loop *l, const char *url, uint64_t wait_usec,
		  const struct inquiry_handler *h, struct inquiries **ret)
{
	struct inquiries *s = xcalloc(1, sizeof(*s));
	const struct pipe_handler handler = {
		.up = pipe_up,
		.down = pipe_down,
		.message = pipe_message,
		.writable = pipe_writable,
		.arg = s,
	};
	ssize_t n = getrandom(&s->secret, sizeof(s->secret), 0);
	int error;

	assert(n == sizeof(s->secret));
	s->loop = l;
	s->handler = *h;
	s->wait_usec = wait_usec;
	s->slot_count = SLOTS_MIN;
	s->slots = xcalloc(s->slot_count, sizeof(*s->slots));
	TAILQ_INIT(&s->to_ask);
	TAILQ_INIT(&s->ready);
	buf_init(&s->message, LIMIT_MESSAGE);
	error = pipe_dial_pair(l, url, &handler, &s->pipe);
	if (error < 0) {
		inquiries_free(s);
		return error;
	}
	*ret = s;
	return 0;
}

void inquiries_clear(struct inquiries *s)
{
	for (size_t i = 0; i < s->slot_count; i++)
		while (s->slots[i])
			inquiry_free(s->slots[i]);
}

void inquiries_free(struct inquiries *s)
{
	if (!s)
		return;
	inquiries_clear(s);
	pipe_close(s->pipe);
	buf_release(&s->message);
	free(s->slots);
	free(s);
}

int64_t inquiries_event_count(void *inquiries)
{
	const struct inquiries *s = inquiries;

	return (int64_t)s->event_count;
}

int64_t inquiries_memory_bytes(void *inquiries)
{
	const struct inquiries *s = inquiries;

	return memory_block_bytes(s) + s->bytes + memory_block_bytes(s->slots) +
	       memory_block_bytes(s->message.ptr);
}
