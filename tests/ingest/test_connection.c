#include "ingest/connection.h"

#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>

#include "common/config.h"
#include "tests/lib/wait.h"
#include "tests/lib/raw_server.h"
#include "tests/test.h"

#define PING_BYTES 6 /* empty, and masked */

/* A dialler, one server that behaves as its script says, and one connection to it. */

enum script {
	SCRIPT_ACCEPT,    /* opens the WebSocket */
	SCRIPT_ANSWER,    /* sends `answer` */
	SCRIPT_ONE_PIECE, /* opens it and sends two messages in the same bytes */
	SCRIPT_MUTE,      /* answers nothing */
};

struct rig {
	struct loop *loop;
	struct config *config;
	struct dialer dialer;
	struct host_policy *policy;
	struct tls *tls;
	struct resolver *resolver;
	struct raw_server *server;
	struct raw_client *client; /* the last that sent a request */
	enum script script;
	const char *answer;
	struct buf request;
	size_t more; /* bytes the client sent after its request */
	bool answers_pings;
	uint64_t ping_usec;     /* when the last one came */
	uint64_t ping_gap_usec; /* between that one and the one before */
	struct connection *connection;
	unsigned opened;
	bool ended;
	struct connection_report report;
	struct buf got; /* messages, "[...]" */
	unsigned messages;
	unsigned take; /* messages that are taken before there is no room */
	struct loop_timer pong_timer;
};

static void on_request(void *arg, struct raw_client *c, struct span head)
{
	struct rig *r = arg;

	r->client = c;
	buf_clear(&r->request);
	buf_append(&r->request, head);
	switch (r->script) {
	case SCRIPT_ACCEPT:
		raw_client_accept(c, head);
		break;
	case SCRIPT_ANSWER:
		raw_client_send(c, span_str(r->answer));
		break;
	case SCRIPT_ONE_PIECE:
		raw_client_accept(c, head);
		raw_client_frame(c, 0x82, SPAN_LITERAL("one"));
		raw_client_frame(c, 0x82, SPAN_LITERAL("two"));
		break;
	case SCRIPT_MUTE:
		break;
	}
}

static void on_more(void *arg, struct raw_client *c, struct span bytes)
{
	struct rig *r = arg;

	r->more = bytes.len;
	if (!r->answers_pings)
		return;
	raw_client_frame(c, 0x8a, SPAN_EMPTY);
	r->ping_gap_usec = r->ping_usec ? loop_now_usec(r->loop) - r->ping_usec : 0;
	r->ping_usec = loop_now_usec(r->loop);
}

static void on_gone(void *arg, struct raw_client *c)
{
	struct rig *r = arg;

	if (r->client == c)
		r->client = NULL;
}

static void on_opened(void *arg)
{
	struct rig *r = arg;

	r->opened++;
}

static int on_message(void *arg, struct span message)
{
	struct rig *r = arg;

	if (r->take == 0)
		return -EAGAIN;
	if (span_is(message, "refuse me"))
		return -EBADMSG;
	r->take--;
	r->messages++;
	if (message.len > 100)
		return 0;
	buf_append_str(&r->got, "[");
	buf_append(&r->got, message);
	buf_append_str(&r->got, "]");
	return 0;
}

static void on_ended(void *arg, const struct connection_report *report)
{
	struct rig *r = arg;

	r->ended = true;
	r->report = *report;
}

static void set(struct rig *r, const char *assignment)
{
	char reason[256];
	int error = config_set(r->config, assignment, reason, sizeof(reason));

	if (error)
		test_fail(__FILE__, __LINE__, "%s", reason);
}

/* certificate: NULL for a plain server; else the name of one in folder. */
static void rig_init(struct rig *r, const char *folder, const char *certificate)
{
	const struct raw_handler h = {on_request, on_more, on_gone, r};
	char certificate_path[256], key_path[256];

	*r = (struct rig){.take = UINT32_MAX};
	r->loop = loop_new();
	r->config = config_new();
	buf_init(&r->request, KIB(16));
	buf_init(&r->got, MIB(16));
	set(r,
	    certificate ? "network.private_hosts=localhost:*" : "network.plain_hosts=localhost:*");
	snprintf(certificate_path, sizeof(certificate_path), "%s/%s.crt", folder,
		 certificate ? certificate : "");
	snprintf(key_path, sizeof(key_path), "%s/%s.key", folder, certificate ? certificate : "");
	r->server = raw_server_new(r->loop, certificate ? certificate_path : NULL,
				   certificate ? key_path : NULL, &h);
	r->dialer.connect_timeout_usec = 10 * USEC_PER_SEC;
	r->dialer.ping_interval_usec = 10 * USEC_PER_SEC;
	r->dialer.read_timeout_usec = 30 * USEC_PER_SEC;
}

