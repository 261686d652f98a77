#include "common/car.h"
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "common/cbor.h"
#include "common/limits.h"

#define ZEROS_32 "0000000000000000000000000000000000000000000000000000000000000000"
#define LINK     "d82a582500 01711220" ZEROS_32
#define RAW_LINK "d82a582500 01551220" ZEROS_32
#define ROOTS    "65 726f6f7473"
#define VERSION  "67 76657273696f6e"

static const struct {
	const char *name, *header;
	bool good;
} headers[] = {
	{"one root", "a2" ROOTS "81" LINK VERSION "01", true},
	{"raw root", "a2" ROOTS "81" RAW_LINK VERSION "01", true},
	{"two roots", "a2" ROOTS "82" LINK LINK VERSION "01", true},
	{"two roots, the second of an unknown hash",
	 "a2" ROOTS "82" LINK "d82a440001711e" VERSION "01", true},
	{"another key", "a3 6161 82 01 02" ROOTS "81" LINK VERSION "01", true},
	{"keys out of order", "a2" VERSION "01" ROOTS "81" LINK, false},
	{"no roots", "a1" VERSION "01", false},
	{"empty roots", "a2" ROOTS "80" VERSION "01", false},
	{"roots null", "a2" ROOTS "f6" VERSION "01", false},
	{"root null", "a2" ROOTS "81 f6" VERSION "01", false},
	{"root not blessed", "a2" ROOTS "81 d82a440001711e" VERSION "01", false},
	{"second root no CID", "a2" ROOTS "82" LINK "00" VERSION "01", false},
	{"no version", "a1" ROOTS "81" LINK, false},
	{"version 2", "a2" ROOTS "81" LINK VERSION "02", false},
	{"version is text", "a2" ROOTS "81" LINK VERSION "6131", false},
	{"bytes after the header", "a2" ROOTS "81" LINK VERSION "01 00", false},
	{"no map", "80", false},
	{"empty map", "a0", false},
	{"empty", "", false},
};

/* With its varint, of one byte or two. */
static void put_section(struct buf *b, const char *hex)
{
	struct buf section;

	buf_init(&section, 256);
	test_hex(hex, &section);
	if (section.len > 127)
		buf_put_u8(b, (uint8_t)(section.len | 0x80));
	buf_put_u8(b, (uint8_t)(section.len > 127 ? section.len >> 7 : section.len));
	buf_append(b, buf_span(&section));
	buf_release(&section);
}

TEST(headers_are_strict)
{
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct buf b;
		struct car car;

		buf_init(&b, KIB(1));
		put_section(&b, headers[i].header);
		if ((car_open(buf_span(&b), &car) == 0) != headers[i].good)
			test_fail(__FILE__, __LINE__, "%s", headers[i].name);
		else if (headers[i].good)
			CHECK(!car_more(&car));
		buf_release(&b);
	}
}

static const struct {
	const char *name, *bytes;
	bool good;
} sections[] = {
	{"block", "26 01711220" ZEROS_32 "f6f6", true},
	{"raw block", "25 01551220" ZEROS_32 "00", true},
	{"empty block", "24 01711220" ZEROS_32, true},
	{"shorter than a CID", "23 01711220" ZEROS_32, false},
	{"section of no bytes", "00", false},
	{"longer than the archive", "27 01711220" ZEROS_32 "f6f6", false},
	{"length in more bytes than needed", "a600 01711220" ZEROS_32 "f6f6", false},
	{"length of 2^63 - 1", "ffffffffffffffff7f 01711220" ZEROS_32, false},
	{"length not ended", "a6", false},
	{"CID of version 0", "24 1220" ZEROS_32 "f6f6", false},
	{"CID of another codec", "24 01701220" ZEROS_32, false},
	{"CID of another hash", "24 01711b20" ZEROS_32, false},
};

TEST(blocks_are_strict)
{
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		struct buf b;
		struct car car, before;
		struct car_block block;

		buf_init(&b, KIB(1));
		put_section(&b, headers[0].header);
		test_hex(sections[i].bytes, &b);
		CHECK_INT(car_open(buf_span(&b), &car), 0);
		CHECK(car_more(&car));
		before = car;
		if ((car_next(&car, &block) == 0) != sections[i].good)
			test_fail(__FILE__, __LINE__, "%s", sections[i].name);
		if (!sections[i].good)
			CHECK(car.blocks.ptr == before.blocks.ptr &&
			      car.blocks.left == before.blocks.left);
		buf_release(&b);
	}
}

