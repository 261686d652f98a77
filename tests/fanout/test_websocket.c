#include "fanout/websocket.h"

#include "tests/test.h"

TEST(the_key_is_answered_as_the_rfc_does)
{
	char accept[WEBSOCKET_ACCEPT_SIZE];

	websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept);
	CHECK_STR(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(keys_are_16_bytes_in_base64)
{
	CHECK(websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZQ=="));
	CHECK(websocket_key_is_valid("AAAAAAAAAAAAAAAAAAAAAA=="));
	CHECK(websocket_key_is_valid("/+/+/+/+/+/+/+/+/+/+/w=="));
	CHECK(!websocket_key_is_valid(NULL));
	CHECK(!websocket_key_is_valid(""));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZ==="));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZR=="));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZQ="));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZQ== "));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25j-Q=="));
	CHECK(!websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZQxx"));
}

TEST(tokens_are_found_in_lists)
{
	CHECK(websocket_has_token("Upgrade", "upgrade"));
	CHECK(websocket_has_token("keep-alive, Upgrade", "upgrade"));
	CHECK(websocket_has_token(" ,, UPGRADE\t, x", "upgrade"));
	CHECK(!websocket_has_token(NULL, "upgrade"));
	CHECK(!websocket_has_token("", "upgrade"));
	CHECK(!websocket_has_token("keep-alive", "upgrade"));
	CHECK(!websocket_has_token("upgrades, up grade, xupgrade", "upgrade"));
}

/* ---- input ---- */

#define MASK "01020304"

struct input_case {
	const char *name;
	const char *hex;
	enum websocket_event event;
	unsigned code;
	const char *payload; /* hex */
};

static const struct input_case inputs[] = {
	{"ping", "8982" MASK "6061", WEBSOCKET_PING, 0, "6163"},
	{"empty ping", "8980" MASK, WEBSOCKET_PING, 0, ""},
	{"pong", "8a81" MASK "60", WEBSOCKET_PONG, 0, "61"},
	{"close", "8880" MASK, WEBSOCKET_CLOSE, WEBSOCKET_NO_CODE, NULL},
	{"close 1000", "8882" MASK "02ea", WEBSOCKET_CLOSE, 1000, NULL},
	{"close 1000 with a reason", "8883" MASK "02ea62", WEBSOCKET_CLOSE, 1000, NULL},
	{"close 3000", "8882" MASK "0aba", WEBSOCKET_CLOSE, 3000, NULL},
	{"close with half a code", "8881" MASK "02", WEBSOCKET_BAD, 1002, NULL},
	{"close 1005", "8882" MASK "02ef", WEBSOCKET_BAD, 1002, NULL},
	{"close 999", "8882" MASK "02e5", WEBSOCKET_BAD, 1002, NULL},
	{"text is read past", "8181" MASK "60 8980" MASK, WEBSOCKET_PING, 0, ""},
	{"binary is read past", "8281" MASK "60 8980" MASK, WEBSOCKET_PING, 0, ""},
	{"empty text is read past", "8180" MASK "8980" MASK, WEBSOCKET_PING, 0, ""},
	{"fragments are read past", "0181" MASK "60 0080" MASK "8081" MASK "60 8980" MASK,
	 WEBSOCKET_PING, 0, ""},
	{"ping between fragments", "0181" MASK "60 8980" MASK, WEBSOCKET_PING, 0, ""},
	{"nothing complete", "8181" MASK, WEBSOCKET_MORE, 0, NULL},
	{"not masked", "8900", WEBSOCKET_BAD, 1002, NULL},
	{"text not masked", "8101", WEBSOCKET_BAD, 1002, NULL},
	{"reserved bit", "c980", WEBSOCKET_BAD, 1002, NULL},
	{"reserved data opcode", "8380", WEBSOCKET_BAD, 1002, NULL},
	{"reserved control opcode", "8b80", WEBSOCKET_BAD, 1002, NULL},
	{"fragmented ping", "0980", WEBSOCKET_BAD, 1002, NULL},
	{"long ping", "89fe", WEBSOCKET_BAD, 1002, NULL},
	{"continuation of nothing", "8080", WEBSOCKET_BAD, 1002, NULL},
	{"a message in a message", "0181" MASK "60 8181", WEBSOCKET_BAD, 1002, NULL},
	{"length not shortest, 16 bits", "82fe007d" MASK, WEBSOCKET_BAD, 1002, NULL},
	{"length not shortest, 64 bits", "82ff000000000000ffff" MASK, WEBSOCKET_BAD, 1002, NULL},
	{"64 KiB", "82ff0000000000010000" MASK, WEBSOCKET_MORE, 0, NULL},
	{"64 KiB and a byte", "82ff0000000000010001" MASK, WEBSOCKET_BAD, 1009, NULL},
	{"the largest length", "82ffffffffffffffffff" MASK, WEBSOCKET_BAD, 1009, NULL},
	{"64 KiB and a fragment more", "0281" MASK "60 00ff0000000000010000" MASK, WEBSOCKET_BAD,
	 1009, NULL},
};

