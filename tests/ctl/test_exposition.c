#include "ctl/exposition.h"

#include <errno.h>

#include "tests/test.h"

static const char text[] = "# HELP relay_a_total Help.\n"
			   "# TYPE relay_a_total counter\n"
			   "relay_a_total{stage=\"store\",kind=\"x y\"} 3\n"
			   "relay_a_total{stage=\"store\",kind=\"z\"} 4.5\n"
			   "relay_a_total_more 100\n"
			   "relay_b 1e3\n"
			   "relay_c{stage=\"store\"\n"
			   "relay_d";

TEST(sums_samples_of_a_family)
{
	static const struct {
		const char *name;
		int error;
		double sum;
	} cases[] = {
		{"relay_a_total", 0, 7.5}, {"relay_b", 0, 1000},    {"relay_a", -ENOENT, 0},
		{"relay_c", -ENOENT, 0},   {"relay_d", -ENOENT, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double sum = 0;

		CHECK_INT(exposition_sum(SPAN_LITERAL(text), cases[i].name, &sum), cases[i].error);
		CHECK(sum >= cases[i].sum && sum <= cases[i].sum);
	}
}

TEST(every_truncation_is_harmless)
{
	for (size_t len = 0; len < sizeof(text); len++) {
		double sum;

		(void)!exposition_sum(span_of(text, len), "relay_a_total", &sum);
	}
}

TEST(samples_are_found_by_their_labels)
{
	struct span rest = SPAN_LITERAL(text);
	struct exposition_sample sample;
	double value = 0;

	CHECK_INT(exposition_find(SPAN_LITERAL(text), "relay_a_total", "kind=\"z\"", &value), 0);
	CHECK_INT((int)(2 * value), 9);
	CHECK_INT(exposition_find(SPAN_LITERAL(text), "relay_a_total", "kind=\"q\"", &value),
		  -ENOENT);
	CHECK_INT(exposition_find(SPAN_LITERAL(text), "relay_b", "kind", &value), -ENOENT);
	CHECK(exposition_next(&rest, "relay_a_total", &sample));
	CHECK_SPAN(exposition_label(sample.labels, "kind"), SPAN_LITERAL("x y"));
	CHECK_SPAN(exposition_label(sample.labels, "stage"), SPAN_LITERAL("store"));
	CHECK_INT(exposition_label(sample.labels, "sort").len, 0);
	CHECK(exposition_next(&rest, "relay_a_total", &sample));
	CHECK_SPAN(exposition_label(sample.labels, "kind"), SPAN_LITERAL("z"));
	CHECK(!exposition_next(&rest, "relay_a_total", &sample));
	CHECK_INT(rest.len, 0);
}
