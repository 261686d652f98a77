#include "resolve/calls.h"

#include <errno.h>
#include <stdio.h>

#include "common/message.h"
#include "common/pipe.h"
#include "resolve/host_page.h"
#include "tests/resolve/fixture.h"

#define DESCRIBE_SERVER "/xrpc/com.atproto.server.describeServer"
#define LIST_HOSTS      "/xrpc/com.atproto.sync.listHosts?limit=1000"

/* What came of calls. */
struct result {
	unsigned wanted, done, failed;
	struct host_check check;
	bool list_ok;
	size_t list_count;
};

struct bench {
	struct fixture f;
	struct http_server *server;
	struct calls *calls;
	struct pipe *caller;
	char host[64];
};

static void bench_open(struct bench *b)
{
	static const char *const sets[] = {"network.plain_hosts=localhost:*",
					   "resolve.concurrency=0", NULL};
	char url[128];

	*b = (struct bench){.server = http_server_new(NULL)};
	fixture_open(&b->f, sets);
	snprintf(url, sizeof(url), "ipc://%s.calls", test_folder());
	CHECK_INT(calls_open(b->f.loop, url, b->f.http, b->f.policy, b->f.metrics, &b->calls), 0);
	CHECK_INT(pipe_dial_req(b->f.loop, url, &b->caller), 0);
	snprintf(b->host, sizeof(b->host), "localhost:%u", http_server_port(b->server));
	http_server_put(b->server, DESCRIBE_SERVER,
			&(struct http_server_answer){.status = 200,
						     .body = "{\"did\":\"did:web:pds.test\"}"});
	http_server_put(
		b->server, LIST_HOSTS,
		&(struct http_server_answer){
			.status = 200,
			.body = "{\"hosts\":[{\"hostname\":\"a.com\"},{\"hostname\":\"b.com\"}]}"});
}

static void bench_close(struct bench *b)
{
	fixture_close_http(&b->f);
	calls_close(b->calls);
	pipe_close(b->caller);
	fixture_close(&b->f);
	http_server_free(b->server);
}

static void take(void *arg, int error, struct span reply)
{
	struct reader r = reader_of(reply);
	struct result *result = arg;
	enum message_type type;
	struct host_list list;

	result->done++;
	if (error < 0) {
		result->failed++;
		return;
	}
	CHECK_INT(message_get_type(&r, &type), 0);
	if (type == MESSAGE_HOST_CHECKED) {
		CHECK_INT(host_check_decode(&r, &result->check), 0);
	} else {
		CHECK_INT(type, MESSAGE_HOSTS_LISTED);
		CHECK_INT(host_list_decode(&r, &list), 0);
		result->list_ok = list.ok;
		result->list_count = list.count;
		free(list.hosts);
	}
}

static bool is_done(void *arg)
{
	const struct result *r = arg;

	return r->done == r->wanted;
}

static void call_with(struct bench *b, enum message_type type, const char *first,
		      const char *second, uint64_t timeout_usec, struct result *result)
{
	struct buf m;

	buf_init(&m, KIB(8));
	message_put_type(&m, type);
	message_put_text(&m, span_str(first));
	if (second)
		message_put_text(&m, span_str(second));
	pipe_call(b->caller, buf_span(&m), timeout_usec, take, result);
	buf_release(&m);
}

static struct result call(struct bench *b, enum message_type type, const char *first,
			  const char *second)
{
	struct result r = {.wanted = 1};

	call_with(b, type, first, second, 10 * USEC_PER_SEC, &r);
	CHECK(fixture_wait(&b->f, is_done, &r));
	return r;
}

TEST(hosts_are_checked_even_with_resolution_off)
{
	struct bench b;

	bench_open(&b);
	CHECK_INT(call(&b, MESSAGE_CHECK_HOST, b.host, NULL).check.result, HOST_IS_PDS);
	bench_close(&b);
}

TEST(lists_of_hosts_are_passed_on)
{
	struct bench b;
	struct result r;
	char base[128];

	bench_open(&b);
	snprintf(base, sizeof(base), "http://%s", b.host);
	r = call(&b, MESSAGE_LIST_HOSTS, base, "");
	CHECK(r.list_ok);
	CHECK_INT(r.list_count, 2);
	CHECK(!call(&b, MESSAGE_LIST_HOSTS, base, "unknown").list_ok);
	CHECK(!call(&b, MESSAGE_LIST_HOSTS, "http://relay.example.com", "").list_ok);
	bench_close(&b);
}

