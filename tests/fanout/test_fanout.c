#include "fanout/fanout.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "common/log.h"
#include "common/stage.h"
#include "common/xrpc.h"

#include "tests/lib/log_maker.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/*
 * The real thing on a free loopback port, in a child; the child also plays store and ingest, as the
 * test tells it over a socket. nng starts threads, so the test itself never touches it.
 */

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

#define HEAD_USEC   (20 * USEC_PER_MSEC)
#define METRICS_MAX 65536

struct server {
	pid_t pid;
	int fd;
	uint16_t port;
	struct log_maker log;
};

struct server_settings {
	uint64_t ping_usec, progress_usec, request_usec;
	size_t max;
	uint64_t first_seq;
	size_t file_events;
	bool eager;
	bool alone; /* nobody answers calls */
};

#define WS   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define SYNC "/xrpc/com.atproto.sync."

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

static void child_ready(void *arg, uint32_t events)
{
	struct child *c = arg;
	struct command command;

	(void)events;
	if (recv(c->commands.fd, &command, sizeof(command), 0) != sizeof(command))
		_exit(4); /* the test has died */
	switch (command.order) {
	case ORDER_HEAD:
		c->has_head = true;
		c->last = command.head;
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

/* Says who answers, and what was asked. */
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
		.address = "127.0.0.1",
		.request_usec = s->request_usec,
		.name = "relay.test",
		.log_folder = log_folder,
		.head_url = urls[0],
		.store_url = urls[1],
		.ingest_url = urls[2],
		.consumers = {s->max, s->ping_usec, s->progress_usec},
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

static const struct server_settings ordinary = {
	.ping_usec = 60 * USEC_PER_SEC,
	.progress_usec = 60 * USEC_PER_SEC,
	.request_usec = 60 * USEC_PER_SEC,
	.max = 1000,
	.first_seq = 1,
	.file_events = 10,
};

static void server_start(struct server *s, const struct server_settings *settings)
{
	char urls[3][CONFIG_URL_SIZE];
	const char *folder = test_folder();
	int fds[2];

	for (size_t i = 0; i < 3; i++)
		snprintf(urls[i], sizeof(urls[i]), "ipc://%s/%zu", folder, i);
	*s = (struct server){0};
	log_maker_init(&s->log, test_folder(), settings->first_seq, settings->file_events,
		       settings->eager);
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

static void server_order(struct server *s, enum order order)
{
	struct command command = {.order = order, .head = log_maker_head(&s->log)};

	CHECK_INT(send(s->fd, &command, sizeof(command), MSG_NOSIGNAL), sizeof(command));
}

/* Returns when fanout knows the log as it is now. */
static void server_tell(struct server *s);

static int64_t server_metric(struct server *s, const char *sample)
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

#define INSTANCE       "stage=\"fanout\",instance=\"0\""
#define METRIC(name)   name "{" INSTANCE "}"
#define CLOSES(reason) "relay_consumer_closes_total{" INSTANCE ",reason=\"" reason "\"}"

/* Asks until it is so; 20 seconds at most, in steps that give the server the processor. */
static bool server_reaches(struct server *s, const char *sample, int64_t value)
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

static void server_tell(struct server *s)
{
	server_order(s, ORDER_HEAD);
	server_reaches(s, METRIC("relay_head_seq"), (int64_t)s->log.next_seq - 1);
}

/* Asks for its health until that is so. */
static void server_becomes(struct server *s, int want)
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

static void server_add(struct server *s, size_t count, size_t payload_bytes)
{
	log_maker_add(&s->log, count, payload_bytes);
	server_tell(s);
}

/* It ends by itself, with status 0. */
static void server_wait(struct server *s)
{
	int status = -1;

	CHECK_INT(waitpid(s->pid, &status, 0), s->pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		test_fail(__FILE__, __LINE__, "the server ended with status %d", status);
	close(s->fd);
	log_maker_release(&s->log);
}

static void server_stop(struct server *s)
{
	server_order(s, ORDER_STOP);
	server_wait(s);
}

static void check_events(struct stream_client *c, uint64_t from, uint64_t to)
{
	struct stream_frame f;

	for (uint64_t seq = from; seq <= to; seq++) {
		if (stream_read(c, &f) != 1) {
			test_fail(__FILE__, __LINE__, "the stream ended before %" PRIu64, seq);
			return;
		}
		if (f.opcode != 2 || log_maker_seq(f.payload) != seq) {
			test_fail(__FILE__, __LINE__, "no event %" PRIu64, seq);
			return;
		}
	}
}

static void check_text(struct stream_client *c, const char *text)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(c, &f), 1);
	CHECK_INT(f.opcode, 2);
	CHECK(f.payload.len && memmem(f.payload.ptr, f.payload.len, text, strlen(text)));
}

static void check_close(struct stream_client *c, unsigned code)
{
	struct stream_frame f = {0};

	CHECK_INT(stream_read(c, &f), 1);
	CHECK_INT(f.opcode, 8);
	if (code == 0)
		CHECK_INT(f.payload.len, 0);
	else if (f.payload.len < 2)
		test_fail(__FILE__, __LINE__, "no close code");
	else
		CHECK_INT(f.payload.ptr[0] << 8 | f.payload.ptr[1], code);
}

static void check_end(struct stream_client *c)
{
	struct stream_frame f;

	CHECK_INT(stream_read(c, &f), 0);
}

static void answer_close(struct stream_client *c)
{
	stream_write(c, 0x88, SPAN_LITERAL("\x03\xe8"));
}

static const char *query_of(uint64_t cursor)
{
	static char query[64];

	snprintf(query, sizeof(query), "?cursor=%" PRIu64, cursor);
	return query;
}

/* ---- the stream ---- */

static void check_every_cursor(const struct server_settings *settings, size_t payload_bytes)
{
	struct stream_client c;
	struct server s;

	server_start(&s, settings);
	server_add(&s, 45, payload_bytes);
	uint64_t first = settings->first_seq, last = s.log.next_seq - 1;
	for (uint64_t cursor = first - 1; cursor <= last; cursor++) {
		CHECK(stream_open(&c, s.port, query_of(cursor), ""));
		check_events(&c, cursor + 1, last);
		stream_close(&c);
	}
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, first, last);
	/* And it goes on live, over the boundary of a file. */
	for (int i = 0; i < 12; i++) {
		server_add(&s, 1, payload_bytes);
		last++;
		check_events(&c, last, last);
	}
	stream_close(&c);
	server_reaches(&s, METRIC("relay_consumers"), 0);
	server_stop(&s);
}

TEST(every_cursor_gives_the_rest_contiguously)
{
	struct server_settings settings = ordinary;

	check_every_cursor(&settings, 100);
	settings.first_seq = 1000;
	settings.file_events = 7;
	settings.eager = true;
	check_every_cursor(&settings, 70000);
}

TEST(without_cursor_the_stream_begins_at_the_head)
{
	struct stream_client c, late;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 25, 200);
	CHECK(stream_open(&c, s.port, "", ""));
	server_add(&s, 3, 200);
	check_events(&c, 26, 28);
	CHECK(stream_open(&late, s.port, "", ""));
	server_add(&s, 10, 200);
	check_events(&c, 29, 38);
	check_events(&late, 29, 38);
	CHECK_INT(server_metric(&s, METRIC("relay_events_sent_total")), 23);
	CHECK_INT(server_metric(&s, METRIC("relay_consumer_lag_events")), 0);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 2);
	stream_close(&c);
	stream_close(&late);
	server_stop(&s);
}

