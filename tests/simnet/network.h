/*
 * The hosts and the directory of a world, served on one port of the loopback network by one loop:
 * which host is meant follows from the address that was connected to. TLS with one authority made
 * on the fly, or plain.
 *
 * A host serves com.atproto.sync.subscribeRepos (cursors are exclusive; a backlog of all that was
 * sent through it), com.atproto.server.describeServer, com.atproto.sync.getRepoStatus,
 * com.atproto.sync.listHosts (all hosts of the world: any of them can be a relay's bootstrap),
 * com.atproto.sync.getLatestCommit is not known to it. did:web names serve
 * /.well-known/did.json; the directory serves /DID.
 *
 * Frames are borrowed until network_free: they are a corpus's, or the test's.
 */
#pragma once

#include "common/loop.h"
#include "tests/simnet/corpus.h"

struct network;

/* How a host treats those who connect to it. network_misbehave changes it for one host. NO_PONG,
 * NO_READ and SLOW also are for those who are connected; the others are for new connections and
 * requests, and what is connected stays, unless stated. A host that honours cursors answers one
 * above its last number with FutureCursor. */
enum misbehaviour {
	BEHAVE,
	NO_PONG,               /* answers no ping */
	NO_READ,               /* takes nothing off a WebSocket: no ping, no close */
	ACCEPT_AND_CLOSE,      /* closes every connection at once */
	CLOSE_AFTER_HANDSHAKE, /* closes each WebSocket at once */
	REDIRECT,              /* answers the handshake with 302 to another host */
	BAD_TLS,               /* a certificate of another name */
	UNTRUSTED_TLS,         /* a certificate of another authority */
	FUTURE_CURSOR,         /* answers any cursor with the FutureCursor error */
	IGNORE_CURSOR,         /* begins each stream with the first of its events */
	WRONG_ACCEPT,          /* answers the handshake as if the client had sent another key */
	NO_STREAM,             /* 404 for the stream */
	SILENT,                /* accepts, and never says a byte */
	REFUSE,                /* 503 for everything */
	VANISH, /* cuts what is connected, and resets new connections at once, until BEHAVE */
	SLOW,   /* sends a byte each millisecond */
};

struct network *network_new(struct loop *l, struct world *w);
void network_free(struct network *n);

/* What a relay has to be told to reach this network, as lines "section.key=value" in an array that
 * ends with NULL: network.hosts_file, network.ca_file, network.private_hosts or plain_hosts,
 * resolve.plc_url, ingest.bootstrap (the first host's list), ingest.backfill. The files are in the
 * folder. Valid until network_free. */
const char *const *network_relay_settings(struct network *n, const char *folder);

/* To every subscriber, and into the host's backlog. The record's host and seq say where. A record
 * whose seq is not above the last is in no backlog. */
void network_send(struct network *n, const struct corpus_record *r);
/* Bytes instead of a frame: with opcode and FIN as said, in no backlog, to who is connected. */
void network_send_raw(struct network *n, uint32_t host, uint8_t first_byte, struct span payload);
/* Bytes as they are, below the WebSocket. */
void network_send_bytes(struct network *n, uint32_t host, struct span bytes);
void network_misbehave(struct network *n, uint32_t host, enum misbehaviour m);
/* Cuts the host's connections without a word. */
void network_cut(struct network *n, uint32_t host);
/* Forgets the host's backlog: its next number may be any, as after a loss of its state. Who has not
 * taken all of it is cut; others stay. */
void network_reset(struct network *n, uint32_t host);
/* What getRepoStatus says of an account: NULL for active; any other text is the status; "missing"
 * is RepoNotFound. */
void network_set_status(struct network *n, uint32_t account, const char *status);

struct network_counts {
	uint32_t hosts;         /* there are */
	uint32_t subscribers;   /* WebSockets that are open now */
	uint32_t subscribed;    /* hosts that have one at least */
	uint64_t connections;   /* ever accepted */
	uint64_t events;        /* given to sockets, over all subscribers */
	uint64_t documents;     /* asked of the directory or a did:web name */
	uint64_t refused;       /* of those, with 429 */
	uint64_t resets;        /* of connections to the directory, because it is down */
	uint64_t pending_bytes; /* waiting for sockets */
};
void network_counts(const struct network *n, struct network_counts *ret);
uint32_t network_subscribers(const struct network *n, uint32_t host);
/* The cursor of the host's last subscriber; -1 for none. */
int64_t network_last_cursor(const struct network *n, uint32_t host);
uint64_t network_host_connections(const struct network *n, uint32_t host); /* ever */

/* The directory's manners, from now on. */
struct directory_manners {
	uint64_t latency_usec;
	unsigned error_percent;    /* of requests answered 500 */
	unsigned requests_per_sec; /* above it: 429 with Retry-After; 0: no limit */
	bool down;                 /* cuts its connections, and resets new ones at once */
};
void network_directory(struct network *n, const struct directory_manners *m);
