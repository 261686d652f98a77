#include "fanout/websocket.h"

#include <assert.h>
#include <ctype.h>
#include <strings.h>

#include <openssl/evp.h>

#define FIN_BIT       0x80
#define RESERVED_BITS 0x70
#define MASK_BIT      0x80

/* ---- handshake [4.2.1] ---- */

static struct span next_element(const char **value)
{
	const char *start = *value + strspn(*value, " \t,");
	size_t len = strcspn(start, ",");
	*value = start + len;
	while (len > 0 && (start[len - 1] == ' ' || start[len - 1] == '\t'))
		len--;
	return span_of(start, len);
}

bool websocket_has_token(const char *value, const char *token)
{
	if (!value)
		return false;
	for (;;) {
		struct span element = next_element(&value);
		if (element.len == 0)
			return false;
		if (element.len == strlen(token) &&
		    strncasecmp((const char *)element.ptr, token, element.len) == 0)
			return true;
	}
}

bool websocket_key_is_valid(const char *key)
{
	if (!key || strlen(key) != WEBSOCKET_KEY_SIZE || strcmp(key + 22, "==") != 0)
		return false;
	for (size_t i = 0; i < 22; i++) {
		if (!isalnum((unsigned char)key[i]) && key[i] != '+' && key[i] != '/')
			return false;
	}
	/* The 22nd character has four bits that belong to nothing. */
	return key[21] != '\0' && strchr("AQgw", key[21]);
}

void websocket_accept(const char *key, char ret[static WEBSOCKET_ACCEPT_SIZE])
{
	static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
	char text[WEBSOCKET_KEY_SIZE + sizeof(guid)];
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	assert(strlen(key) == WEBSOCKET_KEY_SIZE);
	memcpy(text, key, WEBSOCKET_KEY_SIZE);
	memcpy(text + WEBSOCKET_KEY_SIZE, guid, sizeof(guid));
	int ok = EVP_Digest(text, WEBSOCKET_KEY_SIZE + strlen(guid), digest, &len, EVP_sha1(),
			    NULL);
	assert(ok == 1 && len == 20);
	EVP_EncodeBlock((unsigned char *)ret, digest, (int)len);
}

/* ---- what comes in ---- */

void websocket_input_init(struct websocket_input *in)
{
	*in = (struct websocket_input){.head_size = 2};
}

static enum websocket_event refuse(struct websocket_input *in, enum websocket_code code)
{
	in->code = code;
	return WEBSOCKET_BAD;
}

static bool is_control(uint8_t opcode)
{
	return opcode >= 8;
}

/* The first two bytes: what kind of frame, and how long its head is [5.2]. */
static enum websocket_event take_start(struct websocket_input *in)
{
	uint8_t len = in->head[1] & (uint8_t)~MASK_BIT;

	in->opcode = in->head[0] & 0x0f;
	in->fin = in->head[0] & FIN_BIT;
	if ((in->head[0] & RESERVED_BITS) != 0)
		return refuse(in, WEBSOCKET_PROTOCOL); /* no extension was agreed on */
	if (!(in->head[1] & MASK_BIT))
		return refuse(in, WEBSOCKET_PROTOCOL); /* clients mask [5.1] */
	if (is_control(in->opcode)) {
		if (in->opcode > WEBSOCKET_OP_PONG || !in->fin || len > WEBSOCKET_CONTROL_MAX)
			return refuse(in, WEBSOCKET_PROTOCOL); /* [5.5] */
	} else if (in->opcode > WEBSOCKET_BINARY ||
		   in->in_message != (in->opcode == WEBSOCKET_CONTINUATION)) {
		return refuse(in, WEBSOCKET_PROTOCOL); /* [5.4] */
	}
	in->head_size = (uint8_t)(2 + (len == 126 ? 2 : len == 127 ? 8 : 0) + 4);
	return WEBSOCKET_MORE;
}

static uint64_t payload_length(const struct websocket_input *in)
{
	uint8_t len = in->head[1] & (uint8_t)~MASK_BIT;
	uint64_t n = 0;

	if (len < 126)
		return len;
	for (size_t i = 2; i < (size_t)in->head_size - 4; i++)
		n = n << 8 | in->head[i];
	return n;
}

static enum websocket_event take_data_head(struct websocket_input *in)
{
	if (!in->in_message) {
		in->message_len = 0;
		in->fragments = 0;
	}
	in->in_message = !in->fin;
	if (++in->fragments > WEBSOCKET_FRAGMENTS_MAX ||
	    in->left > WEBSOCKET_MESSAGE_MAX - in->message_len)
		return refuse(in, WEBSOCKET_TOO_BIG);
	in->message_len += (uint32_t)in->left;
	return WEBSOCKET_MORE;
}

