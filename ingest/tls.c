#include "ingest/tls.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/system_certificates.h"

/* A peer that is gone without a word is found by our pings; keepalive finds it too while its socket
 * is not being read. */
#define KEEPALIVE_IDLE_SEC     60
#define KEEPALIVE_INTERVAL_SEC 20
#define KEEPALIVE_COUNT        4

struct tls {
	SSL_CTX *context;
};

struct stream {
	int fd;
	SSL *ssl; /* NULL: plain */
	bool connected;
	bool open;
	uint32_t events;
	char error[256];
};

static void read_error(char *ret, size_t size)
{
	const char *reason = ERR_reason_error_string(ERR_peek_last_error());

	snprintf(ret, size, "%s", reason ? reason : "");
	ERR_clear_error();
}

static int set_up(SSL_CTX *context, const char *ca_file, char *ret_error, size_t size)
{
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
	    system_certificates_add(SSL_CTX_get_cert_store(context)) < 0) {
		read_error(ret_error, size);
		return -EINVAL;
	}
	if (*ca_file && SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1) {
		char reason[128];

		read_error(reason, sizeof(reason));
		snprintf(ret_error, size, "network.ca_file %s: %s", ca_file, reason);
		return -EINVAL;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Peers that close TCP without close_notify are common; WebSocket has its own close, so
	 * nothing is cut unseen. */
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	return 0;
}

int tls_new(const char *ca_file, char *ret_error, size_t size, struct tls **ret)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	struct tls *t;
	int error;

	assert(context);
	error = set_up(context, ca_file, ret_error, size);
	if (error) {
		SSL_CTX_free(context);
		return error;
	}
	t = xcalloc(1, sizeof(*t));
	t->context = context;
	*ret = t;
	return 0;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->context);
	free(t);
}

/* The certificate must name the host; an address, which only a configured host may be, must be in
 * it as one. */
static SSL *new_ssl(struct tls *t, const char *name, int fd)
{
	SSL *ssl = SSL_new(t->context);
	struct in6_addr address;
	int r;

	assert(ssl);
	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
		r = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	else
		r = SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
	assert(r == 1);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	r = SSL_set_fd(ssl, fd);
	assert(r == 1);
	SSL_set_connect_state(ssl);
	return ssl;
}

static void set_options(int fd)
{
	const int on = 1, idle = KEEPALIVE_IDLE_SEC, interval = KEEPALIVE_INTERVAL_SEC,
		  count = KEEPALIVE_COUNT;

	/* None of them can fail on a TCP socket. Without TCP_NODELAY a handshake waits for a
	 * delayed ACK. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

int stream_new(struct tls *tls, const char *name, const struct sockaddr *address, socklen_t len,
	       struct stream **ret)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stream *s;
	int error;

	if (fd < 0)
		return -errno;
	set_options(fd);
	if (connect(fd, address, len) != 0 && errno != EINPROGRESS) {
		error = -errno;
		close(fd);
		return error;
	}
	s = xcalloc(1, sizeof(*s));
	s->fd = fd;
	s->events = EPOLLOUT;
	s->ssl = tls ? new_ssl(tls, name, fd) : NULL;
	*ret = s;
	return 0;
}

void stream_free(struct stream *s)
{
	if (!s)
		return;
	if (s->open && s->ssl)
		(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	SSL_free(s->ssl);
	close(s->fd);
	free(s);
}

int stream_fd(const struct stream *s)
{
	return s->fd;
}

uint32_t stream_events(const struct stream *s)
{
	return s->events;
}

bool stream_is_connected(const struct stream *s)
{
	return s->connected;
}

/* Only called when the socket is writable, or an error is there. */
static int finish_connect(struct stream *s)
{
	int error = 0;
	socklen_t len = sizeof(error);
	struct sockaddr_storage peer;
	socklen_t peer_len = sizeof(peer);

	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
		return -errno;
	if (error)
		return -error;
	if (getpeername(s->fd, (struct sockaddr *)&peer, &peer_len) != 0)
		return errno == ENOTCONN ? -EAGAIN : -errno;
	s->connected = true;
	return 0;
}

/* Before every TLS operation: what is in the thread's queue of errors would be taken for a failure
 * of this one, whoever left it there (SSL_get_error(3)). */
static void forget_errors(void)
{
	ERR_clear_error();
	errno = 0;
}

/* What a failed TLS operation means. The certificate's own complaint says more than "certificate
 * verify failed". */
static int translate(struct stream *s, int r)
{
	int saved = errno;
	long verify;

	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		s->events = EPOLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		s->events = EPOLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		s->open = false;
		ERR_clear_error();
		return saved ? -saved : -ECONNRESET;
	default:
		s->open = false;
		read_error(s->error, sizeof(s->error));
		verify = SSL_get_verify_result(s->ssl);
		if (verify != X509_V_OK)
			snprintf(s->error, sizeof(s->error), "certificate: %s",
				 X509_verify_cert_error_string(verify));
		return -EPROTO;
	}
}

int stream_open(struct stream *s)
{
	int r = s->connected ? 0 : finish_connect(s);

	if (r)
		return r;
	if (s->ssl) {
		forget_errors();
		r = SSL_do_handshake(s->ssl);
		if (r != 1) {
			r = translate(s, r);
			return r ? r : -ECONNRESET;
		}
	}
	s->open = true;
	s->events = EPOLLIN;
	return 0;
}

static ssize_t check_plain(struct stream *s, ssize_t n, uint32_t events)
{
	if (n >= 0)
		return n;
	if (errno == EAGAIN || errno == EINTR) {
		s->events = events;
		return -EAGAIN;
	}
	return -errno;
}

static int clamp(size_t size)
{
	return size > (1u << 30) ? 1 << 30 : (int)size;
}

ssize_t stream_read(struct stream *s, uint8_t *ret, size_t size)
{
	int r;

	if (!s->ssl)
		return check_plain(s, recv(s->fd, ret, size, 0), EPOLLIN);
	forget_errors();
	r = SSL_read(s->ssl, ret, clamp(size));
	return r > 0 ? r : translate(s, r);
}

ssize_t stream_write(struct stream *s, const uint8_t *bytes, size_t len)
{
	int r;

	if (!s->ssl)
		return check_plain(s, send(s->fd, bytes, len, MSG_NOSIGNAL), EPOLLOUT);
	forget_errors();
	r = SSL_write(s->ssl, bytes, clamp(len));
	if (r > 0)
		return r;
	r = translate(s, r);
	return r ? r : -EPIPE;
}

bool stream_has_pending(const struct stream *s)
{
	return s->ssl && SSL_has_pending(s->ssl);
}

const char *stream_error(const struct stream *s)
{
	return s->error;
}

size_t stream_memory_bytes(const struct stream *s)
{
	return (size_t)memory_block_bytes(s);
}
