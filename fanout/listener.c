#include "fanout/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"

#define ACCEPT_MAX   64                    /* in a turn; consumers get theirs in between */
#define TROUBLE_USEC (100 * USEC_PER_MSEC) /* no descriptor or no memory left: others may end */

struct listener {
	struct loop *loop;
	struct listener_handler handler;
	struct loop_io io;
	int fd;
	bool is_shared;
	bool paused;
	struct loop_timer trouble;
	struct log_limit log_limit;
};

/* ---- a socket of our own ---- */

static int parse_address(const char *text, uint16_t number, struct sockaddr_storage *ret,
			 socklen_t *ret_len)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	char inner[INET6_ADDRSTRLEN];
	size_t len = strlen(text);

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(number);
		*ret_len = sizeof(*in);
		return 0;
	}
	if (len < 2 || text[0] != '[' || text[len - 1] != ']' || len - 2 >= sizeof(inner))
		return -EINVAL;
	memcpy(inner, text + 1, len - 2);
	inner[len - 2] = '\0';
	if (inet_pton(AF_INET6, inner, &in6->sin6_addr) != 1)
		return -EINVAL;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(number);
	*ret_len = sizeof(*in6);
	return 0;
}

static int listen_at(const struct sockaddr_storage *address, socklen_t len)
{
	int on = 1, off = 0;
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)address, len) < 0 ||
	    listen(fd, LISTENER_BACKLOG) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static int open_socket(const char *text, uint16_t number)
{
	struct sockaddr_storage address;
	socklen_t len;
	int error = parse_address(text, number, &address, &len);
	if (error < 0)
		return error;
	int fd = listen_at(&address, len);
	if (fd == -EAFNOSUPPORT && strcmp(text, "[::]") == 0)
		return open_socket("0.0.0.0", number);
	return fd;
}

/* ---- taking connections ---- */

static void watch(struct listener *l)
{
	bool wanted = !l->paused && !loop_timer_is_set(&l->trouble);

	if (!wanted)
		loop_io_remove(l->loop, &l->io);
	else if (l->io.fd < 0)
		loop_io_add(l->loop, &l->io, l->fd,
			    l->is_shared ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

static void note_trouble(struct listener *l, int error)
{
	unsigned left_out = 0;

	if (log_limit_pass(&l->log_limit, &left_out))
		log_error("no connection can be taken: %s (%u such lines left out)",
			  strerror(error), left_out);
	loop_timer_set(l->loop, &l->trouble, TROUBLE_USEC);
	watch(l);
}

/* What else there is concerns that one connection, which has gone again [accept(2)]. */
static bool is_ours(int error)
{
	return error == EAGAIN || error == EMFILE || error == ENFILE || error == ENOBUFS ||
	       error == ENOMEM;
}

/* false: there is none, or none can be taken. */
static bool accept_one(struct listener *l, int *ret_error)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	int fd = accept4(l->fd, (struct sockaddr *)&address, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	*ret_error = fd < 0 && is_ours(errno) ? errno : 0;
	if (fd >= 0)
		l->handler.accepted(l->handler.arg, fd, (struct sockaddr *)&address, len);
	return *ret_error == 0;
}

static void on_ready(void *arg, uint32_t events)
{
	struct listener *l = arg;
	unsigned most = l->is_shared ? 1 : ACCEPT_MAX;
	int error = 0;

	(void)events;
	for (unsigned i = 0; i < most && !l->paused; i++)
		if (!accept_one(l, &error))
			break;
	if (error != 0 && error != EAGAIN) {
		note_trouble(l, error);
	} else if (l->is_shared) {
		/* The kernel wakes whoever stands first in line. */
		loop_io_remove(l->loop, &l->io);
		watch(l);
	}
}

static void on_trouble_over(void *arg)
{
	watch(arg);
}

/* ---- life ---- */

int listener_open(struct loop *loop, const char *address, uint16_t number, int passed_fd,
		  const struct listener_handler *h, struct listener **ret)
{
	int fd = passed_fd >= 0 ? passed_fd : open_socket(address, number);
	struct listener *l;

	if (fd < 0)
		return fd;
	l = xcalloc(1, sizeof(*l));
	l->loop = loop;
	l->handler = *h;
	l->fd = fd;
	l->is_shared = passed_fd >= 0;
	/* Another replica may be faster. */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	l->log_limit = (struct log_limit){.burst = 1, .period_usec = 10 * USEC_PER_SEC};
	loop_io_init(&l->io, on_ready, l);
	loop_timer_init(&l->trouble, on_trouble_over, l);
	watch(l);
	*ret = l;
	return 0;
}

uint16_t listener_port(const struct listener *l)
{
	struct sockaddr_storage address = {0};
	socklen_t len = sizeof(address);

	getsockname(l->fd, (struct sockaddr *)&address, &len);
	/* The port stands in the same place for both families. */
	return ntohs(((const struct sockaddr_in *)&address)->sin_port);
}

void listener_pause(struct listener *l, bool pause)
{
	l->paused = pause;
	watch(l);
}

void listener_close(struct listener *l)
{
	int error = 0;

	if (!l)
		return;
	loop_timer_cancel(l->loop, &l->trouble);
	loop_io_remove(l->loop, &l->io);
	for (unsigned i = 0; i < LISTENER_BACKLOG && !l->is_shared; i++)
		if (!accept_one(l, &error))
			break;
	close(l->fd);
	free(l);
}
