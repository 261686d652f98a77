#include "ingest/websocket.h"

#include <errno.h>

#include "tests/test.h"

/* A socket without network: `in` is what the host sends, given out in pieces; `out` is what we
 * send. */
struct side {
	struct websocket_pool *pool; /* of its own, or one that others have too */
	struct websocket_pool own;
	struct websocket *socket;
	unsigned crowded; /* calls */
	struct buf in;
	size_t piece; /* bytes a read gives at most */
	bool end;     /* after `in`: the end of the stream instead of -EAGAIN */
	bool stuck;   /* nothing can be written */
	struct buf out;
	struct buf got;  /* messages, "[...]" */
	int verdict;     /* what message returns */
	bool only_small; /* there is no room for messages of two bytes or more */
	unsigned take;   /* messages that are taken before verdict counts */
};

static ssize_t side_read(void *arg, uint8_t *ret, size_t size)
{
	struct side *s = arg;
	size_t n = s->in.len < size ? s->in.len : size;

	n = n < s->piece ? n : s->piece;
	if (n == 0)
		return s->end ? 0 : -EAGAIN;
	memcpy(ret, s->in.ptr, n);
	buf_consume(&s->in, n);
	return (ssize_t)n;
}

static ssize_t side_write(void *arg, const uint8_t *bytes, size_t len)
{
	struct side *s = arg;

	if (s->stuck)
		return -EAGAIN;
	buf_append(&s->out, span_of(bytes, len));
	return (ssize_t)len;
}

static int side_message(void *arg, struct span message)
{
	struct side *s = arg;

	if (s->take == 0)
		return s->verdict;
	if (s->only_small && message.len > 1)
		return -EAGAIN;
	s->take--;
	buf_append_str(&s->got, "[");
	buf_append(&s->got, message);
	buf_append_str(&s->got, "]");
	return 0;
}

static void side_crowded(void *arg)
{
	struct side *s = arg;

	s->crowded++;
}

/* pool: NULL for one of its own. */
static void side_init_in(struct side *s, struct websocket_pool *pool)
{
	const struct websocket_handler h = {side_read, side_write, side_message, side_crowded, s};

	*s = (struct side){.piece = SIZE_MAX, .take = 1000};
	websocket_pool_init(&s->own, WEBSOCKET_POOL_MIN_BYTES);
	s->pool = pool ? pool : &s->own;
	buf_init(&s->in, MIB(16));
	buf_init(&s->out, MIB(1));
	buf_init(&s->got, MIB(16));
	s->socket = websocket_new(s->pool, &h);
}

static void side_init(struct side *s)
{
	side_init_in(s, NULL);
}

static void side_release(struct side *s)
{
	websocket_free(s->socket);
	websocket_pool_release(&s->own);
	buf_release(&s->in);
	buf_release(&s->out);
	buf_release(&s->got);
}

/* first: FIN bit and opcode. */
static void put_frame(struct side *s, uint8_t first, struct span payload)
{
	buf_put_u8(&s->in, first);
	if (payload.len < 126) {
		buf_put_u8(&s->in, (uint8_t)payload.len);
	} else if (payload.len < 65536) {
		buf_put_u8(&s->in, 126);
		buf_put_u8(&s->in, (uint8_t)(payload.len >> 8));
		buf_put_u8(&s->in, (uint8_t)payload.len);
	} else {
		buf_put_u8(&s->in, 127);
		for (int shift = 56; shift >= 0; shift -= 8)
			buf_put_u8(&s->in, (uint8_t)(payload.len >> shift));
	}
	buf_append(&s->in, payload);
}

static void put_text(struct side *s, uint8_t first, const char *payload)
{
	put_frame(s, first, span_str(payload));
}

static void put_length(struct side *s, uint8_t first, size_t len)
{
	uint8_t *zeros = xcalloc(1, len + 1);

	put_frame(s, first, span_of(zeros, len));
	free(zeros);
}

static void check_got(struct side *s, const char *want, int line)
{
	if (!span_is(buf_span(&s->got), want))
		test_fail(__FILE__, line, "got %.*s, not %s", (int)s->got.len,
			  (const char *)s->got.ptr, want);
}
#define CHECK_GOT(s, want) check_got(s, want, __LINE__)

/* Of a socket: one message, what is read at a time with the lengths of its messages, and itself. */
#define HELD_MAX (LIMIT_FRAME + KIB(12) + KIB(12))

