#include "common/cbor.h"
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include <cbor.h>
#include <jansson.h>

#include "common/cid.h"
#include "common/limits.h"

static const struct {
	const char *name, *hex;
} good[] = {
	{"0", "00"},
	{"23", "17"},
	{"24", "1818"},
	{"255", "18ff"},
	{"256", "190100"},
	{"65536", "1a00010000"},
	{"2^32", "1b0000000100000000"},
	{"greatest integer", "1b7fffffffffffffff"},
	{"-1", "20"},
	{"-25", "3818"},
	{"smallest integer", "3b7fffffffffffffff"},
	{"empty bytes", "40"},
	{"bytes", "43ff00fe"},
	{"empty text", "60"},
	{"text of 24", "7818 616161616161616161616161616161616161616161616161"},
	{"two-byte character", "62c3a9"},
	{"three-byte character", "63e282ac"},
	{"four-byte character", "64f09f9880"},
	{"last character before the surrogates", "63ed9fbf"},
	{"first character after the surrogates", "63ee8080"},
	{"last character", "64f48fbfbf"},
	{"NUL is a character", "6100"},
	{"empty array", "80"},
	{"array", "83010203"},
	{"empty map", "a0"},
	{"map in order", "a3 6161 01 6162 02 626161 03"},
	{"keys differ in a byte over 0x7f", "a2 617f 01 62c280 02"},
	{"equal keys at different levels", "a1 6161 a1 6161 a1 6161 00"},
	{"a level's keys start anew", "82 a1 617a 00 a1 6161 00"},
	{"an outer order goes on after an inner map", "a2 6162 a1 617a 00 6163 00"},
	{"false", "f4"},
	{"true", "f5"},
	{"null", "f6"},
	{"CID of one byte", "d82a420001"},
	{"blessed CID",
	 "d82a582500 01711220 0000000000000000000000000000000000000000000000000000000000000000"},
};

static const struct {
	const char *name, *hex;
} bad[] = {
	{"nothing", ""},
	{"0 in two bytes", "1800"},
	{"23 in two bytes", "1817"},
	{"255 in three bytes", "1900ff"},
	{"65535 in five bytes", "1a0000ffff"},
	{"2^32-1 in nine bytes", "1b00000000ffffffff"},
	{"over int64", "1b8000000000000000"},
	{"under int64", "3b8000000000000000"},
	{"reserved info 28", "1c"},
	{"reserved info 30", "1e"},
	{"reserved info 28 with sixteen bytes", "1c01010101010101010101010101010101"},
	{"indefinite bytes", "5f4100ff"},
	{"indefinite text", "7f6161ff"},
	{"indefinite array", "9f00ff"},
	{"indefinite map", "bf616100ff"},
	{"break alone", "ff"},
	{"long length of bytes", "580100"},
	{"long length of text", "780161"},
	{"long length of array", "980100"},
	{"long length of map", "b801616100"},
	{"undefined", "f7"},
	{"simple 0", "e0"},
	{"simple 19", "f3"},
	{"false in two bytes", "f814"},
	{"simple 32", "f820"},
	{"half float", "f93c00"},
	{"half float that reads as null", "f90016"},
	{"single float", "fa3f800000"},
	{"double float", "fb3ff0000000000000"},
	{"double NaN", "fb7ff8000000000000"},
	{"tag 0", "c06161"},
	{"tag 2, a bignum", "c24101"},
	{"tag 41", "d829420001"},
	{"tag 43", "d82b420001"},
	{"tag 42 in three bytes", "d9002a420001"},
	{"CID without its prefix",
	 "d82a58240171122000000000000000000000000000000000000000000000000000000000000000"},
	{"CID with another prefix", "d82a420101"},
	{"CID of nothing", "d82a4100"},
	{"CID of no bytes", "d82a40"},
	{"CID as text", "d82a620001"},
	{"CID as array", "d82a80"},
	{"tag without content", "d82a"},
	{"bytes cut short", "4200"},
	{"bytes of 2^63", "5b8000000000000000"},
	{"text cut short", "6261"},
	{"array cut short", "8200"},
	{"array of 2^27", "9a08000000"},
	{"array of 2^64-1", "9bffffffffffffffff"},
	{"map of 2^27", "ba08000000"},
	{"map of 2^63", "bb8000000000000000"},
	{"map without its value", "a16161"},
	{"map key is an integer", "a10000"},
	{"map key is bytes", "a1416100"},
	{"map key is empty", "a16000"},
	{"map keys unsorted", "a2 6162 00 6161 00"},
	{"map keys bytewise, not by length", "a2 626161 00 6162 00"},
	{"map key twice", "a2 6161 00 6161 01"},
	{"map key twice, apart", "a3 6161 00 6162 00 6161 00"},
	{"inner map unsorted", "a1 6161 a2 6162 00 6161 00"},
	{"map in array unsorted", "81 a2 6162 00 6161 00"},
	{"outer order broken after an inner map", "a2 6162 a1 617a 00 6161 00"},
	{"map key not UTF-8", "a161ff00"},
	{"continuation alone", "6180"},
	{"sequence cut short", "61c3"},
	{"sequence broken", "62c328"},
	{"overlong of two", "62c0af"},
	{"overlong of two, c1", "62c1bf"},
	{"overlong of three", "63e09fbf"},
	{"overlong of four", "64f08fbfbf"},
	{"surrogate, first", "63eda080"},
	{"surrogate, last", "63edbfbf"},
	{"over U+10FFFF", "64f4908080"},
	{"lead byte f5", "64f5808080"},
	{"lead byte ff", "61ff"},
	{"bad byte after eight good ones", "69 6161616161616161ff"},
	{"bad byte within eight", "68 616161ff61616161"},
};