TEST(a_fresh_log_is_live_from_its_first_event)
{
	struct stream_client c, zero;
	struct server s;

	server_start(&s, &ordinary);
	server_tell(&s);
	server_becomes(&s, 200);
	CHECK(stream_open(&c, s.port, "", ""));
	CHECK(stream_open(&zero, s.port, "?cursor=0", ""));
	server_add(&s, 12, 200);
	check_events(&c, 1, 12);
	check_events(&zero, 1, 12);
	stream_close(&c);
	stream_close(&zero);
	server_stop(&s);
}

TEST(outdated_and_future_cursors_are_told)
{
	struct server_settings settings = ordinary;
	struct stream_client c;
	struct server s;

	settings.first_seq = 100;
	server_start(&s, &settings);
	server_add(&s, 35, 100);
	log_maker_drop(&s.log);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "?cursor=50", ""));
	check_text(&c, "OutdatedCursor");
	check_events(&c, 110, 135);
	stream_close(&c);
	/* One before the oldest misses nothing; and 0 means everything there is. */
	CHECK(stream_open(&c, s.port, "?cursor=109", ""));
	check_events(&c, 110, 135);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 110, 135);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=136", ""));
	check_text(&c, "FutureCursor");
	check_close(&c, 1008);
	answer_close(&c);
	check_end(&c);
	stream_close(&c);
	server_reaches(&s, CLOSES("future_cursor"), 1);
	/* The newest is not the future. */
	CHECK(stream_open(&c, s.port, "?cursor=135", ""));
	server_add(&s, 1, 100);
	check_events(&c, 136, 136);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_slow_reader_gets_everything_while_the_log_grows)
{
	struct server_settings settings = ordinary;
	struct stream_client c;
	struct stream_frame f;
	struct server s;

	settings.file_events = 50;
	server_start(&s, &settings);
	server_add(&s, 200, 50000);
	stream_connect(&c, s.port, 4096);
	CHECK(stream_handshake(&c, "?cursor=0", ""));
	/* It reads slower than the log grows, until the log stops growing. */
	for (uint64_t seq = 1; seq <= 1000 && !test_has_failed(); seq++) {
		if (seq <= 400)
			server_add(&s, 2, 30000);
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(log_maker_seq(f.payload), seq);
	}
	server_reaches(&s, METRIC("relay_consumer_lag_events"), 0);
	stream_close(&c);
	server_stop(&s);
}