TEST(calls_under_way_are_bounded)
{
	struct result held = {.wanted = CALLS_MAX}, more = {.wanted = 1};
	struct bench b;

	bench_open(&b);
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < CALLS_MAX; i++)
		call_with(&b, MESSAGE_CHECK_HOST, b.host, NULL, 10 * USEC_PER_SEC, &held);
	more = call(&b, MESSAGE_CHECK_HOST, b.host, NULL);
	CHECK_INT(more.check.result, HOST_UNREACHABLE);
	CHECK_INT(held.done, 0);
	CHECK_INT(fixture_metric(&b.f, "relay_calls_refused_total{stage=\"resolve\"}"), 1);
	http_server_hold(b.server, false);
	CHECK(fixture_wait(&b.f, is_done, &held));
	CHECK_INT(held.failed, 0);
	CHECK_INT(held.check.result, HOST_IS_PDS);
	CHECK_INT(call(&b, MESSAGE_CHECK_HOST, b.host, NULL).check.result, HOST_IS_PDS);
	bench_close(&b);
}

static bool all_pages_are_there(void *arg)
{
	struct bench *b = arg;

	return fixture_metric(&b->f, FIXTURE_HELD("http")) >=
	       CALLS_MAX * (int64_t)(HOST_PAGE_BODY_MAX - 1);
}

TEST(what_calls_under_way_take_is_bounded)
{
	char *body = xcalloc(1, HOST_PAGE_BODY_MAX), base[128];
	struct result held = {.wanted = CALLS_MAX};
	struct bench b;

	bench_open(&b);
	memset(body, ' ', HOST_PAGE_BODY_MAX - 1);
	http_server_put(b.server, LIST_HOSTS,
			&(struct http_server_answer){
				.status = 200, .body = body, .kind = HTTP_SERVER_UNFINISHED});
	snprintf(base, sizeof(base), "http://%s", b.host);
	for (unsigned i = 0; i < CALLS_MAX; i++)
		call_with(&b, MESSAGE_LIST_HOSTS, base, "", 60 * USEC_PER_SEC, &held);
	CHECK(fixture_wait(&b.f, all_pages_are_there, &b));
	CHECK(!call(&b, MESSAGE_LIST_HOSTS, base, "").list_ok);
	CHECK(fixture_metric(&b.f, FIXTURE_HELD("http")) <=
	      CALLS_MAX * (int64_t)(HOST_PAGE_BODY_MAX + KIB(1)));
	CHECK(fixture_metric(&b.f, FIXTURE_HELD("curl")) <= CALLS_MAX * (int64_t)HTTP_CURL_BYTES);
	CHECK_INT(held.done, 0);
	bench_close(&b);
	free(body);
}

TEST(other_calls_are_dropped)
{
	struct result r = {.wanted = 3};
	struct bench b;

	bench_open(&b);
	call_with(&b, MESSAGE_CHECK_HOST, "not a host", NULL, USEC_PER_SEC / 5, &r);
	call_with(&b, MESSAGE_CHECK_HOST, b.host, "more", USEC_PER_SEC / 5, &r);
	call_with(&b, MESSAGE_XRPC, "x", NULL, USEC_PER_SEC / 5, &r);
	CHECK(fixture_wait(&b.f, is_done, &r));
	CHECK_INT(r.failed, 3);
	CHECK(fixture_metric(&b.f, "relay_calls_unknown_total{stage=\"resolve\"}") >= 3);
	CHECK_INT(http_server_requests(b.server, NULL), 0);
	bench_close(&b);
}

TEST(the_end_comes_while_calls_are_under_way)
{
	struct result held = {0};
	struct bench b;

	bench_open(&b);
	http_server_hold(b.server, true);
	call_with(&b, MESSAGE_CHECK_HOST, b.host, NULL, 10 * USEC_PER_SEC, &held);
	call(&b, MESSAGE_CHECK_HOST, "localhost", NULL);
	bench_close(&b);
}
