#include "tests/lib/fanout_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "common/log.h"
#include "common/stage.h"
#include "common/xrpc.h"

#include "fanout/fanout.h"

#include "tests/lib/stream_client.h"
#include "tests/test.h"

#define HEAD_USEC   (20 * USEC_PER_MSEC)
#define METRICS_MAX 65536

enum order {
	ORDER_HEAD,    /* publish this head from now on, again and again */
	ORDER_SILENCE, /* publish nothing */
	ORDER_STOP,    /* SIGTERM, in effect */
	ORDER_METRICS, /* send the metrics back */
};

struct command {
	enum order order;
	struct head head;
};

/* ---- the child ---- */

struct child {
	struct loop *loop;
	struct metrics *metrics;
	struct fanout fanout;
	struct pipe *head, *store, *ingest;
	struct loop_io commands;
	struct loop_timer again;
	bool has_head;
	struct head last;
};

static void child_publish(void *arg)
{
	struct child *c = arg;
	struct buf b;

	loop_timer_set(c->loop, &c->again, HEAD_USEC);
	if (!c->has_head)
		return;
	buf_init(&b, 256);
	message_put_type(&b, MESSAGE_HEAD);
	head_encode(&b, &c->last);
	CHECK_INT(pipe_send(c->head, buf_span(&b)), 0);
	buf_release(&b);
}

static void child_send_metrics(struct child *c)
{
	struct buf b;

	buf_init(&b, MIB(1));
	metrics_render(c->metrics, &b);
	buf_put_u8(&b, '\0');
	if (send(c->commands.fd, b.ptr, b.len, 0) < 0)
		_exit(3);
	buf_release(&b);
}

static void child_take(struct child *c, const struct command *command)
{
	switch (command->order) {
	case ORDER_HEAD:
		c->has_head = true;
		c->last = command->head;
		child_publish(c);
		break;
	case ORDER_SILENCE:
		c->has_head = false;
		break;
	case ORDER_STOP:
		fanout_stop(&c->fanout);
		break;
	case ORDER_METRICS:
		child_send_metrics(c);
		break;
	}
}

/* All that were given: they come faster than the loop turns when there is much to do. */
static void child_ready(void *arg, uint32_t events)
{
	struct child *c = arg;
	struct command command;
	ssize_t n;

	(void)events;
	while ((n = recv(c->commands.fd, &command, sizeof(command), MSG_DONTWAIT)) ==
	       sizeof(command))
		child_take(c, &command);
	if (n >= 0 || errno != EAGAIN)
		_exit(4); /* the test has died */
}

/* Says who answers, and what was asked. */
static void answer_large(struct call *call)
{
	char *text = xmalloc(SERVER_LARGE_BYTES);

	memset(text, 'x', SERVER_LARGE_BYTES);
	xrpc_answer(call, 200, json_pack("{s:o}", "text", json_stringn(text, SERVER_LARGE_BYTES)));
	free(text);
}

static void child_answer(struct call *call, const char *stage, struct span message)
{
	struct reader r = reader_of(message);
	enum message_type type;
	struct xrpc_request q;
	json_t *params = json_object();

	if (message_get_type(&r, &type) < 0 || type != MESSAGE_XRPC ||
	    xrpc_request_decode(&r, &q) < 0)
		_exit(5);
	if (span_is(xrpc_param(&q, "did"), "drop")) {
		json_decref(params);
		call_drop(call);
		return;
	}
	for (size_t i = 0; i < q.param_count; i++) {
		char name[64];

		CHECK_INT(span_to_str(q.params[i].name, name, sizeof(name)), 0);
		json_object_set_new(params, name, xrpc_text(q.params[i].value));
	}
	if (span_is(xrpc_param(&q, "did"), "large")) {
		json_decref(params);
		answer_large(call);
		return;
	}
	if (span_is(xrpc_param(&q, "did"), "foreign")) {
		json_decref(params);
		call_reply(call, SPAN_LITERAL("\x02\x09"));
		return;
	}
	if (span_is(xrpc_param(&q, "did"), "missing")) {
		json_decref(params);
		xrpc_error(call, 400, "RepoNotFound", "no such repo");
		return;
	}
	xrpc_answer(call, 200,
		    json_pack("{s:s, s:o, s:o, s:o, s:o}", "stage", stage, "method",
			      xrpc_text(q.method), "params", params, "body", xrpc_text(q.body),
			      "remote", xrpc_text(q.remote)));
}

