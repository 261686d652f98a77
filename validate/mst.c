#include "validate/mst.h"

#include <assert.h>

#include "common/limits.h"
#include "validate/node.h"

/* Bytes of one node: all entries that an archive can hold, and then some. */
#define ENCODING_MAX  MIB(32)
#define ENCODING_KEEP KIB(64)

/* A key or a stub of the loaded tree. */
struct item {
	struct entry *entry; /* NULL: a stub, */
	const uint8_t *stub; /* with this digest */
	unsigned height;
	const struct node *node; /* of the entry */
};

/*
 * One height of the tree that is being made: the node that the next key of this height belongs to,
 * or the stub that stands in its place. It is open until a higher key comes.
 */
struct level {
	struct link left;
	struct entry *first, *last; /* NULL: it has none yet */
	size_t count;
	const struct node *source; /* of its first entry */
	bool has_fresh;            /* below it is a node that is not hashed yet */
	const uint8_t *stub;
};

/* A subtree of the tree that is being made; without a digest: nothing. */
struct subtree {
	const uint8_t *digest; /* to come, if it is fresh */
	bool is_fresh;
};

/* A node of the tree before, unless it came with the archive and is unchanged. */
struct fresh {
	struct fresh *next;
	struct node node;           /* whose links are stubs */
	const struct block *before; /* the node that has its first entry now; NULL: none */
	bool has_fresh;             /* it leads to nodes whose digests are still to come */
	bool is_hashed;
	struct span encoding; /* of those that do not */
	uint8_t digest[SHA256_SIZE];
};

struct mst {
	struct arena arena;
	struct buf encoding;
	struct sha256_trace trace; /* of the hashes made last */
	/* while loading */
	struct blocks *blocks;
	struct node *first_node, **last_node; /* all, parents first */
	size_t node_count, entry_count;
	struct span last_key;
	size_t key_bytes; /* that may still come */
	/* loaded */
	struct cid root;
	size_t item_count;
	struct item *items;
	/* while inverting */
	unsigned top; /* levels from here on are not open */
	struct level levels[LIMIT_MST_DEPTH + 1];
	unsigned stub_top; /* one above the level that is a stub: there is no second; 0: none */
	struct fresh *first_fresh, **last_fresh; /* children first */
	const uint8_t *before;                   /* the root; NULL: of the empty tree */
};

/* Of the block {e: [], l: null}. */
const struct cid mst_empty_root = {
	.codec = CID_DAG_CBOR,
	.digest = {0x9d, 0xfe, 0xfe, 0x61, 0xdd, 0x76, 0xea, 0x3d, 0xca, 0xe5, 0x02,
		   0x38, 0x80, 0xb0, 0x83, 0x79, 0xd5, 0x7a, 0xdf, 0x20, 0x48, 0x2d,
		   0x6f, 0xdb, 0xe2, 0x75, 0x92, 0x89, 0xf6, 0x47, 0x67, 0x7b},
};

struct mst *mst_new(void)
{
	struct mst *m = xcalloc(1, sizeof(*m));

	arena_init(&m->arena);
	buf_init(&m->encoding, ENCODING_MAX);
	return m;
}

void mst_free(struct mst *m)
{
	if (!m)
		return;
	arena_release(&m->arena);
	buf_release(&m->encoding);
	free(m);
}

int64_t mst_memory_bytes(const struct mst *m)
{
	return (int64_t)(sizeof(*m) + m->arena.bytes + m->encoding.cap);
}

/* Loading: gather decodes all nodes, arrange checks how they hang together. What the heights are
 * follows from the root's; whether all keys have them is seen when they are hashed. */

/* The node in this block, not yet its children. */
static enum verdict take_block(struct mst *m, struct block *block, struct node **ret)
{
	enum verdict v;

	if (block->is_node)
		return VERDICT_MST_BAD_NODE;
	block->is_node = true;
	blocks_want(m->blocks, block);
	v = node_decode(block->data, &m->arena, &m->key_bytes, ret);
	if (v != VERDICT_ACCEPTED)
		return v;
	(*ret)->block = block;
	*m->last_node = *ret;
	m->last_node = &(*ret)->next;
	m->node_count++;
	m->entry_count += (*ret)->count;
	return VERDICT_ACCEPTED;
}

/* What hangs below a link, if it is there. */
static enum verdict gather(struct mst *m, struct link *link, unsigned depth)
{
	struct block *block;
	struct node *n = NULL;
	struct cid cid;
	enum verdict v;

