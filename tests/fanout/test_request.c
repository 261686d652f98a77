#include "fanout/request.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/stage.h"

#include "fanout/port.h"

#include "tests/lib/capture.h"
#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* HTTP requests to the real server, up to the handshake of a consumer. */

#define WS   "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define V13  "Sec-WebSocket-Version: 13\r\n"
#define KEY  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define SYNC "/xrpc/com.atproto.sync."

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
	server_start(&s, &server_ordinary);
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

TEST(what_comes_with_the_handshake_is_not_lost)
{
	struct stream_client c;
	struct stream_frame f = {0};
	struct server s;

	server_start(&s, &server_ordinary);
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

TEST(any_origin_and_any_subprotocol_get_the_stream)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
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

#define CONSUMERS "relay_accounted_bytes{" INSTANCE ",what=\"consumers\"}"

TEST(there_is_room_for_so_many_consumers)
{
	struct server_settings settings = server_ordinary;
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
	CHECK(server_metric(&s, CONSUMERS) > 0);
	CHECK(server_metric(&s, CONSUMERS) <= 2 * (int64_t)KIB(1));
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

/* More than a parameter or a body may have. */
static char long_value[3000], long_body[5000];

static const struct http_case route_cases[] = {
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
	{"unknown ones may be twice", "GET", SYNC "getRepoStatus?x=1&did=a&x=2", "", "", 200, {0}},
	{"a long body", "POST", SYNC "requestCrawl", "", long_body, 413, {JSON, "PayloadTooLarge"}},
	{"a body where none belongs", "GET", SYNC "getRepoStatus?did=a", "", "xyz", 200, {0}},
};

TEST(routes)
{
	struct server s;

	snprintf(long_value, sizeof(long_value), SYNC "getRepoStatus?did=%02050d", 0);
	memset(long_body, ' ', sizeof(long_body) - 1);
	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	check_http(&s, route_cases, ARRAY_SIZE(route_cases));
	CHECK(server_metric(&s, "relay_http_requests_total{" INSTANCE
				",path=\"/xrpc/com.atproto.sync.listHosts\",code=\"200\"}") == 1);
	server_stop(&s);
}

TEST(a_chunked_body_is_bounded_too)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
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
	struct server_settings settings = server_ordinary;
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

/* At its limit the daemon does not listen, and nothing else happens here that would make it look
 * again. */
#define HELD  "relay_accounted_bytes{" INSTANCE ",what=\"http\"}"
#define EXTRA 8
#define TURNS 30 /* of its loop; whoever it takes is taken in the next */

/* Nobody is accepted beyond them, until one ends. */
TEST(connections_that_ask_nothing_are_bounded)
{
	static struct stream_client c[PORT_CONNECTIONS_MAX + EXTRA];
	int64_t one;
	struct server s;
	char byte;

	server_raise_limit();
	server_start(&s, &server_ordinary);
	stream_connect(&c[0], s.port, 0);
	for (int i = 0; i < 4000 && server_metric(&s, HELD) < (int64_t)PORT_CONNECTION_BYTES; i++)
		usleep(5000);
	one = server_metric(&s, HELD);
	CHECK(one >= (int64_t)PORT_CONNECTION_BYTES && one < (int64_t)KIB(18));
	for (size_t i = 1; i < ARRAY_SIZE(c); i++) {
		stream_connect(&c[i], s.port, 0);
		if (i >= PORT_CONNECTIONS_MAX)
			stream_send(&c[i], SPAN_LITERAL("GET / HTTP/1.1\r\nHost: relay\r\n"
							"Connection: close\r\n\r\n"));
	}
	server_reaches(&s, HELD, PORT_CONNECTIONS_MAX * one);
	for (int i = 0; i < TURNS; i++)
		CHECK_INT(server_metric(&s, HELD), PORT_CONNECTIONS_MAX * one);
	for (size_t i = PORT_CONNECTIONS_MAX; i < ARRAY_SIZE(c); i++)
		CHECK_INT(recv(c[i].fd, &byte, 1, MSG_DONTWAIT), -1);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		if (i >= PORT_CONNECTIONS_MAX)
			CHECK(stream_rest(&c[i]).len > 0);
		stream_close(&c[i]);
	}
	server_stop(&s);
}

TEST(the_port_opens_again_after_all_connections_have_ended_at_once)
{
	static struct stream_client idle[PORT_CONNECTIONS_MAX];
	struct stream_client c;
	struct server s;

	server_raise_limit();
	server_start(&s, &server_ordinary);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		stream_connect(&idle[i], s.port, 0);
	/* All are in by then: the last one of them is answered. */
	stream_send(&idle[ARRAY_SIZE(idle) - 1],
		    SPAN_LITERAL("GET / HTTP/1.1\r\nHost: relay\r\n\r\n"));
	CHECK(stream_head(&idle[ARRAY_SIZE(idle) - 1]).len > 0);
	kill(s.pid, SIGSTOP);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		stream_close(&idle[i]);
	kill(s.pid, SIGCONT);
	stream_connect(&c, s.port, 0);
	stream_send(&c, SPAN_LITERAL("GET / HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n"));
	CHECK(stream_rest(&c).len > 0);
	stream_close(&c);
	server_stop(&s);
}

TEST(several_requests_on_one_connection)
{
	struct stream_client c;
	struct server s;

	server_start(&s, &server_ordinary);
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
	server_start(&s, &server_ordinary);
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

#define HEADS_REFUSED METRIC("relay_head_notices_refused_total")

TEST(a_stage_of_another_version_is_told_of_at_once)
{
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	CHECK_INT(http_ask(s.port, "GET", SYNC "getRepoStatus?did=foreign", "", "", &answer), 503);
	CHECK(http_has(&answer, "store speaks another version (2)"));
	buf_release(&answer);
	server_stop(&s);
}

#define ANSWERS(code)                                                                              \
	"relay_http_requests_total{" INSTANCE ",path=\"" SYNC "getRepoStatus\",code=\"" code "\"}"

/* Of clients that ask and do not read, each with an answer that no socket takes whole. */
TEST(answers_that_are_not_read_are_bounded)
{
	static const int64_t fit = REQUEST_ANSWERS_BYTES / (SERVER_LARGE_BYTES + 16);
	struct stream_client c[16];
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(8));
	server_start(&s, &server_ordinary);
	server_add(&s, 1, 100);
	for (int64_t i = 0; i < (int64_t)ARRAY_SIZE(c); i++) {
		stream_connect(&c[i], s.port, 4096);
		stream_send(&c[i], SPAN_LITERAL("GET " SYNC "getRepoStatus?did=large HTTP/1.1\r\n"
						"Host: relay\r\n\r\n"));
		if (i < fit)
			server_reaches(&s, ANSWERS("200"), i + 1);
		else
			server_reaches(&s, ANSWERS("503"), i + 1 - fit);
	}
	CHECK(server_metric(&s, HELD) >= fit * (int64_t)SERVER_LARGE_BYTES);
	CHECK(server_metric(&s, HELD) <=
	      (int64_t)(REQUEST_ANSWERS_BYTES + ARRAY_SIZE(c) * (REQUEST_SMALL_BYTES + KIB(24))));
	/* Small ones are answered all the while, and large ones when others are gone. */
	CHECK_INT(http_ask(s.port, "GET", SYNC "getRepoStatus?did=a", "", "", &answer), 200);
	for (size_t i = 0; i < ARRAY_SIZE(c); i++)
		stream_close(&c[i]);
	for (int i = 0; i < 4000 && server_metric(&s, HELD) > (int64_t)MIB(1); i++)
		usleep(5000);
	CHECK_INT(http_ask(s.port, "GET", SYNC "getRepoStatus?did=large", "", "", &answer), 200);
	buf_release(&answer);
	server_stop(&s);
}

TEST(a_disk_without_room_is_told_and_the_log_is_served)
{
	struct stream_client c;
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	server_start(&s, &server_ordinary);
	server_add(&s, 5, 100);
	server_becomes(&s, 200);
	server_add(&s, 3, 100);
	CHECK_INT(server_metric(&s, METRIC("relay_lag_events_total")), 3);
	s.state = HEAD_NO_ROOM;
	server_tell(&s);
	server_becomes(&s, 503);
	CHECK_INT(http_ask(s.port, "GET", "/xrpc/_health", "", "", &answer), 503);
	CHECK(http_has(&answer, "\"message\":\"store: no room on the disk"));
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 8);
	stream_close(&c);
	s.state = HEAD_TAKING;
	server_tell(&s);
	server_becomes(&s, 200);
	buf_release(&answer);
	server_stop(&s);
}