TEST(messages_whole_and_in_pieces)
{
	static const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 7};

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct side s;

		side_init(&s);
		s.piece = pieces[i];
		put_text(&s, 0x82, "one");
		put_text(&s, 0x02, "tw"); /* in three fragments, a ping between them */
		put_text(&s, 0x00, "");
		put_text(&s, 0x89, "p");
		put_text(&s, 0x80, "o");
		put_text(&s, 0x82, "");
		put_text(&s, 0x82, "three");
		websocket_receive(s.socket);
		CHECK_GOT(&s, "[one][two][][three]");
		CHECK_INT(websocket_state(s.socket), WEBSOCKET_OPEN);
		CHECK_INT(websocket_messages(s.socket), 4);
		CHECK_INT(websocket_received(s.socket), 5);
		CHECK(!websocket_is_amid(s.socket));
		CHECK_INT(s.out.len, 2 + 4 + 1); /* the pong, masked */
		CHECK_INT(s.out.ptr[0], 0x8a);
		side_release(&s);
	}
}

TEST(large_messages)
{
	static const size_t lengths[] = {125,   126,   4095,    4096,       4097,
					 65535, 65536, 1000000, LIMIT_FRAME};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		struct side s;

		side_init(&s);
		put_length(&s, 0x82, lengths[i]);
		put_text(&s, 0x82, "next");
		websocket_receive(s.socket);
		CHECK_INT(s.got.len, lengths[i] + 2 + 6);
		CHECK_INT(websocket_state(s.socket), WEBSOCKET_OPEN);
		CHECK(websocket_memory_bytes(s.socket) <
		      KIB(20)); /* between messages it holds none */
		side_release(&s);
	}
}

TEST(an_unfinished_message)
{
	struct side s;

	side_init(&s);
	put_text(&s, 0x82, "complete");
	put_text(&s, 0x02, "begun");
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[complete]");
	CHECK(websocket_is_amid(s.socket));
	side_release(&s);
}

static const struct {
	const char *name;
	const char *hex;
	enum websocket_state state;
} endings[] = {
	{"text", "8102 6869", WEBSOCKET_TEXT},
	{"text, a fragment", "0101 68", WEBSOCKET_TEXT},
	{"text that is no UTF-8", "8101 ff", WEBSOCKET_TEXT},
	{"one byte too large", "827f 00000000004c4b41", WEBSOCKET_OVERSIZE},
	{"2^63 - 1 bytes", "827f 7fffffffffffffff", WEBSOCKET_OVERSIZE},
	{"2^63 bytes", "827f 8000000000000000", WEBSOCKET_FRAMING},
	{"a masked frame", "8283 00000000 616263", WEBSOCKET_FRAMING},
	{"reserved bits", "c203 616263", WEBSOCKET_FRAMING},
	{"unknown opcode", "8303 616263", WEBSOCKET_FRAMING},
	{"continues nothing", "8003 616263", WEBSOCKET_FRAMING},
	{"begins within another", "0201 61 8201 62", WEBSOCKET_FRAMING},
	{"a fragmented ping", "0901 61", WEBSOCKET_FRAMING},
	{"a ping too long", "897e 007e", WEBSOCKET_FRAMING},
	{"a length in a long form", "827e 0003 616263", WEBSOCKET_FRAMING},
	{"close", "8802 03e9", WEBSOCKET_CLOSED},
	{"close without status", "8800", WEBSOCKET_CLOSED},
	{"close with a status of no meaning", "8802 0001", WEBSOCKET_FRAMING},
};

TEST(how_streams_end)
{
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		struct side s;

		side_init(&s);
		test_hex(endings[i].hex, &s.in);
		put_text(&s, 0x82, "unseen");
		websocket_receive(s.socket);
		websocket_receive(s.socket);
		if (websocket_state(s.socket) != endings[i].state)
			test_fail(__FILE__, __LINE__, "%s: state %d", endings[i].name,
				  websocket_state(s.socket));
		CHECK_GOT(&s, "");
		side_release(&s);
	}
}

TEST(fragments_add_up)
{
	struct side s;

	side_init(&s);
	put_length(&s, 0x02, LIMIT_FRAME - 1);
	put_length(&s, 0x00, 1);
	websocket_receive(s.socket);
	CHECK_INT(websocket_state(s.socket), WEBSOCKET_OPEN);
	put_length(&s, 0x80, 1);
	websocket_receive(s.socket);
	CHECK_INT(websocket_state(s.socket), WEBSOCKET_OVERSIZE);
	side_release(&s);
}

TEST(close_status)
{
	struct side s;

	side_init(&s);
	test_hex("8802 03f0", &s.in);
	CHECK_INT(websocket_close_status(s.socket), 0);
	websocket_receive(s.socket);
	CHECK_INT(websocket_close_status(s.socket), 1008);
	CHECK_INT(s.out.ptr[0], 0x88); /* answered */
	side_release(&s);
}

