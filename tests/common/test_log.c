#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

static int saved_stderr = -1;
static char captured_path[128];

static void capture_begin(void)
{
	int fd;

	snprintf(captured_path, sizeof(captured_path), "%s/stderr", test_folder());
	fd = open(captured_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	saved_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

/* What was written since capture_begin, as a C string in out. */
static void capture_end(struct buf *out)
{
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	test_read_file(captured_path, out);
	buf_put_u8(out, '\0');
}

TEST(lines_have_their_level_and_end)
{
	struct buf out;

	capture_begin();
	log_error("disk %s", "full");
	log_info("ready");
	log_debug("not written by default");
	log_set_level(LOG_LEVEL_DEBUG);
	log_debug("written now");
	log_set_level(LOG_LEVEL_ERROR);
	log_warning("not written");
	CHECK(!log_is_on(LOG_LEVEL_WARNING));
	CHECK(log_is_on(LOG_LEVEL_ERROR));
	log_set_level(LOG_LEVEL_INFO);
	capture_end(&out);
	CHECK_STR((const char *)out.ptr, "<3>disk full\n<6>ready\n<7>written now\n");
	buf_release(&out);
}

TEST(a_line_is_one_line_and_keeps_errno)
{
	struct buf out;

	capture_begin();
	errno = ENOENT;
	log_notice("a\nb\rc");
	CHECK_INT(errno, ENOENT);
	capture_end(&out);
	CHECK_STR((const char *)out.ptr, "<5>a b c\n");
	buf_release(&out);
}

TEST(a_long_line_is_cut)
{
	char text[10000];
	struct buf out;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	capture_begin();
	log_info("%s", text);
	log_info("next");
	capture_end(&out);
	CHECK_INT(strcspn((const char *)out.ptr, "\n"), 4095);
	CHECK_STR((const char *)out.ptr + 4094, "x\n<6>next\n");
	buf_release(&out);
	/* All lengths around the border. */
	capture_begin();
	for (int len = 4085; len < 4105; len++)
		log_info("%.*s", len, text);
	capture_end(&out);
	for (const char *line = (const char *)out.ptr; *line; line += strcspn(line, "\n") + 1)
		CHECK(strcspn(line, "\n") >= 4085 && strcspn(line, "\n") <= 4095);
	buf_release(&out);
}

TEST(outside_text_is_escaped)
{
	static const struct {
		struct span text;
		const char *want;
	} cases[] = {
		{{(const uint8_t *)"did:plc:abc", 11}, "did:plc:abc"},
		{{NULL, 0}, "\"\""},
		{{(const uint8_t *)"a b", 3}, "\"a b\""},
		{{(const uint8_t *)"x host=y", 8}, "\"x host=y\""},
		{{(const uint8_t *)"a=b", 3}, "\"a=b\""},
		{{(const uint8_t *)"say \"no\"", 8}, "\"say \\\"no\\\"\""},
		{{(const uint8_t *)"a\\b", 3}, "a\\\\b"},
		{{(const uint8_t *)"a\n<0>b", 6}, "a\\x0a<0>b"},
		{{(const uint8_t *)"\0\x1b[2J\x7f\xff", 7}, "\\x00\\x1b[2J\\x7f\\xff"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		CHECK_STR(log_text(cases[i].text), cases[i].want);
}

TEST(outside_text_is_cut)
{
	uint8_t bytes[5000];
	const char *text;

	for (unsigned first = 0; first < 4; first++) {
		memset(bytes, 0xff, sizeof(bytes));
		memset(bytes, ' ', first);
		text = log_text(span_of(bytes, sizeof(bytes)));
		CHECK(strlen(text) <= 511);
		CHECK(strlen(text) >= 500);
		CHECK(strstr(text, "...") != NULL);
	}
	/* The longest text that fits keeps its end. */
	memset(bytes, 'a', sizeof(bytes));
	text = log_text(span_of(bytes, 500));
	CHECK_INT(strlen(text), 500);
}

TEST(eight_texts_live_at_once)
{
	const char *texts[8];
	char want[2] = "a";

	for (size_t i = 0; i < 8; i++) {
		uint8_t c = (uint8_t)('a' + i);

		texts[i] = log_text(span_of(&c, 1));
	}
	for (size_t i = 0; i < 8; i++, want[0]++)
		CHECK_STR(texts[i], want);
}

TEST(repeats_are_limited)
{
	struct log_limit l = {.burst = 2, .period_usec = 3600 * UINT64_C(1000000)};
	unsigned left_out = 99;

	CHECK(log_limit_pass(&l, &left_out));
	CHECK_INT(left_out, 0);
	CHECK(log_limit_pass(&l, &left_out));
	for (unsigned i = 0; i < 5; i++)
		CHECK(!log_limit_pass(&l, &left_out));
	/* The period is over as soon as it is said to have begun long ago. */
	l.since_usec -= l.period_usec;
	CHECK(log_limit_pass(&l, &left_out));
	CHECK_INT(left_out, 5);
	CHECK(log_limit_pass(&l, &left_out));
	CHECK_INT(left_out, 0);
	CHECK(!log_limit_pass(&l, &left_out));
}