static void dial_host(struct rig *r, const char *ca_file, const char *name, uint16_t port)
{
	const struct connection_handler h = {on_opened, on_message, on_ended, r};
	struct dialer *d = &r->dialer;
	struct host host = {.port = port};
	char reason[256];

	snprintf(host.name, sizeof(host.name), "%s", name);
	CHECK_INT(host_policy_new(r->config, reason, sizeof(reason), &r->policy), 0);
	CHECK_INT(tls_new(ca_file, reason, sizeof(reason), &r->tls), 0);
	CHECK_INT(resolver_new(r->loop, &r->resolver), 0);
	d->loop = r->loop;
	d->policy = r->policy;
	d->tls = r->tls;
	d->resolver = r->resolver;
	websocket_pool_init(&d->pool, WEBSOCKET_POOL_MIN_BYTES);
	r->connection = connection_new(d, &host, "/stream?cursor=5", &h);
}

static void dial(struct rig *r, const char *ca_file)
{
	dial_host(r, ca_file, "localhost", raw_server_port(r->server));
}

static void rig_release(struct rig *r)
{
	connection_free(r->connection);
	raw_server_free(r->server);
	websocket_pool_release(&r->dialer.pool);
	resolver_free(r->resolver);
	tls_free(r->tls);
	host_policy_free(r->policy);
	config_free(r->config);
	buf_release(&r->request);
	buf_release(&r->got);
	loop_free(r->loop);
}

static bool has_ended(void *arg)
{
	struct rig *r = arg;

	return r->ended;
}

static bool has_request(void *arg)
{
	struct rig *r = arg;

	return r->request.len > 0;
}

static bool is_open(void *arg)
{
	struct rig *r = arg;

	return r->opened > 0;
}

static bool has_two(void *arg)
{
	struct rig *r = arg;

	return r->messages >= 2;
}

static bool has_two_or_end(void *arg)
{
	struct rig *r = arg;

	return has_two(r) || r->ended;
}

static bool has_three(void *arg)
{
	struct rig *r = arg;

	return r->messages >= 3;
}

static bool is_holding(void *arg)
{
	struct rig *r = arg;

	return connection_is_holding(r->connection);
}

static bool is_holding_or_done(void *arg)
{
	struct rig *r = arg;

	return r->messages == 502 || r->ended || is_holding(r);
}

static void wait_end(struct rig *r, enum connection_end end, int line)
{
	wait_until(r->loop, has_ended, r, "the end");
	if (r->report.end != end)
		test_fail(__FILE__, line, "ended by %s: %s; not by %s",
			  connection_end_name(r->report.end), r->report.text,
			  connection_end_name(end));
}
#define CHECK_END(r, e) wait_end((r), (e), __LINE__)

static void check_messages(struct rig *r)
{
	wait_until(r->loop, is_open, r, "open");
	CHECK(connection_is_open(r->connection));
	raw_client_frame(r->client, 0x82, SPAN_LITERAL("one"));
	raw_client_frame(r->client, 0x82, SPAN_LITERAL("two"));
	wait_until(r->loop, has_two, r, "two messages");
	CHECK_SPAN(buf_span(&r->got), SPAN_LITERAL("[one][two]"));
	raw_client_cut(r->client);
	CHECK_END(r, END_LOST);
}

TEST(plain)
{
	struct rig r;
	char want[128];

	rig_init(&r, "", NULL);
	dial(&r, "");
	check_messages(&r);
	snprintf(want, sizeof(want), "GET /stream?cursor=5 HTTP/1.1\r\nHost: localhost:%u\r\n",
		 raw_server_port(r.server));
	CHECK(span_starts_with(buf_span(&r.request), span_str(want)));
	rig_release(&r);
}

TEST(tls)
{
	const char *folder = test_folder();
	char ca_file[256];
	struct rig r;

	make_certificate(folder, "localhost");
	snprintf(ca_file, sizeof(ca_file), "%s/localhost.crt", folder);
	rig_init(&r, folder, "localhost");
	dial(&r, ca_file);
	check_messages(&r);
	rig_release(&r);
}

