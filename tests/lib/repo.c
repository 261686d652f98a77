#include "tests/lib/repo.h"

#include <assert.h>
#include <stdio.h>

#include "common/car.h"
#include "common/cbor.h"
#include "tests/lib/tree.h"

#define BLOCK_MAX    MIB(2)
#define ARCHIVE_MAX  MIB(64)
#define CLOCK_ID     7
#define DID_PLC_SIZE 24

static void make_did(const char *seed, char ret[static REPO_DID_SIZE])
{
	static const char base32[] = "abcdefghijklmnopqrstuvwxyz234567";
	uint8_t digest[SHA256_SIZE];
	size_t at = (size_t)snprintf(ret, REPO_DID_SIZE, "did:plc:");

	sha256(span_str(seed), digest);
	for (size_t i = 0; i < DID_PLC_SIZE; i++)
		ret[at++] = base32[digest[i] & 31];
	ret[at] = '\0';
}

void repo_init(struct repo *r, enum curve curve, const char *seed)
{
	struct tree_node *empty = tree_make(NULL, 0);

	*r = (struct repo){0};
	make_did(seed, r->did);
	test_key_make(curve, seed, &r->key);
	r->data = empty->cid;
	buf_init(&r->commit_block, BLOCK_MAX);
	tree_free(empty);
}

static void record_release(struct repo_record *record)
{
	free(record->path);
	buf_release(&record->block);
}

static void free_ops(struct repo_op *ops, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(ops[i].path);
	free(ops);
}

void repo_release(struct repo *r)
{
	free_ops(r->ops, r->op_count);
	for (size_t i = 0; i < r->record_count; i++)
		record_release(&r->records[i]);
	free(r->records);
	free(r->nodes);
	buf_release(&r->commit_block);
	*r = (struct repo){0};
}

