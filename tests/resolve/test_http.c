#include "resolve/http.h"

#include <dlfcn.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <errno.h>
#include <netdb.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "tests/resolve/fixture.h"

#define BODY_MAX 65536

/* A request and what came of it. */
struct result {
	bool done;
	enum http_outcome outcome;
	unsigned status;
	char body[256];
	size_t body_len;
	uint64_t retry_after_sec;
	bool is_relay;
	char reason[256];
};

static void take(void *arg, const struct http_answer *a)
{
	struct result *r = arg;

	CHECK(!r->done);
	r->done = true;
	r->outcome = a->outcome;
	r->status = a->status;
	r->body_len = a->body.len;
	snprintf(r->body, sizeof(r->body), "%.*s", (int)a->body.len, (const char *)a->body.ptr);
	r->retry_after_sec = a->retry_after_sec;
	r->is_relay = a->is_relay;
	snprintf(r->reason, sizeof(r->reason), "%s", a->reason);
}

static bool is_done(void *arg)
{
	return ((const struct result *)arg)->done;
}

static struct http_request request_for(const char *host, bool plain, const char *path,
				       struct result *result)
{
	struct http_request q = {
		.purpose = HTTP_PLC,
		.plain = plain,
		.path = path,
		.max_bytes = BODY_MAX,
		.timeout_usec = 10 * USEC_PER_SEC,
		.done = take,
		.arg = result,
	};

	CHECK_INT(host_parse(span_str(host), &q.host), 0);
	return q;
}

/* "name:port" of the server. Valid until the next call. */
static const char *host_of(const struct http_server *s, const char *name)
{
	static char host[64];

	snprintf(host, sizeof(host), "%s:%u", name, http_server_port(s));
	return host;
}

static struct result get(struct fixture *f, const struct http_request *request)
{
	struct http_request q = *request;
	struct result r = {0};

	q.arg = &r;
	http_get(f->http, &q);
	CHECK(!r.done);
	CHECK(fixture_wait(f, is_done, &r));
	return r;
}

static struct result get_path(struct fixture *f, const struct http_server *s, const char *path)
{
	struct http_request q = request_for(host_of(s, "localhost"), true, path, NULL);

	return get(f, &q);
}

static const char *const plain[] = {"network.plain_hosts=localhost:*", NULL};

TEST(an_answer_comes_with_status_and_body)
{
	static const struct http_server_answer answers[] = {
		{.status = 200, .body = "hello"},
		{.status = 404, .body = "no"},
		{.status = 500},
	};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;

	fixture_open(&f, plain);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct result r;

		http_server_put(s, "/x?y=1", &answers[i]);
		r = get_path(&f, s, "/x?y=1");
		CHECK_INT(r.outcome, HTTP_ANSWERED);
		CHECK_INT(r.status, answers[i].status);
		CHECK_STR(r.body, answers[i].body ? answers[i].body : "");
	}
	CHECK_INT(fixture_metric(&f, "relay_http_requests_total{stage=\"resolve\",purpose=\"plc\","
				     "code=\"200\"}"),
		  1);
	CHECK_INT(fixture_metric(&f, "relay_http_requests_total{stage=\"resolve\",purpose=\"plc\","
				     "code=\"404\"}"),
		  1);
	CHECK_INT(fixture_metric(&f, "relay_http_requests_total{stage=\"resolve\",purpose=\"plc\","
				     "code=\"5xx\"}"),
		  1);
	CHECK_INT(fixture_metric(&f, "relay_http_requests_active{stage=\"resolve\"}"), 0);
	fixture_close(&f);
	http_server_free(s);
}

TEST(a_request_says_who_asks_and_for_what)
{
	struct http_server *s = http_server_new(NULL);
	struct fixture f;
	char *head;

	fixture_open(&f, plain);
	get_path(&f, s, "/did");
	head = http_server_last_head(s);
	CHECK(strstr(head, "GET /did HTTP/1.1\r\n"));
	CHECK(strstr(head, "User-Agent: standpipe/"));
	CHECK(strstr(head, "Accept: application/did+ld+json,application/json\r\n"));
	CHECK(!strstr(head, "Accept-Encoding"));
	free(head);
	fixture_close(&f);
	http_server_free(s);
}