static struct buf from_hex(const char *hex)
{
	struct buf b;

	buf_init(&b, MIB(1));
	test_hex(hex, &b);
	return b;
}

TEST(good_items_are_taken)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct buf b = from_hex(good[i].hex);

		if (cbor_check(buf_span(&b)) != 0)
			test_fail(__FILE__, __LINE__, "%s was refused", good[i].name);
		buf_release(&b);
	}
}

TEST(bad_items_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buf b = from_hex(bad[i].hex);
		struct reader r = reader_of(buf_span(&b));
		struct span raw = SPAN_LITERAL("old");

		if (cbor_skip(&r, &raw) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i].name);
		if (r.ptr != b.ptr || r.left != b.len || !span_is(raw, "old"))
			test_fail(__FILE__, __LINE__, "%s changed something", bad[i].name);
		buf_release(&b);
	}
}

/* From memory of just that size, so that reading past it shows. */
static int check_copy(struct span item)
{
	uint8_t *copy = xmalloc(item.len);
	int error;

	if (item.len > 0)
		memcpy(copy, item.ptr, item.len);
	error = cbor_check(span_of(copy, item.len));
	free(copy);
	return error;
}

/* The bytes of a code point, and how many. */
static size_t put_character(uint8_t ret[4], uint32_t c)
{
	size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	if (size == 1) {
		ret[0] = (uint8_t)c;
		return 1;
	}
	for (size_t i = size; i-- > 1; c >>= 6)
		ret[i] = (uint8_t)(0x80 | (c & 0x3f));
	ret[0] = (uint8_t)(0xf0u << (4 - size) | c);
	return size;
}

/* Behind so much ASCII, so that it stands at every place of a word. */
static bool is_text(size_t before, const uint8_t *bytes, size_t len)
{
	uint8_t item[16] = {(uint8_t)(0x60 + before + len)};

	memset(item + 1, 'a', before);
	memcpy(item + 1 + before, bytes, len);
	return cbor_check(span_of(item, 1 + before + len)) == 0;
}

TEST(every_character_is_text_and_no_surrogate)
{
	uint8_t bytes[4];

	for (uint32_t c = 0; c < 0x110000 && !test_has_failed(); c++) {
		size_t len = put_character(bytes, c);

		CHECK(is_text(c % 9, bytes, len) == (c < 0xd800 || c > 0xdfff));
	}
}

/* By decoding a character, and writing it again. */
static bool begins_with_character(const uint8_t *bytes, size_t len)
{
	uint32_t c = len == 1 ? bytes[0] : bytes[0] & (0x7fu >> len);
	uint8_t same[4];

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (bytes[i] & 0x3f);
	return c < 0x110000 && (c < 0xd800 || c > 0xdfff) && put_character(same, c) == len &&
	       memcmp(same, bytes, len) == 0;
}

static bool is_utf8(const uint8_t *bytes, size_t len)
{
	for (size_t i = 1; i <= len && i <= 4; i++)
		if (begins_with_character(bytes, i))
			return is_utf8(bytes + i, len - i);
	return len == 0;
}

/* Each beginning of two bytes with none to two continuations. */
TEST(text_is_utf8_and_nothing_else)
{
	for (uint32_t pair = 0; pair < 0x10000; pair++) {
		uint8_t bytes[4] = {(uint8_t)(pair >> 8), (uint8_t)pair, 0x80, 0xbf};

		for (size_t len = 2; len <= 4; len++)
			if (is_text(pair % 9, bytes, len) != is_utf8(bytes, len))
				test_fail(__FILE__, __LINE__, "%04x, %zu bytes", pair, len);
	}
}

