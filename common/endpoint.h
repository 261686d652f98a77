/*
 * Connections that carry messages, over nng's streams (ipc and tcp), and the endpoints that make
 * them. pipe.c gives them their meaning. endpoint.c is the only file that includes nng's headers.
 *
 *	endpoint, listening or dialling ---> connection ---> messages, in order, both ways
 *
 * On the wire a connection speaks as nng's own sockets do (SP: a hello that names the protocol,
 * then messages with their length), so any nng program may be at the other end. nng's sockets
 * themselves are not used: those of 1.5.2 can stop for good when a connection ends while a message
 * is half read or half written (nni_aio_begin of a stopped aio gives no callback), which is what
 * happens whenever a busy stage is killed.
 *
 * An endpoint owns its connections; a connection is there from `up` to `down`. All handlers run on
 * the loop's thread, and may close anything. nng has threads of its own for input and output (on
 * two cores 14), started with the first endpoint: loop_new comes before that, so that they have the
 * stages' signals blocked.
 *
 * Limits: a connection reads 128 KiB ahead, or one message of LIMIT_MESSAGE. What is to be sent is
 * bounded by the sender, by link_queued. Nobody gets more than 5 seconds to say hello.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

struct endpoint;
struct link;

/* SP's numbers for what an end is. */
enum protocol {
	PROTOCOL_PAIR = 16,
	PROTOCOL_PUB = 32,
	PROTOCOL_SUB = 33,
	PROTOCOL_REQ = 48,
	PROTOCOL_REP = 49,
};

struct endpoint_handler {
	void (*up)(void *arg, struct link *c);
	/* It is gone once this returns, and with it what was on its way. No message of it comes
	 * after link_close. */
	void (*down)(void *arg, struct link *c);
	/* Borrowed until the handler returns. */
	void (*message)(void *arg, struct link *c, struct span message);
	/* What was queued is being written: the queue is empty. */
	void (*writable)(void *arg, struct link *c);
	void *arg;
};

/* max: connections at a time; others are cut off before they are up. url: ipc://path or
 * tcp://host:port. -EADDRINUSE, -EINVAL (url), -EACCES, -ENOENT, ... A stale socket file is
 * replaced. */
int endpoint_listen(struct loop *l, const char *url, enum protocol protocol, unsigned max,
		    const struct endpoint_handler *h, struct endpoint **ret) MUST_CHECK;
/* One connection after another, for ever. */
int endpoint_dial(struct loop *l, const char *url, enum protocol protocol,
		  const struct endpoint_handler *h, struct endpoint **ret) MUST_CHECK;
/* Without a `down` for the connections that are there. */
void endpoint_close(struct endpoint *e);

/* Its owner holds that much more (or less) on its behalf, which belongs to the same account. */
void endpoint_add_bytes(struct endpoint *e, int64_t bytes);
/* What all endpoints of the process hold, nng's own memory apart. arg: not used. */
int64_t endpoint_memory_bytes(void *arg);

/* For the handler's use. */
void link_set_data(struct link *c, void *data);
void *link_data(const struct link *c);
/* One message, head and body. Copies. */
void link_send(struct link *c, struct span head, struct span body);
/* Bytes of messages that are not being written yet. */
size_t link_queued(const struct link *c);
/* Bytes of those, and of what is being written. */
size_t link_unsent(const struct link *c);
/* Forgets what is queued. */
void link_clear(struct link *c);
/* Stops taking messages, so that the peer has to wait; or goes on. */
void link_hold(struct link *c, bool hold);
/* `down` follows, but not from inside this function. */
void link_close(struct link *c);
