/*
 * TLS connections that are no consumers: libmicrohttpd is to know nothing of TLS, so it gets one
 * end of a pair of sockets for each, and what it reads and writes there is carried over.
 *
 *	client <-- TLS --> [ wire   tunnel   inner ] <-- pair --> libmicrohttpd
 *
 * When a connection becomes a consumer, what libmicrohttpd has written is carried to its end, and
 * the wire is handed on; the pair is no more.
 *
 * Limits: a handshake takes the given time at most, and so does the rest of an answer when
 * libmicrohttpd has done with it; how long a request may take is for libmicrohttpd to say. Of each
 * connection TUNNEL_BYTES are held in each direction, and TUNNEL_PAIR_BYTES in the kernel.
 *
 * Owner: struct port. The number of tunnels is bounded by whoever calls tunnels_add.
 */
#pragma once

#include <sys/socket.h>

#include "common/memory.h"

#include "fanout/consumer.h"
#include "fanout/tls_server.h"

#define TUNNEL_BYTES       WIRE_RECEIVE_BYTES
#define TUNNEL_PAIR_BYTES  KIB(16)
/* What a client may have sent behind the request that makes it a consumer. */
#define TUNNEL_EARLY_BYTES KIB(128)

struct tunnel;
struct tunnels;

struct tunnels_handler {
	/* The handshake is done. Takes fd, the other end of the pair. */
	void (*opened)(void *arg, struct tunnel *t, int fd, const struct sockaddr *address,
		       socklen_t len);
	/* A tunnel that was told to leave has. Takes the wire. */
	void (*left)(void *arg, struct wire *wire, const struct newcomer *who, struct span early);
	/* There is one less. lost: it was told to leave, and did not come so far; or NULL. */
	void (*ended)(void *arg, const struct sockaddr *address, const struct newcomer *lost);
	void *arg;
};

struct tunnels *tunnels_new(struct loop *l, struct memory *a, struct tls_server *s,
			    uint64_t handshake_usec, const struct tunnels_handler *h);
/* Ends them all. Takes NULL. */
void tunnels_free(struct tunnels *s);
size_t tunnels_count(const struct tunnels *s);
/* Whether something is on its way that somebody waits for. */
bool tunnels_are_busy(const struct tunnels *s);

/* A connection as it was accepted. Takes the descriptor. */
void tunnels_add(struct tunnels *s, int fd, const struct sockaddr *address, socklen_t len);
/* *ref becomes NULL when the tunnel ends; NULL: there is no such reference any more,
 * for libmicrohttpd has done with it. */
void tunnel_watch(struct tunnel *t, struct tunnel **ref);
/* It becomes a consumer. fd: libmicrohttpd's end, which is closed next; extra: what libmicrohttpd
 * has read beyond the request. */
void tunnel_leave(struct tunnel *t, int fd, const struct newcomer *who, struct span extra);
