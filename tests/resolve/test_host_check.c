#include "resolve/host_check.h"

#include <stdio.h>

#include "tests/resolve/fixture.h"

#define DESCRIBE_SERVER "/xrpc/com.atproto.server.describeServer"
#define ANSWER(code, text)                                                                         \
	{                                                                                          \
		.outcome = HTTP_ANSWERED, .status = code, .body = SPAN_LITERAL(text),              \
		.reason = "HTTP " #code                                                            \
	}

TEST(an_answer_says_what_its_host_is)
{
	static const struct {
		const char *name;
		struct http_answer answer;
		enum host_check_result result;
	} cases[] = {
		{"PDS", ANSWER(200, "{\"did\":\"did:web:pds.test\"}"), HOST_IS_PDS},
		{"no DID", ANSWER(200, "{\"did\":\"pds.test\"}"), HOST_NOT_PDS},
		{"did is no text", ANSWER(200, "{\"did\":1}"), HOST_NOT_PDS},
		{"no did", ANSWER(200, "{}"), HOST_NOT_PDS},
		{"no object", ANSWER(200, "[]"), HOST_NOT_PDS},
		{"no JSON", ANSWER(200, "<html>"), HOST_NOT_PDS},
		{"empty", ANSWER(200, ""), HOST_NOT_PDS},
		{"not there", ANSWER(404, ""), HOST_NOT_PDS},
		{"redirect", ANSWER(302, "{\"did\":\"did:web:pds.test\"}"), HOST_NOT_PDS},
		{"proxy of a server that is down", ANSWER(502, ""), HOST_UNREACHABLE},
		{"busy", ANSWER(429, ""), HOST_UNREACHABLE},
		{"too large", {.outcome = HTTP_TOO_LARGE, .reason = ""}, HOST_NOT_PDS},
		{"no name", {.outcome = HTTP_NO_NAME, .reason = ""}, HOST_UNREACHABLE},
		{"nobody", {.outcome = HTTP_NO_CONNECTION, .reason = ""}, HOST_UNREACHABLE},
		{"time-out", {.outcome = HTTP_TIMEOUT, .reason = ""}, HOST_UNREACHABLE},
		{"certificate", {.outcome = HTTP_NO_TRUST, .reason = ""}, HOST_UNREACHABLE},
		{"broken", {.outcome = HTTP_BROKEN, .reason = ""}, HOST_UNREACHABLE},
		{"private", {.outcome = HTTP_FORBIDDEN, .reason = ""}, HOST_FORBIDDEN},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct http_answer relay = cases[i].answer;
		enum host_check_result got = host_check_judge(&cases[i].answer).result;

		if (got != cases[i].result)
			test_fail(__FILE__, __LINE__, "%s: %d", cases[i].name, (int)got);
		relay.is_relay = true;
		CHECK_INT(host_check_judge(&relay).result, HOST_IS_RELAY);
	}
}

struct result {
	bool done;
	enum host_check_result result;
};

static void take(void *arg, const struct host_check *check)
{
	struct result *r = arg;

	CHECK(!r->done);
	r->done = true;
	r->result = check->result;
}

static bool is_done(void *arg)
{
	return ((const struct result *)arg)->done;
}

static enum host_check_result check(const struct http_server *s, const char *const *sets)
{
	struct result r = {0};
	struct host host;
	struct fixture f;
	char name[64];

	fixture_open(&f, sets);
	snprintf(name, sizeof(name), "localhost:%u", http_server_port(s));
	CHECK_INT(host_parse(span_str(name), &host), 0);
	host_check_start(f.http, f.policy, &host, take, &r);
	CHECK(!r.done);
	CHECK(fixture_wait(&f, is_done, &r));
	fixture_close(&f);
	return r.result;
}

TEST(a_host_is_asked_to_describe_itself)
{
	static const char *const plain[] = {"network.plain_hosts=localhost:*", NULL};
	static const char *const none[] = {NULL};
	struct http_server *s = http_server_new(NULL);

	http_server_put(s, DESCRIBE_SERVER,
			&(struct http_server_answer){.status = 200,
						     .body = "{\"did\":\"did:web:pds.test\"}"});
	CHECK_INT(check(s, plain), HOST_IS_PDS);
	CHECK_INT(http_server_requests(s, DESCRIBE_SERVER), 1);
	CHECK_INT(check(s, none), HOST_FORBIDDEN);
	http_server_put(s, DESCRIBE_SERVER,
			&(struct http_server_answer){.status = 200,
						     .headers = "Server: atproto-relay\r\n",
						     .body = "{\"did\":\"did:web:pds.test\"}"});
	CHECK_INT(check(s, plain), HOST_IS_RELAY);
	http_server_free(s);
}

TEST(a_host_by_tls_is_asked_by_tls)
{
	struct http_server_tls tls;
	struct http_server *s;
	char ca[300];
	const char *sets[] = {"network.private_hosts=localhost:*", ca, NULL};

	http_server_make_tls(test_folder(), &tls);
	snprintf(ca, sizeof(ca), "network.ca_file=%s", tls.ca_file);
	s = http_server_new(&tls);
	http_server_put(s, DESCRIBE_SERVER,
			&(struct http_server_answer){.status = 200,
						     .body = "{\"did\":\"did:web:pds.test\"}"});
	CHECK_INT(check(s, sets), HOST_IS_PDS);
	http_server_free(s);
}
