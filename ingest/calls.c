#include "ingest/calls.h"

#include <errno.h>
#include <inttypes.h>

#include "common/log.h"
#include "common/xrpc.h"
#include "ingest/subscription.h"

#define HOSTNAME_TEXT_MAX 512 /* of a request: a host with what people write around it */

/* requestCrawl */

struct check {
	struct calls *calls;
	struct call *call;
	struct host host;
};

static void answer_crawl(struct calls *c, struct call *call, enum crawl_result result)
{
	++*c->crawler->counters.crawls[result];
	xrpc_answer(call, 200, NULL);
}

static void refuse_crawl(struct calls *c, struct call *call, enum crawl_result result,
			 const char *message)
{
	static const struct {
		uint16_t status;
		const char *name;
	} errors[CRAWL_COUNT] = {
		[CRAWL_BAD_NAME] = {400, "InvalidRequest"},
		[CRAWL_UNREACHABLE] = {400, "HostNotFound"},
		[CRAWL_NOT_PDS] = {400, "HostNotFound"},
		[CRAWL_FORBIDDEN] = {400, "HostNotFound"},
		[CRAWL_RELAY] = {400, "InvalidRequest"},
		[CRAWL_BUSY] = {429, "RateLimitExceeded"},
		[CRAWL_FAILED] = {500, "InternalServerError"},
	};

	++*c->crawler->counters.crawls[result];
	xrpc_error(call, errors[result].status, errors[result].name, message);
}

static void add_checked(struct check *k)
{
	char name[LIMIT_HOST + 1];
	struct subscription *s;
	int error;

	/* Another check of the same host may have ended first. */
	if (crawler_find(k->calls->crawler, span_str(host_format(&k->host, name)))) {
		answer_crawl(k->calls, k->call, CRAWL_KNOWN);
		return;
	}
	error = crawler_add(k->calls->crawler, &k->host, &s);
	if (error) {
		refuse_crawl(k->calls, k->call, error == -ENOSPC ? CRAWL_BUSY : CRAWL_FAILED,
			     error == -ENOSPC ? "this relay has no room for more hosts"
					      : "the host cannot be recorded");
		return;
	}
	log_notice("host added at its own request host=%s", name);
	subscription_start(s);
	answer_crawl(k->calls, k->call, CRAWL_ADDED);
}

static int decode_check(struct span reply, struct host_check *ret)
{
	struct reader r = reader_of(reply);
	enum message_type type;

	if (message_get_type(&r, &type) != 0 || type != MESSAGE_HOST_CHECKED)
		return -EBADMSG;
	return host_check_decode(&r, ret) == 0 && r.left == 0 ? 0 : -EBADMSG;
}

static void judge_check(struct check *k, const struct host_check *result)
{
	char text[256];

	switch (result->result) {
	case HOST_IS_PDS:
		add_checked(k);
		return;
	case HOST_UNREACHABLE:
		snprintf(text, sizeof(text), "the host cannot be reached: %s",
			 log_text(result->reason));
		refuse_crawl(k->calls, k->call, CRAWL_UNREACHABLE, text);
		return;
	case HOST_NOT_PDS:
		snprintf(text, sizeof(text), "the host is no PDS: %s", log_text(result->reason));
		refuse_crawl(k->calls, k->call, CRAWL_NOT_PDS, text);
		return;
	case HOST_IS_RELAY:
		refuse_crawl(k->calls, k->call, CRAWL_RELAY,
			     "the host is a relay, and relays do not crawl each other");
		return;
	case HOST_FORBIDDEN:
		refuse_crawl(k->calls, k->call, CRAWL_FORBIDDEN,
			     "the host has no address that this relay may connect to");
		return;
	}
	refuse_crawl(k->calls, k->call, CRAWL_FAILED, "the host cannot be checked");
}

static void on_checked(void *arg, int error, struct span reply)
{
	struct check *k = arg;
	struct host_check result;

	k->calls->checks--;
	if (error || decode_check(reply, &result) != 0)
		refuse_crawl(k->calls, k->call, CRAWL_FAILED, "the host cannot be checked now");
	else
		judge_check(k, &result);
	free(k);
}

static void check_host(struct calls *c, struct call *call, const struct host *host)
{
	char name[LIMIT_HOST + 1];
	struct check *k;
	struct buf b;

	if (c->checks >= CALLS_PENDING_MAX) {
		refuse_crawl(c, call, CRAWL_BUSY, "too many hosts are being checked");
		return;
	}
	c->checks++;
	k = xcalloc(1, sizeof(*k));
	*k = (struct check){c, call, *host};
	buf_init(&b, KIB(1));
	message_put_type(&b, MESSAGE_CHECK_HOST);
	message_put_text(&b, span_str(host_format(host, name)));
	pipe_call(c->resolve, buf_span(&b), CALLS_CHECK_USEC, on_checked, k);
	buf_release(&b);
}

