/*
 * Names to addresses, by c-ares in the loop (resolver.c is the only file that includes it). Both
 * families are asked for; the addresses come sorted as RFC 6724 has it. Names are taken as they
 * are, without search domains.
 *
 * At most RESOLVER_QUERIES_MAX are under way, those included that nobody waits for any more: c-ares
 * cannot take back a single query, which ends by itself within RESOLVER_TIMEOUT_MSEC times
 * RESOLVER_TRIES.
 */
#pragma once

#include <sys/socket.h>

#include "common/bytes.h"
#include "common/loop.h"

#define RESOLVER_QUERIES_MAX   512
#define RESOLVER_ADDRESSES_MAX 8 /* of one name that are looked at */
#define RESOLVER_TIMEOUT_MSEC  2500
#define RESOLVER_TRIES         2

struct resolver;
struct resolver_query;

struct address {
	struct sockaddr_storage sockaddr;
	socklen_t len;
};

/* -ENOMEM, -EIO: c-ares does not start (its configuration cannot be read). */
int resolver_new(struct loop *l, struct resolver **ret) MUST_CHECK;
/* No query may be waited for. */
void resolver_free(struct resolver *r);

/* done is called once, from the loop: error 0 and at least one address; or -ENOENT (no such name,
 * or no address), -EAGAIN (no answer, a server that fails), -ENOBUFS (too many under way). The
 * query is gone after that. */
struct resolver_query *resolver_ask(struct resolver *r, const char *name, uint16_t port,
				    void (*done)(void *arg, int error,
						 const struct address *addresses, size_t count),
				    void *arg);
/* done is not called. */
void resolver_forget(struct resolver_query *q);
/* c-ares's own memory apart. */
int64_t resolver_memory_bytes(void *resolver);
