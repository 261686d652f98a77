/*
 * What there is on the public port: one table. A new XRPC method of another stage is one row here,
 * and one function there.
 */
#pragma once

#include "common/loop.h"
#include "common/message.h"

#include "fanout/gateway.h"
#include "fanout/request.h"

struct route {
	const char *path;
	const char *http_method;
	bool has_head; /* HEAD too */
	void (*answer)(struct request *q);
	/* XRPC methods of other stages only */
	enum gateway_stage stage;
	uint64_t timeout_usec;
	const char *params[XRPC_PARAMS_MAX + 1]; /* those that are passed on */
};

/* NULL: there is nothing at this path. */
const struct route *routes_find(const char *path);