/* A store of another version. */
TEST(lines_about_head_notices_are_limited)
{
	struct capture log;
	struct server s;

	capture_begin(&log);
	server_start(&s, &server_ordinary);
	server_add(&s, 5, 100);
	s.state = (enum head_state)99;
	server_announce(&s);
	for (unsigned i = 0; i < 4000 && server_metric(&s, HEADS_REFUSED) < 10; i++)
		usleep(5000);
	CHECK(server_metric(&s, HEADS_REFUSED) >= 10);
	CHECK_INT(capture_count(&log, "head notice does not decode"), 1);
	server_stop(&s);
	capture_end(&log);
}

/* Store knows the log's end only at least: who is further is neither told that its cursor is ahead,
 * nor sent anything. */
TEST(a_cursor_beyond_what_store_can_say_has_to_wait)
{
	struct stream_client c;
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	server_start(&s, &server_ordinary);
	s.state = HEAD_NO_STATE;
	server_add(&s, 5, 100);
	server_becomes(&s, 503);
	CHECK(stream_open(&c, s.port, "?cursor=0", ""));
	check_events(&c, 1, 5);
	CHECK_INT(http_ask(s.port, "GET", SYNC "subscribeRepos?cursor=6", WS V13 KEY, "", &answer),
		  503);
	CHECK(http_has(&answer, "Retry-After: 5"));
	s.state = HEAD_TAKING;
	server_add(&s, 3, 100);
	check_events(&c, 6, 8);
	stream_close(&c);
	CHECK(stream_open(&c, s.port, "?cursor=6", ""));
	check_events(&c, 7, 8);
	stream_close(&c);
	buf_release(&answer);
	server_stop(&s);
}

/* The slowest test: the deadline of a call, and how long store may be silent, are five seconds. */
TEST(without_the_other_stages_callers_are_told)
{
	struct server_settings settings = server_ordinary;
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	settings.alone = true;
	server_start(&s, &settings);
	CHECK_INT(http_ask(s.port, "GET", "/_health", "", "", &answer), 503);
	CHECK_INT(http_ask(s.port, "GET", SYNC "subscribeRepos", WS V13 KEY, "", &answer), 503);
	server_add(&s, 1, 100);
	CHECK_INT(http_ask(s.port, "GET", "/_health", "", "", &answer), 200);
	server_silence(&s);
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