static bool is_configured(const struct crawler *c, const struct host *h)
{
	return host_policy_is_plain(c->policy, h) ||
	       host_matches(config_text(c->stage->config, "network.private_hosts"), h);
}

static bool is_address(const char *name)
{
	const char *dot = strrchr(name, '.');
	char last = dot ? dot[1] : name[0];

	return last >= '0' && last <= '9'; /* top-level domains begin with a letter */
}

int calls_parse_hostname(const struct crawler *c, struct span text, struct host *ret,
			 const char **ret_reason)
{
	bool is_url = memmem(text.ptr, text.len, "://", 3) != NULL, plain = false;
	struct host h;

	*ret_reason = "hostname is no host name";
	if (text.len > HOSTNAME_TEXT_MAX)
		return -EINVAL;
	if (is_url ? host_parse_url(text, &h, &plain) : host_parse(text, &h))
		return -EINVAL;
	if (!is_configured(c, &h)) {
		*ret_reason = "hostname must be the public name of a host";
		if (is_address(h.name) || !strchr(h.name, '.'))
			return -EINVAL;
		*ret_reason = "hosts are only read on port 443, by TLS";
		if (h.port || plain)
			return -EINVAL;
	}
	*ret = h;
	return 0;
}

/* The member `hostname` of the body. Gives body, which text borrows from. */
static int get_hostname(struct span bytes, json_t **ret_body, struct span *ret_text)
{
	json_t *body = json_loadb((const char *)bytes.ptr, bytes.len, JSON_REJECT_DUPLICATES, NULL);
	json_t *hostname = json_object_get(body, "hostname");

	if (!json_is_string(hostname)) {
		json_decref(body);
		return -EINVAL;
	}
	*ret_body = body;
	*ret_text = span_of(json_string_value(hostname), json_string_length(hostname));
	return 0;
}

static void request_crawl(void *arg, struct call *call, const struct xrpc_request *q)
{
	struct calls *c = arg;
	char name[LIMIT_HOST + 1];
	struct subscription *known;
	const char *reason;
	struct span text;
	struct host host;
	json_t *body;
	int error;

	if (get_hostname(q->body, &body, &text) != 0) {
		refuse_crawl(c, call, CRAWL_BAD_NAME, "the body must be an object with a hostname");
		return;
	}
	error = calls_parse_hostname(c->crawler, text, &host, &reason);
	json_decref(body);
	if (error) {
		refuse_crawl(c, call, CRAWL_BAD_NAME, reason);
		return;
	}
	known = crawler_find(c->crawler, span_str(host_format(&host, name)));
	if (known) {
		subscription_ask(known);
		answer_crawl(c, call, CRAWL_KNOWN);
	} else {
		check_host(c, call, &host);
	}
}

/* listHosts. The cursor is the number of the last host of the page before. */

struct page {
	struct calls *calls;
	struct call *call;
	struct subscription *hosts[CALLS_HOSTS_MAX]; /* they live as long as the process */
	size_t count;
	bool more;
};

static int parse_cursor(struct span text, uint64_t *ret)
{
	uint64_t v = 0;

	if (text.len > 18) /* of the 20 digits that a u64 may have: no overflow */
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -EINVAL;
		v = v * 10 + (uint64_t)(text.ptr[i] - '0');
	}
	*ret = v;
	return 0;
}

/* The place of the first host with a higher number. */
static size_t find_place(const struct crawler *c, uint64_t number)
{
	size_t low = 0, high = c->host_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->hosts[middle]->record.number > number)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void fill_page(struct page *p, uint64_t after, unsigned limit)
{
	const struct crawler *c = p->calls->crawler;

	for (size_t i = find_place(c, after); i < c->host_count; i++) {
		if (c->hosts[i]->record.events == 0)
			continue;
		p->more = p->count == limit;
		if (p->more)
			break;
		p->hosts[p->count++] = c->hosts[i];
	}
}

/* counts: NULL if they are not known. */
static json_t *host_json(const struct subscription *s, const uint64_t *counts, size_t i)
{
	json_t *host = json_object();

	json_object_set_new(host, "hostname", json_string(s->record.host));
	json_object_set_new(host, "seq",
			    json_integer(s->mark.known ? (json_int_t)mark_low(&s->mark) : 0));
	json_object_set_new(host, "status", json_string(host_status_name(s->record.status)));
	if (counts)
		json_object_set_new(host, "accountCount", json_integer((json_int_t)counts[i]));
	return host;
}