TEST(truncated_and_longer_items_are_refused)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct buf b = from_hex(good[i].hex);

		for (size_t len = 0; len < b.len; len++)
			if (check_copy(span_of(b.ptr, len)) != -EBADMSG)
				test_fail(__FILE__, __LINE__, "%s, %zu bytes", good[i].name, len);
		buf_put_u8(&b, 0);
		CHECK_INT(check_copy(buf_span(&b)), -EBADMSG);
		buf_release(&b);
	}
}

TEST(counts_that_cannot_be_true_are_refused_at_the_head)
{
	static const struct {
		const char *hex;
		int error;
	} cases[] = {
		{"82 00 00", 0},
		{"83 00 00", -EBADMSG},
		{"a1 6161 00", 0},
		{"a2 6161 00 6162", -EBADMSG},
		{"9a00010000 00", -EBADMSG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b = from_hex(cases[i].hex);
		struct reader r = reader_of(buf_span(&b));
		struct cbor_item item;

		CHECK_INT(cbor_get(&r, &item), cases[i].error);
		buf_release(&b);
	}
}

TEST(skip_stops_after_one_item)
{
	struct buf b = from_hex("a1 6161 82 01 02 f5");
	struct reader r = reader_of(buf_span(&b));
	struct span raw;
	bool v = false;

	CHECK_INT(cbor_skip(&r, &raw), 0);
	CHECK(raw.ptr == b.ptr && raw.len == 6);
	CHECK_INT(r.left, 1);
	CHECK_INT(cbor_get_boolean(&r, &v), 0);
	CHECK(v && r.left == 0);
	buf_release(&b);
}

static int check_nested(uint8_t head, const char *key, size_t depth)
{
	struct buf b;
	int error;

	buf_init(&b, KIB(1));
	for (size_t i = 0; i < depth; i++) {
		buf_put_u8(&b, head);
		test_hex(key, &b);
	}
	buf_put_u8(&b, 0);
	error = cbor_check(buf_span(&b));
	buf_release(&b);
	return error;
}

/* A map that is walked from key to key, and its values skipped. */
static int walk(struct span bytes)
{
	struct reader r = reader_of(bytes);
	struct cbor_map map;
	struct span key;
	int error;

	for (error = cbor_map_open(&r, &map); !error && cbor_map_more(&map);) {
		error = cbor_map_key(&r, &map, &key);
		if (!error)
			error = cbor_map_skip(&r, &map);
	}
	return error;
}

/* The limits are on the map as a whole, whoever looks at it. */
TEST(a_walk_ends_where_a_check_does)
{
	static const size_t fill = LIMIT_CBOR_ITEMS - LIMIT_CBOR_CONTAINER - 1 - 4;
	struct buf b;

	buf_init(&b, MIB(1));
	for (size_t more = 0; more < 2; more++) {
		/* {"a": [[... 0]]} */
		buf_clear(&b);
		test_hex("a16161", &b);
		for (size_t i = 0; i < LIMIT_CBOR_DEPTH - 1 + more; i++)
			buf_put_u8(&b, 0x81);
		buf_put_u8(&b, 0);
		CHECK_INT(walk(buf_span(&b)), more ? -EBADMSG : 0);
		CHECK_INT(cbor_check(buf_span(&b)), walk(buf_span(&b)));
		/* {"a": 0, "b": [...], "c": [...], "d": 0} */
		buf_clear(&b);
		test_hex("a46161006162", &b);
		cbor_put_array(&b, LIMIT_CBOR_CONTAINER);
		memset(buf_extend(&b, LIMIT_CBOR_CONTAINER), 0xf6, LIMIT_CBOR_CONTAINER);
		test_hex("6163", &b);
		cbor_put_array(&b, fill + more);
		memset(buf_extend(&b, fill + more), 0xf6, fill + more);
		test_hex("616400", &b);
		CHECK_INT(walk(buf_span(&b)), more ? -EBADMSG : 0);
		CHECK_INT(cbor_check(buf_span(&b)), walk(buf_span(&b)));
	}
	buf_release(&b);
}

TEST(depth_has_a_limit)
{
	CHECK_INT(check_nested(0x81, "", LIMIT_CBOR_DEPTH), 0);
	CHECK_INT(check_nested(0x81, "", LIMIT_CBOR_DEPTH + 1), -EBADMSG);
	CHECK_INT(check_nested(0xa1, "6161", LIMIT_CBOR_DEPTH), 0);
	CHECK_INT(check_nested(0xa1, "6161", LIMIT_CBOR_DEPTH + 1), -EBADMSG);
}

TEST(array_size_has_a_limit)
{
	struct buf b;

	for (size_t count = LIMIT_CBOR_CONTAINER; count <= LIMIT_CBOR_CONTAINER + 1; count++) {
		buf_init(&b, MIB(1));
		cbor_put_array(&b, count);
		memset(buf_extend(&b, count), 0, count);
		CHECK_INT(cbor_check(buf_span(&b)), count > LIMIT_CBOR_CONTAINER ? -EBADMSG : 0);
		buf_release(&b);
	}
}

/* All containers count, and what is in them. */
TEST(the_number_of_items_has_a_limit)
{
	struct buf b;

	buf_init(&b, MIB(1));
	for (size_t more = 0; more < 2; more++) {
		size_t left = LIMIT_CBOR_ITEMS - 4 + more;

		buf_clear(&b);
		cbor_put_array(&b, 3);
		for (size_t i = 0; i < 3; i++) {
			size_t count = i < 2 ? LIMIT_CBOR_CONTAINER / 2 : left;

			left -= count;
			cbor_put_array(&b, count);
			memset(buf_extend(&b, count), 0xf6, count);
		}
		CHECK_INT(cbor_check(buf_span(&b)), more ? -EBADMSG : 0);
	}
	buf_release(&b);
}

TEST(map_size_has_a_limit)
{
	struct buf b;
	char key[8];

	for (size_t count = LIMIT_CBOR_CONTAINER; count <= LIMIT_CBOR_CONTAINER + 1; count++) {
		buf_init(&b, MIB(2));
		cbor_put_map(&b, count);
		for (size_t i = 0; i < count; i++) {
			snprintf(key, sizeof(key), "%06zu", i);
			cbor_put_text(&b, span_str(key));
			cbor_put_null(&b);
		}
		CHECK_INT(cbor_check(buf_span(&b)), count > LIMIT_CBOR_CONTAINER ? -EBADMSG : 0);
		buf_release(&b);
	}
}

TEST(key_length_has_a_limit)
{
	static uint8_t letters[LIMIT_CBOR_KEY + 1];
	struct buf b;

	memset(letters, 'k', sizeof(letters));
	for (size_t len = LIMIT_CBOR_KEY; len <= LIMIT_CBOR_KEY + 1; len++) {
		buf_init(&b, KIB(16));
		cbor_put_map(&b, 1);
		cbor_put_text(&b, span_of(letters, len));
		cbor_put_integer(&b, 1);
		CHECK_INT(cbor_check(buf_span(&b)), len > LIMIT_CBOR_KEY ? -EBADMSG : 0);
		buf_clear(&b);
		cbor_put_text(&b, span_of(letters, len));
		CHECK_INT(cbor_check(buf_span(&b)), 0);
		buf_release(&b);
	}
}

TEST(cid_length_has_a_limit)
{
	static const uint8_t zeros[LIMIT_CBOR_CID + 1];
	struct buf b;

	for (size_t len = LIMIT_CBOR_CID; len <= LIMIT_CBOR_CID + 1; len++) {
		buf_init(&b, KIB(1));
		cbor_put_cid(&b, span_of(zeros, len));
		CHECK_INT(cbor_check(buf_span(&b)), len > LIMIT_CBOR_CID ? -EBADMSG : 0);
		buf_release(&b);
	}
}

/* What false, true, null and tag 42 are of their types, of others. */
TEST(getters_are_not_taken_in_by_numbers)
{
	static const char *const items[] = {
		"14", "15", "16",           "35",           "d4",
		"d5", "d6", "d82b4300aabb", "d8294300aabb", "182a4300aabb",
	};

	for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
		struct buf b = from_hex(items[i]);
		struct reader r = reader_of(buf_span(&b));
		struct span s = SPAN_LITERAL("old");
		bool flag;

		CHECK_INT(cbor_get_boolean(&r, &flag), -EBADMSG);
		CHECK_INT(cbor_get_null(&r), -EBADMSG);
		CHECK_INT(cbor_get_cid(&r, &s), -EBADMSG);
		CHECK_INT(cbor_get_cid_or_null(&r, &s), -EBADMSG);
		CHECK(r.left == b.len && span_is(s, "old"));
		buf_release(&b);
	}
}

