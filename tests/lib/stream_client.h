/*
 * A small blocking HTTP and WebSocket client for tests of the public port on 127.0.0.1. Whatever
 * does not come within 20 seconds is a failure of the test: nothing here waits for time to pass.
 */
#pragma once

#include "common/bytes.h"

struct stream_client {
	int fd;
	struct buf in; /* received and not yet taken */
	size_t taken;
};

struct stream_frame {
	uint8_t opcode;
	struct span payload; /* borrows until the next call */
};

/* A connection and nothing else; receive_bytes: the size of its receive buffer, 0 for the usual. */
void stream_connect(struct stream_client *c, uint16_t port, int receive_bytes);
void stream_send(struct stream_client *c, struct span bytes);
/* The whole head of an answer, with its empty line; borrows. Empty if the connection ended. */
struct span stream_head(struct stream_client *c);
/* Everything up to the end of the connection; borrows. */
struct span stream_rest(struct stream_client *c);
/* The handshake; whether the answer was 101 with the right key. headers: more of them, each with
 * its line end, or "". */
bool stream_open(struct stream_client *c, uint16_t port, const char *query, const char *headers);
/* The same, of one whose receive buffer is as small as can be. */
bool stream_open_slow(struct stream_client *c, uint16_t port, const char *query);
bool stream_handshake(struct stream_client *c, const char *query, const char *headers);
/* 1: a frame; 0: the connection ended. */
int stream_read(struct stream_client *c, struct stream_frame *ret);
/* A masked frame. */
void stream_write(struct stream_client *c, uint8_t first_byte, struct span payload);
void stream_close(struct stream_client *c);

/* One request, sent as it is, and the whole answer up to the end of the connection. Returns the
 * status; 0 without answer. */
int http_exchange(uint16_t port, const char *request, struct buf *ret_answer);
/* METHOD PATH with "Connection: close". */
int http_ask(uint16_t port, const char *method, const char *path, const char *headers,
	     const char *body, struct buf *ret_answer);
/* Whether the answer's head or body contains this text. */
bool http_has(const struct buf *answer, const char *text);
