/*
 * A small web server on a test's loop, which can turn a request into a WebSocket: what fake hosts
 * and the fake directory are made of. libmicrohttpd underneath. It listens on 127.0.0.1 and says
 * nothing that the test did not tell it to say.
 */
#pragma once

#include "common/bytes.h"
#include "common/loop.h"

struct web;
struct web_socket; /* the server's end of a WebSocket */

struct web_request {
	const char *path;
	const char *cursor; /* query parameter, NULL if absent */
};

struct web_handler {
	/* The status and body (cleared before) of a GET; or WEB_UPGRADE to make it a WebSocket. */
	int (*get)(void *arg, const struct web_request *q, struct buf *body);
	/* A WebSocket is there: send with web_socket_send. cursor: -1 if none was given. */
	void (*connected)(void *arg, struct web_socket *s, int64_t cursor);
	/* It is gone; it must not be used any more. */
	void (*gone)(void *arg, struct web_socket *s);
	void *arg;
};

#define WEB_UPGRADE 101

struct web *web_new(struct loop *l, uint16_t port, const struct web_handler *h);
void web_free(struct web *w);
/* One unmasked binary message; kept until the socket takes it. Copies. */
void web_socket_send(struct web_socket *s, struct span message);
/* Ends the connection without a word. */
void web_socket_cut(struct web_socket *s);
