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
#include "common/log.h"
#include "common/loop.h"
#include "common/memory.h"
#include "common/metrics.h"
#include "common/pipe.h"

#include "fanout/consumers.h"
#include "fanout/gateway.h"
#include "fanout/port.h"
#include "fanout/window.h"

/* Store gives notice four times a second. Without store, whoever asks is told. */
#define FANOUT_HOLD_USEC (1 * USEC_PER_SEC)

struct fanout_settings {
	struct port_settings port;
	const char *name; /* the relay's host name, for people; may be empty */
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
	struct tls_server *tls; /* NULL: the public port is plain */
	struct port *port;
	size_t answer_bytes;    /* of answers on the port that are not sent yet */
	struct loop_timer hold; /* of the port, until the log is known, or for FANOUT_HOLD_USEC */
	struct pipe *head;
	struct log_limit head_log;
	uint64_t *heads_refused;
};

/* Errors: those of pipes, of the port and of TLS; whatever was opened is closed again. */
int fanout_open(struct fanout *f, struct loop *l, struct metrics *m, struct memory *a,
		const struct fanout_settings *settings) MUST_CHECK;
/*
 * Takes no more connections, closes the consumers one after another in the time that
 * settings.consumers.drain_usec gives, and ends the loop when they are gone and what is asked over
 * HTTP is answered: within that time, CONSUMER_CLOSE_USEC, PORT_FINISH_USEC and one second, of
 * which nothing is waited for without need.
 */
void fanout_stop(struct fanout *f);
void fanout_close(struct fanout *f);

/* Microseconds since store was last heard of. */
uint64_t fanout_silence_usec(const struct fanout *f);
