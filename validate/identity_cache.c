#include "validate/identity_cache.h"

#include <assert.h>
#include <sys/random.h>

#include "common/limits.h"
#include "common/loop.h"
#include "common/memory.h"

#define SECRET_SIZE  16
#define LONGEST_NAME LIMIT_DID /* the longest of DID, host and handle */
#define ENTRIES_MIN  64

/* An answer is good for this long at least, whatever its age: resolve's settings may differ, and an
 * account must not go from answer to question for ever. */
#define USE_MIN_USEC USEC_PER_SEC

struct identity_cache {
	struct signatures *signatures;
	uint64_t ttl_found_usec, ttl_missing_usec;
	uint8_t secret[SECRET_SIZE];
	size_t cap, count, hand;
	struct known_identity *entries;
	size_t slot_count; /* a power of two, at least twice cap */
	uint32_t *slots;   /* 1 + place in entries, or 0 */
};

static size_t power_of_two(size_t at_least)
{
	size_t n = 1;

	while (n < at_least)
		n *= 2;
	return n;
}

struct identity_cache *identity_cache_new(size_t bytes, uint64_t ttl_found_usec,
					  uint64_t ttl_missing_usec, struct signatures *s)
{
	struct identity_cache *c = xcalloc(1, sizeof(*c));
	ssize_t n = getrandom(c->secret, sizeof(c->secret), 0);

	assert(n == sizeof(c->secret));
	c->signatures = s;
	c->ttl_found_usec = ttl_found_usec;
	c->ttl_missing_usec = ttl_missing_usec;
	/* At most four slots an entry. */
	c->cap = bytes / (sizeof(*c->entries) + 4 * sizeof(*c->slots));
	if (c->cap < ENTRIES_MIN)
		c->cap = ENTRIES_MIN;
	assert(c->cap < UINT32_MAX);
	c->slot_count = power_of_two(2 * c->cap);
	c->entries = xcalloc(c->cap, sizeof(*c->entries));
	c->slots = xcalloc(c->slot_count, sizeof(*c->slots));
	return c;
}

void identity_cache_free(struct identity_cache *c)
{
	if (!c)
		return;
	free(c->entries);
	free(c->slots);
	free(c);
}

/* Cut at LONGEST_NAME, which no checked name reaches. */
static void hash_name(const struct identity_cache *c, struct span name,
		      uint8_t ret[static IDENTITY_NAME_SIZE])
{
	uint8_t input[SECRET_SIZE + LONGEST_NAME], digest[SHA256_SIZE];
	size_t len = name.len < LONGEST_NAME ? name.len : LONGEST_NAME;

	memcpy(input, c->secret, SECRET_SIZE);
	if (len > 0)
		memcpy(input + SECRET_SIZE, name.ptr, len);
	sha256(span_of(input, SECRET_SIZE + len), digest);
	memcpy(ret, digest, IDENTITY_NAME_SIZE);
}

static void hash_handle(const struct identity_cache *c, struct span handle,
			uint8_t ret[static IDENTITY_NAME_SIZE])
{
	uint8_t lower[LIMIT_HANDLE];
	size_t len = handle.len < sizeof(lower) ? handle.len : sizeof(lower);

	memset(ret, 0, IDENTITY_NAME_SIZE);
	if (len == 0)
		return;
	for (size_t i = 0; i < len; i++) {
		uint8_t at = handle.ptr[i];

		lower[i] = at >= 'A' && at <= 'Z' ? (uint8_t)(at | 0x20) : at;
	}
	hash_name(c, span_of(lower, len), ret);
}

static size_t first_slot(const struct identity_cache *c, const uint8_t did[IDENTITY_NAME_SIZE])
{
	uint64_t h;

	memcpy(&h, did, sizeof(h));
	return (size_t)h & (c->slot_count - 1);
}

/* The slot that holds it, or the empty one where it would be. */
static size_t find_slot(const struct identity_cache *c, const uint8_t did[IDENTITY_NAME_SIZE])
{
	size_t i = first_slot(c, did);

	while (c->slots[i] != 0 &&
	       memcmp(c->entries[c->slots[i] - 1].did, did, IDENTITY_NAME_SIZE) != 0)
		i = (i + 1) & (c->slot_count - 1);
	return i;
}

/* Empties a slot and moves up what was put behind it only because it was taken. */
static void empty_slot(struct identity_cache *c, size_t hole)
{
	const size_t mask = c->slot_count - 1;

	for (size_t i = (hole + 1) & mask; c->slots[i] != 0; i = (i + 1) & mask) {
		size_t home = first_slot(c, c->entries[c->slots[i] - 1].did);

		if (((i - home) & mask) < ((i - hole) & mask))
			continue;
		c->slots[hole] = c->slots[i];
		hole = i;
	}
	c->slots[hole] = 0;
}

