#include "tests/simnet/record_tree.h"

#include <stdlib.h>

#include "common/car.h"
#include "tests/lib/tree.h"
#include "tests/test.h"

#define PATHS_MAX 3000
#define OPS_MAX   20

/* The same records, sorted, for tests/lib/tree. */
struct model {
	size_t count;
	char *paths[PATHS_MAX];
	struct tree_record records[PATHS_MAX];
};

static size_t place_of(const struct model *m, const char *path)
{
	size_t at = 0;

	while (at < m->count && strcmp(m->paths[at], path) < 0)
		at++;
	return at;
}

static bool model_has(const struct model *m, const char *path)
{
	size_t at = place_of(m, path);

	return at < m->count && strcmp(m->paths[at], path) == 0;
}

static void model_insert(struct model *m, const char *path, const struct cid *value)
{
	size_t at = place_of(m, path), rest = m->count - at;

	memmove(m->paths + at + 1, m->paths + at, rest * sizeof(*m->paths));
	memmove(m->records + at + 1, m->records + at, rest * sizeof(*m->records));
	m->paths[at] = xstrdup(path);
	m->records[at] = (struct tree_record){span_str(m->paths[at]), *value,
					      tree_height(span_str(path))};
	m->count++;
}

static void model_remove(struct model *m, const char *path)
{
	size_t at = place_of(m, path), rest = m->count - at - 1;

	free(m->paths[at]);
	memmove(m->paths + at, m->paths + at + 1, rest * sizeof(*m->paths));
	memmove(m->records + at, m->records + at + 1, rest * sizeof(*m->records));
	m->count--;
}

static void model_release(struct model *m)
{
	for (size_t i = 0; i < m->count; i++)
		free(m->paths[i]);
	free(m);
}

struct digests {
	size_t count;
	uint8_t all[2 * PATHS_MAX][SHA256_SIZE];
};

static bool digests_have(const struct digests *d, const struct cid *cid)
{
	for (size_t i = 0; i < d->count; i++)
		if (memcmp(d->all[i], cid->digest, SHA256_SIZE) == 0)
			return true;
	return false;
}

/* What the walk over the model's tree holds against the blocks of a commit. */
struct comparison {
	const struct digests *before; /* nodes of the last commit */
	struct digests *now;
	struct span archive;
	size_t sent, owed;
};

/* Whether the archive has the node, with the right bytes. */
static bool is_sent(struct span archive, const struct tree_node *n)
{
	struct car car = {.blocks = reader_of(archive)};
	struct car_block block;

	while (car_more(&car)) {
		if (car_next(&car, &block) < 0)
			return false;
		if (cid_equal(&block.cid, &n->cid))
			return span_equal(block.data, buf_span(&n->block));
	}
	return false;
}

static void compare(void *arg, struct tree_node *n)
{
	struct comparison *c = arg;
	bool is_owed = n->marked || !digests_have(c->before, &n->cid);

	memcpy(c->now->all[c->now->count++], n->cid.digest, SHA256_SIZE);
	c->owed += is_owed;
	if (is_sent(c->archive, n))
		c->sent++;
	else
		CHECK(!is_owed);
}

static size_t count_blocks(struct span archive)
{
	struct car car = {.blocks = reader_of(archive)};
	struct car_block block;
	size_t count = 0;

	while (car_more(&car)) {
		CHECK_INT(car_next(&car, &block), 0);
		count++;
	}
	return count;
}

static void mark_in_model(const struct model *m, struct tree_node *root, const char *path)
{
	size_t at = place_of(m, path), right = at + model_has(m, path);

	tree_mark_path(root, m->records, span_str(path));
	if (at > 0)
		tree_mark_path(root, m->records, m->records[at - 1].path);
	if (right < m->count)
		tree_mark_path(root, m->records, m->records[right].path);
}

/* Commits both trees, and holds the one against the other. */
static void check_commit(struct record_tree *t, const struct model *m, struct digests *before,
			 const char *const *paths, size_t path_count)
{
	struct tree_node *root = tree_make(m->records, m->count);
	struct digests *now = xcalloc(1, sizeof(*now));
	struct comparison c = {.before = before, .now = now};
	struct buf blocks;
	struct cid got;

	buf_init(&blocks, MIB(16));
	for (size_t i = 0; i < path_count; i++)
		mark_in_model(m, root, paths[i]);
	record_tree_commit(t, paths, path_count, &blocks, &got);
	CHECK(cid_equal(&got, &root->cid));
	CHECK_INT(t->count, m->count);
	c.archive = buf_span(&blocks);
	tree_walk(root, compare, &c);
	/* Nothing but nodes of the tree, and of those few that need not be there: nodes that were
	 * changed and changed back. */
	CHECK_INT(count_blocks(c.archive), c.sent);
	CHECK(c.sent <= c.owed + 2 * path_count);
	*before = *now;
	free(now);
	buf_release(&blocks);
	tree_free(root);
}

