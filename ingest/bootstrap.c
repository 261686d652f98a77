#include "ingest/bootstrap.h"

#include <errno.h>

#include "common/log.h"
#include "ingest/calls.h"
#include "ingest/subscription.h"

static void on_page(void *arg, int error, struct span reply);

static void ask_page(void *arg)
{
	struct bootstrap *b = arg;
	struct buf message;

	buf_init(&message, KIB(4));
	message_put_type(&message, MESSAGE_LIST_HOSTS);
	message_put_text(&message, span_str(b->url));
	message_put_text(&message, span_str(b->cursor));
	pipe_call(b->resolve, buf_span(&message), BOOTSTRAP_CALL_USEC, on_page, b);
	buf_release(&message);
}

static void try_later(struct bootstrap *b, const char *reason)
{
	uint64_t wait = backoff_next(&b->backoff, 0);

	log_warning("the list of hosts cannot be read: %s relay=%s again_in=%ds", reason, b->url,
		    (int)(wait / USEC_PER_SEC));
	loop_timer_set(b->crawler->loop, &b->timer, wait);
}

static void finish(struct bootstrap *b)
{
	log_info("the list of hosts was read relay=%s pages=%u added=%zu", b->url, b->pages,
		 b->added);
	b->cursor[0] = '\0';
	b->pages = 0;
	b->added = 0;
	loop_timer_set(b->crawler->loop, &b->timer, BOOTSTRAP_INTERVAL_USEC);
}

/* The list names anything; only what somebody could ask us to crawl is taken from it. */
static size_t find_new(const struct bootstrap *b, const struct host_list *page, struct host *ret)
{
	char name[LIMIT_HOST + 1];
	const char *reason;
	size_t count = 0;

	for (size_t i = 0; i < page->count; i++) {
		struct host *host = &ret[count];

		if (calls_parse_hostname(b->crawler, page->hosts[i], host, &reason) == 0 &&
		    !crawler_find(b->crawler, span_str(host_format(host, name))))
			count++;
	}
	return count;
}

/* A page is one write: a disk takes milliseconds for each, and nothing else goes on meanwhile.
 * -ENOSPC: no room for all of them. */
static int add_hosts(struct bootstrap *b, const struct host_list *page)
{
	struct crawler *c = b->crawler;
	struct host *hosts = xcalloc(page->count + 1, sizeof(*hosts));
	size_t added = 0;
	int error = crawler_add_all(c, hosts, find_new(b, page, hosts), &added);

	b->added += added;
	for (size_t i = c->host_count - added; i < c->host_count; i++)
		subscription_start(c->hosts[i]);
	free(hosts);
	return error;
}

static void take_page(struct bootstrap *b, const struct host_list *page)
{
	int error = add_hosts(b, page);

	if (error == -ENOSPC) {
		log_warning("no room for more hosts: ingest.max_hosts are known");
		finish(b);
	} else if (error) {
		try_later(b, "the hosts cannot be recorded");
	} else if (page->cursor.len == 0 || ++b->pages >= BOOTSTRAP_PAGES_MAX) {
		finish(b);
	} else if (span_is(page->cursor, b->cursor) ||
		   span_to_str(page->cursor, b->cursor, sizeof(b->cursor)) != 0) {
		try_later(b, "its cursor is of no use");
	} else {
		ask_page(b);
	}
}

static int decode_page(struct span reply, struct host_list *ret)
{
	struct reader r = reader_of(reply);
	enum message_type type;

	if (message_get_type(&r, &type) != 0 || type != MESSAGE_HOSTS_LISTED)
		return -EBADMSG;
	return host_list_decode(&r, ret);
}

static void on_page(void *arg, int error, struct span reply)
{
	struct bootstrap *b = arg;
	struct host_list page;

	if (error == -ECANCELED)
		return; /* we are stopping */
	if (error || decode_page(reply, &page) != 0) {
		try_later(b, error ? strerror(-error) : "the answer is not readable");
		return;
	}
	if (page.ok) {
		b->backoff.failures = 0;
		take_page(b, &page);
	} else {
		try_later(b, "the relay gives none");
	}
	free(page.hosts);
}

void bootstrap_init(struct bootstrap *b, struct crawler *crawler, struct pipe *resolve)
{
	*b = (struct bootstrap){
		.crawler = crawler,
		.resolve = resolve,
		.url = config_text(crawler->stage->config, "ingest.bootstrap"),
		.backoff = {BOOTSTRAP_RETRY_MIN_USEC, BOOTSTRAP_RETRY_MAX_USEC, 0},
	};
	loop_timer_init(&b->timer, ask_page, b);
	if (*b->url)
		ask_page(b);
}

void bootstrap_release(struct bootstrap *b)
{
	if (b->crawler)
		loop_timer_cancel(b->crawler->loop, &b->timer);
}
