#include "resolve/http.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/stage.h"
#include "resolve/curl_memory.h"
#include "resolve/trust.h"

/* bytes: a host, the longest path of ours, and a cursor of XRPC_PARAM_MAX */
#define URL_MAX              4096
#define CONNECT_TIMEOUT_USEC (5 * USEC_PER_SEC)
/* Handles kept for the next request: as many as resolve.concurrency has by default. */
#define IDLE_MAX             64

enum code {
	CODE_200,
	CODE_2XX,
	CODE_3XX,
	CODE_404,
	CODE_410,
	CODE_429,
	CODE_4XX,
	CODE_5XX,
	CODE_OTHER,
	CODE_FAILED, /* and beyond, in the order of enum http_outcome, from the first failure on */
	CODES = CODE_FAILED + HTTP_CANCELLED - HTTP_NO_NAME,
};

static const char *const code_names[CODES] = {
	[CODE_200] = "200", [CODE_2XX] = "2xx", [CODE_3XX] = "3xx",
	[CODE_404] = "404", [CODE_410] = "410", [CODE_429] = "429",
	[CODE_4XX] = "4xx", [CODE_5XX] = "5xx", [CODE_OTHER] = "other",
};

static const struct purpose {
	const char *name;
	const char *accept;
	bool keep; /* the connection serves the next request: it goes to the same host */
} purposes[HTTP_PURPOSES] = {
	[HTTP_PLC] = {"plc", "Accept: application/did+ld+json,application/json", true},
	[HTTP_DID_WEB] = {"did_web", "Accept: application/did+ld+json,application/json", false},
	[HTTP_HOST_CHECK] = {"host_check", "Accept: application/json", false},
	[HTTP_HOST_LIST] = {"host_list", "Accept: application/json", true},
};

struct transfer {
	struct http *http;
	struct client *client;
	struct http_request request;
	CURL *easy;
	struct curl_slist *connect_to;
	struct buf body;
	size_t head_bytes;
	bool too_large;
	bool forbidden; /* an address was refused */
	bool is_relay;
	uint64_t started_usec;
	char error[CURL_ERROR_SIZE];
	struct transfer *previous, *next;
};

/* A socket of curl's in our loop. */
struct socket {
	struct loop_io io;
	struct client *client;
	struct socket *previous, *next;
};

/*
 * All that curl keeps from one request to the next: connections, TLS sessions, names, handles. New
 * requests are the present client's; one that is retired ends the requests it has, and is freed
 * then.
 */
struct client {
	struct http *http;
	struct client *next; /* retired before it */
	CURLM *multi;
	CURLSH *share; /* TLS sessions, which the handles would keep each for itself */
	struct loop_timer timer;
	CURL *idle[IDLE_MAX];
	size_t idle_count;
	struct transfer *transfers;
	struct socket *sockets;
	uint64_t requests; /* that it was given */
};

struct http {
	struct loop *loop;
	const struct host_policy *policy;
	struct trust *trust;
	struct client *client;
	struct client *retired;
	struct loop_task sweep; /* frees retired ones, outside of curl */
	struct curl_slist *headers[HTTP_PURPOSES];
	bool keep_alive;
	uint64_t connections;      /* that stay open for the next request */
	uint64_t recycle_interval; /* requests of one client; 0: no limit */
	int64_t body_bytes;        /* as their buffers grow */
	uint64_t busy_usec;        /* all requests together */
	int64_t *active;
	uint64_t *refused, *recycled, *requests[HTTP_PURPOSES][CODES];
};

const char *http_outcome_name(enum http_outcome outcome)
{
	static const char *const names[HTTP_OUTCOMES] = {
		[HTTP_ANSWERED] = "answered",   [HTTP_NO_NAME] = "no_name",
		[HTTP_FORBIDDEN] = "forbidden", [HTTP_NO_CONNECTION] = "no_connection",
		[HTTP_NO_TRUST] = "no_trust",   [HTTP_TIMEOUT] = "timeout",
		[HTTP_TOO_LARGE] = "too_large", [HTTP_BROKEN] = "broken",
		[HTTP_CANCELLED] = "cancelled",
	};

	return outcome < HTTP_OUTCOMES ? names[outcome] : "unknown";
}

