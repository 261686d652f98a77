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
		for (struct entry *e = n->first; e; e = e->next)
			e->raw = SPAN_EMPTY;
		node_encode(n, &again);
		assert(span_equal(buf_span(&again), block));
		buf_release(&again);
	}
	arena_release(&a);
}

/* A set of paths that were not there before, or that are not there now. The tree's digests are not
 * real; but what is inverted twice leads to the same root. */
static void change(struct mst *m, struct blocks *blocks, const struct cid *root)
{
	char paths[40][16];
	struct mst_op ops[40];
	size_t count = 0;
	struct cid roots[2];
	enum verdict v = VERDICT_ACCEPTED;

	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++)
		snprintf(paths[i], sizeof(paths[i]), "%c/%02u", 'a' + (char)(i / 2), i);
	for (unsigned round = 0; round < 2; round++) {
		if (mst_load(m, blocks, root) != VERDICT_ACCEPTED)
			return;
		/* Those that can be checked. */
		for (size_t i = 0; round == 0 && i < ARRAY_SIZE(ops); i++) {
			ops[count] = (struct mst_op){.path = span_str(paths[i])};
			if (i % 2)
				ops[count].before = span_of(value, sizeof(value));
			if (mst_check(m, &ops[count], 1) == VERDICT_ACCEPTED)
				count++;
		}
		v = mst_check(m, ops, count);
		assert(v == VERDICT_ACCEPTED);
		v = mst_invert(m, ops, count);
		assert(v == VERDICT_ACCEPTED || v == VERDICT_BLOCK_MISSING);
		/* Keys that have not the heights of their nodes. */
		if (mst_prove(m, NULL, 0) != VERDICT_ACCEPTED)
			return;
		roots[round] = mst_before(m);
	}
	assert(v != VERDICT_ACCEPTED || cid_equal(&roots[0], &roots[1]));
}

/* The tree, the blocks and the room for the archive stay, as in the validator: to map and to clear
 * them for each input took half of the time. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mst *m;
	static struct blocks blocks;
	static struct buf car;
	struct reader in = reader_of(span_of(data, size));
	struct cid root;

	if (!m) {
		m = mst_new();
		blocks_init(&blocks);
		buf_init(&car, MIB(2));
	}
	buf_clear(&car);
	make_archive(&in, &car);
	if (blocks_load(&blocks, buf_span(&car)) != VERDICT_ACCEPTED)
		abort();
	for (size_t i = 0; i < blocks.count; i++) {
		blocks.all[i].is_hashed = true;
		check_node(blocks.all[i].data);
	}
	name_block(0, &root);
	change(m, &blocks, &root);
	return 0;
}