TEST(getters_give_their_type_and_refuse_others)
{
	struct buf b = from_hex("18 2a 3863 f5 f4 43010203 63616263 f6 d82a4300aabb 82 00 00");
	struct reader r = reader_of(buf_span(&b)), before;
	struct span s = SPAN_EMPTY, old = SPAN_LITERAL("old");
	struct cbor_map map;
	size_t count = 0;
	int64_t v = 0;
	bool flag = false;

	CHECK_INT(cbor_get_integer(&r, &v), 0);
	CHECK_INT(v, 42);
	CHECK_INT(cbor_get_integer(&r, &v), 0);
	CHECK_INT(v, -100);
	before = r;
	CHECK_INT(cbor_get_integer(&r, &v), -EBADMSG);
	CHECK_INT(cbor_get_text(&r, &old), -EBADMSG);
	CHECK_INT(cbor_get_bytes(&r, &old), -EBADMSG);
	CHECK_INT(cbor_get_cid_or_null(&r, &old), -EBADMSG);
	CHECK_INT(cbor_get_cid(&r, &old), -EBADMSG);
	CHECK_INT(cbor_get_null(&r), -EBADMSG);
	CHECK(v == -100 && span_is(old, "old") && r.ptr == before.ptr && r.left == before.left);
	CHECK_INT(cbor_get_boolean(&r, &flag), 0);
	CHECK(flag);
	CHECK_INT(cbor_get_boolean(&r, &flag), 0);
	CHECK(!flag);
	CHECK_INT(cbor_get_boolean(&r, &flag), -EBADMSG);
	CHECK_INT(cbor_get_text(&r, &s), -EBADMSG);
	CHECK_INT(cbor_get_bytes(&r, &s), 0);
	CHECK_SPAN(s, SPAN_LITERAL("\1\2\3"));
	CHECK_INT(cbor_get_bytes(&r, &s), -EBADMSG);
	CHECK_INT(cbor_get_text(&r, &s), 0);
	CHECK_SPAN(s, SPAN_LITERAL("abc"));
	before = r;
	CHECK_INT(cbor_get_cid(&r, &old), -EBADMSG);
	CHECK(span_is(old, "old") && r.ptr == before.ptr);
	CHECK_INT(cbor_get_null(&r), 0);
	CHECK_INT(r.left, before.left - 1);
	r = before;
	CHECK_INT(cbor_get_cid_or_null(&r, &s), 0);
	CHECK(s.ptr == NULL && s.len == 0);
	before = r;
	CHECK_INT(cbor_get_cid(&r, &s), 0);
	CHECK_SPAN(s, SPAN_LITERAL("\xaa\xbb"));
	r = before;
	CHECK_INT(cbor_get_cid_or_null(&r, &s), 0);
	CHECK_SPAN(s, SPAN_LITERAL("\xaa\xbb"));
	before = r;
	CHECK_INT(cbor_map_open(&r, &map), -EBADMSG);
	CHECK_INT(cbor_get_cid(&r, &old), -EBADMSG);
	CHECK_INT(cbor_get_null(&r), -EBADMSG);
	CHECK(span_is(old, "old") && r.ptr == before.ptr && r.left == before.left);
	CHECK_INT(cbor_array_open(&r, &count), 0);
	CHECK(count == 2 && r.left == 2);
	CHECK_INT(cbor_array_open(&r, &count), -EBADMSG);
	CHECK(count == 2 && r.left == 2);
	buf_release(&b);
}