/* What another use of OpenSSL left in the thread's queue of errors says nothing about a stream. */
TEST(tls_after_errors_of_others)
{
	const char *folder = test_folder();
	char ca_file[256];
	struct rig r;

	make_certificate(folder, "localhost");
	snprintf(ca_file, sizeof(ca_file), "%s/localhost.crt", folder);
	rig_init(&r, folder, "localhost");
	dial(&r, ca_file);
	wait_until(r.loop, is_open, &r, "open");
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("one"));
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("two"));
	ERR_raise(ERR_LIB_USER, ERR_R_INTERNAL_ERROR);
	wait_until(r.loop, has_two_or_end, &r, "two messages");
	CHECK(!r.ended);
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("three"));
	wait_until(r.loop, has_three, &r, "the third message");
	rig_release(&r);
}

TEST(tls_certificate_of_nobody_known)
{
	const char *folder = test_folder();
	struct rig r;

	make_certificate(folder, "localhost");
	rig_init(&r, folder, "localhost");
	dial(&r, "");
	CHECK_END(&r, END_TLS);
	CHECK(strstr(r.report.text, "certificate") != NULL);
	CHECK_INT(r.request.len, 0);
	rig_release(&r);
}

TEST(tls_certificate_of_another_name)
{
	const char *folder = test_folder();
	char ca_file[256];
	struct rig r;

	make_certificate(folder, "other.example");
	snprintf(ca_file, sizeof(ca_file), "%s/other.example.crt", folder);
	rig_init(&r, folder, "other.example");
	dial(&r, ca_file);
	CHECK_END(&r, END_TLS);
	CHECK(strstr(r.report.text, "ostname mismatch") != NULL);
	CHECK_INT(r.request.len, 0);
	rig_release(&r);
}

/* A host that is not listed as plain is never spoken to without TLS. */
TEST(no_tls_at_the_other_end)
{
	struct rig r;

	rig_init(&r, "", NULL);
	set(&r, "network.plain_hosts=");
	set(&r, "network.private_hosts=localhost:*");
	dial(&r, "");
	r.dialer.connect_timeout_usec = USEC_PER_SEC;
	wait_until(r.loop, has_ended, &r, "the end");
	CHECK(r.report.end == END_TLS || r.report.end == END_SLOW);
	CHECK_INT(r.request.len, 0);
	rig_release(&r);
}

/* Bytes that come with the answer, and small pieces. */
TEST(messages_behind_the_answer)
{
	const char *folder = test_folder();
	char ca_file[256];

	make_certificate(folder, "localhost");
	snprintf(ca_file, sizeof(ca_file), "%s/localhost.crt", folder);
	for (int tls = 0; tls < 2; tls++) {
		struct rig r;

		rig_init(&r, folder, tls ? "localhost" : NULL);
		r.script = SCRIPT_ONE_PIECE;
		dial(&r, tls ? ca_file : "");
		wait_until(r.loop, has_two, &r, "two messages");
		CHECK_SPAN(buf_span(&r.got), SPAN_LITERAL("[one][two]"));
		rig_release(&r);
	}
}

TEST(address_that_is_not_allowed)
{
	struct rig r;

	rig_init(&r, "", NULL);
	set(&r, "network.plain_hosts=");
	dial(&r, "");
	CHECK_END(&r, END_FORBIDDEN);
	CHECK_INT(raw_server_accepted(r.server), 0);
	rig_release(&r);
}

/* Also when the configuration itself gives the address. */
TEST(address_of_the_hosts_file_that_is_not_allowed)
{
	char path[256], setting[300];
	struct rig r;
	FILE *f;

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	f = fopen(path, "we");
	CHECK(f != NULL);
	fputs("127.0.0.1 pds.example\n", f);
	fclose(f);
	rig_init(&r, "", NULL);
	snprintf(setting, sizeof(setting), "network.hosts_file=%s", path);
	set(&r, setting);
	dial_host(&r, "", "pds.example", raw_server_port(r.server));
	CHECK_END(&r, END_FORBIDDEN);
	CHECK_INT(raw_server_accepted(r.server), 0);
	rig_release(&r);
}

