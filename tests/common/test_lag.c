#include "common/lag.h"

#include "tests/test.h"

/* The value of a sample, in text. */
static void sample(struct metrics *m, const char *name, char ret[static 64])
{
	char start[160];
	struct buf b;

	buf_init(&b, MIB(1));
	metrics_render(m, &b);
	buf_put_u8(&b, '\0');
	snprintf(start, sizeof(start), "\n%s{stage=\"store\"} ", name);
	const char *found = strstr((const char *)b.ptr, start);

	snprintf(ret, 64, "%s", found ? found + strlen(start) : "none");
	ret[strcspn(ret, "\n")] = '\0';
	buf_release(&b);
}

#define CHECK_SAMPLE(m, name, want)                                                                \
	do {                                                                                       \
		char value[64];                                                                    \
		sample(m, name, value);                                                            \
		CHECK_STR(value, want);                                                            \
	} while (0)

TEST(lags_add_up)
{
	struct metrics *m = metrics_new("store", -1);
	uint64_t now = clock_usec();
	struct lag l;

	lag_register(&l, m);
	CHECK_SAMPLE(m, "relay_lag_max_seconds", "0.000000");
	lag_note(&l, 1, now - 3 * USEC_PER_SEC, now);
	lag_note(&l, 2, now - USEC_PER_SEC, now);
	lag_note(&l, 1, now + USEC_PER_SEC, now); /* the clock was set back */
	CHECK_SAMPLE(m, "relay_lag_events_total", "4");
	CHECK_SAMPLE(m, "relay_lag_seconds_total", "5.000000");
	CHECK_SAMPLE(m, "relay_lag_max_seconds", "3.000000");
	metrics_free(m);
}

/* The slots are the clock's: what was noted in one slot may be looked at in the next. Whether it
 * was looked at in the same. */
static bool look_at_slots(void)
{
	struct metrics *m = metrics_new("store", -1);
	uint64_t now = clock_usec();
	char long_ago[64], before[64];
	struct lag l;
	bool same;

	lag_register(&l, m);
	lag_note(&l, 1, now - 109 * USEC_PER_SEC, now - 100 * USEC_PER_SEC);
	sample(m, "relay_lag_max_seconds", long_ago);
	lag_note(&l, 1, now - 17 * USEC_PER_SEC, now - 10 * USEC_PER_SEC);
	lag_note(&l, 1, now - USEC_PER_SEC, now);
	sample(m, "relay_lag_max_seconds", before);
	metrics_free(m);
	same = clock_usec() / (10 * USEC_PER_SEC) == now / (10 * USEC_PER_SEC);
	if (same) {
		CHECK_STR(long_ago, "0.000000");
		CHECK_STR(before, "7.000000");
	}
	return same;
}

TEST(the_longest_is_forgotten)
{
	while (!look_at_slots())
		;
}