/* Its socket takes more only now and then, but it never stops. */
TEST(a_slow_reader_makes_progress_as_long_as_it_reads)
{
	struct server_settings settings = ordinary;
	struct stream_client c;
	struct stream_frame f;
	struct server s;

	settings.progress_usec = 400 * USEC_PER_MSEC;
	settings.ping_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 200, 100000);
	stream_connect(&c, s.port, 4096);
	CHECK(stream_handshake(&c, "?cursor=0", ""));
	for (uint64_t seq = 1; seq <= 20 && !test_has_failed(); seq++) {
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(log_maker_seq(f.payload), seq);
		usleep(100000); /* the reader's pace, and nothing that is waited for */
	}
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	check_events(&c, 21, 200);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_consumer_that_reads_nothing_is_cut_off_and_others_go_on)
{
	struct server_settings settings = ordinary;
	struct stream_client stuck, good;
	struct server s;

	settings.progress_usec = 400 * USEC_PER_MSEC;
	settings.file_events = 1000;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	stream_connect(&stuck, s.port, 4096);
	CHECK(stream_handshake(&stuck, "", ""));
	CHECK(stream_open(&good, s.port, "", ""));
	uint64_t read = 1;
	while (server_metric(&s, CLOSES("stalled")) == 0 && read < 100000 && !test_has_failed()) {
		server_add(&s, 10, 100000);
		check_events(&good, read + 1, read + 10);
		read += 10;
	}
	CHECK_INT(server_metric(&s, CLOSES("stalled")), 1);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	server_add(&s, 1, 100);
	check_events(&good, read + 1, read + 1);
	stream_close(&stuck);
	stream_close(&good);
	server_stop(&s);
}

