/*
 * The HTTP/1.1 exchange that opens a WebSocket (RFC 6455, section 4): our request, and the host's
 * answer, which is at most LIMIT_HTTP_HEAD bytes and is parsed strictly. No extension and no
 * subprotocol is asked for, so none may be granted.
 *
 *	GET /xrpc/com.atproto.sync.subscribeRepos?cursor=N HTTP/1.1	HTTP/1.1 101 Switching
 * Protocols Host: name[:port]						Upgrade: websocket Upgrade:
 * websocket						Connection: Upgrade Connection: Upgrade
 * Sec-WebSocket-Accept: base64(SHA-1(key GUID)) Sec-WebSocket-Key: base64(16 random bytes)
 *	Sec-WebSocket-Version: 13
 */
#pragma once

#include "common/bytes.h"

#define HANDSHAKE_KEY_SIZE    24 /* base64 of 16 bytes */
#define HANDSHAKE_ACCEPT_SIZE 28 /* base64 of a SHA-1 */
#define HANDSHAKE_RETRY_MAX_USEC                                                                   \
	(24ull * 3600 *                                                                            \
	 1000000) /* what a Retry-After is cut to: a day                            \
				  */

struct handshake {
	char key[HANDSHAKE_KEY_SIZE + 1];
	char accept[HANDSHAKE_ACCEPT_SIZE + 1]; /* what the host must answer */
};

enum handshake_result {
	HANDSHAKE_MORE,      /* the head is not complete */
	HANDSHAKE_DONE,      /* 101, and all is as it should be */
	HANDSHAKE_BAD,       /* no HTTP, or an upgrade that is none */
	HANDSHAKE_TOO_LARGE, /* a head of more than LIMIT_HTTP_HEAD */
	HANDSHAKE_REDIRECT, /* a 3xx, which is not followed: the host must be where its name says */
	HANDSHAKE_LATER,    /* 429 or 503 */
	HANDSHAKE_REFUSED,  /* any other status */
};

struct handshake_answer {
	unsigned status;
	uint64_t retry_after_usec; /* 0: none given, or given as a date */
	size_t head_bytes;         /* what comes after them belongs to the WebSocket */
};

/* Makes a key from random bytes. */
void handshake_init(struct handshake *h);
/* The key is given (tests). */
void handshake_init_key(struct handshake *h, const uint8_t key[static 16]);
/* Appends the request. host: name[:port]; target: path and query. */
void handshake_request(const struct handshake *h, const char *host, const char *target,
		       struct buf *out);
/* bytes: all that has come in so far. ret is filled for every result but MORE, BAD and TOO_LARGE.
 */
enum handshake_result handshake_parse(const struct handshake *h, struct span bytes,
				      struct handshake_answer *ret);
