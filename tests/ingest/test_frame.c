#include "ingest/frame.h"

#include <errno.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "tests/test.h"

#define HEADER_COMMIT  "a261746723636f6d6d6974626f7001"
#define HEADER_ACCOUNT "a2617468236163636f756e74626f7001"
#define HEADER_INFO    "a261746523696e666f626f7001"
#define HEADER_ERROR   "a1626f7020"

#define DID_A    "656469643a61" /* text(5) "did:a" */
#define KEY_DID  "63646964"
#define KEY_OPS  "636f7073"
#define KEY_REV  "63726576"
#define KEY_SEQ  "63736571"
#define KEY_REPO "647265706f"

struct scan_case {
	const char *name;
	const char *hex;
	int error;
	enum frame_class class;
	uint64_t seq;
	const char *did;
};

static const struct scan_case cases[] = {
	{"commit", HEADER_COMMIT "a4" KEY_OPS "80" KEY_REV "6133" KEY_SEQ "07" KEY_REPO DID_A, 0,
	 FRAME_EVENT, 7, "did:a"},
	{"account", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "1903e8", 0, FRAME_EVENT, 1000,
	 "did:a"},
	{"largest number", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "1b001fffffffffffff", 0,
	 FRAME_EVENT, ((uint64_t)1 << 53) - 1, "did:a"},
	{"a number too large", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "1b0020000000000000", 0,
	 FRAME_BAD_FIELDS, 0, "did:a"},
	{"number 0", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "00", 0, FRAME_BAD_FIELDS, 0,
	 "did:a"},
	{"a negative number", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "20", 0, FRAME_BAD_FIELDS,
	 0, "did:a"},
	{"a number that is text", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "6131", 0,
	 FRAME_BAD_FIELDS, 0, "did:a"},
	{"no account", HEADER_ACCOUNT "a1" KEY_SEQ "05", 0, FRAME_BAD_FIELDS, 5, ""},
	{"an account that is a number", HEADER_ACCOUNT "a2" KEY_DID "01" KEY_SEQ "05", 0,
	 FRAME_BAD_FIELDS, 5, ""},
	{"an empty account", HEADER_ACCOUNT "a2" KEY_DID "60" KEY_SEQ "05", 0, FRAME_BAD_FIELDS, 5,
	 ""},
	{"a commit's account is not did", HEADER_COMMIT "a2" KEY_DID DID_A KEY_SEQ "05", 0,
	 FRAME_BAD_FIELDS, 5, ""},
	{"broken at its end",
	 HEADER_ACCOUNT "a3" KEY_DID DID_A KEY_SEQ "05"
			"6474696d65"
			"ff",
	 -EBADMSG, 0, 0, ""},
	{"a byte too many",
	 HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "05"
			"00",
	 -EBADMSG, 0, 0, ""},
	{"unknown kind", "a2617466236e6577657202626f7001", -EBADMSG, 0, 0, ""},
	{"unknown kind with a number",
	 "a26174642366757a626f7001"
	 "a1" KEY_SEQ "09",
	 0, FRAME_UNKNOWN, 9, ""},
	{"unknown kind without a number",
	 "a26174642366757a626f7001"
	 "a0",
	 0, FRAME_UNKNOWN, 0, ""},
	{"unknown op",
	 "a1626f7005"
	 "a1" KEY_SEQ "09",
	 0, FRAME_UNKNOWN, 9, ""},
	{"no op",
	 "a1617467"
	 "23636f6d6d6974"
	 "a1" KEY_SEQ "09",
	 0, FRAME_BAD_FIELDS, 9, ""},
	{"no kind",
	 "a1626f7001"
	 "a1" KEY_SEQ "09",
	 0, FRAME_BAD_FIELDS, 9, ""},
	{"an op that is text",
	 "a1626f706131"
	 "a0",
	 0, FRAME_BAD_FIELDS, 0, ""},
	{"error", HEADER_ERROR "a1656572726f726c467574757265437572736f72", 0, FRAME_ERROR, 0, ""},
	{"error with an empty kind",
	 "a2617460626f7020"
	 "a1656572726f726c467574757265437572736f72",
	 0, FRAME_ERROR, 0, ""},
	{"info", HEADER_INFO "a1646e616d656e4f75746461746564437572736f72", 0, FRAME_INFO, 0, ""},
	{"nothing", "", -EBADMSG, 0, 0, ""},
	{"a header alone", HEADER_COMMIT, -EBADMSG, 0, 0, ""},
	{"a header that is no map",
	 "01"
	 "a0",
	 -EBADMSG, 0, 0, ""},
	{"a payload that is no map", HEADER_COMMIT "80", -EBADMSG, 0, 0, ""},
	{"header keys out of order",
	 "a2626f7001617467"
	 "23636f6d6d6974"
	 "a1" KEY_SEQ "09",
	 -EBADMSG, 0, 0, ""},
	{"payload keys out of order", HEADER_ACCOUNT "a2" KEY_SEQ "05" KEY_DID DID_A, -EBADMSG, 0,
	 0, ""},
	{"a key twice", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_DID DID_A, -EBADMSG, 0, 0, ""},
	{"an integer in a long form", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "1805", -EBADMSG, 0,
	 0, ""},
	{"a float", HEADER_ACCOUNT "a2" KEY_DID DID_A KEY_SEQ "fb3ff0000000000000", -EBADMSG, 0, 0,
	 ""},
	{"an array without end", HEADER_COMMIT "a3" KEY_OPS "9bffffffffffffffff" KEY_SEQ "05",
	 -EBADMSG, 0, 0, ""},
};

