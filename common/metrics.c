#include "common/metrics.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#define RENDER_MAX                                                                                 \
	MIB(4) /* some thousands of samples; a metrics page of a stage has some hundreds */
#define CONNECTION_TIMEOUT 10   /* seconds without a byte */
#define CONNECTION_MEMORY  8192 /* bytes for a request's head; libmicrohttpd has 1 KiB besides */
#define BACKLOG            16
#define SEND_BYTES         65536 /* of a page that the kernel takes ahead; it keeps twice as much */

enum sample_kind {
	SAMPLE_COUNTER,
	SAMPLE_GAUGE,
	SAMPLE_GAUGE_CALL,
	SAMPLE_SECONDS_CALL,
};

struct sample {
	char *labels; /* stage and instance included */
	enum sample_kind kind;
	uint64_t counter;
	int64_t gauge;
	int64_t (*get)(void *arg);
	uint64_t (*get_usec)(void *arg);
	void *arg;
	struct sample *next;
};

struct family {
	char *name, *help;
	bool is_counter;
	struct sample *first, **last;
	struct family *next;
};

struct metrics {
	char *common_labels;
	struct family *first, **last;
};

struct metrics *metrics_new(const char *stage, int instance)
{
	struct metrics *m = xcalloc(1, sizeof(*m));
	struct buf labels;

	buf_init(&labels, 256);
	metrics_put_label(&labels, "stage", span_str(stage));
	if (instance >= 0)
		buf_printf(&labels, ",instance=\"%d\"", instance);
	buf_put_u8(&labels, '\0');
	m->common_labels = xstrdup((const char *)labels.ptr);
	buf_release(&labels);
	m->last = &m->first;
	return m;
}

static void family_free(struct family *f)
{
	while (f->first) {
		struct sample *s = f->first;

		f->first = s->next;
		free(s->labels);
		free(s);
	}
	free(f->name);
	free(f->help);
	free(f);
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	while (m->first) {
		struct family *f = m->first;

		m->first = f->next;
		family_free(f);
	}
	free(m->common_labels);
	free(m);
}

/* Backslash and line break; quotes too if the text stands in quotes. */
static void put_escaped(struct buf *out, struct span s, bool in_quotes)
{
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.ptr[i];

		if (c == '\n') {
			buf_append_str(out, "\\n");
			continue;
		}
		if (c == '\\' || (in_quotes && c == '"'))
			buf_put_u8(out, '\\');
		buf_put_u8(out, c);
	}
}

void metrics_put_label(struct buf *out, const char *name, struct span value)
{
	buf_printf(out, "%s=\"", name);
	put_escaped(out, value, true);
	buf_put_u8(out, '"');
}

static bool ends_in_total(const char *name)
{
	static const char total[] = "_total";
	size_t len = strlen(name), total_len = sizeof(total) - 1;

	return len > total_len && strcmp(name + len - total_len, total) == 0;
}

static bool name_is_ours(const char *name, bool is_counter)
{
	return strncmp(name, "relay_", 6) == 0 &&
	       name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0' &&
	       is_counter == ends_in_total(name);
}

static struct family *family_get(struct metrics *m, const char *name, const char *help,
				 bool is_counter)
{
	struct family *f;

	for (f = m->first; f; f = f->next) {
		if (strcmp(f->name, name) != 0)
			continue;
		assert(f->is_counter == is_counter);
		return f;
	}
	assert(name_is_ours(name, is_counter));
	f = xcalloc(1, sizeof(*f));
	f->name = xstrdup(name);
	f->help = xstrdup(help);
	f->is_counter = is_counter;
	f->last = &f->first;
	*m->last = f;
	m->last = &f->next;
	return f;
}

/* The sample with these labels, made if it is not there yet. */
static struct sample *sample_get(struct metrics *m, struct family *f, const char *labels,
				 enum sample_kind kind)
{
	struct sample *s;
	struct buf all;

