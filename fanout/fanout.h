/*
 * The stage as a whole: what it knows of the log, its consumers, its public port and its ways to
 * the other stages.
 *
 *	head notices --> window --> consumers --> sockets that the port handed over
 *	                               ^
 *	browsers, curl <--> port --> routes --> gateway --> store, ingest
 */
#pragma once

#include "common/lag.h"
#include "common/loop.h"
#include "common/memory.h"
#include "common/metrics.h"
#include "common/pipe.h"

#include "fanout/consumers.h"
#include "fanout/gateway.h"
#include "fanout/port.h"
#include "fanout/window.h"

struct fanout_settings {
	const char *address;   /* of the public port: IPv4, or IPv6 in brackets */
	uint16_t port;         /* 0: any that is free */
	uint64_t request_usec; /* for one HTTP request, its answer included */
	const char *name;      /* the relay's host name, for people; may be empty */
	const char *log_folder;
	const char *head_url; /* pipes */
	const char *store_url;
	const char *ingest_url;
	struct consumers_settings consumers;
};

struct fanout {
	struct loop *loop;
	struct metrics *metrics;
	char *name;
	struct window window;
	struct lag lag; /* of consumers that wait for nothing but news */
	struct consumers consumers;
	struct gateway gateway;
	struct port *port;
	struct pipe *head;
};

/* Errors: those of pipes and of the port; whatever was opened is closed again. */
int fanout_open(struct fanout *f, struct loop *l, struct metrics *m, struct memory *a,
		const struct fanout_settings *settings) MUST_CHECK;
/* Takes no more connections, and ends the loop when the consumers are gone, within
 * CONSUMER_CLOSE_USEC and one second. */
void fanout_stop(struct fanout *f);
void fanout_close(struct fanout *f);

/* Microseconds since store was last heard of. */
uint64_t fanout_silence_usec(const struct fanout *f);
