/*
 * The server's end of a TCP connection, non-blocking, with TLS or without. link.c is the only file
 * of the simulated network that moves bytes.
 *
 * What cannot go on says -EAGAIN: then the socket has to become readable, or, after a write,
 * writable. A write of TLS that said so has to be tried again with the same bytes first, wherever
 * they stand by then.
 */
#pragma once

#include <openssl/ssl.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "common/bytes.h"

struct link {
	int fd;
	SSL *ssl; /* NULL: plain */
};

/* Takes the descriptor; context: NULL for none. */
void link_open(struct link *k, int fd, SSL_CTX *context);
/* abrupt: the peer sees a reset, and not the end of the stream. */
void link_close(struct link *k, bool abrupt);
/* Whether TLS (or nothing) is set up: 0; -EAGAIN, and what to wait for (EPOLLIN, EPOLLOUT);
 * another negative errno. */
int link_accept(struct link *k, uint32_t *ret_events) MUST_CHECK;
/* Bytes; 0 at the end; -EAGAIN; another negative errno. */
ssize_t link_read(struct link *k, uint8_t *ret, size_t size);
ssize_t link_write(struct link *k, struct span bytes);
/* Plain only. */
ssize_t link_write_parts(struct link *k, const struct iovec *parts, size_t count);
/* No more comes from here. */
void link_end(struct link *k);
