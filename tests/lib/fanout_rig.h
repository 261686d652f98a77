/*
 * The real fanout on a free loopback port, in a child, and a log for it. The child also plays store
 * and ingest, as the test tells it over a socket; its calls are answered with what was asked (and
 * those of did=drop not at all, of did=large with SERVER_LARGE_BYTES, of did=foreign as by version
 * 2). nng starts threads, so the test itself never touches it.
 *
 * Whatever is waited for is asked for again and again, for 20 seconds at most.
 */
#pragma once

#include <sys/types.h>

#include "fanout/tls_server.h"

#include "tests/lib/log_maker.h"

#define SERVER_LARGE_BYTES MIB(6)

struct server_settings {
	uint64_t ping_usec, progress_usec, request_usec, drain_usec;
	size_t max, max_per_client; /* consumers */
	size_t max_connections_per_client;
	const char *trusted; /* NULL: as it is by default */
	uint64_t first_seq;
	size_t file_events;
	bool eager;
	bool alone;                     /* nobody answers calls */
	uint16_t port;                  /* 0: one that is free */
	int passed_fd;                  /* a socket that listens, to be used instead; 0: none */
	struct tls_server_settings tls; /* certificate NULL: none */
};

/* Long times, much room, ten events a file from number 1 on. */
extern const struct server_settings server_ordinary;

struct server {
	pid_t pid;
	int fd;
	uint16_t port;
	struct log_maker log;
	enum head_state state; /* what store says of itself with the next server_tell */
};

/* As many descriptors as there may be; before server_start, for itself and the test. */
void server_raise_limit(void);
void server_start(struct server *s, const struct server_settings *settings);
/* Returns when fanout knows the log as it is now. */
void server_tell(struct server *s);
/* The same without waiting, as store does. */
void server_announce(struct server *s);
/* log_maker_add and server_tell. */
void server_add(struct server *s, size_t count, size_t payload_bytes);
/* Store says nothing any more. */
void server_silence(struct server *s);
/* Asks for its health until the status is this. */
void server_becomes(struct server *s, int status);

#define INSTANCE       "stage=\"fanout\",instance=\"0\""
#define METRIC(name)   name "{" INSTANCE "}"
#define CLOSES(reason) "relay_consumer_closes_total{" INSTANCE ",reason=\"" reason "\"}"
/* -1: there is no such sample. */
int64_t server_metric(struct server *s, const char *sample);
/* Waits until it is so. */
bool server_reaches(struct server *s, const char *sample, int64_t value);

/* Another one in its place, which serves the same log at another port. The one before has been
 * asked to stop, and whoever has to take something from it for its end has done so. */
void server_succeed(struct server *s, const struct server_settings *settings);
/* SIGTERM, in effect. */
void server_ask_to_stop(struct server *s);
/* It ends by itself, with status 0, and has leaked nothing (under AddressSanitizer). */
void server_wait(struct server *s);
/* server_ask_to_stop and server_wait. */
void server_stop(struct server *s);
