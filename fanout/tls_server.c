#include "fanout/tls_server.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/log.h"

/* What TLS 1.2 may agree on: forward secrecy, authenticated encryption. 1.3 has nothing else. */
#define CIPHERS "ECDHE+AESGCM:ECDHE+CHACHA20"

#define REASON_SIZE 512

/* What a client may say of TLS's own after the handshake: new keys, now and then. */
#define LATE_MESSAGES_MAX 100

struct tls_server {
	struct loop *loop;
	SSL_CTX *context;
	char *certificate, *key;
	struct stat stamps[2]; /* of the two files as they were read */
	uint64_t check_usec;
	struct loop_timer check;
	struct log_limit log_limit;
	int64_t expires_sec;     /* since 1970 */
	int64_t *connections[2]; /* [1]: of those that the kernel encrypts */
	uint64_t *handshakes_done, *handshakes_failed;
	uint64_t *reloads_done, *reloads_failed;
};

/* One wire's. */
struct link {
	struct tls_server *server;
	SSL *ssl;
	bool counted; /* the handshake is done */
	unsigned late_messages;
	bool is_broken; /* nothing more can be said on it */
};

/* ---- certificate and key ---- */

/* Of what was wrong first. */
static const char *find_reason(void)
{
	unsigned long error = ERR_peek_error();

	if (ERR_GET_LIB(error) == ERR_LIB_SSL &&
	    ERR_GET_REASON(error) == SSL_R_NO_CERTIFICATE_ASSIGNED)
		return "not the kind of key that the certificate is for";
	const char *reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
						     : ERR_reason_error_string(error);

	return reason ? reason : "cannot be read";
}

/* A key that needs a passphrase is refused: there is nobody to ask. */
static int give_no_passphrase(char *ret, int size, int writing, void *arg)
{
	(void)ret;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

/* Each is work for us and makes no progress: whoever goes on with them wants just that. */
static void on_message(int is_sent, int version, int type, const void *message, size_t size,
		       SSL *ssl, void *arg)
{
	struct link *k = arg;

	(void)version;
	(void)message;
	(void)size;
	(void)ssl;
	if (!is_sent && type == SSL3_RT_HANDSHAKE && k->counted &&
	    ++k->late_messages > LATE_MESSAGES_MAX)
		k->is_broken = true;
}

static void set_up(SSL_CTX *context)
{
	int ok = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
		 SSL_CTX_set_cipher_list(context, CIPHERS) && SSL_CTX_set_num_tickets(context, 0);

	assert(ok);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Else one read goes on for as long as new keys come. */
	SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_msg_callback(context, on_message);
	/* An end without TLS's goodbye cuts nothing that matters: consumers have nothing to say. */
	SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
					     SSL_OP_NO_COMPRESSION | SSL_OP_ENABLE_KTLS |
					     SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_default_passwd_cb(context, give_no_passphrase);
}

/* ret_is_key: whether it is the key that is wrong. -EINVAL: what is in the files is; else they
 * cannot be read now. */
static int load(const char *certificate, const char *key, SSL_CTX **ret, char *ret_error,
		size_t size, bool *ret_is_key)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());

	assert(context);
	set_up(context);
	ERR_clear_error();
	*ret_is_key = false;
	if (SSL_CTX_use_certificate_chain_file(context, certificate) == 1) {
		*ret_is_key = true;
		/* Only the second sees that the key is of another kind than the certificate. */
		if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 &&
		    SSL_CTX_check_private_key(context) == 1) {
			*ret = context;
			return 0;
		}
	}
	unsigned long code = ERR_peek_error();
	int error = ERR_SYSTEM_ERROR(code) ? -ERR_GET_REASON(code) : -EINVAL;
	snprintf(ret_error, size, "%s: %s", *ret_is_key ? key : certificate, find_reason());
	ERR_clear_error();
	SSL_CTX_free(context);
	return error;
}

int tls_server_check(const struct config *c, char *ret_error, size_t size)
{
	const char *certificate = config_text(c, "fanout.tls_certificate");
	char reason[REASON_SIZE];
	SSL_CTX *context;
	bool is_key;

	if (!*certificate)
		return 0;
	if (load(certificate, config_text(c, "fanout.tls_key"), &context, reason, sizeof(reason),
		 &is_key) < 0)
		return config_fail_key(c, is_key ? "fanout.tls_key" : "fanout.tls_certificate",
				       ret_error, size, ": %s", reason);
	SSL_CTX_free(context);
	return 0;
}

static int64_t find_expiry(SSL_CTX *context)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)), &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

