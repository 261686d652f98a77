/*
 * XRPC answers, written where the data is: store and ingest answer the calls that fanout routes to
 * them. Errors are JSON
 * {"error": NAME, "message": TEXT} (XRPC specification).
 */
#pragma once

#include <jansson.h>

#include "common/message.h"
#include "common/pipe.h"

/* Takes body (NULL: an empty answer; as text at most LIMIT_MESSAGE less its head) and the call. */
void xrpc_answer(struct call *call, uint16_t status, json_t *body);
void xrpc_error(struct call *call, uint16_t status, const char *name, const char *message);
/* Parameter `limit`: fallback if absent; -EINVAL if it is no number within 1 to max. */
int xrpc_limit(const struct xrpc_request *q, unsigned max, unsigned fallback,
	       unsigned *ret) MUST_CHECK;
/* Whether the call is of another version: then it is taken, and answered with MESSAGE_REFUSED, so
 * that the caller need not wait for its time to run out. */
bool xrpc_refuse_foreign(struct call *call, struct span message);
/* A JSON string; text that is not UTF-8 gives an empty one. */
json_t *xrpc_text(struct span s);

/* One row of a stage's table of methods. answer takes the call. */
struct xrpc_method {
	const char *nsid;
	void (*answer)(void *arg, struct call *call, const struct xrpc_request *q);
};
/* request: what follows the message's type. Finds the row and calls it; 501 MethodNotImplemented if
 * there is none. rows end with a NULL nsid. */
void xrpc_dispatch(const struct xrpc_method *rows, void *arg, struct call *call,
		   struct reader request);
