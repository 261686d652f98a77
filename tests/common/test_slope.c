#include "common/slope.h"

#include <errno.h>

#include "common/loop.h"
#include "tests/test.h"

#define HOUR (3600 * USEC_PER_SEC)
#define STEP (5 * USEC_PER_SEC)

static bool is_about(int64_t got, int64_t want, int64_t off)
{
	return got >= want - off && got <= want + off;
}

TEST(few_values_tell_nothing)
{
	struct slope s;
	int64_t slope = 42;

	slope_init(&s);
	for (unsigned i = 0; i < SLOPE_MIN - 1; i++)
		slope_add(&s, i * STEP, i);
	CHECK_INT(slope_get(&s, HOUR, &slope), -EAGAIN);
	CHECK_INT(slope, 42);
	slope_add(&s, SLOPE_MIN * STEP, 1);
	CHECK_INT(slope_get(&s, HOUR, &slope), 0);
	slope_clear(&s);
	CHECK_INT(slope_get(&s, HOUR, &slope), -EAGAIN);
}

/* Values of one moment have no slope between them. */
TEST(a_time_that_stands_still_has_no_slope)
{
	struct slope s;
	int64_t slope;

	slope_init(&s);
	for (unsigned i = 0; i < 2 * SLOPE_MIN; i++)
		slope_add(&s, STEP, i);
	CHECK_INT(slope_get(&s, HOUR, &slope), -EAGAIN);
}

static int64_t line(unsigned i)
{
	return 1000000 + 5000 * (int64_t)i; /* 3.6 million an hour */
}

static int64_t falling(unsigned i)
{
	return -line(i);
}

/* A fifth of the values is far off, upwards. */
static int64_t spikes(unsigned i)
{
	return line(i) + (test_random() % 5 == 0 ? 100 << 20 : 0);
}

/* One step up, and nothing else. */
static int64_t step(unsigned i)
{
	return i < 30 ? 0 : 50 << 20;
}

static int64_t saw(unsigned i)
{
	return (int64_t)(i % 13) * 100000;
}

static int64_t noise(unsigned i)
{
	return line(i) + (int64_t)(test_random() % 200000);
}

static const struct {
	const char *name;
	int64_t (*value)(unsigned i);
	int64_t want, off;
} series[] = {
	{"line", line, 3600000, 10},       {"falling", falling, -3600000, 10},
	{"spikes", spikes, 3600000, 1000}, {"step", step, 0, 0},
	{"saw", saw, 0, 700000},           {"noise", noise, 3600000, 500000},
};

TEST(noise_steps_and_spikes_do_not_mislead)
{
	for (size_t n = 0; n < ARRAY_SIZE(series); n++) {
		struct slope s;
		int64_t slope = 0;

		slope_init(&s);
		for (unsigned i = 0; i < 400; i++)
			slope_add(&s, i * STEP, series[n].value(i));
		CHECK_INT(slope_get(&s, HOUR, &slope), 0);
		if (!is_about(slope, series[n].want, series[n].off))
			test_fail(__FILE__, __LINE__, "%s: %" PRId64, series[n].name, slope);
	}
}

/* What is older than the window does not count; nor does what the series has no room for. */
TEST(the_window_is_kept)
{
	struct slope s;
	int64_t slope = 0, value = 0;

	slope_init(&s);
	for (unsigned i = 0; i < 3 * SLOPE_SAMPLES; i++) {
		value += i < 2 * SLOPE_SAMPLES ? 5000 : 0;
		slope_add(&s, i * STEP, value);
	}
	CHECK_INT(slope_get(&s, HOUR, &slope), 0);
	CHECK_INT(slope, 0);
	for (unsigned i = 0; i < 100; i++) {
		value += 5000;
		slope_add(&s, (3 * SLOPE_SAMPLES + i) * STEP, value);
	}
	CHECK_INT(slope_get(&s, 99 * STEP, &slope), 0);
	CHECK_INT(slope, 3600000);
	CHECK_INT(slope_get(&s, HOUR, &slope), 0);
	CHECK_INT(slope, 0);
}
