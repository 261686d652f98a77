#include "ingest/calls.h"

#include <errno.h>
#include <jansson.h>

#include "tests/ingest/rig.h"

/* The other stages: resolve and store as they are told, and a caller in fanout's place. */
struct office {
	struct rig rig;
	struct calls calls;
	struct pipe *to_resolve;
	struct pipe *caller;
	struct pipe *resolve;
	struct pipe *store;
	enum host_check_result result;
	bool store_is_silent;
	bool keeps; /* calls of resolve and store, until answer_kept */
	struct call *kept[2 * CALLS_PENDING_MAX];
	unsigned kept_count;
	unsigned replies[600]; /* to those of call_often, by status */
	unsigned reply_count;
	unsigned wanted_replies, wanted_kept;
	unsigned checks;
	char checked[LIMIT_HOST + 1];
	bool answered;
	uint16_t status;
	struct buf body;
};

static bool keep(struct office *o, struct call *call)
{
	if (!o->keeps)
		return false;
	CHECK(o->kept_count < ARRAY_SIZE(o->kept));
	o->kept[o->kept_count++] = call;
	return true;
}

static void on_check(void *arg, struct call *call, struct span message)
{
	struct office *o = arg;
	const struct host_check check = {o->result, SPAN_LITERAL("so it is")};
	struct reader r = reader_of(message);
	enum message_type type;
	struct span host;
	struct buf b;

	o->checks++;
	if (keep(o, call))
		return;
	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_CHECK_HOST);
	CHECK_INT(message_get_text(&r, LIMIT_HOST, &host), 0);
	CHECK_INT(span_to_str(host, o->checked, sizeof(o->checked)), 0);
	buf_init(&b, KIB(1));
	message_put_type(&b, MESSAGE_HOST_CHECKED);
	host_check_encode(&b, &check);
	call_reply(call, buf_span(&b));
	buf_release(&b);
}

/* Every host has as many accounts as its place in the question, from 100. */
static void on_count(void *arg, struct call *call, struct span message)
{
	struct office *o = arg;
	struct reader r = reader_of(message);
	enum message_type type;
	uint32_t count = 0;
	struct buf b;

	if (keep(o, call))
		return;
	if (o->store_is_silent) {
		call_drop(call);
		return;
	}
	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_ACCOUNT_COUNTS);
	CHECK_INT(reader_get_u32(&r, &count), 0);
	CHECK_INT(r.left, count * 8);
	buf_init(&b, KIB(64));
	message_put_type(&b, MESSAGE_ACCOUNTS_COUNTED);
	buf_put_u32(&b, count);
	for (uint32_t i = 0; i < count; i++)
		buf_put_u64(&b, 100 + i);
	call_reply(call, buf_span(&b));
	buf_release(&b);
}

static void office_init(struct office *o)
{
	const struct pipe_handler resolve = {.request = on_check, .arg = o};
	const struct pipe_handler store = {.request = on_count, .arg = o};
	struct loop *l;
	char url[CONFIG_URL_SIZE];

	*o = (struct office){.result = HOST_IS_PDS};
	buf_init(&o->body, MIB(1));
	rig_init(&o->rig);
	l = o->rig.stage.loop;
	rig_set(&o->rig, "ingest.max_hosts=3000");
	rig_start(&o->rig);
	stage_pipe_url(&o->rig.stage, "calls", "resolve", 0, url);
	CHECK_INT(pipe_listen_rep(l, url, &resolve, &o->resolve), 0);
	CHECK_INT(pipe_dial_req(l, url, &o->to_resolve), 0);
	stage_pipe_url(&o->rig.stage, "calls", "store", 0, url);
	CHECK_INT(pipe_listen_rep(l, url, &store, &o->store), 0);
	CHECK_INT(calls_init(&o->calls, &o->rig.crawler, o->to_resolve), 0);
	stage_pipe_url(&o->rig.stage, "calls", "ingest", 0, url);
	CHECK_INT(pipe_dial_req(l, url, &o->caller), 0);
}

static void office_release(struct office *o)
{
	pipe_close(o->caller);
	pipe_close(o->to_resolve);
	calls_release(&o->calls);
	pipe_close(o->resolve);
	pipe_close(o->store);
	buf_release(&o->body);
	rig_release(&o->rig);
}

/* Borrows from the message. */
static struct xrpc_reply reply_in(int error, struct span message)
{
	struct reader r = reader_of(message);
	struct xrpc_reply x = {0};
	enum message_type type;

