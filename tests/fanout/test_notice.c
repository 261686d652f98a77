#include "fanout/notice.h"

#include "common/cbor.h"

#include "tests/test.h"

/* A frame head, then the header and payload as wire samples have them, with a message each. */
static void check(const struct buf *got, const char *head, const char *header, const char *payload)
{
	struct buf want;
	struct reader r = reader_of(buf_span(got));
	struct span skipped;

	buf_init(&want, 1024);
	test_hex(head, &want);
	test_hex(header, &want);
	test_hex(payload, &want);
	CHECK_SPAN(buf_span(got), buf_span(&want));
	CHECK_INT(reader_get_span(&r, 2, &skipped), 0);
	CHECK_INT(cbor_skip(&r, NULL), 0);
	CHECK_INT(cbor_skip(&r, NULL), 0);
	CHECK_INT(r.left, 0);
	buf_release(&want);
}

TEST(notices_are_canonical_frames)
{
	struct buf b;

	buf_init(&b, 1024);
	notice_put_info(&b, "OutdatedCursor", "x");
	check(&b, "822c", "a261746523696e666f626f7001",
	      "a2646e616d656e4f75746461746564437572736f72676d6573736167656178");
	buf_clear(&b);
	notice_put_error(&b, "FutureCursor", "x");
	check(&b, "8223", "a1626f7020",
	      "a2656572726f726c467574757265437572736f72676d6573736167656178");
	buf_release(&b);
}