TEST(address_of_the_hosts_file)
{
	char path[256], setting[300];
	struct rig r;
	FILE *f;

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	f = fopen(path, "we");
	CHECK(f != NULL);
	fputs("127.0.0.1 pds.example\n", f);
	fclose(f);
	rig_init(&r, "", NULL);
	snprintf(setting, sizeof(setting), "network.hosts_file=%s", path);
	set(&r, setting);
	set(&r, "network.plain_hosts=pds.example:*");
	dial_host(&r, "", "pds.example", raw_server_port(r.server));
	check_messages(&r);
	rig_release(&r);
}

TEST(nobody_listens)
{
	struct rig r;

	rig_init(&r, "", NULL);
	dial_host(&r, "", "localhost", free_port());
	CHECK_END(&r, END_CONNECT);
	CHECK(strstr(r.report.text, "refused") != NULL);
	rig_release(&r);
}

TEST(answers_that_open_nothing)
{
	static const struct {
		const char *answer;
		enum connection_end end;
		uint64_t retry_after_usec;
	} cases[] = {
		{"HTTP/1.1 404 Not Found\r\n\r\n", END_STATUS, 0},
		{"HTTP/1.1 302 Found\r\nLocation: http://localhost/\r\n\r\n", END_REDIRECT, 0},
		{"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n", END_LATER, 7000000},
		{"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
		 END_HANDSHAKE, 0},
		{"what?\r\n\r\n", END_HANDSHAKE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;

		rig_init(&r, "", NULL);
		r.script = SCRIPT_ANSWER;
		r.answer = cases[i].answer;
		dial(&r, "");
		CHECK_END(&r, cases[i].end);
		CHECK_INT(r.report.retry_after_usec, cases[i].retry_after_usec);
		CHECK_INT(r.opened, 0);
		rig_release(&r);
	}
}

TEST(a_head_without_end)
{
	static char answer[20000];
	struct rig r;

	memset(answer, 'x', sizeof(answer) - 1);
	memcpy(answer, "HTTP/1.1 101 x\r\n", 16);
	rig_init(&r, "", NULL);
	r.script = SCRIPT_ANSWER;
	r.answer = answer;
	dial(&r, "");
	CHECK_END(&r, END_HANDSHAKE);
	rig_release(&r);
}

TEST(no_answer)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.script = SCRIPT_MUTE;
	r.dialer.connect_timeout_usec = 50000;
	dial(&r, "");
	CHECK_END(&r, END_SLOW);
	rig_release(&r);
}

TEST(hangs_up_on_the_request)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.script = SCRIPT_MUTE;
	dial(&r, "");
	wait_until(r.loop, has_request, &r, "the request");
	raw_client_cut(r.client);
	CHECK_END(&r, END_HANDSHAKE);
	rig_release(&r);
}

TEST(streams_that_break_a_rule)
{
	static const struct {
		uint8_t first;
		const char *payload;
		enum connection_end end;
	} cases[] = {
		{0x81, "text", END_TEXT},
		{0x83, "unknown opcode", END_FRAMING},
		{0x88, "\x03\xf3", END_CLOSED},
		{0x82, "refuse me", END_REFUSED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig r;

		rig_init(&r, "", NULL);
		dial(&r, "");
		wait_until(r.loop, is_open, &r, "open");
		raw_client_frame(r.client, cases[i].first, span_str(cases[i].payload));
		CHECK_END(&r, cases[i].end);
		rig_release(&r);
	}
}

/* Its head and first byte are enough. */
TEST(a_message_too_large)
{
	static const uint8_t head[] = {0x82, 127, 0, 0, 0, 0, 0, 0x4c, 0x4b, 0x41, 0};
	struct rig r;

	rig_init(&r, "", NULL);
	dial(&r, "");
	wait_until(r.loop, is_open, &r, "open");
	raw_client_send(r.client, span_of(head, sizeof(head)));
	CHECK_END(&r, END_OVERSIZE);
	rig_release(&r);
}

TEST(silence)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.dialer.ping_interval_usec = 10000;
	r.dialer.read_timeout_usec = 100000;
	dial(&r, "");
	CHECK_END(&r, END_SILENT);
	CHECK(r.more >= 6); /* pings */
	rig_release(&r);
}

static bool has_pings_or_end(void *arg)
{
	struct rig *r = arg;

	return r->more >= 3 * PING_BYTES || r->ended;
}

