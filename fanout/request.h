/*
 * One HTTP request on the public port: its parameters, its body, its one answer. Every answer bears
 * the CORS headers and the Server header by which relays recognise each other.
 *
 * Trusts nothing: parameters and body are bounded (XRPC_PARAM_MAX, LIMIT_XRPC_BODY), and whoever
 * uses them looks at their syntax. Answers that clients do not read take REQUEST_ANSWERS_BYTES over
 * all connections; then there is 503 instead of those that are not small.
 *
 * Owner: libmicrohttpd's connection; it lives from the first call of request_take to request_free,
 * over a wait for another stage.
 */
#pragma once

#include <jansson.h>

#include "common/limits.h"
#include "common/message.h"

#include "fanout/consumer.h"
#include "fanout/cursor.h"

/* A few of the largest that another stage gives. */
#define REQUEST_ANSWERS_BYTES (8 * (size_t)LIMIT_MESSAGE)
#define REQUEST_SMALL_BYTES   KIB(4) /* and so much for each connection */

struct MHD_Connection;
struct fanout;
struct route;

struct request {
	struct fanout *fanout;
	struct MHD_Connection *connection;
	const struct route *route; /* NULL: there is none */
	struct buf body;
	size_t body_bytes; /* that came, kept or not */
	size_t answer_bytes;
	bool answered;
	bool waiting;           /* for another stage's reply; the connection is suspended */
	const char *extra_name; /* one more header for the answer */
	const char *extra_value;
	struct cursor cursor; /* of a consumer to be, who it is, and who takes its socket */
	struct visitor visitor;
	bool has_place;
	void (*taken)(struct request *q, int fd, struct span extra);
};

/* Called by the port as libmicrohttpd calls it: for the head, for each piece of the body, and for
 * the end. q: NULL at first. 0, or -EPIPE to cut the connection off. */
int request_take(struct fanout *f, struct MHD_Connection *connection, const char *path,
		 const char *method, struct span piece, struct request **q) MUST_CHECK;
void request_free(struct request *q);

/* The parameters of the query that are among names (NULL at the end); others are ignored. They
 * borrow from the connection, until the answer. -EINVAL: one is given twice or is too long. */
int request_params(const struct request *q, const char *const *names, struct xrpc_param *ret,
		   size_t *ret_count) MUST_CHECK;
/* A header's value, or NULL. Borrows until the answer. */
const char *request_header(const struct request *q, const char *name);
/* Whether a header that is a list, in one line or several, has this token. */
bool request_has_token(const struct request *q, const char *name, const char *token);
/* Who asks: the other end of the connection or, if that is a trusted proxy, whom it names. */
void request_visitor(const struct request *q, struct visitor *ret);

/* The one answer is one of these. */
void request_answer(struct request *q, unsigned status, const char *type, struct span body);
/* Takes body. */
void request_answer_json(struct request *q, unsigned status, json_t *body);
/* {"error": name, "message": message} */
void request_answer_error(struct request *q, unsigned status, const char *name,
			  const char *message);
/* 101. taken gets libmicrohttpd's descriptor, which is closed when it returns, and what the client
 * sent behind the request. */
void request_upgrade(struct request *q, const char *accept,
		     void (*taken)(struct request *q, int fd, struct span extra));

/* The answer comes later: request_resume, then one of the above. */
void request_wait(struct request *q);
void request_resume(struct request *q);
