#include "ingest/bootstrap.h"

#include "tests/ingest/rig.h"

/* A relay that has three pages, behind a resolve that fails as often as it is told. */
struct relay {
	struct rig rig;
	struct bootstrap bootstrap;
	struct pipe *resolve;
	struct pipe *to_resolve;
	unsigned failures;
	unsigned asked;
	const char *cursors[16]; /* that were asked for */
	size_t wanted;
};

static const struct {
	const char *cursor;
	const char *next;
	const char *hosts[3];
} pages[] = {
	{"", "one", {"a.test", "B.test", "a.test"}},
	{"one", "two", {"1.2.3.4", "c.test:99", "not a host"}},
	{"two", "", {"d.test", "pds.example.com:25", "127.0.0.1"}},
};

static void answer(struct call *call, bool ok, size_t page)
{
	struct span hosts[3];
	struct host_list list = {.ok = ok, .hosts = hosts};
	struct buf b;

	if (ok) {
		list.cursor = span_str(pages[page].next);
		while (list.count < 3 && pages[page].hosts[list.count]) {
			hosts[list.count] = span_str(pages[page].hosts[list.count]);
			list.count++;
		}
	}
	buf_init(&b, KIB(4));
	message_put_type(&b, MESSAGE_HOSTS_LISTED);
	host_list_encode(&b, &list);
	call_reply(call, buf_span(&b));
	buf_release(&b);
}

static void on_request(void *arg, struct call *call, struct span message)
{
	struct relay *y = arg;
	struct reader r = reader_of(message);
	struct span url, cursor = SPAN_EMPTY;
	enum message_type type;
	size_t page = 0;

	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_LIST_HOSTS);
	CHECK_INT(message_get_text(&r, 512, &url), 0);
	CHECK_INT(message_get_text(&r, 512, &cursor), 0);
	CHECK_INT(r.left, 0);
	CHECK(span_is(url, "https://relay.test"));
	while (page < 2 && !span_is(cursor, pages[page].cursor))
		page++;
	CHECK(span_is(cursor, pages[page].cursor));
	CHECK(y->asked < 16);
	y->cursors[y->asked++] = pages[page].cursor;
	if (y->failures == 0) {
		answer(call, true, page);
		return;
	}
	y->failures--;
	answer(call, false, page);
}

static void relay_init(struct relay *y)
{
	const struct pipe_handler h = {.request = on_request, .arg = y};
	char url[CONFIG_URL_SIZE];

	*y = (struct relay){0};
	rig_init(&y->rig);
	rig_set(&y->rig, "ingest.bootstrap=https://relay.test");
	rig_start(&y->rig);
	stage_pipe_url(&y->rig.stage, "calls", "resolve", 0, url);
	CHECK_INT(pipe_listen_rep(y->rig.stage.loop, url, &h, &y->resolve), 0);
	CHECK_INT(pipe_dial_req(y->rig.stage.loop, url, &y->to_resolve), 0);
}

static void relay_release(struct relay *y)
{
	pipe_close(y->to_resolve);
	bootstrap_release(&y->bootstrap);
	pipe_close(y->resolve);
	rig_release(&y->rig);
}

static bool is_finished(void *arg)
{
	struct relay *y = arg;

	return y->asked >= y->wanted && loop_timer_is_set(&y->bootstrap.timer);
}

static bool has_been_asked(void *arg)
{
	struct relay *y = arg;

	return y->asked >= y->wanted;
}

TEST(reads_all_pages)
{
	struct relay y;

	relay_init(&y);
	bootstrap_init(&y.bootstrap, &y.rig.crawler, y.to_resolve);
	y.wanted = 3;
	wait_until(y.rig.stage.loop, is_finished, &y, "the pages");
	CHECK_INT(y.rig.crawler.host_count, 4);
	CHECK(crawler_find(&y.rig.crawler, SPAN_LITERAL("b.test")) != NULL);
	CHECK(crawler_find(&y.rig.crawler, SPAN_LITERAL("c.test:99")) != NULL);
	CHECK(crawler_find(&y.rig.crawler, SPAN_LITERAL("d.test")) != NULL);
	CHECK(y.bootstrap.timer.at_usec >
	      loop_now_usec(y.rig.stage.loop) + BOOTSTRAP_INTERVAL_USEC - 60 * USEC_PER_SEC);
	relay_release(&y);
}

static uint64_t number_of(const struct relay *y, const char *host)
{
	struct subscription *s = crawler_find(&y->rig.crawler, span_str(host));

	CHECK(s != NULL);
	return s ? s->record.number : 0;
}

/* A host that a page names twice is one, with one number, also for the next process. */
TEST(hosts_are_there_after_a_crash)
{
	struct relay y;
	uint64_t numbers[2];

	relay_init(&y);
	bootstrap_init(&y.bootstrap, &y.rig.crawler, y.to_resolve);
	y.wanted = 3;
	wait_until(y.rig.stage.loop, is_finished, &y, "the pages");
	numbers[0] = number_of(&y, "a.test");
	numbers[1] = number_of(&y, "b.test");
	CHECK(numbers[0] < numbers[1] && numbers[1] < number_of(&y, "c.test:99"));
	rig_kill(&y.rig);
	rig_set(&y.rig, "ingest.bootstrap=");
	rig_start(&y.rig);
	CHECK_INT(y.rig.crawler.host_count, 4);
	CHECK(number_of(&y, "a.test") < number_of(&y, "c.test:99"));
	CHECK(number_of(&y, "b.test") < number_of(&y, "c.test:99"));
	CHECK(number_of(&y, "d.test") > number_of(&y, "c.test:99"));
	relay_release(&y);
}

TEST(tries_again_until_it_works)
{
	struct relay y;

	relay_init(&y);
	y.failures = 3;
	bootstrap_init(&y.bootstrap, &y.rig.crawler, y.to_resolve);
	y.bootstrap.backoff.min_usec = 1000;
	y.bootstrap.backoff.max_usec = 1000;
	y.wanted = 6;
	wait_until(y.rig.stage.loop, has_been_asked, &y, "the pages");
	wait_until(y.rig.stage.loop, is_finished, &y, "the pages");
	CHECK_INT(y.rig.crawler.host_count, 4);
	relay_release(&y);
}

TEST(stops_at_max_hosts)
{
	struct relay y;

	relay_init(&y);
	y.rig.crawler.max_hosts = 1;
	bootstrap_init(&y.bootstrap, &y.rig.crawler, y.to_resolve);
	y.wanted = 1;
	wait_until(y.rig.stage.loop, is_finished, &y, "the pages");
	CHECK_INT(y.rig.crawler.host_count, 1);
	CHECK_INT(y.asked, 1);
	relay_release(&y);
}

TEST(without_a_relay)
{
	struct relay y;

	relay_init(&y);
	rig_set(&y.rig, "ingest.bootstrap=");
	bootstrap_init(&y.bootstrap, &y.rig.crawler, y.to_resolve);
	CHECK(!loop_timer_is_set(&y.bootstrap.timer));
	CHECK_INT(y.asked, 0);
	relay_release(&y);
}