	if (link_is_empty(*link))
		return VERDICT_ACCEPTED;
	cid.codec = CID_DAG_CBOR;
	memcpy(cid.digest, link->stub, SHA256_SIZE);
	block = blocks_find(m->blocks, &cid);
	if (!block)
		return VERDICT_ACCEPTED;
	if (depth > LIMIT_MST_DEPTH)
		return VERDICT_MST_BAD_NODE;
	v = take_block(m, block, &n);
	if (v != VERDICT_ACCEPTED)
		return v;
	*link = (struct link){.node = n};
	v = gather(m, &n->left, depth + 1);
	for (struct entry *e = n->first; v == VERDICT_ACCEPTED && e; e = e->next)
		v = gather(m, &e->right, depth + 1);
	return v;
}

static void add_stub(struct mst *m, const uint8_t *digest, unsigned height)
{
	m->items[m->item_count++] = (struct item){.stub = digest, .height = height};
}

static enum verdict arrange_link(struct mst *m, struct link link, unsigned parent_height);

/* In the order of the keys, so that each needs to be compared with the one before it only. */
static enum verdict arrange(struct mst *m, const struct node *n)
{
	enum verdict v = arrange_link(m, n->left, n->height);

	for (struct entry *e = n->first; v == VERDICT_ACCEPTED && e; e = e->next) {
		if (span_compare(m->last_key, e->key) >= 0)
			return VERDICT_MST_BAD_NODE;
		m->last_key = e->key;
		m->items[m->item_count++] = (struct item){
			.entry = e, .height = n->height, .node = n};
		v = arrange_link(m, e->right, n->height);
	}
	return v;
}

/* What hangs below a node of parent_height. A node without keys stands in for a height that is
 * skipped, so it must lead somewhere. The recursion is as deep as the tree is high. */
static enum verdict arrange_link(struct mst *m, struct link link, unsigned parent_height)
{
	struct node *n = link.node;

	if (link_is_empty(link))
		return VERDICT_ACCEPTED;
	if (parent_height == 0)
		return VERDICT_MST_BAD_NODE;
	if (!n) {
		add_stub(m, link.stub, parent_height - 1);
		return VERDICT_ACCEPTED;
	}
	if (!n->first && link_is_empty(n->left))
		return VERDICT_MST_BAD_NODE;
	n->height = parent_height - 1;
	return arrange(m, n);
}

/* The root has a key, or is the empty tree. */
static enum verdict arrange_root(struct mst *m, struct node *root)
{
	/* One stub may hang left in each node, and one right of each entry. */
	size_t max = m->node_count + 2 * m->entry_count;

	m->items = arena_get(&m->arena, max * sizeof(*m->items));
	if (!root->first)
		return link_is_empty(root->left) ? VERDICT_ACCEPTED : VERDICT_MST_BAD_NODE;
	root->height = node_key_height(root->first->key);
	return arrange(m, root);
}

/* A tree of which nothing is known: no op can be checked in it. */
static void load_stub(struct mst *m)
{
	m->items = arena_get(&m->arena, sizeof(*m->items));
	add_stub(m, m->root.digest, LIMIT_MST_DEPTH);
}

static void reset(struct mst *m, struct blocks *blocks, const struct cid *root)
{
	arena_clear(&m->arena);
	buf_trim(&m->encoding, ENCODING_KEEP);
	m->blocks = blocks;
	m->first_node = NULL;
	m->last_node = &m->first_node;
	m->node_count = m->entry_count = m->item_count = 0;
	m->last_key = SPAN_EMPTY;
	m->key_bytes = MST_KEY_BYTES;
	m->root = *root;
	m->first_fresh = NULL;
	m->last_fresh = &m->first_fresh;
	for (size_t i = 0; i < blocks->count; i++)
		blocks->all[i].is_node = false;
}

enum verdict mst_load(struct mst *m, struct blocks *blocks, const struct cid *root)
{
	struct link link = {.stub = root->digest};
	enum verdict v;

	reset(m, blocks, root);
	v = gather(m, &link, 0);
	if (v != VERDICT_ACCEPTED)
		return v;
	if (link.node)
		return arrange_root(m, link.node);
	if (!cid_equal(root, &mst_empty_root))
		load_stub(m);
	return VERDICT_ACCEPTED;
}

/* Checking */

/* The place of the first key that is not before the path: its own, or that of the next one. */
static size_t find_place(const struct mst *m, size_t at, struct span path, bool *ret_is_there)
{
	int order = 1;

	while (at < m->item_count) {
		const struct entry *e = m->items[at].entry;

		order = e ? span_compare(e->key, path) : -1;
		if (order >= 0)
			break;
		at++;
	}
	*ret_is_there = order == 0;
	return at;
}

/* The stub between the key at this place and the one before it; NULL if there is none. */
static const struct item *stub_before(const struct mst *m, size_t place)
{
	return place > 0 && !m->items[place - 1].entry ? &m->items[place - 1] : NULL;
}

static enum verdict check_op(const struct mst *m, const struct mst_op *op)
{
	const struct item *stub;