/* It reads the rest of what it has open; what comes then is gone. */
TEST(a_consumer_that_fell_out_of_the_window_is_told)
{
	struct server_settings settings = ordinary;
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 0, got = 0;

	settings.file_events = 200;
	server_start(&s, &settings);
	server_add(&s, 450, 100000);
	stream_connect(&c, s.port, 4096);
	CHECK(stream_handshake(&c, "?cursor=0", ""));
	check_events(&c, 1, 1);
	log_maker_drop(&s.log);
	log_maker_drop(&s.log);
	server_add(&s, 1, 100);
	for (seq = 2; seq <= 200; seq++) {
		CHECK_INT(stream_read(&c, &f), 1);
		got = log_maker_seq(f.payload);
		if (got != seq)
			break;
	}
	CHECK_INT(seq, 201);
	check_text(&c, "ConsumerTooSlow");
	check_close(&c, 1008);
	answer_close(&c);
	check_end(&c);
	server_reaches(&s, CLOSES("fell_behind"), 1);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_log_that_begins_anew_closes_all_and_is_served)
{
	struct stream_client c;
	struct server s;
	char folder[128];

	server_start(&s, &ordinary);
	server_add(&s, 25, 100);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 25);
	log_maker_drop(&s.log);
	log_maker_drop(&s.log);
	log_maker_release(&s.log);
	snprintf(folder, sizeof(folder), "%s", s.log.folder);
	log_maker_init(&s.log, folder, 1, 10, false);
	server_add(&s, 5, 300);
	check_close(&c, 1012);
	answer_close(&c);
	check_end(&c);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 5);
	stream_close(&c);
	CHECK_INT(server_metric(&s, CLOSES("log_reset")), 1);
	server_stop(&s);
}

TEST(stopping_closes_everybody_on_a_boundary)
{
	struct stream_client live, behind;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 0;

	server_start(&s, &ordinary);
	server_add(&s, 200, 100000);
	CHECK(stream_open(&live, s.port, "", ""));
	stream_connect(&behind, s.port, 4096);
	CHECK(stream_handshake(&behind, "?cursor=0", ""));
	check_events(&behind, 1, 1);
	server_order(&s, ORDER_STOP);
	check_close(&live, 1012);
	answer_close(&live);
	check_end(&live);
	for (seq = 2; stream_read(&behind, &f) == 1 && f.opcode == 2; seq++)
		CHECK_INT(log_maker_seq(f.payload), seq);
	CHECK_INT(f.opcode, 8);
	answer_close(&behind);
	check_end(&behind);
	stream_close(&live);
	stream_close(&behind);
	server_wait(&s);
}

TEST(stopping_does_not_wait_for_who_does_not_read)
{
	struct stream_client stuck;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 300, 100000);
	stream_connect(&stuck, s.port, 4096);
	CHECK(stream_handshake(&stuck, "?cursor=0", ""));
	server_stop(&s);
	stream_close(&stuck);
}

/* ---- control frames ---- */

TEST(pings_are_answered_between_messages)
{
	struct server_settings settings = ordinary;
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;
	uint64_t seq = 1;
	unsigned pongs = 0;

	settings.file_events = 1000;
	server_start(&s, &settings);
	server_add(&s, 300, 20000);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	stream_write(&c, 0x89, SPAN_LITERAL("first"));
	while (seq <= 300 && stream_read(&c, &f) == 1) {
		if (f.opcode == 10)
			pongs++;
		else if (log_maker_seq(f.payload) != seq++)
			break;
	}
	CHECK_INT(seq, 301);
	/* When it is quiet, each is answered, with what it said. */
	if (pongs == 0)
		CHECK_INT(stream_read(&c, &f), 1);
	for (int i = 0; i < 3; i++) {
		stream_write(&c, 0x89, SPAN_LITERAL("again"));
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(f.opcode, 10);
		CHECK_SPAN(f.payload, SPAN_LITERAL("again"));
	}
	stream_close(&c);
	server_stop(&s);
}

TEST(what_comes_with_the_handshake_is_not_lost)
{
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	/* A masked ping in the same segment as the request. */
	stream_connect(&c, s.port, 0);
	stream_send(&c,
		    SPAN_LITERAL("GET " SYNC "subscribeRepos HTTP/1.1\r\nHost: relay\r\n" WS V13 KEY
				 "\r\n\x89\x82\x01\x01\x01\x01\x60\x63"));
	CHECK(stream_head(&c).len > 0);
	CHECK_INT(stream_read(&c, &f), 1);
	CHECK_INT(f.opcode, 10);
	CHECK_SPAN(f.payload, SPAN_LITERAL("ab"));
	stream_close(&c);
	server_stop(&s);
}

