#include "tests/simnet/network.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/frame.h"
#include "tests/simnet/authority.h"
#include "tests/simnet/directory.h"
#include "tests/simnet/methods.h"
#include "tests/simnet/peer.h"

#define LISTEN_BACKLOG 16384 /* the kernel takes its own maximum: all of a world may dial at once */
#define ACCEPTS        32    /* in one turn: each may mean a handshake of TLS */
#define ADDRESSES      65536 /* 127.77.x.y */
#define SETTINGS       8     /* the NULL included */
#define JSON_MAX       MIB(1)     /* a page of hosts has 120 KB */
#define CLOSE_POLICY   "\x03\xf0" /* 1008 [RFC 6455, section 7.4.1] */
#define SUBSCRIBE      "/xrpc/com.atproto.sync.subscribeRepos"

struct network {
	struct loop *loop;
	struct world *world;
	struct authority *authority; /* NULL: plain */
	struct loop_io io;
	struct loop_task flush;
	struct peer_room room;
	struct pds *hosts;
	uint32_t host_count;
	TAILQ_HEAD(, pds) queue;        /* of hosts whose subscribers have to be flushed */
	struct peer_list strangers;     /* connections to no host's address: the directory's */
	uint32_t by_address[ADDRESSES]; /* the host's number and 1; 0: none */
	struct methods methods;
	struct directory directory;
	uint64_t connections, resets;
	uint64_t queued_bytes; /* put into backlogs and not flushed yet, over all subscribers */
	struct buf json;
	char *settings[SETTINGS];
};

/* Requests. */

static void answer_json(struct peer *p, struct network *n, int status)
{
	peer_answer(p, status, "", buf_span(&n->json), 0);
}

static void answer_error(struct peer *p, struct network *n, int status, const char *error)
{
	answer_put_error(&n->json, error, "");
	answer_json(p, n, status);
}

static uint32_t number_of(const struct network *n, const struct pds *h)
{
	return (uint32_t)(h - n->hosts);
}

static void redirect(struct network *n, struct peer *p)
{
	uint32_t next = (number_of(n, peer_pds(p)) + 1) % n->host_count;
	char name[LIMIT_HOST + 1], header[LIMIT_HOST + 128];

	snprintf(header, sizeof(header), "Location: %s://%s" SUBSCRIBE "\r\n",
		 n->authority ? "https" : "http", world_host_name(n->world, next, name));
	peer_answer(p, 302, header, SPAN_EMPTY, 0);
}

static void refuse_cursor(struct peer *p, const struct request *q)
{
	struct buf frame;

	buf_init(&frame, KIB(1));
	frame_put_error(&frame, "FutureCursor", "the cursor is in the future");
	peer_subscribe(p, q, peer_pds(p)->backlog.count);
	peer_put_frame(p, 0x82, buf_span(&frame), false);
	peer_put_frame(p, 0x88, SPAN_LITERAL(CLOSE_POLICY "FutureCursor"), false);
	peer_end(p);
	buf_release(&frame);
}

/* -1: none. */
static int read_cursor(const struct request *q, int64_t *ret)
{
	char text[24];
	int error = request_param(q, "cursor", text, sizeof(text));
	int64_t v = 0;

	*ret = -1;
	if (error)
		return error == -ENOENT ? 0 : error;
	for (const char *p = text; *p; p++)
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, *p - '0', &v))
			return -EBADMSG;
	*ret = v;
	return *text ? 0 : -EBADMSG;
}

static void begin_stream(struct peer *p, const struct request *q, int64_t cursor)
{
	struct pds *h = peer_pds(p);

	h->last_cursor = cursor;
	if (h->manner == CLOSE_AFTER_HANDSHAKE) {
		peer_subscribe(p, q, h->backlog.count);
		peer_end(p);
	} else if (cursor >= 0 &&
		   (h->manner == FUTURE_CURSOR || (uint64_t)cursor > backlog_seq(&h->backlog))) {
		refuse_cursor(p, q);
	} else if (h->manner == IGNORE_CURSOR) {
		peer_subscribe(p, q, 0);
	} else {
		peer_subscribe(p, q,
			       cursor < 0 ? h->backlog.count
					  : backlog_find(&h->backlog, (uint64_t)cursor));
	}
}