void http_escape(struct buf *b, struct span text)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					 "0123456789-._~";

	for (size_t i = 0; i < text.len; i++)
		if (memchr(unreserved, text.ptr[i], sizeof(unreserved) - 1))
			buf_put_u8(b, text.ptr[i]);
		else
			buf_printf(b, "%%%02X", text.ptr[i]);
}

/* curl asks for impossible things only when we do. */
#define SET(easy, option, value)                                                                   \
	do {                                                                                       \
		CURLcode set_ = curl_easy_setopt(easy, option, value);                             \
		assert(set_ == CURLE_OK);                                                          \
	} while (0)
#define SET_MULTI(multi, option, value)                                                            \
	do {                                                                                       \
		CURLMcode set_ = curl_multi_setopt(multi, option, value);                          \
		assert(set_ == CURLM_OK);                                                          \
	} while (0)

/* What curl calls during a transfer. */

static size_t take_body(char *data, size_t one, size_t size, void *arg)
{
	struct transfer *t = arg;

	(void)one;
	if (size > t->request.max_bytes - t->body.len) {
		t->too_large = true;
		return 0;
	}
	t->http->body_bytes -= (int64_t)t->body.cap;
	buf_append(&t->body, span_of(data, size));
	t->http->body_bytes += (int64_t)t->body.cap;
	return size;
}

/* One header line, or the status line; also of interim answers. */
static size_t take_header(char *data, size_t one, size_t size, void *arg)
{
	static const char name[] = "server:", mark[] = "atproto-relay";
	struct transfer *t = arg;

	(void)one;
	if (size + HTTP_HEAD_LINE > HTTP_HEAD_MAX - t->head_bytes) {
		t->too_large = true;
		return 0;
	}
	t->head_bytes += size + HTTP_HEAD_LINE;
	if (size > sizeof(name) - 1 && strncasecmp(data, name, sizeof(name) - 1) == 0 &&
	    memmem(data, size, mark, sizeof(mark) - 1))
		t->is_relay = true;
	return size;
}

/* The address is the one that is about to be connected to: no other check is as late as this. */
static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = arg;

	if (purpose != CURLSOCKTYPE_IPCXN ||
	    !host_policy_allows(t->http->policy, &t->request.host, &address->addr)) {
		t->forbidden = true;
		*t->http->refused += 1;
		return CURL_SOCKET_BAD;
	}
	return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Sockets that live longer than their transfer are closed here too, so arg is the client. */
static int close_socket(void *arg, curl_socket_t fd)
{
	struct client *c = arg;

	for (struct socket *s = c->sockets; s; s = s->next)
		if (s->io.fd == fd)
			loop_io_remove(c->http->loop, &s->io);
	return close(fd);
}

static CURLcode set_trust(CURL *easy, void *ssl_ctx, void *arg)
{
	(void)easy;
	trust_apply(arg, ssl_ctx);
	return CURLE_OK;
}

/* The end of a transfer. */

static enum http_outcome translate(const struct transfer *t, CURLcode code)
{
	if (code == CURLE_OK)
		return HTTP_ANSWERED;
	if (t->too_large)
		return HTTP_TOO_LARGE;
	if (t->forbidden)
		return HTTP_FORBIDDEN;
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return HTTP_NO_NAME;
	case CURLE_COULDNT_CONNECT:
		return HTTP_NO_CONNECTION;
	case CURLE_OPERATION_TIMEDOUT:
		return HTTP_TIMEOUT;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return HTTP_NO_TRUST;
	default:
		return HTTP_BROKEN;
	}
}

static enum code code_of(const struct http_answer *a)
{
	if (a->outcome != HTTP_ANSWERED)
		return CODE_FAILED + (enum code)(a->outcome - HTTP_NO_NAME);
	switch (a->status) {
	case 200:
		return CODE_200;
	case 404:
		return CODE_404;
	case 410:
		return CODE_410;
	case 429:
		return CODE_429;
	}
	switch (a->status / 100) {
	case 2:
		return CODE_2XX;
	case 3:
		return CODE_3XX;
	case 4:
		return CODE_4XX;
	case 5:
		return CODE_5XX;
	default:
		return CODE_OTHER;
	}
}

