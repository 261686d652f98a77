#include "validate/frame.h"

#include "common/cbor.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

#define NOW UINT64_C(1767323045678000)

static void make_commit(struct buf *out)
{
	struct repo_commit c;
	struct repo r;

	repo_init(&r, CURVE_K256, "frame");
	repo_put_number(&r, "com.example.record/a", 1);
	repo_commit(&r, NOW, &c);
	repo_commit_release(&c);
	repo_put_number(&r, "com.example.record/a", 2);
	repo_put_number(&r, "com.example.record/b", 3);
	repo_commit(&r, NOW, &c);
	frame_put_commit(out, 123456, &c);
	repo_commit_release(&c);
	repo_release(&r);
}

static void make_sync(struct buf *out)
{
	struct repo_commit c;
	struct repo r;

	repo_init(&r, CURVE_K256, "frame");
	repo_sync(&r, NOW, &c);
	frame_put_sync(out, 23, &c);
	repo_commit_release(&c);
	repo_release(&r);
}

static void make_identity(struct buf *out)
{
	frame_put_identity(out, 24, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "alice.example.com");
}

static void make_account(struct buf *out)
{
	frame_put_account(out, 70000, "did:web:example.com", false, "takendown");
}

static void (*const makers[])(struct buf *out) = {
	[EVENT_COMMIT] = make_commit,
	[EVENT_SYNC] = make_sync,
	[EVENT_IDENTITY] = make_identity,
	[EVENT_ACCOUNT] = make_account,
};

static enum verdict decode(const struct buf *b, struct frame *ret)
{
	return frame_decode(buf_span(b), ret);
}

TEST(every_kind_decodes)
{
	static struct frame f;
	struct buf b;

	buf_init(&b, MIB(8));
	for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++) {
		buf_clear(&b);
		makers[k](&b);
		CHECK_INT(decode(&b, &f), VERDICT_ACCEPTED);
		CHECK_INT(f.kind, k);
		CHECK(did_is_valid(f.did));
	}
	CHECK(!f.active);
	CHECK(span_is(f.status, "takendown"));
	CHECK(span_is(f.did, "did:web:example.com"));
	buf_clear(&b);
	make_commit(&b);
	CHECK_INT(decode(&b, &f), VERDICT_ACCEPTED);
	CHECK_INT(f.op_count, 2);
	CHECK_INT(f.ops[0].action, OP_UPDATE);
	CHECK(span_is(f.ops[0].path, "com.example.record/a"));
	CHECK_INT(f.ops[0].cid.len, CID_SIZE);
	CHECK_INT(f.ops[0].prev.len, CID_SIZE);
	CHECK_INT(f.ops[1].action, OP_CREATE);
	CHECK_INT(f.ops[1].prev.len, 0);
	CHECK(f.has_prev_data);
	CHECK_INT(f.since.len, TID_SIZE);
	buf_release(&b);
}

TEST(seq_is_found_where_it_stands)
{
	static const struct {
		uint64_t seq;
		uint8_t size;
	} cases[] = {{1, 1},
		     {23, 1},
		     {24, 2},
		     {255, 2},
		     {256, 3},
		     {65536, 5},
		     {UINT64_C(1) << 32, 9},
		     {LIMIT_SEQ - 1, 9}};
	static struct frame f;
	struct buf b;

	buf_init(&b, KIB(4));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reader r;
		int64_t seq = 0;

		buf_clear(&b);
		frame_put_account(&b, cases[i].seq, "did:web:example.com", true, NULL);
		CHECK_INT(decode(&b, &f), VERDICT_ACCEPTED);
		CHECK_INT(f.seq, cases[i].seq);
		CHECK_INT(f.seq_size, cases[i].size);
		r = reader_of(span_of(b.ptr + f.seq_offset, f.seq_size));
		CHECK_INT(cbor_get_integer(&r, &seq), 0);
		CHECK_INT(seq, cases[i].seq);
		CHECK_INT(r.left, 0);
	}
	buf_release(&b);
}

