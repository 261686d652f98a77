/*
 * The socket on which the public port takes connections. Either it is this process's own, one of
 * several on the port of all replicas (SO_REUSEPORT: the kernel shares connections out by their
 * addresses) or alone on a port of its own; or all replicas have the same, which systemd made and
 * keeps (then each takes one connection and goes to the end of the line, so that all get their
 * share).
 *
 * When it closes, what the kernel has queued on a socket of our own is taken before; what arrives
 * in that very moment is refused, unless the kernel moves it to another replica
 * (net.ipv4.tcp_migrate_req). A passed socket stays open elsewhere: nothing on it is refused, ever.
 *
 * Owner: struct port.
 */
#pragma once

#include <sys/socket.h>

#include "common/loop.h"

/* A group of consumers that comes back all at once. The kernel's own limit (net.core.somaxconn)
 * comes before. */
#define LISTENER_BACKLOG 4096

struct listener;

struct listener_handler {
	/* Takes the descriptor, which does not block. */
	void (*accepted)(void *arg, int fd, const struct sockaddr *address, socklen_t len);
	void *arg;
};

/* address: IPv4, or IPv6 in brackets; [::] takes IPv4 too, and alone where there is no IPv6.
 * number: 0: any that is free. passed_fd: a listening socket that is taken instead of one at that
 * address, or -1. -EINVAL, -EADDRINUSE, ... */
int listener_open(struct loop *l, const char *address, uint16_t number, int passed_fd,
		  const struct listener_handler *h, struct listener **ret) MUST_CHECK;
uint16_t listener_port(const struct listener *l);
/* Takes nothing for a while: what comes waits in the kernel. */
void listener_pause(struct listener *l, bool pause);
/* Calls accepted for what has come already. Takes NULL. */
void listener_close(struct listener *l);
