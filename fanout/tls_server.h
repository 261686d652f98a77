/*
 * TLS on the public port: a certificate with its key, and wires that speak it. The only file of
 * this stage that knows OpenSSL.
 *
 * TLS 1.2 and 1.3, nothing older; no renegotiation, no compression, no resumption: a session that
 * could be resumed would need a key that all replicas share and somebody renews.
 *
 * After the handshake a client may send a hundred messages of TLS's own; with more it is cut off,
 * as flood if it is a consumer.
 *
 * Where the kernel encrypts (CONFIG_TLS, Linux 4.13), events go to a consumer by sendfile as
 * without TLS. Where it does not, they are read and encrypted here, a record at a time, of which
 * OpenSSL keeps the one that the socket has not taken yet: TLS_RECORD_BYTES for a consumer that is
 * behind, and nothing for one that is not.
 *
 * The files are looked at every check_usec; when they have changed, new connections get what is in
 * them now, if it is right, and else what there was before.
 */
#pragma once

#include "common/config.h"
#include "common/loop.h"
#include "common/metrics.h"

#include "fanout/wire.h"

#define TLS_RECORD_BYTES KIB(16)

struct tls_server;

struct tls_server_settings {
	const char *certificate; /* files: PEM, the chain behind the certificate */
	const char *key;
	uint64_t check_usec;     /* how often the files are looked at */
	uint64_t handshake_usec; /* what a handshake may take */
};

/* What is wrong with fanout.tls_certificate or fanout.tls_key, with file and line. -EINVAL. */
int tls_server_check(const struct config *c, char *ret_error, size_t size) MUST_CHECK;

/* Negative errno, and why. */
int tls_server_new(struct loop *l, struct metrics *m, const struct tls_server_settings *settings,
		   char *ret_error, size_t size, struct tls_server **ret) MUST_CHECK;
/* Its wires are closed. Takes NULL. */
void tls_server_free(struct tls_server *t);

/* The beginning of a connection. Takes the descriptor. */
void tls_server_accept(struct tls_server *t, int fd, struct wire *ret);
/* 1: the wire can be used. 0: ask again when the socket is ready for ret_events. -EPROTO: the
 * other end speaks no TLS that fits; -ECONNRESET: it is gone. */
int tls_handshake(struct wire *w, uint32_t *ret_events) MUST_CHECK;
