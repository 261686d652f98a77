/*
 * One attempt to read one host's event stream: name, address, TCP, TLS, WebSocket handshake,
 * messages, end. A connection is made for one attempt and reports its end once; whether there is
 * another is for its owner to say.
 *
 *	NAME -> TCP -> TLS -> UPGRADE -> OPEN -> end
 *
 * - Every address, wherever it comes from, passes host_policy_allows before it is connected to.
 * - All before OPEN happens within connect_timeout, shared by the addresses that are tried.
 * - When open: a ping every ping_interval. The end comes when nothing whole was heard for
 * read_timeout, or one message takes longer than that.
 * - A message that cannot be taken is held (websocket.h), and the socket is not read until
 * connection_resume: the host's TCP waits, and so do the deadlines.
 * - Handlers are called from the loop, never from inside a function of this header.
 */
#pragma once

#include "common/bytes.h"
#include "common/host.h"
#include "common/loop.h"
#include "ingest/resolver.h"
#include "ingest/tls.h"
#include "ingest/websocket.h"

#define CONNECTION_TARGET_MAX 128 /* bytes of path and query */

/* Numbers are places in the table of names in connection.c. */
enum connection_end {
	END_NAME,      /* no such name, or nobody who knows it */
	END_FORBIDDEN, /* only addresses that the configuration does not allow */
	END_CONNECT,   /* TCP */
	END_TLS,       /* TLS, the certificate included */
	END_SLOW,      /* not open within connect_timeout */
	END_HANDSHAKE, /* an answer that opens no WebSocket */
	END_REDIRECT,
	END_LATER,  /* 429, 503 */
	END_STATUS, /* any other status but 101 */
	/* after OPEN */
	END_LOST,   /* TCP or TLS ended without a close frame */
	END_CLOSED, /* a close frame */
	END_SILENT,
	END_TEXT,
	END_OVERSIZE,
	END_FRAMING,
	END_FLOOD,
	END_REFUSED, /* the handler's message said so */
	END_CROWDED, /* it held much of what all connections may hold (struct websocket_pool) */
};
#define END_COUNT (END_CROWDED + 1)

struct connection_report {
	enum connection_end end;
	uint64_t retry_after_usec; /* END_LATER; 0: not given */
	char text[192];            /* for people */
};

/* What all connections share. Borrowed by them. */
struct dialer {
	struct loop *loop;
	struct resolver *resolver;
	struct tls *tls;
	const struct host_policy *policy;
	struct websocket_pool pool;
	uint64_t connect_timeout_usec;
	uint64_t ping_interval_usec;
	uint64_t read_timeout_usec;
};

struct connection_handler {
	void (*opened)(void *arg);
	/* Borrowed. 0; -EAGAIN: hold it; other: END_REFUSED. The connection must not be freed here.
	 */
	int (*message)(void *arg, struct span message);
	/* It is over; nothing else is called any more. Free it, here or later. */
	void (*ended)(void *arg, const struct connection_report *report);
	void *arg;
};

struct connection;

/* "dns", ...: names for metrics. */
const char *connection_end_name(enum connection_end e);
/* Begins. Borrows dialer; copies host and target. */
struct connection *connection_new(struct dialer *d, const struct host *host, const char *target,
				  const struct connection_handler *h);
/* Closes it if it is open, without telling the handler. */
void connection_free(struct connection *c);
bool connection_is_open(const struct connection *c);
/* Whether a message is held, and the socket not read therefore. */
bool connection_is_holding(const struct connection *c);
/* Offers what is held again, and reads on when all is taken. */
void connection_resume(struct connection *c);
size_t connection_memory_bytes(const struct connection *c);
