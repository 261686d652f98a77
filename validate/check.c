#include "validate/check.h"

#include "common/limits.h"
#include "validate/blocks.h"
#include "validate/commit.h"
#include "validate/mst.h"

struct checker {
	struct signatures *signatures;
	struct blocks blocks;
	struct mst *mst;
	struct buf unsigned_commit;
	struct mst_op ops[LIMIT_OPS]; /* of the commit in hand */
};

struct checker *checker_new(void)
{
	struct checker *c = xcalloc(1, sizeof(*c));

	c->signatures = signatures_new();
	blocks_init(&c->blocks);
	c->mst = mst_new();
	buf_init(&c->unsigned_commit, LIMIT_COMMIT_OBJECT);
	return c;
}

void checker_free(struct checker *c)
{
	if (!c)
		return;
	signatures_free(c->signatures);
	blocks_release(&c->blocks);
	mst_free(c->mst);
	buf_release(&c->unsigned_commit);
	free(c);
}

struct signatures *checker_signatures(struct checker *c)
{
	return c->signatures;
}

int64_t checker_memory_bytes(void *checker)
{
	const struct checker *c = checker;

	return (int64_t)(sizeof(*c) + c->unsigned_commit.cap) + blocks_memory_bytes(&c->blocks) +
	       mst_memory_bytes(c->mst) + signatures_memory_bytes(c->signatures);
}

/* The fields of a frame */

/* create: a value, and none before; update: both; delete: none, and one before [sync: commit
 * messages]. An update may write the value that was there. */
static bool op_is_valid(const struct op *op, bool is_legacy)
{
	struct cid cid;

	if (!repo_path_is_valid(op->path, NULL))
		return false;
	if (op->action == OP_DELETE ? op->cid.len > 0 : cid_decode_dag_cbor(op->cid, &cid) < 0)
		return false;
	if (op->action == OP_CREATE)
		return op->prev.len == 0;
	return op->prev.len > 0 || is_legacy;
}

/* Ops are a set with one op a path. There are at most LIMIT_OPS. */
static bool has_double_path(const struct frame *f)
{
	for (size_t i = 1; i < f->op_count; i++)
		for (size_t j = 0; j < i; j++)
			if (span_equal(f->ops[i].path, f->ops[j].path))
				return true;
	return false;
}

static enum verdict check_rev(struct span rev, const struct check_rules *rules)
{
	uint64_t usec = tid_usec(rev);

	if (usec > rules->received_usec && usec - rules->received_usec > rules->rev_drift_usec)
		return VERDICT_REV_IN_FUTURE;
	return VERDICT_ACCEPTED;
}

enum verdict check_fields(const struct frame *f, const struct check_rules *rules)
{
	enum verdict v;

	if (f->kind != EVENT_COMMIT && f->kind != EVENT_SYNC)
		return VERDICT_ACCEPTED;
	v = check_rev(f->rev, rules);
	if (v != VERDICT_ACCEPTED || f->kind == EVENT_SYNC)
		return v;
	for (size_t i = 0; i < f->op_count; i++)
		if (!op_is_valid(&f->ops[i], rules->is_legacy))
			return VERDICT_BAD_OP;
	if (has_double_path(f))
		return VERDICT_BAD_OP;
	if (!f->has_prev_data && f->since.len > 0 && !rules->is_legacy)
		return VERDICT_PREV_DATA_MISSING;
	return VERDICT_ACCEPTED;
}

/* The blocks */

/* The commit object, of a block that may not be hashed yet, and what the frame says of it [sync:
 * validation]. */
static enum verdict read_commit(const struct frame *f, struct span data, struct commit *ret)
{
	enum verdict v = commit_decode(data, ret);

	if (v == VERDICT_ACCEPTED &&
	    (!span_equal(ret->did, f->did) || !span_equal(ret->rev, f->rev)))
		v = VERDICT_COMMIT_MISMATCH;
	return v;
}

/* The archive, and the commit object in its root. Its block is only wanted, and is hashed with the
 * others, unless there is something wrong with it. */
static enum verdict open_commit(struct checker *c, const struct frame *f, struct block **ret_block,
				struct commit *ret)
{
	struct block *block;
	enum verdict v = blocks_load(&c->blocks, f->blocks);

