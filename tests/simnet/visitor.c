#include "tests/simnet/visitor.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES_MAX MIB(256)

SSL_CTX *visitor_context(const char *ca_file)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	int r = SSL_CTX_load_verify_locations(context, ca_file, NULL);

	assert(r == 1);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context,
			 SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	return context;
}

/* What an operation of TLS came to: -EAGAIN, 0 at the end, or -EPROTO. */
static ssize_t translate(struct visitor *v, int r)
{
	int error = SSL_get_error(v->ssl, r);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return -EAGAIN;
	v->verify = SSL_get_verify_result(v->ssl);
	ERR_clear_error();
	return error == SSL_ERROR_ZERO_RETURN ? 0 : -EPROTO;
}

static void check_end(struct visitor *v, ssize_t n)
{
	if (n == -EAGAIN)
		return;
	v->ended |= n == 0;
	v->reset |= n < 0;
}

static ssize_t read_block(struct visitor *v, uint8_t *block, size_t size)
{
	ssize_t n;

	if (v->ssl) {
		int r = SSL_read(v->ssl, block, (int)size);

		return r > 0 ? r : translate(v, r);
	}
	n = recv(v->fd, block, size, 0);
	return n < 0 ? -errno : n;
}

static ssize_t write_block(struct visitor *v)
{
	ssize_t n;

	if (v->ssl) {
		int r = SSL_write(v->ssl, v->out.ptr, (int)v->out.len);

		return r > 0 ? r : translate(v, r);
	}
	n = send(v->fd, v->out.ptr, v->out.len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

static void greet(struct visitor *v)
{
	int r;

	if (!v->ssl) {
		v->greeted = true;
		return;
	}
	r = SSL_do_handshake(v->ssl);
	if (r == 1)
		v->greeted = true;
	else
		check_end(v, translate(v, r));
}

static void receive(struct visitor *v)
{
	uint8_t block[KIB(16)];
	ssize_t n;

	while ((n = read_block(v, block, sizeof(block))) > 0) {
		buf_append(&v->in, span_of(block, (size_t)n));
		v->reads++;
	}
	check_end(v, n);
}

static void send_out(struct visitor *v)
{
	ssize_t n = 1;

	while (v->out.len && n > 0) {
		n = write_block(v);
		if (n > 0)
			buf_consume(&v->out, (size_t)n);
	}
	if (n < 0)
		check_end(v, n);
}

static void on_ready(void *arg, uint32_t events)
{
	struct visitor *v = arg;

	(void)events;
	if (!v->greeted)
		greet(v);
	if (v->greeted && !visitor_is_over(v))
		send_out(v);
	if (v->greeted && !visitor_is_over(v))
		receive(v);
	if (visitor_is_over(v))
		loop_io_remove(v->loop, &v->io);
	else
		loop_io_change(v->loop, &v->io,
			       v->greeted && v->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void visitor_open(struct visitor *v, struct loop *l, const struct world *w, struct in_addr address,
		  SSL_CTX *context, const char *name)
{
	const struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_port = htons(world_settings(w)->port),
		.sin_addr = address,
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = connect(fd, (const struct sockaddr *)&to, sizeof(to));

	assert(fd >= 0 && (r == 0 || errno == EINPROGRESS));
	*v = (struct visitor){.loop = l, .fd = fd};
	buf_init(&v->in, BYTES_MAX);
	buf_init(&v->out, BYTES_MAX);
	loop_io_init(&v->io, on_ready, v);
	loop_io_add(l, &v->io, fd, EPOLLIN | EPOLLOUT);
	if (!context)
		return;
	v->ssl = SSL_new(context);
	r = SSL_set_fd(v->ssl, fd) && SSL_set1_host(v->ssl, name) &&
	    SSL_set_tlsext_host_name(v->ssl, name);
	assert(r == 1);
	SSL_set_connect_state(v->ssl);
}

void visitor_close(struct visitor *v)
{
	loop_io_remove(v->loop, &v->io);
	SSL_free(v->ssl);
	close(v->fd);
	buf_release(&v->in);
	buf_release(&v->out);
}

bool visitor_is_over(const struct visitor *v)
{
	return v->ended || v->reset;
}

void visitor_say(struct visitor *v, struct span bytes)
{
	buf_append(&v->out, bytes);
	if (!visitor_is_over(v))
		loop_io_change(v->loop, &v->io, EPOLLIN | EPOLLOUT);
}

void visitor_ask(struct visitor *v, const char *host, const char *path, const char *headers)
{
	struct buf b;

	buf_init(&b, KIB(16));
	buf_printf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, host, headers);
	visitor_say(v, buf_span(&b));
	buf_release(&b);
}

void visitor_subscribe(struct visitor *v, const char *host, int64_t cursor)
{
	char path[128];
	int n = snprintf(path, sizeof(path), "/xrpc/com.atproto.sync.subscribeRepos");

	if (cursor >= 0)
		snprintf(path + n, sizeof(path) - (size_t)n, "?cursor=%" PRId64, cursor);
	visitor_ask(v, host, path,
		    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
		    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		    "Sec-WebSocket-Version: 13\r\n");
}

void visitor_say_frame(struct visitor *v, uint8_t first_byte, struct span payload)
{
	static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
	struct buf b;

	buf_init(&b, BYTES_MAX);
	buf_put_u8(&b, first_byte);
	if (payload.len < 126) {
		buf_put_u8(&b, (uint8_t)(0x80 | payload.len));
	} else {
		assert(payload.len <= UINT16_MAX);
		buf_put_u8(&b, 0x80 | 126);
		buf_put_u8(&b, (uint8_t)(payload.len >> 8));
		buf_put_u8(&b, (uint8_t)payload.len);
	}
	buf_append(&b, span_of(mask, sizeof(mask)));
	for (size_t i = 0; i < payload.len; i++)
		buf_put_u8(&b, payload.ptr[i] ^ mask[i % 4]);
	visitor_say(v, buf_span(&b));
	buf_release(&b);
}

/* What was taken stays where it is until the next call. */
static void drop_taken(struct visitor *v)
{
	buf_consume(&v->in, v->taken);
	v->taken = 0;
}

bool visitor_take_answer(struct visitor *v, int *ret_status, struct span *ret_head,
			 struct span *ret_body)
{
	static const char length[] = "Content-Length: ";
	const uint8_t *end, *at;
	size_t head, body = 0;

	drop_taken(v);
	end = v->in.len > 12 ? memmem(v->in.ptr, v->in.len, "\r\n\r\n", 4) : NULL;
	if (!end)
		return false;
	head = (size_t)(end - v->in.ptr) + 4;
	at = memmem(v->in.ptr, head, length, sizeof(length) - 1);
	for (at = at ? at + sizeof(length) - 1 : end; *at >= '0' && *at <= '9'; at++)
		body = 10 * body + (size_t)(*at - '0');
	if (v->in.len - head < body)
		return false;
	*ret_status = 100 * (v->in.ptr[9] - '0') + 10 * (v->in.ptr[10] - '0') + v->in.ptr[11] - '0';
	*ret_head = span_of(v->in.ptr, head);
	*ret_body = span_of(v->in.ptr + head, body);
	v->taken = head + body;
	return true;
}

bool visitor_take_frame(struct visitor *v, uint8_t *ret_first_byte, struct span *ret_payload)
{
	size_t head = 2;
	uint64_t len;

	drop_taken(v);
	if (v->in.len < head)
		return false;
	len = v->in.ptr[1];
	if (len == 126 || len == 127) {
		head = len == 126 ? 4 : 10;
		if (v->in.len < head)
			return false;
		len = 0;
		for (size_t i = 2; i < head; i++)
			len = len << 8 | v->in.ptr[i];
	}
	if (v->in.len - head < len)
		return false;
	*ret_first_byte = v->in.ptr[0];
	*ret_payload = span_of(v->in.ptr + head, (size_t)len);
	v->taken = head + (size_t)len;
	return true;
}