TEST(a_quiet_consumer_is_pinged_and_stays_if_it_answers)
{
	struct server_settings settings = ordinary;
	struct stream_client c, silent;
	struct stream_frame f = {0};
	struct server s;

	settings.ping_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	CHECK(stream_open(&silent, s.port, "", ""));
	/* Longer than the silent one is let live. */
	for (int pings = 0; pings < 4 && !test_has_failed(); pings++) {
		CHECK_INT(stream_read(&c, &f), 1);
		CHECK_INT(f.opcode, 9);
		stream_write(&c, 0x8a, f.payload);
	}
	server_reaches(&s, CLOSES("silent"), 1);
	CHECK_INT(server_metric(&s, METRIC("relay_consumers")), 1);
	server_add(&s, 1, 100);
	do {
		CHECK_INT(stream_read(&c, &f), 1);
	} while (f.opcode == 9 && !test_has_failed());
	CHECK_INT(log_maker_seq(f.payload), 2);
	stream_close(&c);
	stream_close(&silent);
	server_stop(&s);
}

TEST(what_consumers_must_not_send_ends_them)
{
	static const struct {
		const char *name;
		struct span bytes;
		unsigned code;
		const char *metric;
	} cases[] = {
		{"unmasked", SPAN_LITERAL("\x89\x00"), 1002, CLOSES("protocol")},
		{"a message of a megabyte",
		 SPAN_LITERAL("\x82\xff\x00\x00\x00\x00\x00\x10\x00\x00\x01\x02\x03\x04"), 1009,
		 CLOSES("too_big")},
		{"close with a code", SPAN_LITERAL("\x88\x82\x00\x00\x00\x00\x03\xe9"), 1001,
		 CLOSES("closed")},
		{"close", SPAN_LITERAL("\x88\x80\x00\x00\x00\x00"), 0, CLOSES("closed")},
	};
	struct stream_client c;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t before = server_metric(&s, cases[i].metric);

		CHECK(stream_open(&c, s.port, "", ""));
		stream_send(&c, cases[i].bytes);
		check_close(&c, cases[i].code);
		stream_close(&c);
		server_reaches(&s, cases[i].metric, before + 1);
	}
	server_stop(&s);
}

TEST(an_endless_message_is_refused_and_small_ones_are_ignored)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	for (int i = 0; i < 100; i++)
		stream_write(&c, 0x81, SPAN_LITERAL("hello"));
	server_add(&s, 1, 100);
	check_events(&c, 2, 2);
	stream_write(&c, 0x01, SPAN_LITERAL("x"));
	for (int i = 0; i < 200; i++)
		stream_write(&c, 0x00, SPAN_LITERAL("x"));
	check_close(&c, 1009);
	stream_close(&c);
	server_stop(&s);
}

/* ---- HTTP ---- */

TEST(bad_requests_for_the_stream_are_refused_before_the_handshake)
{
	static const struct {
		const char *name, *method, *query, *headers;
		int status;
		const char *has;
	} cases[] = {
		{"no upgrade", "GET", "", "", 426, "Upgrade: websocket"},
		{"another upgrade", "GET", "", "Upgrade: h2c\r\nConnection: Upgrade\r\n" V13 KEY,
		 426, "InvalidRequest"},
		{"version 8", "GET", "", WS KEY "Sec-WebSocket-Version: 8\r\n", 400,
		 "Sec-WebSocket-Version: 13"},
		{"no version", "GET", "", WS KEY, 400, "Sec-WebSocket-Version: 13"},
		{"no key", "GET", "", WS V13, 400, "Sec-WebSocket-Key"},
		{"short key", "GET", "", WS V13 "Sec-WebSocket-Key: abc\r\n", 400,
		 "Sec-WebSocket-Key"},
		{"negative", "GET", "?cursor=-1", WS V13 KEY, 400, "cursor"},
		{"text", "GET", "?cursor=now", WS V13 KEY, 400, "cursor"},
		{"empty", "GET", "?cursor=", WS V13 KEY, 400, "cursor"},
		{"no value", "GET", "?cursor", WS V13 KEY, 400, "cursor"},
		{"too large", "GET", "?cursor=9223372036854775808", WS V13 KEY, 400, "cursor"},
		{"twice", "GET", "?cursor=1&cursor=1", WS V13 KEY, 400, "cursor"},
		{"POST", "POST", "", WS V13 KEY, 405, "Allow: GET"},
		{"HEAD", "HEAD", "", WS V13 KEY, 405, "Allow: GET"},
	};
	struct buf answer;
	struct server s;
	char path[128];

	buf_init(&answer, MIB(1));
	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(path, sizeof(path), "/xrpc/com.atproto.sync.subscribeRepos%s",
			 cases[i].query);
		int status = http_ask(s.port, cases[i].method, path, cases[i].headers, "", &answer);
		if (status != cases[i].status || !http_has(&answer, cases[i].has) ||
		    !http_has(&answer, "Access-Control-Allow-Origin: *") ||
		    !http_has(&answer, "(atproto-relay)"))
			test_fail(__FILE__, __LINE__, "%s: %d\n%s", cases[i].name, status,
				  (char *)answer.ptr);
	}
	buf_release(&answer);
	server_stop(&s);
}

