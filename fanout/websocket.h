/*
 * WebSocket, the server's side of it, without any input or output of its own [RFC 6455]: what a
 * handshake must have, the parser of what a consumer sends, and the control frames that go back.
 *
 * Consumers have nothing to say but ping, pong and close: data messages are read past and ignored
 * [event stream], within WEBSOCKET_MESSAGE_MAX and WEBSOCKET_FRAGMENTS_MAX. The parser holds at
 * most one control payload, takes bytes in pieces of any size, and never holds on to them. After
 * WEBSOCKET_BAD it must not be fed again.
 */
#pragma once

#include "common/bytes.h"

#define WEBSOCKET_CONTROL_MAX   125     /* bytes of a control frame's payload [5.5] */
#define WEBSOCKET_MESSAGE_MAX   KIB(64) /* of a data message; there is no reason to send any */
#define WEBSOCKET_FRAGMENTS_MAX 64      /* of one; no sender cuts 64 KiB finer than 1 KiB */
#define WEBSOCKET_KEY_SIZE      24      /* characters of Sec-WebSocket-Key: 16 bytes in base64 */
#define WEBSOCKET_ACCEPT_SIZE   29      /* Sec-WebSocket-Accept: SHA-1 in base64, with its NUL */

/* Close codes [7.4.1, and the IANA registry for 1012]. */
enum websocket_code {
	WEBSOCKET_NORMAL = 1000,
	WEBSOCKET_PROTOCOL = 1002,
	WEBSOCKET_NO_CODE = 1005, /* never sent: a close frame without a code */
	WEBSOCKET_POLICY = 1008,
	WEBSOCKET_TOO_BIG = 1009,
	WEBSOCKET_INTERNAL = 1011,
	WEBSOCKET_RESTART = 1012,
};

enum websocket_opcode {
	WEBSOCKET_CONTINUATION = 0,
	WEBSOCKET_TEXT = 1,
	WEBSOCKET_BINARY = 2,
	WEBSOCKET_OP_CLOSE = 8,
	WEBSOCKET_OP_PING = 9,
	WEBSOCKET_OP_PONG = 10,
};

/* Whether a comma-separated header value has this token, in any case ("keep-alive, Upgrade"). */
bool websocket_has_token(const char *value, const char *token);
/* 16 bytes in base64 [4.1]. */
bool websocket_key_is_valid(const char *key);
/* The answer to a valid key [4.2.2]. */
void websocket_accept(const char *key, char ret[static WEBSOCKET_ACCEPT_SIZE]);

enum websocket_event {
	WEBSOCKET_MORE,  /* all bytes are taken; nothing that concerns the caller is complete */
	WEBSOCKET_PING,  /* payload, len */
	WEBSOCKET_PONG,  /* payload, len */
	WEBSOCKET_CLOSE, /* code: what to answer with */
	WEBSOCKET_BAD,   /* code: what to close with */
};

struct websocket_input {
	uint8_t head[14]; /* of the frame that comes in: 2 bytes, length, mask */
	uint8_t head_len;
	uint8_t head_size; /* as far as is known yet */
	uint8_t opcode;
	bool fin;
	uint8_t mask[4];
	uint8_t mask_place;
	uint64_t left;        /* payload bytes that are still to come */
	bool in_message;      /* between the first and the last fragment */
	uint32_t fragments;   /* of this message */
	uint32_t message_len; /* bytes of it so far */
	enum websocket_code code;
	uint8_t len;
	uint8_t payload[WEBSOCKET_CONTROL_MAX]; /* of the control frame, unmasked */
};

void websocket_input_init(struct websocket_input *in);
/* Takes bytes off the front until something is complete or none are left. */
enum websocket_event websocket_input_get(struct websocket_input *in, struct span *bytes);

/* Appends the head of an unmasked, unfragmented frame. */
void websocket_put_head(struct buf *b, enum websocket_opcode opcode, size_t payload_len);
/* Appends a ping or a pong. */
void websocket_put_control(struct buf *b, enum websocket_opcode opcode, struct span payload);
/* Appends a close frame; WEBSOCKET_NO_CODE: an empty one. reason is cut to what fits. */
void websocket_put_close(struct buf *b, enum websocket_code code, const char *reason);
