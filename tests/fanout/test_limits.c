#include <sys/socket.h>

#include "fanout/consumers.h"

#include "tests/lib/fanout_rig.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* What one client may have of the real server, and who a client is. */

#define STREAM "/xrpc/com.atproto.sync.subscribeRepos"
#define WS                                                                                         \
	"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"               \
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define FROM(list)      "X-Forwarded-For: " list "\r\n"
#define REFUSED(reason) "relay_consumers_refused_total{" INSTANCE ",reason=\"" reason "\"}"

static void check_refused(struct server *s, const char *headers)
{
	char all[1024];
	struct buf answer;

	buf_init(&answer, MIB(1));
	snprintf(all, sizeof(all), "%s%s", WS, headers);
	CHECK_INT(http_ask(s->port, "GET", STREAM, all, "", &answer), 429);
	CHECK(http_has(&answer, "\"error\":\"RateLimitExceeded\""));
	CHECK(http_has(&answer, "Retry-After: "));
	buf_release(&answer);
}

/* Two of it have a place, and this is a third. */
static void check_limit(struct server *s, const char *first, const char *second, const char *third)
{
	struct stream_client a, b, c;
	int64_t refused = server_metric(s, REFUSED("client"));

	CHECK(stream_open(&a, s->port, "", first));
	CHECK(stream_open(&b, s->port, "", second));
	check_refused(s, third);
	CHECK_INT(server_metric(s, REFUSED("client")), refused + 1);
	stream_close(&a);
	server_reaches(s, METRIC("relay_consumers"), 1);
	CHECK(stream_open(&c, s->port, "", third));
	stream_close(&b);
	stream_close(&c);
	server_reaches(s, METRIC("relay_consumers"), 0);
}

static void start(struct server *s, const char *trusted)
{
	struct server_settings settings = server_ordinary;

	settings.max_per_client = 2;
	settings.trusted = trusted;
	server_start(s, &settings);
	server_add(s, 1, 100);
}

TEST(a_client_has_so_many_consumers)
{
	struct server s;

	start(&s, "");
	check_limit(&s, "", "", "");
	/* It may call itself what it likes. */
	check_limit(&s, FROM("192.0.2.1"), FROM("192.0.2.2"), FROM("192.0.2.3"));
	server_stop(&s);
}

TEST(a_client_behind_a_trusted_proxy_is_told_by_its_address)
{
	static const char *const one = FROM("192.0.2.1");
	struct stream_client many[7];
	struct server s;

	start(&s, "127.0.0.0/8 10.0.0.0/8");
	check_limit(&s, one, one, one);
	check_limit(&s, one, FROM("198.51.100.1, 192.0.2.1"), FROM("192.0.2.1") FROM("10.1.1.1"));
	check_limit(&s, FROM("2001:db8::1"), FROM("2001:db8::2"), FROM("[2001:db8::3]:99"));
	/* Others are none of its business, nor is the proxy itself. */
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		CHECK(stream_open(&many[i], s.port, "",
				  ((const char *const[]){one, one, FROM("192.0.2.2"),
							 FROM("2001:db8:0:1::1"), "", "", ""})[i]));
	check_refused(&s, one);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		stream_close(&many[i]);
	server_stop(&s);
}

/* A handshake under way has its place: together they get no more than one after another. */
TEST(handshakes_at_one_time_are_counted)
{
	struct stream_client clients[20];
	unsigned taken = 0, refused = 0;
	struct server s;

	start(&s, "");
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_connect(&clients[i], s.port, 0);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_send(&clients[i],
			    SPAN_LITERAL("GET " STREAM " HTTP/1.1\r\nHost: a\r\n" WS "\r\n"));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct span head = stream_head(&clients[i]);

		taken += test_contains(head, " 101 ");
		refused += test_contains(head, " 429 ");
	}
	CHECK_INT(taken, 2);
	CHECK_INT(refused, ARRAY_SIZE(clients) - 2);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_close(&clients[i]);
	server_stop(&s);
}

TEST(a_stage_that_answers_calls_is_told_the_client)
{
	struct buf answer;
	struct server s;

	buf_init(&answer, MIB(1));
	server_start(&s, &server_ordinary);
	CHECK_INT(http_ask(s.port, "GET", "/xrpc/com.atproto.sync.listHosts",
			   FROM("192.0.2.1, 2001:db8::5"), "", &answer),
		  200);
	CHECK(http_has(&answer, "\"remote\":\"2001:db8::5\""));
	buf_release(&answer);
	server_stop(&s);
}

TEST(a_client_has_so_many_connections)
{
	struct server_settings settings = server_ordinary;
	struct stream_client idle[3], more, consumer;
	struct span answer;
	struct server s;

	settings.max_connections_per_client = ARRAY_SIZE(idle);
	settings.trusted = "";
	server_start(&s, &settings);
	server_add(&s, 1, 100);
	/* A consumer is none of them. */
	CHECK(stream_open(&consumer, s.port, "", ""));
	server_reaches(&s, METRIC("relay_consumers"), 1);
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		stream_connect(&idle[i], s.port, 0);
	stream_connect(&more, s.port, 0);
	answer = stream_rest(&more);
	CHECK(test_contains(answer, "HTTP/1.1 429 "));
	CHECK(test_contains(answer, "\r\n\r\n{\"error\":\"RateLimitExceeded\""));
	CHECK(test_contains(answer, "time.\"}"));
	stream_close(&more);
	server_reaches(&s, METRIC("relay_connections_refused_total"), 1);
	stream_close(&idle[0]);
	/* Its end may not have been seen yet. */
	for (bool taken = false; !taken && !test_has_failed();) {
		stream_connect(&more, s.port, 0);
		stream_send(&more, SPAN_LITERAL("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
		taken = test_contains(stream_head(&more), " 200 ");
		stream_close(&more);
	}
	stream_close(&consumer);
	for (size_t i = 1; i < ARRAY_SIZE(idle); i++)
		stream_close(&idle[i]);
	server_stop(&s);
}