/* Handles keep no data of the last transfer, and no connection: those belong to the multi
 * handle. */
static void give_back(struct client *c, CURL *easy)
{
	if (c->idle_count == IDLE_MAX || c != c->http->client) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	c->idle[c->idle_count++] = easy;
}

static void transfer_free(struct transfer *t)
{
	struct http *h = t->http;
	struct client *c = t->client;

	if (t->next)
		t->next->previous = t->previous;
	if (t->previous)
		t->previous->next = t->next;
	else
		c->transfers = t->next;
	*h->active -= 1;
	curl_multi_remove_handle(c->multi, t->easy);
	give_back(c, t->easy);
	if (c != h->client && !c->transfers)
		loop_task_queue(h->loop, &h->sweep);
	curl_slist_free_all(t->connect_to);
	h->body_bytes -= (int64_t)t->body.cap;
	buf_release(&t->body);
	free(t);
}

static void count_request(struct http *h, const struct transfer *t, const struct http_answer *a)
{
	*h->requests[t->request.purpose][code_of(a)] += 1;
	h->busy_usec += loop_now_usec(h->loop) - t->started_usec;
}

static void transfer_finish(struct transfer *t, CURLcode code)
{
	struct http_answer a = {.outcome = translate(t, code), .is_relay = t->is_relay};
	long status = 0;
	curl_off_t retry_after = 0;
	char reason[32];

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
	if (a.outcome == HTTP_ANSWERED || a.outcome == HTTP_TOO_LARGE) {
		a.status = (unsigned)status;
		a.retry_after_sec = (uint64_t)retry_after < HTTP_RETRY_AFTER_MAX
					    ? (uint64_t)retry_after
					    : HTTP_RETRY_AFTER_MAX;
	}
	if (a.outcome == HTTP_ANSWERED) {
		a.body = buf_span(&t->body);
		snprintf(reason, sizeof(reason), "HTTP %u", a.status);
	}
	a.reason = a.outcome == HTTP_ANSWERED    ? reason
		   : a.outcome == HTTP_FORBIDDEN ? "the address is not allowed"
		   : a.outcome == HTTP_TOO_LARGE ? "the answer is too large"
		   : t->error[0]                 ? t->error
						 : curl_easy_strerror(code);
	count_request(t->http, t, &a);
	t->request.done(t->request.arg, &a);
	transfer_free(t);
}

static void transfer_cancel(struct transfer *t)
{
	const struct http_answer a = {.outcome = HTTP_CANCELLED, .reason = "stopping"};

	t->request.done(t->request.arg, &a);
	transfer_free(t);
}

/* Ends what has ended. `done` may begin new requests, which end in a later turn. */
static void reap(struct client *c)
{
	struct transfer *t;
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(c->multi, &left))) {
		CURLcode code = message->data.result;

		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
		transfer_finish(t, code);
	}
}

/* curl in the loop. */

static void act(struct client *c, curl_socket_t fd, int events)
{
	int running;
	CURLMcode code = curl_multi_socket_action(c->multi, fd, events, &running);

	assert(code == CURLM_OK);
	reap(c);
}