	CHECK_INT(error, 0);
	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_XRPC_REPLY);
	CHECK_INT(xrpc_reply_decode(&r, &x), 0);
	return x;
}

static void on_reply(void *arg, int error, struct span reply)
{
	struct office *o = arg;
	struct xrpc_reply x = reply_in(error, reply);

	o->status = x.status;
	buf_clear(&o->body);
	buf_append(&o->body, x.body);
	o->answered = true;
}

static bool is_answered(void *arg)
{
	struct office *o = arg;

	return o->answered;
}

static void call(struct office *o, const struct xrpc_request *q)
{
	struct buf b;

	buf_init(&b, KIB(16));
	message_put_type(&b, MESSAGE_XRPC);
	xrpc_request_encode(&b, q);
	o->answered = false;
	pipe_call(o->caller, buf_span(&b), 30 * USEC_PER_SEC, on_reply, o);
	wait_until(o->rig.stage.loop, is_answered, o, "the answer");
	buf_release(&b);
}

static void request_crawl(struct office *o, const char *body)
{
	const struct xrpc_request q = {.method = SPAN_LITERAL("com.atproto.sync.requestCrawl"),
				       .body = span_str(body)};

	call(o, &q);
}

/* limit, cursor: NULL for none. Gives the body. */
static json_t *list_hosts(struct office *o, const char *limit, const char *cursor)
{
	struct xrpc_request q = {.method = SPAN_LITERAL("com.atproto.sync.listHosts")};

	if (limit)
		q.params[q.param_count++] = (struct xrpc_param){SPAN_LITERAL("limit"),
								span_str(limit)};
	if (cursor)
		q.params[q.param_count++] = (struct xrpc_param){SPAN_LITERAL("cursor"),
								span_str(cursor)};
	call(o, &q);
	return json_loadb((const char *)o->body.ptr, o->body.len, 0, NULL);
}

static void check_error(struct office *o, uint16_t status, const char *name, int line)
{
	json_t *body = json_loadb((const char *)o->body.ptr, o->body.len, 0, NULL);
	const char *got = json_string_value(json_object_get(body, "error"));

	if (o->status != status || !got || strcmp(got, name) != 0)
		test_fail(__FILE__, line, "%u %s, not %u %s", o->status, got ? got : "", status,
			  name);
	json_decref(body);
}
#define CHECK_ERROR(o, status, name) check_error((o), (status), (name), __LINE__)

static struct subscription *find(struct office *o, const char *name)
{
	return crawler_find(&o->rig.crawler, span_str(name));
}

TEST(hostnames)
{
	static const struct {
		const char *text;
		const char *host; /* NULL: refused */
	} cases[] = {
		{"pds.example.com", "pds.example.com"},
		{"PDS.Example.COM", "pds.example.com"},
		{"https://pds.example.com", "pds.example.com"},
		{"https://pds.example.com/", "pds.example.com"},
		{"pds.example.com:443", "pds.example.com"},
		{"localhost:2583", "localhost:2583"},
		{"http://localhost:2583", "localhost:2583"},
		{"pds.test:99", NULL},
		{"a.plain.test", "a.plain.test"},
		{"private.example.com:8443", "private.example.com:8443"},
		{"http://pds.example.com", NULL},
		{"https://pds.example.com/path", NULL},
		{"https://user@pds.example.com", NULL},
		{"ftp://pds.example.com", NULL},
		{"pds.example.com:8443", NULL},
		{"com", NULL},
		{"localhost", NULL},
		{"1.2.3.4", NULL},
		{"127.0.0.1", NULL},
		{"127.0.0.1:80", NULL},
		{"[::1]", NULL},
		{"", NULL},
		{".", NULL},
		{"pds..example.com", NULL},
		{"-pds.example.com", NULL},
		{"pds.example.com\r\nX: y", NULL},
		{"pds.example.com?x", NULL},
	};
	struct rig r;

	rig_init(&r);
	rig_set(&r, "network.plain_hosts=localhost:2583 a.plain.test");
	rig_set(&r, "network.private_hosts=private.example.com:8443");
	rig_start(&r);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *reason = NULL, *host = cases[i].host;
		char name[LIMIT_HOST + 1] = "";
		struct host h;
		int error = calls_parse_hostname(&r.crawler, span_str(cases[i].text), &h, &reason);

		if (!error)
			host_format(&h, name);
		if (error ? host != NULL : !host || strcmp(name, host) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s %s", cases[i].text, name, reason);
		CHECK(!error || (error == -EINVAL && reason));
	}
	rig_release(&r);
}

