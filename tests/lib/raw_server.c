#include "tests/lib/raw_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <sys/queue.h>
#include <unistd.h>

#include "tests/lib/certificate.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct raw_client {
	struct raw_server *server;
	struct loop_io io;
	SSL *ssl; /* NULL: plain */
	bool has_head;
	struct buf in;
	struct buf out;
	void *data;
	LIST_ENTRY(raw_client) link;
};

LIST_HEAD(client_list, raw_client);

struct raw_server {
	struct loop *loop;
	struct loop_io io;
	SSL_CTX *context;
	struct raw_handler handler;
	struct client_list clients;
	uint16_t port;
	unsigned accepted;
};

static void free_client(struct raw_client *c)
{
	int fd = c->io.fd;

	LIST_REMOVE(c, link);
	if (c->server->handler.gone)
		c->server->handler.gone(c->server->handler.arg, c);
	loop_io_remove(c->server->loop, &c->io);
	SSL_free(c->ssl);
	close(fd);
	buf_release(&c->in);
	buf_release(&c->out);
	free(c->data);
	free(c);
}

/* -EAGAIN, 0 at the end or on failure. */
static ssize_t translate(const struct raw_client *c, ssize_t n)
{
	int reason;

	if (n > 0)
		return n;
	if (!c->ssl)
		return n < 0 && errno == EAGAIN ? -EAGAIN : 0;
	reason = SSL_get_error(c->ssl, (int)n);
	return reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? -EAGAIN : 0;
}

static ssize_t receive(struct raw_client *c, uint8_t *bytes, size_t size)
{
	return translate(c, c->ssl ? SSL_read(c->ssl, bytes, (int)size)
				   : recv(c->io.fd, bytes, size, 0));
}

static ssize_t transmit(struct raw_client *c)
{
	int len = c->out.len > 65536 ? 65536 : (int)c->out.len;

	return translate(c, c->ssl ? SSL_write(c->ssl, c->out.ptr, len)
				   : send(c->io.fd, c->out.ptr, (size_t)len, MSG_NOSIGNAL));
}

/* False: the connection failed. */
static bool flush(struct raw_client *c)
{
	ssize_t n = 1;

	while (c->out.len && n > 0) {
		n = transmit(c);
		if (n > 0)
			buf_consume(&c->out, (size_t)n);
	}
	loop_io_change(c->server->loop, &c->io, EPOLLIN | (c->out.len ? (uint32_t)EPOLLOUT : 0));
	return n != 0;
}

static void take_input(struct raw_client *c)
{
	const struct raw_handler *h = &c->server->handler;
	const uint8_t *end = c->in.len ? memmem(c->in.ptr, c->in.len, "\r\n\r\n", 4) : NULL;
	size_t len;

	if (!c->has_head && end) {
		len = (size_t)(end - c->in.ptr) + 4;
		c->has_head = true;
		h->request(h->arg, c, span_of(c->in.ptr, len));
		buf_consume(&c->in, len);
	}
	if (c->has_head && c->in.len && h->more)
		h->more(h->arg, c, buf_span(&c->in));
}

static void client_ready(void *arg, uint32_t events)
{
	struct raw_client *c = arg;
	uint8_t bytes[16384];
	ssize_t n;

	(void)events;
	while ((n = receive(c, bytes, sizeof(bytes))) > 0)
		buf_append(&c->in, span_of(bytes, (size_t)n));
	if (n == 0) {
		free_client(c);
		return;
	}
	if (!flush(c))
		free_client(c);
	else
		take_input(c);
}

static void accept_client(void *arg, uint32_t events)
{
	struct raw_server *s = arg;
	int fd = accept4(s->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	struct raw_client *c;

	(void)events;
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->accepted++;
	c = xcalloc(1, sizeof(*c));
	c->server = s;
	buf_init(&c->in, MIB(1));
	buf_init(&c->out, MIB(256));
	if (s->context) {
		c->ssl = SSL_new(s->context);
		assert(c->ssl && SSL_set_fd(c->ssl, fd) == 1);
		SSL_set_accept_state(c->ssl);
	}
	LIST_INSERT_HEAD(&s->clients, c, link);
	loop_io_init(&c->io, client_ready, c);
	loop_io_add(s->loop, &c->io, fd, EPOLLIN);
}

static SSL_CTX *new_context(const char *certificate, const char *key)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	assert(context);
	assert(SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) == 1);
	assert(SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1);
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return context;
}

