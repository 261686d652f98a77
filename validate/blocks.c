#include "validate/blocks.h"

#include <assert.h>
#include <sys/random.h>

#include "common/car.h"
#include "common/limits.h"

#define SLOTS_MIN 128 /* nearly all commits have fewer than half as many blocks */

void blocks_init(struct blocks *b)
{
	ssize_t n;

	*b = (struct blocks){.slot_count = SLOTS_MIN, .slot_cap = SLOTS_MIN};
	b->all = xcalloc(b->slot_cap / 2, sizeof(*b->all));
	b->wanted = xcalloc(b->slot_cap / 2, sizeof(struct block *));
	b->slots = xcalloc(b->slot_cap, sizeof(*b->slots));
	n = getrandom(b->secret, sizeof(b->secret), 0);
	assert(n == sizeof(b->secret));
}

void blocks_release(struct blocks *b)
{
	free(b->all);
	free(b->wanted);
	free(b->slots);
	*b = (struct blocks){0};
}

static uint64_t mix(uint64_t x, uint64_t y)
{
	const unsigned __int128 product = (unsigned __int128)x * y;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* All 32 bytes count: a CID in an archive is whatever its sender wrote, not yet a hash. */
static size_t slot_of(const struct blocks *b, const struct cid *cid)
{
	const uint64_t *secret = b->secret;
	uint64_t w[SHA256_SIZE / sizeof(uint64_t)];

	memcpy(w, cid->digest, sizeof(w));
	return (size_t)(mix(w[0] ^ secret[0], w[1] ^ secret[1]) ^
			mix(w[2] ^ secret[2], w[3] ^ secret[3])) &
	       (b->slot_count - 1);
}

/* The slot that holds it, or the empty one where it would be. */
static uint32_t *find_slot(const struct blocks *b, const struct cid *cid)
{
	size_t i = slot_of(b, cid);

	while (b->slots[i] != 0 && !cid_equal(&b->all[b->slots[i] - 1].cid, cid))
		i = (i + 1) & (b->slot_count - 1);
	return &b->slots[i];
}

static void grow(struct blocks *b)
{
	b->slot_count *= 2;
	if (b->slot_count > b->slot_cap) {
		b->slot_cap = b->slot_count;
		b->all = xrealloc(b->all, b->slot_cap / 2 * sizeof(*b->all));
		b->wanted = xrealloc(b->wanted, b->slot_cap / 2 * sizeof(struct block *));
		b->slots = xrealloc(b->slots, b->slot_cap * sizeof(*b->slots));
	}
	memset(b->slots, 0, b->slot_count * sizeof(*b->slots));
	for (size_t i = 0; i < b->count; i++)
		*find_slot(b, &b->all[i].cid) = (uint32_t)i + 1;
}

/* Of doubles the first counts: either both are what their CID says, or one of them is wrong. */
static void add(struct blocks *b, const struct car_block *block)
{
	uint32_t *slot;

	if (2 * b->count >= b->slot_count)
		grow(b);
	slot = find_slot(b, &block->cid);
	if (*slot != 0)
		return;
	b->all[b->count++] = (struct block){.cid = block->cid, .data = block->data};
	*slot = (uint32_t)b->count;
}

enum verdict blocks_load(struct blocks *b, struct span archive)
{
	struct car car;
	struct car_block block;

	b->slot_count = SLOTS_MIN;
	memset(b->slots, 0, b->slot_count * sizeof(*b->slots));
	b->count = b->wanted_count = 0;
	if (car_open(archive, &car) < 0)
		return VERDICT_BAD_CAR;
	b->root = car.root;
	for (size_t n = 0; car_more(&car); n++) {
		if (n == LIMIT_CAR_BLOCKS || car_next(&car, &block) < 0)
			return VERDICT_BAD_CAR;
		add(b, &block);
	}
	return VERDICT_ACCEPTED;
}

struct block *blocks_find(const struct blocks *b, const struct cid *cid)
{
	uint32_t place = *find_slot(b, cid);

	return place != 0 ? &b->all[place - 1] : NULL;
}

enum verdict blocks_get(const struct blocks *b, const struct cid *cid, struct block **ret)
{
	struct block *block = blocks_find(b, cid);
	uint8_t digest[SHA256_SIZE];

	if (!block)
		return VERDICT_BLOCK_MISSING;
	if (!block->is_hashed) {
		sha256(block->data, digest);
		if (memcmp(digest, cid->digest, SHA256_SIZE) != 0)
			return VERDICT_BLOCK_HASH;
		block->is_hashed = true;
	}
	*ret = block;
	return VERDICT_ACCEPTED;
}

void blocks_want(struct blocks *b, struct block *block)
{
	if (block->is_hashed || block->is_wanted)
		return;
	block->is_wanted = true;
	b->wanted[b->wanted_count++] = block;
}

enum verdict blocks_prove(struct blocks *b)
{
	for (size_t i = 0; i < b->wanted_count; i++) {
		struct block *block = b->wanted[i];

		if (memcmp(block->work->digest, block->cid.digest, SHA256_SIZE) != 0)
			return VERDICT_BLOCK_HASH;
		block->is_hashed = true;
		block->is_wanted = false;
	}
	b->wanted_count = 0;
	return VERDICT_ACCEPTED;
}

int64_t blocks_memory_bytes(const struct blocks *b)
{
	const size_t room = b->slot_cap / 2;

	return (int64_t)(room * (sizeof(*b->all) + sizeof(struct block *)) +
			 b->slot_cap * sizeof(*b->slots));
}