TEST(an_answer_beyond_its_limits_is_cut_off)
{
	static const struct http_server_answer endless = {.status = 200,
							  .kind = HTTP_SERVER_ENDLESS},
					       head = {.status = 200,
						       .kind = HTTP_SERVER_ENDLESS_HEAD};
	struct http_server *s = http_server_new(NULL);
	char *body = xcalloc(1, BODY_MAX + 2);
	struct fixture f;

	fixture_open(&f, plain);
	http_server_put(s, "/endless", &endless);
	http_server_put(s, "/head", &head);
	memset(body, 'x', BODY_MAX);
	http_server_put(s, "/most", &(struct http_server_answer){.status = 200, .body = body});
	body[BODY_MAX] = 'x';
	http_server_put(s, "/huge", &(struct http_server_answer){.status = 200, .body = body});
	CHECK_INT(get_path(&f, s, "/endless").outcome, HTTP_TOO_LARGE);
	CHECK_INT(get_path(&f, s, "/head").outcome, HTTP_TOO_LARGE);
	CHECK_INT(get_path(&f, s, "/huge").outcome, HTTP_TOO_LARGE);
	CHECK_INT(get_path(&f, s, "/most").body_len, BODY_MAX);
	free(body);
	fixture_close(&f);
	http_server_free(s);
}

/* curl keeps each of them apart, so short ones cost more than their bytes. */
TEST(a_head_of_too_many_lines_is_cut_off)
{
	static const struct {
		size_t lines;
		enum http_outcome outcome;
	} cases[] = {{900, HTTP_ANSWERED}, {1000, HTTP_TOO_LARGE}};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;
	struct buf b;

	fixture_open(&f, plain);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_init(&b, KIB(8));
		for (size_t n = 0; n < cases[i].lines; n++)
			buf_append_str(&b, "a:\r\n");
		buf_put_u8(&b, '\0');
		http_server_put(s, "/",
				&(struct http_server_answer){.status = 200,
							     .headers = (const char *)b.ptr});
		CHECK_INT(get_path(&f, s, "/").outcome, cases[i].outcome);
		buf_release(&b);
	}
	fixture_close(&f);
	http_server_free(s);
}

TEST(a_silent_server_runs_into_the_time_limit)
{
	static const struct http_server_answer silent = {.kind = HTTP_SERVER_SILENT};
	struct http_server *s = http_server_new(NULL);
	struct http_request q;
	struct fixture f;

	fixture_open(&f, plain);
	http_server_put(s, "/", &silent);
	q = request_for(host_of(s, "localhost"), true, "/", NULL);
	q.timeout_usec = 100 * USEC_PER_MSEC;
	CHECK_INT(get(&f, &q).outcome, HTTP_TIMEOUT);
	fixture_close(&f);
	http_server_free(s);
}

/* A name whose servers do not answer: the resolver's thread hangs for as long as the test likes. */

#define SLOW_NAME "slow.example.com"

/* A name that resolves to what the test likes, numbers that tell of attempts to connect to what it
 * resolved to, and no connection to anywhere but loopback. */
#define FAKE_NAME "fake.example.com"

static const char *fake_address;
static unsigned attempts_outside, attempts_inside;

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	int (*next)(int fd, const struct sockaddr *address, socklen_t len);
	const struct sockaddr_in *in = (const void *)address;

	if (address->sa_family == AF_INET && ntohl(in->sin_addr.s_addr) >> 24 != 127) {
		attempts_outside++;
		errno = ENETUNREACH;
		return -1;
	}
	if (address->sa_family == AF_INET || address->sa_family == AF_INET6)
		attempts_inside++;
	*(void **)&next = dlsym(RTLD_NEXT, "connect");
	return next(fd, address, len);
}

