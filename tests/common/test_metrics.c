#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/metrics.h"

static int64_t answer_42(void *arg)
{
	return *(int64_t *)arg;
}

static uint64_t some_usec(void *arg)
{
	(void)arg;
	return 12000345;
}

static void render(struct metrics *m, struct buf *out)
{
	buf_init(out, MIB(1));
	metrics_render(m, out);
	buf_put_u8(out, '\0');
}

/* Every kind of sample. */
static struct metrics *make_metrics(int64_t *gauge)
{
	struct metrics *m = metrics_new("validate", 3);

	*metrics_counter(m, "relay_events_total", "Events, by verdict.",
			 "verdict=\"accepted\"") = 7;
	*metrics_gauge(m, "relay_window_bytes", "A \\ and a\nline break.", NULL) = -5;
	*metrics_counter(m, "relay_events_total", "Events, by verdict.",
			 "verdict=\"stale\"") = UINT64_MAX;
	metrics_gauge_call(m, "relay_cache_bytes", "Asked.", NULL, answer_42, gauge);
	metrics_seconds_call(m, "relay_process_cpu_seconds_total", "Time.", NULL, some_usec, NULL);
	metrics_seconds_call(m, "relay_oldest_seconds", "Age.", NULL, some_usec, NULL);
	return m;
}

TEST(exposition)
{
	int64_t gauge = 42;
	struct metrics *m = make_metrics(&gauge);
	struct buf out;

	render(m, &out);
	CHECK_STR((const char *)out.ptr,
		  "# HELP relay_events_total Events, by verdict.\n"
		  "# TYPE relay_events_total counter\n"
		  "relay_events_total{stage=\"validate\",instance=\"3\",verdict=\"accepted\"} 7\n"
		  "relay_events_total{stage=\"validate\",instance=\"3\",verdict=\"stale\"} "
		  "18446744073709551615\n"
		  "# HELP relay_window_bytes A \\\\ and a\\nline break.\n"
		  "# TYPE relay_window_bytes gauge\n"
		  "relay_window_bytes{stage=\"validate\",instance=\"3\"} -5\n"
		  "# HELP relay_cache_bytes Asked.\n"
		  "# TYPE relay_cache_bytes gauge\n"
		  "relay_cache_bytes{stage=\"validate\",instance=\"3\"} 42\n"
		  "# HELP relay_process_cpu_seconds_total Time.\n"
		  "# TYPE relay_process_cpu_seconds_total counter\n"
		  "relay_process_cpu_seconds_total{stage=\"validate\",instance=\"3\"} 12.000345\n"
		  "# HELP relay_oldest_seconds Age.\n"
		  "# TYPE relay_oldest_seconds gauge\n"
		  "relay_oldest_seconds{stage=\"validate\",instance=\"3\"} 12.000345\n");
	buf_release(&out);
	metrics_free(m);
	metrics_free(NULL);
}

TEST(a_single_stage_has_no_instance)
{
	struct metrics *m = metrics_new("store", -1);
	struct buf out;

	metrics_counter(m, "relay_x_total", "X.", NULL);
	render(m, &out);
	CHECK(strstr((const char *)out.ptr, "\nrelay_x_total{stage=\"store\"} 0\n") != NULL);
	buf_release(&out);
	metrics_free(m);
}

TEST(the_same_name_and_labels_are_the_same_sample)
{
	struct metrics *m = metrics_new("store", -1);
	uint64_t *a = metrics_counter(m, "relay_x_total", "X.", "k=\"1\"");

	CHECK(metrics_counter(m, "relay_x_total", "X.", "k=\"1\"") == a);
	CHECK(metrics_counter(m, "relay_x_total", "X.", "k=\"2\"") != a);
	CHECK(metrics_counter(m, "relay_x_total", "X.", NULL) != a);
	metrics_free(m);
}

TEST(labels_are_escaped)
{
	struct buf out;

	buf_init(&out, 100);
	metrics_put_label(&out, "what", span_str("a\"b\\c\nd"));
	CHECK_SPAN(buf_span(&out), span_str("what=\"a\\\"b\\\\c\\nd\""));
	buf_release(&out);
}