	buf_init(&all, KIB(4));
	buf_printf(&all, "%s%s%s", m->common_labels, labels ? "," : "", labels ? labels : "");
	buf_put_u8(&all, '\0');
	for (s = f->first; s; s = s->next)
		if (strcmp(s->labels, (const char *)all.ptr) == 0)
			break;
	if (!s) {
		s = xcalloc(1, sizeof(*s));
		s->labels = xstrdup((const char *)all.ptr);
		s->kind = kind;
		*f->last = s;
		f->last = &s->next;
	}
	buf_release(&all);
	assert(s->kind == kind);
	return s;
}

uint64_t *metrics_counter(struct metrics *m, const char *name, const char *help, const char *labels)
{
	return &sample_get(m, family_get(m, name, help, true), labels, SAMPLE_COUNTER)->counter;
}

int64_t *metrics_gauge(struct metrics *m, const char *name, const char *help, const char *labels)
{
	return &sample_get(m, family_get(m, name, help, false), labels, SAMPLE_GAUGE)->gauge;
}

void metrics_gauge_call(struct metrics *m, const char *name, const char *help, const char *labels,
			int64_t (*get)(void *arg), void *arg)
{
	struct sample *s = sample_get(m, family_get(m, name, help, false), labels,
				      SAMPLE_GAUGE_CALL);

	s->get = get;
	s->arg = arg;
}

void metrics_seconds_call(struct metrics *m, const char *name, const char *help, const char *labels,
			  uint64_t (*get_usec)(void *arg), void *arg)
{
	struct family *f = family_get(m, name, help, ends_in_total(name));
	struct sample *s = sample_get(m, f, labels, SAMPLE_SECONDS_CALL);

	s->get_usec = get_usec;
	s->arg = arg;
}

static void render_sample(const struct family *f, const struct sample *s, struct buf *out)
{
	int64_t value = s->kind == SAMPLE_GAUGE_CALL ? s->get(s->arg) : s->gauge;
	uint64_t usec;

	if (s->kind == SAMPLE_GAUGE_CALL && value == METRICS_ABSENT)
		return;
	buf_printf(out, "%s{%s} ", f->name, s->labels);
	switch (s->kind) {
	case SAMPLE_COUNTER:
		buf_printf(out, "%" PRIu64 "\n", s->counter);
		break;
	case SAMPLE_GAUGE:
	case SAMPLE_GAUGE_CALL:
		buf_printf(out, "%" PRId64 "\n", value);
		break;
	case SAMPLE_SECONDS_CALL:
		usec = s->get_usec(s->arg);
		buf_printf(out, "%" PRIu64 ".%06u\n", usec / USEC_PER_SEC,
			   (unsigned)(usec % USEC_PER_SEC));
		break;
	}
}

void metrics_render(struct metrics *m, struct buf *out)
{
	for (const struct family *f = m->first; f; f = f->next) {
		buf_printf(out, "# HELP %s ", f->name);
		put_escaped(out, span_str(f->help), false);
		buf_printf(out, "\n# TYPE %s %s\n", f->name, f->is_counter ? "counter" : "gauge");
		for (const struct sample *s = f->first; s; s = s->next)
			render_sample(f, s, out);
	}
}

/* The server. libmicrohttpd keeps an epoll descriptor of its own, which is one descriptor of our
 * loop. */

struct metrics_server {
	struct metrics *metrics;
	struct loop *loop;
	struct loop_io io;
	struct loop_timer timer;
	struct MHD_Daemon *daemon;
	int64_t page_bytes; /* of answers that are not sent yet */
	uint16_t port;
};

/* What an answer says, until libmicrohttpd has sent it. */
struct page {
	struct metrics_server *server;
	int64_t bytes;
	uint8_t *text;
};

static void page_free(void *arg)
{
	struct page *p = arg;

	p->server->page_bytes -= p->bytes;
	free(p->text);
	free(p);
}

/* Takes what body has. */
static struct page *page_new(struct metrics_server *s, struct buf *body)
{
	struct page *p = xmalloc(sizeof(*p));

	p->server = s;
	p->text = xrealloc(body->ptr, body->len);
	p->bytes = (int64_t)(sizeof(*p) + body->len);
	s->page_bytes += p->bytes;
	return p;
}