TEST(any_origin_and_any_subprotocol_get_the_stream)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"
				     "Host: relay\r\nOrigin: https://elsewhere.example\r\n"
				     "Sec-WebSocket-Protocol: xrpc.v1.json, chat\r\n"
				     "Sec-WebSocket-Extensions: permessage-deflate\r\n" WS V13 KEY
				     "\r\n"));
	struct span head = stream_head(&c);
	char text[2048];
	CHECK_INT(span_to_str(head, text, sizeof(text)), 0);
	CHECK(strstr(text, "HTTP/1.1 101 "));
	CHECK(!strstr(text, "Sec-WebSocket-Protocol"));
	CHECK(!strstr(text, "Sec-WebSocket-Extensions"));
	CHECK(strstr(text, "Access-Control-Allow-Origin: *"));
	CHECK(strstr(text, "(atproto-relay)"));
	stream_close(&c);
	server_stop(&s);
}

TEST(there_is_room_for_so_many_consumers)
{
	struct server_settings settings = ordinary;
	struct stream_client c[3];
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	settings.max = 2;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c[0], s.port, "", ""));
	CHECK(stream_open(&c[1], s.port, "", ""));
	server_reaches(&s, METRIC("relay_consumers"), 2);
	CHECK_INT(http_ask(s.port, "GET", "/xrpc/com.atproto.sync.subscribeRepos", WS V13 KEY, "",
			   &answer),
		  503);
	CHECK(http_has(&answer, "Retry-After"));
	stream_close(&c[0]);
	server_reaches(&s, METRIC("relay_consumers"), 1);
	CHECK(stream_open(&c[2], s.port, "", ""));
	stream_close(&c[1]);
	stream_close(&c[2]);
	buf_release(&answer);
	server_stop(&s);
}

struct http_case {
	const char *name, *method, *path, *headers, *body;
	int status;
	const char *has[4];
};

static void check_http(struct server *s, const struct http_case *cases, size_t count)
{
	struct buf answer;

	buf_init(&answer, MIB(1));
	for (size_t i = 0; i < count; i++) {
		const struct http_case *c = &cases[i];
		int status = http_ask(s->port, c->method, c->path, c->headers, c->body, &answer);
		bool ok = status == c->status &&
			  http_has(&answer, "Access-Control-Allow-Origin: *") &&
			  http_has(&answer, "Server: standpipe/" STAGE_VERSION " (atproto-relay)");

		for (size_t k = 0; k < ARRAY_SIZE(c->has) && c->has[k]; k++)
			ok = ok && http_has(&answer, c->has[k]);
		if (!ok)
			test_fail(__FILE__, __LINE__, "%s: %d\n%s", c->name, status,
				  (char *)answer.ptr);
	}
	buf_release(&answer);
}

#define JSON "Content-Type: application/json"

