#include "fanout/port.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/log.h"
#include "common/stage.h"

#include "fanout/fanout.h"
#include "fanout/listener.h"
#include "fanout/quota.h"
#include "fanout/request.h"
#include "fanout/tunnels.h"

#define IDLE_SECONDS         30   /* without a byte */
#define CONNECTION_OWN_BYTES 1024 /* libmicrohttpd's struct for a connection, beside its pool */
#define CHECKS_PER_REQUEST   12   /* how finely the time of a request is kept */
#define FINISH_CHECK_USEC    (20 * USEC_PER_MSEC)
/* Between a new connection and its request. */
#define FRESH_USEC           (500 * USEC_PER_MSEC)

/* A connection that libmicrohttpd has. */
struct visit {
	struct visit *next, *previous;
	struct port *port;
	int fd;
	uint64_t since_usec;   /* of the connection, or of the end of its last request */
	bool asks;             /* a request of its has begun, and not ended */
	struct tunnel *tunnel; /* that it comes by, while that is there */
	bool is_counted;       /* among those of its client */
	struct address address;
};

struct port {
	struct fanout *fanout;
	struct loop *loop;
	struct MHD_Daemon *daemon;
	struct listener *listener; /* NULL once it takes no more connections */
	struct tunnels *tunnels;   /* NULL: plain */
	struct tunnel *entering;   /* that the next visit comes by */
	struct visit *visits;
	size_t visit_count;
	bool held;
	uint16_t number;
	uint64_t request_usec;
	struct networks *trusted;
	size_t max_per_client;
	struct quota quota; /* of visits, by client */
	uint64_t *refused_total;
	struct loop_io io;
	struct loop_timer timer;
	struct loop_timer check;
	struct loop_task wake;
	struct loop_timer finish;
	uint64_t finish_until_usec;
	void (*finished)(void *arg);
	void *finished_arg;
};

/* ---- what libmicrohttpd calls ---- */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *path,
				  const char *method, const char *version, const char *piece,
				  size_t *piece_len, void **request)
{
	struct port *p = cls;
	struct span body = span_of(piece, *piece_len);
	struct request *q = *request;

	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	(void)version;
	*piece_len = 0;
	((struct visit *)info->socket_context)->asks = true;
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
	if (v) {
		v->since_usec = loop_now_usec(p->loop);
		v->asks = false;
	}
	request_free(*request);
	*request = NULL;
}

/* Whether its connections have a limit. */
static bool find_client(const struct port *p, const struct sockaddr *sa, struct address *ret)
{
	return address_of(sa, ret) && !networks_has(p->trusted, ret);
}

static void pause_if_needed(struct port *p)
{
	size_t tunnel_count = p->tunnels ? tunnels_count(p->tunnels) : 0;

	if (p->listener)
		listener_pause(p->listener, p->held || p->visit_count >= PORT_CONNECTIONS_MAX ||
						    tunnel_count >= PORT_CONNECTIONS_MAX);
}