/* Takes what body has. */
static enum MHD_Result answer(struct metrics_server *s, struct MHD_Connection *connection,
			      unsigned status, const char *type, struct buf *body)
{
	struct page *page = page_new(s, body);
	struct MHD_Response *response;
	enum MHD_Result result;

	response = MHD_create_response_from_buffer_with_free_callback_cls(body->len, page->text,
									  page_free, page);
	if (!response) {
		page_free(page);
		return MHD_NO;
	}
	result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (result == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	if (result == MHD_YES)
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result answer_text(struct metrics_server *s, struct MHD_Connection *connection,
				   unsigned status, const char *text)
{
	struct buf body;

	buf_init(&body, 256);
	buf_append_str(&body, text);
	return answer(s, connection, status, "text/plain", &body);
}

/* Called twice a request: for its head, and when it is complete. */
static enum MHD_Result handle(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	struct metrics_server *s = arg;
	struct buf body;

	(void)version;
	(void)upload;
	/* An answer to the head alone is the last on its connection: no body is read. */
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return answer_text(s, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
				   "GET and HEAD only\n");
	if (!*state) {
		*state = s;
		return MHD_YES;
	}
	if (*upload_size > 0)
		return MHD_NO;
	if (strcmp(url, "/metrics") != 0)
		return answer_text(s, connection, MHD_HTTP_NOT_FOUND,
				   "the metrics are at /metrics\n");
	buf_init(&body, RENDER_MAX);
	metrics_render(s->metrics, &body);
	return answer(s, connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8",
		      &body);
}

static unsigned connection_count(struct metrics_server *s)
{
	return MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

static void server_run(struct metrics_server *s)
{
	MHD_UNSIGNED_LONG_LONG msec;
	unsigned before;

	/* At its limit the daemon does not listen; it does so again only in the run after the one
	 * in which a connection ended. */
	do {
		before = connection_count(s);
		MHD_run(s->daemon);
	} while (connection_count(s) < before);
	if (MHD_get_timeout(s->daemon, &msec) == MHD_YES)
		loop_timer_set(s->loop, &s->timer, msec * USEC_PER_MSEC);
	else
		loop_timer_cancel(s->loop, &s->timer);
}

static void server_ready(void *arg, uint32_t events)
{
	(void)events;
	server_run(arg);
}

static void server_timeout(void *arg)
{
	server_run(arg);
}

/* The descriptor, or why there is none: the library would not say. */
static int open_socket(uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof(address);
	int fd, error, on = 1, send_bytes = SEND_BYTES; /* of those that are accepted */

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0 || getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
		error = -errno;
		close(fd);
		return error;
	}
	*ret_port = ntohs(address.sin_port);
	return fd;
}

int metrics_server_new(struct metrics *m, struct loop *l, uint16_t port,
		       struct metrics_server **ret)
{
	struct metrics_server *s = xcalloc(1, sizeof(*s));
	const union MHD_DaemonInfo *info;
	int fd;

	s->metrics = m;
	s->loop = l;
	loop_io_init(&s->io, server_ready, s);
	loop_timer_init(&s->timer, server_timeout, s);
	fd = open_socket(port, &s->port);
	if (fd < 0) {
		free(s);
		return fd;
	}
	/* The daemon takes the socket, whether it starts or not. */
	s->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, s,
				     MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
				     METRICS_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				     CONNECTION_TIMEOUT, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				     (size_t)CONNECTION_MEMORY, MHD_OPTION_END);
	if (!s->daemon) {
		free(s);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	assert(info);
	loop_io_add(l, &s->io, info->epoll_fd, EPOLLIN);
	*ret = s;
	return 0;
}

int64_t metrics_server_bytes(void *server)
{
	struct metrics_server *s = server;

	return s->page_bytes + (int64_t)connection_count(s) * METRICS_CONNECTION_BYTES;
}

uint16_t metrics_server_port(const struct metrics_server *s)
{
	return s->port;
}

void metrics_server_free(struct metrics_server *s)
{
	if (!s)
		return;
	loop_io_remove(s->loop, &s->io);
	loop_timer_cancel(s->loop, &s->timer);
	MHD_stop_daemon(s->daemon);
	free(s);
}