TEST(every_truncation_is_refused)
{
	static struct frame f;
	struct buf b;

	buf_init(&b, MIB(8));
	for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++) {
		buf_clear(&b);
		makers[k](&b);
		for (size_t len = 0; len < b.len; len++)
			CHECK_INT(frame_decode(span_of(b.ptr, len), &f), VERDICT_FRAME_BAD_CBOR);
		buf_put_u8(&b, 0xf6);
		CHECK_INT(decode(&b, &f), VERDICT_FRAME_BAD_CBOR);
	}
	buf_release(&b);
}

#define COMMIT   (1u << EVENT_COMMIT)
#define SYNC     (1u << EVENT_SYNC)
#define IDENTITY (1u << EVENT_IDENTITY)
#define ACCOUNT  (1u << EVENT_ACCOUNT)
#define ALL      (COMMIT | SYNC | IDENTITY | ACCOUNT)

/* 24-byte CIDs and the like are written out in full: a tag, 37 bytes, 00 01 71 12 20, the digest.
 */
#define ZERO_DIGEST "0000000000000000 0000000000000000 0000000000000000 0000000000000000"
#define CID_HEX     "d82a5825 0001711220" ZERO_DIGEST
#define RAW_CID_HEX "d82a5825 0001551220" ZERO_DIGEST

static const struct field_case {
	unsigned kinds;
	const char *key;
	const char *value; /* hex; "" leaves the field out */
	enum verdict want;
} field_cases[] = {
	{ALL, "seq", "", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "00", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "20", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "6131", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "f6", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "1b 0020000000000000", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "seq", "1b 001fffffffffffff", VERDICT_ACCEPTED},
	{ALL, "time", "", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "time", "60", VERDICT_FRAME_BAD_FIELDS},
	{ALL, "time", "01", VERDICT_FRAME_BAD_FIELDS},
	{ALL & ~COMMIT, "did", "", VERDICT_FRAME_BAD_FIELDS},
	{ALL & ~COMMIT, "did", "01", VERDICT_FRAME_BAD_FIELDS},
	{ALL & ~COMMIT, "did", "63 646964", VERDICT_BAD_DID},
	{COMMIT, "repo", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "repo", "63 646964", VERDICT_BAD_DID},
	/* did:plc:A... */
	{COMMIT, "repo", "7820 6469643a706c633a 4161616161616161 6161616161616161 6161616161616161",
	 VERDICT_BAD_DID},
	/* did:web:Ab.cd */
	{ALL & ~COMMIT, "did", "6d 6469643a7765623a 41622e6364", VERDICT_BAD_DID},
	{COMMIT | SYNC, "rev", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "rev", "60", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "rev", "f6", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "rev", "6d 7a323232323232323232323232", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "blocks", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "blocks", "60", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT | SYNC, "blocks", "40", VERDICT_ACCEPTED},
	{COMMIT, "since", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "since", "f6", VERDICT_ACCEPTED},
	{COMMIT, "since", "60", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "since", "f4", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "commit", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "commit", "f6", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "commit", RAW_CID_HEX, VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "commit", CID_HEX, VERDICT_ACCEPTED},
	{COMMIT, "prevData", "", VERDICT_ACCEPTED},
	{COMMIT, "prevData", "f6", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "prevData", RAW_CID_HEX, VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "f6", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "80", VERDICT_ACCEPTED},
	{COMMIT, "ops", "81f6", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81a0", VERDICT_FRAME_BAD_FIELDS},
	/* {cid: null, path: "a", action: "delete"}, then one thing wrong with it */
	{COMMIT, "ops", "81 a3 63636964f6 64706174686161 66616374696f6e6664656c657465",
	 VERDICT_ACCEPTED},
	{COMMIT, "ops", "81 a2 64706174686161 66616374696f6e6664656c657465",
	 VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a2 63636964f6 66616374696f6e6664656c657465", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a2 63636964f6 64706174686161", VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a3 6363696401 64706174686161 66616374696f6e6664656c657465",
	 VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a3 63636964f6 6470617468f6 66616374696f6e6664656c657465",
	 VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a3 63636964f6 64706174686161 66616374696f6e6664656c657478",
	 VERDICT_BAD_OP},
	{COMMIT, "ops", "81 a3 63636964f6 64706174686161 66616374696f6e01",
	 VERDICT_FRAME_BAD_FIELDS},
	{COMMIT, "ops", "81 a4 63636964f6 64706174686161 6470726576f6 66616374696f6e6664656c657465",
	 VERDICT_FRAME_BAD_FIELDS},
	/* what is not looked at */
	{COMMIT, "blobs", "", VERDICT_ACCEPTED},
	{COMMIT, "blobs", "f6", VERDICT_ACCEPTED},
	{COMMIT, "tooBig", "f5", VERDICT_ACCEPTED},
	{COMMIT, "tooBig", "", VERDICT_ACCEPTED},
	{COMMIT, "rebase", "6131", VERDICT_ACCEPTED},
	{COMMIT, "rebase", "", VERDICT_ACCEPTED},
	{ALL, "prev", "f6", VERDICT_ACCEPTED},
	{ALL, "zebra", "a161 7a 81 01", VERDICT_ACCEPTED},
	{IDENTITY, "handle", "", VERDICT_ACCEPTED},
	{IDENTITY, "handle", "f6", VERDICT_FRAME_BAD_FIELDS},
	{IDENTITY, "handle", "61 61", VERDICT_FRAME_BAD_FIELDS},
	{ACCOUNT, "active", "", VERDICT_FRAME_BAD_FIELDS},
	{ACCOUNT, "active", "01", VERDICT_FRAME_BAD_FIELDS},
	{ACCOUNT, "active", "f6", VERDICT_FRAME_BAD_FIELDS},
	{ACCOUNT, "status", "", VERDICT_ACCEPTED},
	{ACCOUNT, "status", "63 6e6577", VERDICT_ACCEPTED},
	{ACCOUNT, "status", "f6", VERDICT_FRAME_BAD_FIELDS},
};

/* What a frame of this kind is with another value, or none, under a key. */
static enum verdict decode_with(enum event_kind kind, const char *key, const struct buf *value)
{
	static struct frame f;
	struct buf frame, changed;
	enum verdict got;

	buf_init(&frame, MIB(8));
	buf_init(&changed, MIB(16));
	makers[kind](&frame);
	edit_frame(buf_span(&frame), key, buf_span(value), &changed);
	got = decode(&changed, &f);
	buf_release(&frame);
	buf_release(&changed);
	return got;
}

static void check_field(const struct field_case *c, enum event_kind kind)
{
	struct buf value;
	enum verdict got;

	buf_init(&value, KIB(4));
	test_hex(c->value, &value);
	got = decode_with(kind, c->key, &value);
	if (got != c->want)
		test_fail(__FILE__, __LINE__, "%s with %s %s: %s, not %s", event_kind_name(kind),
			  c->key, c->value, verdict_info(got)->name, verdict_info(c->want)->name);
	buf_release(&value);
}

TEST(every_field_has_its_rule)
{
	for (size_t i = 0; i < ARRAY_SIZE(field_cases); i++)
		for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++)
			if (field_cases[i].kinds & 1u << k)
				check_field(&field_cases[i], k);
}