static void visit_begin(struct port *p, struct MHD_Connection *connection, void **context)
{
	struct visit *v = xcalloc(1, sizeof(*v));

	v->port = p;
	v->since_usec = loop_now_usec(p->loop);
	v->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
	v->tunnel = p->entering;
	/* What comes by a tunnel is counted with that. */
	v->is_counted = !v->tunnel &&
			find_client(p,
				    MHD_get_connection_info(connection,
							    MHD_CONNECTION_INFO_CLIENT_ADDRESS)
					    ->client_addr,
				    &v->address);
	if (v->is_counted)
		quota_add(&p->quota, &v->address);
	v->next = p->visits;
	if (v->next)
		v->next->previous = v;
	p->visits = v;
	p->visit_count++;
	if (v->tunnel)
		tunnel_watch(v->tunnel, &v->tunnel);
	pause_if_needed(p);
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
	p->visit_count--;
	if (v->is_counted)
		quota_remove(&p->quota, &v->address);
	if (v->tunnel)
		tunnel_watch(v->tunnel, NULL);
	pause_if_needed(p);
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

static void run(struct port *p)
{
	MHD_UNSIGNED_LONG_LONG wait_msec = 0;

	MHD_run(p->daemon);
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

/* ---- connections ---- */

/* What it has sent is read, for a connection that is closed with something unread is reset, and the
 * answer with it. */
static void turn_away(struct port *p, int fd)
{
	static const char answer[] = "HTTP/1.1 429 Too Many Requests\r\n"
				     "Server: standpipe/" STAGE_VERSION " (atproto-relay)\r\n"
				     "Access-Control-Allow-Origin: *\r\n"
				     "Retry-After: 30\r\n"
				     "Connection: close\r\n"
				     "Content-Type: application/json\r\n"
				     "Content-Length: 90\r\n\r\n"
				     "{\"error\":\"RateLimitExceeded\",\"message\":\"This address "
				     "has too many connections "
				     "at a time.\"}";
	char ignored[4096];

	++*p->refused_total;
	if (p->tunnels) { /* and would not understand it */
		close(fd);
		return;
	}
	(void)!send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
	(void)!recv(fd, ignored, sizeof(ignored), 0);
	close(fd);
}

static void take(struct port *p, int fd, const struct sockaddr *address, socklen_t len)
{
	/* It closes the descriptor if it cannot take it. */
	(void)MHD_add_connection(p->daemon, fd, address, len);
	port_wake(p);
}

static void on_accepted(void *arg, int fd, const struct sockaddr *address, socklen_t len)
{
	struct port *p = arg;
	struct address client;

	bool is_client = find_client(p, address, &client);
	if (p->max_per_client > 0 && is_client &&
	    quota_count(&p->quota, &client) >= p->max_per_client) {
		turn_away(p, fd);
		return;
	}
	if (!p->tunnels) {
		take(p, fd, address, len);
		return;
	}
	if (is_client)
		quota_add(&p->quota, &client);
	tunnels_add(p->tunnels, fd, address, len);
	pause_if_needed(p);
}

static void on_tunnel_opened(void *arg, struct tunnel *t, int fd, const struct sockaddr *address,
			     socklen_t len)
{
	struct port *p = arg;

	p->entering = t;
	take(p, fd, address, len);
	p->entering = NULL;
}

static void on_tunnel_left(void *arg, struct wire *wire, const struct newcomer *who,
			   struct span early)
{
	struct port *p = arg;

	consumers_add(&p->fanout->consumers, wire, &who->visitor, &who->cursor, early);
}

static void on_tunnel_ended(void *arg, const struct sockaddr *address, const struct newcomer *lost)
{
	struct port *p = arg;
	struct address client;

	if (find_client(p, address, &client))
		quota_remove(&p->quota, &client);
	if (lost)
		consumers_give_back(&p->fanout->consumers, &lost->visitor);
	pause_if_needed(p);
}

/* A consumer without TLS gets a descriptor of its own, so that libmicrohttpd frees all that it
 * holds for the connection. It has taken the socket out of its epoll set before this. */
void port_hand_over(struct port *p, struct MHD_Connection *connection, int fd,
		    const struct newcomer *who, struct span extra)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct visit *v = info->socket_context;
	struct wire wire;

	if (v->tunnel) {
		tunnel_leave(v->tunnel, fd, who, extra);
		return;
	}
	/* With TLS, the client is gone. */
	int own_fd = p->tunnels ? -EPIPE : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own_fd < 0) {
		if (!p->tunnels)
			log_error("consumer refused: %s", strerror(errno));
		consumers_give_back(&p->fanout->consumers, &who->visitor);
		return;
	}
	wire_init(&wire, own_fd);
	consumers_add(&p->fanout->consumers, &wire, &who->visitor, &who->cursor, extra);
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

/* What is being asked is answered yet, and so is what a fresh connection is about to ask. */
static bool is_in_hand(const struct port *p, const struct visit *v)
{
	return v->asks || loop_now_usec(p->loop) - v->since_usec < FRESH_USEC;
}

static void on_finish(void *arg)
{
	struct port *p = arg;
	/* Who became a consumer only now is told as well. */
	bool in_hand = p->fanout->consumers.count > 0 ||
		       (p->tunnels && tunnels_are_busy(p->tunnels));

	for (const struct visit *v = p->visits; v; v = v->next)
		in_hand = in_hand || is_in_hand(p, v);
	if (in_hand && loop_now_usec(p->loop) < p->finish_until_usec)
		loop_timer_set(p->loop, &p->finish, FINISH_CHECK_USEC);
	else
		p->finished(p->finished_arg);
}

/* ---- life ---- */

static int64_t count_bytes(void *arg)
{
	const struct port *p = arg;
	int64_t n = 0;

	for (const struct visit *v = p->visits; v; v = v->next)
		n += (int64_t)(PORT_CONNECTION_BYTES + CONNECTION_OWN_BYTES + sizeof(*v));
	return n + (int64_t)(quota_bytes(&p->quota) + p->fanout->answer_bytes);
}

/* It closes connections of its own accord only then: the limit is kept by the listener. */
#define DAEMON_LIMIT (2 * PORT_CONNECTIONS_MAX)

static struct MHD_Daemon *start_daemon(struct port *p)
{
	return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_UPGRADE |
					MHD_ALLOW_SUSPEND_RESUME,
				0, NULL, NULL, on_request, p, MHD_OPTION_CONNECTION_LIMIT,
				(unsigned int)DAEMON_LIMIT, MHD_OPTION_CONNECTION_TIMEOUT,
				(unsigned int)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				(size_t)PORT_CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
				on_completed, p, MHD_OPTION_NOTIFY_CONNECTION, on_connection, p,
				MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

int port_open(struct fanout *f, struct memory *a, const struct port_settings *settings,
	      struct port **ret)
{
	struct port *p = xcalloc(1, sizeof(*p));
	const struct listener_handler handler = {.accepted = on_accepted, .arg = p};
	const struct tunnels_handler tunnels_handler = {on_tunnel_opened, on_tunnel_left,
							on_tunnel_ended, p};
	int error;

	p->fanout = f;
	p->loop = f->loop;
	p->request_usec = settings->request_usec;
	p->max_per_client = settings->max_per_client;
	quota_init(&p->quota);
	p->refused_total = metrics_counter(f->metrics, "relay_connections_refused_total",
					   "Connections of clients that had too many.", NULL);
	loop_io_init(&p->io, on_ready, p);
	loop_timer_init(&p->timer, on_timer, p);
	loop_timer_init(&p->check, on_check, p);
	loop_timer_init(&p->finish, on_finish, p);
	loop_task_init(&p->wake, on_wake, p);
	p->daemon = start_daemon(p);
	if (!p->daemon || networks_new(settings->trusted, &p->trusted) < 0) {
		port_close(p);
		return -EINVAL;
	}
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	assert(info);
	loop_io_add(p->loop, &p->io, info->epoll_fd, EPOLLIN);
	if (f->tls)
		p->tunnels = tunnels_new(p->loop, a, f->tls, settings->tls.handshake_usec,
					 &tunnels_handler);
	error = listener_open(p->loop, settings->address, settings->number, settings->passed_fd,
			      &handler, &p->listener);
	if (error < 0) {
		port_close(p);
		return error;
	}
	p->number = listener_port(p->listener);
	port_hold(p, true);
	loop_timer_set(p->loop, &p->check, p->request_usec / CHECKS_PER_REQUEST);
	memory_register(a, "http", count_bytes, p);
	*ret = p;
	return 0;
}

uint16_t port_number(const struct port *p)
{
	return p->number;
}

const struct networks *port_trusted(const struct port *p)
{
	return p->trusted;
}

bool port_is_open(const struct port *p)
{
	return p->listener != NULL;
}

void port_hold(struct port *p, bool hold)
{
	p->held = hold;
	pause_if_needed(p);
}

void port_stop(struct port *p)
{
	struct listener *l = p->listener;

	p->listener = NULL;
	listener_close(l);
}

void port_finish(struct port *p, void (*finished)(void *arg), void *arg)
{
	if (p->finished)
		return;
	p->finished = finished;
	p->finished_arg = arg;
	p->finish_until_usec = loop_now_usec(p->loop) + PORT_FINISH_USEC;
	on_finish(p);
}

void port_close(struct port *p)
{
	if (!p)
		return;
	port_stop(p);
	loop_io_remove(p->loop, &p->io);
	loop_timer_cancel(p->loop, &p->timer);
	loop_timer_cancel(p->loop, &p->check);
	loop_timer_cancel(p->loop, &p->finish);
	loop_task_cancel(p->loop, &p->wake);
	if (p->daemon)
		MHD_stop_daemon(p->daemon);
	tunnels_free(p->tunnels);
	networks_free(p->trusted);
	quota_release(&p->quota);
	free(p);
}
