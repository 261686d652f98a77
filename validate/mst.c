#include "validate/mst.h"

#include "common/limits.h"
#include "validate/node.h"

#define ENCODING_MAX                                                                               \
	MIB(32) /* of one node: all entries that an archive can hold, and then some                \
		 */
#define ENCODING_KEEP KIB(64)

struct mst {
	struct arena arena;
	struct buf encoding;
	struct link root;
	/* while loading */
	const struct blocks *blocks;
	struct span last_key;
	size_t key_bytes; /* that may still come */
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

/* Loading */

static enum verdict load_link(struct mst *m, struct link *link, unsigned height);

/* In the order of the keys, so that each needs to be compared with the one before it only. */
static enum verdict load_children(struct mst *m, struct node *n)
{
	enum verdict v = load_link(m, &n->left, n->height);

	for (struct entry *e = n->first; v == VERDICT_ACCEPTED && e; e = e->next) {
		if (span_compare(m->last_key, e->key) >= 0)
			return VERDICT_MST_BAD_NODE;
		m->last_key = e->key;
		v = load_link(m, &e->right, n->height);
	}
	return v;
}

/* The node in this block, not yet its children. */
static enum verdict take_block(struct mst *m, const struct cid *cid, struct node **ret)
{
	struct block *block;
	enum verdict v = blocks_get(m->blocks, cid, &block);

	if (v != VERDICT_ACCEPTED)
		return v;
	if (block->is_node)
		return VERDICT_MST_BAD_NODE;
	block->is_node = true;
	v = node_decode(block->data, &m->arena, &m->key_bytes, ret);
	if (v == VERDICT_ACCEPTED)
		memcpy((*ret)->digest, cid->digest, SHA256_SIZE);
	return v;
}

/* What hangs below a node of parent_height. A node without keys stands in for a height that is
 * skipped, so it must lead somewhere. The recursion is as deep as the tree is high. */
static enum verdict load_link(struct mst *m, struct link *link, unsigned parent_height)
{
	struct cid cid = {.codec = CID_DAG_CBOR};
	struct node *n = NULL;
	enum verdict v;

	if (link_is_empty(*link))
		return VERDICT_ACCEPTED;
	if (parent_height == 0)
		return VERDICT_MST_BAD_NODE;
	memcpy(cid.digest, link->stub, SHA256_SIZE);
	if (!blocks_find(m->blocks, &cid))
		return VERDICT_ACCEPTED;
	v = take_block(m, &cid, &n);
	if (v != VERDICT_ACCEPTED)
		return v;
	if (n->first ? n->height != parent_height - 1 : link_is_empty(n->left))
		return VERDICT_MST_BAD_NODE;
	n->height = parent_height - 1;
	*link = (struct link){.node = n};
	return load_children(m, n);
}

/* The root has a key, or is the empty tree. */
static enum verdict load_root(struct mst *m, const struct cid *root)
{
	struct node *n = NULL;
	enum verdict v = take_block(m, root, &n);

	if (v != VERDICT_ACCEPTED)
		return v;
	if (!n->first)
		return link_is_empty(n->left) ? VERDICT_ACCEPTED : VERDICT_MST_BAD_NODE;
	m->root.node = n;
	return load_children(m, n);
}

enum verdict mst_load(struct mst *m, const struct blocks *blocks, const struct cid *root)
{
	uint8_t *digest;

	arena_clear(&m->arena);
	buf_trim(&m->encoding, ENCODING_KEEP);
	m->root = (struct link){0};
	m->blocks = blocks;
	m->last_key = SPAN_EMPTY;
	m->key_bytes = MST_KEY_BYTES;
	for (size_t i = 0; i < blocks->count; i++)
		blocks->all[i].is_node = false;
	if (blocks_find(blocks, root))
		return load_root(m, root);
	if (cid_equal(root, &mst_empty_root))
		return VERDICT_ACCEPTED;
	digest = arena_get(&m->arena, SHA256_SIZE);
	memcpy(digest, root->digest, SHA256_SIZE);
	m->root.stub = digest;
	return VERDICT_ACCEPTED;
}

/* Asking */

/* Where a key is, or would be, in a node. */
struct place {
	struct entry **at; /* the entry with the key, or the first one after it */
	struct link *slot; /* the link left of it */
	bool is_found;
};

static struct place find_place(struct node *n, struct span key)
{
	struct place p = {.at = &n->first, .slot = &n->left};

