#include "validate/recording.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "common/log_file.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

static const char *write_recording(const struct buf *b)
{
	static char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/recording", test_folder());
	f = fopen(path, "we");
	CHECK(f && fwrite(b->ptr, 1, b->len, f) == b->len);
	fclose(f);
	return path;
}

static void put_frame(struct buf *b, uint64_t seq)
{
	frame_put_identity(b, seq, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", NULL);
}

static void put_message(struct buf *b, struct span frame)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX];

	buf_append(b, span_of(header, log_message_header_encode(frame.len, header)));
	buf_append(b, frame);
}

/* The frame has as many bytes as this. */
static void put_long_frame(struct buf *b, size_t size)
{
	size_t at = b->len;
	struct buf filler;

	buf_init(&filler, LIMIT_FRAME);
	memset(buf_extend(&filler, size), 'x', size);
	frame_put_header(b, "#filler");
	cbor_put_map(b, 1);
	cbor_put_text(b, SPAN_LITERAL("x"));
	/* The head of so long a text has five bytes. */
	cbor_put_text(b, span_of(filler.ptr, size - (b->len - at) - 5));
	CHECK_INT(b->len - at, size);
	buf_release(&filler);
}

TEST(frames_and_messages_are_told_apart)
{
	struct recording r;
	struct span frame;
	struct buf all, one;
	size_t count = 0;

	buf_init(&all, MIB(64));
	buf_init(&one, MIB(8));
	for (uint64_t n = 0; n < 6; n++) {
		buf_clear(&one);
		if (n == 2 || n == 4)
			put_long_frame(&one, LIMIT_FRAME);
		else
			put_frame(&one, n + 1);
		if (n % 3 == 0)
			buf_append(&all, buf_span(&one));
		else
			put_message(&all, buf_span(&one));
	}
	CHECK_INT(recording_open(&r, write_recording(&all)), 0);
	while (recording_next(&r, &frame) == 1) {
		CHECK_INT(frame.len == LIMIT_FRAME, count == 2 || count == 4);
		CHECK_INT(frame.ptr[0], 0xa2);
		count++;
	}
	CHECK_INT(count, 6);
	CHECK_INT(recording_next(&r, &frame), 0);
	recording_close(&r);
	buf_release(&all);
	buf_release(&one);
}

/* In a message it is one frame, whatever it is; bare, it is all that is left. */
TEST(what_is_no_frame)
{
	struct recording r;
	struct span frame;
	struct buf b;

	buf_init(&b, KIB(4));
	put_message(&b, SPAN_LITERAL("nonsense"));
	put_frame(&b, 1);
	buf_append(&b, SPAN_LITERAL("nonsense"));
	put_frame(&b, 2);
	CHECK_INT(recording_open(&r, write_recording(&b)), 0);
	CHECK_INT(recording_next(&r, &frame), 1);
	CHECK(span_is(frame, "nonsense"));
	CHECK_INT(recording_next(&r, &frame), 1);
	CHECK_INT(recording_next(&r, &frame), 1);
	CHECK(span_starts_with(frame, SPAN_LITERAL("nonsense")));
	CHECK_INT(recording_next(&r, &frame), -EBADMSG);
	CHECK_INT(recording_next(&r, &frame), -EBADMSG);
	recording_close(&r);
	buf_release(&b);
}

TEST(a_recording_cut_short)
{
	struct buf b, first;

	buf_init(&b, KIB(4));
	buf_init(&first, KIB(4));
	put_frame(&first, 1);
	put_frame(&b, 1);
	put_message(&b, buf_span(&first));
	for (size_t all = b.len; b.len > 0; b.len--) {
		struct recording r;
		struct span frame;
		size_t whole = 0;

		CHECK_INT(recording_open(&r, write_recording(&b)), 0);
		while (recording_next(&r, &frame) == 1)
			whole += span_equal(frame, buf_span(&first));
		CHECK_INT(whole, b.len == all ? 2 : b.len >= first.len);
		recording_close(&r);
	}
	buf_release(&b);
	buf_release(&first);
}

TEST(a_file_that_cannot_be_read)
{
	struct recording r;
	struct span frame;

	CHECK_INT(recording_open(&r, "/nonexistent"), -ENOENT);
	CHECK_INT(recording_open(&r, "/"), 0);
	CHECK_INT(recording_next(&r, &frame), -EISDIR);
	recording_close(&r);
}