static void child_store_request(void *arg, struct call *call, struct span message)
{
	(void)arg;
	child_answer(call, "store", message);
}

static void child_ingest_request(void *arg, struct call *call, struct span message)
{
	(void)arg;
	child_answer(call, "ingest", message);
}

static void child_open_pipes(struct child *c, const char urls[3][CONFIG_URL_SIZE], bool alone)
{
	const struct pipe_handler store = {.request = child_store_request};
	const struct pipe_handler ingest = {.request = child_ingest_request};

	if (pipe_listen_pub(c->loop, urls[0], &c->head) < 0)
		_exit(6);
	if (alone)
		return;
	if (pipe_listen_rep(c->loop, urls[1], &store, &c->store) < 0 ||
	    pipe_listen_rep(c->loop, urls[2], &ingest, &c->ingest) < 0)
		_exit(7);
}

static void child_open_fanout(struct child *c, const char urls[3][CONFIG_URL_SIZE],
			      const struct server_settings *s, struct memory *memory,
			      const char *log_folder)
{
	const struct fanout_settings settings = {
		.port = {.address = "127.0.0.1",
			 .number = s->port,
			 .trusted = s->trusted ? s->trusted : "127.0.0.0/8 ::1",
			 .max_per_client = s->max_connections_per_client,
			 .passed_fd = s->passed_fd > 0 ? s->passed_fd : -1,
			 .tls = s->tls,
			 .request_usec = s->request_usec},
		.name = "relay.test",
		.log_folder = log_folder,
		.head_url = urls[0],
		.store_url = urls[1],
		.ingest_url = urls[2],
		.consumers = {.max = s->max,
			      .max_per_client = s->max_per_client,
			      .ping_usec = s->ping_usec,
			      .progress_usec = s->progress_usec,
			      .drain_usec = s->drain_usec},
	};

	int error = fanout_open(&c->fanout, c->loop, c->metrics, memory, &settings);
	if (error < 0)
		_exit(8);
}

static void child_run(int fd, const struct server_settings *s, const char *log_folder,
		      const char urls[3][CONFIG_URL_SIZE])
{
	struct child c = {.loop = loop_new(), .metrics = metrics_new("fanout", 0)};
	struct memory *memory = memory_new(c.metrics);

	log_set_level(LOG_LEVEL_ERROR);
	loop_timer_init(&c.again, child_publish, &c);
	loop_io_init(&c.commands, child_ready, &c);
	loop_io_add(c.loop, &c.commands, fd, EPOLLIN);
	child_open_pipes(&c, urls, s->alone);
	child_open_fanout(&c, urls, s, memory, log_folder);
	uint16_t port = port_number(c.fanout.port);
	if (send(fd, &port, sizeof(port), 0) < 0)
		_exit(9);
	child_publish(&c);
	int status = loop_run(c.loop);
	fanout_close(&c.fanout);
	loop_timer_cancel(c.loop, &c.again);
	loop_io_remove(c.loop, &c.commands);
	pipe_close(c.store);
	pipe_close(c.ingest);
	pipe_close(c.head);
	memory_free(memory);
	metrics_free(c.metrics);
	loop_free(c.loop);
#ifdef __SANITIZE_ADDRESS__
	if (__lsan_do_recoverable_leak_check())
		status = 10;
#endif
	fflush(stdout);
	_exit(status);
}

/* ---- the test's side ---- */