TEST(routes)
{
	static char long_value[3000], long_body[5000];
	const struct http_case cases[] = {
		{"index", "GET", "/", "", "", 200, {"relay.test", "subscribeRepos"}},
		{"health", "GET", "/_health", "", "", 200, {JSON, "\"status\":\"ok\""}},
		{"xrpc health", "GET", "/xrpc/_health", "", "", 200, {"\"version\":\""}},
		{"HEAD", "HEAD", "/_health", "", "", 200, {"Content-Length"}},
		{"preflight",
		 "OPTIONS",
		 SYNC "requestCrawl",
		 "Origin: https://a.example\r\nAccess-Control-Request-Method: POST\r\n",
		 "",
		 204,
		 {"Access-Control-Allow-Methods", "Access-Control-Allow-Headers"}},
		{"preflight elsewhere", "OPTIONS", "/xrpc/unknown.method.here", "", "", 204, {0}},
		{"nothing", "GET", "/nothing", "", "", 404, {"NotFound"}},
		{"unknown method",
		 "GET",
		 SYNC "getBlob?did=x",
		 "",
		 "",
		 501,
		 {JSON, "{\"error\":\"MethodNotImplemented\",\"message\":\""}},
		{"unknown procedure", "POST", SYNC "nothing", "", "{}", 501, {"MethodNotImpl"}},
		{"wrong HTTP method",
		 "POST",
		 SYNC "listHosts",
		 "",
		 "",
		 405,
		 {JSON, "Allow: GET", "\"error\":\""}},
		{"wrong HTTP method for a procedure",
		 "GET",
		 SYNC "requestCrawl",
		 "",
		 "",
		 405,
		 {"Allow: POST"}},
		{"store",
		 "GET",
		 SYNC "getRepoStatus?did=did%3Aplc%3Aabc&other=1",
		 "",
		 "",
		 200,
		 {"\"stage\":\"store\"", "\"method\":\"com.atproto.sync.getRepoStatus\"",
		  "\"params\":{\"did\":\"did:plc:abc\"}", "\"remote\":\"127.0.0.1\""}},
		{"store too",
		 "GET",
		 SYNC "getLatestCommit?did=x",
		 "",
		 "",
		 200,
		 {"\"stage\":\"store\"", "getLatestCommit"}},
		{"ingest",
		 "GET",
		 SYNC "listHosts?limit=5&cursor=a%20b+c",
		 "",
		 "",
		 200,
		 {"\"stage\":\"ingest\"", "\"limit\":\"5\"", "\"cursor\":\"a b c\""}},
		{"procedure",
		 "POST",
		 SYNC "requestCrawl",
		 JSON "\r\n",
		 "{\"hostname\":\"h\"}",
		 200,
		 {"\"stage\":\"ingest\"", "\"body\":\"{\\\"hostname\\\":\\\"h\\\"}\""}},
		{"an error of the stage",
		 "GET",
		 SYNC "getRepoStatus?did=missing",
		 "",
		 "",
		 400,
		 {JSON, "RepoNotFound"}},
		{"a parameter twice",
		 "GET",
		 SYNC "getRepoStatus?did=a&did=b",
		 "",
		 "",
		 400,
		 {"InvalidRequest"}},
		{"a long parameter", "GET", long_value, "", "", 400, {"InvalidRequest"}},
		{"unknown ones may be twice",
		 "GET",
		 SYNC "getRepoStatus?x=1&did=a&x=2",
		 "",
		 "",
		 200,
		 {0}},
		{"a long body",
		 "POST",
		 SYNC "requestCrawl",
		 "",
		 long_body,
		 413,
		 {JSON, "PayloadTooLarge"}},
		{"a body where none belongs",
		 "GET",
		 SYNC "getRepoStatus?did=a",
		 "",
		 "xyz",
		 200,
		 {0}},
	};
	struct server s;

	snprintf(long_value, sizeof(long_value), SYNC "getRepoStatus?did=%02050d", 0);
	memset(long_body, ' ', sizeof(long_body) - 1);
	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	check_http(&s, cases, ARRAY_SIZE(cases));
	CHECK(server_metric(&s, "relay_http_requests_total{" INSTANCE
				",path=\"/xrpc/com.atproto.sync.listHosts\",code=\"200\"}") == 1);
	server_stop(&s);
}