/* An entry that was not used since the hand last passed; the second round finds one for certain. */
static size_t give_up_one(struct identity_cache *c)
{
	size_t place;

	while (c->entries[c->hand].was_used) {
		c->entries[c->hand].was_used = false;
		c->hand = (c->hand + 1) % c->cap;
	}
	place = c->hand;
	c->hand = (c->hand + 1) % c->cap;
	empty_slot(c, find_slot(c, c->entries[place].did));
	return place;
}

static struct known_identity *add(struct identity_cache *c, const uint8_t did[IDENTITY_NAME_SIZE])
{
	size_t place = c->count < c->cap ? c->count++ : give_up_one(c);
	struct known_identity *k = &c->entries[place];

	*k = (struct known_identity){0};
	memcpy(k->did, did, IDENTITY_NAME_SIZE);
	c->slots[find_slot(c, did)] = (uint32_t)place + 1;
	return k;
}

struct known_identity *identity_cache_find(struct identity_cache *c, struct span did)
{
	uint8_t name[IDENTITY_NAME_SIZE];
	uint32_t place;

	hash_name(c, did, name);
	place = c->slots[find_slot(c, name)];
	if (place == 0)
		return NULL;
	c->entries[place - 1].was_used = true;
	return &c->entries[place - 1];
}

/* Takes over what the answer says. A key that does not parse makes the document useless. */
static void take(struct identity_cache *c, struct known_identity *k, const struct identity *i)
{
	memset(&k->key, 0, sizeof(k->key));
	memset(k->handle, 0, sizeof(k->handle));
	k->status = (uint8_t)i->status;
	k->fetched_usec = i->fetched_usec;
	if (i->status != IDENTITY_FOUND)
		return;
	if (signatures_parse_key(c->signatures, &i->key, &k->key) < 0) {
		k->status = IDENTITY_UNUSABLE;
		return;
	}
	hash_handle(c, i->handle, k->handle);
	hash_name(c, i->pds, k->pds);
	k->has_pds = true;
}

static bool is_same(const struct known_identity *a, const struct known_identity *b)
{
	return a->status == b->status && memcmp(&a->key, &b->key, sizeof(a->key)) == 0 &&
	       memcmp(a->pds, b->pds, sizeof(a->pds)) == 0 &&
	       memcmp(a->handle, b->handle, sizeof(a->handle)) == 0;
}

/* Whatever was answered: whoever asked goes on with what is known. */
static void use_for_a_moment(struct known_identity *k, uint64_t now_usec)
{
	if (k->expires_usec < now_usec + USE_MIN_USEC)
		k->expires_usec = now_usec + USE_MIN_USEC;
}

void identity_cache_put(struct identity_cache *c, const struct identity *i, uint64_t now_usec)
{
	uint64_t ttl = i->status == IDENTITY_FOUND ? c->ttl_found_usec : c->ttl_missing_usec;
	struct known_identity *k = identity_cache_find(c, i->did), before;
	uint8_t name[IDENTITY_NAME_SIZE];

	assert(i->status != IDENTITY_UNAVAILABLE);
	if (k && k->fetched_usec > i->fetched_usec) {
		use_for_a_moment(k, now_usec);
		return;
	}
	if (k) {
		before = *k;
		take(c, k, i);
		if (!is_same(&before, k))
			k->changed_usec = k->fetched_usec;
	} else {
		hash_name(c, i->did, name);
		k = add(c, name);
		take(c, k, i);
	}
	k->expires_usec = now_usec + (i->age_usec < ttl ? ttl - i->age_usec : 0);
	use_for_a_moment(k, now_usec);
}

bool identity_cache_is_pds(const struct identity_cache *c, const struct known_identity *k,
			   struct span host)
{
	uint8_t name[IDENTITY_NAME_SIZE];

	if (!k->has_pds)
		return false;
	hash_name(c, host, name);
	return memcmp(name, k->pds, sizeof(name)) == 0;
}

uint64_t *identity_cache_host_usec(const struct identity_cache *c, struct known_identity *k,
				   struct span host)
{
	uint8_t name[IDENTITY_NAME_SIZE];

	hash_name(c, host, name);
	if (memcmp(name, k->stranger, sizeof(name)) != 0) {
		memcpy(k->stranger, name, sizeof(name));
		k->host_usec = 0;
	}
	return &k->host_usec;
}

bool identity_cache_is_handle(const struct identity_cache *c, const struct known_identity *k,
			      struct span handle)
{
	uint8_t name[IDENTITY_NAME_SIZE];

	hash_handle(c, handle, name);
	return handle.len > 0 && memcmp(name, k->handle, sizeof(name)) == 0;
}

int64_t identity_cache_count(void *cache)
{
	const struct identity_cache *c = cache;

	return (int64_t)c->count;
}

int64_t identity_cache_memory_bytes(void *cache)
{
	const struct identity_cache *c = cache;

	return memory_block_bytes(c) + memory_block_bytes(c->entries) +
	       memory_block_bytes(c->slots);
}

int64_t identity_cache_fill(void *cache)
{
	const struct identity_cache *c = cache;

	return (int64_t)(1000 * c->count / c->cap);
}