const struct server_settings server_ordinary = {
	.ping_usec = 60 * USEC_PER_SEC,
	.progress_usec = 60 * USEC_PER_SEC,
	.request_usec = 60 * USEC_PER_SEC,
	.drain_usec = 1 * USEC_PER_SEC,
	.max = 1000,
	.first_seq = 1,
	.file_events = 10,
};

static void start_child(struct server *s, const struct server_settings *settings)
{
	char urls[3][CONFIG_URL_SIZE];
	const char *folder = test_folder();
	int fds[2];

	for (size_t i = 0; i < 3; i++)
		snprintf(urls[i], sizeof(urls[i]), "ipc://%s/%zu", folder, i);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		exit(1);
	fflush(stdout);
	s->pid = fork();
	if (s->pid == 0) {
		close(fds[0]);
		child_run(fds[1], settings, s->log.folder, urls);
	}
	close(fds[1]);
	s->fd = fds[0];
	if (recv(s->fd, &s->port, sizeof(s->port), 0) != sizeof(s->port)) {
		printf("Bail out! the server did not start\n");
		exit(1);
	}
}

void server_raise_limit(void)
{
	struct rlimit limit;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

void server_start(struct server *s, const struct server_settings *settings)
{
	*s = (struct server){.state = HEAD_TAKING};
	log_maker_init(&s->log, test_folder(), settings->first_seq, settings->file_events,
		       settings->eager);
	start_child(s, settings);
}

static void server_order(struct server *s, enum order order)
{
	struct command command = {.order = order, .head = log_maker_head(&s->log)};

	command.head.state = s->state;
	CHECK_INT(send(s->fd, &command, sizeof(command), MSG_NOSIGNAL), sizeof(command));
}

int64_t server_metric(struct server *s, const char *sample)
{
	static char text[METRICS_MAX];
	int64_t value = -1;

	server_order(s, ORDER_METRICS);
	ssize_t n = recv(s->fd, text, sizeof(text) - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	const char *at = strstr(text, sample);
	if (at && sscanf(at + strlen(sample), " %" SCNd64, &value) != 1)
		value = -1;
	return value;
}

bool server_reaches(struct server *s, const char *sample, int64_t value)
{
	int64_t got = -1;

	for (int i = 0; i < 4000 && got != value; i++) {
		if (i > 0)
			usleep(5000);
		got = server_metric(s, sample);
	}
	if (got != value)
		test_fail(__FILE__, __LINE__, "%s is %" PRId64 ", not %" PRId64, sample, got,
			  value);
	return got == value;
}

void server_announce(struct server *s)
{
	server_order(s, ORDER_HEAD);
}

void server_tell(struct server *s)
{
	server_announce(s);
	server_reaches(s, METRIC("relay_head_seq"), (int64_t)s->log.next_seq - 1);
}

void server_becomes(struct server *s, int want)
{
	struct buf answer;
	int status = 0;

	buf_init(&answer, MIB(1));
	for (int i = 0; i < 2000 && status != want; i++) {
		if (i > 0)
			usleep(10000);
		status = http_ask(s->port, "GET", "/_health", "", "", &answer);
	}
	CHECK_INT(status, want);
	buf_release(&answer);
}

void server_add(struct server *s, size_t count, size_t payload_bytes)
{
	log_maker_add(&s->log, count, payload_bytes);
	server_tell(s);
}

static void wait_child(struct server *s)
{
	int status = -1;

	CHECK_INT(waitpid(s->pid, &status, 0), s->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		test_fail(__FILE__, __LINE__, "the server ended with status %d", status);
	close(s->fd);
}

void server_wait(struct server *s)
{
	wait_child(s);
	log_maker_release(&s->log);
}

void server_succeed(struct server *s, const struct server_settings *settings)
{
	wait_child(s);
	start_child(s, settings);
	server_tell(s);
}

void server_silence(struct server *s)
{
	server_order(s, ORDER_SILENCE);
}

void server_ask_to_stop(struct server *s)
{
	server_order(s, ORDER_STOP);
}

void server_stop(struct server *s)
{
	server_order(s, ORDER_STOP);
	server_wait(s);
}
