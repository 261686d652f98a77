/*
 * The WebSocket of a host, client side, after the handshake: framing by wslay (websocket.c is the
 * only file that includes it), messages put together here.
 *
 * Bytes come and go through the owner's read and write. Only complete messages get out, at most
 * LIMIT_FRAME bytes each. A message that lies whole in what was read is delivered from there;
 * others are put together in a buffer that is passed on from one socket to the next (struct
 * websocket_pool), so that a socket between two messages holds none.
 *
 * A message that its taker has no room for (-EAGAIN) is held, and the socket reads no more until
 * websocket_resume: what was read already, at most one message and the 4 KiB that wslay reads at a
 * time, is held behind it in order.
 *
 * What all sockets of a pool hold, of messages that are not complete or not taken, has a limit too.
 * Before it would be passed, a socket is ended: of those that hold at least the average the one
 * that has held something longest. So it is none with little, and none whose messages come and go.
 */
#pragma once

#include <sys/queue.h>
#include <sys/types.h>

#include "common/bytes.h"
#include "common/limits.h"

enum websocket_state {
	WEBSOCKET_OPEN,
	WEBSOCKET_TRANSPORT, /* read or write failed, or the end of the stream */
	WEBSOCKET_CLOSED,    /* a close frame came */
	WEBSOCKET_TEXT, /* a text message, where only binary ones may be [event stream: Framing] */
	WEBSOCKET_OVERSIZE, /* a message above LIMIT_FRAME [sync] */
	WEBSOCKET_FRAMING,  /* not as RFC 6455 has it */
	WEBSOCKET_FLOOD,    /* pings faster than their answers leave */
	WEBSOCKET_REFUSED,  /* message said so */
	WEBSOCKET_CROWDED,  /* it held much while all together held too much */
};

struct websocket_handler {
	/* More than 0; -EAGAIN; 0 at the end; another negative errno. */
	ssize_t (*read)(void *arg, uint8_t *ret, size_t size);
	ssize_t (*write)(void *arg, const uint8_t *bytes, size_t len);
	/* Borrowed. 0: taken; -EAGAIN: hold it; other: over, WEBSOCKET_REFUSED. The socket must not
	 * be freed here. */
	int (*message)(void *arg, struct span message);
	/* WEBSOCKET_CROWDED, found while another socket received. Neither must be freed here. */
	void (*crowded)(void *arg);
	void *arg;
};

/* So much that one socket alone never passes it: a message, one that is held, and a buffer that
 * grows. */
#define WEBSOCKET_POOL_MIN_BYTES MIB(16)

/* A buffer between two uses, and what sockets hold. Shared by all sockets of a loop; owned by
 * whoever has the sockets. */
struct websocket_pool {
	struct buf spare;
	size_t limit_bytes;
	size_t bytes; /* of holders' buffers; never above the limit */
	size_t holder_count;
	TAILQ_HEAD(, websocket) holders; /* sockets with buffers, the oldest first */
};

/* limit_bytes: WEBSOCKET_POOL_MIN_BYTES or more; the spare buffer's 64 KiB come on top. */
void websocket_pool_init(struct websocket_pool *p, size_t limit_bytes);
void websocket_pool_release(struct websocket_pool *p);

struct websocket;

/* Borrows the pool. */
struct websocket *websocket_new(struct websocket_pool *pool, const struct websocket_handler *h);
void websocket_free(struct websocket *w);

/* Reads and delivers until read says -EAGAIN, a message is held, or the stream is over. Writes what
 * has to be answered. */
void websocket_receive(struct websocket *w);
/* Writes what is waiting, as far as it goes. */
void websocket_flush(struct websocket *w);
bool websocket_wants_write(const struct websocket *w);
void websocket_ping(struct websocket *w);
/* Sends a close frame with this status, as far as that goes at once. */
void websocket_close(struct websocket *w, uint16_t status);

enum websocket_state websocket_state(const struct websocket *w);
/* Of the close frame that came; 0 if none. */
uint16_t websocket_close_status(const struct websocket *w);
bool websocket_is_holding(const struct websocket *w);
/* Offers what is held again. It stays held from the first message on that is not taken. */
void websocket_resume(struct websocket *w);
/* How many messages have come in whole, */
uint64_t websocket_messages(const struct websocket *w);
/* and how many messages, pings and pongs: that the host is alive. */
uint64_t websocket_received(const struct websocket *w);
/* A message has begun and is not complete. */
bool websocket_is_amid(const struct websocket *w);
/* Its context and the messages that it holds. */
size_t websocket_memory_bytes(const struct websocket *w);
