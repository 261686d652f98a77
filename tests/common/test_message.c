#include "common/message.h"
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"

/* Every message as its examples, and decode followed by encode. */
struct codec {
	const char *name;
	bool whole; /* decodes a whole message, and so refuses bytes that are left over */
	unsigned examples;
	void (*put_example)(struct buf *b, unsigned number);
	int (*recode)(struct reader *r, struct buf *out);
};

/* Defines recode_NAME, which decodes a struct NAME and encodes it again. */
#define RECODE(name, release)                                                                      \
	static int recode_##name(struct reader *r, struct buf *out)                                \
	{                                                                                          \
		struct name decoded;                                                               \
                                                                                                   \
		if (name##_decode(r, &decoded) < 0)                                                \
			return -EBADMSG;                                                           \
		name##_encode(out, &decoded);                                                      \
		release;                                                                           \
		return 0;                                                                          \
	}

RECODE(event, )
RECODE(verified, )
RECODE(ack, )
RECODE(lookup, )
RECODE(identity, )
RECODE(head, )
RECODE(xrpc_request, )
RECODE(xrpc_reply, )
RECODE(host_check, )
RECODE(consumer_info, )
RECODE(host_list, free(decoded.hosts))

static void put_event(struct buf *b, unsigned number)
{
	struct event e = {
		.ticket = 0x0807060504030201,
		.host_id = 0x1817161514131211,
		.host_epoch = 3,
		.host_seq = number == 0 ? 42 : (uint64_t)LIMIT_SEQ - 1,
		.received_usec = 1700000000000000,
		.received_uptime_usec = 7000000000,
		.host = SPAN_LITERAL("pds.example.com:2583"),
		.frame = SPAN_LITERAL("a frame"),
	};

	if (number == 2)
		e.host = e.frame = SPAN_EMPTY;
	event_encode(b, &e);
}

static struct verified verified_example(unsigned number)
{
	static const enum event_kind kinds[] = {EVENT_COMMIT,   EVENT_COMMIT,  EVENT_SYNC,
						EVENT_IDENTITY, EVENT_ACCOUNT, EVENT_ACCOUNT};
	struct verified v = {
		.ticket = 7,
		.host_id = 0xfedcba9876543210,
		.host_epoch = 1,
		.host_seq = 99,
		.received_usec = 1700000000000000,
		.kind = kinds[number],
		.seq_offset = 3,
		.seq_size = 5,
		.did = SPAN_LITERAL("did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
		.frame = SPAN_LITERAL("12345678"),
		.has_since = number == 0,
		.has_prev_data = number == 0,
		.is_legacy = number == 1,
		.active = number == 4,
		.status = number == 5 ? ACCOUNT_TAKENDOWN : ACCOUNT_ACTIVE,
	};

	if (v.kind != EVENT_COMMIT && v.kind != EVENT_SYNC)
		return v;
	memcpy(v.rev, "3jzfcijpj2z2a", TID_SIZE);
	memset(v.commit, 0xc0, SHA256_SIZE);
	memset(v.data, 0xda, SHA256_SIZE);
	if (v.has_since)
		memcpy(v.since, "3jzfcijpj2z22", TID_SIZE);
	if (v.has_prev_data)
		memset(v.prev_data, 0x9d, SHA256_SIZE);
	return v;
}

static void put_verified(struct buf *b, unsigned number)
{
	struct verified v = verified_example(number);

	verified_encode(b, &v);
}

static void put_ack(struct buf *b, unsigned number)
{
	struct ack a = {0x0807060504030201, number == 0 ? VERDICT_ACCEPTED : VERDICT_BAD_SIGNATURE};

	ack_encode(b, &a);
}

static void put_lookup(struct buf *b, unsigned number)
{
	struct lookup l = {number == 0 ? 0 : 1700000000000000, number == 0 ? 0 : 4711,
			   SPAN_LITERAL("did:web:example.com")};

	lookup_encode(b, &l);
}

/* Found, found without handle, not found, unavailable. */
static void put_identity(struct buf *b, unsigned number)
{
	static const enum identity_status statuses[] = {IDENTITY_FOUND, IDENTITY_FOUND,
							IDENTITY_NOT_FOUND, IDENTITY_UNAVAILABLE};
	struct identity i = {
		.status = statuses[number],
		.fetched_usec = 7000000000,
		.age_usec = 60000000,
		.did = SPAN_LITERAL("did:plc:ewvi7nxzyoun6zhxrhs64oiz"),
		.key = {CURVE_P256, {0x02, 0xaa, 0xbb}},
		.pds = SPAN_LITERAL("pds.example.com"),
		.handle = number == 0 ? SPAN_LITERAL("alice.example.com") : SPAN_EMPTY,
	};

	identity_encode(b, &i);
}

static void put_head(struct buf *b, unsigned number)
{
	static const struct head heads[] = {
		{1, 1, 1, 0, 1700000000000000, 0, HEAD_TAKING},
		{100, 5000, 4000, 123456789, 1700000000000000, 1699999999000000, HEAD_NO_ROOM},
		{100, 5000, 4000, 123456789, 1700000000000000, 0, HEAD_NO_STATE},
	};

	head_encode(b, &heads[number]);
}

static void put_xrpc_request(struct buf *b, unsigned number)
{
	struct xrpc_request q = {
		.method = SPAN_LITERAL("com.atproto.sync.listHosts"),
		.remote = SPAN_LITERAL("[::1]:4711"),
	};

	if (number > 0) {
		q.param_count = number == 1 ? 2 : XRPC_PARAMS_MAX;
		for (size_t i = 0; i < q.param_count; i++)
			q.params[i] = (struct xrpc_param){SPAN_LITERAL("limit"),
							  SPAN_LITERAL("10")};
		q.body = SPAN_LITERAL("{\"hostname\":\"pds.example.com\"}");
	}
	xrpc_request_encode(b, &q);
}

static void put_xrpc_reply(struct buf *b, unsigned number)
{
	struct xrpc_reply p = {number == 0 ? 200 : 501,
			       number == 0 ? SPAN_EMPTY : SPAN_LITERAL("{}")};

	xrpc_reply_encode(b, &p);
}

static void put_host_check(struct buf *b, unsigned number)
{
	struct host_check c = {number == 0 ? HOST_IS_PDS : HOST_FORBIDDEN,
			       number == 0 ? SPAN_EMPTY : SPAN_LITERAL("a private address")};

	host_check_encode(b, &c);
}

static void put_consumer_info(struct buf *b, unsigned number)
{
	struct consumer_info c = {.id = 1};

	if (number == 1)
		c = (struct consumer_info){7,
					   UINT64_C(1770000000000000),
					   3,
					   4000,
					   5,
					   SPAN_LITERAL("[192.0.2.1]:5"),
					   SPAN_LITERAL("agent/1")};
	consumer_info_encode(b, &c);
}

static void put_host_list(struct buf *b, unsigned number)
{
	struct span hosts[2] = {SPAN_LITERAL("a.example.com"), SPAN_LITERAL("b.example.com:8080")};
	struct host_list h = {number > 0, SPAN_EMPTY, 0, hosts};

	if (number == 2) {
		h.cursor = SPAN_LITERAL("page two");
		h.count = 2;
	}
	host_list_encode(b, &h);
}

static const struct codec event = {"event", false, 3, put_event, recode_event};
static const struct codec verified = {"verified", false, 6, put_verified, recode_verified};
static const struct codec ack = {"ack", false, 2, put_ack, recode_ack};
static const struct codec lookup = {"lookup", true, 2, put_lookup, recode_lookup};
static const struct codec identity = {"identity", true, 4, put_identity, recode_identity};
static const struct codec head = {"head", true, 3, put_head, recode_head};
static const struct codec xrpc_request = {"xrpc_request", true, 3, put_xrpc_request,
					  recode_xrpc_request};
static const struct codec xrpc_reply = {"xrpc_reply", true, 2, put_xrpc_reply, recode_xrpc_reply};
static const struct codec host_check = {"host_check", true, 2, put_host_check, recode_host_check};
static const struct codec consumer_info = {"consumer_info", false, 2, put_consumer_info,
					   recode_consumer_info};
static const struct codec host_list = {"host_list", true, 3, put_host_list, recode_host_list};

static const struct codec *const codecs[] = {
	&event,        &verified,   &ack,        &lookup,    &identity,      &head,
	&xrpc_request, &xrpc_reply, &host_check, &host_list, &consumer_info,
};

/* 0, or -EBADMSG with the reader where it was. From memory of just the message's size, so that
 * reading past it shows. */
static int recode(const struct codec *c, struct span message, struct buf *out, size_t *ret_left)
{
	uint8_t *copy = xmalloc(message.len);
	struct reader r = reader_of(span_of(copy, message.len));
	int error;

	if (message.len > 0)
		memcpy(copy, message.ptr, message.len);
	buf_init(out, KIB(64));
	error = c->recode(&r, out);
	if (error && (r.ptr != copy || r.left != message.len))
		test_fail(__FILE__, __LINE__, "%s: a refused message moved the reader", c->name);
	*ret_left = r.left;
	free(copy);
	return error;
}

static void check_identity(const struct codec *c, unsigned number, struct span message)
{
	struct buf out;
	size_t left;

	if (recode(c, message, &out, &left) < 0 || left > 0 || !span_equal(buf_span(&out), message))
		test_fail(__FILE__, __LINE__, "%s %u comes out differently", c->name, number);
	buf_release(&out);
}

static void check_truncations(const struct codec *c, unsigned number, struct span message)
{
	for (size_t len = 0; len < message.len; len++) {
		struct buf out;
		size_t left;

		if (recode(c, span_of(message.ptr, len), &out, &left) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s %u is taken with %zu bytes", c->name,
				  number, len);
		buf_release(&out);
	}
}

static void check_byte_more(const struct codec *c, unsigned number, struct buf *message)
{
	struct buf out;
	size_t left;

	buf_put_u8(message, 0);
	if (recode(c, buf_span(message), &out, &left) != (c->whole ? -EBADMSG : 0))
		test_fail(__FILE__, __LINE__, "%s %u with one byte more", c->name, number);
	if (!c->whole)
		CHECK_INT(left, 1);
	buf_release(&out);
}

TEST(every_message_is_decoded_as_it_was_encoded)
{
	for (size_t i = 0; i < ARRAY_SIZE(codecs); i++) {
		for (unsigned k = 0; k < codecs[i]->examples; k++) {
			struct buf b;

			buf_init(&b, KIB(64));
			codecs[i]->put_example(&b, k);
			check_identity(codecs[i], k, buf_span(&b));
			check_truncations(codecs[i], k, buf_span(&b));
			check_byte_more(codecs[i], k, &b);
			buf_release(&b);
		}
	}
}

#define DID_HEX  "6469643a7765623a6578616d706c652e636f6d"
#define ZEROS_30 "000000000000000000000000000000000000000000000000000000000000"

/* The layouts do not change: stages of two versions may run side by side while a group is upgraded.
 */
static const struct {
	const struct codec *codec;
	unsigned example;
	const char *hex;
} layouts[] = {
	{&event, 2,
	 "0102030405060708 1112131415161718 03000000 ffffffffffff1f00 00401e18240a0600 "
	 "00863ba101000000 0000 00000000"},
	{&ack, 1, "0102030405060708 25"},
	{&lookup, 1, "00401e18240a0600 6712000000000000 1300" DID_HEX},
	{&identity, 3,
	 "05 00863ba101000000 0087930300000000 2000 6469643a706c633a6577766937"
	 "6e787a796f756e367a687872687336346f697a 00 000000" ZEROS_30 "0000 0000"},
	{&head, 1,
	 "6400000000000000 8813000000000000 a00f000000000000 15cd5b0700000000 00401e18240a0600 "
	 "c0fd0e18240a0600 02"},
	{&xrpc_reply, 1, "f501 02000000 7b7d"},
	{&host_check, 0, "01 0000"},
	{&host_list, 1, "01 0000 00000000"},
	{&consumer_info, 1,
	 "0700000000000000 00a0403dce490600 0300000000000000 a00f000000000000 0500000000000000 "
	 "0d00 5b3139322e302e322e315d3a35 0700 6167656e742f31"},
};

TEST(layouts_are_fixed)
{
	for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
		struct buf got, want;

		buf_init(&got, KIB(1));
		buf_init(&want, KIB(1));
		layouts[i].codec->put_example(&got, layouts[i].example);
		test_hex(layouts[i].hex, &want);
		if (!span_equal(buf_span(&got), buf_span(&want)))
			test_fail(__FILE__, __LINE__, "%s %u", layouts[i].codec->name,
				  layouts[i].example);
		buf_release(&got);
		buf_release(&want);
	}
}

/* Offsets of struct verified's layout, its DID of 32 bytes and its frame of 8 included. */
enum {
	AT_HOST_SEQ = 20,
	AT_KIND = 36,
	AT_FLAGS = 37,
	AT_SEQ_OFFSET = 38,
	AT_SEQ_SIZE = 42,
	AT_DID = 45,
	AT_REV = 43 + 2 + 32 + 4 + 8,
	AT_SINCE = AT_REV + 13,
	AT_PREV_DATA = AT_SINCE + 13 + 64,
	AT_STATUS = AT_REV,
};

/* One byte of an example set to a value that is out of range. */
static const struct {
	const struct codec *codec;
	unsigned example;
	const char *name;
	size_t at;
	uint8_t value;
} damages[] = {
	{&event, 0, "host_seq of 2^53", 20 + 6, 0x20},
	{&verified, 0, "host_seq of 2^53", AT_HOST_SEQ + 6, 0x20},
	{&verified, 0, "kind 0", AT_KIND, 0},
	{&verified, 0, "kind 5", AT_KIND, 5},
	{&verified, 0, "active on a commit", AT_FLAGS, 7},
	{&verified, 0, "an unknown flag", AT_FLAGS, 0x13},
	{&verified, 2, "legacy on a sync", AT_FLAGS, 8},
	{&verified, 0, "since without its flag", AT_FLAGS, 2},
	{&verified, 0, "prev_data without its flag", AT_FLAGS, 1},
	{&verified, 1, "since of zeros", AT_FLAGS, 1},
	{&verified, 0, "seq beyond the frame", AT_SEQ_OFFSET, 4},
	{&verified, 0, "seq far beyond the frame", AT_SEQ_OFFSET + 3, 0xff},
	{&verified, 0, "seq of no bytes", AT_SEQ_SIZE, 0},
	{&verified, 0, "seq of four bytes", AT_SEQ_SIZE, 4},
	{&verified, 0, "seq longer than the frame", AT_SEQ_SIZE, 9},
	{&verified, 0, "no DID", AT_DID, 'x'},
	{&verified, 0, "rev is no TID", AT_REV, '1'},
	{&verified, 0, "since is no TID", AT_SINCE, '1'},
	{&verified, 1, "absent since is not zeros", AT_SINCE, '3'},
	{&verified, 1, "absent prev_data is not zeros", AT_PREV_DATA, 1},
	{&verified, 3, "active on an identity", AT_FLAGS, 4},
	{&verified, 4, "since on an account", AT_FLAGS, 5},
	{&verified, 4, "unknown status", AT_STATUS, ACCOUNT_THROTTLED + 1},
	{&ack, 0, "verdict out of range", 8, VERDICT_MAX},
	{&lookup, 0, "no DID", 18, 'x'},
	{&identity, 0, "status 0", 0, 0},
	{&identity, 0, "status 6", 0, 6},
	{&identity, 0, "key though not found", 0, IDENTITY_NOT_FOUND},
	{&identity, 2, "found without key", 0, IDENTITY_FOUND},
	{&identity, 0, "no DID", 19, 'x'},
	{&identity, 0, "curve 0", 51, 0},
	{&identity, 0, "curve 3", 51, 3},
	{&identity, 0, "point not compressed", 52, 4},
	{&head, 1, "first beyond next", 2, 1},
	{&head, 1, "file beyond next", 16 + 2, 1},
	{&head, 1, "next beyond 2^53", 8 + 6, 0x21},
	{&head, 1, "state 0", 48, 0},
	{&head, 1, "state 4", 48, 4},
	{&xrpc_request, 0, "more parameters than can be", 28, XRPC_PARAMS_MAX + 1},
	{&xrpc_reply, 0, "status 0", 0, 0},
	{&xrpc_reply, 0, "status 65480", 1, 0xff},
	{&host_check, 0, "result 0", 0, 0},
	{&host_check, 0, "result 6", 0, 6},
	{&host_list, 1, "ok is 2", 0, 2},
	{&consumer_info, 0, "remote of 65 bytes", 40, 65},
	{&consumer_info, 0, "agent of 81 bytes", 42, 81},
	{&host_list, 1, "1024 hosts", 4, 4},
};

TEST(values_out_of_range_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct buf b, out;
		size_t left;

		buf_init(&b, KIB(64));
		damages[i].codec->put_example(&b, damages[i].example);
		CHECK(b.ptr[damages[i].at] != damages[i].value);
		b.ptr[damages[i].at] = damages[i].value;
		if (recode(damages[i].codec, buf_span(&b), &out, &left) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s: %s", damages[i].codec->name,
				  damages[i].name);
		buf_release(&b);
		buf_release(&out);
	}
}