TEST(counts)
{
	uint64_t v[2];
	struct buf b;

	buf_init(&b, 64);
	buf_put_u32(&b, 2);
	buf_put_u64(&b, 7);
	buf_put_u64(&b, 8);
	CHECK_INT(calls_decode_counts(reader_of(buf_span(&b)), 2, v), 0);
	CHECK_INT(v[0], 7);
	CHECK_INT(v[1], 8);
	CHECK_INT(calls_decode_counts(reader_of(buf_span(&b)), 1, v), -EBADMSG);
	for (size_t n = 0; n < b.len; n++)
		CHECK_INT(calls_decode_counts(reader_of(span_of(b.ptr, n)), 2, v), -EBADMSG);
	buf_put_u8(&b, 0);
	CHECK_INT(calls_decode_counts(reader_of(buf_span(&b)), 2, v), -EBADMSG);
	buf_release(&b);
}

/* Verified before it is added, never after. */
TEST(a_host_that_is_a_pds_is_added)
{
	struct office o;

	office_init(&o);
	request_crawl(&o, "{\"hostname\":\"https://Localhost:2583/\"}");
	CHECK_INT(o.status, 200);
	CHECK_INT(o.body.len, 0);
	CHECK_STR(o.checked, "localhost:2583");
	CHECK(find(&o, "localhost:2583") != NULL);
	CHECK_INT(*o.rig.crawler.counters.crawls[CRAWL_ADDED], 1);
	request_crawl(&o, "{\"hostname\":\"localhost:2583\"}");
	CHECK_INT(o.status, 200);
	CHECK_INT(o.checks, 1); /* known hosts are not checked again */
	CHECK_INT(*o.rig.crawler.counters.crawls[CRAWL_KNOWN], 1);
	CHECK_INT(o.rig.crawler.host_count, 1);
	office_release(&o);
}

TEST(other_hosts_are_refused)
{
	static const struct {
		enum host_check_result result;
		const char *error;
		enum crawl_result counted;
	} cases[] = {
		{HOST_UNREACHABLE, "HostNotFound", CRAWL_UNREACHABLE},
		{HOST_NOT_PDS, "HostNotFound", CRAWL_NOT_PDS},
		{HOST_FORBIDDEN, "HostNotFound", CRAWL_FORBIDDEN},
		{HOST_IS_RELAY, "InvalidRequest", CRAWL_RELAY},
	};
	struct office o;

	office_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		o.result = cases[i].result;
		request_crawl(&o, "{\"hostname\":\"pds.example.com\"}");
		CHECK_ERROR(&o, 400, cases[i].error);
		CHECK_INT(*o.rig.crawler.counters.crawls[cases[i].counted], 1);
	}
	CHECK_INT(o.checks, 4);
	CHECK_INT(o.rig.crawler.host_count, 0);
	office_release(&o);
}

static void on_raw_reply(void *arg, int error, struct span reply)
{
	struct office *o = arg;

	CHECK_INT(error, 0);
	CHECK_INT(reply.len, 2);
	if (reply.len == 2) {
		CHECK_INT(reply.ptr[0], MESSAGE_VERSION);
		CHECK_INT(reply.ptr[1], MESSAGE_REFUSED);
	}
	o->answered = true;
}

TEST(a_call_of_another_version_is_answered)
{
	struct office o;

	office_init(&o);
	o.answered = false;
	pipe_call(o.caller, SPAN_LITERAL("\x02\x20 whatever"), 30 * USEC_PER_SEC, on_raw_reply, &o);
	wait_until(o.rig.stage.loop, is_answered, &o, "the answer");
	office_release(&o);
}

TEST(bad_requests)
{
	static const char *const bodies[] = {
		"",
		"{",
		"[]",
		"{}",
		"{\"hostname\":1}",
		"{\"hostname\":\"\"}",
		"{\"hostname\":\"1.2.3.4\"}",
		"{\"hostname\":\"a.b\\u0000c\"}",
		"{\"hostname\":\"a.example.com\",\"hostname\":\"b.example.com\"}",
	};
	struct office o;

	office_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		request_crawl(&o, bodies[i]);
		CHECK_ERROR(&o, 400, "InvalidRequest");
	}
	CHECK_INT(o.checks, 0);
	CHECK_INT(*o.rig.crawler.counters.crawls[CRAWL_BAD_NAME], ARRAY_SIZE(bodies));
	office_release(&o);
}

