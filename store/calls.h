/*
 * What other stages ask of store: XRPC methods that fanout routes here, and how many accounts a
 * host has, for ingest. Answers say what is decided, which may be some milliseconds ahead of what
 * consumers have seen.
 */
#pragma once

#include "common/pipe.h"
#include "store/storage.h"

struct calls;

/* storage is looked at with every call; NULL there: not now. */
int calls_new(struct loop *l, const char *url, struct storage *const *storage,
	      struct calls **ret) MUST_CHECK;
void calls_free(struct calls *c);
