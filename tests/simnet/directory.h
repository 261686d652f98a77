/*
 * The simulated directory of DIDs, and the documents of did:web names. Documents are made when they
 * are asked for. The directory has manners, which the documents of did:web names have not.
 */
#pragma once

#include "tests/simnet/network.h"
#include "tests/simnet/request.h"

struct directory {
	struct world *world;
	struct directory_manners manners;
	uint64_t documents; /* asked for, whatever the answer */
	uint64_t refused;   /* of those, with 429 */
	uint64_t second;    /* that is being counted, */
	unsigned in_second; /* requests in it */
	uint64_t random;
};

struct directory_answer {
	int status;
	const char *headers;
	uint64_t after_usec;
};

/* Borrows. */
void directory_init(struct directory *d, struct world *w);
/* GET /DID. Appends to json. */
void directory_ask(struct directory *d, const struct request *q, uint64_t now_usec,
		   struct buf *json, struct directory_answer *ret);
/* GET /.well-known/did.json of the name in Host. The status; -ENOENT: no such name here, or
 * another path. */
int directory_ask_web(struct directory *d, const struct request *q, struct buf *json) MUST_CHECK;
