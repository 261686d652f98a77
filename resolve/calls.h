/*
 * Calls of other stages: ingest asks whether a host is a PDS, and for pages of another relay's list
 * of hosts. What cannot be begun, because CALLS_MAX are under way, is answered as unreachable, or
 * as a list that is not ok, at once.
 */
#pragma once

#include "common/pipe.h"
#include "resolve/http.h"

#define CALLS_MAX 32 /* requests of calls under way, beside resolve.concurrency */

struct calls;

/* http and policy: borrowed until calls_close, which comes after http_free. Errors of
 * pipe_listen_rep. */
int calls_open(struct loop *loop, const char *url, struct http *http,
	       const struct host_policy *policy, struct metrics *metrics,
	       struct calls **ret) MUST_CHECK;
void calls_close(struct calls *c);
unsigned calls_under_way(const struct calls *c);