static sem_t slow_end;
static atomic_int slow_hanging;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
		struct addrinfo **ret)
{
	int (*next)(const char *name, const char *service, const struct addrinfo *hints,
		    struct addrinfo **ret);
	struct timespec limit;

	if (!name || strcmp(name, SLOW_NAME) != 0) {
		*(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
		return next(name && strcmp(name, FAKE_NAME) == 0 ? fake_address : name, service,
			    hints, ret);
	}
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 10;
	slow_hanging++;
	(void)sem_timedwait(&slow_end, &limit);
	slow_hanging--;
	return EAI_AGAIN;
}

static bool is_hanging(void *arg)
{
	return (slow_hanging > 0) == *(const bool *)arg;
}

TEST(a_name_that_takes_long_holds_up_nobody)
{
	struct result r = {0};
	struct http_request q = request_for(SLOW_NAME, false, "/", &r);
	struct fixture f;
	bool yes = true, no = false;

	sem_init(&slow_end, 0, 0);
	fixture_open(&f, plain);
	q.timeout_usec = 200 * USEC_PER_MSEC;
	http_get(f.http, &q);
	CHECK(fixture_wait(&f, is_hanging, &yes));
	CHECK(fixture_wait(&f, is_done, &r));
	CHECK(slow_hanging == 1);
	CHECK_INT(r.outcome, HTTP_TIMEOUT);
	sem_post(&slow_end);
	CHECK(fixture_wait(&f, is_hanging, &no));
	fixture_close(&f);
}

TEST(what_is_not_http_or_cut_is_broken)
{
	struct http_server *s = http_server_new(NULL);
	struct fixture f;

	fixture_open(&f, plain);
	http_server_put(s, "/cut",
			&(struct http_server_answer){
				.status = 200, .body = "whole", .kind = HTTP_SERVER_CUT});
	http_server_put(s, "/ssh",
			&(struct http_server_answer){.body = "SSH-2.0-OpenSSH\r\n",
						     .kind = HTTP_SERVER_NO_HTTP});
	CHECK_INT(get_path(&f, s, "/cut").outcome, HTTP_BROKEN);
	CHECK_INT(get_path(&f, s, "/ssh").outcome, HTTP_BROKEN);
	fixture_close(&f);
	http_server_free(s);
}

TEST(a_redirect_is_not_followed)
{
	struct http_server *s = http_server_new(NULL);
	struct fixture f;
	struct result r;

	fixture_open(&f, plain);
	http_server_put(
		s, "/old",
		&(struct http_server_answer){.status = 302, .headers = "Location: /new\r\n"});
	http_server_put(s, "/new", &(struct http_server_answer){.status = 200});
	r = get_path(&f, s, "/old");
	CHECK_INT(r.outcome, HTTP_ANSWERED);
	CHECK_INT(r.status, 302);
	CHECK_INT(http_server_requests(s, "/new"), 0);
	fixture_close(&f);
	http_server_free(s);
}

TEST(the_head_says_retry_after_and_relay)
{
	static const struct {
		const char *headers;
		uint64_t retry_after;
		bool relay;
	} cases[] = {
		{NULL, 0, false},
		{"Retry-After: 7\r\n", 7, false},
		{"Retry-After: 99999999\r\n", HTTP_RETRY_AFTER_MAX, false},
		{"Server: indigo atproto-relay/1\r\n", 0, true},
		{"SERVER: atproto-relay\r\n", 0, true},
		{"X-Server: atproto-relay\r\n", 0, false},
		{"Server: nginx\r\nX: atproto-relay\r\n", 0, false},
	};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;

	fixture_open(&f, plain);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct result r;

		http_server_put(
			s, "/",
			&(struct http_server_answer){.status = 503, .headers = cases[i].headers});
		r = get_path(&f, s, "/");
		CHECK_INT(r.status, 503);
		CHECK_INT(r.retry_after_sec, cases[i].retry_after);
		CHECK_INT(r.is_relay, cases[i].relay);
	}
	fixture_close(&f);
	http_server_free(s);
}