/* A whole head. */
static enum websocket_event take_head(struct websocket_input *in)
{
	in->left = payload_length(in);
	/* Lengths are in their shortest form [5.2]. */
	if ((in->head_size == 8 && in->left < 126) || (in->head_size == 14 && in->left < 65536))
		return refuse(in, WEBSOCKET_PROTOCOL);
	memcpy(in->mask, in->head + in->head_size - 4, 4);
	in->mask_place = 0;
	if (!is_control(in->opcode))
		return take_data_head(in);
	in->len = 0;
	return WEBSOCKET_MORE;
}

/* The codes that an endpoint may send [7.4]. */
static bool is_close_code(unsigned code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static enum websocket_event end_close(struct websocket_input *in)
{
	if (in->len == 0) {
		in->code = WEBSOCKET_NO_CODE;
		return WEBSOCKET_CLOSE;
	}
	unsigned code = in->len == 1 ? 0 : (unsigned)in->payload[0] << 8 | in->payload[1];
	if (!is_close_code(code))
		return refuse(in, WEBSOCKET_PROTOCOL);
	in->code = code;
	return WEBSOCKET_CLOSE;
}

/* The frame is complete. */
static enum websocket_event end_frame(struct websocket_input *in)
{
	in->head_len = 0;
	in->head_size = 2;
	switch (in->opcode) {
	case WEBSOCKET_OP_PING:
		return WEBSOCKET_PING;
	case WEBSOCKET_OP_PONG:
		return WEBSOCKET_PONG;
	case WEBSOCKET_OP_CLOSE:
		return end_close(in);
	default:
		return WEBSOCKET_MORE;
	}
}

static void take_payload(struct websocket_input *in, struct span *bytes)
{
	size_t n = in->left < bytes->len ? (size_t)in->left : bytes->len;

	if (is_control(in->opcode)) {
		for (size_t i = 0; i < n; i++)
			in->payload[in->len++] = bytes->ptr[i] ^ in->mask[in->mask_place++ & 3];
	}
	in->left -= n;
	*bytes = span_of(bytes->ptr + n, bytes->len - n);
}

static enum websocket_event take_head_byte(struct websocket_input *in, struct span *bytes)
{
	in->head[in->head_len++] = bytes->ptr[0];
	*bytes = span_of(bytes->ptr + 1, bytes->len - 1);
	if (in->head_len == 2)
		return take_start(in);
	return in->head_len == in->head_size ? take_head(in) : WEBSOCKET_MORE;
}

enum websocket_event websocket_input_get(struct websocket_input *in, struct span *bytes)
{
	while (bytes->len > 0) {
		enum websocket_event event = WEBSOCKET_MORE;
		if (in->head_len < in->head_size)
			event = take_head_byte(in, bytes);
		else
			take_payload(in, bytes);
		if (event == WEBSOCKET_MORE && in->head_len == in->head_size && in->left == 0)
			event = end_frame(in);
		if (event != WEBSOCKET_MORE)
			return event;
	}
	return WEBSOCKET_MORE;
}

/* ---- what goes out ---- */

void websocket_put_head(struct buf *b, enum websocket_opcode opcode, size_t payload_len)
{
	buf_put_u8(b, (uint8_t)(FIN_BIT | opcode));
	if (payload_len < 126) {
		buf_put_u8(b, (uint8_t)payload_len);
	} else if (payload_len < 65536) {
		buf_put_u8(b, 126);
		buf_put_u8(b, (uint8_t)(payload_len >> 8));
		buf_put_u8(b, (uint8_t)payload_len);
	} else {
		buf_put_u8(b, 127);
		for (int shift = 56; shift >= 0; shift -= 8)
			buf_put_u8(b, (uint8_t)((uint64_t)payload_len >> shift));
	}
}

void websocket_put_control(struct buf *b, enum websocket_opcode opcode, struct span payload)
{
	assert(payload.len <= WEBSOCKET_CONTROL_MAX);
	websocket_put_head(b, opcode, payload.len);
	buf_append(b, payload);
}

void websocket_put_close(struct buf *b, enum websocket_code code, const char *reason)
{
	size_t len = strlen(reason);

	if (code == WEBSOCKET_NO_CODE) {
		websocket_put_head(b, WEBSOCKET_OP_CLOSE, 0);
		return;
	}
	if (len > WEBSOCKET_CONTROL_MAX - 2)
		len = WEBSOCKET_CONTROL_MAX - 2;
	websocket_put_head(b, WEBSOCKET_OP_CLOSE, 2 + len);
	buf_put_u8(b, (uint8_t)(code >> 8));
	buf_put_u8(b, (uint8_t)code);
	buf_append(b, span_of(reason, len));
}
