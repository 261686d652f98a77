#include "tests/lib/stream_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/test.h"

#define WAIT_SECONDS 20
#define IN_MAX       MIB(64)
#define READ_BYTES   KIB(64)
#define KEY          "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

void stream_connect(struct stream_client *c, uint16_t port, int receive_bytes)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval wait = {.tv_sec = WAIT_SECONDS};

	*c = (struct stream_client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	buf_init(&c->in, IN_MAX);
	if (receive_bytes > 0)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
}

void stream_send(struct stream_client *c, struct span bytes)
{
	/* The other end may have closed; what it said is still there to be read. */
	while (bytes.len > 0) {
		ssize_t n = send(c->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		bytes = span_of(bytes.ptr + n, bytes.len - (size_t)n);
	}
}

/* false: the connection ended. */
static bool receive(struct stream_client *c)
{
	if (c->taken > 0) {
		buf_consume(&c->in, c->taken);
		c->taken = 0;
	}
	size_t before = c->in.len;
	ssize_t n = recv(c->fd, buf_extend(&c->in, READ_BYTES), READ_BYTES, 0);
	c->in.len = before + (n > 0 ? (size_t)n : 0);
	if (n < 0 && errno == EAGAIN)
		test_fail(__FILE__, __LINE__, "nothing came for %d seconds", WAIT_SECONDS);
	return n > 0;
}

static struct span untaken(const struct stream_client *c)
{
	return span_of(c->in.ptr + c->taken, c->in.len - c->taken);
}

struct span stream_head(struct stream_client *c)
{
	do {
		struct span s = untaken(c);
		const uint8_t *end = s.len ? memmem(s.ptr, s.len, "\r\n\r\n", 4) : NULL;
		if (end) {
			size_t len = (size_t)(end - s.ptr) + 4;
			c->taken += len;
			return span_of(s.ptr, len);
		}
	} while (receive(c));
	return SPAN_EMPTY;
}

struct span stream_rest(struct stream_client *c)
{
	while (receive(c))
		;
	return untaken(c);
}

static bool has(struct span s, const char *text)
{
	return s.len > 0 && memmem(s.ptr, s.len, text, strlen(text)) != NULL;
}

bool stream_handshake(struct stream_client *c, const char *query, const char *headers)
{
	struct buf request;

	buf_init(&request, KIB(64));
	buf_printf(&request,
		   "GET /xrpc/com.atproto.sync.subscribeRepos%s HTTP/1.1\r\nHost: relay\r\n"
		   "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
		   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n%s\r\n",
		   query, headers);
	stream_send(c, buf_span(&request));
	buf_release(&request);
	struct span head = stream_head(c);
	return has(head, "HTTP/1.1 101 ") && has(head, "Sec-WebSocket-Accept: " ACCEPT "\r\n");
}

bool stream_open(struct stream_client *c, uint16_t port, const char *query, const char *headers)
{
	stream_connect(c, port, 0);
	return stream_handshake(c, query, headers);
}

bool stream_open_slow(struct stream_client *c, uint16_t port, const char *query)
{
	stream_connect(c, port, 4096);
	return stream_handshake(c, query, "");
}

/* The size of the whole frame, or 0 if its head is not complete. */
static size_t frame_size(struct span s, size_t *ret_head)
{
	if (s.len < 2)
		return 0;
	size_t more = s.ptr[1] == 127 ? 8 : s.ptr[1] == 126 ? 2 : 0, len = more ? 0 : s.ptr[1];
	if (s.len < 2 + more)
		return 0;
	for (size_t i = 0; i < more; i++)
		len = len << 8 | s.ptr[2 + i];
	*ret_head = 2 + more;
	return *ret_head + len;
}

int stream_read(struct stream_client *c, struct stream_frame *ret)
{
	for (;;) {
		struct span s = untaken(c);
		size_t head = 0, size = frame_size(s, &head);
		if (size > 0 && s.len >= size) {
			*ret = (struct stream_frame){s.ptr[0] & 0x0f,
						     span_of(s.ptr + head, size - head)};
			c->taken += size;
			return 1;
		}
		if (!receive(c))
			return 0;
	}
}

void stream_write(struct stream_client *c, uint8_t first_byte, struct span payload)
{
	static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
	struct buf frame;

	buf_init(&frame, KIB(128));
	buf_put_u8(&frame, first_byte);
	if (payload.len < 126) {
		buf_put_u8(&frame, (uint8_t)(0x80 | payload.len));
	} else {
		buf_put_u8(&frame, 0x80 | 126);
		buf_put_u8(&frame, (uint8_t)(payload.len >> 8));
		buf_put_u8(&frame, (uint8_t)payload.len);
	}
	buf_append(&frame, span_of(mask, 4));
	for (size_t i = 0; i < payload.len; i++)
		buf_put_u8(&frame, payload.ptr[i] ^ mask[i % 4]);
	stream_send(c, buf_span(&frame));
	buf_release(&frame);
}

void stream_close(struct stream_client *c)
{
	close(c->fd);
	buf_release(&c->in);
	c->fd = -1;
}

int http_exchange(uint16_t port, const char *request, struct buf *ret_answer)
{
	struct stream_client c;
	int status = 0;

	stream_connect(&c, port, 0);
	stream_send(&c, span_str(request));
	buf_clear(ret_answer);
	buf_append(ret_answer, stream_rest(&c));
	buf_put_u8(ret_answer, '\0');
	if (sscanf((const char *)ret_answer->ptr, "HTTP/1.1 %d", &status) != 1)
		status = 0;
	stream_close(&c);
	return status;
}

int http_ask(uint16_t port, const char *method, const char *path, const char *headers,
	     const char *body, struct buf *ret_answer)
{
	struct buf request;

	buf_init(&request, MIB(1));
	buf_printf(&request, "%s %s HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n%s", method,
		   path, headers);
	if (*body)
		buf_printf(&request, "Content-Length: %zu\r\n", strlen(body));
	buf_printf(&request, "\r\n%s", body);
	buf_put_u8(&request, '\0');
	int status = http_exchange(port, (const char *)request.ptr, ret_answer);
	buf_release(&request);
	return status;
}

bool http_has(const struct buf *answer, const char *text)
{
	return has(buf_span(answer), text);
}