static void read_stamps(const struct tls_server *t, struct stat ret[static 2])
{
	const char *const paths[2] = {t->certificate, t->key};

	memset(ret, 0, 2 * sizeof(*ret));
	for (size_t i = 0; i < 2; i++)
		if (stat(paths[i], &ret[i]) < 0)
			ret[i] = (struct stat){0};
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       is_same_time(&a->st_mtim, &b->st_mtim) && is_same_time(&a->st_ctim, &b->st_ctim);
}

/* Those that are open keep the context that they began with. */
static int take_files(struct tls_server *t, char *ret_error, size_t size)
{
	SSL_CTX *context;
	bool is_key;

	/* Before they are read: what changes meanwhile is seen next time. */
	read_stamps(t, t->stamps);
	int error = load(t->certificate, t->key, &context, ret_error, size, &is_key);
	if (error < 0) {
		/* What is in the files may be right: again next time. */
		if (error != -EINVAL)
			memset(t->stamps, 0, sizeof(t->stamps));
		return error;
	}
	SSL_CTX_free(t->context);
	t->context = context;
	t->expires_sec = find_expiry(context);
	return 0;
}

static void on_check(void *arg)
{
	struct tls_server *t = arg;
	struct stat now[2];
	char reason[REASON_SIZE];
	unsigned left_out = 0;

	loop_timer_set(t->loop, &t->check, t->check_usec);
	read_stamps(t, now);
	if (is_same(&now[0], &t->stamps[0]) && is_same(&now[1], &t->stamps[1]))
		return;
	if (take_files(t, reason, sizeof(reason)) < 0) {
		++*t->reloads_failed;
		if (log_limit_pass(&t->log_limit, &left_out))
			log_error("new certificate or key not taken: %s (%u such lines left out)",
				  reason, left_out);
	} else {
		++*t->reloads_done;
		log_notice("new certificate: %s", t->certificate);
	}
}

/* ---- the wire ---- */

/* What errno says after an operation that failed; or that the other end says no more: 0. */
static ssize_t fail(struct link *k, int result)
{
	int code = SSL_get_error(k->ssl, result), error = errno;

	ERR_clear_error();
	if (code == SSL_ERROR_ZERO_RETURN)
		return 0;
	if (code == SSL_ERROR_WANT_READ || code == SSL_ERROR_WANT_WRITE) {
		errno = EAGAIN;
		return -1;
	}
	k->is_broken = true;
	errno = code == SSL_ERROR_SYSCALL && error != 0 ? error : EPROTO;
	return -1;
}

/* The other end has said its goodbye, or is gone: a sender has nothing to tell from that. */
static ssize_t fail_to_send(struct link *k, int result)
{
	ssize_t n = fail(k, result);

	if (n == 0)
		errno = EPIPE;
	return -1;
}

static ssize_t tls_send(struct wire *w, struct span bytes)
{
	struct link *k = w->state;
	size_t n = 0;
	int r = SSL_write_ex(k->ssl, bytes.ptr, bytes.len, &n);

	return r == 1 ? (ssize_t)n : fail_to_send(k, r);
}

/* A record that the socket did not take waits in OpenSSL, and is asked for again by its length:
 * ranges are offered again from where they stopped, so it is the same. */
static ssize_t tls_send_file(struct wire *w, int fd, uint64_t offset, size_t size)
{
	uint8_t record[TLS_RECORD_BYTES];
	size_t sent = 0;

	while (sent < size) {
		size_t want = size - sent < sizeof(record) ? size - sent : sizeof(record);
		ssize_t n = pread(fd, record, want, (off_t)(offset + sent));
		if (n > 0)
			n = (size_t)n == want ? tls_send(w, span_of(record, want)) : 0;
		if (n <= 0)
			return sent > 0 ? (ssize_t)sent : n;
		sent += (size_t)n;
	}
	return (ssize_t)sent;
}

static ssize_t kernel_send_file(struct wire *w, int fd, uint64_t offset, size_t size)
{
	struct link *k = w->state;
	ossl_ssize_t n = SSL_sendfile(k->ssl, fd, (off_t)offset, size, 0);

	return n >= 0 ? (ssize_t)n : fail_to_send(k, (int)n);
}

static ssize_t tls_receive(struct wire *w, uint8_t *ret, size_t size)
{
	struct link *k = w->state;
	size_t n = 0;
	int r = SSL_read_ex(k->ssl, ret, size, &n);

	assert(size >= WIRE_RECEIVE_BYTES);
	if (k->late_messages > LATE_MESSAGES_MAX) {
		ERR_clear_error();
		errno = EDQUOT;
		return -1;
	}
	return r == 1 ? (ssize_t)n : fail(k, r);
}

