#include "ctl/figures.h"

#include "tests/test.h"

TEST(times_and_sizes_are_for_people)
{
	static const struct {
		double seconds;
		const char *want;
	} times[] = {{-5, "0s"},        {0, "0s"},        {59.9, "59s"},
		     {60, "1m00s"},     {3599, "59m59s"}, {3600, "1h00m"},
		     {86399, "23h59m"}, {86400, "1d00h"}, {200000, "2d07h"}};
	static const struct {
		double bytes;
		const char *want;
	} sizes[] = {{0, "0.0K"},
		     {512, "0.5K"},
		     {102400, "100K"},
		     {1023000, "999K"},
		     {1048576, "1.0M"},
		     {-3145728, "-3.0M"},
		     {123.0 * 1048576, "123M"},
		     {5.5 * 1073741824, "5.5G"}};
	char text[FIGURE_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		CHECK_STR(figure_time(times[i].seconds, text), times[i].want);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		CHECK_STR(figure_bytes(sizes[i].bytes, text), sizes[i].want);
}