	if (v != VERDICT_ACCEPTED)
		return v;
	if (f->kind == EVENT_COMMIT && !cid_equal(&c->blocks.root, &f->commit))
		return VERDICT_COMMIT_MISMATCH;
	/* #sync brings the commit block and nothing else. */
	if (f->kind == EVENT_SYNC && c->blocks.count > 1)
		return VERDICT_BAD_CAR;
	if (c->blocks.root.codec != CID_DAG_CBOR)
		return VERDICT_COMMIT_BAD_OBJECT;
	block = blocks_find(&c->blocks, &c->blocks.root);
	if (!block)
		return VERDICT_BLOCK_MISSING;
	v = read_commit(f, block->data, ret);
	if (v != VERDICT_ACCEPTED)
		return blocks_get(&c->blocks, &c->blocks.root, &block) == VERDICT_BLOCK_HASH
			       ? VERDICT_BLOCK_HASH
			       : v;
	blocks_want(&c->blocks, block);
	commit_unsigned(ret, &c->unsigned_commit);
	*ret_block = block;
	return VERDICT_ACCEPTED;
}

/* The ops as the tree is asked about them: by path, of which there are no two the same. They come
 * in nearly any order, but are few. */
static void sort_ops(struct checker *c, const struct frame *f)
{
	for (size_t i = 0; i < f->op_count; i++) {
		const struct op *op = &f->ops[i];
		size_t at = i;

		for (; at > 0 && span_compare(c->ops[at - 1].path, op->path) > 0; at--)
			c->ops[at] = c->ops[at - 1];
		c->ops[at] = (struct mst_op){
			.path = op->path,
			.now = op->cid,
			.before = op->prev,
		};
	}
}

/* NULL for a delete, and for a record that was not sent. */
static struct block *find_record(const struct checker *c, const struct op *op)
{
	struct cid cid;

	return cid_decode(op->cid, &cid) == 0 ? blocks_find(&c->blocks, &cid) : NULL;
}

/* A record is sent with the op that wrote it. It is hashed with the nodes of the tree, if it has a
 * size that is worth it. */
static void want_records(struct checker *c, const struct frame *f)
{
	for (size_t i = 0; i < f->op_count; i++) {
		struct block *block = find_record(c, &f->ops[i]);

		if (block && block->data.len <= LIMIT_RECORD)
			blocks_want(&c->blocks, block);
	}
}

/* What is in a record is not a relay's business. */
static enum verdict check_records(const struct checker *c, const struct frame *f)
{
	for (size_t i = 0; i < f->op_count; i++) {
		const struct block *block = find_record(c, &f->ops[i]);

		if (f->ops[i].action == OP_DELETE)
			continue;
		if (!block)
			return VERDICT_BLOCK_MISSING;
		if (block->data.len > LIMIT_RECORD)
			return VERDICT_RECORD_TOO_LARGE;
	}
	return VERDICT_ACCEPTED;
}

/* A legacy host's commit that does not say what was before: before a first one there was
 * nothing. */
static bool lacks_prev(const struct frame *f)
{
	for (size_t i = 0; i < f->op_count; i++)
		if (f->ops[i].action != OP_CREATE && f->ops[i].prev.len == 0)
			return true;
	return !f->has_prev_data && f->since.len > 0;
}

/* All that the tree says, if its blocks are what their CIDs say. */
static enum verdict check_tree(struct checker *c, const struct frame *f, const struct cid *data,
			       const struct check_rules *rules)
{
	enum verdict v;

	sort_ops(c, f);
	want_records(c, f);
	v = mst_load(c->mst, &c->blocks, data);
	if (v == VERDICT_ACCEPTED)
		v = mst_check(c->mst, c->ops, f->op_count);
	if (v == VERDICT_ACCEPTED)
		v = check_records(c, f);
	if (v == VERDICT_ACCEPTED && !(rules->is_legacy && lacks_prev(f)))
		v = mst_invert(c->mst, c->ops, f->op_count);
	return v;
}

/* Undone, the ops must give the tree before: the one that prevData names, or, for a repository's
 * first commit, the empty one [sync: operation inversion]. */