TEST(map_walk_gives_every_key)
{
	struct buf b = from_hex("a3 6161 01 6162 82 02 03 626161 04");
	struct reader r = reader_of(buf_span(&b));
	struct cbor_map map;
	struct span key;
	char keys[16] = "";
	size_t at = 0;

	CHECK_INT(cbor_map_open(&r, &map), 0);
	while (cbor_map_more(&map)) {
		CHECK_INT(cbor_map_key(&r, &map, &key), 0);
		at += (size_t)snprintf(keys + at, sizeof(keys) - at, "%.*s ", (int)key.len,
				       (const char *)key.ptr);
		CHECK_INT(cbor_skip(&r, NULL), 0);
	}
	CHECK_STR(keys, "a b aa ");
	CHECK_INT(r.left, 0);
	buf_release(&b);
}

TEST(map_walk_checks_the_order)
{
	struct buf b = from_hex("a2 6162 01 6161 02");
	struct reader r = reader_of(buf_span(&b)), before;
	struct cbor_map map;
	struct span key;
	int64_t v;

	CHECK_INT(cbor_map_open(&r, &map), 0);
	CHECK_INT(cbor_map_key(&r, &map, &key), 0);
	CHECK_INT(cbor_get_integer(&r, &v), 0);
	before = r;
	CHECK_INT(cbor_map_key(&r, &map, &key), -EBADMSG);
	CHECK(r.ptr == before.ptr && map.left == 1 && span_is(key, "b"));
	buf_release(&b);
}