/* Not canonical, in a field that nobody looks at. */
TEST(unknown_fields_are_canonical_too)
{
	static const char *const values[] = {
		"1800",               /* an integer in a longer form than it needs */
		"9fff",               /* indefinite length */
		"fb3ff0000000000000", /* a float */
		"f7",                 /* undefined */
		"c000",               /* a tag */
		"a2 6162 01 6161 01", /* keys out of order */
		"a2 6161 01 6161 02", /* a key twice */
		"61ff",               /* not UTF-8 */
		"1bffffffffffffffff", /* more than int64 */
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++)
			check_field(&(struct field_case){ALL, "zebra", values[i],
							 VERDICT_FRAME_BAD_CBOR},
				    k);
}

TEST(headers)
{
	static const struct {
		const char *header;
		enum verdict want;
	} cases[] = {
		{"a2 6174 68 236163636f756e74 626f70 01", VERDICT_ACCEPTED},
		{"a3 6174 68 236163636f756e74 6178 f6 626f70 01", VERDICT_ACCEPTED},
		{"a2 6174 68 236163636f756e75 626f70 01", VERDICT_UNKNOWN_KIND},
		{"a2 6174 68 236163636f756e74 626f70 02", VERDICT_UNKNOWN_KIND},
		{"a1 626f70 20", VERDICT_UNKNOWN_KIND},
		{"a1 626f70 01", VERDICT_FRAME_BAD_FIELDS},
		{"a1 6174 68 236163636f756e74", VERDICT_FRAME_BAD_FIELDS},
		{"a2 6174 01 626f70 01", VERDICT_FRAME_BAD_FIELDS},
		{"a2 6174 68 236163636f756e74 626f70 f5", VERDICT_FRAME_BAD_FIELDS},
		{"01", VERDICT_FRAME_BAD_CBOR},
		{"a2 626f70 01 6174 68 236163636f756e74", VERDICT_FRAME_BAD_CBOR},
	};
	static struct frame f;
	struct buf account, b;

	buf_init(&account, KIB(4));
	buf_init(&b, KIB(4));
	make_account(&account);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&b);
		test_hex(cases[i].header, &b);
		buf_append(&b, edit_body(buf_span(&account)));
		CHECK_INT(decode(&b, &f), cases[i].want);
	}
	/* A body is a map, also that of a kind which nobody knows. */
	for (unsigned unknown = 0; unknown < 2; unknown++) {
		buf_clear(&b);
		frame_put_header(&b, unknown ? "#unknown" : "#account");
		cbor_put_array(&b, 0);
		CHECK_INT(decode(&b, &f), VERDICT_FRAME_BAD_CBOR);
	}
	buf_release(&account);
	buf_release(&b);
}

