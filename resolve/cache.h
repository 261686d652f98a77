/*
 * The identity cache: what was last learnt about each DID, positive and negative, in LevelDB. It
 * survives restarts, so that a restart is no burst on the directory.
 *
 * Keys and values (little-endian):
 *
 *	"i" DID	u8 version (2), u8 status (enum identity_status),
 *		u64 fetched (usec since 1970), u64 fetched (uptime_usec), u64 boot,
 *		u8 curve, 33 key, u16 + PDS host, u16 + handle; zeros and empty unless found
 *
 *	"n"	u64: how many of these there are
 *
 * There are resolve.identities_max at most. Beyond, each new one makes room for itself: of some
 * that follow one another in key order, where accounts stand at random, those that are of no use
 * any more go, or else the one that was fetched longest ago; the next new one looks at those that
 * follow.
 *
 * `fetched` is when the request for it began: what the document said at any time before is older.
 * What is older than what is asked of the time since the machine was started, which no clock that
 * is set disturbs; `boot` is that start's number. Of an entry from before it only the clock tells
 * the age. A value that does not decode is taken for absent. Writes are not synced: what a power
 * cut takes is fetched again.
 *
 * An entry is fresh for the time to live of its kind (found, or missing: not found, tombstoned,
 * unusable). Passing failures are not stored. A found entry is stale but of use for another such
 * time when nothing newer can be had.
 */
#pragma once

#include "common/config.h"
#include "common/database.h"
#include "common/host.h"
#include "common/message.h"

struct cache;

struct cache_entry {
	enum identity_status status;
	uint64_t fetched_usec;        /* since 1970 */
	uint64_t fetched_uptime_usec; /* 0: before the machine was started */
	uint64_t boot;                /* of cache.c: the start that this uptime is of */
	struct public_key key;        /* found only, as are the following */
	char pds[LIMIT_HOST + 1];
	char handle[LIMIT_HANDLE + 1]; /* may be "" */
};

/* Errors of database_open. Reads what cache_configure reads. */
int cache_open(const char *path, const struct config *config, struct cache **ret) MUST_CHECK;
void cache_close(struct cache *c);
/* Reads resolve.cache, which opens the database again if it is another than before,
 * resolve.ttl_found, resolve.ttl_missing and resolve.identities_max. */
int cache_configure(struct cache *c, const struct config *config) MUST_CHECK;
/* Why the last call failed; of cache_open if c is NULL. */
const char *cache_error(const struct cache *c);
/* Bytes that LevelDB holds for it. */
int64_t cache_memory_bytes(void *c);

/* -ENOENT, -EIO. */
int cache_get(struct cache *c, struct span did, struct cache_entry *ret) MUST_CHECK;
/* status: found, not found, tombstoned or unusable. */
int cache_put(struct cache *c, struct span did, const struct cache_entry *e) MUST_CHECK;
/* How many are kept. */
int64_t cache_count(void *c);
/* UINT64_MAX: it is from before the machine was started, and from the future: the clock was set
 * back. */
uint64_t cache_age_usec(const struct cache_entry *e);
/* One of unknown age is neither. */
bool cache_is_fresh(const struct cache *c, const struct cache_entry *e);
bool cache_is_stale_but_usable(const struct cache *c, const struct cache_entry *e);

/* The value alone, for tests and fuzzing. -EBADMSG. */
void cache_entry_encode(struct buf *b, const struct cache_entry *e);
int cache_entry_decode(struct span value, struct cache_entry *ret) MUST_CHECK;