/* Where the path is, or would be put. */
static size_t place_of(const struct repo *r, const char *path, bool *ret_found)
{
	size_t low = 0, high = r->record_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(r->records[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < r->record_count && strcmp(r->records[low].path, path) == 0;
	return low;
}

bool repo_has(const struct repo *r, const char *path)
{
	bool found;

	place_of(r, path, &found);
	return found;
}

static struct repo_op *stage(struct repo *r, enum repo_action action, const char *path)
{
	struct repo_op *op;

	assert(r->op_count < LIMIT_OPS && strlen(path) <= LIMIT_REPO_PATH);
	for (size_t i = 0; i < r->op_count; i++)
		assert(strcmp(r->ops[i].path, path) != 0);
	if ((r->op_count & (r->op_count + 1)) == 0)
		r->ops = xrealloc(r->ops, 2 * (r->op_count + 1) * sizeof(*r->ops));
	op = &r->ops[r->op_count++];
	*op = (struct repo_op){.action = action, .path = xstrdup(path)};
	return op;
}

static struct repo_record *insert_record(struct repo *r, size_t at, const char *path)
{
	struct repo_record *record;

	if (r->record_count == r->record_cap) {
		r->record_cap = r->record_cap ? 2 * r->record_cap : 16;
		r->records = xrealloc(r->records, r->record_cap * sizeof(*r->records));
	}
	record = &r->records[at];
	memmove(record + 1, record, (r->record_count - at) * sizeof(*record));
	r->record_count++;
	*record = (struct repo_record){
		.path = xstrdup(path),
		.height = tree_height(span_str(path)),
	};
	buf_init(&record->block, BLOCK_MAX);
	return record;
}

void repo_put(struct repo *r, const char *path, struct span record)
{
	bool found;
	size_t at = place_of(r, path, &found);
	struct repo_op *op = stage(r, found ? REPO_UPDATE : REPO_CREATE, path);
	struct repo_record *entry = found ? &r->records[at] : insert_record(r, at, path);

	op->prev = entry->cid;
	buf_clear(&entry->block);
	buf_append(&entry->block, record);
	cid_of_block(record, &entry->cid);
	op->cid = entry->cid;
}

void repo_put_number(struct repo *r, const char *path, uint64_t number)
{
	struct buf record;

	buf_init(&record, BLOCK_MAX);
	cbor_put_map(&record, 2);
	cbor_put_text(&record, SPAN_LITERAL("$type"));
	cbor_put_text(&record, SPAN_LITERAL("com.example.record"));
	cbor_put_text(&record, SPAN_LITERAL("number"));
	cbor_put_integer(&record, (int64_t)(number & INT64_MAX));
	repo_put(r, path, buf_span(&record));
	buf_release(&record);
}

void repo_delete(struct repo *r, const char *path)
{
	bool found;
	size_t at = place_of(r, path, &found);

	assert(found);
	stage(r, REPO_DELETE, path)->prev = r->records[at].cid;
	record_release(&r->records[at]);
	r->record_count--;
	memmove(&r->records[at], &r->records[at + 1], (r->record_count - at) * sizeof(*r->records));
}

static void put_cid(struct buf *b, const struct cid *cid)
{
	uint8_t binary[CID_SIZE];

	cid_encode(cid, binary);
	cbor_put_cid(b, span_of(binary, sizeof(binary)));
}

/* sig: empty for the form that is signed [repository: commit objects]. */
static void put_object(struct buf *b, const struct repo_commit_object *o, struct span sig)
{
	cbor_put_map(b, 5u + (sig.len > 0) + o->has_extra);
	cbor_put_text(b, SPAN_LITERAL("did"));
	cbor_put_text(b, o->did);
	cbor_put_text(b, SPAN_LITERAL("rev"));
	cbor_put_text(b, o->rev);
	if (sig.len > 0) {
		cbor_put_text(b, SPAN_LITERAL("sig"));
		cbor_put_bytes(b, sig);
	}
	cbor_put_text(b, SPAN_LITERAL("data"));
	put_cid(b, &o->data);
	cbor_put_text(b, SPAN_LITERAL("prev"));
	cbor_put_null(b);
	if (o->has_extra) {
		cbor_put_text(b, SPAN_LITERAL("zebra"));
		cbor_put_integer(b, 1);
	}
	cbor_put_text(b, SPAN_LITERAL("version"));
	cbor_put_integer(b, o->version);
}

void repo_sign(const struct test_key *k, const struct repo_commit_object *o, struct buf *b)
{
	uint8_t sig[TEST_SIGNATURE_SIZE];
	struct buf message;

	buf_init(&message, BLOCK_MAX);
	put_object(&message, o, SPAN_EMPTY);
	test_key_sign(k, buf_span(&message), sig);
	put_object(b, o, span_of(sig, sizeof(sig)));
	buf_release(&message);
}

static struct tree_record *tree_records(const struct repo *r)
{
	struct tree_record *all = xcalloc(r->record_count + 1, sizeof(*all));

	for (size_t i = 0; i < r->record_count; i++)
		all[i] = (struct tree_record){
			.path = span_str(r->records[i].path),
			.cid = r->records[i].cid,
			.height = r->records[i].height,
		};
	return all;
}

static int compare_digests(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_SIZE);
}

static bool is_old_node(const struct repo *r, const struct cid *cid)
{
	return r->node_count > 0 &&
	       bsearch(cid->digest, r->nodes, r->node_count, SHA256_SIZE, compare_digests) != NULL;
}

struct node_list {
	size_t count, cap;
	uint8_t (*digests)[SHA256_SIZE];
};

static void add_digest(void *arg, struct tree_node *n)
{
	struct node_list *list = arg;

	if (list->count == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 64;
		list->digests = xrealloc(list->digests, list->cap * SHA256_SIZE);
	}
	memcpy(list->digests[list->count++], n->cid.digest, SHA256_SIZE);
}

static void remember_nodes(struct repo *r, struct tree_node *root)
{
	struct node_list list = {0};

	tree_walk(root, add_digest, &list);
	qsort(list.digests, list.count, SHA256_SIZE, compare_digests);
	free(r->nodes);
	r->nodes = list.digests;
	r->node_count = list.count;
}

/* The way to each op's path and to its neighbours: with these and the new nodes a reader can undo
 * every op [sync: commit messages]. */
static void mark_proofs(const struct repo *r, struct tree_node *root,
			const struct tree_record *records)
{
	for (size_t i = 0; i < r->op_count; i++) {
		bool found;
		size_t at = place_of(r, r->ops[i].path, &found), right = at + found;

		tree_mark_path(root, records, span_str(r->ops[i].path));
		if (at > 0)
			tree_mark_path(root, records, records[at - 1].path);
		if (right < r->record_count)
			tree_mark_path(root, records, records[right].path);
	}
}

struct archive {
	const struct repo *repo;
	struct buf *blocks;
	bool all;
};

static void put_node(void *arg, struct tree_node *n)
{
	const struct archive *a = arg;

	if (a->all || n->marked || !is_old_node(a->repo, &n->cid))
		car_put_block(a->blocks, &n->cid, buf_span(&n->block));
}

static void put_records(const struct repo *r, struct buf *blocks)
{
	for (size_t i = 0; i < r->op_count; i++) {
		bool found;
		size_t at = place_of(r, r->ops[i].path, &found);

		if (r->ops[i].action != REPO_DELETE)
			car_put_block(blocks, &r->records[at].cid, buf_span(&r->records[at].block));
	}
}

/* Moves the repository's head to a new commit of this tree. */
static void advance(struct repo *r, uint64_t usec, const struct cid *data, struct repo_commit *ret)
{
	struct repo_commit_object object = {
		.did = span_str(r->did),
		.data = *data,
		.version = 3,
	};

	*ret = (struct repo_commit){
		.has_since = r->has_commit,
		.has_prev_data = r->has_commit,
		.prev_data = r->data,
		.data = *data,
	};
	memcpy(ret->did, r->did, sizeof(ret->did));
	memcpy(ret->since, r->rev, TID_SIZE);
	if (r->has_commit && usec <= tid_usec(span_of(r->rev, TID_SIZE)))
		usec = tid_usec(span_of(r->rev, TID_SIZE)) + 1;
	tid_format(usec, CLOCK_ID, r->rev);
	memcpy(ret->rev, r->rev, TID_SIZE);
	object.rev = span_of(r->rev, TID_SIZE);
	buf_clear(&r->commit_block);
	repo_sign(&r->key, &object, &r->commit_block);
	cid_of_block(buf_span(&r->commit_block), &r->commit);
	ret->commit = r->commit;
	r->data = *data;
	r->has_commit = true;
	buf_init(&ret->blocks, ARCHIVE_MAX);
	car_put_header(&ret->blocks, &r->commit);
	car_put_block(&ret->blocks, &r->commit, buf_span(&r->commit_block));
}

void repo_commit(struct repo *r, uint64_t usec, struct repo_commit *ret)
{
	struct tree_record *records = tree_records(r);
	struct tree_node *root = tree_make(records, r->record_count);

	advance(r, usec, &root->cid, ret);
	mark_proofs(r, root, records);
	tree_walk(root, put_node, &(struct archive){r, &ret->blocks, false});
	put_records(r, &ret->blocks);
	ret->op_count = r->op_count;
	ret->ops = r->ops;
	r->ops = NULL;
	r->op_count = 0;
	remember_nodes(r, root);
	tree_free(root);
	free(records);
}

void repo_sync(struct repo *r, uint64_t usec, struct repo_commit *ret)
{
	struct cid data = r->data;

	assert(r->op_count == 0);
	advance(r, usec, &data, ret);
}

void repo_commit_release(struct repo_commit *c)
{
	free_ops(c->ops, c->op_count);
	buf_release(&c->blocks);
	*c = (struct repo_commit){0};
}

void repo_export(struct repo *r, struct buf *b)
{
	struct tree_record *records = tree_records(r);
	struct tree_node *root = tree_make(records, r->record_count);

	car_put_header(b, &r->commit);
	car_put_block(b, &r->commit, buf_span(&r->commit_block));
	tree_walk(root, put_node, &(struct archive){r, b, true});
	for (size_t i = 0; i < r->record_count; i++)
		car_put_block(b, &r->records[i].cid, buf_span(&r->records[i].block));
	tree_free(root);
	free(records);
}