static void random_path(char ret[static 64])
{
	static const char *const collections[] = {"app.bsky.feed.like", "app.bsky.feed.post",
						  "c.d.e"};
	static const char digits[] = "234567abcd";
	size_t at = (size_t)snprintf(ret, 64, "%s/", collections[test_random() % 3]);
	size_t end = at + 1 + test_random() % 5;

	while (at < end)
		ret[at++] = digits[test_random() % 10];
	ret[at] = '\0';
}

static void random_cid(struct cid *ret)
{
	ret->codec = CID_DAG_CBOR;
	for (size_t i = 0; i < SHA256_SIZE; i++)
		ret->digest[i] = (uint8_t)test_random();
}

/* One op on both; false if it would be the second at its path. */
static bool change(struct record_tree *t, struct model *m, bool shrink, char paths[][64],
		   size_t count)
{
	char *path = paths[count];
	struct cid value, old;

	random_path(path);
	if (shrink && m->count > 0)
		snprintf(path, 64, "%s", m->paths[test_random() % m->count]);
	for (size_t i = 0; i < count; i++)
		if (strcmp(paths[i], path) == 0)
			return false;
	random_cid(&value);
	CHECK(record_tree_has(t, path) == model_has(m, path));
	if (!model_has(m, path)) {
		record_tree_insert(t, path, &value);
		model_insert(m, path, &value);
		return true;
	}
	if (test_random() % 4 == 0) {
		record_tree_replace(t, path, &value, &old);
		CHECK(cid_equal(&old, &m->records[place_of(m, path)].cid));
		m->records[place_of(m, path)].cid = value;
	} else {
		record_tree_remove(t, path, &old);
		CHECK(cid_equal(&old, &m->records[place_of(m, path)].cid));
		model_remove(m, path);
	}
	return true;
}

/* One commit of up to so many ops. */
static void change_and_commit(struct record_tree *t, struct model *m, struct digests *before,
			      bool shrink, size_t ops)
{
	char paths[OPS_MAX][64];
	const char *list[OPS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < ops; i++)
		count += change(t, m, shrink, paths, count);
	for (size_t i = 0; i < count; i++)
		list[i] = paths[i];
	check_commit(t, m, before, list, count);
}

static size_t some_ops(void)
{
	return test_random() % 8 ? 1 : 1 + test_random() % OPS_MAX;
}

TEST(small_trees_grow_and_shrink)
{
	struct digests *before = xcalloc(1, sizeof(*before));
	struct model *m = xcalloc(1, sizeof(*m));
	struct record_tree t = {0};

	for (unsigned turn = 0; turn < 8; turn++) {
		size_t top = 1 + test_random() % 100;

		while (m->count < top)
			change_and_commit(&t, m, before, false, some_ops());
		while (m->count > 0)
			change_and_commit(&t, m, before, true, some_ops());
	}
	record_tree_release(&t);
	model_release(m);
	free(before);
}

TEST(of_a_large_tree_few_nodes_are_sent)
{
	struct digests *before = xcalloc(1, sizeof(*before));
	struct model *m = xcalloc(1, sizeof(*m));
	struct record_tree t = {0};
	char path[64];

	while (m->count < 1000) {
		struct cid value;

		snprintf(path, sizeof(path), "app.bsky.feed.post/%zu", m->count);
		random_cid(&value);
		record_tree_insert(&t, path, &value);
		model_insert(m, path, &value);
	}
	check_commit(&t, m, before, NULL, 0);
	for (unsigned i = 0; i < 150; i++)
		change_and_commit(&t, m, before, test_random() % 2, some_ops());
	record_tree_release(&t);
	model_release(m);
	free(before);
}

TEST(pick_finds_every_record)
{
	struct record_tree t = {0};
	struct cid value = {.codec = CID_DAG_CBOR};
	bool seen[100] = {false};
	char path[64];

	CHECK(record_tree_pick(&t, 1) == NULL);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "a.b.c/%02u", i);
		record_tree_insert(&t, path, &value);
	}
	for (unsigned i = 0; i < 20000; i++) {
		const char *picked = record_tree_pick(&t, test_random());
		unsigned number;

		if (sscanf(picked, "a.b.c/%2u", &number) == 1 && number < 100)
			seen[number] = true;
	}
	for (unsigned i = 0; i < 100; i++)
		CHECK(seen[i]);
	record_tree_release(&t);
}