/* Takes one item apart with the reader and writes it with the encoder. */
static void transcode(struct reader *r, struct buf *out)
{
	struct cbor_item item;

	if (cbor_get(r, &item) < 0) {
		test_fail(__FILE__, __LINE__, "an item that was checked cannot be read");
		r->left = 0;
		return;
	}
	switch (item.type) {
	case CBOR_INTEGER:
		cbor_put_integer(out, item.integer);
		break;
	case CBOR_BYTES:
		cbor_put_bytes(out, item.bytes);
		break;
	case CBOR_TEXT:
		cbor_put_text(out, item.bytes);
		break;
	case CBOR_CID:
		cbor_put_cid(out, item.bytes);
		break;
	case CBOR_BOOL:
		cbor_put_bool(out, item.boolean);
		break;
	case CBOR_NULL:
		cbor_put_null(out);
		break;
	case CBOR_ARRAY:
		cbor_put_array(out, item.count);
		for (size_t i = 0; i < item.count && r->left > 0; i++)
			transcode(r, out);
		break;
	case CBOR_MAP:
		cbor_put_map(out, item.count);
		for (size_t i = 0; i < 2 * item.count && r->left > 0; i++)
			transcode(r, out);
		break;
	}
}

static bool transcodes_to_itself(struct span item)
{
	struct reader r = reader_of(item);
	struct buf out;
	bool same;

	buf_init(&out, MIB(8));
	transcode(&r, &out);
	same = r.left == 0 && span_equal(buf_span(&out), item);
	buf_release(&out);
	return same;
}

TEST(encoder_writes_what_the_reader_takes)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct buf b = from_hex(good[i].hex);

		if (!transcodes_to_itself(buf_span(&b)))
			test_fail(__FILE__, __LINE__, "%s came out differently", good[i].name);
		buf_release(&b);
	}
}

/* Random items made with libcbor, in the form that is canonical here. */

static cbor_item_t *random_item(unsigned depth);

static uint64_t random_number(void)
{
	return test_random() >> (1 + test_random() % 63);
}

static cbor_item_t *random_integer(void)
{
	uint64_t v = random_number();
	cbor_item_t *item;

	if (v <= UINT8_MAX)
		item = cbor_build_uint8((uint8_t)v);
	else if (v <= UINT16_MAX)
		item = cbor_build_uint16((uint16_t)v);
	else if (v <= UINT32_MAX)
		item = cbor_build_uint32((uint32_t)v);
	else
		item = cbor_build_uint64(v);
	if (test_random() & 1)
		cbor_mark_negint(item);
	return item;
}

static cbor_item_t *random_text(void)
{
	static const char *const parts[] = {"a",      "key",        "\u00e9",
					    "\u20ac", "\U0001f600", "0123456789"};
	struct buf b;
	cbor_item_t *item;

	buf_init(&b, KIB(1));
	for (size_t i = test_random() % 12; i > 0; i--)
		buf_append_str(&b, parts[test_random() % ARRAY_SIZE(parts)]);
	item = cbor_build_stringn((const char *)b.ptr, b.len);
	buf_release(&b);
	return item;
}

static cbor_item_t *random_bytes(size_t min, size_t max, const char *first)
{
	uint8_t bytes[300];
	size_t len = min + test_random() % (max - min + 1);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)test_random();
	if (first)
		bytes[0] = (uint8_t)*first;
	return cbor_build_bytestring(bytes, len);
}

static cbor_item_t *random_map(unsigned depth)
{
	size_t count = test_random() % 40;
	cbor_item_t *map = cbor_new_definite_map(count);

	/* Numbers as keys, so that they can be made in order: by length, then bytewise. */
	for (size_t i = 0, n = 0; i < count; i++) {
		char key[24];
		struct cbor_pair pair;

		n += 1 + test_random() % 30;
		snprintf(key, sizeof(key), "%zu", n);
		pair = (struct cbor_pair){cbor_build_string(key), random_item(depth)};
		CHECK(cbor_map_add(map, pair));
		cbor_decref(&pair.key);
		cbor_decref(&pair.value);
	}
	return map;
}

static cbor_item_t *random_array(unsigned depth)
{
	size_t count = test_random() % 40;
	cbor_item_t *array = cbor_new_definite_array(count);

	for (size_t i = 0; i < count; i++) {
		cbor_item_t *entry = random_item(depth);

		CHECK(cbor_array_push(array, entry));
		cbor_decref(&entry);
	}
	return array;
}

static cbor_item_t *random_cid(void)
{
	cbor_item_t *bytes = random_bytes(2, 60, "\0"), *tag = cbor_build_tag(42, bytes);

	cbor_decref(&bytes);
	return tag;
}

