/*
 * The public port: HTTP by libmicrohttpd, driven by our loop through its epoll descriptor. Several
 * fanout processes listen on one port (SO_REUSEPORT). A connection that becomes a consumer leaves
 * libmicrohttpd altogether.
 *
 * Limits: PORT_CONNECTIONS_MAX at a time, PORT_CONNECTION_BYTES each; a request, from the first
 * byte of its connection or the end of the request before it to the end of its answer, takes the
 * given time at most, however it trickles.
 */
#pragma once

#include "common/loop.h"
#include "common/memory.h"

#define PORT_CONNECTIONS_MAX  1024    /* HTTP only: consumers do not count */
#define PORT_CONNECTION_BYTES KIB(16) /* libmicrohttpd's pool: a request's head has to fit in */

struct fanout;
struct port;

/* address: IPv4, or IPv6 in brackets; [::] takes IPv4 too, and alone where there is no IPv6.
 * -EINVAL, -EADDRINUSE, ... */
int port_open(struct fanout *f, struct memory *a, const char *address, uint16_t number,
	      uint64_t request_usec, struct port **ret) MUST_CHECK;
uint16_t port_number(const struct port *p);
/* A suspended connection was resumed: it goes on before the loop sleeps. */
void port_wake(struct port *p);
/* Takes no more connections; those there are go on. */
void port_stop(struct port *p);
/* No request may be waiting for a call any more. Takes NULL. */
void port_close(struct port *p);