static struct wire_count tls_count(const struct wire *w)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	int queued = 0;

	if (getsockopt(w->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
	    ioctl(w->fd, SIOCOUTQ, &queued) < 0 || queued < 0)
		queued = 0;
	uint64_t taken = info.tcpi_bytes_acked;
	return (struct wire_count){taken + (uint64_t)queued, taken};
}

static bool is_in_kernel(const struct link *k)
{
	return BIO_get_ktls_send(SSL_get_wbio(k->ssl));
}

static void tls_close(struct wire *w, bool in_order)
{
	struct link *k = w->state;

	if (k->counted)
		--*k->server->connections[is_in_kernel(k)];
	if (in_order && !k->is_broken)
		SSL_shutdown(k->ssl);
	ERR_clear_error();
	SSL_free(k->ssl);
	free(k);
	w->state = NULL;
}

static const struct wire_kind by_us = {tls_send, tls_send_file, tls_receive, tls_count, tls_close};
static const struct wire_kind by_kernel = {tls_send, kernel_send_file, tls_receive, tls_count,
					   tls_close};

void tls_server_accept(struct tls_server *t, int fd, struct wire *ret)
{
	struct link *k = xcalloc(1, sizeof(*k));

	k->server = t;
	k->ssl = SSL_new(t->context);
	if (!k->ssl || SSL_set_fd(k->ssl, fd) != 1)
		abort(); /* no memory */
	SSL_set_msg_callback_arg(k->ssl, k);
	SSL_set_accept_state(k->ssl);
	*ret = (struct wire){.kind = &by_us, .fd = fd, .state = k};
}

int tls_handshake(struct wire *w, uint32_t *ret_events)
{
	struct link *k = w->state;
	int r = SSL_do_handshake(k->ssl);

	if (r == 1) {
		w->kind = is_in_kernel(k) ? &by_kernel : &by_us;
		k->counted = true;
		++*k->server->connections[is_in_kernel(k)];
		++*k->server->handshakes_done;
		return 1;
	}
	*ret_events = SSL_want_write(k->ssl) ? EPOLLOUT : EPOLLIN;
	if (fail(k, r) < 0 && errno == EAGAIN)
		return 0;
	++*k->server->handshakes_failed;
	return errno == EPROTO ? -EPROTO : -ECONNRESET;
}

/* ---- life ---- */

static int64_t get_expiry(void *arg)
{
	const struct tls_server *t = arg;
	return t->expires_sec;
}

static void register_metrics(struct tls_server *t, struct metrics *m)
{
	static const char *const labels[2] = {"kernel=\"no\"", "kernel=\"yes\""};

	for (size_t i = 0; i < 2; i++)
		t->connections[i] = metrics_gauge(
			m, "relay_tls_connections",
			"TLS connections, by whether the kernel encrypts what is sent.", labels[i]);
	t->handshakes_done = metrics_counter(m, "relay_tls_handshakes_total", "TLS handshakes.",
					     "result=\"done\"");
	t->handshakes_failed = metrics_counter(m, "relay_tls_handshakes_total", "TLS handshakes.",
					       "result=\"failed\"");
	t->reloads_done = metrics_counter(m, "relay_tls_reloads_total",
					  "Changed certificates or keys that were read again.",
					  "result=\"done\"");
	t->reloads_failed = metrics_counter(m, "relay_tls_reloads_total",
					    "Changed certificates or keys that were read again.",
					    "result=\"failed\"");
	metrics_gauge_call(m, "relay_tls_certificate_expires_seconds",
			   "When the certificate in use expires: seconds since 1970.", NULL,
			   get_expiry, t);
}

int tls_server_new(struct loop *l, struct metrics *m, const struct tls_server_settings *settings,
		   char *ret_error, size_t size, struct tls_server **ret)
{
	struct tls_server *t = xcalloc(1, sizeof(*t));

	t->loop = l;
	t->certificate = xstrdup(settings->certificate);
	t->key = xstrdup(settings->key);
	t->check_usec = settings->check_usec;
	t->log_limit = (struct log_limit){.burst = 4, .period_usec = 600 * USEC_PER_SEC};
	loop_timer_init(&t->check, on_check, t);
	int error = take_files(t, ret_error, size);
	if (error < 0) {
		tls_server_free(t);
		return error;
	}
	register_metrics(t, m);
	loop_timer_set(l, &t->check, t->check_usec);
	*ret = t;
	return 0;
}

void tls_server_free(struct tls_server *t)
{
	if (!t)
		return;
	loop_timer_cancel(t->loop, &t->check);
	SSL_CTX_free(t->context);
	free(t->certificate);
	free(t->key);
	free(t);
}