/* However close to the ping's interval the time is after which a host counts as silent. */
TEST(who_answers_is_not_silent)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.answers_pings = true;
	r.dialer.ping_interval_usec = 500000;
	r.dialer.read_timeout_usec = 600000;
	dial(&r, "");
	wait_until(r.loop, has_pings_or_end, &r, "pings");
	CHECK(!r.ended);
	rig_release(&r);
}

static bool has_short_gap(void *arg)
{
	struct rig *r = arg;

	return r->ping_gap_usec > 0 && r->ping_gap_usec < r->dialer.ping_interval_usec * 3 / 2;
}

/* The answer to a ping puts off the next one no more than anything else does: what is between us
 * and the host may count a minute without a byte as the end. */
TEST(a_ping_every_interval)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.answers_pings = true;
	r.dialer.ping_interval_usec = 50000;
	dial(&r, "");
	wait_until(r.loop, has_short_gap, &r, "two pings in a row");
	rig_release(&r);
}

static void send_pong(void *arg)
{
	struct rig *r = arg;

	if (r->client)
		raw_client_frame(r->client, 0x8a, SPAN_EMPTY);
	loop_timer_set(r->loop, &r->pong_timer, 10000);
}

/* Who answers pings but never ends a message holds memory. */
TEST(a_message_that_never_ends)
{
	struct rig r;

	rig_init(&r, "", NULL);
	r.dialer.ping_interval_usec = 10000;
	r.dialer.read_timeout_usec = 100000;
	dial(&r, "");
	wait_until(r.loop, is_open, &r, "open");
	raw_client_frame(r.client, 0x02, SPAN_LITERAL("begun"));
	loop_timer_init(&r.pong_timer, send_pong, &r);
	send_pong(&r);
	CHECK_END(&r, END_SILENT);
	loop_timer_cancel(r.loop, &r.pong_timer);
	rig_release(&r);
}

/* Descriptors that epoll watches for this process. */
static unsigned count_watched(void)
{
	DIR *folder = opendir("/proc/self/fdinfo");
	unsigned count = 0;

	for (struct dirent *entry; (entry = readdir(folder));) {
		char path[300], line[256];
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", entry->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			count += strncmp(line, "tfd:", 4) == 0;
		if (f)
			fclose(f);
	}
	closedir(folder);
	return count;
}

/* While it is not read, the socket must not wake the loop, which what is waiting in it would do for
 * ever. */
TEST(no_room_and_no_wakes)
{
	unsigned watched;
	struct rig r;

	rig_init(&r, "", NULL);
	r.take = 0;
	dial(&r, "");
	wait_until(r.loop, is_open, &r, "open");
	watched = count_watched();
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("one"));
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("two"));
	wait_until(r.loop, is_holding, &r, "no room");
	CHECK_INT(count_watched(), watched - 1);
	r.take = 3;
	connection_resume(r.connection);
	raw_client_frame(r.client, 0x82, SPAN_LITERAL("three"));
	wait_until(r.loop, has_three, &r, "the third message");
	CHECK_INT(count_watched(), watched);
	rig_release(&r);
}

/* Without room nothing is read: the server's socket fills. Then all of it comes, in order. */
TEST(no_room)
{
	static const uint8_t block[60000];
	const char *folder = test_folder();
	char ca_file[256];

	make_certificate(folder, "localhost");
	snprintf(ca_file, sizeof(ca_file), "%s/localhost.crt", folder);
	for (int tls = 0; tls < 2; tls++) {
		struct rig r;

		rig_init(&r, folder, tls ? "localhost" : NULL);
		r.take = 1;
		dial(&r, tls ? ca_file : "");
		wait_until(r.loop, is_open, &r, "open");
		raw_client_frame(r.client, 0x82, SPAN_LITERAL("one"));
		for (unsigned i = 0; i < 500; i++)
			raw_client_frame(r.client, 0x82, span_of(block, sizeof(block)));
		raw_client_frame(r.client, 0x82, SPAN_LITERAL("last"));
		wait_until(r.loop, is_holding, &r, "no room");
		CHECK(raw_client_unsent(r.client) > MIB(8));
		CHECK(connection_memory_bytes(r.connection) < KIB(256));
		CHECK_INT(r.messages, 1);
		while (r.messages < 502 && !r.ended) {
			r.take = 7;
			connection_resume(r.connection);
			wait_until(r.loop, is_holding_or_done, &r, "more");
		}
		CHECK_SPAN(buf_span(&r.got), SPAN_LITERAL("[one][last]"));
		CHECK(!r.ended);
		rig_release(&r);
	}
}
