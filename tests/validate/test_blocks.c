#include "validate/blocks.h"

#include "common/car.h"
#include "common/limits.h"
#include "tests/test.h"

static void put_numbered(struct buf *car, uint64_t number, struct cid *ret_cid)
{
	const struct span data = span_of(&number, sizeof(number));

	cid_of_block(data, ret_cid);
	car_put_block(car, ret_cid, data);
}

static const struct cid root = {.codec = CID_DAG_CBOR};

TEST(blocks_are_found_whatever_their_number)
{
	static const size_t counts[] = {1, 63, 64, 65, 5000, 2, 0, LIMIT_CAR_BLOCKS};
	struct blocks b;
	struct block *block;
	struct buf car;
	struct cid cid;

	blocks_init(&b);
	buf_init(&car, MIB(8));
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		buf_clear(&car);
		car_put_header(&car, &root);
		for (uint64_t n = 0; n < counts[i]; n++)
			put_numbered(&car, n, &cid);
		CHECK_INT(blocks_load(&b, buf_span(&car)), VERDICT_ACCEPTED);
		CHECK_INT(b.count, counts[i]);
		CHECK(cid_equal(&b.root, &root));
		for (uint64_t n = 0; n < counts[i] + 2; n++) {
			const struct span data = span_of(&n, sizeof(n));

			cid_of_block(data, &cid);
			if (n >= counts[i]) {
				CHECK(!blocks_find(&b, &cid));
				CHECK_INT(blocks_get(&b, &cid, &block), VERDICT_BLOCK_MISSING);
				continue;
			}
			CHECK_INT(blocks_get(&b, &cid, &block), VERDICT_ACCEPTED);
			CHECK_SPAN(block->data, data);
		}
	}
	put_numbered(&car, LIMIT_CAR_BLOCKS, &cid);
	CHECK_INT(blocks_load(&b, buf_span(&car)), VERDICT_BAD_CAR);
	buf_release(&car);
	blocks_release(&b);
}

TEST(a_block_that_is_not_what_its_cid_says)
{
	struct block *block;
	struct blocks b;
	struct buf car;
	struct cid good, bad, raw;

	blocks_init(&b);
	buf_init(&car, KIB(4));
	car_put_header(&car, &root);
	put_numbered(&car, 1, &good);
	put_numbered(&car, 2, &bad);
	car.ptr[car.len - 1] ^= 1;
	CHECK_INT(blocks_load(&b, buf_span(&car)), VERDICT_ACCEPTED);
	CHECK_INT(blocks_get(&b, &good, &block), VERDICT_ACCEPTED);
	CHECK(block->is_hashed);
	CHECK_INT(blocks_get(&b, &bad, &block), VERDICT_BLOCK_HASH);
	CHECK(!blocks_find(&b, &bad)->is_hashed);
	/* The codec is a part of the CID. */
	raw = good;
	raw.codec = CID_RAW;
	CHECK_INT(blocks_get(&b, &raw, &block), VERDICT_BLOCK_MISSING);
	buf_release(&car);
	blocks_release(&b);
}

TEST(wanted_blocks_are_proven_together)
{
	static struct sha256_trace trace;
	struct sha256_work work[3];
	struct blocks b;
	struct buf car;
	struct cid cid;

	blocks_init(&b);
	buf_init(&car, KIB(4));
	car_put_header(&car, &root);
	for (uint64_t n = 0; n < ARRAY_SIZE(work); n++)
		put_numbered(&car, n, &cid);
	for (size_t bad = 0; bad <= ARRAY_SIZE(work); bad++) {
		CHECK_INT(blocks_load(&b, buf_span(&car)), VERDICT_ACCEPTED);
		for (size_t i = 0; i < ARRAY_SIZE(work); i++) {
			blocks_want(&b, &b.all[i]);
			blocks_want(&b, &b.all[0]);
			work[i].message = b.wanted[i]->data;
			b.wanted[i]->work = &work[i];
		}
		CHECK_INT(b.wanted_count, ARRAY_SIZE(work));
		sha256_many(work, ARRAY_SIZE(work), &trace);
		if (bad < ARRAY_SIZE(work))
			work[bad].digest[SHA256_SIZE - 1] ^= 1;
		CHECK_INT(blocks_prove(&b),
			  bad < ARRAY_SIZE(work) ? VERDICT_BLOCK_HASH : VERDICT_ACCEPTED);
		for (size_t i = 0; i < ARRAY_SIZE(work); i++)
			CHECK(b.all[i].is_hashed == (i < bad));
	}
	/* What is proven is not wanted again. */
	blocks_want(&b, &b.all[1]);
	CHECK_INT(b.wanted_count, 0);
	buf_release(&car);
	blocks_release(&b);
}

TEST(of_doubles_the_first_counts)
{
	struct block *block;
	struct blocks b;
	struct buf car;
	struct cid cid;

	blocks_init(&b);
	buf_init(&car, KIB(4));
	car_put_header(&car, &root);
	put_numbered(&car, 1, &cid);
	put_numbered(&car, 1, &cid);
	car.ptr[car.len - 1] ^= 1;
	CHECK_INT(blocks_load(&b, buf_span(&car)), VERDICT_ACCEPTED);
	CHECK_INT(b.count, 1);
	CHECK_INT(blocks_get(&b, &cid, &block), VERDICT_ACCEPTED);
	buf_release(&car);
	blocks_release(&b);
}

TEST(a_broken_archive_is_refused)
{
	struct blocks b;
	struct buf car;
	struct cid cid;
	size_t header;

	blocks_init(&b);
	buf_init(&car, KIB(4));
	car_put_header(&car, &root);
	header = car.len;
	put_numbered(&car, 1, &cid);
	for (size_t len = 0; len < car.len; len++)
		CHECK_INT(blocks_load(&b, span_of(car.ptr, len)),
			  len == header ? VERDICT_ACCEPTED : VERDICT_BAD_CAR);
	buf_release(&car);
	blocks_release(&b);
}