static enum verdict check_before(struct checker *c, const struct frame *f,
				 const struct check_rules *rules)
{
	const struct cid *want = f->has_prev_data ? &f->prev_data : &mst_empty_root;
	struct cid root;

	if (rules->is_legacy && lacks_prev(f))
		return VERDICT_ACCEPTED;
	root = mst_before(c->mst);
	return cid_equal(&root, want) ? VERDICT_ACCEPTED : VERDICT_INVERSION_FAILED;
}

/* key: NULL if the signature is not to be checked. */
static enum verdict check_signature(struct checker *c, const struct commit *commit,
				    const struct signature_key *key,
				    const uint8_t digest[static SHA256_SIZE])
{
	if (!key || signatures_verify_digest(c->signatures, key, digest, commit->sig))
		return VERDICT_ACCEPTED;
	return VERDICT_BAD_SIGNATURE;
}

/* Most of the work is hashing, so all is hashed at once, after everything else was looked at; but
 * what is found first to be wrong is the commit, then its signature, then the tree's blocks. */
static enum verdict check_commit(struct checker *c, const struct frame *f,
				 const struct block *block, const struct commit *commit,
				 const struct signature_key *key, const struct check_rules *rules)
{
	struct sha256_work message = {.message = buf_span(&c->unsigned_commit)};
	const enum verdict tree = check_tree(c, f, &commit->data, rules);
	const enum verdict proof = mst_prove(c->mst, &message, 1);
	enum verdict v = block->is_hashed ? VERDICT_ACCEPTED : VERDICT_BLOCK_HASH;

	if (v == VERDICT_ACCEPTED)
		v = check_signature(c, commit, key, message.digest);
	if (v == VERDICT_ACCEPTED)
		v = proof;
	if (v == VERDICT_ACCEPTED)
		v = tree;
	return v == VERDICT_ACCEPTED ? check_before(c, f, rules) : v;
}

/* The commit and its signature are all that there is. */
static enum verdict check_sync(struct checker *c, const struct commit *commit,
			       const struct signature_key *key)
{
	uint8_t digest[SHA256_SIZE];
	struct block *block;
	enum verdict v = blocks_get(&c->blocks, &c->blocks.root, &block);

	if (v != VERDICT_ACCEPTED)
		return v;
	sha256(buf_span(&c->unsigned_commit), digest);
	return check_signature(c, commit, key, digest);
}

static void tell(const struct frame *f, const struct commit *commit, const struct cid *root,
		 struct verified *ret)
{
	memcpy(ret->rev, f->rev.ptr, TID_SIZE);
	ret->has_since = f->since.len > 0;
	if (ret->has_since)
		memcpy(ret->since, f->since.ptr, TID_SIZE);
	memcpy(ret->commit, root->digest, SHA256_SIZE);
	memcpy(ret->data, commit->data.digest, SHA256_SIZE);
	ret->has_prev_data = f->has_prev_data;
	if (ret->has_prev_data)
		memcpy(ret->prev_data, f->prev_data.digest, SHA256_SIZE);
	ret->is_legacy = f->kind == EVENT_COMMIT && lacks_prev(f);
}

static enum verdict check(struct checker *c, const struct frame *f, const struct signature_key *key,
			  const struct check_rules *rules, struct verified *ret)
{
	struct block *block;
	struct commit commit;
	enum verdict v = open_commit(c, f, &block, &commit);

	if (v == VERDICT_ACCEPTED)
		v = f->kind == EVENT_COMMIT ? check_commit(c, f, block, &commit, key, rules)
					    : check_sync(c, &commit, key);
	if (v == VERDICT_ACCEPTED)
		tell(f, &commit, &c->blocks.root, ret);
	return v;
}

enum verdict check_blocks(struct checker *c, const struct frame *f, const struct signature_key *key,
			  const struct check_rules *rules, struct verified *ret)
{
	return check(c, f, key, rules, ret);
}

enum verdict check_unsigned_blocks(struct checker *c, const struct frame *f,
				   const struct check_rules *rules, struct verified *ret)
{
	return check(c, f, NULL, rules, ret);
}
