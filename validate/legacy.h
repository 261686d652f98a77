/*
 * Hosts that the operator tolerates without prevData (validate.legacy_hosts). A host that has once
 * sent an accepted commit with it does not fall back: it could before, so its later commits must
 * too. That is remembered as long as the process lives, for the last LEGACY_OUTGROWN such hosts.
 */
#pragma once

#include "common/bytes.h"

#define LEGACY_OUTGROWN 1024 /* more than anyone lists as legacy */

struct legacy {
	const char *patterns;               /* host.h */
	size_t outgrown_count;              /* ever; the newest overwrite the oldest */
	uint64_t outgrown[LEGACY_OUTGROWN]; /* host_id */
};

/* Borrows the patterns. */
void legacy_init(struct legacy *l, const char *patterns);
bool legacy_has(const struct legacy *l, struct span host);
/* The host has sent prevData. */
void legacy_outgrown(struct legacy *l, struct span host);