/* Writes a hosts file that leads name to loopback, and gives the setting for it. */
static const char *hosts_file(const char *name)
{
	static char setting[256];
	char path[200];
	FILE *out;

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	out = fopen(path, "we");
	fprintf(out, "127.0.0.1 %s\n", name);
	fclose(out);
	snprintf(setting, sizeof(setting), "network.hosts_file=%s", path);
	return setting;
}

TEST(a_private_address_is_not_connected_to)
{
	struct http_server *s = http_server_new(NULL);
	const char *sets[] = {hosts_file("pds.example.com"), NULL};
	struct http_request q;
	struct fixture f;

	fixture_open(&f, sets);
	q = request_for(host_of(s, "pds.example.com"), false, "/", NULL);
	CHECK_INT(get(&f, &q).outcome, HTTP_FORBIDDEN);
	/* The same by the system's own resolution. */
	q = request_for(host_of(s, "localhost"), false, "/", NULL);
	CHECK_INT(get(&f, &q).outcome, HTTP_FORBIDDEN);
	CHECK_INT(http_server_connections(s), 0);
	CHECK(fixture_metric(&f, "relay_address_refused_total{stage=\"resolve\"}") >= 2);
	fixture_close(&f);
	http_server_free(s);
}

/* Whatever a name resolves to is looked at when it is about to be connected to. */
TEST(no_name_leads_to_a_private_address)
{
	static const char *const addresses[] = {
		"127.0.0.1",
		"127.8.8.8",
		"0.0.0.0",
		"10.1.2.3",
		"172.16.0.1",
		"192.168.1.1",
		"169.254.169.254",
		"100.64.0.1",
		"192.0.0.1",
		"198.18.0.1",
		"224.0.0.1",
		"255.255.255.255",
		"::1",
		"::",
		"fd00::1",
		"fe80::1",
		"ff02::1",
		"::ffff:127.0.0.1",
		"::ffff:10.0.0.1",
		"64:ff9b::127.0.0.1",
		"2002:7f00:1::",
		"::127.0.0.1",
		"fec0::1",
		"2001:db8::1",
	};
	struct http_request q = request_for(FAKE_NAME, false, "/", NULL);
	const char *sets[] = {"resolve.recycle_interval=1", NULL};
	struct fixture f;

	fixture_open(&f, sets);
	attempts_inside = attempts_outside = 0;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		enum http_outcome got;

		fake_address = addresses[i];
		got = get(&f, &q).outcome;
		if (got != HTTP_FORBIDDEN || attempts_inside + attempts_outside > 0)
			test_fail(__FILE__, __LINE__, "%s: %s, %u attempts", addresses[i],
				  http_outcome_name(got), attempts_inside + attempts_outside);
	}
	fixture_close(&f);
}

/* It was public when somebody looked, and is not when it is used. */
TEST(a_name_that_changes_its_address_leads_nowhere)
{
	struct http_request q = request_for(FAKE_NAME, false, "/", NULL);
	const char *sets[] = {"resolve.recycle_interval=1", NULL};
	struct fixture f;

	fixture_open(&f, sets);
	attempts_inside = attempts_outside = 0;
	fake_address = "8.8.8.8";
	CHECK_INT(get(&f, &q).outcome, HTTP_NO_CONNECTION);
	CHECK_INT(attempts_outside, 1);
	fake_address = "127.0.0.1";
	CHECK_INT(get(&f, &q).outcome, HTTP_FORBIDDEN);
	fake_address = "8.8.8.8";
	CHECK_INT(get(&f, &q).outcome, HTTP_NO_CONNECTION);
	CHECK_INT(attempts_outside, 2);
	CHECK_INT(attempts_inside, 0);
	fixture_close(&f);
}