static void answer_another_key(struct peer *p)
{
	const struct request other = {.key = SPAN_LITERAL("YSBzdHJhbmdlcidzIGtleQ==")};
	char header[128], key[REQUEST_ACCEPT_SIZE + 1];

	request_accept_key(&other, key);
	snprintf(header, sizeof(header),
		 "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n", key);
	peer_answer(p, 101, header, SPAN_EMPTY, 0);
}

static void subscribe(struct network *n, struct peer *p, const struct request *q)
{
	int64_t cursor;

	if (peer_pds(p)->manner == REDIRECT)
		redirect(n, p);
	else if (peer_pds(p)->manner == NO_STREAM)
		answer_error(p, n, 404, "NotFound");
	else if (peer_pds(p)->manner == WRONG_ACCEPT)
		answer_another_key(p);
	else if (!q->has_upgrade || !q->has_version)
		peer_answer(p, 426, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
			    SPAN_EMPTY, 0);
	else if (!request_is_handshake(q) || read_cursor(q, &cursor) != 0)
		answer_error(p, n, 400, "InvalidRequest");
	else
		begin_stream(p, q, cursor);
}

static bool is_directory(const struct network *n, const struct request *q)
{
	char name[LIMIT_HOST + 1];

	return span_is(q->host, world_directory_name(n->world, name));
}

static void ask_directory(struct network *n, struct peer *p, const struct request *q)
{
	struct directory_answer a;

	directory_ask(&n->directory, q, loop_now_usec(n->loop), &n->json, &a);
	peer_answer(p, a.status, a.headers, buf_span(&n->json), a.after_usec);
}

static void on_request(void *arg, struct peer *p, const struct request *q)
{
	struct network *n = arg;
	struct pds *h = peer_pds(p);
	int status;

	buf_trim(&n->json, KIB(256));
	if (!span_is(q->method, "GET")) {
		answer_error(p, n, 400, "InvalidRequest");
	} else if (h && h->manner == REFUSE) {
		answer_error(p, n, 503, "ServiceUnavailable");
	} else if ((status = directory_ask_web(&n->directory, q, &n->json)) >= 0) {
		answer_json(p, n, status);
	} else if (is_directory(n, q)) {
		ask_directory(n, p, q);
	} else if (!h) {
		answer_error(p, n, 404, "NotFound");
	} else if (span_is(q->path, SUBSCRIBE)) {
		subscribe(n, p, q);
	} else {
		status = methods_answer(&n->methods, number_of(n, h), q, &n->json);
		answer_json(p, n, status);
	}
}

/* Connections. */

static void reset(int fd)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	close(fd);
}

static SSL_CTX *context_for(const struct network *n, const struct pds *h)
{
	enum misbehaviour m = h ? h->manner : BEHAVE;

	if (!n->authority)
		return NULL;
	return authority_context(n->authority, m == BAD_TLS         ? CREDENTIAL_OTHER_NAME
					       : m == UNTRUSTED_TLS ? CREDENTIAL_UNTRUSTED
								    : CREDENTIAL_GOOD);
}

/* Which host is meant; NULL: none. */
static int find_pds(const struct network *n, int fd, struct pds **ret)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	uint32_t number;

	if (getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
	    ntohl(address.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return -EINVAL;
	number = n->by_address[ntohl(address.sin_addr.s_addr) % ADDRESSES];
	*ret = number ? &n->hosts[number - 1] : NULL;
	return 0;
}

static void take_connection(struct network *n, int fd)
{
	struct pds *h = NULL;

	n->connections++;
	if (find_pds(n, fd, &h) != 0) {
		reset(fd);
		return;
	}
	if (h)
		h->connections++;
	if (h ? h->manner == VANISH : n->directory.manners.down) {
		n->resets += h == NULL;
		reset(fd);
	} else if (h && h->manner == ACCEPT_AND_CLOSE)
		close(fd);
	else
		peer_new(&n->room, h ? &h->peers : &n->strangers, h, fd, context_for(n, h),
			 h && h->manner == SILENT);
}

static void on_connection(void *arg, uint32_t events)
{
	struct network *n = arg;

	(void)events;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		int fd = accept4(n->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE) {
				printf("Bail out! too few descriptors for this network\n");
				exit(1);
			}
			return;
		}
		take_connection(n, fd);
	}
}

/* For each connection in a list, which f may end. */
static void for_each(struct peer_list *list, void (*f)(struct peer *p))
{
	struct peer *p = TAILQ_FIRST(list), *next;

	for (; p; p = next) {
		next = peer_next(p);
		f(p);
	}
}

static void flush_subscriber(struct peer *p)
{
	if (peer_is_subscriber(p))
		peer_flush(p);
}

