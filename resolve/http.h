/*
 * The HTTP client, the only way out of this process: GET requests by libcurl's multi interface on
 * our loop. http.c is the only file that includes curl's headers.
 *
 * What every request is held to: the one scheme it names, http: only for hosts in
 * network.plain_hosts; no redirect, no proxy, no cookies, no authentication, no compression; a
 * limit for the answer's bytes; a time limit for all of it; certificate and host name verified; and
 * every address checked against the policy when the connection to it is made, so that no name and
 * no later resolution of it leads into a private network.
 *
 * How many requests are under way is bounded by the callers (resolver.h, calls.h); handles of ended
 * ones are kept for the next. All that curl keeps between requests is destroyed and made anew every
 * resolve.recycle_interval requests, so that what it may leak or hoard has an end; requests under
 * way then go on to theirs.
 */
#pragma once

#include "common/config.h"
#include "common/host.h"
#include "common/loop.h"
#include "common/memory.h"

#define HTTP_HEAD_MAX        65536 /* bytes of an answer's head; large sites send a tenth, */
#define HTTP_HEAD_LINE       64    /* to which each line adds so many: curl keeps them apart */
/* What curl holds for a request: the head, one line of it as it comes, itself; TLS apart. */
#define HTTP_CURL_BYTES      262144
#define HTTP_RETRY_AFTER_MAX 3600 /* seconds; what a server asks for beyond is cut */

struct http;

enum http_purpose { HTTP_PLC, HTTP_DID_WEB, HTTP_HOST_CHECK, HTTP_HOST_LIST, HTTP_PURPOSES };

enum http_outcome {
	HTTP_ANSWERED,      /* with any status */
	HTTP_NO_NAME,       /* the name does not resolve, for whatever reason */
	HTTP_FORBIDDEN,     /* the policy does not allow the host's address */
	HTTP_NO_CONNECTION, /* nobody answers there */
	HTTP_NO_TRUST,      /* TLS fails: certificate, host name, protocol */
	HTTP_TIMEOUT,
	HTTP_TOO_LARGE, /* head or body */
	HTTP_BROKEN,    /* cut off, or no HTTP */
	HTTP_CANCELLED, /* the client is being freed: begin nothing new */
	HTTP_OUTCOMES,
};

struct http_answer {
	enum http_outcome outcome;
	unsigned status;          /* 100 to 999 if answered, or too large */
	struct span body;         /* if answered; borrowed until `done` returns */
	uint64_t retry_after_sec; /* 0: not said */
	bool is_relay;            /* the Server header says atproto-relay */
	const char *reason;       /* for people: curl's words, or "HTTP 404" */
};

struct http_request {
	enum http_purpose purpose;
	struct host host;
	bool plain;       /* http:, which the policy has to allow for the host (asserted) */
	const char *path; /* with the query; begins with a slash, all characters as they go out.
			     Copied */
	size_t max_bytes;
	uint64_t timeout_usec;
	/* Called once, never from inside http_get. */
	void (*done)(void *arg, const struct http_answer *answer);
	void *arg;
};

/* Reads network.ca_file, and what http_configure reads. policy: borrowed until http_free. -EINVAL
 * if the CA file cannot be used. */
int http_new(const struct config *config, const struct host_policy *policy, struct loop *loop,
	     struct metrics *metrics, struct memory *memory, struct http **ret) MUST_CHECK;
/* Reads resolve.keep_alive, resolve.concurrency (how many connections stay open for the next
 * request) and resolve.recycle_interval, for the requests that follow. */
void http_configure(struct http *h, const struct config *config);
/* Requests under way end as cancelled. */
void http_free(struct http *h);

void http_get(struct http *h, const struct http_request *request);
/* "HTTP outcome" for logs: "timeout", ... */
const char *http_outcome_name(enum http_outcome outcome);
/* Appends text as one value of a query. */
void http_escape(struct buf *b, struct span text);