TEST(the_hosts_file_leads_to_the_address)
{
	struct http_server *s = http_server_new(NULL);
	const char *sets[] = {hosts_file("pds.example.com"),
			      "network.plain_hosts=pds.example.com:*", NULL};
	struct http_request q;
	struct fixture f;
	char *head, want[128];

	fixture_open(&f, sets);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	q = request_for(host_of(s, "pds.example.com"), true, "/", NULL);
	CHECK_INT(get(&f, &q).status, 200);
	head = http_server_last_head(s);
	snprintf(want, sizeof(want), "Host: %s\r\n", host_of(s, "pds.example.com"));
	CHECK(strstr(head, want));
	free(head);
	fixture_close(&f);
	http_server_free(s);
}

TEST(a_proxy_of_the_environment_is_not_used)
{
	struct http_server *s = http_server_new(NULL), *proxy = http_server_new(NULL);
	char url[64];
	struct fixture f;

	snprintf(url, sizeof(url), "http://127.0.0.1:%u", http_server_port(proxy));
	setenv("http_proxy", url, 1);
	setenv("ALL_PROXY", url, 1);
	fixture_open(&f, plain);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	CHECK_INT(get_path(&f, s, "/").status, 200);
	CHECK_INT(http_server_connections(proxy), 0);
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	fixture_close(&f);
	http_server_free(s);
	http_server_free(proxy);
}

TEST(nobody_there_and_no_such_name)
{
	struct http_server *s = http_server_new(NULL);
	char host[64];
	const char *sets[] = {"network.plain_hosts=*", NULL};
	struct http_request q;
	struct fixture f;

	snprintf(host, sizeof(host), "%s", host_of(s, "localhost"));
	http_server_free(s);
	fixture_open(&f, sets);
	q = request_for(host, true, "/", NULL);
	CHECK_INT(get(&f, &q).outcome, HTTP_NO_CONNECTION);
	q = request_for("name.invalid", true, "/", NULL);
	CHECK_INT(get(&f, &q).outcome, HTTP_NO_NAME);
	fixture_close(&f);
}

TEST(tls_needs_a_trusted_certificate_for_the_name)
{
	struct http_server_tls tls;
	struct http_server *s;
	char ca[300];
	const struct {
		const char *ca, *host;
		enum http_outcome outcome;
	} cases[] = {
		{ca, "pds.test", HTTP_ANSWERED},
		{ca, "localhost", HTTP_ANSWERED},
		{ca, "other.test", HTTP_NO_TRUST},
		{"network.ca_file=", "pds.test", HTTP_NO_TRUST},
	};

	http_server_make_tls(test_folder(), &tls);
	snprintf(ca, sizeof(ca), "network.ca_file=%s", tls.ca_file);
	s = http_server_new(&tls);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *sets[] = {hosts_file(cases[i].host), "network.private_hosts=*",
				      cases[i].ca, NULL};
		struct http_request q = request_for(host_of(s, cases[i].host), false, "/", NULL);
		struct fixture f;
		struct result r;

		fixture_open(&f, sets);
		r = get(&f, &q);
		if (r.outcome != cases[i].outcome)
			test_fail(__FILE__, __LINE__, "%s: %s: %s", cases[i].host,
				  http_outcome_name(r.outcome), r.reason);
		fixture_close(&f);
	}
	http_server_free(s);
}

TEST(a_ca_file_without_certificates_is_refused)
{
	const char *sets[] = {"network.ca_file=/dev/null", NULL};
	struct config *c = config_new();
	char error[256];
	struct http *h = NULL;
	struct loop *l = loop_new();

	CHECK_INT(config_set(c, sets[0], error, sizeof(error)), 0);
	CHECK(http_new(c, NULL, l, NULL, NULL, &h) < 0);
	CHECK(!h);
	config_free(c);
	loop_free(l);
}

struct connections {
	struct http_server *server;
	unsigned open;
};

static bool so_many_are_open(void *arg)
{
	struct connections *c = arg;

	return http_server_open_connections(c->server) == c->open;
}

/* Connections that five requests one after another take. One that is not kept ends with its
 * request. */