static void flush_host(struct network *n, struct pds *h)
{
	if (!h->is_queued)
		return;
	TAILQ_REMOVE(&n->queue, h, queue);
	h->is_queued = false;
	n->queued_bytes -= h->queued_bytes;
	h->queued_bytes = 0;
	for_each(&h->peers, flush_subscriber);
}

static void on_flush(void *arg)
{
	struct network *n = arg;
	struct pds *h;

	while ((h = TAILQ_FIRST(&n->queue)))
		flush_host(n, h);
}

/* Each of its subscribers has this much more to be sent. */
static void queue_flush(struct network *n, struct pds *h, size_t bytes)
{
	if (h->subscribers == 0)
		return;
	n->queued_bytes += h->subscribers * bytes;
	h->queued_bytes += h->subscribers * bytes;
	if (h->is_queued)
		return;
	h->is_queued = true;
	TAILQ_INSERT_TAIL(&n->queue, h, queue);
	loop_task_queue(n->loop, &n->flush);
}

/* Making and unmaking. */

static void bail_out(const char *what)
{
	printf("Bail out! the simulated network: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The socket takes connections to any address of the loopback network, and to no other. */
static void listen_on(struct network *n, uint16_t port)
{
	const struct sockaddr_in any = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
	};
	const char device[] = "lo";
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		bail_out("socket");
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, sizeof(device)) < 0)
		bail_out("only on loopback");
	if (bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		bail_out("bind");
	if (listen(fd, LISTEN_BACKLOG) < 0)
		bail_out("listen");
	loop_io_add(n->loop, &n->io, fd, EPOLLIN);
}

static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		bail_out("limits");
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void make_hosts(struct network *n)
{
	n->hosts = xcalloc(n->host_count, sizeof(*n->hosts));
	for (uint32_t i = 0; i < n->host_count; i++) {
		uint32_t address = ntohl(world_address(n->world, i).s_addr) % ADDRESSES;

		assert(n->by_address[address] == 0);
		n->by_address[address] = i + 1;
		n->hosts[i].last_cursor = -1;
		TAILQ_INIT(&n->hosts[i].peers);
	}
}

struct network *network_new(struct loop *l, struct world *w)
{
	const struct world_settings *s = world_settings(w);
	struct network *n = xcalloc(1, sizeof(*n));

	n->loop = l;
	n->world = w;
	n->host_count = s->hosts;
	n->authority = s->plain ? NULL : authority_new();
	TAILQ_INIT(&n->queue);
	TAILQ_INIT(&n->strangers);
	loop_io_init(&n->io, on_connection, n);
	loop_task_init(&n->flush, on_flush, n);
	peer_room_init(&n->room, l);
	n->room.request = on_request;
	n->room.arg = n;
	buf_init(&n->json, JSON_MAX);
	make_hosts(n);
	methods_init(&n->methods, w, n->hosts);
	directory_init(&n->directory, w);
	raise_limit();
	listen_on(n, s->port);
	return n;
}

void network_free(struct network *n)
{
	int fd;

	if (!n)
		return;
	fd = n->io.fd;
	loop_io_remove(n->loop, &n->io);
	close(fd);
	loop_task_cancel(n->loop, &n->flush);
	for (uint32_t i = 0; i < n->host_count; i++) {
		for_each(&n->hosts[i].peers, peer_free);
		backlog_release(&n->hosts[i].backlog);
	}
	for_each(&n->strangers, peer_free);
	methods_release(&n->methods);
	peer_room_release(&n->room);
	authority_free(n->authority);
	for (size_t i = 0; i < SETTINGS; i++)
		free(n->settings[i]);
	buf_release(&n->json);
	free(n->hosts);
	free(n);
}

/* Settings. */

static void write_hosts_file(const struct network *n, const char *path)
{
	struct buf text;
	FILE *f = fopen(path, "we");

	if (!f)
		bail_out(path);
	buf_init(&text, MIB(1024));
	world_hosts_file(n->world, &text);
	if (fwrite(text.ptr, 1, text.len, f) != text.len || fclose(f) != 0)
		bail_out(path);
	buf_release(&text);
}

static void set(struct network *n, size_t i, const char *format, ...) PRINTF(3, 4);

static void set(struct network *n, size_t i, const char *format, ...)
{
	va_list args;

	free(n->settings[i]);
	va_start(args, format);
	if (vasprintf(&n->settings[i], format, args) < 0)
		abort();
	va_end(args);
}

