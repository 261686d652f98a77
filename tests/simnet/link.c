#include "tests/simnet/link.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <unistd.h>

void link_open(struct link *k, int fd, SSL_CTX *context)
{
	const int on = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	*k = (struct link){.fd = fd};
	if (!context)
		return;
	k->ssl = SSL_new(context);
	if (!k->ssl || SSL_set_fd(k->ssl, fd) != 1)
		abort();
	SSL_set_accept_state(k->ssl);
}

void link_close(struct link *k, bool abrupt)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};

	if (abrupt)
		(void)setsockopt(k->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	SSL_free(k->ssl);
	close(k->fd);
	*k = (struct link){.fd = -1};
}

/* What is in the thread's queue of errors would be taken for a failure of the next operation. */
static void forget_errors(void)
{
	ERR_clear_error();
	errno = 0;
}

static int translate(struct link *k, int r, uint32_t *ret_events)
{
	int saved = errno;

	switch (SSL_get_error(k->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		*ret_events = EPOLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_events = EPOLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return saved ? -saved : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

int link_accept(struct link *k, uint32_t *ret_events)
{
	int r;

	if (!k->ssl)
		return 0;
	forget_errors();
	r = SSL_do_handshake(k->ssl);
	if (r == 1)
		return 0;
	r = translate(k, r, ret_events);
	return r ? r : -ECONNRESET;
}

static ssize_t check_plain(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EINTR ? -EAGAIN : -errno;
}

static int clamp(size_t size)
{
	return size > INT_MAX ? INT_MAX : (int)size;
}

ssize_t link_read(struct link *k, uint8_t *ret, size_t size)
{
	uint32_t events;
	int r;

	if (!k->ssl)
		return check_plain(recv(k->fd, ret, size, 0));
	forget_errors();
	r = SSL_read(k->ssl, ret, clamp(size));
	return r > 0 ? r : translate(k, r, &events);
}

/* One record after another: the library returns after each. */
static ssize_t write_records(struct link *k, struct span bytes)
{
	size_t done = 0;
	uint32_t events;
	int r;

	do {
		forget_errors();
		r = SSL_write(k->ssl, bytes.ptr + done, clamp(bytes.len - done));
		done += r > 0 ? (size_t)r : 0;
	} while (r > 0 && done < bytes.len);
	if (done > 0)
		return (ssize_t)done;
	r = translate(k, r, &events);
	return r ? r : -EPIPE;
}

ssize_t link_write(struct link *k, struct span bytes)
{
	if (k->ssl)
		return write_records(k, bytes);
	return check_plain(send(k->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL));
}

ssize_t link_write_parts(struct link *k, const struct iovec *parts, size_t count)
{
	const struct msghdr message = {
		.msg_iov = (struct iovec *)(uintptr_t)parts,
		.msg_iovlen = count,
	};

	assert(!k->ssl);
	return check_plain(sendmsg(k->fd, &message, MSG_NOSIGNAL));
}

void link_end(struct link *k)
{
	if (k->ssl) {
		forget_errors();
		(void)SSL_shutdown(k->ssl);
	}
	(void)shutdown(k->fd, SHUT_WR);
}