/* In pieces of step bytes. */
static void check_input(const struct input_case *c, size_t step)
{
	struct websocket_input in;
	enum websocket_event event = WEBSOCKET_MORE;
	struct buf bytes, payload;

	buf_init(&bytes, 1024);
	buf_init(&payload, 1024);
	test_hex(c->hex, &bytes);
	test_hex(c->payload ? c->payload : "", &payload);
	websocket_input_init(&in);
	for (size_t at = 0; at < bytes.len && event == WEBSOCKET_MORE; at += step) {
		size_t n = bytes.len - at < step ? bytes.len - at : step;
		struct span piece = span_of(bytes.ptr + at, n);

		event = websocket_input_get(&in, &piece);
	}
	if (event != c->event || (c->code && in.code != c->code) ||
	    (c->payload && !span_equal(span_of(in.payload, in.len), buf_span(&payload))))
		test_fail(__FILE__, __LINE__, "%s, %zu bytes at a time: event %d code %d", c->name,
			  step, event, in.code);
	buf_release(&bytes);
	buf_release(&payload);
}

TEST(input_is_the_same_in_pieces_of_any_size)
{
	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++)
		for (size_t step = 1; step < 20; step++)
			check_input(&inputs[i], step);
}

static void put_masked(struct buf *b, uint8_t first, size_t len)
{
	buf_put_u8(b, first);
	buf_put_u8(b, (uint8_t)(0x80 | len));
	buf_append(b, span_of("\1\2\3\4", 4));
	memset(buf_extend(b, len), 'x', len);
}

TEST(endless_fragments_are_refused)
{
	struct websocket_input in;
	enum websocket_event event = WEBSOCKET_MORE;
	struct buf b;
	int frames = 0;

	buf_init(&b, 1024);
	websocket_input_init(&in);
	while (event == WEBSOCKET_MORE && frames < 1000) {
		buf_clear(&b);
		put_masked(&b, frames == 0 ? 0x01 : 0x00, 0);
		struct span bytes = buf_span(&b);

		event = websocket_input_get(&in, &bytes);
		frames++;
	}
	CHECK_INT(event, WEBSOCKET_BAD);
	CHECK_INT(in.code, WEBSOCKET_TOO_BIG);
	CHECK_INT(frames, WEBSOCKET_FRAGMENTS_MAX + 1);
	buf_release(&b);
}

TEST(any_number_of_small_messages_is_read_past)
{
	struct websocket_input in;
	struct buf b;

	buf_init(&b, KIB(4));
	websocket_input_init(&in);
	for (int i = 0; i < 5000; i++) {
		buf_clear(&b);
		put_masked(&b, 0x01, 60);
		put_masked(&b, 0x80, 60);
		struct span bytes = buf_span(&b);

		CHECK_INT(websocket_input_get(&in, &bytes), WEBSOCKET_MORE);
	}
	buf_release(&b);
}

/* ---- output ---- */

TEST(frames_that_go_out)
{
	struct buf b, want;

	buf_init(&b, 1024);
	buf_init(&want, 1024);
	websocket_put_control(&b, WEBSOCKET_OP_PING, SPAN_EMPTY);
	websocket_put_control(&b, WEBSOCKET_OP_PONG, SPAN_LITERAL("ab"));
	websocket_put_close(&b, WEBSOCKET_NO_CODE, "");
	websocket_put_close(&b, WEBSOCKET_RESTART, "r");
	websocket_put_head(&b, WEBSOCKET_BINARY, 125);
	websocket_put_head(&b, WEBSOCKET_BINARY, 126);
	websocket_put_head(&b, WEBSOCKET_BINARY, 65535);
	websocket_put_head(&b, WEBSOCKET_BINARY, 65536);
	test_hex("8900 8a026162 8800 880303f472 827d 827e007e 827effff 827f0000000000010000",
		 &want);
	CHECK_SPAN(buf_span(&b), buf_span(&want));
	buf_release(&b);
	buf_release(&want);
}

TEST(close_reasons_are_cut)
{
	char reason[300];
	struct buf b;

	memset(reason, 'x', sizeof(reason) - 1);
	reason[sizeof(reason) - 1] = '\0';
	buf_init(&b, 1024);
	websocket_put_close(&b, WEBSOCKET_POLICY, reason);
	CHECK_INT(b.len, 2 + WEBSOCKET_CONTROL_MAX);
	CHECK_INT(b.ptr[1], WEBSOCKET_CONTROL_MAX);
	buf_release(&b);
}