	for (; *p.at; p.at = &(*p.at)->next) {
		int order = span_compare((*p.at)->key, key);

		if (order >= 0) {
			p.is_found = order == 0;
			break;
		}
		p.slot = &(*p.at)->right;
	}
	return p;
}

/* The entry with this path; NULL if there is none. Nodes on the way are marked as changed if
 * asked. */
static enum verdict find_entry(struct mst *m, struct span path, bool mark, struct entry **ret)
{
	unsigned height = node_key_height(path);
	const struct link *link = &m->root;

	*ret = NULL;
	while (!link_is_empty(*link)) {
		struct place p;

		if (!link->node)
			return VERDICT_BLOCK_MISSING;
		if (link->node->height < height)
			break;
		p = find_place(link->node, path);
		link->node->is_changed |= mark;
		if (p.is_found)
			*ret = *p.at;
		if (p.is_found || link->node->height == height)
			break;
		link = p.slot;
	}
	return VERDICT_ACCEPTED;
}

enum verdict mst_find(struct mst *m, struct span path, struct span *ret_value)
{
	struct entry *e;
	enum verdict v = find_entry(m, path, false, &e);

	if (v == VERDICT_ACCEPTED)
		*ret_value = e ? e->value : SPAN_EMPTY;
	return v;
}

/* Changing */

enum verdict mst_replace(struct mst *m, struct span path, struct span value)
{
	struct entry *e;
	enum verdict v = find_entry(m, path, true, &e);

	if (v == VERDICT_ACCEPTED && !e)
		return VERDICT_INVERSION_FAILED;
	if (v == VERDICT_ACCEPTED)
		e->value = value;
	return v;
}

static struct node *new_node(struct mst *m, unsigned height, struct link left, struct entry *first)
{
	struct node *n = arena_get(&m->arena, sizeof(*n));

	*n = (struct node){.height = height, .is_changed = true, .left = left, .first = first};
	return n;
}

/* Nodes without keys above link, up to height. */
static struct link lift(struct mst *m, struct link link, unsigned height)
{
	while (link.node && link.node->height < height)
		link.node = new_node(m, link.node->height + 1, link, NULL);
	return link;
}

static struct link link_unless_empty(struct node *n)
{
	return (struct link){.node = n->first || !link_is_empty(n->left) ? n : NULL};
}

/* What lies left and right of the key. */
static enum verdict split(struct mst *m, struct link link, struct span key, struct link *ret_left,
			  struct link *ret_right)
{
	struct link inner_left, inner_right;
	struct node *right;
	struct place p;
	enum verdict v;

	*ret_left = *ret_right = (struct link){0};
	if (link_is_empty(link))
		return VERDICT_ACCEPTED;
	if (!link.node)
		return VERDICT_BLOCK_MISSING;
	p = find_place(link.node, key);
	if (p.is_found)
		return VERDICT_INVERSION_FAILED;
	v = split(m, *p.slot, key, &inner_left, &inner_right);
	if (v != VERDICT_ACCEPTED)
		return v;
	right = new_node(m, link.node->height, inner_right, *p.at);
	*p.at = NULL;
	*p.slot = inner_left;
	link.node->is_changed = true;
	*ret_left = link_unless_empty(link.node);
	*ret_right = link_unless_empty(right);
	return VERDICT_ACCEPTED;
}

static struct entry *new_entry(struct mst *m, struct span key, struct span value)
{
	struct entry *e = arena_get(&m->arena, sizeof(*e));