static void on_ready(void *arg, uint32_t events)
{
	struct socket *s = arg;
	int curl_events = 0;

	if (events & (EPOLLIN | EPOLLHUP))
		curl_events |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		curl_events |= CURL_CSELECT_OUT;
	if (events & EPOLLERR)
		curl_events |= CURL_CSELECT_ERR;
	act(s->client, s->io.fd, curl_events);
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int set_timer(CURLM *multi, long timeout_msec, void *arg)
{
	struct client *c = arg;

	(void)multi;
	if (timeout_msec < 0)
		loop_timer_cancel(c->http->loop, &c->timer);
	else
		loop_timer_set(c->http->loop, &c->timer, (uint64_t)timeout_msec * USEC_PER_MSEC);
	return 0;
}

static struct socket *socket_new(struct client *c, curl_socket_t fd)
{
	struct socket *s = xcalloc(1, sizeof(*s));

	s->client = c;
	s->next = c->sockets;
	if (s->next)
		s->next->previous = s;
	c->sockets = s;
	loop_io_init(&s->io, on_ready, s);
	curl_multi_assign(c->multi, fd, s);
	return s;
}

static void socket_free(struct socket *s)
{
	if (!s)
		return;
	if (s->next)
		s->next->previous = s->previous;
	if (s->previous)
		s->previous->next = s->next;
	else
		s->client->sockets = s->next;
	/* Of a transfer that is cancelled in its handshake curl closes the socket first, and tells
	 * us then. */
	loop_io_forget(s->client->http->loop, &s->io);
	free(s);
}

static int set_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socketp)
{
	struct client *c = arg;
	struct loop *loop = c->http->loop;
	struct socket *s = socketp;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		curl_multi_assign(c->multi, fd, NULL);
		socket_free(s);
		return 0;
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	if (!s)
		s = socket_new(c, fd);
	if (s->io.fd < 0)
		loop_io_add(loop, &s->io, fd, events);
	else
		loop_io_change(loop, &s->io, events);
	return 0;
}

/* A new transfer. */

