#include "tests/simnet/record_tree.h"

#include <assert.h>

#include "common/car.h"
#include "common/limits.h"
#include "tests/lib/tree.h"

#define BLOCK_MAX  MIB(2)
#define PICK_STOPS 8 /* one step in so many ends at a record that has others below it */

struct entry {
	char *path;
	uint8_t value[SHA256_SIZE];
	struct record_node *right;
};

/* Slot i of a node is the link before entry i: 0 to count. */
struct record_node {
	uint8_t height;
	bool is_new;    /* digest does not hold, and no commit had this node */
	bool is_marked; /* for the commit that is being made */
	uint32_t count, cap;
	uint8_t digest[SHA256_SIZE];
	struct record_node *left;
	struct entry *entries;
};

static struct record_node *node_new(unsigned height)
{
	struct record_node *n = xcalloc(1, sizeof(*n));

	assert(height <= LIMIT_MST_DEPTH);
	n->height = (uint8_t)height;
	n->is_new = true;
	return n;
}

static void node_free(struct record_node *n)
{
	free(n->entries);
	free(n);
}

static struct record_node **slot_of(struct record_node *n, uint32_t i)
{
	return i == 0 ? &n->left : &n->entries[i - 1].right;
}

static void free_all(struct record_node *n)
{
	if (!n)
		return;
	for (uint32_t i = 0; i <= n->count; i++)
		free_all(*slot_of(n, i));
	for (uint32_t i = 0; i < n->count; i++)
		free(n->entries[i].path);
	node_free(n);
}

void record_tree_release(struct record_tree *t)
{
	free_all(t->root);
	*t = (struct record_tree){0};
}

/* The first entry that is not before path. */
static uint32_t place_in(const struct record_node *n, const char *path, bool *ret_found)
{
	uint32_t low = 0, high = n->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (strcmp(n->entries[middle].path, path) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = low < n->count && strcmp(n->entries[low].path, path) == 0;
	return low;
}

static void reserve(struct record_node *n, uint32_t count)
{
	if (count <= n->cap)
		return;
	n->cap = count < 4 ? count : count + count / 2;
	n->entries = xrealloc(n->entries, n->cap * sizeof(*n->entries));
}

/* A node without keys that leads nowhere is none. */
static struct record_node *unless_empty(struct record_node *n)
{
	if (n->count > 0 || n->left)
		return n;
	node_free(n);
	return NULL;
}

/* Cuts a subtree at a path that is not in it: n keeps what comes before. */
static struct record_node *split(struct record_node *n, const char *path,
				 struct record_node **ret_right)
{
	struct record_node *right;
	bool found;
	uint32_t at;

	*ret_right = NULL;
	if (!n)
		return NULL;
	at = place_in(n, path, &found);
	assert(!found);
	right = node_new(n->height);
	reserve(right, n->count - at);
	right->count = n->count - at;
	if (right->count > 0)
		memcpy(right->entries, n->entries + at, right->count * sizeof(*n->entries));
	n->count = at;
	n->is_new = true;
	*slot_of(n, at) = split(*slot_of(n, at), path, &right->left);
	*ret_right = unless_empty(right);
	return unless_empty(n);
}

/* Joins neighbouring subtrees of one height. */
static struct record_node *merge(struct record_node *a, struct record_node *b)
{
	struct record_node **seam;

	if (!a || !b)
		return a ? a : b;
	assert(a->height == b->height);
	seam = slot_of(a, a->count);
	*seam = merge(*seam, b->left);
	reserve(a, a->count + b->count);
	if (b->count > 0)
		memcpy(a->entries + a->count, b->entries, b->count * sizeof(*b->entries));
	a->count += b->count;
	a->is_new = true;
	node_free(b);
	return a;
}

static void insert_entry(struct record_node *n, const char *path, const struct cid *value)
{
	bool found;
	uint32_t at = place_in(n, path, &found);
	struct entry entry = {.path = xstrdup(path)};

	assert(!found);
	memcpy(entry.value, value->digest, SHA256_SIZE);
	*slot_of(n, at) = split(*slot_of(n, at), path, &entry.right);
	reserve(n, n->count + 1);
	memmove(n->entries + at + 1, n->entries + at, (n->count - at) * sizeof(*n->entries));
	n->entries[at] = entry;
	n->count++;
}

void record_tree_insert(struct record_tree *t, const char *path, const struct cid *value)
{
	unsigned height = tree_height(span_str(path));
	struct record_node *n;

	if (!t->root)
		t->root = node_new(height);
	while (t->root->height < height) {
		struct record_node *above = node_new(t->root->height + 1u);

		above->left = t->root;
		t->root = above;
	}
	n = t->root;
	n->is_new = true;
	while (n->height > height) {
		bool found;
		struct record_node **slot = slot_of(n, place_in(n, path, &found));

		if (!*slot)
			*slot = node_new(n->height - 1u);
		n = *slot;
		n->is_new = true;
	}
	insert_entry(n, path, value);
	t->count++;
}

static struct entry *find(const struct record_tree *t, const char *path)
{
	struct record_node *n = t->root;

	while (n) {
		bool found;
		uint32_t at = place_in(n, path, &found);

		if (found)
			return &n->entries[at];
		n = *slot_of(n, at);
	}
	return NULL;
}

bool record_tree_has(const struct record_tree *t, const char *path)
{
	return find(t, path) != NULL;
}

static void give_value(const struct entry *e, struct cid *ret)
{
	if (!ret)
		return;
	ret->codec = CID_DAG_CBOR;
	memcpy(ret->digest, e->value, SHA256_SIZE);
}

void record_tree_replace(struct record_tree *t, const char *path, const struct cid *value,
			 struct cid *ret_old)
{
	struct record_node *n = t->root;

	for (;;) {
		bool found;
		uint32_t at;

		assert(n);
		n->is_new = true;
		at = place_in(n, path, &found);
		if (found) {
			give_value(&n->entries[at], ret_old);
			memcpy(n->entries[at].value, value->digest, SHA256_SIZE);
			return;
		}
		n = *slot_of(n, at);
	}
}

static struct record_node *remove_from(struct record_node *n, const char *path, struct cid *ret_old)
{
	struct record_node **slot;
	bool found;
	uint32_t at;

	assert(n);
	n->is_new = true;
	at = place_in(n, path, &found);
	slot = slot_of(n, at);
	if (!found) {
		*slot = remove_from(*slot, path, ret_old);
		return unless_empty(n);
	}
	give_value(&n->entries[at], ret_old);
	*slot = merge(*slot, n->entries[at].right);
	free(n->entries[at].path);
	n->count--;
	memmove(n->entries + at, n->entries + at + 1, (n->count - at) * sizeof(*n->entries));
	return unless_empty(n);
}

void record_tree_remove(struct record_tree *t, const char *path, struct cid *ret_old)
{
	t->root = remove_from(t->root, path, ret_old);
	t->count--;
	/* The root has a key [repository: MST structure]. */
	while (t->root && t->root->count == 0) {
		struct record_node *below = t->root->left;

		node_free(t->root);
		t->root = below;
	}
}

/* The next step of a linear congruential sequence; its upper bits are the random ones. */
static uint32_t step(uint64_t *number, uint32_t below)
{
	*number = *number * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)((*number >> 32) % below);
}