struct raw_server *raw_server_new(struct loop *l, const char *certificate, const char *key,
				  const struct raw_handler *h)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct raw_server *s = xcalloc(1, sizeof(*s));

	assert(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 64) == 0);
	assert(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	s->loop = l;
	s->handler = *h;
	s->port = ntohs(address.sin_port);
	s->context = certificate ? new_context(certificate, key) : NULL;
	LIST_INIT(&s->clients);
	loop_io_init(&s->io, accept_client, s);
	loop_io_add(l, &s->io, fd, EPOLLIN);
	return s;
}

void raw_server_free(struct raw_server *s)
{
	int fd;

	if (!s)
		return;
	while (!LIST_EMPTY(&s->clients))
		free_client(LIST_FIRST(&s->clients));
	fd = s->io.fd;
	loop_io_remove(s->loop, &s->io);
	close(fd);
	SSL_CTX_free(s->context);
	free(s);
}

uint16_t raw_server_port(const struct raw_server *s)
{
	return s->port;
}

unsigned raw_server_accepted(const struct raw_server *s)
{
	return s->accepted;
}

/* A failure shows when the loop comes back to the socket. */
void raw_client_send(struct raw_client *c, struct span bytes)
{
	buf_append(&c->out, bytes);
	(void)flush(c);
}

void raw_client_accept(struct raw_client *c, struct span head)
{
	static const char name[] = "Sec-WebSocket-Key: ";
	const uint8_t *key = memmem(head.ptr, head.len, name, sizeof(name) - 1);
	unsigned char digest[20], accept[29];
	char joined[24 + sizeof(GUID)];
	struct buf b;

	assert(key);
	snprintf(joined, sizeof(joined), "%.24s" GUID, (const char *)key + sizeof(name) - 1);
	assert(EVP_Digest(joined, strlen(joined), digest, NULL, EVP_sha1(), NULL) == 1);
	EVP_EncodeBlock(accept, digest, sizeof(digest));
	buf_init(&b, KIB(1));
	buf_printf(&b,
		   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		   (const char *)accept);
	raw_client_send(c, buf_span(&b));
	buf_release(&b);
}

void raw_client_frame(struct raw_client *c, uint8_t first, struct span payload)
{
	struct buf b;

	buf_init(&b, MIB(16));
	buf_put_u8(&b, first);
	if (payload.len < 126) {
		buf_put_u8(&b, (uint8_t)payload.len);
	} else if (payload.len < 65536) {
		buf_put_u8(&b, 126);
		buf_put_u8(&b, (uint8_t)(payload.len >> 8));
		buf_put_u8(&b, (uint8_t)payload.len);
	} else {
		buf_put_u8(&b, 127);
		for (int shift = 56; shift >= 0; shift -= 8)
			buf_put_u8(&b, (uint8_t)((uint64_t)payload.len >> shift));
	}
	buf_append(&b, payload);
	raw_client_send(c, buf_span(&b));
	buf_release(&b);
}

size_t raw_client_unsent(const struct raw_client *c)
{
	return c->out.len;
}

void raw_client_cut(struct raw_client *c)
{
	free_client(c);
}

void raw_client_set_data(struct raw_client *c, void *data)
{
	c->data = data;
}

void *raw_client_data(const struct raw_client *c)
{
	return c->data;
}

/* Certificates. */

void make_certificate(const char *folder, const char *name)
{
	struct certificate c;
	char names[300], path[512];

	snprintf(names, sizeof(names), "DNS:%s", name);
	certificate_init_authority(&c, name, names);
	snprintf(path, sizeof(path), "%s/%s.crt", folder, name);
	certificate_write(&c, path);
	snprintf(path, sizeof(path), "%s/%s.key", folder, name);
	certificate_write_key(&c, path);
	certificate_release(&c);
}
