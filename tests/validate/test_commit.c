#include "validate/commit.h"

#include "common/cbor.h"
#include "common/limits.h"
#include "tests/lib/edit.h"
#include "tests/lib/repo.h"
#include "tests/test.h"

#define DID "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
#define REV "3jqfcqzm3fo2j"

#define ZERO_DIGEST "0000000000000000 0000000000000000 0000000000000000 0000000000000000"
#define CID_HEX     "d82a5825 0001711220" ZERO_DIGEST
#define RAW_CID_HEX "d82a5825 0001551220" ZERO_DIGEST
#define ARRAYS_10   "81818181818181818181"
#define ARRAYS_30   ARRAYS_10 ARRAYS_10 ARRAYS_10

static void make_object(struct buf *out, bool has_extra)
{
	const struct repo_commit_object object = {
		.did = SPAN_LITERAL(DID),
		.rev = SPAN_LITERAL(REV),
		.data = {.codec = CID_DAG_CBOR},
		.version = 3,
		.has_extra = has_extra,
	};
	struct test_key key;

	test_key_make(CURVE_K256, "commit", &key);
	repo_sign(&key, &object, out);
}

TEST(an_object_decodes)
{
	struct buf block, message, want;
	struct commit c;

	buf_init(&block, KIB(4));
	buf_init(&message, KIB(4));
	buf_init(&want, KIB(4));
	for (unsigned has_extra = 0; has_extra < 2; has_extra++) {
		buf_clear(&block);
		make_object(&block, has_extra);
		CHECK_INT(commit_decode(buf_span(&block), &c), VERDICT_ACCEPTED);
		CHECK(span_is(c.did, DID));
		CHECK(span_is(c.rev, REV));
		CHECK_INT(c.sig.len, 64);
		CHECK_INT(c.data.codec, CID_DAG_CBOR);
		commit_unsigned(&c, &message);
		buf_clear(&want);
		edit_map(buf_span(&block), "sig", SPAN_EMPTY, &want);
		CHECK_SPAN(buf_span(&message), buf_span(&want));
	}
	buf_release(&block);
	buf_release(&message);
	buf_release(&want);
}

TEST(the_unsigned_form_of_a_large_map)
{
	struct buf block, next, message, want;
	struct commit c;

	buf_init(&block, KIB(4));
	buf_init(&next, KIB(4));
	buf_init(&message, KIB(4));
	buf_init(&want, KIB(4));
	make_object(&block, false);
	/* A map of 24 fields has a longer head than one of 23. */
	for (char x = 'a'; x <= 'z'; x++) {
		const char key[] = {x, x, x, '\0'};

		buf_clear(&next);
		edit_map(buf_span(&block), key, SPAN_LITERAL("\xf4"), &next);
		buf_clear(&block);
		buf_append(&block, buf_span(&next));
		CHECK_INT(commit_decode(buf_span(&block), &c), VERDICT_ACCEPTED);
		commit_unsigned(&c, &message);
		buf_clear(&want);
		edit_map(buf_span(&block), "sig", SPAN_EMPTY, &want);
		CHECK_SPAN(buf_span(&message), buf_span(&want));
		CHECK_INT(cbor_check(buf_span(&message)), 0);
	}
	buf_release(&block);
	buf_release(&next);
	buf_release(&message);
	buf_release(&want);
}

