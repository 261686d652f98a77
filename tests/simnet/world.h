/*
 * The simulated network's population: hosts and accounts by number. Everything follows from the
 * seed, so that millions of accounts cost nothing until they are asked for: a DID holds its
 * account's number, and keys and documents are made when they are needed. Only what changed since
 * (a rotated key, a move, a deletion) is kept, one small entry an account.
 *
 *	host 12		h00012.sim.test:PORT, at 127.77.x.y (its own address)
 *	directory	plc.sim.test:PORT, at 127.77.255.254
 *	account 7	did:plc:..., or did:web:w0000007.sim.test%3APORT, on the host that
 *			world_identity says; the did:web name stays at its first host's address
 */
#pragma once

#include <netinet/in.h>

#include "common/host.h"
#include "common/limits.h"
#include "tests/lib/key.h"

struct world_settings {
	uint64_t seed;
	uint32_t hosts;        /* up to 60,000 */
	uint32_t accounts;     /* up to 2^30 */
	uint16_t port;         /* of all hosts and of the directory */
	bool plain;            /* http: and ws:, no TLS */
	unsigned big_hosts;    /* so many hosts share most accounts, as on the real network; 0: all
				  hosts are alike */
	unsigned p256_percent; /* of accounts with a P-256 key */
	unsigned web_percent;  /* of accounts with a did:web. Their DIDs, and so their commits, hold
				  the port. */
	unsigned legacy_percent; /* of documents in the form with an uncompressed legacy key */
};

struct world;

/* Copies. */
struct world *world_new(const struct world_settings *s);
void world_free(struct world *w);
const struct world_settings *world_settings(const struct world *w);

/* "h00012.sim.test:PORT"; the directory's; returns ret. */
const char *world_host_name(const struct world *w, uint32_t host, char ret[static LIMIT_HOST + 1]);
const char *world_directory_name(const struct world *w, char ret[static LIMIT_HOST + 1]);
/* The host of a name without port; -ENOENT, also for the directory. */
int world_find_host(const struct world *w, struct span name, uint32_t *ret) MUST_CHECK;
struct in_addr world_address(const struct world *w, uint32_t host);
struct in_addr world_directory_address(const struct world *w);
/* Lines of hosts(5) for all hosts, all did:web names and the directory. Appends. */
void world_hosts_file(const struct world *w, struct buf *b);

/* The DID; returns ret. */
const char *world_did(const struct world *w, uint32_t account, char ret[static LIMIT_DID + 1]);
/* Its account; -ENOENT if it is nobody's here. */
int world_find(const struct world *w, struct span did, uint32_t *ret_account) MUST_CHECK;
/* "user0000007.sim.test", and with a number above 0 "user0000007-1.sim.test"; returns ret. */
const char *world_handle(const struct world *w, uint32_t account, uint32_t number,
			 char ret[static LIMIT_HANDLE + 1]);

enum world_identity_state {
	WORLD_IDENTITY_PRESENT,
	WORLD_IDENTITY_MISSING,    /* 404 */
	WORLD_IDENTITY_TOMBSTONED, /* 410 */
	WORLD_IDENTITY_NO_KEY,     /* a document without a key, */
	WORLD_IDENTITY_NO_PDS,     /* or without a PDS */
	WORLD_IDENTITY_UNKNOWN,    /* 500: nobody can say */
};
#define WORLD_IDENTITY_STATES (WORLD_IDENTITY_UNKNOWN + 1)

/* What the account's DID document says now. */
struct world_identity {
	uint32_t host;
	uint32_t key;    /* the number of the key: 0, then 1 after the first rotation, ... */
	uint32_t handle; /* the number of the handle, likewise */
	enum world_identity_state state;
};

void world_identity(const struct world *w, uint32_t account, struct world_identity *ret);
/* From now on; the documents follow. */
void world_change(struct world *w, uint32_t account, const struct world_identity *i);
/* The curve is the account's, the same for all its keys. */
enum curve world_curve(const struct world *w, uint32_t account);
void world_key(const struct world *w, uint32_t account, uint32_t key, struct test_key *ret);
/* The DID document as JSON, for an identity that has one. Appends. */
void world_document(const struct world *w, uint32_t account, struct buf *b);
