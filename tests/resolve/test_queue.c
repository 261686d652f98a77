#include "resolve/queue.h"

#include "tests/test.h"

#define FETCHES 16

/* Fetches by number, in one queue. */
struct stand {
	struct loop *loop;
	struct fetches *all;
	struct queue queue;
	struct fetch *fetches[FETCHES];
};

static void not_due(void *fetch)
{
	(void)fetch;
	test_fail(__FILE__, __LINE__, "no timer was set");
}

static void stand_open(struct stand *s)
{
	char did[64];

	*s = (struct stand){.loop = loop_new()};
	s->all = fetches_new(s->loop);
	queue_init(&s->queue);
	for (unsigned i = 0; i < FETCHES; i++) {
		snprintf(did, sizeof(did), "did:web:%u.example.com", i);
		s->fetches[i] = fetch_new(s->all, span_str(did), DID_METHOD_WEB, not_due, NULL);
	}
}

static void stand_close(struct stand *s)
{
	queue_release(&s->queue);
	CHECK_INT(queue_bytes(&s->queue), 0);
	fetches_free(s->all);
	loop_free(s->loop);
}

static void put(struct stand *s, unsigned n, uint64_t host_id)
{
	s->fetches[n]->host_id = host_id;
	queue_put(&s->queue, s->fetches[n]);
}

/* The next ones are these, by number, and then -1. */
static void check_order(struct stand *s, const int *want)
{
	for (; *want >= 0; want++) {
		struct fetch *f = queue_peek(&s->queue);

		if (f != s->fetches[*want])
			test_fail(__FILE__, __LINE__, "not %d", *want);
		CHECK(f && queue_get(&s->queue) == f && !f->queue);
	}
	CHECK(!queue_peek(&s->queue));
	CHECK_INT(s->queue.count, 0);
	CHECK_INT(queue_bytes(&s->queue), 0);
}

TEST(hosts_take_turns)
{
	struct stand s;

	stand_open(&s);
	for (unsigned i = 0; i < 5; i++)
		put(&s, i, 7);
	put(&s, 5, 12);
	put(&s, 6, 31);
	put(&s, 7, 31);
	CHECK_INT(s.queue.count, 8);
	CHECK_INT(queue_length(&s.queue, 7), 5);
	CHECK_INT(queue_length(&s.queue, 31), 2);
	CHECK_INT(queue_length(&s.queue, 7 + QUEUE_BUCKETS), 0);
	check_order(&s, (const int[]){0, 5, 6, 1, 7, 2, 3, 4, -1});
	stand_close(&s);
}

/* Who comes when all others have had a turn is next after them, not before. */
TEST(a_line_that_begins_anew_is_the_last_one)
{
	struct stand s;

	stand_open(&s);
	put(&s, 0, 1);
	put(&s, 1, 1 + QUEUE_BUCKETS);
	put(&s, 2, 1 + QUEUE_BUCKETS);
	CHECK(queue_get(&s.queue) == s.fetches[0]);
	put(&s, 3, 1);
	check_order(&s, (const int[]){1, 3, 2, -1});
	stand_close(&s);
}

TEST(one_goes_out_of_turn)
{
	struct stand s;

	stand_open(&s);
	for (unsigned i = 0; i < 4; i++)
		put(&s, i, 1);
	put(&s, 4, 2);
	queue_remove(s.fetches[2]);
	queue_remove(s.fetches[0]);
	queue_remove(s.fetches[4]);
	CHECK_INT(queue_length(&s.queue, 2), 0);
	check_order(&s, (const int[]){1, 3, -1});
	stand_close(&s);
}

TEST(one_that_two_hosts_ask_for_stands_where_it_waits_less)
{
	struct stand s;

	stand_open(&s);
	for (unsigned i = 0; i < 6; i++)
		put(&s, i, 1);
	put(&s, 6, 2);
	put(&s, 7, 2);
	/* Five before it, or two. */
	queue_offer(&s.queue, s.fetches[5], 2);
	CHECK_INT(s.fetches[5]->host_id, 2);
	/* Two or three; none or two, or none at all. */
	queue_offer(&s.queue, s.fetches[2], 2);
	queue_offer(&s.queue, s.fetches[0], 3);
	queue_offer(&s.queue, s.fetches[6], 3);
	queue_offer(&s.queue, s.fetches[4], 1);
	queue_offer(&s.queue, s.fetches[3], 3);
	check_order(&s, (const int[]){0, 6, 3, 1, 7, 2, 5, 4, -1});
	stand_close(&s);
}

TEST(the_longest_line_has_the_last_one)
{
	struct stand s;

	stand_open(&s);
	CHECK(!queue_last_of_longest(&s.queue));
	put(&s, 0, 1);
	CHECK(queue_last_of_longest(&s.queue) == s.fetches[0]);
	put(&s, 1, 2);
	put(&s, 2, 2);
	put(&s, 3, 3);
	CHECK(queue_last_of_longest(&s.queue) == s.fetches[2]);
	stand_close(&s);
}
