#include "common/sha256.h"
#include "tests/test.h"

/* FIPS 180-2, appendix B, and the empty message. */
static const struct {
	const char *name, *message, *digest;
} cases[] = {
	{"empty", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"one block", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void check_all(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t digest[SHA256_SIZE];
		struct buf want;

		buf_init(&want, SHA256_SIZE);
		test_hex(cases[i].digest, &want);
		sha256(span_str(cases[i].message), digest);
		if (!span_equal(span_of(digest, sizeof(digest)), buf_span(&want)))
			test_fail(__FILE__, __LINE__, "%s", cases[i].name);
		buf_release(&want);
	}
}

TEST(digests_of_the_standard)
{
	check_all();
}

TEST(the_reused_context_forgets_the_last_message)
{
	check_all();
	check_all();
}

TEST(a_million_times_a)
{
	uint8_t digest[SHA256_SIZE];
	struct buf b, want;

	buf_init(&b, 1000000);
	memset(buf_extend(&b, 1000000), 'a', 1000000);
	buf_init(&want, SHA256_SIZE);
	test_hex("cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0", &want);
	sha256(buf_span(&b), digest);
	CHECK_SPAN(span_of(digest, sizeof(digest)), buf_span(&want));
	sha256(SPAN_EMPTY, digest);
	CHECK_INT(digest[0], 0xe3);
	buf_release(&b);
	buf_release(&want);
}
