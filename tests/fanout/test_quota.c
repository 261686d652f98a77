#include "fanout/quota.h"

#include "tests/test.h"

#define CLIENTS 500

static struct address address_at(size_t i)
{
	struct address a = {.bytes = {0x20, 1, 0xd, 0xb8}};

	a.bytes[6] = (uint8_t)(i >> 8);
	a.bytes[7] = (uint8_t)i;
	a.bytes[15] = (uint8_t)test_random(); /* of one /64 all the same */
	return a;
}

/* Beside plain counters. */
TEST(it_counts_as_an_array_would)
{
	static uint64_t counts[CLIENTS];
	struct quota q;
	size_t present = 0, most = 0;

	quota_init(&q);
	for (size_t step = 0; step < 200000; step++) {
		size_t i = test_random() % CLIENTS;
		struct address a = address_at(i);
		/* It grows and shrinks, to nothing too. */
		bool add = test_random() % 100 < (step / 20000 % 2 ? 30 : 70);

		if (add) {
			quota_add(&q, &a);
			present += counts[i]++ == 0;
		} else if (counts[i] > 0) {
			quota_remove(&q, &a);
			present -= --counts[i] == 0;
		}
		most = present > most ? present : most;
		i = test_random() % CLIENTS;
		a = address_at(i);
		if (quota_count(&q, &a) != counts[i]) {
			test_fail(__FILE__, __LINE__, "step %zu: client %zu has %ju", step, i,
				  (uintmax_t)counts[i]);
			break;
		}
		CHECK(q.used == present);
	}
	CHECK(most > CLIENTS / 2);
	for (size_t i = 0; i < CLIENTS; i++)
		for (struct address a = address_at(i); counts[i] > 0; counts[i]--)
			quota_remove(&q, &a);
	CHECK_INT(q.used, 0);
	CHECK(quota_bytes(&q) <= 1024);
	quota_release(&q);
}