static unsigned connections_for(enum http_purpose purpose, const char *keep_alive)
{
	const char *sets[] = {"network.plain_hosts=localhost:*", keep_alive, NULL};
	struct http_server *s = http_server_new(NULL);
	struct http_request q = request_for(host_of(s, "localhost"), true, "/", NULL);
	struct fixture f;
	unsigned n;

	q.purpose = purpose;
	fixture_open(&f, sets);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	for (int i = 0; i < 5; i++)
		CHECK_INT(get(&f, &q).status, 200);
	n = http_server_connections(s);
	CHECK(fixture_wait(&f, so_many_are_open, &(struct connections){s, n == 1}));
	fixture_close(&f);
	http_server_free(s);
	return n;
}

TEST(connections_are_kept_if_configured)
{
	CHECK_INT(connections_for(HTTP_PLC, "resolve.keep_alive=true"), 1);
	CHECK_INT(connections_for(HTTP_PLC, "resolve.keep_alive=false"), 5);
	/* Nobody asks these again soon. */
	CHECK_INT(connections_for(HTTP_DID_WEB, "resolve.keep_alive=true"), 5);
	CHECK_INT(connections_for(HTTP_HOST_CHECK, "resolve.keep_alive=true"), 5);
}

static unsigned requests_over(struct fixture *f, struct http_server *s, unsigned n)
{
	struct http_request q = request_for(host_of(s, "localhost"), true, "/", NULL);
	unsigned before = http_server_connections(s);

	q.purpose = HTTP_PLC;
	for (unsigned i = 0; i < n; i++)
		CHECK_INT(get(f, &q).status, 200);
	return http_server_connections(s) - before;
}

TEST(a_client_is_made_anew_after_its_requests)
{
	const char *sets[] = {"network.plain_hosts=localhost:*", "resolve.recycle_interval=3",
			      NULL};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;

	fixture_open(&f, sets);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	/* 3, 3, 3 and 1, over a connection each. */
	CHECK_INT(requests_over(&f, s, 10), 4);
	CHECK_INT(fixture_metric(&f, "relay_http_clients_recycled_total{stage=\"resolve\"}"), 3);
	CHECK(fixture_wait(&f, so_many_are_open, &(struct connections){s, 1}));
	fixture_close(&f);
	http_server_free(s);
}

TEST(settings_are_for_what_follows)
{
	const char *sets[] = {"network.plain_hosts=localhost:*", NULL};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;

	fixture_open(&f, sets);
	http_server_put(s, "/", &(struct http_server_answer){.status = 200});
	CHECK_INT(requests_over(&f, s, 5), 1);
	CHECK(fixture_wait(&f, so_many_are_open, &(struct connections){s, 1}));
	/* Nobody uses the open connection any more, and it ends. */
	fixture_set(&f, "resolve.keep_alive=false");
	http_configure(f.http, f.config);
	CHECK(fixture_wait(&f, so_many_are_open, &(struct connections){s, 0}));
	CHECK_INT(requests_over(&f, s, 5), 5);
	fixture_set(&f, "resolve.keep_alive=true");
	http_configure(f.http, f.config);
	CHECK_INT(requests_over(&f, s, 5), 1);
	fixture_set(&f, "resolve.recycle_interval=1");
	http_configure(f.http, f.config);
	CHECK_INT(requests_over(&f, s, 5), 5);
	fixture_close(&f);
	http_server_free(s);
}

#define MANY 200

struct many {
	struct fixture *f;
	struct http_server *s;
	struct result results[MANY];
};

static bool all_wait(void *arg)
{
	struct many *m = arg;

	return http_server_waiting(m->s) == MANY;
}

static bool all_are_done(void *arg)
{
	struct many *m = arg;

	for (size_t i = 0; i < MANY; i++)
		if (!m->results[i].done)
			return false;
	return true;
}

