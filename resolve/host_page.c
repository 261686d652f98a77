#include "resolve/host_page.h"

#include <errno.h>
#include <stdlib.h>

#include <jansson.h>

#define LIST_HOSTS "/xrpc/com.atproto.sync.listHosts?limit=1000"

struct page {
	void (*done)(void *arg, const struct host_list *list);
	void *arg;
};

/* A list while it is being made: its spans point into names. */
struct names_list {
	struct host_list list;
	struct span spans[HOST_LIST_MAX];
	char names[HOST_LIST_MAX][LIMIT_HOST + 1];
};

static struct span text_of(const json_t *value)
{
	return json_is_string(value) ? span_of(json_string_value(value), json_string_length(value))
				     : SPAN_EMPTY;
}

static void add_hosts(struct names_list *n, const json_t *hosts)
{
	const json_t *entry;
	struct host host;
	size_t i;

	json_array_foreach(hosts, i, entry)
	{
		size_t at = n->list.count;

		if (at == HOST_LIST_MAX)
			return;
		if (host_parse(text_of(json_object_get(entry, "hostname")), &host) < 0)
			continue;
		n->spans[at] = span_str(host_format(&host, n->names[at]));
		n->list.count++;
	}
}

void host_page_parse(struct span json, void (*take)(void *arg, const struct host_list *list),
		     void *arg)
{
	json_t *page = json_loadb((const char *)json.ptr, json.len, 0, NULL);
	const json_t *hosts = json_object_get(page, "hosts");
	struct span cursor = text_of(json_object_get(page, "cursor"));
	struct names_list *n = xcalloc(1, sizeof(*n));

	n->list.hosts = n->spans;
	if (json_is_array(hosts) && cursor.len <= XRPC_PARAM_MAX) {
		n->list.ok = true;
		n->list.cursor = cursor;
		add_hosts(n, hosts);
	}
	take(arg, &n->list);
	free(n);
	json_decref(page);
}

static void take_answer(void *arg, const struct http_answer *answer)
{
	struct page *p = arg;
	const struct host_list nothing = {.ok = false};

	if (answer->outcome == HTTP_ANSWERED && answer->status == 200)
		host_page_parse(answer->body, p->done, p->arg);
	else
		p->done(p->arg, &nothing);
	free(p);
}

int host_page_start(struct http *http, const struct host_policy *policy, struct span base,
		    struct span cursor, void (*done)(void *arg, const struct host_list *list),
		    void *arg)
{
	struct http_request request = {
		.purpose = HTTP_HOST_LIST,
		.max_bytes = HOST_PAGE_BODY_MAX,
		.timeout_usec = HOST_PAGE_USEC,
		.done = take_answer,
	};
	struct buf path;
	struct page *p;

	if (host_parse_url(base, &request.host, &request.plain) < 0)
		return -EINVAL;
	if (request.plain && !host_policy_is_plain(policy, &request.host))
		return -EINVAL;
	p = xcalloc(1, sizeof(*p));
	p->done = done;
	p->arg = arg;
	request.arg = p;
	buf_init(&path, KIB(8)); /* every byte of a cursor may take three */
	buf_append_str(&path, LIST_HOSTS);
	if (cursor.len > 0) {
		buf_append_str(&path, "&cursor=");
		http_escape(&path, cursor);
	}
	buf_put_u8(&path, 0);
	request.path = (const char *)path.ptr;
	http_get(http, &request);
	buf_release(&path);
	return 0;
}