TEST(table)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct scan_case *c = &cases[i];
		struct frame f = {0};
		struct buf b;
		int error;

		buf_init(&b, KIB(64));
		test_hex(c->hex, &b);
		error = frame_scan(buf_span(&b), &f);
		if (error != c->error)
			test_fail(__FILE__, __LINE__, "%s: %d", c->name, error);
		if (!error && (f.class != c->class || f.seq != c->seq || !span_is(f.did, c->did)))
			test_fail(__FILE__, __LINE__, "%s: class %d seq %" PRIu64 " did %.*s",
				  c->name, f.class, f.seq, (int)f.did.len, (const char *)f.did.ptr);
		buf_release(&b);
	}
}

TEST(the_time_of_a_rev)
{
	static const struct {
		const char *hex;
		uint64_t usec;
	} revs[] = {
		{HEADER_COMMIT "a3" KEY_REV "6d336a716663717a6d33666f326a" KEY_SEQ
			       "07" KEY_REPO DID_A,
		 UINT64_C(1678242062337396)},
		{HEADER_COMMIT "a3" KEY_REV "6133" KEY_SEQ "07" KEY_REPO DID_A, 0},
		{HEADER_COMMIT "a3" KEY_REV "07" KEY_SEQ "07" KEY_REPO DID_A, 0},
		{HEADER_COMMIT "a2" KEY_SEQ "07" KEY_REPO DID_A, 0},
		/* An #account has none. */
		{HEADER_ACCOUNT "a3" KEY_DID DID_A KEY_REV "6d336a716663717a6d33666f326a" KEY_SEQ
				"07",
		 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(revs); i++) {
		struct frame f = {0};
		struct buf b;

		buf_init(&b, KIB(1));
		test_hex(revs[i].hex, &b);
		CHECK_INT(frame_scan(buf_span(&b), &f), 0);
		CHECK_INT(f.class, FRAME_EVENT);
		CHECK_INT(f.rev_usec, revs[i].usec);
		buf_release(&b);
	}
}

TEST(names_of_info_and_error)
{
	struct frame f = {0};
	struct buf b;

	buf_init(&b, KIB(1));
	test_hex(HEADER_ERROR "a2656572726f726c467574757265437572736f72676d65737361676562686f", &b);
	CHECK_INT(frame_scan(buf_span(&b), &f), 0);
	CHECK(span_is(f.name, "FutureCursor"));
	CHECK(span_is(f.message, "ho"));
	buf_clear(&b);
	test_hex(HEADER_INFO "a1646e616d656e4f75746461746564437572736f72", &b);
	CHECK_INT(frame_scan(buf_span(&b), &f), 0);
	CHECK(span_is(f.name, "OutdatedCursor"));
	buf_release(&b);
}

/* The payload's own map is the first level. */
TEST(nesting_has_a_limit)
{
	struct frame f;
	struct buf b;

	buf_init(&b, KIB(1));
	for (size_t more = 0; more < 2; more++) {
		buf_clear(&b);
		test_hex(HEADER_COMMIT "a1" KEY_OPS, &b);
		for (size_t i = 0; i < LIMIT_CBOR_DEPTH - 1 + more; i++)
			buf_put_u8(&b, 0x81);
		buf_put_u8(&b, 0);
		CHECK_INT(frame_scan(buf_span(&b), &f), more ? -EBADMSG : 0);
	}
	buf_release(&b);
}

TEST(truncations)
{
	struct buf b;

	buf_init(&b, KIB(1));
	test_hex(HEADER_COMMIT "a4" KEY_OPS "80" KEY_REV "6133" KEY_SEQ "07" KEY_REPO DID_A, &b);
	for (size_t n = 0; n < b.len; n++) {
		struct frame f = {.seq = 99};

		CHECK_INT(frame_scan(span_of(b.ptr, n), &f), -EBADMSG);
		CHECK_INT(f.seq, 99);
	}
	buf_release(&b);
}