static enum verdict with_bytes(enum event_kind kind, const char *key, size_t len, bool is_text)
{
	struct buf value;
	uint8_t *zeros = xcalloc(1, len);
	enum verdict got;

	buf_init(&value, MIB(8));
	if (is_text)
		cbor_put_text(&value, span_of(zeros, len));
	else
		cbor_put_bytes(&value, span_of(zeros, len));
	got = decode_with(kind, key, &value);
	free(zeros);
	buf_release(&value);
	return got;
}

TEST(limits)
{
	CHECK_INT(with_bytes(EVENT_COMMIT, "blocks", LIMIT_COMMIT_BLOCKS, false), VERDICT_ACCEPTED);
	CHECK_INT(with_bytes(EVENT_COMMIT, "blocks", LIMIT_COMMIT_BLOCKS + 1, false),
		  VERDICT_BLOCKS_TOO_LARGE);
	CHECK_INT(with_bytes(EVENT_SYNC, "blocks", LIMIT_SYNC_BLOCKS, false), VERDICT_ACCEPTED);
	CHECK_INT(with_bytes(EVENT_SYNC, "blocks", LIMIT_SYNC_BLOCKS + 1, false),
		  VERDICT_BLOCKS_TOO_LARGE);
	CHECK_INT(with_bytes(EVENT_ACCOUNT, "status", LIMIT_ACCOUNT_STATUS, true),
		  VERDICT_ACCEPTED);
	CHECK_INT(with_bytes(EVENT_ACCOUNT, "status", LIMIT_ACCOUNT_STATUS + 1, true),
		  VERDICT_FRAME_BAD_FIELDS);
	CHECK_INT(with_bytes(EVENT_IDENTITY, "zebra", LIMIT_FRAME - 1000, false), VERDICT_ACCEPTED);
	CHECK_INT(with_bytes(EVENT_IDENTITY, "zebra", LIMIT_FRAME, false), VERDICT_FRAME_TOO_LARGE);
}

/* An account's frame whose field nobody knows holds so many arrays in one another. */
static enum verdict with_nested(size_t depth)
{
	struct buf value;
	enum verdict got;

	buf_init(&value, KIB(4));
	for (size_t i = 1; i < depth; i++)
		cbor_put_array(&value, 1);
	cbor_put_array(&value, 0);
	got = decode_with(EVENT_ACCOUNT, "zebra", &value);
	buf_release(&value);
	return got;
}

/* An identity's frame with so many fields that nobody knows, each with so many integers. */
static enum verdict with_integers(size_t fields, size_t count)
{
	static struct frame f;
	struct buf frame, value, changed;
	enum verdict got;

