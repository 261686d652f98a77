#include "fanout/cursor.h"

#include <errno.h>

#include "tests/test.h"

TEST(cursors_are_decimal_integers_within_int64)
{
	static const struct {
		const char *text;
		int error;
		uint64_t seq;
	} cases[] = {
		{"0", 0, 0},
		{"1", 0, 1},
		{"007", 0, 7},
		{"9223372036854775807", 0, INT64_MAX},
		{"9223372036854775808", -EINVAL, 0},
		{"18446744073709551616", -EINVAL, 0},
		{"99999999999999999999999999", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"-0", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"1.0", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"latest", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cursor c = {.given = false, .seq = 77};
		int error = cursor_parse(span_str(cases[i].text), &c);

		if (error != cases[i].error)
			test_fail(__FILE__, __LINE__, "\"%s\": %d", cases[i].text, error);
		CHECK_INT(c.given, error == 0);
		CHECK_INT(c.seq, error == 0 ? cases[i].seq : 77);
	}
	struct cursor c = {0};
	CHECK_INT(cursor_parse(span_of("1\0002", 3), &c), -EINVAL);
}

TEST(cursors_are_exclusive)
{
	/* Events 100 to 199 are kept. */
	static const struct head kept = {.first_seq = 100, .next_seq = 200};
	static const struct head fresh = {.first_seq = 1, .next_seq = 1};
	static const struct head expired = {.first_seq = 200, .next_seq = 200};
	static const struct {
		const char *name;
		const struct head *head;
		struct cursor cursor;
		enum cursor_place place;
		uint64_t seq;
	} cases[] = {
		{"none", &kept, {false, 0}, CURSOR_LIVE, 200},
		{"0", &kept, {true, 0}, CURSOR_OLDEST, 100},
		{"long ago", &kept, {true, 5}, CURSOR_OUTDATED, 100},
		{"one before the oldest is lost", &kept, {true, 98}, CURSOR_OUTDATED, 100},
		{"the last that is lost", &kept, {true, 99}, CURSOR_WINDOW, 100},
		{"the oldest", &kept, {true, 100}, CURSOR_WINDOW, 101},
		{"middle", &kept, {true, 150}, CURSOR_WINDOW, 151},
		{"all but one", &kept, {true, 198}, CURSOR_WINDOW, 199},
		{"the last", &kept, {true, 199}, CURSOR_WINDOW, 200},
		{"future by one", &kept, {true, 200}, CURSOR_FUTURE, 200},
		{"future", &kept, {true, INT64_MAX}, CURSOR_FUTURE, 200},
		{"none, fresh log", &fresh, {false, 0}, CURSOR_LIVE, 1},
		{"0, fresh log", &fresh, {true, 0}, CURSOR_OLDEST, 1},
		{"1, fresh log", &fresh, {true, 1}, CURSOR_FUTURE, 1},
		{"old, nothing kept", &expired, {true, 150}, CURSOR_OUTDATED, 200},
		{"last, nothing kept", &expired, {true, 199}, CURSOR_WINDOW, 200},
		{"future, nothing kept", &expired, {true, 200}, CURSOR_FUTURE, 200},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t seq = 0;
		enum cursor_place place = cursor_find(&cases[i].cursor, cases[i].head, &seq);

		if (place != cases[i].place || seq != cases[i].seq)
			test_fail(__FILE__, __LINE__, "%s: %d at %" PRIu64, cases[i].name, place,
				  seq);
	}
}
