#include "resolve/host_page.h"

#include <errno.h>
#include <stdio.h>

#include "tests/resolve/fixture.h"

#define LIST_HOSTS "/xrpc/com.atproto.sync.listHosts?limit=1000"

/* A page as text: "not ok", or "cursor|host host". */
struct page {
	bool done;
	size_t count;
	char text[512];
};

static void take(void *arg, const struct host_list *list)
{
	struct page *p = arg;
	struct buf b;

	CHECK(!p->done);
	p->done = true;
	p->count = list->count;
	buf_init(&b, MIB(1));
	if (!list->ok)
		buf_append_str(&b, "not ok");
	else
		buf_printf(&b, "%.*s|", (int)list->cursor.len, (const char *)list->cursor.ptr);
	for (size_t i = 0; i < list->count; i++)
		buf_printf(&b, "%s%.*s", i > 0 ? " " : "", (int)list->hosts[i].len,
			   (const char *)list->hosts[i].ptr);
	snprintf(p->text, sizeof(p->text), "%.*s", (int)b.len, (const char *)b.ptr);
	buf_release(&b);
}

TEST(a_page_is_its_valid_names)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{"{\"cursor\":\"c\",\"hosts\":[{\"hostname\":\"a.com\"},{\"hostname\":\"B.com:"
		 "8443\"}]}",
		 "c|a.com b.com:8443"},
		{"{\"hosts\":[]}", "|"},
		{"{\"hosts\":[{\"hostname\":\"a.com\",\"status\":\"banned\"},{\"hostname\":\"b."
		 "com\",\"status\":\"offline\"}]}",
		 "|a.com b.com"},
		{"{\"hosts\":[{\"hostname\":\"a "
		 "b\"},{\"hostname\":\"https://x.com\"},{\"hostname\":1},{},7,null,"
		 "{\"hostname\":\"10.0.0.1\"},{\"hostname\":\"\"},{\"hostname\":\"a.com\"}]}",
		 "|a.com"},
		{"{\"cursor\":7,\"hosts\":[]}", "|"},
		{"{\"hosts\":{}}", "not ok"},
		{"{}", "not ok"},
		{"[]", "not ok"},
		{"", "not ok"},
		{"<html>", "not ok"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct page p = {0};

		host_page_parse(span_str(cases[i].json), take, &p);
		CHECK_STR(p.text, cases[i].text);
	}
}

TEST(a_page_is_bounded)
{
	struct page p = {0};
	struct buf b;

	buf_init(&b, MIB(1));
	buf_append_str(&b, "{\"hosts\":[");
	for (unsigned i = 0; i < HOST_LIST_MAX + 10; i++)
		buf_printf(&b, "%s{\"hostname\":\"h%u.com\"}", i > 0 ? "," : "", i);
	buf_append_str(&b, "]}");
	host_page_parse(buf_span(&b), take, &p);
	CHECK_INT(p.count, HOST_LIST_MAX);
	buf_clear(&b);
	buf_append_str(&b, "{\"hosts\":[],\"cursor\":\"");
	for (unsigned i = 0; i <= XRPC_PARAM_MAX; i++)
		buf_put_u8(&b, 'x');
	buf_append_str(&b, "\"}");
	p.done = false;
	host_page_parse(buf_span(&b), take, &p);
	CHECK_STR(p.text, "not ok");
	buf_release(&b);
}

static bool is_done(void *arg)
{
	return ((const struct page *)arg)->done;
}

static struct page get(struct fixture *f, const char *base, const char *cursor)
{
	struct page p = {0};

	CHECK_INT(host_page_start(f->http, f->policy, span_str(base), span_str(cursor), take, &p),
		  0);
	CHECK(!p.done);
	CHECK(fixture_wait(f, is_done, &p));
	return p;
}

TEST(pages_are_fetched_by_cursor)
{
	static const char *const sets[] = {"network.plain_hosts=localhost:*", NULL};
	struct http_server *s = http_server_new(NULL);
	struct fixture f;
	char base[64];

	fixture_open(&f, sets);
	snprintf(base, sizeof(base), "http://localhost:%u/", http_server_port(s));
	http_server_put(
		s, LIST_HOSTS,
		&(struct http_server_answer){
			.status = 200,
			.body = "{\"cursor\":\"1 &2\",\"hosts\":[{\"hostname\":\"a.com\"}]}"});
	http_server_put(s, LIST_HOSTS "&cursor=1%20%262",
			&(struct http_server_answer){
				.status = 200, .body = "{\"hosts\":[{\"hostname\":\"b.com\"}]}"});
	CHECK_STR(get(&f, base, "").text, "1 &2|a.com");
	CHECK_STR(get(&f, base, "1 &2").text, "|b.com");
	CHECK_STR(get(&f, base, "other").text, "not ok");
	fixture_close(&f);
	http_server_free(s);
}

TEST(only_an_allowed_url_is_a_base)
{
	static const char *const sets[] = {NULL};
	static const char *const urls[] = {"http://relay.example.com", "relay.example.com", "",
					   "https://relay.example.com/x"};
	struct page p = {0};
	struct fixture f;

	fixture_open(&f, sets);
	for (size_t i = 0; i < ARRAY_SIZE(urls); i++)
		CHECK_INT(
			host_page_start(f.http, f.policy, span_str(urls[i]), SPAN_EMPTY, take, &p),
			-EINVAL);
	CHECK(!p.done);
	fixture_close(&f);
}
