#include "resolve/failures.h"

#include <stdlib.h>

#include "common/sha256.h"

struct failure {
	uint8_t did[16]; /* the first bytes of its SHA-256 */
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

void failures_add(struct failures *f, struct span did, uint64_t until_usec)
{
	uint8_t digest[SHA256_SIZE];
	struct failure *slot = &f->slots[place_of(did, digest)];

	memcpy(slot->did, digest, sizeof(slot->did));
	slot->until_usec = until_usec;
}

bool failures_has(const struct failures *f, struct span did, uint64_t now_usec)
{
	uint8_t digest[SHA256_SIZE];
	const struct failure *slot = &f->slots[place_of(did, digest)];

	return now_usec < slot->until_usec && memcmp(slot->did, digest, sizeof(slot->did)) == 0;
}
