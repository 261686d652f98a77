/*
 * What stands in records: DAG-CBOR in the form and of about the size of what people write on the
 * network. References name accounts of the world; the records they lead to need not be there.
 */
#pragma once

#include "tests/lib/random.h"
#include "tests/simnet/world.h"

enum content {
	CONTENT_LIKE,
	CONTENT_POST,
	CONTENT_REPOST,
	CONTENT_FOLLOW,
	CONTENT_BLOCK,
	CONTENT_LISTITEM,
	CONTENT_PROFILE,
	CONTENT_THREADGATE,
	CONTENT_OTHER, /* of an application that nobody else knows */
	CONTENTS,
};

/* The collection where it stands. */
const char *content_collection(enum content c);
/* A record of this time, microseconds since 1970. Appends. */
void content_put(enum content c, const struct world *w, struct random *r, uint64_t usec,
		 struct buf *b);
/* A CONTENT_OTHER of nearly this size and never more; at least 64. Appends. */
void content_put_large(struct random *r, size_t size, struct buf *b);
