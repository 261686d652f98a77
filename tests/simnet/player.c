#include "tests/simnet/player.h"

#include <assert.h>
#include <stdlib.h>

#define TICK_USEC    USEC_PER_MSEC
#define ARREARS_USEC USEC_PER_SEC /* more time without sending is not made up for */
#define BURST_MAX    256          /* events, before everything else on the loop has its turn */

struct player {
	struct corpus *corpus;
	struct world *world;
	struct network *network;
	struct judge *judge;
	struct loop *loop;
	struct loop_timer timer;
	uint64_t per_sec;
	uint64_t since_usec; /* the time up to which events are sent, at a rate */
	uint64_t arrears_usec;
	bool makes_up_waits;
	uint64_t sent;
	uint64_t end; /* of sent; then it stops */
	void (*on_send)(void *arg, const struct corpus_record *r);
	void *arg;
	bool at_barrier;
	bool done;
};

static void play(void *arg);

struct player *player_new(struct loop *l, struct corpus *c, struct world *w, struct network *n,
			  struct judge *j, uint64_t per_sec)
{
	struct player *p = xcalloc(1, sizeof(*p));

	p->loop = l;
	p->corpus = c;
	p->world = w;
	p->network = n;
	p->judge = j;
	p->per_sec = per_sec;
	p->arrears_usec = ARREARS_USEC;
	loop_timer_init(&p->timer, play, p);
	return p;
}

void player_free(struct player *p)
{
	if (!p)
		return;
	player_stop(p);
	free(p);
}

static void start(struct player *p, uint64_t end)
{
	if (p->done || loop_timer_is_set(&p->timer))
		return;
	p->end = end;
	p->since_usec = loop_now_usec(p->loop);
	loop_timer_set(p->loop, &p->timer, 0);
}

void player_start(struct player *p)
{
	start(p, UINT64_MAX);
}

void player_start_for(struct player *p, uint64_t events)
{
	start(p, p->sent + events);
}

void player_on_send(struct player *p, void (*f)(void *arg, const struct corpus_record *r),
		    void *arg)
{
	p->on_send = f;
	p->arg = arg;
}

void player_stop(struct player *p)
{
	loop_timer_cancel(p->loop, &p->timer);
}

void player_set_rate(struct player *p, uint64_t per_sec)
{
	p->per_sec = per_sec;
	p->since_usec = loop_now_usec(p->loop);
}

void player_make_up(struct player *p, uint64_t usec)
{
	p->makes_up_waits = true;
	p->arrears_usec = usec;
}

bool player_is_done(const struct player *p)
{
	return p->done;
}

uint64_t player_sent(const struct player *p)
{
	return p->sent;
}

static void send_event(struct player *p, const struct corpus_record *r)
{
	if (p->judge)
		judge_sent(p->judge, r);
	if (p->on_send)
		p->on_send(p->arg, r);
	network_send(p->network, r);
	p->sent++;
}

/* Up to the next event, or a barrier that holds; whether an event was sent. */
static bool play_next(struct player *p)
{
	struct corpus_record r;

	for (;;) {
		int more;

		if (p->at_barrier && p->judge && !judge_is_complete(p->judge))
			return false;
		p->at_barrier = false;
		more = corpus_next(p->corpus, &r);
		assert(more >= 0);
		p->done = more == 0;
		if (p->done)
			return false;
		if (r.type == CORPUS_EVENT) {
			send_event(p, &r);
			return true;
		}
		if (r.type == CORPUS_IDENTITY)
			world_change(p->world, r.account, &r.identity);
		else
			p->at_barrier = true;
	}
}

/* Events that are due now. */
static uint64_t count_due(struct player *p)
{
	uint64_t now = loop_now_usec(p->loop);

	if (p->per_sec == 0)
		return BURST_MAX;
	if (now - p->since_usec > p->arrears_usec)
		p->since_usec = now - p->arrears_usec;
	return (now - p->since_usec) * p->per_sec / USEC_PER_SEC;
}

/* The time of what was sent is used up; the rest of a tick stays for the next. */
static void count_sent(struct player *p, uint64_t sent)
{
	if (p->per_sec > 0)
		p->since_usec += sent * USEC_PER_SEC / p->per_sec;
}

static bool is_full(const struct player *p)
{
	struct network_counts counts;

	if (p->per_sec > 0)
		return false;
	network_counts(p->network, &counts);
	return counts.pending_bytes > PLAYER_PENDING_BYTES;
}

static void play(void *arg)
{
	struct player *p = arg;
	uint64_t due = count_due(p), sent = 0;

	if (due > p->end - p->sent)
		due = p->end - p->sent;
	while (sent < due && sent < BURST_MAX && !is_full(p) && play_next(p))
		sent++;
	count_sent(p, sent);
	if (p->done || p->sent == p->end)
		return;
	if (p->at_barrier && !p->makes_up_waits)
		p->since_usec = loop_now_usec(p->loop);
	loop_timer_set(p->loop, &p->timer, sent == BURST_MAX ? 0 : TICK_USEC);
}
