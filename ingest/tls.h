/*
 * A byte stream to a host, non-blocking: TCP, with TLS on top unless the host is one that the
 * configuration reaches without. tls.c is the only file that includes OpenSSL's TLS headers.
 *
 * One SSL_CTX serves all streams: TLS 1.2 at least, the system's certificates and network.ca_file,
 * buffers released between reads. The host's certificate must be valid for its name; there is no
 * way to switch that off.
 *
 * An operation that cannot go on says -EAGAIN, and stream_events says what to wait for.
 */
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include "common/bytes.h"

struct tls;
struct stream;

/* ca_file: more certificates to trust, "" for none. -EINVAL with a reason in ret_error. */
int tls_new(const char *ca_file, char *ret_error, size_t size, struct tls **ret) MUST_CHECK;
void tls_free(struct tls *t);

/* Begins to connect. tls: NULL for a plain stream; name: for SNI and the certificate. Borrows tls.
 * Negative errno if there is no way to the address; what else goes wrong comes from stream_open. */
int stream_new(struct tls *tls, const char *name, const struct sockaddr *address, socklen_t len,
	       struct stream **ret) MUST_CHECK;
void stream_free(struct stream *s);

int stream_fd(const struct stream *s);
/* EPOLLIN, EPOLLOUT: what the operation that said -EAGAIN last waits for. */
uint32_t stream_events(const struct stream *s);
/* Goes on connecting. 0: it is there. -EAGAIN; -EPROTO: TLS failed; another negative errno: TCP
 * failed. */
int stream_open(struct stream *s) MUST_CHECK;
/* Whether TCP is connected. */
bool stream_is_connected(const struct stream *s);
/* Bytes; 0 at the end; -EAGAIN; another negative errno. */
ssize_t stream_read(struct stream *s, uint8_t *ret, size_t size);
ssize_t stream_write(struct stream *s, const uint8_t *bytes, size_t len);
/* Bytes that were taken from the socket and are not read yet: the socket will not become readable
 * for them. */
bool stream_has_pending(const struct stream *s);
/* What went wrong, for people; "" if OpenSSL has nothing to say. */
const char *stream_error(const struct stream *s);
/* Without OpenSSL's part, which has an account of its own (common/openssl_memory.h). */
size_t stream_memory_bytes(const struct stream *s);