	buf_init(&frame, MIB(2));
	buf_init(&value, MIB(1));
	buf_init(&changed, MIB(4));
	make_identity(&frame);
	cbor_put_array(&value, count);
	memset(buf_extend(&value, count), 0, count);
	for (size_t i = 0; i < fields; i++) {
		char key[] = {'z', 'e', 'b', 'r', (char)('a' + i), '\0'};

		buf_clear(&changed);
		edit_frame(buf_span(&frame), key, buf_span(&value), &changed);
		buf_clear(&frame);
		buf_append(&frame, buf_span(&changed));
	}
	got = decode(&frame, &f);
	buf_release(&frame);
	buf_release(&value);
	buf_release(&changed);
	return got;
}

TEST(limits_on_cbor_are_the_frame_s)
{
	CHECK_INT(with_nested(LIMIT_CBOR_DEPTH - 1), VERDICT_ACCEPTED);
	CHECK_INT(with_nested(LIMIT_CBOR_DEPTH), VERDICT_FRAME_BAD_CBOR);
	CHECK_INT(with_integers(1, LIMIT_CBOR_CONTAINER), VERDICT_ACCEPTED);
	CHECK_INT(with_integers(2, LIMIT_CBOR_CONTAINER), VERDICT_FRAME_BAD_CBOR);
	CHECK_INT(with_integers(2, LIMIT_CBOR_CONTAINER - 10), VERDICT_ACCEPTED);
}

/* Whichever comes first in the frame. */
TEST(bad_cbor_comes_before_bad_fields)
{
	static struct frame f;
	struct buf frame, value, changed, both;

	buf_init(&frame, KIB(4));
	buf_init(&value, KIB(4));
	buf_init(&changed, KIB(4));
	buf_init(&both, KIB(4));
	make_account(&frame);
	test_hex("20", &value);
	edit_frame(buf_span(&frame), "seq", buf_span(&value), &changed);
	CHECK_INT(decode(&changed, &f), VERDICT_FRAME_BAD_FIELDS);
	buf_clear(&value);
	test_hex("1800", &value);
	edit_frame(buf_span(&changed), "zebra", buf_span(&value), &both);
	CHECK_INT(decode(&both, &f), VERDICT_FRAME_BAD_CBOR);
	buf_release(&frame);
	buf_release(&value);
	buf_release(&changed);
	buf_release(&both);
}

TEST(more_ops_than_200_are_refused)
{
	struct buf ops;

	buf_init(&ops, MIB(8));
	for (size_t count = LIMIT_OPS; count <= LIMIT_OPS + 1; count++) {
		buf_clear(&ops);
		cbor_put_array(&ops, count);
		for (size_t i = 0; i < count; i++)
			test_hex("a3 63636964f6 64706174686161 66616374696f6e6664656c657465", &ops);
		CHECK_INT(decode_with(EVENT_COMMIT, "ops", &ops),
			  count > LIMIT_OPS ? VERDICT_TOO_MANY_OPS : VERDICT_ACCEPTED);
	}
	buf_release(&ops);
}

TEST(a_handle_is_taken_out)
{
	static struct frame f;
	struct buf frame, without, want;

	buf_init(&frame, KIB(4));
	buf_init(&without, KIB(4));
	buf_init(&want, KIB(4));
	make_identity(&frame);
	/* A map of 24 fields has a longer head than one of 23. */
	for (unsigned i = 0; i < 24; i++) {
		char key[16];

		CHECK_INT(decode(&frame, &f), VERDICT_ACCEPTED);
		frame_remove_handle(&f, &without);
		buf_clear(&want);
		edit_frame(buf_span(&frame), "handle", SPAN_EMPTY, &want);
		CHECK_SPAN(buf_span(&without), buf_span(&want));
		CHECK_INT(decode(&without, &f), VERDICT_ACCEPTED);
		CHECK_INT(f.handle.len, 0);
		CHECK_INT(f.seq, 24);
		/* Fields on both sides of it. */
		snprintf(key, sizeof(key), i % 2 ? "z%02u" : "zebra%02u", i);
		buf_clear(&want);
		edit_frame(buf_span(&frame), key, SPAN_LITERAL("\xf5"), &want);
		buf_clear(&frame);
		buf_append(&frame, buf_span(&want));
	}
	buf_release(&frame);
	buf_release(&without);
	buf_release(&want);
}