	if (op->is_there)
		return span_equal(m->items[op->place].entry->value, op->now) ? VERDICT_ACCEPTED
									     : VERDICT_OP_MISMATCH;
	stub = stub_before(m, op->place);
	if (stub && stub->height >= node_key_height(op->path))
		return VERDICT_BLOCK_MISSING;
	return op->now.len == 0 ? VERDICT_ACCEPTED : VERDICT_OP_MISMATCH;
}

enum verdict mst_check(struct mst *m, struct mst_op *ops, size_t count)
{
	enum verdict v = VERDICT_ACCEPTED;
	size_t at = 0;

	for (size_t i = 0; v == VERDICT_ACCEPTED && i < count; i++) {
		at = find_place(m, at, ops[i].path, &ops[i].is_there);
		ops[i].place = at;
		v = check_op(m, &ops[i]);
	}
	return v;
}

/* Inverting: the tree is made from its items, left to right. */

/* Puts a subtree, or nothing, behind the level's last key. */
static void attach(struct level *l, struct subtree subtree)
{
	struct link *slot = l->last ? &l->last->right : &l->left;

	*slot = (struct link){.stub = subtree.digest};
	l->has_fresh |= subtree.is_fresh;
}

static struct span keep(struct mst *m, struct span bytes)
{
	uint8_t *copy = arena_get(&m->arena, bytes.len);

	memcpy(copy, bytes.ptr, bytes.len);
	return span_of(copy, bytes.len);
}

/* The node of a level that is closed. One that came with the archive and is unchanged has its
 * digest already. */
static struct subtree make_node(struct mst *m, const struct level *l)
{
	const struct node node = {.left = l->left, .first = l->first, .count = l->count};
	const struct block *before = l->source ? l->source->block : NULL;
	struct fresh *f;

	buf_clear(&m->encoding);
	if (!l->has_fresh) {
		node_encode(&node, &m->encoding);
		if (before && span_equal(before->data, buf_span(&m->encoding)))
			return (struct subtree){before->cid.digest, false};
	}
	f = arena_get(&m->arena, sizeof(*f));
	f->next = NULL;
	f->node = node;
	f->before = before;
	f->has_fresh = l->has_fresh;
	f->is_hashed = false;
	f->encoding = f->has_fresh ? SPAN_EMPTY : keep(m, buf_span(&m->encoding));
	*m->last_fresh = f;
	m->last_fresh = &f->next;
	return (struct subtree){f->digest, true};
}

/* Closes the levels below height, and gives what they hold as one subtree. Where a level has no
 * keys but there is something below it, it becomes a node without keys. */
static struct subtree close_below(struct mst *m, unsigned height)
{
	struct subtree subtree = {0};

	for (unsigned i = 0; i < height && (subtree.digest || i < m->top); i++) {
		struct level *l = &m->levels[i];

		if (l->stub) {
			subtree = (struct subtree){l->stub, false};
			m->stub_top = 0;
		} else if (subtree.digest || l->last) {
			attach(l, subtree);
			subtree = make_node(m, l);
		}
		*l = (struct level){0};
	}
	return subtree;
}

static struct level *open_level(struct mst *m, unsigned height)
{
	if (m->top <= height)
		m->top = height + 1;
	return &m->levels[height];
}

/* A stub at the key's height or above would have to be split. */
static enum verdict put_entry(struct mst *m, struct entry *e, unsigned height,
			      const struct node *source)
{
	struct level *l;

	if (m->stub_top > height)
		return VERDICT_BLOCK_MISSING;
	l = open_level(m, height);
	attach(l, close_below(m, height));
	if (l->last)
		l->last->next = e;
	else
		l->first = e, l->source = source;
	l->last = e;
	l->count++;
	return VERDICT_ACCEPTED;
}

/* It would have to be merged with what is open at its height or below, or with another stub. */
static enum verdict put_stub(struct mst *m, const uint8_t *digest, unsigned height)
{
	if (m->stub_top > 0)
		return VERDICT_BLOCK_MISSING;
	for (unsigned i = 0; i < m->top && i <= height; i++)
		if (m->levels[i].last)
			return VERDICT_BLOCK_MISSING;
	open_level(m, height)->stub = digest;
	m->stub_top = height + 1;
	return VERDICT_ACCEPTED;
}

/* A path that is not there now and was before. The stub where it would stand, if there is one,
 * would have to be opened, whatever its height. */
static enum verdict put_path(struct mst *m, const struct mst_op *op)
{
	struct entry *e;

	if (stub_before(m, op->place))
		return VERDICT_BLOCK_MISSING;
	e = arena_get(&m->arena, sizeof(*e));
	*e = (struct entry){.key = op->path, .value = op->before};
	return put_entry(m, e, node_key_height(op->path), NULL);
}