TEST(many_at_a_time_and_no_memory_left)
{
	const char *sets[] = {"network.plain_hosts=localhost:*", "resolve.concurrency=4", NULL};
	struct many *m = xcalloc(1, sizeof(*m));
	struct fixture f;
	int64_t curl, body;

	m->s = http_server_new(NULL);
	http_server_put(m->s, "/", &(struct http_server_answer){.status = 200, .body = "hello"});
	fixture_open(&f, sets);
	for (int round = 0; round < 3; round++) {
		memset(m->results, 0, sizeof(m->results));
		http_server_hold(m->s, true);
		for (size_t i = 0; i < MANY; i++) {
			struct http_request q = request_for(host_of(m->s, "localhost"), true, "/",
							    &m->results[i]);

			http_get(f.http, &q);
		}
		CHECK(fixture_wait(&f, all_wait, m));
		CHECK_INT(fixture_metric(&f, "relay_http_requests_active{stage=\"resolve\"}"),
			  MANY);
		http_server_hold(m->s, false);
		CHECK(fixture_wait(&f, all_are_done, m));
	}
	CHECK_INT(http_server_most_waiting(m->s), MANY);
	curl = fixture_metric(&f, "relay_accounted_bytes{stage=\"resolve\",what=\"curl\"}");
	body = fixture_metric(&f, "relay_accounted_bytes{stage=\"resolve\",what=\"http\"}");
	CHECK(curl > 0 && curl < (int64_t)MIB(4));
	CHECK_INT(body, 0);
	fixture_close(&f);
	http_server_free(m->s);
	free(m);
}

/* An answer that does not end, to all requests at once. */
struct most {
	struct fixture f;
	char *headers, *body;
	int64_t body_bytes, curl_bytes; /* that it comes to at least, for each */
	struct many many;
};

static bool most_is_held(void *arg)
{
	struct most *m = arg;

	return fixture_metric(&m->f, FIXTURE_HELD("http")) >= MANY * m->body_bytes &&
	       fixture_metric(&m->f, FIXTURE_HELD("curl")) >= MANY * m->curl_bytes;
}

static char *repeat(char c, size_t count)
{
	return memset(xcalloc(1, count + 1), c, count);
}

/* As many lines as fit, each of the text with so many x before its end; and then a line that does
 * not end. */
static char *make_headers(const char *text, size_t more, size_t unfinished)
{
	size_t line = strlen(text) + more + 2;
	/* The status and the body's length come beside them. */
	size_t count = (HTTP_HEAD_MAX - 200 - 2 * HTTP_HEAD_LINE) / (line + HTTP_HEAD_LINE);
	char *filling = repeat('x', more > unfinished ? more : unfinished);
	struct buf b;

	CHECK(count > 0);
	buf_init(&b, 2 * HTTP_HEAD_MAX + unfinished);
	while (count-- > 0) {
		buf_append_str(&b, text);
		buf_append(&b, span_of(filling, more));
		buf_append_str(&b, "\r\n");
	}
	buf_append(&b, span_of(filling, unfinished));
	buf_put_u8(&b, '\0');
	free(filling);
	return (char *)b.ptr;
}

static void hold_most(char *headers, size_t body_bytes, size_t curl_bytes)
{
	struct most *m = xcalloc(1, sizeof(*m));

	m->headers = headers;
	m->body = body_bytes ? repeat('x', body_bytes) : NULL;
	m->body_bytes = (int64_t)body_bytes;
	m->curl_bytes = (int64_t)curl_bytes;
	m->many.s = http_server_new(NULL);
	http_server_put(m->many.s, "/",
			&(struct http_server_answer){.status = 200,
						     .body = m->body,
						     .headers = m->headers,
						     .kind = HTTP_SERVER_UNFINISHED});
	fixture_open(&m->f, plain);
	for (size_t i = 0; i < MANY; i++) {
		struct http_request q = request_for(host_of(m->many.s, "localhost"), true, "/",
						    &m->many.results[i]);

		http_get(m->f.http, &q);
	}
	CHECK(fixture_wait(&m->f, most_is_held, m));
	CHECK(fixture_metric(&m->f, FIXTURE_HELD("http")) <= MANY * (int64_t)(BODY_MAX + KIB(1)));
	CHECK(fixture_metric(&m->f, FIXTURE_HELD("curl")) <= MANY * (int64_t)HTTP_CURL_BYTES);
	for (size_t i = 0; i < MANY; i++)
		CHECK(!m->many.results[i].done);
	printf("# a request holds %" PRId64 " bytes, and %" PRId64 " of curl\n",
	       fixture_metric(&m->f, FIXTURE_HELD("http")) / MANY,
	       fixture_metric(&m->f, FIXTURE_HELD("curl")) / MANY);
	fixture_close(&m->f);
	http_server_free(m->many.s);
	free(m->headers);
	free(m->body);
	free(m);
}

