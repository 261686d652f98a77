#include "common/exchange.h"

#include <errno.h>
#include <unistd.h>

#include "common/limits.h"
#include "tests/test.h"

static void open_pipe(int ret[2])
{
	if (pipe(ret) < 0)
		test_fail(__FILE__, __LINE__, "no pipe");
}

TEST(messages_come_back_one_by_one)
{
	struct buf got;
	int ends[2];

	open_pipe(ends);
	buf_init(&got, LIMIT_MESSAGE);
	CHECK_INT(exchange_write(ends[1], SPAN_LITERAL("first")), 0);
	CHECK_INT(exchange_write(ends[1], SPAN_EMPTY), 0);
	CHECK_INT(exchange_write(ends[1], SPAN_LITERAL("the third")), 0);
	CHECK_INT(exchange_read(ends[0], &got), 1);
	CHECK_SPAN(buf_span(&got), SPAN_LITERAL("first"));
	CHECK_INT(exchange_read(ends[0], &got), 1);
	CHECK_INT(got.len, 0);
	CHECK_INT(exchange_read(ends[0], &got), 1);
	CHECK_SPAN(buf_span(&got), SPAN_LITERAL("the third"));
	close(ends[1]);
	CHECK_INT(exchange_read(ends[0], &got), 0);
	close(ends[0]);
	buf_release(&got);
}

TEST(what_is_cut_short_or_too_long_is_refused)
{
	static const uint8_t message[] = {3, 0, 0, 0, 'a', 'b', 'c'};
	static const uint8_t too_long[] = {1, 0, 0x80, 0};
	struct buf got;
	int ends[2];

	buf_init(&got, LIMIT_MESSAGE);
	for (size_t len = 1; len < sizeof(message); len++) {
		open_pipe(ends);
		CHECK_INT(write(ends[1], message, len), len);
		close(ends[1]);
		CHECK_INT(exchange_read(ends[0], &got), -EBADMSG);
		close(ends[0]);
	}
	open_pipe(ends);
	CHECK_INT(write(ends[1], too_long, sizeof(too_long)), sizeof(too_long));
	CHECK_INT(exchange_read(ends[0], &got), -EBADMSG);
	close(ends[0]);
	close(ends[1]);
	buf_release(&got);
}
