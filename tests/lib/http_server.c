#include "tests/lib/http_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "tests/lib/certificate.h"

#define ROUTES_MAX      1024
#define CONNECTIONS_MAX 1024
#define HEAD_MAX        8192

struct route {
	char *path;
	struct http_server_answer answer;
	unsigned requests;
};

struct connection {
	struct http_server *server;
	pthread_t thread;
	int fd;
	SSL *ssl; /* NULL: plain */
};

struct http_server {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t thread;
	int fd;
	uint16_t port;
	SSL_CTX *tls;
	bool held, ending;
	struct route routes[ROUTES_MAX];
	size_t route_count;
	struct connection connections[CONNECTIONS_MAX];
	unsigned connection_count, open_connections, requests, waiting, most_waiting;
	char head[HEAD_MAX];
};

/* One connection. */

static bool connection_write(struct connection *c, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = c->ssl ? SSL_write(c->ssl, at, (int)len)
				   : send(c->fd, at, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

/* A request's head into the server's; requests of GET have no body. */
static bool connection_read_head(struct connection *c, char *head)
{
	size_t len = 0;

	while (len < HEAD_MAX - 1) {
		ssize_t n = c->ssl ? SSL_read(c->ssl, head + len, 1)
				   : recv(c->fd, head + len, 1, 0);

		if (n <= 0)
			return false;
		head[++len] = '\0';
		if (len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0)
			return true;
	}
	return false;
}

static struct route *find_route(struct http_server *s, const char *path)
{
	for (size_t i = 0; i < s->route_count; i++)
		if (strcmp(s->routes[i].path, path) == 0)
			return &s->routes[i];
	return NULL;
}

static char *copy_text(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

static void release_answer(struct http_server_answer *a)
{
	free((char *)a->body);
	free((char *)a->headers);
}

static struct http_server_answer copy_answer(const struct http_server_answer *a)
{
	struct http_server_answer copy = *a;

	copy.body = copy_text(a->body);
	copy.headers = copy_text(a->headers);
	return copy;
}

/* Counts the request, and waits until its answer may go out. Release it with release_answer. */
static bool take_request(struct http_server *s, const char *head, struct http_server_answer *ret)
{
	static const struct http_server_answer missing = {.status = 404};
	char path[HEAD_MAX];
	struct route *route;
	bool go;

	if (sscanf(head, "GET %8191s HTTP/1.1\r\n", path) != 1)
		return false;
	pthread_mutex_lock(&s->lock);
	snprintf(s->head, sizeof(s->head), "%s", head);
	s->requests++;
	route = find_route(s, path);
	if (route)
		route->requests++;
	if (++s->waiting > s->most_waiting)
		s->most_waiting = s->waiting;
	while (s->held && !s->ending)
		pthread_cond_wait(&s->changed, &s->lock);
	s->waiting--;
	go = !s->ending;
	route = find_route(s, path);
	if (go)
		*ret = copy_answer(route ? &route->answer : &missing);
	pthread_mutex_unlock(&s->lock);
	return go;
}

/* Until the other end has had enough. */
static void drip(struct connection *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	while (connection_write(c, " ", 1) && poll(&p, 1, 5) == 0)
		;
}

static void repeat(struct connection *c, const char *text)
{
	while (connection_write(c, text, strlen(text)))
		;
}

static void begin_answer(struct connection *c, const struct http_server_answer *a)
{
	const char *headers = a->headers ? a->headers : "", *body = a->body ? a->body : "";
	char status[64], length[64] = "", byte;

	snprintf(status, sizeof(status), "HTTP/1.1 %d Said\r\n", a->status);
	if (a->body)
		snprintf(length, sizeof(length), "Content-Length: %zu\r\n\r\n", strlen(body) + 1);
	if (connection_write(c, status, strlen(status)) &&
	    connection_write(c, headers, strlen(headers)) &&
	    connection_write(c, length, strlen(length)) && connection_write(c, body, strlen(body)))
		recv(c->fd, &byte, 1, MSG_PEEK);
}

/* Whether the connection goes on. */
static bool answer(struct connection *c, const struct http_server_answer *a)
{
	const char *body = a->body ? a->body : "";
	char head[HEAD_MAX];
	char byte;
	int n;

	if (a->kind == HTTP_SERVER_UNFINISHED) {
		begin_answer(c, a);
		return false;
	}
	n = snprintf(head, sizeof(head), "HTTP/1.1 %d Said\r\n%s", a->status,
		     a->headers ? a->headers : "");
	assert(n > 0 && (size_t)n < sizeof(head) - 64);
	switch (a->kind) {
	case HTTP_SERVER_PLAIN_ANSWER:
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n\r\n",
			      strlen(body));
		return connection_write(c, head, (size_t)n) &&
		       connection_write(c, body, strlen(body));
	case HTTP_SERVER_SILENT:
		recv(c->fd, &byte, 1, MSG_PEEK);
		return false;
	case HTTP_SERVER_ENDLESS:
		if (connection_write(c, head, (size_t)n) && connection_write(c, "\r\n", 2))
			repeat(c, "and so on, ");
		return false;
	case HTTP_SERVER_ENDLESS_HEAD:
		if (connection_write(c, head, (size_t)n))
			repeat(c, "X-And: so on\r\n");
		return false;
	case HTTP_SERVER_DRIP:
		if (connection_write(c, head, (size_t)n) && connection_write(c, "\r\n", 2))
			drip(c);
		return false;
	case HTTP_SERVER_CUT:
		n += snprintf(head + n, sizeof(head) - (size_t)n, "Content-Length: %zu\r\n\r\n",
			      strlen(body));
		if (connection_write(c, head, (size_t)n))
			connection_write(c, body, strlen(body) / 2);
		return false;
	case HTTP_SERVER_NO_HTTP:
		connection_write(c, body, strlen(body));
		return false;
	case HTTP_SERVER_UNFINISHED:
		break;
	}
	return false;
}

/* One request and its answer. Whether the connection goes on. */
static bool serve_request(struct connection *c)
{
	struct http_server_answer a;
	char head[HEAD_MAX];
	bool more;

	if (!connection_read_head(c, head) || !take_request(c->server, head, &a))
		return false;
	more = answer(c, &a);
	release_answer(&a);
	return more;
}

static void *serve_connection(void *arg)
{
	struct connection *c = arg;
	sigset_t set;

	/* OpenSSL writes without MSG_NOSIGNAL. */
	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (c->server->tls) {
		c->ssl = SSL_new(c->server->tls);
		SSL_set_fd(c->ssl, c->fd);
	}
	if (!c->ssl || SSL_accept(c->ssl) == 1)
		while (serve_request(c))
			;
	shutdown(c->fd, SHUT_RDWR);
	SSL_free(c->ssl);
	pthread_mutex_lock(&c->server->lock);
	c->server->open_connections--;
	pthread_mutex_unlock(&c->server->lock);
	return NULL;
}

static void *serve(void *arg)
{
	struct http_server *s = arg;
	int fd;

	while ((fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		pthread_mutex_lock(&s->lock);
		assert(s->connection_count < CONNECTIONS_MAX);
		struct connection *c = &s->connections[s->connection_count++];

		s->open_connections++;
		c->server = s;
		c->fd = fd;
		pthread_create(&c->thread, NULL, serve_connection, c);
		pthread_mutex_unlock(&s->lock);
	}
	return NULL;
}

/* The server. */

static SSL_CTX *make_context(const struct http_server_tls *tls)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int ok = SSL_CTX_use_certificate_file(ctx, tls->certificate_file, SSL_FILETYPE_PEM) &&
		 SSL_CTX_use_PrivateKey_file(ctx, tls->key_file, SSL_FILETYPE_PEM);

	assert(ok);
	return ctx;
}

struct http_server *http_server_new(const struct http_server_tls *tls)
{
	struct http_server *s = xcalloc(1, sizeof(*s));
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int r;

	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->tls = tls ? make_context(tls) : NULL;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = bind(s->fd, (struct sockaddr *)&address, sizeof(address));
	assert(r == 0);
	r = listen(s->fd, 512);
	assert(r == 0);
	getsockname(s->fd, (struct sockaddr *)&address, &len);
	s->port = ntohs(address.sin_port);
	pthread_create(&s->thread, NULL, serve, s);
	return s;
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < s->connection_count; i++) {
		shutdown(s->connections[i].fd, SHUT_RDWR);
		pthread_join(s->connections[i].thread, NULL);
		close(s->connections[i].fd);
	}
	for (size_t i = 0; i < s->route_count; i++) {
		free(s->routes[i].path);
		release_answer(&s->routes[i].answer);
	}
	SSL_CTX_free(s->tls);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	free(s);
}

uint16_t http_server_port(const struct http_server *s)
{
	return s->port;
}

void http_server_put(struct http_server *s, const char *path, const struct http_server_answer *a)
{
	struct route *route;

	pthread_mutex_lock(&s->lock);
	route = find_route(s, path);
	if (!route) {
		assert(s->route_count < ROUTES_MAX);
		route = &s->routes[s->route_count++];
		route->path = xstrdup(path);
	}
	release_answer(&route->answer);
	route->answer = copy_answer(a);
	pthread_mutex_unlock(&s->lock);
}

void http_server_hold(struct http_server *s, bool hold)
{
	pthread_mutex_lock(&s->lock);
	s->held = hold;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static unsigned read_count(struct http_server *s, const unsigned *count)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = *count;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned http_server_requests(struct http_server *s, const char *path)
{
	struct route *route;
	unsigned n = 0;

	if (!path)
		return read_count(s, &s->requests);
	pthread_mutex_lock(&s->lock);
	route = find_route(s, path);
	if (route)
		n = route->requests;
	pthread_mutex_unlock(&s->lock);
	return n;
}

unsigned http_server_waiting(struct http_server *s)
{
	return read_count(s, &s->waiting);
}

unsigned http_server_most_waiting(struct http_server *s)
{
	return read_count(s, &s->most_waiting);
}

unsigned http_server_connections(struct http_server *s)
{
	return read_count(s, &s->connection_count);
}

unsigned http_server_open_connections(struct http_server *s)
{
	return read_count(s, &s->open_connections);
}

char *http_server_last_head(struct http_server *s)
{
	char *head;

	pthread_mutex_lock(&s->lock);
	head = xstrdup(s->head);
	pthread_mutex_unlock(&s->lock);
	return head;
}

/* Certificates. */

void http_server_make_tls(const char *folder, struct http_server_tls *ret)
{
	struct certificate ca, server;

	certificate_init_authority(&ca, "Test Authority", NULL);
	certificate_init(&server, &ca, "localhost", "DNS:localhost,DNS:pds.test");
	snprintf(ret->ca_file, sizeof(ret->ca_file), "%s/ca.pem", folder);
	snprintf(ret->certificate_file, sizeof(ret->certificate_file), "%s/server.pem", folder);
	snprintf(ret->key_file, sizeof(ret->key_file), "%s/server.key", folder);
	certificate_write(&ca, ret->ca_file);
	certificate_write(&server, ret->certificate_file);
	certificate_write_key(&server, ret->key_file);
	certificate_release(&ca);
	certificate_release(&server);
}
