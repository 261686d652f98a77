/*
 * Identities by DID: the last answer that resolve gave for each account, for the accounts that were
 * active last. Fixed memory, taken at the start: entries in one slab, found by open addressing, the
 * one that was not asked for longest (nearly: CLOCK) given up for a new one.
 *
 * Names are kept as 16 bytes of a hash with a secret of this process, which nobody can aim at.
 */
#pragma once

#include "common/message.h"
#include "validate/signature.h"

#define IDENTITY_NAME_SIZE 16

struct known_identity {
	uint8_t did[IDENTITY_NAME_SIZE];
	uint8_t pds[IDENTITY_NAME_SIZE];    /* once found, it stays when the identity goes: */
	uint8_t handle[IDENTITY_NAME_SIZE]; /* zeros: none */
	bool has_pds;                       /* whose account it was is still known then */
	bool was_used;                      /* since the hand of the clock was here */
	uint8_t status;                     /* enum identity_status */
	struct signature_key key;           /* found only */
	uint64_t fetched_usec;              /* of uptime_usec, as all times here */
	uint64_t changed_usec; /* fetched_usec of the answer that differed from the one before; 0:
				    none */
	uint64_t expires_usec; /* not to be used from then on without asking again */
	uint64_t host_usec;    /* last refresh because of a wrong host; 0: none */
	uint8_t stranger[IDENTITY_NAME_SIZE]; /* that host */
	uint64_t signature_usec;              /* and because of a bad signature */
};

struct identity_cache;

/* bytes: what it may take in all, but for the allocator's rounding. The times to live are those of
 * resolve's answers. */
struct identity_cache *identity_cache_new(size_t bytes, uint64_t ttl_found_usec,
					  uint64_t ttl_missing_usec, struct signatures *s);
void identity_cache_free(struct identity_cache *c);
/* NULL if it is not known. Valid until the next put. */
struct known_identity *identity_cache_find(struct identity_cache *c, struct span did);
/* Any answer but IDENTITY_UNAVAILABLE; one older than what is known changes nothing,
 * but that what is known may be used for a moment more. */
void identity_cache_put(struct identity_cache *c, const struct identity *i, uint64_t now_usec);
/* Host names as host.h formats them; empty: false. */
bool identity_cache_is_pds(const struct identity_cache *c, const struct known_identity *k,
			   struct span host);
/* When a refresh was last made because of this host, which is not the account's; 0: never. For the
 * last such host only, so that one cannot spend what another may need: the account may have moved
 * there. */
uint64_t *identity_cache_host_usec(const struct identity_cache *c, struct known_identity *k,
				   struct span host);
/* Whether the document names this handle, in any case. */
bool identity_cache_is_handle(const struct identity_cache *c, const struct known_identity *k,
			      struct span handle);
int64_t identity_cache_count(void *cache);
int64_t identity_cache_memory_bytes(void *cache);
/* How full it is, 0 to 1000. */
int64_t identity_cache_fill(void *cache);
