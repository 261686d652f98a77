/*
 * A small network for tests: fake hosts that serve subscribeRepos and describeServer, and a fake
 * PLC directory, on loopback ports. They do what they are told and keep no rules: what is right or
 * wrong about a frame is the test's business.
 */
#pragma once

#include "common/multikey.h"
#include "tests/lib/web.h"

struct fake_host;

struct fake_host *fake_host_new(struct loop *l, uint16_t port);
void fake_host_free(struct fake_host *h);
/* "localhost:PORT", and the URL that a DID document names. */
const char *fake_host_name(const struct fake_host *h);
const char *fake_host_url(const struct fake_host *h);
/* To every subscriber, and, for those who come later with a lower cursor, into the backlog. Copies.
 */
void fake_host_send(struct fake_host *h, uint64_t seq, struct span frame);
/* The same, but kept in no backlog: who missed it never gets it. */
void fake_host_send_once(struct fake_host *h, struct span frame);
size_t fake_host_subscribers(const struct fake_host *h);
/* Cuts all connections. */
void fake_host_cut(struct fake_host *h);

struct fake_directory;

struct fake_directory *fake_directory_new(struct loop *l, uint16_t port);
void fake_directory_free(struct fake_directory *d);
const char *fake_directory_url(const struct fake_directory *d);
/* Adds or replaces. DIDs that were never put are answered with 404. */
void fake_directory_put(struct fake_directory *d, const char *did, const struct public_key *key,
			const char *pds_url, const char *handle);
/* Answers this status for the DID instead: 410, 503, ... */
void fake_directory_put_status(struct fake_directory *d, const char *did, int status);
uint64_t fake_directory_requests(const struct fake_directory *d);
