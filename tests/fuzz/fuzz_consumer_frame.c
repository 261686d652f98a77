/* What a consumer sends means the same in one piece and byte by byte, up to what ends it. */
#include <assert.h>

#include "fanout/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next thing of the input, with at most step bytes handed over at a time. */
static enum websocket_event next(struct websocket_input *in, struct span *bytes, size_t step)
{
	enum websocket_event event = WEBSOCKET_MORE;

	while (event == WEBSOCKET_MORE && bytes->len > 0) {
		struct span piece = span_of(bytes->ptr, bytes->len < step ? bytes->len : step);
		size_t given = piece.len;

		event = websocket_input_get(in, &piece);
		assert(event != WEBSOCKET_MORE || piece.len == 0);
		bytes->ptr += given - piece.len;
		bytes->len -= given - piece.len;
	}
	return event;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct websocket_input whole, slow;
	struct span whole_bytes = span_of(data, size), slow_bytes = whole_bytes;
	enum websocket_event event;

	websocket_input_init(&whole);
	websocket_input_init(&slow);
	do {
		event = next(&whole, &whole_bytes, size);
		enum websocket_event same = next(&slow, &slow_bytes, 1);

		assert(event == same && whole_bytes.len == slow_bytes.len);
		assert(whole.len <= WEBSOCKET_CONTROL_MAX);
		assert(whole.message_len <= WEBSOCKET_MESSAGE_MAX);
		if (event == WEBSOCKET_PING || event == WEBSOCKET_PONG)
			assert(span_equal(span_of(whole.payload, whole.len),
					  span_of(slow.payload, slow.len)));
		if (event == WEBSOCKET_CLOSE || event == WEBSOCKET_BAD)
			assert(whole.code == slow.code && whole.code >= 1000);
	} while (event == WEBSOCKET_PING || event == WEBSOCKET_PONG);
	return 0;
}
