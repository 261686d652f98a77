#include "common/cid.h"
#include "tests/test.h"

#include <errno.h>

/* The empty tree: {"e": [], "l": null}. */
#define EMPTY_TREE     "a2616580616cf6"
#define EMPTY_TREE_CID "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
/* A raw CID of the data model's fixtures. */
#define RAW_CID        "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity"

TEST(block_has_its_known_cid)
{
	char text[CID_TEXT_SIZE];
	struct cid cid, parsed;
	struct buf block;

	buf_init(&block, 100);
	test_hex(EMPTY_TREE, &block);
	cid_of_block(buf_span(&block), &cid);
	CHECK_INT(cid.codec, CID_DAG_CBOR);
	CHECK_STR(cid_format(&cid, text), EMPTY_TREE_CID);
	CHECK_INT(cid_parse(SPAN_LITERAL(EMPTY_TREE_CID), &parsed), 0);
	CHECK(cid_equal(&cid, &parsed));
	buf_release(&block);
}

TEST(raw_cid_round_trips)
{
	uint8_t binary[CID_SIZE];
	char text[CID_TEXT_SIZE];
	struct cid cid, decoded;

	CHECK_INT(cid_parse(SPAN_LITERAL(RAW_CID), &cid), 0);
	CHECK_INT(cid.codec, CID_RAW);
	CHECK_STR(cid_format(&cid, text), RAW_CID);
	cid_encode(&cid, binary);
	CHECK_INT(cid_decode(span_of(binary, sizeof(binary)), &decoded), 0);
	CHECK(cid_equal(&cid, &decoded));
	CHECK_INT(cid_decode_dag_cbor(span_of(binary, sizeof(binary)), &decoded), -EBADMSG);
}

TEST(equal_means_codec_and_digest)
{
	struct cid a, b;

	CHECK_INT(cid_parse(SPAN_LITERAL(RAW_CID), &a), 0);
	b = a;
	CHECK(cid_equal(&a, &b));
	b.codec = CID_DAG_CBOR;
	CHECK(!cid_equal(&a, &b));
	b = a;
	b.digest[31] ^= 1;
	CHECK(!cid_equal(&a, &b));
}

TEST(only_blessed_binary_cids_decode)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
	} cases[] = {
		{"version 0", 0, 0x00},
		{"version 2", 0, 0x02},
		{"identity multibase in front", 0, 0x12},
		{"dag-pb", 1, 0x70},
		{"dag-json", 1, 0x29},
		{"sha2-512", 2, 0x13},
		{"blake3", 2, 0x1e},
		{"digest of 31", 3, 0x1f},
		{"digest of 33", 3, 0x21},
	};
	struct cid cid = {.codec = CID_RAW}, before = cid;
	uint8_t good[CID_SIZE + 1] = {0}, bad[CID_SIZE];

	cid_encode(&(struct cid){.codec = CID_DAG_CBOR}, good);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(bad, good, sizeof(bad));
		bad[cases[i].at] = cases[i].value;
		if (cid_decode(span_of(bad, sizeof(bad)), &cid) != -EBADMSG ||
		    cid_decode_dag_cbor(span_of(bad, sizeof(bad)), &cid) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s was taken", cases[i].name);
	}
	for (size_t len = 0; len < CID_SIZE; len++)
		CHECK_INT(cid_decode(span_of(good, len), &cid), -EBADMSG);
	CHECK_INT(cid_decode(span_of(good, CID_SIZE + 1), &cid), -EBADMSG);
	CHECK_INT(cid_decode_dag_cbor(span_of(good, CID_SIZE + 1), &cid), -EBADMSG);
	CHECK(cid_equal(&cid, &before));
	CHECK_INT(cid_decode_dag_cbor(span_of(good, CID_SIZE), &cid), 0);
}

TEST(only_lower_case_base32_parses)
{
	static const struct {
		const char *name, *text;
	} cases[] = {
		{"empty", ""},
		{"only the base", "b"},
		{"other base", "zafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"},
		{"upper case", "BAFYREIE5737GDXLW5I64VZICHCALBA3Z2V5N6ICIFVX5XYTVSKE7MR3HPM"},
		{"one upper-case digit",
		 "bAfyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"},
		{"digit 1", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hp1"},
		{"pad bits", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpn"},
		{"one short", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hp"},
		{"one more", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpma"},
		{"padding", "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hp="},
		{"dag-pb", "bafybeie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"},
		{"version 0", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"},
	};
	struct cid cid;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (cid_parse(span_str(cases[i].text), &cid) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s was taken", cases[i].name);
}

TEST(random_cids_round_trip)
{
	for (unsigned i = 0; i < 1000; i++) {
		struct cid a = {.codec = test_random() & 1 ? CID_RAW : CID_DAG_CBOR}, b;
		char text[CID_TEXT_SIZE];

		for (size_t k = 0; k < SHA256_SIZE; k++)
			a.digest[k] = (uint8_t)test_random();
		CHECK_INT(strlen(cid_format(&a, text)), CID_TEXT_SIZE - 1);
		CHECK_INT(cid_parse(span_str(text), &b), 0);
		CHECK(cid_equal(&a, &b));
	}
}