TEST(every_field_has_its_rule)
{
	static const struct {
		const char *key, *value;
		enum verdict want;
	} cases[] = {
		{"did", "", VERDICT_COMMIT_BAD_OBJECT},
		{"did", "f6", VERDICT_COMMIT_BAD_OBJECT},
		{"did", "63 646964", VERDICT_COMMIT_BAD_OBJECT},
		{"rev", "", VERDICT_COMMIT_BAD_OBJECT},
		{"rev", "60", VERDICT_COMMIT_BAD_OBJECT},
		{"rev", "f6", VERDICT_COMMIT_BAD_OBJECT},
		{"sig", "", VERDICT_COMMIT_BAD_OBJECT},
		{"sig", "40", VERDICT_COMMIT_BAD_OBJECT},
		{"sig", "f6", VERDICT_COMMIT_BAD_OBJECT},
		{"sig", "5840" ZERO_DIGEST ZERO_DIGEST, VERDICT_ACCEPTED},
		{"sig", "5841" ZERO_DIGEST ZERO_DIGEST "00", VERDICT_COMMIT_BAD_OBJECT},
		{"sig", "7840" ZERO_DIGEST ZERO_DIGEST, VERDICT_COMMIT_BAD_OBJECT},
		{"data", "", VERDICT_COMMIT_BAD_OBJECT},
		{"data", "f6", VERDICT_COMMIT_BAD_OBJECT},
		{"data", CID_HEX, VERDICT_ACCEPTED},
		{"data", RAW_CID_HEX, VERDICT_COMMIT_BAD_OBJECT},
		{"prev", "", VERDICT_COMMIT_BAD_OBJECT},
		{"prev", "f6", VERDICT_ACCEPTED},
		{"prev", CID_HEX, VERDICT_ACCEPTED},
		{"prev", RAW_CID_HEX, VERDICT_COMMIT_BAD_OBJECT},
		{"prev", "60", VERDICT_COMMIT_BAD_OBJECT},
		{"version", "", VERDICT_COMMIT_BAD_OBJECT},
		{"version", "02", VERDICT_COMMIT_BAD_OBJECT},
		{"version", "04", VERDICT_COMMIT_BAD_OBJECT},
		{"version", "6133", VERDICT_COMMIT_BAD_OBJECT},
		{"zebra", "a0", VERDICT_ACCEPTED},
		{"zebra", "1800", VERDICT_COMMIT_BAD_OBJECT},
		{"zebra", "fb3ff0000000000000", VERDICT_COMMIT_BAD_OBJECT},
		{"zebra", ARRAYS_30 "81 00", VERDICT_ACCEPTED},
		{"zebra", ARRAYS_30 "81 81 00", VERDICT_COMMIT_BAD_OBJECT},
	};
	struct buf block, value, changed;
	struct commit c;

	buf_init(&block, KIB(4));
	buf_init(&value, KIB(4));
	buf_init(&changed, KIB(4));
	make_object(&block, false);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum verdict got;

		buf_clear(&value);
		buf_clear(&changed);
		test_hex(cases[i].value, &value);
		edit_map(buf_span(&block), cases[i].key, buf_span(&value), &changed);
		got = commit_decode(buf_span(&changed), &c);
		if (got != cases[i].want)
			test_fail(__FILE__, __LINE__, "%s %s: %s", cases[i].key, cases[i].value,
				  verdict_info(got)->name);
	}
	buf_release(&block);
	buf_release(&value);
	buf_release(&changed);
}

TEST(the_size_of_an_object_has_a_limit)
{
	struct buf block, longer, value;
	size_t room;
	struct commit c;

	buf_init(&block, KIB(4));
	buf_init(&longer, KIB(64));
	buf_init(&value, KIB(64));
	make_object(&block, false);
	/* The key with its head, and the value's head. */
	room = LIMIT_COMMIT_OBJECT - block.len - 4 - 3;
	for (size_t more = 0; more < 2; more++) {
		uint8_t bytes[LIMIT_COMMIT_OBJECT] = {0};

		buf_clear(&value);
		buf_clear(&longer);
		cbor_put_bytes(&value, span_of(bytes, room + more));
		edit_map(buf_span(&block), "zzz", buf_span(&value), &longer);
		CHECK_INT(longer.len, LIMIT_COMMIT_OBJECT + more);
		CHECK_INT(commit_decode(buf_span(&longer), &c),
			  more ? VERDICT_COMMIT_BAD_OBJECT : VERDICT_ACCEPTED);
	}
	buf_release(&block);
	buf_release(&longer);
	buf_release(&value);
}

TEST(truncated_and_prolonged)
{
	struct buf block;
	struct commit c;

	buf_init(&block, KIB(4));
	make_object(&block, true);
	for (size_t len = 0; len < block.len; len++)
		CHECK_INT(commit_decode(span_of(block.ptr, len), &c), VERDICT_COMMIT_BAD_OBJECT);
	buf_put_u8(&block, 0);
	CHECK_INT(commit_decode(buf_span(&block), &c), VERDICT_COMMIT_BAD_OBJECT);
	buf_release(&block);
}