static cbor_item_t *random_item(unsigned depth)
{
	switch (test_random() % (depth > 0 ? 8 : 6)) {
	case 0:
		return random_integer();
	case 1:
		return random_text();
	case 2:
		return random_bytes(0, 300, NULL);
	case 3:
		return random_cid();
	case 4:
		return cbor_build_bool(test_random() & 1);
	case 5:
		return cbor_new_null();
	case 6:
		return random_map(depth - 1);
	default:
		return random_array(depth - 1);
	}
}

/* Free with free(). */
static struct span random_canonical(unsigned char **ret_memory)
{
	cbor_item_t *item = random_item(3);
	size_t size, len = cbor_serialize_alloc(item, ret_memory, &size);

	CHECK(len > 0);
	cbor_decref(&item);
	return span_of(*ret_memory, len);
}

TEST(what_libcbor_writes_canonically_is_taken)
{
	for (unsigned i = 0; i < 300; i++) {
		unsigned char *memory;
		struct span item = random_canonical(&memory);

		CHECK_INT(cbor_check(item), 0);
		CHECK(transcodes_to_itself(item));
		free(memory);
	}
}

/* Only after our reader took the item: libcbor believes any size that a head names. */
static bool libcbor_takes(struct span item)
{
	struct cbor_load_result result;
	cbor_item_t *loaded = cbor_load(item.ptr, item.len, &result);
	bool all = loaded && result.read == item.len;

	if (loaded)
		cbor_decref(&loaded);
	return all;
}

TEST(what_is_taken_of_damaged_items_libcbor_takes_too)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < 200; i++) {
		unsigned char *memory;
		struct span item = random_canonical(&memory);

		for (unsigned k = 0; k < 50; k++) {
			size_t at = test_random() % item.len;
			unsigned char old = memory[at];

			memory[at] ^= (unsigned char)(1u << test_random() % 8);
			if (cbor_check(item) == 0) {
				taken++;
				CHECK(libcbor_takes(item));
				CHECK(transcodes_to_itself(item));
			}
			memory[at] = old;
		}
		free(memory);
	}
	CHECK(taken > 0);
}

TEST(what_is_taken_of_random_bytes_libcbor_takes_too)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < 200000; i++) {
		uint64_t bytes = test_random();
		struct span item = span_of(&bytes, 1 + test_random() % 8);

		if (cbor_check(item) < 0)
			continue;
		taken++;
		CHECK(libcbor_takes(item));
		CHECK(transcodes_to_itself(item));
	}
	CHECK(taken > 1000);
}

/* The data model's fixtures, through a converter from their JSON form. */

static int base64_value(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* Without padding. */
static int base64_decode(const char *text, struct buf *out)
{
	unsigned bits = 0, count = 0;

	for (; *text; text++) {
		int value = base64_value(*text);

		if (value < 0)
			return -EBADMSG;
		bits = (bits << 6 | (unsigned)value) & 0xffffff;
		count += 6;
		if (count >= 8) {
			count -= 8;
			buf_put_u8(out, (uint8_t)(bits >> count));
		}
	}
	return 0;
}

static int put_json(struct buf *out, json_t *value);

static int put_link(struct buf *out, const json_t *link)
{
	uint8_t binary[CID_SIZE];
	struct cid cid;

	if (!json_is_string(link) || cid_parse(span_str(json_string_value(link)), &cid) < 0)
		return -EBADMSG;
	cid_encode(&cid, binary);
	cbor_put_cid(out, span_of(binary, sizeof(binary)));
	return 0;
}

static int put_json_bytes(struct buf *out, const json_t *base64)
{
	struct buf bytes;
	int error;

	if (!json_is_string(base64))
		return -EBADMSG;
	buf_init(&bytes, KIB(64));
	error = base64_decode(json_string_value(base64), &bytes);
	cbor_put_bytes(out, buf_span(&bytes));
	buf_release(&bytes);
	return error;
}

static int compare_keys(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;

	return strlen(x) != strlen(y) ? (strlen(x) > strlen(y) ? 1 : -1) : strcmp(x, y);
}

static int put_object(struct buf *out, json_t *object)
{
	const json_t *link = json_object_get(object, "$link"),
		     *bytes = json_object_get(object, "$bytes");
	size_t count = json_object_size(object), i = 0;
	const char *keys[64], *key;
	json_t *value;

	if (link || bytes)
		return count > 1 ? -EBADMSG
		       : link    ? put_link(out, link)
				 : put_json_bytes(out, bytes);
	if (count > ARRAY_SIZE(keys))
		return -E2BIG;
	json_object_foreach(object, key, value) keys[i++] = key;
	qsort(keys, count, sizeof(keys[0]), compare_keys);
	cbor_put_map(out, count);
	for (i = 0; i < count; i++) {
		cbor_put_text(out, span_str(keys[i]));
		if (put_json(out, json_object_get(object, keys[i])) < 0)
			return -EBADMSG;
	}
	return 0;
}

/* 123.0 is the integer 123; other floats have no place in the data model. */
static int put_real(struct buf *out, double v)
{
	if (v != (double)(int64_t)v)
		return -EBADMSG;
	cbor_put_integer(out, (int64_t)v);
	return 0;
}

static int put_json_array(struct buf *out, const json_t *array)
{
	cbor_put_array(out, json_array_size(array));
	for (size_t i = 0; i < json_array_size(array); i++)
		if (put_json(out, json_array_get(array, i)) < 0)
			return -EBADMSG;
	return 0;
}

static int put_json(struct buf *out, json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return put_object(out, value);
	case JSON_ARRAY:
		return put_json_array(out, value);
	case JSON_REAL:
		return put_real(out, json_real_value(value));
	case JSON_STRING:
		cbor_put_text(out, span_of(json_string_value(value), json_string_length(value)));
		return 0;
	case JSON_INTEGER:
		cbor_put_integer(out, json_integer_value(value));
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		cbor_put_bool(out, json_is_true(value));
		return 0;
	default:
		cbor_put_null(out);
		return 0;
	}
}

