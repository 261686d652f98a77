/*
 * The blocks of one CAR, found by CID. A block is hashed when it is asked for: what nobody asks for
 * costs no hash and proves nothing [repository: CAR file serialization].
 *
 *	blocks_get	one block, hashed at once
 *	blocks_want	a block that will be needed: all of these are hashed together, by whoever
 *			has more to hash with them, and blocks_prove says whether they are right
 *
 * The memory is used again for the next archive. Blocks borrow from the archive.
 */
#pragma once

#include "common/cid.h"
#include "common/sha256_many.h"
#include "common/verdict.h"

struct block {
	struct cid cid;
	bool is_hashed; /* its data is what its CID says */
	bool is_wanted; /* among the wanted ones */
	bool is_node;   /* taken as a node of the tree, mst.h */
	struct span data;
	const struct sha256_work *work; /* that hashes it; NULL: none of sha256_many */
};

struct blocks {
	struct cid root;
	size_t count;      /* at most LIMIT_CAR_BLOCKS */
	struct block *all; /* in the archive's order, doubles left out */
	size_t wanted_count;
	struct block **wanted; /* as much room as in all */
	uint32_t *slots;       /* 1 + place in all, or 0; open addressing */
	size_t slot_count;     /* in use for this archive: a power of two, at most half full */
	size_t slot_cap;       /* twice the room in all */
	uint64_t secret[4];    /* so that nobody can choose CIDs that meet in one slot */
};

void blocks_init(struct blocks *b);
void blocks_release(struct blocks *b);
/* Forgets the last archive. VERDICT_BAD_CAR. */
enum verdict blocks_load(struct blocks *b, struct span archive) MUST_CHECK;
/* NULL if it is not there. Valid until the next archive. */
struct block *blocks_find(const struct blocks *b, const struct cid *cid);
/* VERDICT_BLOCK_MISSING, VERDICT_BLOCK_HASH. */
enum verdict blocks_get(const struct blocks *b, const struct cid *cid,
			struct block **ret) MUST_CHECK;
/* Once or more. */
void blocks_want(struct blocks *b, struct block *block);
/* After the work of each wanted block was done. None is wanted any more. VERDICT_BLOCK_HASH. */
enum verdict blocks_prove(struct blocks *b) MUST_CHECK;
int64_t blocks_memory_bytes(const struct blocks *b);
