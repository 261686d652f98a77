#include "tests/simnet/repository.h"

#include <assert.h>
#include <stdio.h>

#include "common/car.h"

#define COMMIT_MAX 1024 /* bytes of a commit block; it has about 250 */

void draft_init(struct draft *d)
{
	d->op_count = 0;
	buf_init(&d->records, LIMIT_COMMIT_BLOCKS);
}

void draft_release(struct draft *d)
{
	for (size_t i = 0; i < d->op_count; i++)
		free(d->ops[i].path);
	buf_release(&d->records);
}

bool draft_is_taken(const struct draft *d, const char *path)
{
	for (size_t i = 0; i < d->op_count; i++)
		if (strcmp(d->ops[i].path, path) == 0)
			return true;
	return d->op_count == LIMIT_OPS;
}

static struct repo_op *add_op(struct draft *d, enum repo_action action, const char *path)
{
	struct repo_op *op = &d->ops[d->op_count];

	assert(!draft_is_taken(d, path));
	d->op_count++;
	*op = (struct repo_op){.action = action, .path = xstrdup(path)};
	return op;
}

void draft_put(struct draft *d, struct repository *r, const char *path, struct span record)
{
	bool is_there = record_tree_has(&r->tree, path);
	struct repo_op *op = add_op(d, is_there ? REPO_UPDATE : REPO_CREATE, path);

	cid_of_block(record, &op->cid);
	car_put_block(&d->records, &op->cid, record);
	if (is_there)
		record_tree_replace(&r->tree, path, &op->cid, &op->prev);
	else
		record_tree_insert(&r->tree, path, &op->cid);
}

void draft_delete(struct draft *d, struct repository *r, const char *path)
{
	struct repo_op *op = add_op(d, REPO_DELETE, path);

	record_tree_remove(&r->tree, op->path, &op->prev);
}

void repository_release(struct repository *r)
{
	record_tree_release(&r->tree);
}

void repository_begin(struct repository *r, uint64_t usec)
{
	record_tree_commit(&r->tree, NULL, 0, NULL, &r->data);
	tid_format(usec, r->clock_id, r->rev);
	r->has_commit = true;
}

/* The signed commit object of the repository's head, and the archive that begins with it. */
static void put_commit(const struct repository *r, struct repo_commit *ret)
{
	struct repo_commit_object object = {
		.did = span_str(ret->did),
		.rev = span_of(r->rev, TID_SIZE),
		.data = r->data,
		.version = 3,
	};
	struct buf block;

	buf_init(&block, COMMIT_MAX);
	repo_sign(&r->key, &object, &block);
	cid_of_block(buf_span(&block), &ret->commit);
	buf_init(&ret->blocks, LIMIT_COMMIT_BLOCKS);
	car_put_header(&ret->blocks, &ret->commit);
	car_put_block(&ret->blocks, &ret->commit, buf_span(&block));
	buf_release(&block);
}

static void advance(struct repository *r, const char *did, uint64_t usec, const struct cid *data,
		    struct repo_commit *ret)
{
	*ret = (struct repo_commit){
		.has_since = r->has_commit,
		.has_prev_data = r->has_commit,
		.prev_data = r->data,
		.data = *data,
	};
	snprintf(ret->did, sizeof(ret->did), "%s", did);
	memcpy(ret->since, r->rev, TID_SIZE);
	if (usec > 0) {
		assert(!r->has_commit || usec > tid_usec(span_of(r->rev, TID_SIZE)));
		tid_format(usec, r->clock_id, r->rev);
	}
	memcpy(ret->rev, r->rev, TID_SIZE);
	r->data = *data;
	r->has_commit = true;
	put_commit(r, ret);
}

static void give_ops(struct draft *d, struct repo_commit *ret)
{
	ret->op_count = d->op_count;
	ret->ops = xcalloc(d->op_count + 1, sizeof(*ret->ops));
	if (d->op_count > 0)
		memcpy(ret->ops, d->ops, d->op_count * sizeof(*ret->ops));
	d->op_count = 0;
}

void repository_commit(struct repository *r, struct draft *d, const char *did, uint64_t usec,
		       struct repo_commit *ret)
{
	const char *paths[LIMIT_OPS];
	struct buf nodes;
	struct cid data;

	for (size_t i = 0; i < d->op_count; i++)
		paths[i] = d->ops[i].path;
	buf_init(&nodes, LIMIT_COMMIT_BLOCKS);
	record_tree_commit(&r->tree, paths, d->op_count, &nodes, &data);
	advance(r, did, usec, &data, ret);
	buf_append(&ret->blocks, buf_span(&nodes));
	buf_append(&ret->blocks, buf_span(&d->records));
	give_ops(d, ret);
	buf_clear(&d->records);
	buf_release(&nodes);
}

void repository_sync(struct repository *r, const char *did, uint64_t usec, struct repo_commit *ret)
{
	struct cid data = r->data;

	assert(r->has_commit);
	advance(r, did, usec, &data, ret);
}