TEST(a_chunked_body_is_bounded_too)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &ordinary);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("POST " SYNC "requestCrawl HTTP/1.1\r\nHost: relay\r\n"
				     "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"));
	for (int i = 0; i < 5; i++) {
		char chunk[1100];

		snprintf(chunk, sizeof(chunk), "400\r\n%01024d\r\n", 0);
		stream_send(&c, span_str(chunk));
	}
	stream_send(&c, SPAN_LITERAL("0\r\n\r\n"));
	struct span answer = stream_rest(&c);
	CHECK(answer.len && memmem(answer.ptr, answer.len, "413", 3));
	stream_close(&c);
	/* Without an end, it is cut off. */
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("POST " SYNC "requestCrawl HTTP/1.1\r\nHost: relay\r\n"
				     "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"));
	for (int i = 0; i < 1000; i++) {
		char chunk[1100];

		snprintf(chunk, sizeof(chunk), "400\r\n%01024d\r\n", 0);
		stream_send(&c, span_str(chunk));
	}
	stream_rest(&c);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_request_that_trickles_is_cut_off_and_a_consumer_is_not)
{
	struct server_settings settings = ordinary;
	struct stream_client c, trickle;
	struct server s;
	char byte;
	bool ended = false;

	settings.request_usec = 400 * USEC_PER_MSEC;
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	CHECK(stream_open(&c, s.port, "", ""));
	stream_connect(&trickle, s.port, 0);
	stream_send(&trickle, SPAN_LITERAL("GET / HTTP/1.1\r\nX: "));
	for (int i = 0; i < 2000 && !ended; i++) {
		stream_send(&trickle, SPAN_LITERAL("x"));
		usleep(10000);
		ended = recv(trickle.fd, &byte, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
	}
	CHECK(ended);
	server_add(&s, 1, 100);
	check_events(&c, 2, 2);
	stream_close(&c);
	stream_close(&trickle);
	server_stop(&s);
}

TEST(several_requests_on_one_connection)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("GET /_health HTTP/1.1\r\nHost: relay\r\n\r\n"
				     "GET " SYNC "listHosts HTTP/1.1\r\nHost: relay\r\n\r\n"
				     "GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"));
	struct span all = stream_rest(&c);
	unsigned answers = 0;
	for (size_t i = 0; i + 15 <= all.len; i++)
		answers += memcmp(all.ptr + i, "HTTP/1.1 200 OK", 15) == 0;
	CHECK_INT(answers, 3);
	stream_close(&c);
	server_stop(&s);
}

TEST(a_client_that_leaves_during_a_call_harms_nobody)
{
	struct stream_client c;
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	server_start(&s, &ordinary);
	server_add(&s, 1, 100);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("GET " SYNC "getRepoStatus?did=drop HTTP/1.1\r\n"
				     "Host: relay\r\n\r\n"));
	stream_close(&c);
	CHECK_INT(http_ask(s.port, "GET", SYNC "getRepoStatus?did=a", "", "", &answer), 200);
	buf_release(&answer);
	/* Its call is still under way. */
	server_stop(&s);
}

/* The slowest test: the deadline of a call, and how long store may be silent, are five seconds. */
TEST(without_the_other_stages_callers_are_told)
{
	struct server_settings settings = ordinary;
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	settings.alone = true;
	server_start(&s, &settings);
	CHECK_INT(http_ask(s.port, "GET", "/_health", "", "", &answer), 503);
	CHECK_INT(http_ask(s.port, "GET", SYNC "subscribeRepos", WS V13 KEY, "", &answer), 503);
	server_add(&s, 1, 100);
	CHECK_INT(http_ask(s.port, "GET", "/_health", "", "", &answer), 200);
	server_order(&s, ORDER_SILENCE);
	CHECK_INT(http_ask(s.port, "GET", SYNC "getRepoStatus?did=a", "", "", &answer), 503);
	CHECK(http_has(&answer, "store does not answer"));
	CHECK(http_has(&answer, "Access-Control-Allow-Origin: *"));
	server_becomes(&s, 503);
	CHECK_INT(http_ask(s.port, "GET", "/xrpc/_health", "", "", &answer), 503);
	CHECK(http_has(&answer, "store: nothing heard"));
	/* Consumers are served from the log all the same. */
	struct stream_client c;
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 1);
	stream_close(&c);
	buf_release(&answer);
	server_stop(&s);
}
