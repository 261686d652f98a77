#include "resolve/failures.h"

#include <stdlib.h>

#include "common/sha256.h"

struct failure {
	uint8_t did[16]; /* the first bytes of its SHA-256 */
	uint32_t times;  /* in a row; 0: an empty slot */
	uint64_t until_usec;
};

struct failures {
	struct failure slots[FAILURES_MAX]; /* a DID's place: the next bytes of its SHA-256 */
};

struct failures *failures_new(void)
{
	return xcalloc(1, sizeof(struct failures));
}

void failures_free(struct failures *f)
{
	free(f);
}

int64_t failures_memory_bytes(void *f)
{
	(void)f;
	return (int64_t)sizeof(struct failures);
}

static size_t place_of(struct span did, uint8_t ret_digest[static SHA256_SIZE])
{
	uint32_t place;

	sha256(did, ret_digest);
	memcpy(&place, ret_digest + sizeof(((struct failure *)NULL)->did), sizeof(place));
	return place % FAILURES_MAX;
}

static bool is_of(const struct failure *slot, const uint8_t digest[static SHA256_SIZE])
{
	return slot->times > 0 && memcmp(slot->did, digest, sizeof(slot->did)) == 0;
}

/* Twice the wait for each failure before this one, but no more than the maximum for that. */
static uint64_t longer(uint64_t wait_usec, unsigned times)
{
	while (times-- > 0 && wait_usec < FAILURES_WAIT_MAX_USEC)
		wait_usec = 2 * wait_usec < FAILURES_WAIT_MAX_USEC ? 2 * wait_usec
								   : FAILURES_WAIT_MAX_USEC;
	return wait_usec;
}

void failures_add(struct failures *f, struct span did, uint64_t now_usec, uint64_t wait_usec)
{
	uint8_t digest[SHA256_SIZE];
	struct failure *slot = &f->slots[place_of(did, digest)];

	if (!is_of(slot, digest))
		slot->times = 0;
	memcpy(slot->did, digest, sizeof(slot->did));
	slot->until_usec = now_usec + longer(wait_usec, slot->times);
	if (slot->times < UINT32_MAX)
		slot->times++;
}

bool failures_has(const struct failures *f, struct span did, uint64_t now_usec)
{
	uint8_t digest[SHA256_SIZE];
	const struct failure *slot = &f->slots[place_of(did, digest)];

	return now_usec < slot->until_usec && is_of(slot, digest);
}

void failures_forget(struct failures *f, struct span did)
{
	uint8_t digest[SHA256_SIZE];
	struct failure *slot = &f->slots[place_of(did, digest)];

	if (is_of(slot, digest))
		*slot = (struct failure){0};
}