TEST(the_end_of_the_stream)
{
	struct side s;

	side_init(&s);
	s.end = true;
	put_text(&s, 0x82, "last");
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[last]");
	CHECK_INT(websocket_state(s.socket), WEBSOCKET_TRANSPORT);
	side_release(&s);
}

TEST(refused)
{
	struct side s;

	side_init(&s);
	s.take = 1;
	s.verdict = -EBADMSG;
	put_text(&s, 0x82, "good");
	put_text(&s, 0x82, "bad");
	put_text(&s, 0x82, "unseen");
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[good]");
	CHECK_INT(websocket_state(s.socket), WEBSOCKET_REFUSED);
	side_release(&s);
}

/* What there is no room for is held, in order, and nothing more is read. */
TEST(holding)
{
	struct side s;

	side_init(&s);
	s.take = 1;
	s.verdict = -EAGAIN;
	put_text(&s, 0x82, "1");
	put_text(&s, 0x82, "2");
	put_text(&s, 0x82, "");
	put_text(&s, 0x82, "4");
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[1]");
	CHECK(websocket_is_holding(s.socket));
	put_text(&s, 0x82, "5");
	websocket_receive(s.socket);
	CHECK_INT(s.in.len, 3); /* not read */
	s.take = 2;
	websocket_resume(s.socket);
	CHECK_GOT(&s, "[1][2][]");
	CHECK(websocket_is_holding(s.socket));
	s.take = 100;
	websocket_resume(s.socket);
	CHECK(!websocket_is_holding(s.socket));
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[1][2][][4][5]");
	side_release(&s);
}

/* There would be room for the third. */
TEST(nothing_overtakes_what_is_held)
{
	struct side s;

	side_init(&s);
	s.only_small = true;
	put_text(&s, 0x82, "1");
	put_text(&s, 0x82, "large");
	put_text(&s, 0x82, "3");
	websocket_receive(s.socket);
	CHECK_GOT(&s, "[1]");
	s.only_small = false;
	websocket_resume(s.socket);
	CHECK_GOT(&s, "[1][large][3]");
	side_release(&s);
}

TEST(holding_is_bounded)
{
	struct side s;

	side_init(&s);
	s.take = 0;
	s.verdict = -EAGAIN;
	put_length(&s, 0x82, LIMIT_FRAME);
	for (unsigned i = 0; i < 100000; i++)
		put_text(&s, 0x82, "");
	websocket_receive(s.socket);
	CHECK(websocket_is_holding(s.socket));
	CHECK(s.in.len > 2 * 100000 - 4096);
	CHECK(websocket_memory_bytes(s.socket) >= LIMIT_FRAME);
	CHECK(websocket_memory_bytes(s.socket) <= HELD_MAX);
	side_release(&s);
}

/* One that is not whole yet takes no more, neither do those that were read behind a held one. */
TEST(what_a_socket_holds_is_bounded)
{
	struct side s;

	side_init(&s);
	s.take = 0;
	s.verdict = -EAGAIN;
	put_length(&s, 0x02, LIMIT_FRAME - 1);
	websocket_receive(s.socket);
	CHECK(!websocket_is_holding(s.socket));
	CHECK(websocket_memory_bytes(s.socket) >= LIMIT_FRAME - 1);
	CHECK(websocket_memory_bytes(s.socket) <= HELD_MAX);
	put_text(&s, 0x80, "1");
	for (unsigned n = 0; n < 100000; n++)
		put_text(&s, 0x82, "");
	websocket_receive(s.socket);
	CHECK(websocket_is_holding(s.socket));
	CHECK(websocket_memory_bytes(s.socket) <= HELD_MAX);
	side_release(&s);
}

#define CROWD 40

/* What they hold together, and never more than the pool allows. */
static size_t crowd_bytes(struct side *sides, size_t count)
{
	size_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += websocket_memory_bytes(sides[i].socket);
	CHECK(sum <= WEBSOCKET_POOL_MIN_BYTES + count * KIB(12));
	return sum;
}

/* More than all may hold, in messages that are not complete: the oldest of those with much go, and
 * neither who holds little for longest nor who comes last. */
