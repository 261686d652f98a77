/*
 * The public port: HTTP by libmicrohttpd, driven by our loop through its epoll descriptor, on
 * connections that a listener takes, or that tunnels bring out of TLS. A connection that becomes a
 * consumer leaves libmicrohttpd altogether.
 *
 * Limits: PORT_CONNECTIONS_MAX at a time, PORT_CONNECTION_BYTES each, and so many of one client,
 * unless it is a trusted proxy, as the settings say: whoever comes beyond is told and closed
 * (without TLS; with it, only closed). A request, from the first byte of its connection or the end
 * of the request before it to the end of its answer, takes the given time at most, however it
 * trickles.
 */
#pragma once

#include "common/loop.h"
#include "common/memory.h"

#include "fanout/tls_server.h"

#define PORT_CONNECTIONS_MAX  1024    /* HTTP only: consumers do not count */
#define PORT_CONNECTION_BYTES KIB(16) /* libmicrohttpd's pool: a request's head has to fit in */

#define PORT_FINISH_USEC (5 * USEC_PER_SEC) /* most answers of other stages come within it */

struct fanout;
struct port;
struct newcomer;
struct MHD_Connection;

struct port_settings {
	const char *trusted;            /* proxies: networks_new */
	size_t max_per_client;          /* connections; 0: no limit */
	const char *address;            /* IPv4, or IPv6 in brackets */
	uint16_t number;                /* 0: any that is free */
	int passed_fd;                  /* a listening socket to be used instead, or -1; taken */
	uint64_t request_usec;          /* for one HTTP request, its answer included */
	struct tls_server_settings tls; /* certificate NULL: none */
};

/* Errors of listener_open. With fanout's TLS, if it has one. It is held yet. */
int port_open(struct fanout *f, struct memory *a, const struct port_settings *settings,
	      struct port **ret) MUST_CHECK;
uint16_t port_number(const struct port *p);
/* Proxies. */
const struct networks *port_trusted(const struct port *p);
/* What comes waits in the kernel (true), or is taken. */
void port_hold(struct port *p, bool hold);
/* Whether it takes connections, or will. */
bool port_is_open(const struct port *p);
/* A suspended connection was resumed: it goes on before the loop sleeps. */
void port_wake(struct port *p);
/* A request was answered with 101: its connection becomes a consumer. fd is libmicrohttpd's, which
 * ends the connection next; extra: what it has read beyond the request. */
void port_hand_over(struct port *p, struct MHD_Connection *connection, int fd,
		    const struct newcomer *who, struct span extra);
/* Takes no more connections; those there are go on. */
void port_stop(struct port *p);
/* finished is called when all that is asked is answered, or after PORT_FINISH_USEC. It may be
 * called from inside. Again: the first call counts. */
void port_finish(struct port *p, void (*finished)(void *arg), void *arg);
/* No request may be waiting for a call any more. Takes NULL. */
void port_close(struct port *p);