/* The address that the configuration gives this host, as curl wants it: "::ADDRESS:PORT". */
static void set_address(struct transfer *t)
{
	const struct host *host = &t->request.host;
	uint16_t port = host->port ? host->port : t->request.plain ? 80 : 443;
	char address[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];
	struct sockaddr_storage ss;
	socklen_t len;
	int r;

	if (host_policy_address(t->http->policy, host, port, &ss, &len) < 0)
		return;
	r = getnameinfo((struct sockaddr *)&ss, len, address, sizeof(address), NULL, 0,
			NI_NUMERICHOST);
	assert(r == 0);
	snprintf(text, sizeof(text), ss.ss_family == AF_INET6 ? "::[%s]:%u" : "::%s:%u", address,
		 port);
	t->connect_to = curl_slist_append(NULL, text);
	SET(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
}

static void set_url(struct transfer *t, const char *path)
{
	const char *scheme = t->request.plain ? "http" : "https";
	char host[LIMIT_HOST + 1], url[URL_MAX];
	int n = snprintf(url, sizeof(url), "%s://%s%s", scheme, host_format(&t->request.host, host),
			 path);

	assert(n > 0 && (size_t)n < sizeof(url));
	SET(t->easy, CURLOPT_URL, url);
	SET(t->easy, CURLOPT_PROTOCOLS_STR, scheme);
}

static void set_limits(struct transfer *t)
{
	uint64_t total = t->request.timeout_usec;
	uint64_t connect = total < CONNECT_TIMEOUT_USEC ? total : CONNECT_TIMEOUT_USEC;
	bool keep = t->http->keep_alive && purposes[t->request.purpose].keep;

	SET(t->easy, CURLOPT_TIMEOUT_MS, (long)(total / USEC_PER_MSEC));
	SET(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(connect / USEC_PER_MSEC));
	SET(t->easy, CURLOPT_FOLLOWLOCATION, 0L);
	SET(t->easy, CURLOPT_FRESH_CONNECT, keep ? 0L : 1L);
	SET(t->easy, CURLOPT_FORBID_REUSE, keep ? 0L : 1L);
}

static void set_tls(struct transfer *t)
{
	/* Without a CA file or folder of its own curl asks set_trust alone. With the folder that it
	 * has by default it would read all certificates again for every connection. */
	SET(t->easy, CURLOPT_CAINFO, NULL);
	SET(t->easy, CURLOPT_CAPATH, NULL);
	SET(t->easy, CURLOPT_SSL_CTX_FUNCTION, set_trust);
	SET(t->easy, CURLOPT_SSL_CTX_DATA, t->http->trust);
	SET(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	SET(t->easy, CURLOPT_SHARE, t->client->share);
}

static void set_callbacks(struct transfer *t)
{
	SET(t->easy, CURLOPT_PRIVATE, t);
	SET(t->easy, CURLOPT_ERRORBUFFER, t->error);
	SET(t->easy, CURLOPT_WRITEFUNCTION, take_body);
	SET(t->easy, CURLOPT_WRITEDATA, t);
	SET(t->easy, CURLOPT_HEADERFUNCTION, take_header);
	SET(t->easy, CURLOPT_HEADERDATA, t);
	SET(t->easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(t->easy, CURLOPT_OPENSOCKETDATA, t);
	SET(t->easy, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SET(t->easy, CURLOPT_CLOSESOCKETDATA, t->client);
}

static CURL *take_handle(struct client *c)
{
	CURL *easy = c->idle_count > 0 ? c->idle[--c->idle_count] : curl_easy_init();

	assert(easy);
	SET(easy, CURLOPT_NOSIGNAL, 1L);
	/* At a time-out while a name is being looked up: the thread that does it is left to itself.
	 * curl would wait for it, and all else with it, for as long as the name's servers like. */
	SET(easy, CURLOPT_QUICK_EXIT, 1L);
	/* A proxy from the environment would connect where it likes. */
	SET(easy, CURLOPT_PROXY, "");
	SET(easy, CURLOPT_USERAGENT, "standpipe/" STAGE_VERSION);
	SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	return easy;
}

/* The client itself. */

static uint64_t busy_usec(void *arg)
{
	return ((const struct http *)arg)->busy_usec;
}

static void add_metrics(struct http *h, struct metrics *m)
{
	char labels[96];

	for (enum http_purpose p = 0; p < HTTP_PURPOSES; p++)
		for (enum code c = 0; c < CODES; c++) {
			enum http_outcome failed = (enum http_outcome)(c - CODE_FAILED +
								       HTTP_NO_NAME);

			snprintf(labels, sizeof(labels), "purpose=\"%s\",code=\"%s\"",
				 purposes[p].name,
				 c < CODE_FAILED ? code_names[c] : http_outcome_name(failed));
			h->requests[p][c] = metrics_counter(
				m, "relay_http_requests_total",
				"HTTP requests by purpose and status, or how they failed.", labels);
		}
	h->active = metrics_gauge(m, "relay_http_requests_active", "HTTP requests under way.",
				  NULL);
	metrics_seconds_call(m, "relay_http_request_seconds_total",
			     "Time from beginning to end, all HTTP requests together.", NULL,
			     busy_usec, h);
	h->refused = metrics_counter(m, "relay_address_refused_total",
				     "Connections not made because the policy forbids the address.",
				     NULL);
	h->recycled = metrics_counter(m, "relay_http_clients_recycled_total",
				      "HTTP clients that were given up for a new one.", NULL);
}

/* What requests under way hold, curl's own memory apart. */
static int64_t transfer_bytes(void *arg)
{
	const struct http *h = arg;

	return *h->active * (int64_t)sizeof(struct transfer) + h->body_bytes;
}

static struct client *client_new(struct http *h)
{
	struct client *c = xcalloc(1, sizeof(*c));

	c->http = h;
	loop_timer_init(&c->timer, on_timer, c);
	c->multi = curl_multi_init();
	assert(c->multi);
	SET_MULTI(c->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	SET_MULTI(c->multi, CURLMOPT_SOCKETDATA, c);
	SET_MULTI(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	SET_MULTI(c->multi, CURLMOPT_TIMERDATA, c);
	SET_MULTI(c->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	SET_MULTI(c->multi, CURLMOPT_MAXCONNECTS, (long)h->connections);
	c->share = curl_share_init();
	assert(c->share);
	curl_share_setopt(c->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return c;
}

/* It has no transfers. */
static void client_free(struct client *c)
{
	while (c->idle_count > 0)
		curl_easy_cleanup(c->idle[--c->idle_count]);
	curl_multi_cleanup(c->multi);
	curl_share_cleanup(c->share);
	while (c->sockets)
		socket_free(c->sockets);
	loop_timer_cancel(c->http->loop, &c->timer);
	free(c);
}

static void sweep(void *arg)
{
	struct http *h = arg;

	for (struct client **at = &h->retired; *at;) {
		struct client *c = *at;

		if (c->transfers) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		client_free(c);
	}
}

/* The present client gets no more requests, and another takes its place. */
static void recycle(struct http *h)
{
	struct client *c = h->client;

	h->client = client_new(h);
	c->next = h->retired;
	h->retired = c;
	*h->recycled += 1;
	loop_task_queue(h->loop, &h->sweep);
}

void http_configure(struct http *h, const struct config *config)
{
	bool keep_alive = config_flag(config, "resolve.keep_alive");

	/* Connections that stay open: one for each lookup under way, and one for a list of
	 * hosts. */
	h->connections = config_number(config, "resolve.concurrency") + 1;
	h->recycle_interval = config_number(config, "resolve.recycle_interval");
	if (!h->client) {
		h->keep_alive = keep_alive;
		return;
	}
	SET_MULTI(h->client->multi, CURLMOPT_MAXCONNECTS, (long)h->connections);
	/* What is open stays so without anybody to use it: away with it. */
	if (h->keep_alive && !keep_alive)
		recycle(h);
	h->keep_alive = keep_alive;
}

void http_get(struct http *h, const struct http_request *request)
{
	struct transfer *t = xcalloc(1, sizeof(*t));
	struct client *c;
	CURLMcode code;

	assert(!request->plain || host_policy_is_plain(h->policy, &request->host));
	if (h->recycle_interval > 0 && h->client->requests >= h->recycle_interval)
		recycle(h);
	c = h->client;
	c->requests++;
	t->http = h;
	t->client = c;
	t->request = *request;
	t->request.path = NULL; /* borrowed until http_get returns */
	t->started_usec = loop_now_usec(h->loop);
	t->easy = take_handle(c);
	buf_init(&t->body, request->max_bytes);
	t->next = c->transfers;
	if (t->next)
		t->next->previous = t;
	c->transfers = t;
	*h->active += 1;
	set_url(t, request->path);
	set_address(t);
	set_limits(t);
	set_tls(t);
	set_callbacks(t);
	SET(t->easy, CURLOPT_HTTPHEADER, h->headers[request->purpose]);
	code = curl_multi_add_handle(c->multi, t->easy);
	assert(code == CURLM_OK);
}

int http_new(const struct config *config, const struct host_policy *policy, struct loop *loop,
	     struct metrics *metrics, struct memory *memory, struct http **ret)
{
	struct trust *trust;
	struct http *h;
	CURLcode code;
	int r = trust_new(config_text(config, "network.ca_file"), &trust);

	if (r < 0)
		return r;
	code = curl_global_init_mem(CURL_GLOBAL_DEFAULT, curl_memory_malloc, curl_memory_free,
				    curl_memory_realloc, curl_memory_strdup, curl_memory_calloc);
	assert(code == CURLE_OK);
	h = xcalloc(1, sizeof(*h));
	h->loop = loop;
	h->policy = policy;
	h->trust = trust;
	loop_task_init(&h->sweep, sweep, h);
	http_configure(h, config);
	for (enum http_purpose p = 0; p < HTTP_PURPOSES; p++)
		h->headers[p] = curl_slist_append(NULL, purposes[p].accept);
	h->client = client_new(h);
	add_metrics(h, metrics);
	memory_register(memory, "http", transfer_bytes, h);
	memory_register_library(memory, "curl", curl_memory_bytes, NULL);
	*ret = h;
	return 0;
}

static void cancel_all(struct client *c)
{
	while (c->transfers)
		transfer_cancel(c->transfers);
}

void http_free(struct http *h)
{
	if (!h)
		return;
	cancel_all(h->client);
	for (struct client *c = h->retired; c; c = c->next)
		cancel_all(c);
	sweep(h);
	client_free(h->client);
	loop_task_cancel(h->loop, &h->sweep);
	for (enum http_purpose p = 0; p < HTTP_PURPOSES; p++)
		curl_slist_free_all(h->headers[p]);
	curl_global_cleanup();
	trust_free(h->trust);
	free(h);
}
