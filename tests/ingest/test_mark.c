#include "ingest/mark.h"

#include "tests/test.h"

TEST(first_number_of_an_unknown_host)
{
	struct mark m = {0};
	struct mark_entry e;

	CHECK(!m.known);
	mark_add(&m, &e, 500);
	CHECK_INT(mark_low(&m), 499);
	mark_remove(&e);
	CHECK_INT(mark_low(&m), 500);
}

/* The picture of mark.h. */
TEST(moves_over_what_is_contiguous)
{
	const uint64_t seqs[] = {11, 12, 15, 16, 20};
	struct mark_entry e[5];
	struct mark m;

	mark_init_at(&m, 10);
	for (size_t i = 0; i < 5; i++)
		mark_add(&m, &e[i], seqs[i]);
	CHECK_INT(mark_low(&m), 10);
	mark_remove(&e[0]);
	mark_remove(&e[3]);
	CHECK_INT(mark_low(&m), 11);
	mark_remove(&e[1]);
	CHECK_INT(mark_low(&m), 12);
	mark_remove(&e[2]);
	CHECK_INT(mark_low(&m), 16);
	mark_remove(&e[4]);
	CHECK_INT(mark_low(&m), 20);
}

TEST(skipped_numbers_wait_for_those_before_them)
{
	struct mark_entry e;
	struct mark m;

	mark_init_at(&m, 10);
	mark_skip(&m, 11);
	CHECK_INT(mark_low(&m), 11);
	mark_add(&m, &e, 12);
	mark_skip(&m, 13);
	CHECK_INT(mark_low(&m), 11);
	mark_remove(&e);
	CHECK_INT(mark_low(&m), 13);
}

TEST(reset_lets_go_of_what_is_outstanding)
{
	struct mark_entry old, new;
	struct mark m;

	mark_init_at(&m, 1000);
	mark_add(&m, &old, 1001);
	mark_reset(&m);
	CHECK(!m.known);
	mark_add(&m, &new, 3);
	mark_remove(&old);
	CHECK_INT(mark_low(&m), 2);
	mark_remove(&new);
	CHECK_INT(mark_low(&m), 3);
}

/* Against the definition: the highest number received such that it and all below are finished. */
TEST(random_orders)
{
	enum { COUNT = 200 };
	static struct mark_entry e[COUNT];
	static uint64_t seqs[COUNT];
	bool done[COUNT] = {0};
	struct mark m = {0};
	uint64_t seq = 0, want;

	for (size_t i = 0; i < COUNT; i++) {
		seq += 1 + test_random() % 3;
		seqs[i] = seq;
		mark_add(&m, &e[i], seq);
	}
	for (size_t n = 0; n < COUNT; n++) {
		size_t pick = test_random() % COUNT, first = 0;

		while (done[pick])
			pick = (pick + 1) % COUNT;
		done[pick] = true;
		mark_remove(&e[pick]);
		while (first < COUNT && done[first])
			first++;
		want = first ? seqs[first - 1] : seqs[0] - 1;
		if (mark_low(&m) != want)
			test_fail(__FILE__, __LINE__, "%" PRIu64 ", not %" PRIu64, mark_low(&m),
				  want);
	}
}
