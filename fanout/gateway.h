/*
 * XRPC methods that another stage answers: the request goes to it as MESSAGE_XRPC, and what it
 * replies goes to the client as it is. fanout knows nothing of what they are about.
 *
 * The pipes bound how many calls are under way, and each has a deadline; beyond either the client
 * gets 503 and may try again.
 */
#pragma once

#include "common/pipe.h"

struct request;

enum gateway_stage { GATEWAY_STORE, GATEWAY_INGEST, GATEWAY_STAGES };

struct gateway {
	struct pipe *pipes[GATEWAY_STAGES];
};

int gateway_open(struct gateway *g, struct loop *l,
		 const char *const urls[static GATEWAY_STAGES]) MUST_CHECK;
/* Calls under way are answered with 503. */
void gateway_close(struct gateway *g);

/* The answer of the routes that belong to another stage. */
void gateway_answer(struct request *q);