static bool dies(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (!freopen("/dev/null", "we", stderr))
			_exit(0);
		run();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void register_foreign_name(void)
{
	metrics_counter(metrics_new("x", -1), "other_x_total", "X.", NULL);
}

static void register_counter_without_total(void)
{
	metrics_counter(metrics_new("x", -1), "relay_x", "X.", NULL);
}

static void register_gauge_with_total(void)
{
	metrics_gauge(metrics_new("x", -1), "relay_x_total", "X.", NULL);
}

TEST(names_follow_the_rules)
{
	CHECK(dies(register_foreign_name));
	CHECK(dies(register_counter_without_total));
	CHECK(dies(register_gauge_with_total));
}

TEST(promtool_has_no_complaint)
{
	int64_t gauge = 42;
	struct metrics *m;
	struct buf out;
	FILE *promtool;
	int status;

	if (access("/usr/bin/promtool", X_OK) < 0)
		SKIP("promtool is not installed");
	m = make_metrics(&gauge);
	render(m, &out);
	promtool = popen("/usr/bin/promtool check metrics 2>&1", "we");
	fwrite(out.ptr, 1, out.len - 1, promtool);
	status = pclose(promtool);
	CHECK_INT(WEXITSTATUS(status), 0);
	buf_release(&out);
	metrics_free(m);
}

/* A client on the server's loop: sends a request, and ends the loop when the server closes the
 * connection. */
struct client {
	struct loop *loop;
	struct loop_io io;
	struct buf answer;
	int fd;
	unsigned *left;
};

static void client_readable(void *arg, uint32_t events)
{
	struct client *c = arg;
	char block[4096];
	ssize_t n = read(c->fd, block, sizeof(block));

	(void)events;
	if (n > 0) {
		buf_append(&c->answer, span_of(block, (size_t)n));
		return;
	}
	if (n < 0 && errno == EAGAIN)
		return;
	loop_io_remove(c->loop, &c->io);
	if (--*c->left == 0)
		loop_quit(c->loop, 0);
}

/* receive_bytes: that the kernel keeps for it; 0: as many as it likes. */
static int dial_with(uint16_t port, int receive_bytes)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (receive_bytes)
		CHECK_INT(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes,
				     sizeof(receive_bytes)),
			  0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_INT(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int dial(uint16_t port)
{
	return dial_with(port, 0);
}

static void client_start(struct client *c, struct loop *l, uint16_t port, const char *request,
			 unsigned *left)
{
	c->loop = l;
	c->left = left;
	c->fd = dial(port);
	buf_init(&c->answer, MIB(1));
	CHECK_INT(write(c->fd, request, strlen(request)), strlen(request));
	loop_io_init(&c->io, client_readable, c);
	loop_io_add(l, &c->io, c->fd, EPOLLIN);
	++*left;
}

static void client_end(struct client *c)
{
	close(c->fd);
	buf_release(&c->answer);
}

static const char *client_text(struct client *c)
{
	buf_put_u8(&c->answer, '\0');
	return (const char *)c->answer.ptr;
}

#define END " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

TEST(server_answers)
{
	static const struct {
		const char *request, *status, *contains;
	} cases[] = {
		{"GET /metrics" END, "HTTP/1.1 200 ", "\r\n\r\n# HELP relay_events_total"},
		{"GET /metrics?x=y" END, "HTTP/1.1 200 ",
		 "Content-Type: text/plain; version=0.0.4"},
		{"HEAD /metrics" END, "HTTP/1.1 200 ", "\r\n\r\n"},
		{"GET /" END, "HTTP/1.1 404 ", "/metrics"},
		{"POST /metrics" END, "HTTP/1.1 405 ", "Allow: GET, HEAD"},
		{"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "", ""},
		{"PUT /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
		 "3\r\n\r\nabc",
		 "HTTP/1.1 405 ", "Allow: GET, HEAD"},
	};
	struct client clients[ARRAY_SIZE(cases)];
	struct loop *l = loop_new();
	struct metrics_server *s = NULL;
	int64_t gauge = 42;
	struct metrics *m = make_metrics(&gauge);
	unsigned left = 0;

	CHECK_INT(metrics_server_new(m, l, 0, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		client_start(&clients[i], l, metrics_server_port(s), cases[i].request, &left);
	loop_run(l);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *text = client_text(&clients[i]);

		CHECK(strncmp(text, cases[i].status, strlen(cases[i].status)) == 0);
		CHECK(strstr(text, cases[i].contains) != NULL);
		if (strncmp(cases[i].request, "HEAD", 4) == 0)
			CHECK(strstr(text, "# HELP") == NULL);
		client_end(&clients[i]);
	}
	metrics_server_free(s);
	metrics_server_free(NULL);
	metrics_free(m);
	loop_free(l);
}

/* A connection that is kept: asks again after every answer, and ends the loop after the last. */
struct asker {
	struct loop *loop;
	struct loop_io io;
	int fd;
	unsigned answers;
};

#define ASKED 5

static void asker_ask(struct asker *a)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

	CHECK_INT(write(a->fd, request, sizeof(request) - 1), sizeof(request) - 1);
}

static void asker_readable(void *arg, uint32_t events)
{
	struct asker *a = arg;
	char block[4096];

	(void)events;
	if (read(a->fd, block, sizeof(block)) > 0 && ++a->answers < ASKED)
		asker_ask(a);
	else
		loop_quit(a->loop, 0);
}

static void asker_start(struct asker *a, struct loop *l, uint16_t port)
{
	*a = (struct asker){.loop = l, .fd = dial(port)};
	loop_io_init(&a->io, asker_readable, a);
	loop_io_add(l, &a->io, a->fd, EPOLLIN);
	asker_ask(a);
}

/* One more connection than there may be: it waits, whatever the others do, until one of them has
 * gone. */
TEST(connections_are_limited)
{
	struct loop *l = loop_new();
	struct metrics_server *s = NULL;
	int64_t gauge = 42;
	struct metrics *m = make_metrics(&gauge);
	struct asker asker;
	struct client surplus;
	unsigned left = 0;
	int idle[METRICS_CONNECTIONS_MAX - 1];

	CHECK_INT(metrics_server_new(m, l, 0, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		idle[i] = dial(metrics_server_port(s));
	asker_start(&asker, l, metrics_server_port(s));
	client_start(&surplus, l, metrics_server_port(s), "GET /metrics" END, &left);
	loop_run(l);
	CHECK_INT(asker.answers, ASKED);
	CHECK_INT(surplus.answer.len, 0);
	CHECK_INT(left, 1);
	CHECK_INT(metrics_server_bytes(s), METRICS_CONNECTIONS_MAX * METRICS_CONNECTION_BYTES);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		close(idle[i]);
	loop_run(l);
	CHECK(strstr(client_text(&surplus), "relay_events_total") != NULL);
	client_end(&surplus);
	loop_io_remove(l, &asker.io);
	close(asker.fd);
	metrics_server_free(s);
	metrics_free(m);
	loop_free(l);
}

#define PAGE_OWN    24 /* what the server keeps beside a page */
#define LONG_LABEL  1000
#define MANY_LABELS 1000

/* A page of a MiB, more than the kernel takes of it for a client that reads nothing. */
static struct metrics *make_large_metrics(size_t *ret_bytes)
{
	struct metrics *m = metrics_new("store", -1);
	char label[LONG_LABEL + 20];
	struct buf out;

	for (unsigned i = 0; i < MANY_LABELS; i++) {
		snprintf(label, sizeof(label), "k=\"%u%0*u\"", i, LONG_LABEL, 0);
		metrics_counter(m, "relay_x_total", "X.", label);
	}
	buf_init(&out, MIB(4));
	metrics_render(m, &out);
	*ret_bytes = out.len;
	buf_release(&out);
	return m;
}

struct holding {
	struct loop *loop;
	struct loop_timer look;
	struct metrics_server *server;
	int64_t bytes; /* the loop ends when so many are held */
	unsigned looks;
};

static void look(void *arg)
{
	struct holding *h = arg;

	if (metrics_server_bytes(h->server) == h->bytes || ++h->looks == 20000)
		loop_quit(h->loop, 0);
	else
		loop_timer_set(h->loop, &h->look, USEC_PER_MSEC);
}

static void hold(struct holding *h, size_t bytes)
{
	h->bytes = (int64_t)bytes;
	h->looks = 0;
	loop_timer_init(&h->look, look, h);
	loop_timer_set(h->loop, &h->look, 0);
	loop_run(h->loop);
	CHECK_INT(metrics_server_bytes(h->server), bytes);
}

/* All that there may be, and one more, ask for a page and do not read it. */
TEST(what_connections_take_is_bounded)
{
	struct holding h = {.loop = loop_new()};
	int fds[METRICS_CONNECTIONS_MAX + 1];
	size_t page, most;
	struct metrics *m = make_large_metrics(&page);

	CHECK_INT(metrics_server_new(m, h.loop, 0, &h.server), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = dial_with(metrics_server_port(h.server), 4096);
		CHECK_INT(write(fds[i], "GET /metrics" END, strlen("GET /metrics" END)),
			  strlen("GET /metrics" END));
	}
	most = METRICS_CONNECTIONS_MAX * (METRICS_CONNECTION_BYTES + page + PAGE_OWN);
	hold(&h, most);
	/* Who waited comes in when others go. */
	for (size_t i = 0; i < METRICS_CONNECTIONS_MAX; i++)
		close(fds[i]);
	hold(&h, most / METRICS_CONNECTIONS_MAX);
	close(fds[METRICS_CONNECTIONS_MAX]);
	hold(&h, 0);
	metrics_server_free(h.server);
	metrics_free(m);
	loop_free(h.loop);
}

TEST(a_port_in_use)
{
	struct loop *l = loop_new();
	struct metrics_server *a = NULL, *b = NULL;
	struct metrics *m = metrics_new("store", -1);

	CHECK_INT(metrics_server_new(m, l, 0, &a), 0);
	CHECK_INT(metrics_server_new(m, l, metrics_server_port(a), &b), -EADDRINUSE);
	CHECK(b == NULL);
	metrics_server_free(a);
	metrics_free(m);
	loop_free(l);
}
