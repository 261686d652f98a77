/*
 * A client of the simulated network for tests, on the test's loop: it connects, by TLS or without,
 * says what it is told to say, and keeps what it hears. It knows requests and frames, and keeps no
 * rules of its own.
 */
#pragma once

#include <openssl/ssl.h>

#include "common/loop.h"
#include "tests/simnet/world.h"

struct visitor {
	struct loop *loop;
	struct loop_io io;
	int fd;
	SSL *ssl;     /* NULL: plain */
	bool greeted; /* TLS is set up, or there is none */
	struct buf in, out;
	size_t taken; /* of in */
	size_t reads; /* how often bytes came */
	bool ended;   /* the other side said so, */
	bool reset;   /* or cut it; or the connection failed */
	long verify;  /* of the certificate: X509_V_OK, ... */
};

/* The context of clients that trust a file of authorities. Free with SSL_CTX_free. */
SSL_CTX *visitor_context(const char *ca_file);

/* Connects to this address at the world's port. context: NULL without TLS; name: for the
 * certificate, without port. */
void visitor_open(struct visitor *v, struct loop *l, const struct world *w, struct in_addr address,
		  SSL_CTX *context, const char *name);
void visitor_close(struct visitor *v);
/* The end has come, in whatever way. */
bool visitor_is_over(const struct visitor *v);
void visitor_say(struct visitor *v, struct span bytes);
/* GET as HTTP/1.1. headers: each with its line end, or "". */
void visitor_ask(struct visitor *v, const char *host, const char *path, const char *headers);
/* The handshake of a WebSocket for subscribeRepos; cursor: -1 for none. */
void visitor_subscribe(struct visitor *v, const char *host, int64_t cursor);
/* A masked frame. */
void visitor_say_frame(struct visitor *v, uint8_t first_byte, struct span payload);
/* Takes a whole answer off what was heard; false: it is not there yet. Borrows until the next
 * call. */
bool visitor_take_answer(struct visitor *v, int *ret_status, struct span *ret_head,
			 struct span *ret_body);
/* The same for a frame. */
bool visitor_take_frame(struct visitor *v, uint8_t *ret_first_byte, struct span *ret_payload);
