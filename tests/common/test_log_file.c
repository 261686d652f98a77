#include "common/log_file.h"

#include <errno.h>

#include "tests/test.h"

TEST(names)
{
	char name[LOG_FILE_NAME_SIZE];

	CHECK_STR(log_file_name(1, LOG_FILE_MESSAGES, name), "00000000000000000001.ws");
	CHECK_STR(log_file_name(1, LOG_FILE_INDEX, name), "00000000000000000001.idx");
	CHECK_STR(log_file_name(UINT64_MAX, LOG_FILE_INDEX, name), "18446744073709551615.idx");
}

static const struct {
	const char *name;
	int error;
	uint64_t seq;
	enum log_file_type type;
} parsed[] = {
	{"00000000000000000001.ws", 0, 1, LOG_FILE_MESSAGES},
	{"00000000000000000042.idx", 0, 42, LOG_FILE_INDEX},
	{"18446744073709551615.ws", 0, UINT64_MAX, LOG_FILE_MESSAGES},
	{"18446744073709551616.ws", -EBADMSG, 0, 0}, /* one too many for 64 bits */
	{"99999999999999999999.ws", -EBADMSG, 0, 0},
	{"", -EBADMSG, 0, 0},
	{".", -EBADMSG, 0, 0},
	{"1.ws", -EBADMSG, 0, 0},
	{"00000000000000000001", -EBADMSG, 0, 0},
	{"00000000000000000001.", -EBADMSG, 0, 0},
	{"00000000000000000001.wss", -EBADMSG, 0, 0},
	{"00000000000000000001.ws~", -EBADMSG, 0, 0},
	{"0000000000000000000x.ws", -EBADMSG, 0, 0},
	{"+0000000000000000001.ws", -EBADMSG, 0, 0},
	{"000000000000000000001.ws", -EBADMSG, 0, 0},
};

TEST(names_are_parsed)
{
	for (size_t i = 0; i < ARRAY_SIZE(parsed); i++) {
		uint64_t seq = 0;
		enum log_file_type type = 0;

		CHECK_INT(log_file_name_parse(parsed[i].name, &seq, &type), parsed[i].error);
		CHECK(seq == parsed[i].seq);
		CHECK_INT(type, parsed[i].type);
	}
}

static const struct {
	uint32_t payload;
	const char *header;
} headers[] = {
	{0, "82 00"},
	{1, "82 01"},
	{125, "82 7d"},
	{126, "82 7e 00 7e"},
	{65535, "82 7e ff ff"},
	{65536, "82 7f 00 00 00 00 00 01 00 00"},
	{LIMIT_FRAME, "82 7f 00 00 00 00 00 4c 4b 40"},
};

TEST(message_headers)
{
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		uint8_t header[LOG_MESSAGE_HEADER_MAX];
		size_t size = log_message_header_encode(headers[i].payload, header);
		uint32_t payload = UINT32_MAX;
		struct buf want;

		buf_init(&want, LOG_MESSAGE_HEADER_MAX);
		test_hex(headers[i].header, &want);
		CHECK_SPAN(span_of(header, size), buf_span(&want));
		buf_release(&want);

		struct reader r = reader_of(span_of(header, size));

		CHECK_INT(log_message_header_decode(&r, &payload), 0);
		CHECK_INT(payload, headers[i].payload);
		CHECK_INT(r.left, 0);
		for (size_t cut = 0; cut < size; cut++) {
			r = reader_of(span_of(header, cut));
			CHECK_INT(log_message_header_decode(&r, &payload), -EBADMSG);
			CHECK_INT(r.left, cut);
		}
	}
}

static const struct {
	const char *what;
	const char *header;
} refused_headers[] = {
	{"text", "81 01"},
	{"not final", "02 01"},
	{"reserved bit", "c2 01"},
	{"close", "88 00"},
	{"masked", "82 81 00 00 00 00"},
	{"125 in 16 bits", "82 7e 00 7d"},
	{"65535 in 64 bits", "82 7f 00 00 00 00 00 00 ff ff"},
	{"larger than a frame may be", "82 7f 00 00 00 00 00 4c 4b 41"},
	{"top bit of the length", "82 7f 80 00 00 00 00 01 00 00"},
};

