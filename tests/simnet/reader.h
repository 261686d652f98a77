/*
 * A consumer of a relay (or of a simulated host) on a loop: WebSocket over plain TCP on loopback,
 * as cheap as can be. Frames are given as they come and not kept. Pings are answered.
 */
#pragma once

#include <sys/socket.h>

#include "common/loop.h"

struct reader_handler {
	/* A message; borrowed during the call. */
	void (*frame)(void *arg, struct span frame);
	/* The connection ended, whoever ended it. The reader may be freed here. */
	void (*closed)(void *arg);
	void *arg;
};

struct stream_reader;

/* Asks for com.atproto.sync.subscribeRepos; cursor: -1 for none. Connects while the loop runs. What
 * goes wrong then, and whatever is no binary message of at most LIMIT_FRAME bytes, ends it. */
struct stream_reader *stream_reader_new(struct loop *l, const struct sockaddr *address,
					int64_t cursor, const struct reader_handler *h);
void stream_reader_free(struct stream_reader *r);
/* Stops (and goes on) taking bytes from the socket. What was taken already comes when it goes
 * on. */
void stream_reader_pause(struct stream_reader *r, bool paused);
/* Whether the handshake is done, and the end has not come. */
bool stream_reader_is_open(const struct stream_reader *r);
/* Received so far, the handshake included. */
uint64_t stream_reader_bytes(const struct stream_reader *r);
