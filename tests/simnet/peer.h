/*
 * A connection that somebody made to the network: TLS if there is any, then HTTP requests, one
 * after another, then perhaps a WebSocket that follows its host's backlog.
 *
 * A subscriber is a place in the backlog: frames are neither copied nor queued for it. What stands
 * in no backlog waits in a list of inserts, each before a place. Only what the socket did not take
 * of a message that was begun is copied, so a place is always one between two messages.
 *
 * What goes wrong with a connection ends it, and never the network.
 */
#pragma once

#include <sys/queue.h>

#include "common/loop.h"
#include "tests/simnet/backlog.h"
#include "tests/simnet/link.h"
#include "tests/simnet/network.h"
#include "tests/simnet/request.h"

struct peer;

TAILQ_HEAD(peer_list, peer);

/* A simulated host, as its connections see it. */
struct pds {
	enum misbehaviour manner;
	struct backlog backlog;
	struct peer_list peers; /* all connections to it */
	uint32_t subscribers;   /* those of them that are a WebSocket */
	int64_t last_cursor;    /* of the last of these; -1: none */
	uint64_t connections;   /* ever */
	bool is_queued;         /* its subscribers have to be flushed, */
	uint64_t queued_bytes;  /* of this much for all of them */
	TAILQ_ENTRY(pds) queue;
};

/* What all connections share. */
struct peer_room {
	struct loop *loop;
	/* A request has come: the answer is peer_answer or peer_subscribe. */
	void (*request)(void *arg, struct peer *p, const struct request *q);
	void *arg;
	struct buf gathered; /* what goes into one write of TLS */
	uint8_t block[KIB(16)];
	uint32_t subscribers, subscribed;
	uint64_t events, pending_bytes;
};

void peer_room_init(struct peer_room *room, struct loop *l);
void peer_room_release(struct peer_room *room);

/* Takes the descriptor. context: NULL without TLS. is_silent: says nothing, not even in TLS. It is
 * in the list until it ends; pds is what list belongs to, or NULL. Borrows all. */
struct peer *peer_new(struct peer_room *room, struct peer_list *list, struct pds *pds, int fd,
		      SSL_CTX *context, bool is_silent);
/* Cuts the connection, with a reset. */
void peer_free(struct peer *p);
/* In its list; NULL at the end. */
struct peer *peer_next(const struct peer *p);
struct pds *peer_pds(const struct peer *p);
bool peer_is_subscriber(const struct peer *p);

/* The answer to the request that was just given; kept back for after_usec. headers: see
 * answer_put. */
void peer_answer(struct peer *p, int status, const char *headers, struct span json,
		 uint64_t after_usec);
/* Answers the handshake that was just given, and follows the backlog from this place on. */
void peer_subscribe(struct peer *p, const struct request *q, size_t place);
/* Behind all that is in the backlog now, to a subscriber: one frame with this first byte. is_event:
 * it is counted as one. Copies. Goes out with peer_flush. */
void peer_put_frame(struct peer *p, uint8_t first_byte, struct span payload, bool is_event);
/* The same, below the framing. */
void peer_put_bytes(struct peer *p, struct span bytes);
/* The backlog has grown, or something was put. The peer may be gone after this. */
void peer_flush(struct peer *p);
/* The backlog begins anew. False: the peer had not taken all of it. */
bool peer_rewind(struct peer *p);
/* When all that is there is out, the stream ends. */
void peer_end(struct peer *p);