/* Text fields at their limits and one byte over. */
static int decode_with(const struct codec *c, void (*put)(struct buf *b, struct span s), size_t len)
{
	static uint8_t text[LIMIT_FRAME + 1];
	struct buf b;
	struct reader r;
	int error;

	memset(text, 'a', sizeof(text));
	memcpy(text, "did:m:", 6);
	buf_init(&b, MIB(6));
	put(&b, span_of(text, len));
	r = reader_of(buf_span(&b));
	if (c == &event)
		error = event_decode(&r, &(struct event){0});
	else if (c == &verified)
		error = verified_decode(&r, &(struct verified){0});
	else {
		struct buf out;

		buf_init(&out, MIB(6));
		error = c->recode(&r, &out);
		buf_release(&out);
	}
	buf_release(&b);
	return error;
}

static void put_event_host(struct buf *b, struct span s)
{
	event_encode(b, &(struct event){.host = s});
}

static void put_event_frame(struct buf *b, struct span s)
{
	event_encode(b, &(struct event){.frame = s});
}

static void put_verified_did(struct buf *b, struct span s)
{
	struct verified v = verified_example(0);

	v.did = s;
	verified_encode(b, &v);
}

static void put_verified_frame(struct buf *b, struct span s)
{
	struct verified v = verified_example(0);

	v.frame = s;
	verified_encode(b, &v);
}

