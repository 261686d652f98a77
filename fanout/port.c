#include "fanout/port.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "fanout/fanout.h"
#include "fanout/request.h"

#define BACKLOG              1024 /* a group of consumers that comes back all at once */
#define IDLE_SECONDS         30   /* without a byte */
#define CONNECTION_OWN_BYTES 1024 /* libmicrohttpd's struct for a connection, beside its pool */
#define CHECKS_PER_REQUEST   12   /* how finely the time of a request is kept */

/* A connection that libmicrohttpd has. */
struct visit {
	struct visit *next, *previous;
	struct port *port;
	int fd;
	uint64_t since_usec; /* of the connection, or of the end of its last request */
};

struct port {
	struct fanout *fanout;
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct visit *visits;
	uint16_t number;
	uint64_t request_usec;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_timer check;
	struct loop_task wake;
};

/* ---- what libmicrohttpd calls ---- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *piece,
				  size_t *piece_len, void **request)
{
	struct port *p = cls;
	struct span body = span_of(piece, *piece_len);
	struct request *q = *request;

	(void)version;
	*piece_len = 0;
	int error = request_take(p->fanout, connection, path, method, body, &q);
	*request = q;
	return error < 0 ? MHD_NO : MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct port *p = cls;
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct visit *v = info ? info->socket_context : NULL;

	(void)code;
	if (v)
		v->since_usec = loop_now_usec(p->loop);
	request_free(*request);
	*request = NULL;
}

static void visit_begin(struct port *p, struct MHD_Connection *connection, void **context)
{
	struct visit *v = xcalloc(1, sizeof(*v));

	v->port = p;
	v->since_usec = loop_now_usec(p->loop);
	v->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	v->next = p->visits;
	if (v->next)
		v->next->previous = v;
	p->visits = v;
	*context = v;
}

static void visit_end(struct port *p, struct visit *v)
{
	if (!v)
		return;
	if (v->previous)
		v->previous->next = v->next;
	else
		p->visits = v->next;
	if (v->next)
		v->next->previous = v->previous;
	free(v);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
			  enum MHD_ConnectionNotificationCode code)
{
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		visit_begin(cls, connection, context);
	} else {
		visit_end(cls, *context);
		*context = NULL;
	}
}

/* ---- what drives it ---- */

static unsigned connection_count(const struct port *p)
{
	return MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

static void run(struct port *p)
{
	MHD_UNSIGNED_LONG_LONG wait_msec = 0;
	unsigned before;

	/* At its limit the daemon does not listen; it does so again only in the run after the one
	 * in which a connection ended. */
	do {
		before = connection_count(p);
		MHD_run(p->daemon);
	} while (connection_count(p) < before);
	if (MHD_get_timeout(p->daemon, &wait_msec) == MHD_YES)
		loop_timer_set(p->loop, &p->timer, (uint64_t)wait_msec * USEC_PER_MSEC);
	else
		loop_timer_cancel(p->loop, &p->timer);
}

static void on_ready(void *arg, uint32_t events)
{
	(void)events;
	run(arg);
}

static void on_timer(void *arg)
{
	run(arg);
}

static void on_wake(void *arg)
{
	run(arg);
}

void port_wake(struct port *p)
{
	loop_task_queue(p->loop, &p->wake);
}

/* Whoever has taken too long finds its connection shut: libmicrohttpd sees its end and cleans up.
 */
static void on_check(void *arg)
{
	struct port *p = arg;
	uint64_t now = loop_now_usec(p->loop);

	for (struct visit *v = p->visits; v; v = v->next) {
		if (now - v->since_usec >= p->request_usec)
			shutdown(v->fd, SHUT_RDWR);
	}
	loop_timer_set(p->loop, &p->check, p->request_usec / CHECKS_PER_REQUEST);
}

/* ---- the socket ---- */

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
	    bind(fd, (const struct sockaddr *)address, len) < 0 || listen(fd, BACKLOG) < 0) {
		int error = -errno;
		close(fd);
		return error;
	}
	return fd;
}

static int open_socket(const char *text, uint16_t number, uint16_t *ret_number)
{
	struct sockaddr_storage address;
	socklen_t len;
	int error = parse_address(text, number, &address, &len);
	if (error < 0)
		return error;
	int fd = listen_at(&address, len);
	if (fd == -EAFNOSUPPORT && strcmp(text, "[::]") == 0)
		return open_socket("0.0.0.0", number, ret_number);
	if (fd < 0)
		return fd;
	len = sizeof(address);
	getsockname(fd, (struct sockaddr *)&address, &len);
	/* The port stands in the same place for both families. */
	*ret_number = ntohs(((const struct sockaddr_in *)&address)->sin_port);
	return fd;
}

/* ---- life ---- */

static int64_t count_bytes(void *arg)
{
	const struct port *p = arg;
	int64_t n = 0;

	for (const struct visit *v = p->visits; v; v = v->next)
		n += (int64_t)(PORT_CONNECTION_BYTES + CONNECTION_OWN_BYTES + sizeof(*v));
	return n;
}

static struct MHD_Daemon *start_daemon(struct port *p, int fd)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME, 0,
				NULL, NULL, on_request, p, MHD_OPTION_LISTEN_SOCKET, fd,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned int)PORT_CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_SECONDS,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PORT_CONNECTION_BYTES,
				MHD_OPTION_NOTIFY_COMPLETED, on_completed, p,
				MHD_OPTION_NOTIFY_CONNECTION, on_connection, p,
				MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

int port_open(struct fanout *f, struct memory *a, const char *address, uint16_t number,
	      uint64_t request_usec, struct port **ret)
{
	uint16_t real_number = 0;
	int fd = open_socket(address, number, &real_number);
	if (fd < 0)
		return fd;
	struct port *p = xcalloc(1, sizeof(*p));
	p->fanout = f;
	p->loop = f->loop;
	p->number = real_number;
	p->request_usec = request_usec;
	loop_io_init(&p->io, on_ready, p);
	loop_timer_init(&p->timer, on_timer, p);
	loop_timer_init(&p->check, on_check, p);
	loop_task_init(&p->wake, on_wake, p);
	/* The daemon takes the socket, whether it starts or not. */
	p->daemon = start_daemon(p, fd);
	if (!p->daemon) {
		free(p);
		return -ENOMEM;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	assert(info);
	loop_io_add(p->loop, &p->io, info->epoll_fd, EPOLLIN);
	loop_timer_set(p->loop, &p->check, p->request_usec / CHECKS_PER_REQUEST);
	memory_register(a, "http", count_bytes, p);
	*ret = p;
	return 0;
}

uint16_t port_number(const struct port *p)
{
	return p->number;
}

void port_stop(struct port *p)
{
	int fd = MHD_quiesce_daemon(p->daemon);

	if (fd >= 0)
		close(fd);
}

void port_close(struct port *p)
{
	if (!p)
		return;
	loop_io_remove(p->loop, &p->io);
	loop_timer_cancel(p->loop, &p->timer);
	loop_timer_cancel(p->loop, &p->check);
	loop_task_cancel(p->loop, &p->wake);
	MHD_stop_daemon(p->daemon);
	free(p);
}