const char *const *network_relay_settings(struct network *n, const char *folder)
{
	char hosts[PATH_MAX], ca[PATH_MAX], name[LIMIT_HOST + 1];
	size_t i = 0;

	snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
	snprintf(ca, sizeof(ca), "%s/authority.pem", folder);
	write_hosts_file(n, hosts);
	set(n, i++, "network.hosts_file=%s", hosts);
	if (n->authority) {
		authority_write(n->authority, ca);
		set(n, i++, "network.ca_file=%s", ca);
		set(n, i++, "network.private_hosts=*.sim.test");
	} else {
		set(n, i++, "network.plain_hosts=*.sim.test");
	}
	set(n, i++, "resolve.plc_url=%s://%s", n->authority ? "https" : "http",
	    world_directory_name(n->world, name));
	set(n, i++, "ingest.bootstrap=%s://%s", n->authority ? "https" : "http",
	    world_host_name(n->world, 0, name));
	set(n, i++, "ingest.backfill=true");
	assert(i < SETTINGS);
	return (const char *const *)n->settings;
}

/* What hosts do. */

static struct pds *pds_of(const struct network *n, uint32_t host)
{
	assert(host < n->host_count);
	return &n->hosts[host];
}

/* For each subscriber of a host. */
#define FOR_EACH_SUBSCRIBER(p, h)                                                                  \
	for (struct peer *p = TAILQ_FIRST(&(h)->peers); p; p = peer_next(p))                       \
		if (peer_is_subscriber(p))

void network_send(struct network *n, const struct corpus_record *r)
{
	struct pds *h = pds_of(n, r->host);

	assert(r->type == CORPUS_EVENT);
	if (!backlog_put(&h->backlog, r->seq, r->frame)) {
		FOR_EACH_SUBSCRIBER(p, h)
		peer_put_frame(p, 0x82, r->frame, true);
	}
	queue_flush(n, h, r->frame.len);
}

void network_send_raw(struct network *n, uint32_t host, uint8_t first_byte, struct span payload)
{
	struct pds *h = pds_of(n, host);

	FOR_EACH_SUBSCRIBER(p, h)
	peer_put_frame(p, first_byte, payload, false);
	queue_flush(n, h, payload.len);
}

void network_send_bytes(struct network *n, uint32_t host, struct span bytes)
{
	struct pds *h = pds_of(n, host);

	FOR_EACH_SUBSCRIBER(p, h)
	peer_put_bytes(p, bytes);
	queue_flush(n, h, bytes.len);
}

void network_misbehave(struct network *n, uint32_t host, enum misbehaviour m)
{
	struct pds *h = pds_of(n, host);

	h->manner = m;
	if (m == VANISH)
		network_cut(n, host);
	else
		for_each(&h->peers, flush_subscriber);
}

void network_cut(struct network *n, uint32_t host)
{
	for_each(&pds_of(n, host)->peers, peer_free);
}

static void rewind_subscriber(struct peer *p)
{
	if (peer_is_subscriber(p) && !peer_rewind(p))
		peer_free(p);
}

void network_reset(struct network *n, uint32_t host)
{
	struct pds *h = pds_of(n, host);

	flush_host(n, h);
	for_each(&h->peers, rewind_subscriber);
	backlog_clear(&h->backlog);
}

void network_set_status(struct network *n, uint32_t account, const char *status)
{
	methods_set_status(&n->methods, account, status);
}

void network_counts(const struct network *n, struct network_counts *ret)
{
	*ret = (struct network_counts){
		.hosts = n->host_count,
		.subscribers = n->room.subscribers,
		.subscribed = n->room.subscribed,
		.connections = n->connections,
		.resets = n->resets,
		.events = n->room.events,
		.documents = n->directory.documents,
		.refused = n->directory.refused,
		.pending_bytes = n->room.pending_bytes + n->queued_bytes,
	};
}

uint32_t network_subscribers(const struct network *n, uint32_t host)
{
	return pds_of(n, host)->subscribers;
}

int64_t network_last_cursor(const struct network *n, uint32_t host)
{
	return pds_of(n, host)->last_cursor;
}

uint64_t network_host_connections(const struct network *n, uint32_t host)
{
	return pds_of(n, host)->connections;
}

void network_directory(struct network *n, const struct directory_manners *m)
{
	n->directory.manners = *m;
	if (m->down)
		for_each(&n->strangers, peer_free);
}