static void put_lookup_did(struct buf *b, struct span s)
{
	lookup_encode(b, &(struct lookup){.did = s});
}

static void put_identity_pds(struct buf *b, struct span s)
{
	identity_encode(b, &(struct identity){.status = IDENTITY_FOUND,
					      .did = SPAN_LITERAL("did:m:a"),
					      .key = {CURVE_K256, {2}},
					      .pds = s});
}

static void put_identity_handle(struct buf *b, struct span s)
{
	identity_encode(b, &(struct identity){.status = IDENTITY_NOT_FOUND,
					      .did = SPAN_LITERAL("did:m:a"),
					      .handle = s});
}

static void put_request_method(struct buf *b, struct span s)
{
	xrpc_request_encode(b, &(struct xrpc_request){.method = s});
}

static void put_request_value(struct buf *b, struct span s)
{
	xrpc_request_encode(b,
			    &(struct xrpc_request){.param_count = 1, .params = {{SPAN_EMPTY, s}}});
}

static void put_request_name(struct buf *b, struct span s)
{
	xrpc_request_encode(b,
			    &(struct xrpc_request){.param_count = 1, .params = {{s, SPAN_EMPTY}}});
}

static void put_request_body(struct buf *b, struct span s)
{
	xrpc_request_encode(b, &(struct xrpc_request){.body = s});
}

