#include "tests/simnet/request.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include <openssl/evp.h>

#define GUID     "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */
#define KEY_SIZE 24

static bool is_word(struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp((const char *)s.ptr, word, s.len) == 0;
}

static struct span trim(struct span s)
{
	while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
		s = span_of(s.ptr + 1, s.len - 1);
	while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
		s.len--;
	return s;
}

/* What stands before the first c; the rest follows it. If there is no c: all of it, and nothing. */
static struct span cut(struct span *rest, char c)
{
	const uint8_t *at = rest->len ? memchr(rest->ptr, c, rest->len) : NULL;
	struct span part = span_of(rest->ptr, at ? (size_t)(at - rest->ptr) : rest->len);
	size_t taken = part.len + (at ? 1 : 0);

	*rest = span_of(rest->ptr + taken, rest->len - taken);
	return part;
}

static bool list_has(struct span list, const char *word)
{
	while (list.len)
		if (is_word(trim(cut(&list, ',')), word))
			return true;
	return false;
}

struct fields {
	bool upgrade, connection;
};

static void take_field(struct request *q, struct fields *f, struct span name, struct span value)
{
	if (is_word(name, "Host"))
		q->host = value;
	else if (is_word(name, "Upgrade"))
		f->upgrade |= list_has(value, "websocket");
	else if (is_word(name, "Connection")) {
		f->connection |= list_has(value, "upgrade");
		if (list_has(value, "close"))
			q->is_persistent = false;
	} else if (is_word(name, "Sec-WebSocket-Key"))
		q->key = value;
	else if (is_word(name, "Sec-WebSocket-Version"))
		q->has_version = span_is(value, "13");
	else if (is_word(name, "Content-Length"))
		q->has_body |= !span_is(value, "0");
	else if (is_word(name, "Transfer-Encoding"))
		q->has_body = true;
}

static int parse_fields(struct span head, struct request *q)
{
	struct fields f = {false, false};

	while (head.len) {
		struct span value = cut(&head, '\n');
		struct span name;

		if (value.len == 0 || value.ptr[value.len - 1] != '\r')
			return -EBADMSG;
		value.len--;
		name = cut(&value, ':');
		if (name.len == 0)
			return -EBADMSG;
		take_field(q, &f, name, trim(value));
	}
	q->has_upgrade = f.upgrade && f.connection;
	return 0;
}

/* "GET /path?query HTTP/1.1\r\n" */
static int parse_line(struct span line, struct request *q)
{
	q->method = cut(&line, ' ');
	q->query = cut(&line, ' ');
	q->path = cut(&q->query, '?');
	if (q->method.len == 0 || q->path.len == 0 || q->path.ptr[0] != '/')
		return -EBADMSG;
	q->is_persistent = span_is(line, "HTTP/1.1\r");
	return q->is_persistent || span_is(line, "HTTP/1.0\r") ? 0 : -EBADMSG;
}

int request_parse(struct span bytes, struct request *ret, size_t *ret_size)
{
	const uint8_t *end = bytes.len ? memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4) : NULL;
	struct request q = {.has_body = false};
	struct span head;
	int error;

	if (!end)
		return bytes.len >= REQUEST_HEAD_MAX ? -E2BIG : -EAGAIN;
	head = span_of(bytes.ptr, (size_t)(end - bytes.ptr) + 2);
	error = parse_line(cut(&head, '\n'), &q);
	if (!error)
		error = parse_fields(head, &q);
	if (error)
		return error;
	*ret = q;
	*ret_size = (size_t)(end - bytes.ptr) + 4;
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int request_decode(struct span text, char *ret, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '%') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;

			if (high < 0 || low < 0)
				return -EBADMSG;
			c = (uint8_t)(high << 4 | low);
			i += 2;
		}
		if (c == '\0' || n + 1 >= size)
			return -EBADMSG;
		ret[n++] = (char)c;
	}
	ret[n] = '\0';
	return 0;
}

int request_param(const struct request *q, const char *name, char *ret, size_t size)
{
	struct span query = q->query;

	while (query.len) {
		struct span value = cut(&query, '&');
		struct span key = cut(&value, '=');

		if (span_is(key, name))
			return request_decode(value, ret, size);
	}
	return -ENOENT;
}

bool request_is_handshake(const struct request *q)
{
	return span_is(q->method, "GET") && q->has_upgrade && q->has_version &&
	       q->key.len == KEY_SIZE;
}

void request_accept_key(const struct request *q, char ret[static REQUEST_ACCEPT_SIZE + 1])
{
	char joined[KEY_SIZE + sizeof(GUID)];
	uint8_t digest[20];
	int r;

	assert(q->key.len == KEY_SIZE);
	memcpy(joined, q->key.ptr, KEY_SIZE);
	memcpy(joined + KEY_SIZE, GUID, sizeof(GUID));
	r = EVP_Digest(joined, sizeof(joined) - 1, digest, NULL, EVP_sha1(), NULL);
	assert(r == 1);
	r = EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
	assert(r == REQUEST_ACCEPT_SIZE);
}

static const char *reason_of(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 302:
		return "Found";
	case 404:
		return "Not Found";
	case 410:
		return "Gone";
	case 426:
		return "Upgrade Required";
	case 429:
		return "Too Many Requests";
	case 503:
		return "Service Unavailable";
	default:
		return status < 500 ? "Bad Request" : "Internal Server Error";
	}
}

void answer_put(struct buf *b, int status, const char *headers, struct span json,
		bool is_persistent)
{
	buf_printf(b,
		   "HTTP/1.1 %d %s\r\n"
		   "Server: simnet\r\n"
		   "Content-Type: application/json\r\n"
		   "Content-Length: %zu\r\n"
		   "%s%s\r\n",
		   status, reason_of(status), json.len,
		   is_persistent ? "" : "Connection: close\r\n", headers);
	buf_append(b, json);
}

void answer_put_error(struct buf *json, const char *error, const char *message)
{
	buf_printf(json, "{\"error\":\"%s\",\"message\":\"%s\"}", error, message);
}
