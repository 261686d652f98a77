/*
 * A server on a test's loop, 127.0.0.1, with TLS or without, that says exactly the bytes it is told
 * to: for what an honest HTTP server does not do. It can answer a WebSocket handshake and make
 * frames, right or wrong.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

struct raw_server;
struct raw_client; /* the server's end of a connection */

struct raw_handler {
	/* A request's head, with its empty line, has come in. */
	void (*request)(void *arg, struct raw_client *c, struct span head);
	/* More bytes after it; all of them so far. May be NULL. */
	void (*more)(void *arg, struct raw_client *c, struct span bytes);
	/* The connection is gone, and c with it. May be NULL. */
	void (*gone)(void *arg, struct raw_client *c);
	void *arg;
};

/* certificate, key: PEM files; NULL: without TLS. */
struct raw_server *raw_server_new(struct loop *l, const char *certificate, const char *key,
				  const struct raw_handler *h);
void raw_server_free(struct raw_server *s);
uint16_t raw_server_port(const struct raw_server *s);
/* How many connections were accepted. */
unsigned raw_server_accepted(const struct raw_server *s);

/* Copies; kept until the connection takes it. */
void raw_client_send(struct raw_client *c, struct span bytes);
/* The right answer to a WebSocket handshake. */
void raw_client_accept(struct raw_client *c, struct span head);
/* One unmasked frame; first: FIN bit and opcode, 0x82 for a binary message. */
void raw_client_frame(struct raw_client *c, uint8_t first, struct span payload);
/* Bytes that are not taken yet. */
size_t raw_client_unsent(const struct raw_client *c);
/* Ends the connection without a word. */
void raw_client_cut(struct raw_client *c);
/* Frees with the connection; NULL at first. */
void raw_client_set_data(struct raw_client *c, void *data);
void *raw_client_data(const struct raw_client *c);

/* A certificate, signed by itself, for this name, and its key: written to "FOLDER/NAME.crt" and
 * "FOLDER/NAME.key". */
void make_certificate(const char *folder, const char *name);