static void put_request_remote(struct buf *b, struct span s)
{
	xrpc_request_encode(b, &(struct xrpc_request){.remote = s});
}

static void put_reason(struct buf *b, struct span s)
{
	host_check_encode(b, &(struct host_check){HOST_IS_PDS, s});
}

static void put_list_cursor(struct buf *b, struct span s)
{
	host_list_encode(b, &(struct host_list){.cursor = s});
}

static void put_list_host(struct buf *b, struct span s)
{
	host_list_encode(b, &(struct host_list){.count = 1, .hosts = &s});
}

TEST(lengths_have_limits)
{
	static const struct {
		const char *name;
		const struct codec *codec;
		void (*put)(struct buf *b, struct span s);
		size_t limit;
	} fields[] = {
		{"event host", &event, put_event_host, LIMIT_HOST},
		{"event frame", &event, put_event_frame, LIMIT_FRAME},
		{"verified did", &verified, put_verified_did, LIMIT_DID},
		{"verified frame", &verified, put_verified_frame, LIMIT_FRAME},
		{"lookup did", &lookup, put_lookup_did, LIMIT_DID},
		{"identity pds", &identity, put_identity_pds, LIMIT_HOST},
		{"identity handle", &identity, put_identity_handle, LIMIT_HANDLE},
		{"request method", &xrpc_request, put_request_method, LIMIT_NSID},
		{"request value", &xrpc_request, put_request_value, XRPC_PARAM_MAX},
		{"request name", &xrpc_request, put_request_name, XRPC_PARAM_MAX},
		{"request body", &xrpc_request, put_request_body, LIMIT_XRPC_BODY},
		{"request remote", &xrpc_request, put_request_remote, LIMIT_REMOTE},
		{"check reason", &host_check, put_reason, LIMIT_REASON},
		{"list cursor", &host_list, put_list_cursor, XRPC_PARAM_MAX},
		{"list host", &host_list, put_list_host, LIMIT_HOST},
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (decode_with(fields[i].codec, fields[i].put, fields[i].limit) != 0)
			test_fail(__FILE__, __LINE__, "%s is refused at its limit", fields[i].name);
		if (decode_with(fields[i].codec, fields[i].put, fields[i].limit + 1) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s is taken over its limit", fields[i].name);
	}
}

TEST(found_identities_have_a_pds)
{
	CHECK_INT(decode_with(&identity, put_identity_pds, 1), 0);
	CHECK_INT(decode_with(&identity, put_identity_pds, 0), -EBADMSG);
}

TEST(verified_keeps_every_field)
{
	for (unsigned i = 0; i < verified.examples; i++) {
		struct verified v = verified_example(i), got;
		struct buf b;
		struct reader r;

		buf_init(&b, KIB(1));
		verified_encode(&b, &v);
		r = reader_of(buf_span(&b));
		CHECK_INT(verified_decode(&r, &got), 0);
		CHECK(got.ticket == v.ticket && got.host_id == v.host_id &&
		      got.host_epoch == v.host_epoch);
		CHECK(got.host_seq == v.host_seq && got.received_usec == v.received_usec &&
		      got.kind == v.kind);
		CHECK(got.seq_offset == v.seq_offset && got.seq_size == v.seq_size);
		CHECK_SPAN(got.did, v.did);
		CHECK_SPAN(got.frame, v.frame);
		CHECK(memcmp(got.rev, v.rev, TID_SIZE) == 0 &&
		      memcmp(got.since, v.since, TID_SIZE) == 0);
		CHECK(memcmp(got.commit, v.commit, SHA256_SIZE) == 0);
		CHECK(memcmp(got.data, v.data, SHA256_SIZE) == 0);
		CHECK(memcmp(got.prev_data, v.prev_data, SHA256_SIZE) == 0);
		CHECK(got.has_since == v.has_since && got.has_prev_data == v.has_prev_data);
		CHECK(got.is_legacy == v.is_legacy);
		CHECK(got.active == v.active && got.status == v.status);
		buf_release(&b);
	}
}

TEST(messages_follow_one_another)
{
	struct buf b;
	struct reader r;
	struct ack a;

	buf_init(&b, KIB(1));
	for (unsigned i = 0; i < 3; i++)
		ack_encode(&b, &(struct ack){i, VERDICT_DUPLICATE});
	r = reader_of(buf_span(&b));
	for (unsigned i = 0; i < 3; i++) {
		CHECK_INT(ack_decode(&r, &a), 0);
		CHECK(a.ticket == i && a.verdict == VERDICT_DUPLICATE);
	}
	CHECK_INT(r.left, 0);
	buf_release(&b);
}

TEST(heads_of_messages)
{
	static const struct {
		const char *name, *hex;
		int error;
	} cases[] = {
		{"lookup", "0106", 0},           {"metrics", "0140", 0},
		{"version 0", "0006", -EBADMSG}, {"version 2", "0206", -EBADMSG},
		{"type 0", "0100", -EBADMSG},    {"type 10", "010a", -EBADMSG},
		{"type 255", "01ff", -EBADMSG},  {"only a version", "01", -EBADMSG},
		{"empty", "", -EBADMSG},
	};
	struct buf b;

	buf_init(&b, 16);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum message_type type = MESSAGE_OPEN;
		struct reader r;

		buf_clear(&b);
		test_hex(cases[i].hex, &b);
		r = reader_of(buf_span(&b));
		if (message_get_type(&r, &type) != cases[i].error)
			test_fail(__FILE__, __LINE__, "%s", cases[i].name);
		CHECK_INT(r.left, cases[i].error ? b.len : 0);
		CHECK((type == MESSAGE_OPEN) == (cases[i].error != 0));
	}
	buf_clear(&b);
	message_put_type(&b, MESSAGE_METRICS_REPLY);
	CHECK_SPAN(buf_span(&b), SPAN_LITERAL("\x01\x41"));
	buf_release(&b);
}

