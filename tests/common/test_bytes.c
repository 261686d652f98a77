#include "tests/test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(spans_compare_bytewise_and_by_length)
{
	static const struct {
		const char *a, *b;
		int order;
	} cases[] = {
		{"", "", 0},    {"", "a", -1},     {"a", "b", -1},   {"a", "aa", -1},
		{"b", "aa", 1}, {"abc", "abc", 0}, {"\xff", "a", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int got = span_compare(span_str(cases[i].a), span_str(cases[i].b));
		int back = span_compare(span_str(cases[i].b), span_str(cases[i].a));

		CHECK_INT((got > 0) - (got < 0), cases[i].order);
		CHECK_INT((back > 0) - (back < 0), -cases[i].order);
		CHECK_INT(span_equal(span_str(cases[i].a), span_str(cases[i].b)),
			  cases[i].order == 0);
	}
	CHECK(span_compare(SPAN_EMPTY, SPAN_LITERAL("")) == 0);
}

TEST(span_starts_with_whole_prefixes_only)
{
	CHECK(span_starts_with(SPAN_LITERAL("did:plc:x"), SPAN_LITERAL("did:")));
	CHECK(span_starts_with(SPAN_LITERAL("did:"), SPAN_LITERAL("did:")));
	CHECK(!span_starts_with(SPAN_LITERAL("did"), SPAN_LITERAL("did:")));
	CHECK(span_starts_with(SPAN_EMPTY, SPAN_EMPTY));
	CHECK(!span_starts_with(SPAN_EMPTY, SPAN_LITERAL("d")));
}

TEST(span_to_str_refuses_nul_and_small_buffers)
{
	char out[4] = "old";

	CHECK_INT(span_to_str(SPAN_LITERAL("a\0b"), out, sizeof(out)), -EBADMSG);
	CHECK_STR(out, "old");
	CHECK_INT(span_to_str(SPAN_LITERAL("four"), out, sizeof(out)), -ENOSPC);
	CHECK_STR(out, "old");
	CHECK_INT(span_to_str(SPAN_LITERAL("yes"), out, sizeof(out)), 0);
	CHECK_STR(out, "yes");
	CHECK_INT(span_to_str(SPAN_EMPTY, out, sizeof(out)), 0);
	CHECK_STR(out, "");
	CHECK_INT(span_to_str(SPAN_EMPTY, out, 0), -ENOSPC);
}

TEST(span_hash_spreads_dids_over_lanes)
{
	unsigned lanes[4] = {0};
	char did[64];

	CHECK(span_hash(SPAN_LITERAL("a")) != span_hash(SPAN_LITERAL("b")));
	/* Lanes and databases of one relay depend on this number for as long as it lives. */
	CHECK(span_hash(SPAN_LITERAL("did:plc:ewvi7nxzyoun6zhxrhs64oiz")) == 0x18af27b288c942bbu);
	for (unsigned i = 0; i < 4000; i++) {
		snprintf(did, sizeof(did), "did:web:%u.example.com", i);
		lanes[span_hash(span_str(did)) % 4]++;
	}
	for (size_t i = 0; i < 4; i++)
		CHECK(lanes[i] > 850 && lanes[i] < 1150);
}

TEST(buf_grows_to_its_maximum)
{
	struct buf b;

	buf_init(&b, 1000);
	for (unsigned i = 0; i < 1000; i++)
		buf_put_u8(&b, (uint8_t)i);
	CHECK_INT(b.len, 1000);
	CHECK(b.cap <= 1000);
	for (unsigned i = 0; i < 1000; i++)
		CHECK_INT(b.ptr[i], (uint8_t)i);
	buf_clear(&b);
	CHECK_INT(b.len, 0);
	CHECK(b.cap > 0);
	buf_trim(&b, 100);
	CHECK(b.cap <= 100);
	buf_append_str(&b, "still good");
	CHECK_SPAN(buf_span(&b), SPAN_LITERAL("still good"));
	buf_trim(&b, 0);
	CHECK_INT(b.cap, 0);
	buf_release(&b);
	buf_release(NULL);
}

/* Whether a child that runs this is ended by an assertion. */
static bool dies(void (*run)(void))
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		run();
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGABRT;
}

static void overfill(void)
{
	struct buf b;

	buf_init(&b, 10);
	buf_append_str(&b, "12345678");
	buf_append_str(&b, "901");
}

static void extend_by_a_sum_that_wraps(void)
{
	struct buf b;

	buf_init(&b, 10);
	buf_append_str(&b, "1");
	buf_extend(&b, SIZE_MAX);
}

static void consume_too_much(void)
{
	struct buf b;

	buf_init(&b, 10);
	buf_append_str(&b, "1");
	buf_consume(&b, 2);
}

TEST(buf_asserts_its_limits)
{
	CHECK(dies(overfill));
	CHECK(dies(extend_by_a_sum_that_wraps));
	CHECK(dies(consume_too_much));
}

TEST(buf_consumes_from_the_front)
{
	struct buf b;

	buf_init(&b, 100);
	buf_append_str(&b, "hello world");
	buf_consume(&b, 6);
	CHECK_SPAN(buf_span(&b), SPAN_LITERAL("world"));
	buf_consume(&b, 5);
	CHECK_INT(b.len, 0);
	buf_consume(&b, 0);
	buf_release(&b);
}