/* Down at random, with a stop now and then. */
const char *record_tree_pick(const struct record_tree *t, uint64_t number)
{
	struct record_node *n = t->root;

	while (n) {
		uint32_t at = step(&number, n->count + 1);
		struct record_node *below = *slot_of(n, at);

		if (n->count > 0 && (!below || step(&number, PICK_STOPS) == 0))
			return n->entries[at < n->count ? at : at - 1].path;
		n = below;
	}
	return NULL;
}

/* Commits. */

static void mark(struct record_tree *t, const char *path)
{
	struct record_node *n = t->root;

	while (n) {
		bool found;
		uint32_t at = place_in(n, path, &found);

		n->is_marked = true;
		n = found ? NULL : *slot_of(n, at);
	}
}

static void mark_neighbours(struct record_tree *t, const char *path)
{
	struct record_node *n = t->root, *below;
	const char *left = NULL, *right = NULL;

	while (n) {
		bool found;
		uint32_t at = place_in(n, path, &found), next = at + found;

		if (at > 0)
			left = n->entries[at - 1].path;
		if (next < n->count)
			right = n->entries[next].path;
		if (found) {
			for (below = *slot_of(n, at); below; below = *slot_of(below, below->count))
				left = below->count > 0 ? below->entries[below->count - 1].path
							: left;
			for (below = *slot_of(n, next); below; below = below->left)
				right = below->count > 0 ? below->entries[0].path : right;
		}
		n = found ? NULL : *slot_of(n, at);
	}
	if (left)
		mark(t, left);
	if (right)
		mark(t, right);
}

static void cid_of(const struct record_node *n, struct cid *ret)
{
	ret->codec = CID_DAG_CBOR;
	memcpy(ret->digest, n->digest, SHA256_SIZE);
}

static void encode(const struct record_node *n, struct buf *b)
{
	struct tree_entry *entries = xcalloc(n->count + 1, sizeof(*entries));
	struct cid *links = xcalloc(n->count + 1, sizeof(*links));
	struct span last = SPAN_EMPTY;

	if (n->left)
		cid_of(n->left, &links[n->count]);
	for (uint32_t i = 0; i < n->count; i++) {
		const struct entry *e = &n->entries[i];
		struct span path = span_str(e->path);
		size_t prefix = 0;

		while (prefix < last.len && prefix < path.len &&
		       last.ptr[prefix] == path.ptr[prefix])
			prefix++;
		entries[i].prefix = prefix;
		entries[i].suffix = span_of(path.ptr + prefix, path.len - prefix);
		give_value(e, &entries[i].value);
		if (e->right) {
			cid_of(e->right, &links[i]);
			entries[i].right = &links[i];
		}
		last = path;
	}
	tree_encode_node(b, n->left ? &links[n->count] : NULL, entries, n->count);
	free(links);
	free(entries);
}

/* Below a node that is neither new nor marked there is none that is. */
static void put_nodes(struct record_node *n, struct buf *scratch, struct buf *blocks)
{
	struct cid cid;

	if (!n || (!n->is_new && !n->is_marked))
		return;
	for (uint32_t i = 0; i <= n->count; i++)
		put_nodes(*slot_of(n, i), scratch, blocks);
	buf_clear(scratch);
	encode(n, scratch);
	if (n->is_new)
		sha256(buf_span(scratch), n->digest);
	cid_of(n, &cid);
	if (blocks)
		car_put_block(blocks, &cid, buf_span(scratch));
	n->is_new = n->is_marked = false;
}

void record_tree_commit(struct record_tree *t, const char *const *paths, size_t path_count,
			struct buf *blocks, struct cid *ret_root)
{
	struct buf scratch;

	buf_init(&scratch, BLOCK_MAX);
	for (size_t i = 0; i < path_count; i++) {
		mark(t, paths[i]);
		mark_neighbours(t, paths[i]);
	}
	if (t->root) {
		put_nodes(t->root, &scratch, blocks);
		cid_of(t->root, ret_root);
	} else {
		tree_encode_node(&scratch, NULL, NULL, 0);
		cid_of_block(buf_span(&scratch), ret_root);
		if (blocks)
			car_put_block(blocks, ret_root, buf_span(&scratch));
	}
	buf_release(&scratch);
}
