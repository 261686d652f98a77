#include "tests/lib/web.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/log_file.h"

#define QUEUE_MAX ((size_t)1 << 30) /* bytes that a test may send ahead of its reader */

struct web {
	struct loop *loop;
	struct web_handler handler;
	struct MHD_Daemon *daemon;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_task task;
	struct web_socket *sockets;
	struct buf body;
};

struct web_socket {
	struct web *web;
	struct MHD_UpgradeResponseHandle *handle;
	struct loop_io io;
	struct loop_task flush;
	struct buf out;
	size_t sent;
	int64_t cursor;
	struct web_socket *next;
};

static void socket_end(struct web_socket *s)
{
	struct web *w = s->web;

	for (struct web_socket **p = &w->sockets; *p; p = &(*p)->next) {
		if (*p == s) {
			*p = s->next;
			break;
		}
	}
	if (w->handler.gone)
		w->handler.gone(w->handler.arg, s);
	loop_io_remove(w->loop, &s->io);
	loop_task_cancel(w->loop, &s->flush);
	MHD_upgrade_action(s->handle, MHD_UPGRADE_ACTION_CLOSE);
	loop_task_queue(w->loop, &w->task);
	buf_release(&s->out);
	free(s);
}

/* False if the connection is gone. */
static bool socket_write(struct web_socket *s)
{
	while (s->sent < s->out.len) {
		ssize_t n = send(s->io.fd, s->out.ptr + s->sent, s->out.len - s->sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			loop_io_change(s->web->loop, &s->io, EPOLLIN | EPOLLOUT);
			return true;
		}
		if (n < 0)
			return false;
		s->sent += (size_t)n;
	}
	buf_clear(&s->out);
	s->sent = 0;
	loop_io_change(s->web->loop, &s->io, EPOLLIN);
	return true;
}

static void socket_flush(void *arg)
{
	struct web_socket *s = arg;

	if (!socket_write(s))
		socket_end(s);
}

/* What a relay says to a host are control frames; a test has no use for them. */
static void socket_ready(void *arg, uint32_t events)
{
	struct web_socket *s = arg;
	uint8_t block[4096];
	ssize_t n = recv(s->io.fd, block, sizeof(block), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN) || ((events & EPOLLOUT) && !socket_write(s)))
		socket_end(s);
}

void web_socket_send(struct web_socket *s, struct span message)
{
	uint8_t head[LOG_MESSAGE_HEADER_MAX];
	size_t size = log_message_header_encode(message.len, head);

	buf_append(&s->out, span_of(head, size));
	buf_append(&s->out, message);
	loop_task_queue(s->web->loop, &s->flush);
}

void web_socket_cut(struct web_socket *s)
{
	shutdown(s->io.fd, SHUT_RDWR);
}

static void upgraded(void *cls, struct MHD_Connection *c, void *con_cls, const char *extra,
		     size_t extra_size, MHD_socket fd, struct MHD_UpgradeResponseHandle *handle)
{
	struct web *w = cls;
	struct web_socket *s = xcalloc(1, sizeof(*s));
	const char *cursor = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "cursor");

	(void)con_cls;
	(void)extra;
	(void)extra_size;
	s->web = w;
	s->handle = handle;
	s->cursor = -1;
	if (cursor && sscanf(cursor, "%" SCNd64, &s->cursor) != 1)
		s->cursor = -1;
	buf_init(&s->out, QUEUE_MAX);
	loop_io_init(&s->io, socket_ready, s);
	loop_io_add(w->loop, &s->io, fd, EPOLLIN);
	loop_task_init(&s->flush, socket_flush, s);
	s->next = w->sockets;
	w->sockets = s;
	w->handler.connected(w->handler.arg, s, s->cursor);
}

/* RFC 6455, 4.2.2: the answer to Sec-WebSocket-Key. */
static void accept_value(const char *key, char ret[static 32])
{
	uint8_t digest[SHA_DIGEST_LENGTH];
	char text[256];
	int n = snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);

	EVP_Digest(text, (size_t)n, digest, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *)ret, digest, sizeof(digest));
}

static enum MHD_Result answer_upgrade(struct web *w, struct MHD_Connection *c)
{
	const char *key = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Sec-WebSocket-Key");
	struct MHD_Response *r = MHD_create_response_for_upgrade(upgraded, w);
	char value[32];
	enum MHD_Result result;

	accept_value(key ? key : "", value);
	MHD_add_response_header(r, "Upgrade", "websocket");
	MHD_add_response_header(r, "Sec-WebSocket-Accept", value);
	result = MHD_queue_response(c, MHD_HTTP_SWITCHING_PROTOCOLS, r);
	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result answer(void *cls, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **con_cls)
{
	struct web *w = cls;
	struct web_request q = {url,
				MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "cursor")};
	struct MHD_Response *r;
	enum MHD_Result result;
	int status;

	(void)method;
	(void)version;
	(void)upload;
	(void)upload_size;
	(void)con_cls;
	buf_clear(&w->body);
	status = w->handler.get(w->handler.arg, &q, &w->body);
	if (status == WEB_UPGRADE)
		return answer_upgrade(w, c);
	r = MHD_create_response_from_buffer(w->body.len, w->body.ptr, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(r, "Content-Type", "application/json");
	result = MHD_queue_response(c, (unsigned)status, r);
	MHD_destroy_response(r);
	return result;
}

static void turn(void *arg)
{
	struct web *w = arg;
	MHD_UNSIGNED_LONG_LONG msec;

	MHD_run(w->daemon);
	if (MHD_get_timeout(w->daemon, &msec) == MHD_YES)
		loop_timer_set(w->loop, &w->timer, msec * USEC_PER_MSEC);
}

static void ready(void *arg, uint32_t events)
{
	(void)events;
	turn(arg);
}

struct web *web_new(struct loop *l, uint16_t port, const struct web_handler *h)
{
	struct web *w = xcalloc(1, sizeof(*w));
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	w->loop = l;
	w->handler = *h;
	buf_init(&w->body, MIB(16));
	loop_io_init(&w->io, ready, w);
	loop_timer_init(&w->timer, turn, w);
	loop_task_init(&w->task, turn, w);
	w->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_UPGRADE, port, NULL, NULL, answer, w,
				     MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
	if (!w->daemon) {
		printf("Bail out! port %u: %s\n", port, strerror(errno));
		exit(1);
	}
	loop_io_add(l, &w->io, MHD_get_daemon_info(w->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd,
		    EPOLLIN);
	return w;
}

void web_free(struct web *w)
{
	if (!w)
		return;
	while (w->sockets)
		socket_end(w->sockets);
	loop_io_remove(w->loop, &w->io);
	loop_timer_cancel(w->loop, &w->timer);
	loop_task_cancel(w->loop, &w->task);
	MHD_stop_daemon(w->daemon);
	buf_release(&w->body);
	free(w);
}