TEST(text_has_the_limit_that_is_asked_for)
{
	struct span s = SPAN_LITERAL("old");
	struct reader r;
	struct buf b;

	buf_init(&b, 16);
	message_put_text(&b, SPAN_LITERAL("four"));
	r = reader_of(buf_span(&b));
	CHECK_INT(message_get_text(&r, 3, &s), -EBADMSG);
	CHECK(span_is(s, "old") && r.left == 6);
	CHECK_INT(message_get_text(&r, 4, &s), 0);
	CHECK(span_is(s, "four") && r.left == 0);
	buf_release(&b);
}

TEST(event_kinds_have_their_names)
{
	CHECK_STR(event_kind_name(EVENT_COMMIT), "#commit");
	CHECK_STR(event_kind_name(EVENT_SYNC), "#sync");
	CHECK_STR(event_kind_name(EVENT_IDENTITY), "#identity");
	CHECK_STR(event_kind_name(EVENT_ACCOUNT), "#account");
	CHECK(!event_kind_name((enum event_kind)0));
	CHECK(!event_kind_name((enum event_kind)5));
}

TEST(account_statuses)
{
	static const struct {
		bool active;
		const char *text;
		enum account_status status;
	} cases[] = {
		{true, "", ACCOUNT_ACTIVE},
		{true, "takendown", ACCOUNT_ACTIVE},
		{true, "desynchronized", ACCOUNT_DESYNCHRONIZED},
		{true, "throttled", ACCOUNT_THROTTLED},
		{true, "unheard-of", ACCOUNT_ACTIVE},
		{false, "", ACCOUNT_INACTIVE},
		{false, "deactivated", ACCOUNT_DEACTIVATED},
		{false, "suspended", ACCOUNT_SUSPENDED},
		{false, "takendown", ACCOUNT_TAKENDOWN},
		{false, "deleted", ACCOUNT_DELETED},
		{false, "desynchronized", ACCOUNT_DESYNCHRONIZED},
		{false, "throttled", ACCOUNT_THROTTLED},
		{false, "Takendown", ACCOUNT_INACTIVE},
		{false, "unheard-of", ACCOUNT_INACTIVE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum account_status got = account_status_parse(cases[i].active,
							       span_str(cases[i].text));

		if (got != cases[i].status)
			test_fail(__FILE__, __LINE__, "%d \"%s\"", cases[i].active, cases[i].text);
		if (got >= ACCOUNT_DEACTIVATED)
			CHECK_STR(account_status_name(got), cases[i].text);
		else
			CHECK(!account_status_name(got));
	}
	CHECK(!account_status_name((enum account_status)8));
}

TEST(parameters_are_found_by_name)
{
	struct xrpc_request q = {
		.param_count = 2,
		.params = {{SPAN_LITERAL("did"), SPAN_LITERAL("did:m:a")},
			   {SPAN_LITERAL("did"), SPAN_LITERAL("second")}},
	};

	CHECK_SPAN(xrpc_param(&q, "did"), SPAN_LITERAL("did:m:a"));
	CHECK_INT(xrpc_param(&q, "di").len, 0);
	CHECK_INT(xrpc_param(&q, "limit").len, 0);
}
