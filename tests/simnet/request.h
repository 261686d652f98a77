/*
 * HTTP/1.1 as a simulated host or directory speaks it: the head of a request, and an answer. The
 * head is bounded; bodies of requests are not taken.
 */
#pragma once

#include "common/bytes.h"

#define REQUEST_HEAD_MAX    8192
#define REQUEST_ACCEPT_SIZE 28

/* Spans borrow from what was parsed. */
struct request {
	struct span method, path, query;
	struct span host;   /* Host, as it was sent */
	struct span key;    /* Sec-WebSocket-Key */
	bool has_upgrade;   /* Upgrade: websocket, and Connection: upgrade */
	bool has_version;   /* Sec-WebSocket-Version: 13 */
	bool has_body;      /* Content-Length above 0, or Transfer-Encoding */
	bool is_persistent; /* the connection may be used again */
};

/* ret_size: bytes of the head. -EAGAIN: not complete; -E2BIG; -EBADMSG. */
int request_parse(struct span bytes, struct request *ret, size_t *ret_size) MUST_CHECK;
/* A parameter of the query, decoded. -ENOENT; -EBADMSG (also if it does not fit). */
int request_param(const struct request *q, const char *name, char *ret, size_t size) MUST_CHECK;
/* Percent signs decoded, as a C string. -EBADMSG: not decodable, a NUL, or too long. */
int request_decode(struct span text, char *ret, size_t size) MUST_CHECK;
/* Whether this is a WebSocket handshake as RFC 6455, section 4.2.1, has it. */
bool request_is_handshake(const struct request *q);
/* Sec-WebSocket-Accept [RFC 6455, section 4.2.2]; ret is a C string. */
void request_accept_key(const struct request *q, char ret[static REQUEST_ACCEPT_SIZE + 1]);

/* Appends. headers: more of them, each with its line end, or "". */
void answer_put(struct buf *b, int status, const char *headers, struct span json,
		bool is_persistent);
/* Appends {"error": ..., "message": ...}. The texts need no escapes. */
void answer_put_error(struct buf *json, const char *error, const char *message);