TEST(header_of_one_root_has_its_known_bytes)
{
	struct cid root = {.codec = CID_DAG_CBOR};
	struct buf got, want;

	buf_init(&got, KIB(1));
	buf_init(&want, KIB(1));
	car_put_header(&got, &root);
	test_hex("3a a2 65726f6f7473 81 d82a582500 01711220" ZEROS_32 "6776657273696f6e 01", &want);
	CHECK_SPAN(buf_span(&got), buf_span(&want));
	CHECK_INT(got.len, 59);
	buf_release(&got);
	buf_release(&want);
}

/* Sizes around those at which the varint grows. */
static const size_t sizes[] = {0, 1, 91, 92, 1000, 16347, 16348, 100000};

static void put_archive(struct buf *b, const uint8_t *data)
{
	struct cid cid;

	cid_of_block(span_of(data, sizes[1]), &cid);
	car_put_header(b, &cid);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		cid_of_block(span_of(data, sizes[i]), &cid);
		car_put_block(b, &cid, span_of(data, sizes[i]));
	}
}

TEST(what_is_written_is_read)
{
	uint8_t *data = xcalloc(1, 100000);
	struct car_block block;
	struct car car;
	struct cid cid;
	struct buf b;

	buf_init(&b, MIB(1));
	put_archive(&b, data);
	CHECK_INT(car_open(buf_span(&b), &car), 0);
	cid_of_block(span_of(data, sizes[1]), &cid);
	CHECK(cid_equal(&car.root, &cid));
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(car_more(&car));
		CHECK_INT(car_next(&car, &block), 0);
		cid_of_block(span_of(data, sizes[i]), &cid);
		CHECK(cid_equal(&block.cid, &cid));
		CHECK_SPAN(block.data, span_of(data, sizes[i]));
	}
	CHECK(!car_more(&car));
	CHECK_INT(car_next(&car, &block), -EBADMSG);
	buf_release(&b);
	free(data);
}

/* Whether the archive is read to its end, and how many blocks it has. */
static bool reads(struct span archive, size_t *ret_blocks)
{
	struct car_block block;
	struct car car;

	*ret_blocks = 0;
	if (car_open(archive, &car) < 0)
		return false;
	for (; car_more(&car); ++*ret_blocks)
		if (car_next(&car, &block) < 0)
			return false;
	return true;
}

TEST(cut_archives_are_refused_but_between_blocks)
{
	static const uint8_t data[8] = "a block";
	struct cid cid;
	struct buf b;
	size_t ends[3], blocks, at = 0;

	buf_init(&b, KIB(1));
	cid_of_block(span_of(data, sizeof(data)), &cid);
	car_put_header(&b, &cid);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		ends[i] = b.len;
		car_put_block(&b, &cid, span_of(data, sizeof(data)));
	}
	for (size_t len = 0; len < b.len; len++) {
		bool at_end = at < ARRAY_SIZE(ends) && len == ends[at];

		CHECK_INT(reads(span_of(b.ptr, len), &blocks), at_end);
		if (at_end)
			CHECK_INT(blocks, at++);
	}
	CHECK_INT(at, ARRAY_SIZE(ends));
	buf_release(&b);
}

TEST(header_size_has_a_limit)
{
	struct cid root = {.codec = CID_DAG_CBOR};
	uint8_t binary[CID_SIZE], padding[LIMIT_CAR_HEADER] = {0};
	const size_t rest = 58 + 2 + 3; /* a header of one root; key and head of the padding */
	struct car car;

	cid_encode(&root, binary);
	for (size_t size = LIMIT_CAR_HEADER; size <= LIMIT_CAR_HEADER + 1; size++) {
		struct buf header, b;

		buf_init(&header, KIB(8));
		buf_init(&b, KIB(8));
		cbor_put_map(&header, 3);
		cbor_put_text(&header, SPAN_LITERAL("p"));
		cbor_put_bytes(&header, span_of(padding, size - rest));
		cbor_put_text(&header, SPAN_LITERAL("roots"));
		cbor_put_array(&header, 1);
		cbor_put_cid(&header, span_of(binary, sizeof(binary)));
		cbor_put_text(&header, SPAN_LITERAL("version"));
		cbor_put_integer(&header, 1);
		CHECK_INT(header.len, size);
		buf_put_u8(&b, (uint8_t)(size | 0x80));
		buf_put_u8(&b, (uint8_t)(size >> 7));
		buf_append(&b, buf_span(&header));
		CHECK_INT(car_open(buf_span(&b), &car), size > LIMIT_CAR_HEADER ? -EBADMSG : 0);
		buf_release(&header);
		buf_release(&b);
	}
}