/* Takes the page. */
static void answer_page(struct page *p, const uint64_t *counts)
{
	json_t *body = json_object(), *hosts = json_array();
	char cursor[32];

	for (size_t i = 0; i < p->count; i++)
		json_array_append_new(hosts, host_json(p->hosts[i], counts, i));
	if (p->more) {
		snprintf(cursor, sizeof(cursor), "%" PRIu64, p->hosts[p->count - 1]->record.number);
		json_object_set_new(body, "cursor", json_string(cursor));
	}
	json_object_set_new(body, "hosts", hosts);
	xrpc_answer(p->call, 200, body);
	free(p);
}

int calls_decode_counts(struct reader r, size_t count, uint64_t *ret)
{
	uint32_t n;

	if (reader_get_u32(&r, &n) != 0 || n != count || r.left != count * sizeof(uint64_t))
		return -EBADMSG;
	for (size_t i = 0; i < count; i++)
		if (reader_get_u64(&r, &ret[i]) != 0)
			return -EBADMSG;
	return 0;
}

/* Without an answer of store the page goes without the counts. */
static void on_counted(void *arg, int error, struct span reply)
{
	struct page *p = arg;
	struct reader r = reader_of(reply);
	uint64_t counts[CALLS_HOSTS_MAX];
	enum message_type type;
	bool known = false;

	p->calls->pages--;
	if (!error && message_get_type(&r, &type) == 0 && type == MESSAGE_ACCOUNTS_COUNTED)
		known = calls_decode_counts(r, p->count, counts) == 0;
	answer_page(p, known ? counts : NULL);
}

static void ask_counts(struct page *p)
{
	struct calls *c = p->calls;
	struct buf b;

	if (p->count == 0 || c->pages >= CALLS_PENDING_MAX) {
		answer_page(p, NULL);
		return;
	}
	c->pages++;
	buf_init(&b, KIB(16));
	message_put_type(&b, MESSAGE_ACCOUNT_COUNTS);
	buf_put_u32(&b, (uint32_t)p->count);
	for (size_t i = 0; i < p->count; i++)
		buf_put_u64(&b, p->hosts[i]->host_id);
	pipe_call(c->store, buf_span(&b), CALLS_COUNT_USEC, on_counted, p);
	buf_release(&b);
}

static int64_t pending_bytes(void *arg)
{
	const struct calls *c = arg;

	return (int64_t)(c->checks * sizeof(struct check) + c->pages * sizeof(struct page));
}

static void list_hosts(void *arg, struct call *call, const struct xrpc_request *q)
{
	unsigned limit;
	uint64_t after;
	struct page *p;

	if (xrpc_limit(q, CALLS_HOSTS_MAX, CALLS_HOSTS_DEFAULT, &limit) != 0) {
		xrpc_error(call, 400, "InvalidRequest", "limit must be a number from 1 to 1000");
		return;
	}
	if (parse_cursor(xrpc_param(q, "cursor"), &after) != 0) {
		xrpc_error(call, 400, "InvalidRequest", "cursor is none that this relay gave");
		return;
	}
	p = xcalloc(1, sizeof(*p));
	p->calls = arg;
	p->call = call;
	fill_page(p, after, limit);
	ask_counts(p);
}

static const struct xrpc_method methods[] = {
	{"com.atproto.sync.requestCrawl", request_crawl},
	{"com.atproto.sync.listHosts", list_hosts},
	{NULL, NULL},
};

static void on_request(void *arg, struct call *call, struct span message)
{
	struct reader r = reader_of(message);
	enum message_type type;

	if (xrpc_refuse_foreign(call, message))
		return;
	if (message_get_type(&r, &type) != 0 || type != MESSAGE_XRPC)
		call_drop(call);
	else
		xrpc_dispatch(methods, arg, call, r);
}

int calls_init(struct calls *c, struct crawler *crawler, struct pipe *resolve)
{
	const struct pipe_handler h = {.request = on_request, .arg = c};
	char url[CONFIG_URL_SIZE];
	int error;

	*c = (struct calls){.crawler = crawler, .resolve = resolve};
	memory_register(crawler->stage->memory, "calls", pending_bytes, c);
	stage_pipe_url(crawler->stage, "calls", "store", 0, url);
	error = pipe_dial_req(crawler->loop, url, &c->store);
	if (!error) {
		stage_pipe_url(crawler->stage, "calls", "ingest", 0, url);
		error = pipe_listen_rep(crawler->loop, url, &h, &c->pipe);
	}
	if (error)
		log_error("a pipe for calls cannot be opened: %s: %s", url, strerror(-error));
	return error ? STAGE_EXIT_AGAIN : 0;
}

void calls_release(struct calls *c)
{
	/* The answers to what is under way still need the pipe they go out on. */
	pipe_close(c->store);
	pipe_close(c->pipe);
}