	*e = (struct entry){.key = key, .value = value};
	return e;
}

/* Below a link that leads, or would lead, to a node of link_height, which e's height does not
 * exceed. */
static enum verdict insert_below(struct mst *m, struct link *link, unsigned link_height,
				 struct entry *e, unsigned height)
{
	struct node *n = link->node;
	struct place p;
	enum verdict v;

	if (link->stub)
		return VERDICT_BLOCK_MISSING;
	if (!n) {
		n = new_node(m, height, (struct link){0}, e);
		*link = lift(m, (struct link){.node = n}, link_height);
		return VERDICT_ACCEPTED;
	}
	n->is_changed = true;
	p = find_place(n, e->key);
	if (p.is_found)
		return VERDICT_INVERSION_FAILED;
	if (n->height > height)
		return insert_below(m, p.slot, n->height - 1, e, height);
	e->next = *p.at;
	v = split(m, *p.slot, e->key, p.slot, &e->right);
	*p.at = e;
	return v;
}

/* A root above the one there is. */
static enum verdict insert_above(struct mst *m, struct entry *e, unsigned height)
{
	struct link left, right;
	enum verdict v = split(m, m->root, e->key, &left, &right);

	if (v != VERDICT_ACCEPTED)
		return v;
	e->right = lift(m, right, height - 1);
	m->root.node = new_node(m, height, lift(m, left, height - 1), e);
	return VERDICT_ACCEPTED;
}

enum verdict mst_insert(struct mst *m, struct span path, struct span value)
{
	struct entry *e = new_entry(m, path, value);
	unsigned height = node_key_height(path);

	if (m->root.node && m->root.node->height < height)
		return insert_above(m, e, height);
	return insert_below(m, &m->root, height, e, height);
}

/* Puts what lies under b at the right end of what lies under a. */
static enum verdict merge(struct link *a, struct link b)
{
	struct entry **end;
	struct link *last;
	enum verdict v;

	if (link_is_empty(b))
		return VERDICT_ACCEPTED;
	if (link_is_empty(*a)) {
		*a = b;
		return VERDICT_ACCEPTED;
	}
	if (!a->node || !b.node)
		return VERDICT_BLOCK_MISSING;
	a->node->is_changed = true;
	last = &a->node->left;
	for (end = &a->node->first; *end; end = &(*end)->next)
		last = &(*end)->right;
	v = merge(last, b.node->left);
	*end = b.node->first;
	return v;
}

static enum verdict remove_below(struct link *link, struct span key, unsigned height)
{
	struct node *n = link->node;
	struct place p;
	enum verdict v;

	if (link->stub)
		return VERDICT_BLOCK_MISSING;
	if (!n || n->height < height)
		return VERDICT_INVERSION_FAILED;
	n->is_changed = true;
	p = find_place(n, key);
	if (n->height > height) {
		v = remove_below(p.slot, key, height);
	} else {
		if (!p.is_found)
			return VERDICT_INVERSION_FAILED;
		v = merge(p.slot, (*p.at)->right);
		*p.at = (*p.at)->next;
	}
	*link = link_unless_empty(n);
	return v;
}

enum verdict mst_remove(struct mst *m, struct span path)
{
	return remove_below(&m->root, path, node_key_height(path));
}

/* Children first: a node's block holds their digests. */
static void hash_node(struct mst *m, struct node *n)
{
	if (!n || !n->is_changed)
		return;
	hash_node(m, n->left.node);
	for (struct entry *e = n->first; e; e = e->next)
		hash_node(m, e->right.node);
	buf_clear(&m->encoding);
	node_encode(n, &m->encoding);
	sha256(buf_span(&m->encoding), n->digest);
	n->is_changed = false;
}

void mst_root(struct mst *m, struct cid *ret)
{
	struct link root = m->root;

	/* A root that only leads down is none. */
	while (root.node && !root.node->first)
		root = root.node->left;
	*ret = mst_empty_root;
	if (root.node) {
		hash_node(m, root.node);
		memcpy(ret->digest, root.node->digest, SHA256_SIZE);
	} else if (root.stub) {
		memcpy(ret->digest, root.stub, SHA256_SIZE);
	}
}
