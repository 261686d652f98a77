/*
 * An HTTP server on threads of its own, for tests of a client: it answers what it was told for each
 * path, however wrong that is, and counts. On 127.0.0.1, with or without TLS. A connection is kept
 * for the next request unless the answer ends it.
 *
 * The functions may be called while it serves.
 */
#pragma once

#include "common/bytes.h"

struct http_server;

enum http_server_kind {
	HTTP_SERVER_PLAIN_ANSWER, /* status, headers, body */
	HTTP_SERVER_SILENT,       /* takes the request and never answers */
	HTTP_SERVER_ENDLESS,      /* a body without end, and without Content-Length */
	HTTP_SERVER_ENDLESS_HEAD, /* headers without end */
	HTTP_SERVER_DRIP,         /* the body without end, a byte every few milliseconds */
	HTTP_SERVER_CUT,          /* half of the body, then the end of the connection */
	HTTP_SERVER_NO_HTTP,      /* the body alone */
	/* All but the last byte of the body; without a body, all but the end of the headers. Those
	 * may be as long as you like. */
	HTTP_SERVER_UNFINISHED,
};

struct http_server_answer {
	int status;
	const char *body;    /* NULL: empty */
	const char *headers; /* "Name: value\r\n"..., NULL: none */
	enum http_server_kind kind;
};

/* A certificate authority, and a server certificate for names "localhost" and "pds.test" signed by
 * it, as PEM files in folder. */
struct http_server_tls {
	char ca_file[256];
	char certificate_file[256];
	char key_file[256];
};
void http_server_make_tls(const char *folder, struct http_server_tls *ret);

/* tls: NULL for none. */
struct http_server *http_server_new(const struct http_server_tls *tls);
void http_server_free(struct http_server *s);
uint16_t http_server_port(const struct http_server *s);
/* The answer for this path with its query, from now on; other paths get 404. Copies. */
void http_server_put(struct http_server *s, const char *path, const struct http_server_answer *a);
/* Keeps all answers back (true), or lets them go. */
void http_server_hold(struct http_server *s, bool hold);
/* Requests for this path; NULL: all. */
unsigned http_server_requests(struct http_server *s, const char *path);
/* Those whose answer is not out yet, and the most that there ever were. */
unsigned http_server_waiting(struct http_server *s);
unsigned http_server_most_waiting(struct http_server *s);
unsigned http_server_connections(struct http_server *s);
/* Those of them that are still there. */
unsigned http_server_open_connections(struct http_server *s);
/* The head of the last request. Free with free(). */
char *http_server_last_head(struct http_server *s);
