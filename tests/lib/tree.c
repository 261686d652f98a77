#include "tests/lib/tree.h"

#include <assert.h>

#include "common/cbor.h"
#include "common/limits.h"

unsigned tree_height(struct span key)
{
	uint8_t digest[SHA256_SIZE];
	unsigned zeros = 0;

	sha256(key, digest);
	while (zeros < 8 * SHA256_SIZE && !(digest[zeros / 8] & (0x80 >> zeros % 8)))
		zeros++;
	return zeros / 2;
}

static void put_link(struct buf *b, const struct cid *cid)
{
	uint8_t binary[CID_SIZE];

	if (!cid) {
		cbor_put_null(b);
		return;
	}
	cid_encode(cid, binary);
	cbor_put_cid(b, span_of(binary, sizeof(binary)));
}

static void put_entry(struct buf *b, const struct tree_entry *e)
{
	cbor_put_map(b, 4);
	cbor_put_text(b, SPAN_LITERAL("k"));
	cbor_put_bytes(b, e->suffix);
	cbor_put_text(b, SPAN_LITERAL("p"));
	cbor_put_integer(b, (int64_t)e->prefix);
	cbor_put_text(b, SPAN_LITERAL("t"));
	put_link(b, e->right);
	cbor_put_text(b, SPAN_LITERAL("v"));
	put_link(b, &e->value);
}

void tree_encode_node(struct buf *b, const struct cid *left, const struct tree_entry *entries,
		      size_t count)
{
	cbor_put_map(b, 2);
	cbor_put_text(b, SPAN_LITERAL("e"));
	cbor_put_array(b, count);
	for (size_t i = 0; i < count; i++)
		put_entry(b, &entries[i]);
	cbor_put_text(b, SPAN_LITERAL("l"));
	put_link(b, left);
}

static size_t shared_prefix(struct span a, struct span b)
{
	size_t n = 0;

	while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n])
		n++;
	return n;
}

static struct tree_node *make(const struct tree_record *records, size_t first, size_t end,
			      unsigned height);

static struct cid *add_child(struct tree_node *n, const struct tree_record *records, size_t first,
			     size_t end)
{
	struct tree_node *child;

	if (first == end)
		return NULL;
	child = make(records, first, end, n->height - 1);
	n->children = xrealloc(n->children, (n->child_count + 1) * sizeof(struct tree_node *));
	n->children[n->child_count++] = child;
	return &child->cid;
}

/* The first record at or after i that stands in a node of this height itself. */
static size_t next_of_height(const struct tree_record *records, size_t i, size_t end,
			     unsigned height)
{
	while (i < end && records[i].height < height)
		i++;
	return i;
}

/* The node of this height over the records from first to end. */
static struct tree_node *make(const struct tree_record *records, size_t first, size_t end,
			      unsigned height)
{
	struct tree_node *n = xcalloc(1, sizeof(*n));
	struct tree_entry *entries = xcalloc(end - first + 1, sizeof(struct tree_entry));
	size_t i = next_of_height(records, first, end, height), count = 0;
	struct span last = SPAN_EMPTY;
	struct cid *left;

	n->height = height;
	n->first = first;
	n->end = end;
	left = add_child(n, records, first, i);
	while (i < end) {
		size_t next = next_of_height(records, i + 1, end, height);
		struct span path = records[i].path;
		size_t prefix = shared_prefix(last, path);

		entries[count++] = (struct tree_entry){
			.prefix = prefix,
			.suffix = span_of(path.ptr + prefix, path.len - prefix),
			.value = records[i].cid,
			.right = add_child(n, records, i + 1, next),
		};
		last = path;
		i = next;
	}
	buf_init(&n->block, MIB(64));
	tree_encode_node(&n->block, left, entries, count);
	cid_of_block(buf_span(&n->block), &n->cid);
	free(entries);
	return n;
}

struct tree_node *tree_make(const struct tree_record *records, size_t count)
{
	unsigned height = 0;

	for (size_t i = 0; i < count; i++)
		if (records[i].height > height)
			height = records[i].height;
	return make(records, 0, count, height);
}

void tree_free(struct tree_node *n)
{
	if (!n)
		return;
	for (size_t i = 0; i < n->child_count; i++)
		tree_free(n->children[i]);
	free(n->children);
	buf_release(&n->block);
	free(n);
}

/* Whether path lies between what stands left and right of this child. */
static bool leads_to(const struct tree_node *child, const struct tree_node *parent,
		     const struct tree_record *records, struct span path)
{
	return (child->first == parent->first ||
		span_compare(records[child->first - 1].path, path) < 0) &&
	       (child->end == parent->end || span_compare(path, records[child->end].path) < 0);
}

void tree_mark_path(struct tree_node *root, const struct tree_record *records, struct span path)
{
	root->marked = true;
	for (size_t i = 0; i < root->child_count; i++)
		if (leads_to(root->children[i], root, records, path))
			tree_mark_path(root->children[i], records, path);
}

void tree_walk(struct tree_node *n, void (*visit)(void *arg, struct tree_node *n), void *arg)
{
	visit(arg, n);
	for (size_t i = 0; i < n->child_count; i++)
		tree_walk(n->children[i], visit, arg);
}
