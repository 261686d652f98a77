#include "tests/lib/forge.h"

#include <assert.h>
#include <stdio.h>

#include "common/car.h"
#include "common/cbor.h"
#include "tests/lib/edit.h"

#define BLOCK_MAX   MIB(2)
#define ARCHIVE_MAX MIB(64)
#define CLOCK_ID    11

const char *forge_key(const char *prefix, unsigned height, char ret[static FORGE_KEY_SIZE])
{
	for (unsigned i = 0;; i++) {
		snprintf(ret, FORGE_KEY_SIZE, "%s%u", prefix, i);
		if (tree_height(span_str(ret)) == height)
			return ret;
	}
}

void forge_init(struct forge *f)
{
	*f = (struct forge){0};
	buf_init(&f->car, ARCHIVE_MAX);
	car_put_header(&f->car, &(struct cid){.codec = CID_DAG_CBOR});
}

void forge_release(struct forge *f)
{
	buf_release(&f->car);
}

struct cid forge_block(struct forge *f, struct span block)
{
	cid_of_block(block, &f->root);
	car_put_block(&f->car, &f->root, block);
	return f->root;
}

struct cid forge_node(struct forge *f, const struct cid *left, const struct tree_entry *entries,
		      size_t count)
{
	struct buf block;

	buf_init(&block, BLOCK_MAX);
	tree_encode_node(&block, left, entries, count);
	forge_block(f, buf_span(&block));
	buf_release(&block);
	return f->root;
}

/* What follows the header, or the first block. */
static struct span rest_of(struct span archive, bool behind_first)
{
	struct car_block block;
	struct car car;
	int error = car_open(archive, &car);

	if (!error && behind_first)
		error = car_next(&car, &block);
	assert(error == 0);
	return span_of(car.blocks.ptr, car.blocks.left);
}

void forge_commit(const struct forge *f, const struct repo *r, uint64_t usec,
		  struct repo_commit *ret)
{
	struct repo_commit_object object = {
		.did = span_str(r->did),
		.data = f->root,
		.version = 3,
	};
	struct buf block;

	*ret = (struct repo_commit){
		.has_since = r->has_commit,
		.has_prev_data = r->has_commit,
		.prev_data = r->data,
		.data = f->root,
	};
	memcpy(ret->did, r->did, sizeof(ret->did));
	memcpy(ret->since, r->rev, TID_SIZE);
	if (r->has_commit && usec <= tid_usec(span_of(r->rev, TID_SIZE)))
		usec = tid_usec(span_of(r->rev, TID_SIZE)) + 1;
	tid_format(usec, CLOCK_ID, ret->rev);
	object.rev = span_of(ret->rev, TID_SIZE);
	buf_init(&block, BLOCK_MAX);
	repo_sign(&r->key, &object, &block);
	cid_of_block(buf_span(&block), &ret->commit);
	buf_init(&ret->blocks, ARCHIVE_MAX);
	car_put_header(&ret->blocks, &ret->commit);
	car_put_block(&ret->blocks, &ret->commit, buf_span(&block));
	buf_append(&ret->blocks, rest_of(buf_span(&f->car), false));
	buf_release(&block);
}

struct span forge_object(const struct repo_commit *c)
{
	struct car_block block = {0};
	struct car car;
	int error = car_open(buf_span(&c->blocks), &car);

	if (!error)
		error = car_next(&car, &block);
	assert(error == 0 && cid_equal(&block.cid, &c->commit));
	return block.data;
}

void forge_replace_object(struct repo_commit *c, struct span object)
{
	struct buf archive;

	buf_init(&archive, ARCHIVE_MAX);
	cid_of_block(object, &c->commit);
	car_put_header(&archive, &c->commit);
	car_put_block(&archive, &c->commit, object);
	buf_append(&archive, rest_of(buf_span(&c->blocks), true));
	buf_release(&c->blocks);
	c->blocks = archive;
}

void forge_sign(const struct test_key *k, struct span object, struct buf *out)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct buf unsigned_object, value;

	buf_init(&unsigned_object, BLOCK_MAX);
	buf_init(&value, KIB(1));
	edit_map(object, "sig", SPAN_EMPTY, &unsigned_object);
	test_key_sign(k, buf_span(&unsigned_object), sig);
	cbor_put_bytes(&value, span_of(sig, sizeof(sig)));
	edit_map(buf_span(&unsigned_object), "sig", buf_span(&value), out);
	buf_release(&unsigned_object);
	buf_release(&value);
}

bool forge_without_block(struct span archive, size_t n, struct buf *out)
{
	struct car_block block;
	struct car car;
	bool dropped = false;
	int error = car_open(archive, &car);

	buf_clear(out);
	car_put_header(out, &car.root);
	for (size_t i = 0; error == 0 && car_more(&car); i++) {
		error = car_next(&car, &block);
		if (i == n)
			dropped = true;
		else
			car_put_block(out, &block.cid, block.data);
	}
	assert(error == 0);
	return dropped;
}