/* An item as it was before the op on it. */
static enum verdict put_changed(struct mst *m, const struct item *item, const struct mst_op *op)
{
	if (op->before.len == 0)
		return VERDICT_ACCEPTED;
	item->entry->value = op->before;
	item->entry->raw = SPAN_EMPTY;
	return put_entry(m, item->entry, item->height, item->node);
}

static enum verdict put_item(struct mst *m, const struct item *item)
{
	return item->entry ? put_entry(m, item->entry, item->height, item->node)
			   : put_stub(m, item->stub, item->height);
}

static enum verdict put_items(struct mst *m, const struct mst_op *ops, size_t count)
{
	enum verdict v = VERDICT_ACCEPTED;
	const struct mst_op *op = ops, *end = ops + count;

	for (size_t i = 0; v == VERDICT_ACCEPTED && i <= m->item_count; i++) {
		for (; v == VERDICT_ACCEPTED && op < end && op->place == i && !op->is_there; op++)
			if (op->before.len > 0)
				v = put_path(m, op);
		if (v != VERDICT_ACCEPTED || i == m->item_count)
			break;
		if (op < end && op->place == i)
			v = put_changed(m, &m->items[i], op++);
		else
			v = put_item(m, &m->items[i]);
	}
	return v;
}

enum verdict mst_invert(struct mst *m, const struct mst_op *ops, size_t count)
{
	enum verdict v;

	m->before = m->root.digest;
	if (count == 0)
		return VERDICT_ACCEPTED;
	memset(m->levels, 0, m->top * sizeof(m->levels[0]));
	m->top = m->stub_top = 0;
	v = put_items(m, ops, count);
	if (v == VERDICT_ACCEPTED)
		m->before = close_below(m, m->top).digest;
	return v;
}

/* Hashing */

static size_t count_encoded(const struct mst *m)
{
	size_t count = 0;

	for (const struct fresh *f = m->first_fresh; f; f = f->next)
		count += !f->has_fresh;
	return count;
}

static void take_digests(struct mst *m, const struct sha256_work *work)
{
	for (struct fresh *f = m->first_fresh; f; f = f->next)
		if (!f->has_fresh) {
			memcpy(f->digest, work++->digest, SHA256_SIZE);
			f->is_hashed = true;
		}
}

/* From the hashes of the keys. */
static enum verdict check_heights(const struct mst *m, const struct sha256_work *work)
{
	for (size_t i = 0; i < m->item_count; i++)
		if (m->items[i].entry && node_height_of(work++->digest) != m->items[i].height)
			return VERDICT_MST_BAD_NODE;
	return VERDICT_ACCEPTED;
}

/* What is long comes first, the nodes with the lowest ones before those above them, and the keys
 * come last: so the messages that are hashed side by side end at nearly the same time. */
enum verdict mst_prove(struct mst *m, struct sha256_work *others, size_t count)
{
	const size_t blocks = m->blocks->wanted_count;
	const size_t fresh = count_encoded(m), max = blocks + count + fresh + m->entry_count;
	struct sha256_work *work = arena_get(&m->arena, max * sizeof(*work)), *next = work;
	enum verdict v;

	for (size_t i = 0; i < m->blocks->count; i++)
		m->blocks->all[i].work = NULL;
	for (const struct fresh *f = m->first_fresh; f; f = f->next)
		if (!f->has_fresh)
			next++->message = f->encoding;
	for (size_t i = blocks; i-- > 0; next++) {
		next->message = m->blocks->wanted[i]->data;
		m->blocks->wanted[i]->work = next;
	}
	for (size_t i = 0; i < count; i++)
		next++->message = others[i].message;
	for (size_t i = 0; i < m->item_count; i++)
		if (m->items[i].entry)
			next++->message = m->items[i].entry->key;
	sha256_many(work, (size_t)(next - work), &m->trace);
	for (size_t i = 0; i < count; i++)
		memcpy(others[i].digest, work[fresh + blocks + i].digest, SHA256_SIZE);
	take_digests(m, work);
	v = blocks_prove(m->blocks);
	return v == VERDICT_ACCEPTED ? check_heights(m, work + fresh + blocks + count) : v;
}

/* The digests of all below it are known by now. */
static void hash_fresh(struct mst *m, struct fresh *f)
{
	const struct block *before = f->before;

	buf_clear(&m->encoding);
	node_encode(&f->node, &m->encoding);
	sha256_like(before ? before->work : NULL, &m->trace, buf_span(&m->encoding), f->digest);
	f->is_hashed = true;
}

struct cid mst_before(struct mst *m)
{
	struct cid root = mst_empty_root;

	for (struct fresh *f = m->first_fresh; f; f = f->next)
		if (!f->is_hashed)
			hash_fresh(m, f);
	if (m->before)
		memcpy(root.digest, m->before, SHA256_SIZE);
	return root;
}