TEST(no_room_for_more)
{
	struct office o;

	office_init(&o);
	o.rig.crawler.max_hosts = 0;
	request_crawl(&o, "{\"hostname\":\"pds.example.com\"}");
	CHECK_ERROR(&o, 429, "RateLimitExceeded");
	o.rig.crawler.max_hosts = 10;
	office_release(&o);
}

static void on_one_of_many(void *arg, int error, struct span reply)
{
	struct office *o = arg;
	struct xrpc_reply x = reply_in(error, reply);

	CHECK(x.status < ARRAY_SIZE(o->replies));
	o->replies[x.status]++;
	o->reply_count++;
}

static void call_often(struct office *o, const struct xrpc_request *q, unsigned times)
{
	struct buf b;

	buf_init(&b, KIB(16));
	message_put_type(&b, MESSAGE_XRPC);
	xrpc_request_encode(&b, q);
	for (unsigned i = 0; i < times; i++)
		pipe_call(o->caller, buf_span(&b), 30 * USEC_PER_SEC, on_one_of_many, o);
	buf_release(&b);
}

static bool has_wanted(void *arg)
{
	const struct office *o = arg;

	return o->reply_count >= o->wanted_replies && o->kept_count >= o->wanted_kept;
}

static void wait_for(struct office *o, unsigned replies, unsigned kept)
{
	o->wanted_replies = replies;
	o->wanted_kept = kept;
	wait_until(o->rig.stage.loop, has_wanted, o, "replies, and calls to other stages");
}

static int64_t calls_bytes(struct office *o)
{
	int64_t value = -1;
	struct buf b;

	buf_init(&b, MIB(1));
	metrics_render(o->rig.stage.metrics, &b);
	buf_put_u8(&b, '\0');
	const char *line = strstr((const char *)b.ptr, "what=\"calls\"} ");

	CHECK(line && sscanf(line, "what=\"calls\"} %" SCNd64, &value) == 1);
	buf_release(&b);
	return value;
}

/* The one too many is answered while the others wait; those are answered in the end. */
TEST(checks_under_way_are_bounded)
{
	const struct xrpc_request q = {.method = SPAN_LITERAL("com.atproto.sync.requestCrawl"),
				       .body = SPAN_LITERAL("{\"hostname\":\"pds.example.com\"}")};
	const struct host_check check = {HOST_UNREACHABLE, SPAN_LITERAL("so it is")};
	struct office o;
	struct buf b;

	office_init(&o);
	o.keeps = true;
	CHECK_INT(calls_bytes(&o), 0);
	call_often(&o, &q, CALLS_PENDING_MAX + 1);
	wait_for(&o, 1, CALLS_PENDING_MAX);
	CHECK_INT(o.replies[429], 1);
	CHECK_INT(*o.rig.crawler.counters.crawls[CRAWL_BUSY], 1);
	CHECK(calls_bytes(&o) > CALLS_PENDING_MAX * LIMIT_HOSTNAME);
	CHECK(calls_bytes(&o) < (int64_t)(CALLS_PENDING_MAX * KIB(1)));
	buf_init(&b, KIB(1));
	message_put_type(&b, MESSAGE_HOST_CHECKED);
	host_check_encode(&b, &check);
	for (unsigned i = 0; i < CALLS_PENDING_MAX; i++)
		call_reply(o.kept[i], buf_span(&b));
	wait_for(&o, CALLS_PENDING_MAX + 1, 0);
	CHECK_INT(o.replies[429], 1);
	CHECK_INT(o.kept_count, CALLS_PENDING_MAX);
	CHECK_INT(calls_bytes(&o), 0);
	buf_release(&b);
	office_release(&o);
}

TEST(another_method)
{
	const struct xrpc_request q = {.method = SPAN_LITERAL("com.atproto.sync.getRepo")};
	struct office o;

	office_init(&o);
	call(&o, &q);
	CHECK_ERROR(&o, 501, "MethodNotImplemented");
	office_release(&o);
}

