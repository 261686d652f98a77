/*
 * The HTTP methods of the simulated hosts: com.atproto.server.describeServer,
 * com.atproto.sync.getRepoStatus and com.atproto.sync.listHosts, which every host answers for the
 * whole world. An answer is a status and JSON.
 */
#pragma once

#include "tests/simnet/peer.h"
#include "tests/simnet/world.h"

struct account_status {
	uint32_t account;
	char *status; /* NULL: active */
};

struct methods {
	struct world *world;
	const struct pds *hosts;
	uint32_t *accounts;              /* by host; made when it is first asked for */
	struct account_status *statuses; /* those that were set, by account */
	size_t status_count, status_cap;
};

/* Borrows both. */
void methods_init(struct methods *m, struct world *w, const struct pds *hosts);
void methods_release(struct methods *m);
/* See network_set_status. */
void methods_set_status(struct methods *m, uint32_t account, const char *status);
/* Appends to json. */
int methods_answer(struct methods *m, uint32_t host, const struct request *q, struct buf *json);
