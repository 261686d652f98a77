/*
 * A tree of any blocks, and changes to it. The input is a list of blocks, each with its length
 * before it in two bytes. Block number n takes the CID whose digest is 32 times n + 1, and counts
 * as hashed, so that the fuzzer can link blocks.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/car.h"
#include "validate/mst.h"
#include "validate/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BLOCKS_MAX 64

static const uint8_t value[CID_SIZE] = {0x01, CID_DAG_CBOR, 0x12, 0x20, 0xaa};

static void name_block(size_t number, struct cid *ret)
{
	*ret = (struct cid){.codec = CID_DAG_CBOR};
	memset(ret->digest, (int)(number + 1), SHA256_SIZE);
}

static void make_archive(struct reader *in, struct buf *car)
{
	struct cid cid;
	uint16_t len;
	struct span data;

	name_block(0, &cid);
	car_put_header(car, &cid);
	for (size_t n = 0; n < BLOCKS_MAX && reader_get_u16(in, &len) == 0; n++) {
		if (reader_get_span(in, len, &data) < 0)
			return;
		name_block(n, &cid);
		car_put_block(car, &cid, data);
	}
}

/* A node that decodes is written again byte for byte. */
static void check_node(struct span block)
{
	size_t key_bytes = MST_KEY_BYTES;
	struct arena a;
	struct node *n;
	struct buf again;

	arena_init(&a);
	if (node_decode(block, &a, &key_bytes, &n) == VERDICT_ACCEPTED) {
		buf_init(&again, block.len + 1024);
		node_encode(n, &again);
		assert(span_equal(buf_span(&again), block));
		buf_release(&again);
	}
	arena_release(&a);
}

/* Puts a path in and takes it out; true if both could be done. */
static bool there_and_back(struct mst *m, struct span path, struct cid *ret_root)
{
	struct span found;
	enum verdict v = mst_find(m, path, &found);

	if (v != VERDICT_ACCEPTED || found.len > 0 ||
	    mst_insert(m, path, span_of(value, sizeof(value))) != VERDICT_ACCEPTED)
		return false;
	v = mst_find(m, path, &found);
	assert(v == VERDICT_ACCEPTED && span_equal(found, span_of(value, sizeof(value))));
	mst_root(m, ret_root);
	if (mst_remove(m, path) != VERDICT_ACCEPTED)
		return false;
	mst_root(m, ret_root);
	return true;
}

/* The tree's digests are not real; but once a path has been changed, doing it again leads to the
 * same root. */
static void change(struct mst *m, const struct blocks *blocks, const struct cid *root)
{
	char path[16];
	struct cid first, second;

	for (unsigned i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "%c/%u", 'a' + (char)(i % 26), i);
		if (mst_load(m, blocks, root) != VERDICT_ACCEPTED)
			return;
		if (there_and_back(m, span_str(path), &first) &&
		    there_and_back(m, span_str(path), &second))
			assert(cid_equal(&first, &second));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader in = reader_of(span_of(data, size));
	struct mst *m = mst_new();
	struct blocks blocks;
	struct cid root;
	struct buf car;

	buf_init(&car, size + KIB(64));
	make_archive(&in, &car);
	blocks_init(&blocks);
	if (blocks_load(&blocks, buf_span(&car)) != VERDICT_ACCEPTED)
		abort();
	for (size_t i = 0; i < blocks.count; i++) {
		blocks.all[i].is_hashed = true;
		check_node(blocks.all[i].data);
	}
	name_block(0, &root);
	change(m, &blocks, &root);
	mst_free(m);
	blocks_release(&blocks);
	buf_release(&car);
	return 0;
}