/* Hosts that were seen have `seq` as their mark; every third was never seen. */
static void add_hosts(struct office *o, unsigned count)
{
	for (unsigned i = 1; i <= count; i++) {
		struct subscription *s = NULL;
		struct host host = {0};

		snprintf(host.name, sizeof(host.name), "h%u.test", i);
		CHECK_INT(crawler_add(&o->rig.crawler, &host, &s), 0);
		if (i % 3 == 0)
			continue;
		s->record.events = 1;
		mark_init_at(&s->mark, i);
	}
}

TEST(list_of_hosts)
{
	json_t *body, *host;
	struct office o;

	office_init(&o);
	add_hosts(&o, 4);
	body = list_hosts(&o, NULL, NULL);
	CHECK_INT(o.status, 200);
	CHECK_INT(json_array_size(json_object_get(body, "hosts")), 3);
	CHECK(!json_object_get(body, "cursor"));
	host = json_array_get(json_object_get(body, "hosts"), 2);
	CHECK_STR(json_string_value(json_object_get(host, "hostname")), "h4.test");
	CHECK_STR(json_string_value(json_object_get(host, "status")), "idle");
	CHECK_INT(json_integer_value(json_object_get(host, "seq")), 4);
	CHECK_INT(json_integer_value(json_object_get(host, "accountCount")), 102);
	json_decref(body);
	office_release(&o);
}

TEST(list_of_hosts_without_store)
{
	json_t *body, *host;
	struct office o;

	office_init(&o);
	add_hosts(&o, 1);
	o.store_is_silent = true;
	body = list_hosts(&o, NULL, NULL);
	CHECK_INT(o.status, 200);
	host = json_array_get(json_object_get(body, "hosts"), 0);
	CHECK_STR(json_string_value(json_object_get(host, "hostname")), "h1.test");
	CHECK(!json_object_get(host, "accountCount"));
	json_decref(body);
	office_release(&o);
}

TEST(pages_of_hosts)
{
	char cursor[64] = "";
	size_t count = 0, pages = 0;
	struct office o;

	office_init(&o);
	add_hosts(&o, 31);
	for (;;) {
		json_t *body = list_hosts(&o, "10", pages ? cursor : NULL);
		json_t *hosts = json_object_get(body, "hosts");
		const char *next = json_string_value(json_object_get(body, "cursor"));

		for (size_t i = 0; i < json_array_size(hosts); i++, count++) {
			json_int_t seq = json_integer_value(
				json_object_get(json_array_get(hosts, i), "seq"));

			CHECK_INT(seq, count / 2 * 3 + count % 2 + 1);
		}
		pages++;
		if (next)
			snprintf(cursor, sizeof(cursor), "%s", next);
		json_decref(body);
		if (!next || pages > 10)
			break;
	}
	CHECK_INT(count, 21);
	CHECK_INT(pages, 3);
	office_release(&o);
}

TEST(bad_pages)
{
	static const char *const limits[] = {"0", "1001", "-1", "x"};
	static const char *const cursors[] = {"x", "-1", "1 ", "99999999999999999999"};
	struct office o;

	office_init(&o);
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		json_decref(list_hosts(&o, limits[i], NULL));
		CHECK_ERROR(&o, 400, "InvalidRequest");
	}
	for (size_t i = 0; i < ARRAY_SIZE(cursors); i++) {
		json_decref(list_hosts(&o, NULL, cursors[i]));
		CHECK_ERROR(&o, 400, "InvalidRequest");
	}
	office_release(&o);
}

/* The one too many goes without counts. */
TEST(pages_that_wait_for_counts_are_bounded)
{
	const struct xrpc_request q = {.method = SPAN_LITERAL("com.atproto.sync.listHosts")};
	struct office o;

	office_init(&o);
	add_hosts(&o, 10);
	o.keeps = true;
	call_often(&o, &q, CALLS_PENDING_MAX + 1);
	wait_for(&o, 1, CALLS_PENDING_MAX);
	CHECK(calls_bytes(&o) < (int64_t)(CALLS_PENDING_MAX * KIB(9)));
	CHECK(calls_bytes(&o) > (int64_t)(CALLS_PENDING_MAX * KIB(4)));
	for (unsigned i = 0; i < CALLS_PENDING_MAX; i++)
		call_reply(o.kept[i], SPAN_LITERAL("no counts"));
	wait_for(&o, CALLS_PENDING_MAX + 1, 0);
	CHECK_INT(o.replies[200], CALLS_PENDING_MAX + 1);
	CHECK_INT(calls_bytes(&o), 0);
	office_release(&o);
}