TEST(other_message_headers_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused_headers); i++) {
		uint32_t payload = 7;
		struct buf b;

		buf_init(&b, 16);
		test_hex(refused_headers[i].header, &b);
		struct reader r = reader_of(buf_span(&b));

		if (log_message_header_decode(&r, &payload) != -EBADMSG || payload != 7 ||
		    r.left != b.len)
			test_fail(__FILE__, __LINE__, "%s", refused_headers[i].what);
		buf_release(&b);
	}
}

static const struct log_index_record example = {
	.offset = 0x0102030405060708,
	.length = 0x00111213,
	.crc32c = 0x21222324,
	.usec = 0x3132333435363738,
	.host_id = 0x4142434445464748,
	.host_seq = 0x5152535455565758,
	.host_epoch = 0x61626364,
	.kind = 4,
};

/* The layout is on disk: it does not change without a new name. */
TEST(index_record_layout)
{
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];
	struct buf want;

	buf_init(&want, LOG_INDEX_RECORD_SIZE);
	log_index_record_encode(&example, bytes);
	test_hex("08 07 06 05 04 03 02 01  13 12 11 00  24 23 22 21"
		 "38 37 36 35 34 33 32 31  48 47 46 45 44 43 42 41"
		 "58 57 56 55 54 53 52 51  64 63 62 61  04 00 00 00",
		 &want);
	CHECK_SPAN(span_of(bytes, 48), buf_span(&want));
	buf_release(&want);
}

TEST(index_record_comes_back)
{
	uint8_t bytes[LOG_INDEX_RECORD_SIZE], again[LOG_INDEX_RECORD_SIZE];
	struct log_index_record r = {0};

	log_index_record_encode(&example, bytes);
	CHECK_INT(log_index_record_decode(span_of(bytes, sizeof(bytes)), &r), 0);
	CHECK(r.offset == example.offset && r.length == example.length &&
	      r.crc32c == example.crc32c && r.usec == example.usec &&
	      r.host_id == example.host_id && r.host_seq == example.host_seq &&
	      r.host_epoch == example.host_epoch && r.kind == example.kind);
	log_index_record_encode(&r, again);
	CHECK(memcmp(bytes, again, sizeof(bytes)) == 0);
}

TEST(damaged_index_records_are_refused)
{
	uint8_t bytes[LOG_INDEX_RECORD_SIZE + 1] = {0};
	struct log_index_record r;

	log_index_record_encode(&example, bytes);
	for (size_t len = 0; len <= sizeof(bytes); len++)
		if (len != LOG_INDEX_RECORD_SIZE)
			CHECK_INT(log_index_record_decode(span_of(bytes, len), &r), -EBADMSG);
	for (size_t bit = 0; bit < (size_t)LOG_INDEX_RECORD_SIZE * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK_INT(log_index_record_decode(span_of(bytes, LOG_INDEX_RECORD_SIZE), &r),
			  -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memset(bytes, 0, sizeof(bytes)); /* what a power cut may leave */
	CHECK_INT(log_index_record_decode(span_of(bytes, LOG_INDEX_RECORD_SIZE), &r), -EBADMSG);
}

static const struct {
	const char *what;
	struct log_index_record record;
} impossible[] = {
	{"no length", {.length = 0}},
	{"a header alone", {.length = 2}},
	{"longer than a message may be", {.length = LOG_MESSAGE_MAX + 1}},
	{"beyond the largest file", {.offset = INT64_MAX, .length = 100}},
};

TEST(impossible_index_records_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(impossible); i++) {
		uint8_t bytes[LOG_INDEX_RECORD_SIZE];
		struct log_index_record r;

		log_index_record_encode(&impossible[i].record, bytes);
		if (log_index_record_decode(span_of(bytes, sizeof(bytes)), &r) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s", impossible[i].what);
	}
}
