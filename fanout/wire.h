/*
 * The wire to a consumer: a socket, and what is between it and the consumer, which is nothing or
 * TLS. A consumer sends bytes of its own and ranges of files by it, and knows no more.
 *
 * Nothing blocks: what cannot go on fails with EAGAIN, and goes on when the socket can be written
 * (send, send_file) or read (receive). What was not taken has to be offered again, the same bytes
 * first.
 *
 * A value of its owner, who waits for fd. Made by wire_init, or by tls_server.h.
 */
#pragma once

#include <sys/types.h>

#include "common/bytes.h"

/* As much as one receive needs to leave nothing behind for which the socket would not wake us: a
 * TLS record [RFC 8446, 5.1]. */
#define WIRE_RECEIVE_BYTES KIB(16)

struct wire;

/* Bytes on the wire, TLS's own among them: only their differences say something. */
struct wire_count {
	uint64_t written; /* handed to the kernel */
	uint64_t taken;   /* of those, acknowledged by the other end */
};

struct wire_kind {
	/* As send(2), sendfile(2) and recv(2): how many bytes, or -1 and errno; of a file that ends
	 * early, and from an end that says no more, 0. receive: EDQUOT: the other end keeps us busy
	 * with what is beneath. */
	ssize_t (*send)(struct wire *w, struct span bytes);
	ssize_t (*send_file)(struct wire *w, int fd, uint64_t offset, size_t size);
	ssize_t (*receive)(struct wire *w, uint8_t *ret, size_t size);
	struct wire_count (*count)(const struct wire *w);
	/* In order: with whatever goodbye there is beneath WebSocket's. */
	void (*close)(struct wire *w, bool in_order);
};

struct wire {
	const struct wire_kind *kind;
	int fd;
	uint64_t written_bytes;
	void *state; /* of the kind */
};

/* Plain TCP. Takes the descriptor. */
void wire_init(struct wire *w, int fd);

static inline ssize_t wire_send(struct wire *w, struct span bytes)
{
	return w->kind->send(w, bytes);
}

static inline ssize_t wire_send_file(struct wire *w, int fd, uint64_t offset, size_t size)
{
	return w->kind->send_file(w, fd, offset, size);
}

/* size: WIRE_RECEIVE_BYTES or more. */
static inline ssize_t wire_receive(struct wire *w, uint8_t *ret, size_t size)
{
	return w->kind->receive(w, ret, size);
}

static inline struct wire_count wire_count(const struct wire *w)
{
	return w->kind->count(w);
}

/* Closes the socket: in order; or at once, and what the kernel holds for it goes too. */
void wire_close(struct wire *w, bool in_order);