/* Heads and bodies that are as large as they may be, whatever the head is made of. */
TEST(what_requests_hold_is_bounded)
{
	hold_most(make_headers("a:", 0, 0), BODY_MAX - 1, KIB(60));
	hold_most(make_headers("X-Some-Name: and ", 20, 0), BODY_MAX - 1, KIB(60));
	hold_most(make_headers("X-Half: ", HTTP_HEAD_MAX / 2 - 300, 0), BODY_MAX - 1, KIB(90));
	hold_most(make_headers("X-All: ", HTTP_HEAD_MAX - 1000, 0), BODY_MAX - 1, KIB(120));
	hold_most(make_headers("X-Some-Name: and ", 20, 100000), 0, KIB(160));
}

TEST(requests_under_way_are_cancelled_at_the_end)
{
	struct http_server *s = http_server_new(NULL);
	struct result r = {0};
	struct http_request q = request_for(host_of(s, "localhost"), true, "/", &r);
	struct fixture f;

	fixture_open(&f, plain);
	http_get(f.http, &q);
	fixture_close(&f);
	CHECK(r.done);
	CHECK_INT(r.outcome, HTTP_CANCELLED);
	http_server_free(s);
}

/* Each has a client of its own, and all of them end with theirs. */
TEST(retired_clients_end_what_they_have)
{
	const char *sets[] = {"network.plain_hosts=localhost:*", "resolve.recycle_interval=1",
			      NULL};
	struct many *m = xcalloc(1, sizeof(*m));
	struct fixture f;

	m->s = http_server_new(NULL);
	fixture_open(&f, sets);
	http_server_put(m->s, "/", &(struct http_server_answer){.status = 200, .body = "hello"});
	http_server_hold(m->s, true);
	for (size_t i = 0; i < MANY; i++) {
		struct http_request q = request_for(host_of(m->s, "localhost"), true, "/",
						    &m->results[i]);

		http_get(f.http, &q);
	}
	CHECK(fixture_wait(&f, all_wait, m));
	http_server_hold(m->s, false);
	CHECK(fixture_wait(&f, all_are_done, m));
	for (size_t i = 0; i < MANY; i++)
		CHECK_INT(m->results[i].status, 200);
	CHECK(fixture_wait(&f, so_many_are_open, &(struct connections){m->s, 1}));
	/* And at the end of all. */
	memset(m->results, 0, sizeof(m->results));
	http_server_hold(m->s, true);
	for (size_t i = 0; i < MANY; i++) {
		struct http_request q = request_for(host_of(m->s, "localhost"), true, "/",
						    &m->results[i]);

		http_get(f.http, &q);
	}
	fixture_close(&f);
	CHECK(all_are_done(m));
	http_server_hold(m->s, false);
	http_server_free(m->s);
	free(m);
}

TEST(text_is_escaped_for_a_query)
{
	struct buf b;

	buf_init(&b, 256);
	http_escape(&b, SPAN_LITERAL("aZ09-._~ &=/%+\xff"));
	CHECK_SPAN(buf_span(&b), SPAN_LITERAL("aZ09-._~%20%26%3D%2F%25%2B%FF"));
	buf_release(&b);
}