TEST(what_all_sockets_hold_is_bounded)
{
	static struct side sides[CROWD];
	size_t most = 0, bytes, crowded = 0, open = 0;

	side_init(&sides[0]);
	for (size_t i = 1; i < CROWD; i++)
		side_init_in(&sides[i], &sides[0].own);
	put_text(&sides[0], 0x02, "little");
	websocket_receive(sides[0].socket);
	for (size_t i = 1; i < CROWD; i++) {
		put_length(&sides[i], 0x02, MIB(1));
		websocket_receive(sides[i].socket);
		bytes = crowd_bytes(sides, CROWD);
		most = bytes > most ? bytes : most;
		CHECK_INT(websocket_state(sides[i].socket), WEBSOCKET_OPEN);
	}
	CHECK(most > WEBSOCKET_POOL_MIN_BYTES - MIB(2)); /* the limit was reached */
	for (size_t i = 1; i < CROWD; i++) {
		bool is_open = websocket_state(sides[i].socket) == WEBSOCKET_OPEN;

		CHECK_INT(sides[i].crowded, is_open ? 0 : 1);
		CHECK(is_open || websocket_state(sides[i].socket) == WEBSOCKET_CROWDED);
		CHECK(is_open || open == 0); /* the oldest went */
		open += is_open;
		crowded += !is_open;
	}
	CHECK(open >= 6); /* buffers double as they grow */
	CHECK_INT(open + crowded, CROWD - 1);
	put_text(&sides[0], 0x80, " by little");
	websocket_receive(sides[0].socket);
	CHECK_GOT(&sides[0], "[little by little]");
	for (size_t i = CROWD; i-- > 0;)
		side_release(&sides[i]);
}

/* The same of messages that wait to be taken; one that is ended lies in no list any more. */
TEST(what_all_sockets_hold_back_is_bounded)
{
	static struct side sides[CROWD];
	size_t crowded = 0;

	side_init(&sides[0]);
	for (size_t i = 1; i < CROWD; i++)
		side_init_in(&sides[i], &sides[0].own);
	for (size_t i = 0; i < CROWD; i++) {
		sides[i].take = 0;
		sides[i].verdict = -EAGAIN;
		put_length(&sides[i], 0x82, MIB(2));
		websocket_receive(sides[i].socket);
		crowd_bytes(sides, CROWD);
	}
	for (size_t i = 0; i < CROWD; i++) {
		crowded += sides[i].crowded;
		sides[i].take = 1;
		websocket_resume(sides[i].socket);
		CHECK_INT(sides[i].got.len, sides[i].crowded ? 0 : MIB(2) + 2);
	}
	CHECK(crowded > 0);
	CHECK(CROWD - crowded >= 4);
	CHECK_INT(sides[0].own.bytes, 0);
	CHECK_INT(sides[0].own.holder_count, 0);
	for (size_t i = CROWD; i-- > 0;)
		side_release(&sides[i]);
}

/* Nobody but itself is there to make room: it never has to. */
TEST(one_alone_is_never_crowded_out)
{
	struct side s;

	side_init(&s);
	for (unsigned n = 0; n < 3; n++) {
		s.take = 0;
		s.verdict = -EAGAIN;
		put_length(&s, 0x02, LIMIT_FRAME - 1);
		put_length(&s, 0x80, 1);
		put_length(&s, 0x82, LIMIT_FRAME);
		websocket_receive(s.socket);
		CHECK(websocket_is_holding(s.socket));
		s.take = 2;
		websocket_resume(s.socket);
		websocket_receive(s.socket);
		CHECK_INT(websocket_state(s.socket), WEBSOCKET_OPEN);
		CHECK_INT(websocket_messages(s.socket), 2 * (n + 1));
		buf_clear(&s.got);
	}
	side_release(&s);
}

TEST(pings_faster_than_answers)
{
	struct side s;

	side_init(&s);
	s.stuck = true;
	for (unsigned i = 0; i < 1000; i++)
		put_text(&s, 0x89, "");
	websocket_receive(s.socket);
	CHECK_INT(websocket_state(s.socket), WEBSOCKET_FLOOD);
	side_release(&s);
}

TEST(pinging)
{
	struct side s;

	side_init(&s);
	s.stuck = true;
	for (unsigned i = 0; i < 100; i++)
		websocket_ping(s.socket); /* one waits; no more are made */
	CHECK(websocket_wants_write(s.socket));
	s.stuck = false;
	websocket_flush(s.socket);
	CHECK(!websocket_wants_write(s.socket));
	CHECK_INT(s.out.len, 6);
	CHECK_INT(s.out.ptr[0], 0x89);
	put_text(&s, 0x8a, "");
	websocket_receive(s.socket);
	CHECK_INT(websocket_received(s.socket), 1);
	CHECK_INT(websocket_messages(s.socket), 0);
	side_release(&s);
}
