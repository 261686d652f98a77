#include "common/crc32c.h"

#include "tests/test.h"

/* RFC 3720, B.4, and the check value of the usual catalogues. */
TEST(known_values)
{
	uint8_t bytes[32];
	struct span s = span_of(bytes, sizeof(bytes));

	CHECK_INT(crc32c(0, SPAN_EMPTY), 0);
	CHECK_INT(crc32c(0, SPAN_LITERAL("123456789")), 0xe3069283);
	CHECK_INT(crc32c_table(0, SPAN_LITERAL("123456789")), 0xe3069283);
	memset(bytes, 0, sizeof(bytes));
	CHECK_INT(crc32c(0, s), 0x8a9136aa);
	CHECK_INT(crc32c_table(0, s), 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	CHECK_INT(crc32c(0, s), 0x62a8ab43);
	CHECK_INT(crc32c_table(0, s), 0x62a8ab43);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	CHECK_INT(crc32c(0, s), 0x46dd794e);
	CHECK_INT(crc32c_table(0, s), 0x46dd794e);
}

TEST(both_ways_agree_at_every_length_and_alignment)
{
	uint8_t bytes[80];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)test_random();
	for (size_t start = 0; start < 9; start++)
		for (size_t len = 0; len <= sizeof(bytes) - start; len++) {
			struct span s = span_of(bytes + start, len);

			CHECK_INT(crc32c(0, s), crc32c_table(0, s));
		}
}

TEST(goes_on_from_a_part)
{
	struct span s = SPAN_LITERAL("the quick brown fox jumps over the lazy dog");

	for (size_t cut = 0; cut <= s.len; cut++) {
		uint32_t first = crc32c(0, span_of(s.ptr, cut));

		CHECK_INT(crc32c(first, span_of(s.ptr + cut, s.len - cut)), crc32c(0, s));
		first = crc32c_table(0, span_of(s.ptr, cut));
		CHECK_INT(crc32c_table(first, span_of(s.ptr + cut, s.len - cut)), crc32c(0, s));
	}
}