/* NULL: there are no fixtures here. */
static json_t *load_fixtures(const char *name)
{
	char path[4200];

	if (!test_vectors())
		return NULL;
	snprintf(path, sizeof(path), "%s/interop/data-model/%s.json", test_vectors(), name);
	return json_load_file(path, 0, NULL);
}

static void check_fixture(const json_t *fixture)
{
	struct buf want, got;
	char text[CID_TEXT_SIZE];
	struct cid cid;

	buf_init(&want, KIB(64));
	buf_init(&got, KIB(64));
	CHECK_INT(base64_decode(json_string_value(json_object_get(fixture, "cbor_base64")), &want),
		  0);
	CHECK_INT(cbor_check(buf_span(&want)), 0);
	CHECK(transcodes_to_itself(buf_span(&want)));
	cid_of_block(buf_span(&want), &cid);
	CHECK_STR(cid_format(&cid, text), json_string_value(json_object_get(fixture, "cid")));
	CHECK_INT(put_json(&got, json_object_get(fixture, "json")), 0);
	CHECK_SPAN(buf_span(&got), buf_span(&want));
	buf_release(&want);
	buf_release(&got);
}

TEST(interop_fixtures_have_their_bytes_and_cids)
{
	json_t *fixtures = load_fixtures("data-model-fixtures");

	if (!fixtures)
		SKIP("no test vectors");
	CHECK_INT(json_array_size(fixtures), 3);
	for (size_t i = 0; i < json_array_size(fixtures); i++)
		check_fixture(json_array_get(fixtures, i));
	json_decref(fixtures);
}

TEST(interop_valid_data_becomes_valid_cbor)
{
	json_t *cases = load_fixtures("data-model-valid");

	if (!cases)
		SKIP("no test vectors");
	CHECK_INT(json_array_size(cases), 5);
	for (size_t i = 0; i < json_array_size(cases); i++) {
		struct buf b;

		buf_init(&b, KIB(64));
		CHECK_INT(put_json(&b, json_object_get(json_array_get(cases, i), "json")), 0);
		CHECK_INT(cbor_check(buf_span(&b)), 0);
		buf_release(&b);
	}
	json_decref(cases);
}

/* The others break rules of records and blobs, which are for those who read records. */
TEST(interop_invalid_data_has_no_cbor)
{
	static const char *const ours[] = {
		"float",
		"bytes with wrong field type",
		"bytes with extra fields",
		"link with wrong field type",
		"link with bogus CID",
		"link with extra fields",
	};
	json_t *cases = load_fixtures("data-model-invalid");
	unsigned found = 0;

	if (!cases)
		SKIP("no test vectors");
	for (size_t i = 0; i < json_array_size(cases); i++) {
		const json_t *one = json_array_get(cases, i);
		const char *note = json_string_value(json_object_get(one, "note"));

		for (size_t k = 0; k < ARRAY_SIZE(ours); k++) {
			struct buf b;

			if (strcmp(note, ours[k]) != 0)
				continue;
			found++;
			buf_init(&b, KIB(64));
			if (put_json(&b, json_object_get(one, "json")) == 0)
				test_fail(__FILE__, __LINE__, "%s was taken", note);
			buf_release(&b);
		}
	}
	CHECK_INT(found, ARRAY_SIZE(ours));
	json_decref(cases);
}