TEST(buf_prints_short_and_long)
{
	char line[2000];
	struct buf b;

	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = '\0';
	for (size_t len = 505; len < 520; len++) {
		line[len] = '\0';
		buf_init(&b, len + 2);
		buf_printf(&b, "<%s>", line);
		CHECK_INT(b.len, len + 2);
		CHECK(b.ptr[0] == '<' && b.ptr[len] == 'x' && b.ptr[len + 1] == '>');
		buf_release(&b);
		line[len] = 'x';
	}
	buf_init(&b, 10);
	buf_printf(&b, "%d", 1234567890);
	CHECK_SPAN(buf_span(&b), SPAN_LITERAL("1234567890"));
	buf_release(&b);
}

TEST(integers_are_little_endian)
{
	struct buf b, want;
	struct reader r;
	uint8_t u8 = 0;
	uint16_t u16 = 0;
	uint32_t u32 = 0;
	uint64_t u64 = 0;

	buf_init(&b, 100);
	buf_init(&want, 100);
	buf_put_u8(&b, 0x01);
	buf_put_u16(&b, 0x0302);
	buf_put_u32(&b, 0x07060504);
	buf_put_u64(&b, 0x0f0e0d0c0b0a0908);
	test_hex("01 0203 04050607 08090a0b0c0d0e0f", &want);
	CHECK_SPAN(buf_span(&b), buf_span(&want));
	r = reader_of(buf_span(&b));
	CHECK_INT(reader_get_u8(&r, &u8), 0);
	CHECK_INT(reader_get_u16(&r, &u16), 0);
	CHECK_INT(reader_get_u32(&r, &u32), 0);
	CHECK_INT(reader_get_u64(&r, &u64), 0);
	CHECK(u8 == 0x01 && u16 == 0x0302 && u32 == 0x07060504 && u64 == 0x0f0e0d0c0b0a0908);
	CHECK_INT(r.left, 0);
	buf_release(&b);
	buf_release(&want);
}

TEST(getters_take_all_or_nothing)
{
	static const uint8_t bytes[7] = {1, 2, 3, 4, 5, 6, 7};
	struct reader r = reader_of(span_of(bytes, sizeof(bytes)));
	struct span s = SPAN_LITERAL("old");
	uint64_t u64 = 42;

	CHECK_INT(reader_get_u64(&r, &u64), -EBADMSG);
	CHECK_INT(u64, 42);
	CHECK_INT(reader_get_span(&r, 8, &s), -EBADMSG);
	CHECK_INT(reader_get_span(&r, SIZE_MAX, &s), -EBADMSG);
	CHECK(span_is(s, "old"));
	CHECK(r.ptr == bytes && r.left == 7);
	CHECK_INT(reader_get_span(&r, 7, &s), 0);
	CHECK(s.ptr == bytes && s.len == 7 && r.left == 0);
	CHECK_INT(reader_get_span(&r, 0, &s), 0);
	CHECK_INT(s.len, 0);
	r = reader_of(SPAN_EMPTY);
	CHECK_INT(reader_get_span(&r, 0, &s), 0);
}

TEST(varints_are_short_and_shortest)
{
	static const struct {
		const char *name, *hex;
		int error;
		uint64_t value;
	} cases[] = {
		{"zero", "00", 0, 0},
		{"one byte", "7f", 0, 127},
		{"two bytes", "8001", 0, 128},
		{"p256 codec", "8024", 0, 0x1200},
		{"nine bytes", "ffffffffffffffff7f", 0, INT64_MAX},
		{"ten bytes", "ffffffffffffffffff01", -EBADMSG, 0},
		{"zero in two bytes", "8000", -EBADMSG, 0},
		{"one in three bytes", "818000", -EBADMSG, 0},
		{"not ended", "80", -EBADMSG, 0},
		{"empty", "", -EBADMSG, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b;
		struct reader r;
		uint64_t v = 99;

		buf_init(&b, 100);
		test_hex(cases[i].hex, &b);
		r = reader_of(buf_span(&b));
		if (reader_get_varint(&r, &v) != cases[i].error)
			test_fail(__FILE__, __LINE__, "%s: wrong result", cases[i].name);
		else if (v != (cases[i].error ? 99 : cases[i].value))
			test_fail(__FILE__, __LINE__, "%s: %" PRIu64, cases[i].name, v);
		CHECK_INT(r.left, cases[i].error ? b.len : 0);
		buf_release(&b);
	}
}

TEST(memory_is_there_even_for_no_bytes)
{
	void *a = xmalloc(0), *c = xcalloc(0, 8), *grown = xrealloc(NULL, 0);
	char *s = xstrdup("text");
	uint64_t *zeros = xcalloc(100, sizeof(*zeros));

	CHECK(a && c && grown);
	CHECK_STR(s, "text");
	for (size_t i = 0; i < 100; i++)
		CHECK_INT(zeros[i], 0);
	free(a);
	free(c);
	free(grown);
	free(s);
	free(zeros);
}
