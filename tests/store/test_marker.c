#include "store/marker.h"

#include <errno.h>

#include "common/limits.h"
#include "tests/test.h"

static const struct marker example = {
	.file_first_seq = 0x0102, .file_end_bytes = 0x0304, .next_seq = 0x0506};

TEST(layout)
{
	uint8_t bytes[MARKER_SIZE];
	struct buf want;

	buf_init(&want, MARKER_SIZE);
	test_hex("01 0201000000000000 0403000000000000 0605000000000000", &want);
	marker_encode(&example, bytes);
	CHECK_SPAN(span_of(bytes, sizeof(bytes)), buf_span(&want));
	buf_release(&want);
}

TEST(comes_back)
{
	uint8_t bytes[MARKER_SIZE + 1] = {0};
	struct marker m;

	marker_encode(&example, bytes);
	CHECK_INT(marker_decode(span_of(bytes, MARKER_SIZE), &m), 0);
	CHECK(m.file_first_seq == example.file_first_seq &&
	      m.file_end_bytes == example.file_end_bytes && m.next_seq == example.next_seq);
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != MARKER_SIZE)
			CHECK_INT(marker_decode(span_of(bytes, len), &m), -EBADMSG);
	bytes[0] = 2;
	CHECK_INT(marker_decode(span_of(bytes, MARKER_SIZE), &m), -EBADMSG);
}

static const struct {
	const char *what;
	struct marker marker;
	int error;
} numbers[] = {
	{"a new log", {1, 0, 1}, 0},
	{"one event", {1, 100, 2}, 0},
	{"the last number used", {1, 100, (uint64_t)LIMIT_SEQ}, 0},
	{"number 0 is none", {0, 100, 2}, -EBADMSG},
	{"a file from the future", {3, 100, 2}, -EBADMSG},
	{"events without bytes", {1, 0, 2}, -EBADMSG},
	{"bytes without events", {1, 100, 1}, -EBADMSG},
	{"beyond the last number", {1, 100, (uint64_t)LIMIT_SEQ + 1}, -EBADMSG},
	{"a file too large for any system", {1, UINT64_MAX, 2}, -EBADMSG},
};

TEST(numbers_must_belong_together)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		uint8_t bytes[MARKER_SIZE];
		struct marker m;

		marker_encode(&numbers[i].marker, bytes);
		if (marker_decode(span_of(bytes, sizeof(bytes)), &m) != numbers[i].error)
			test_fail(__FILE__, __LINE__, "%s", numbers[i].what);
	}
}
