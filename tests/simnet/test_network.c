#include "tests/simnet/network.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdlib.h>

#include "resolve/host_page.h"
#include "tests/lib/wait.h"
#include "tests/simnet/visitor.h"
#include "tests/test.h"

#define LIST_HOSTS "/xrpc/com.atproto.sync.listHosts"
#define DESCRIBE   "/xrpc/com.atproto.server.describeServer"
#define STATUS     "/xrpc/com.atproto.sync.getRepoStatus"

/* To the key of all visitors [RFC 6455, section 1.3]. */
#define RIGHT_ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

/* A world, its network, and what a client needs. */
struct scene {
	struct world_settings settings;
	struct loop *loop;
	struct world *world;
	struct network *network;
	SSL_CTX *context;  /* NULL: plain */
	uint64_t seqs[64]; /* the last number of each host */
	struct buf *frames[4096];
	size_t frame_count;
};

static const char *const *settings_of(struct scene *s)
{
	return network_relay_settings(s->network, test_folder());
}

/* The value of a line "section.key=value"; NULL. */
static const char *setting(const char *const *lines, const char *key)
{
	size_t len = strlen(key);

	for (; *lines; lines++)
		if (strncmp(*lines, key, len) == 0 && (*lines)[len] == '=')
			return *lines + len + 1;
	return NULL;
}

static void open_scene(struct scene *s, bool plain, uint32_t hosts, uint32_t accounts)
{
	*s = (struct scene){
		.settings = {.seed = 7,
			     .hosts = hosts,
			     .accounts = accounts,
			     .port = free_port(),
			     .plain = plain,
			     .web_percent = 20,
			     .p256_percent = 20},
		.loop = loop_new(),
	};
	s->world = world_new(&s->settings);
	s->network = network_new(s->loop, s->world);
	if (!plain)
		s->context = visitor_context(setting(settings_of(s), "network.ca_file"));
}

static void close_scene(struct scene *s)
{
	network_free(s->network);
	world_free(s->world);
	SSL_CTX_free(s->context);
	loop_free(s->loop);
	for (size_t i = 0; i < s->frame_count; i++) {
		buf_release(s->frames[i]);
		free(s->frames[i]);
	}
}

/* A frame of its own content, which begins with "HOST SEQ " and has this size. */
static struct span frame_of(struct scene *s, uint32_t host, uint64_t seq, size_t size)
{
	struct buf *b = xcalloc(1, sizeof(*b));

	buf_init(b, MIB(16));
	buf_printf(b, "%" PRIu32 " %" PRIu64 " ", host, seq);
	while (b->len < size)
		buf_put_u8(b, (uint8_t)(b->len + seq));
	s->frames[s->frame_count++] = b;
	return buf_span(b);
}

static void send_seq(struct scene *s, uint32_t host, uint64_t seq, size_t size)
{
	const struct corpus_record r = {
		.type = CORPUS_EVENT,
		.host = host,
		.seq = seq,
		.frame = frame_of(s, host, seq, size),
	};

	network_send(s->network, &r);
}

static void send_next(struct scene *s, uint32_t host, size_t size)
{
	send_seq(s, host, ++s->seqs[host], size);
}

/* Visits. */

static void visit(struct scene *s, struct visitor *v, uint32_t host)
{
	char name[LIMIT_HOST + 1];

	*strchr(world_host_name(s->world, host, name), ':') = '\0';
	visitor_open(v, s->loop, s->world, world_address(s->world, host), s->context, name);
}

static void visit_directory(struct scene *s, struct visitor *v)
{
	visitor_open(v, s->loop, s->world, world_directory_address(s->world), s->context,
		     "plc.sim.test");
}

static bool is_over(void *arg)
{
	return visitor_is_over(arg);
}

struct answer {
	struct visitor *visitor;
	int status;
	struct span head, body;
};

static bool has_answer(void *arg)
{
	struct answer *a = arg;

	return visitor_take_answer(a->visitor, &a->status, &a->head, &a->body);
}

static struct answer wait_answer(struct scene *s, struct visitor *v)
{
	struct answer a = {.visitor = v};

	wait_until(s->loop, has_answer, &a, "an answer");
	return a;
}

static struct answer ask(struct scene *s, struct visitor *v, uint32_t host, const char *path)
{
	char name[LIMIT_HOST + 1];

	visitor_ask(v, world_host_name(s->world, host, name), path, "");
	return wait_answer(s, v);
}

static struct answer ask_directory(struct scene *s, struct visitor *v, const char *did)
{
	char name[LIMIT_HOST + 1], path[LIMIT_DID + 2];

	snprintf(path, sizeof(path), "/%s", did);
	visitor_ask(v, world_directory_name(s->world, name), path, "");
	return wait_answer(s, v);
}

static void subscribe(struct scene *s, struct visitor *v, uint32_t host, int64_t cursor)
{
	char name[LIMIT_HOST + 1];
	struct answer a;

	visit(s, v, host);
	visitor_subscribe(v, world_host_name(s->world, host, name), cursor);
	a = wait_answer(s, v);
	CHECK_INT(a.status, 101);
	CHECK(test_contains(a.head, RIGHT_ACCEPT));
}

struct frame_wait {
	struct visitor *visitor;
	uint8_t first_byte;
	struct span payload;
};

static bool has_frame(void *arg)
{
	struct frame_wait *f = arg;

	return visitor_take_frame(f->visitor, &f->first_byte, &f->payload);
}

static struct frame_wait wait_frame(struct scene *s, struct visitor *v)
{
	struct frame_wait f = {.visitor = v};

	wait_until(s->loop, has_frame, &f, "a frame");
	return f;
}

/* The next frame is the event of this number and size. */
static void expect_event(struct scene *s, struct visitor *v, uint32_t host, uint64_t seq,
			 size_t size)
{
	struct frame_wait f = wait_frame(s, v);
	struct span want = frame_of(s, host, seq, size);

	CHECK_INT(f.first_byte, 0x82);
	CHECK_SPAN(f.payload, want);
}

static struct network_counts counts_of(struct scene *s)
{
	struct network_counts c;

	network_counts(s->network, &c);
	return c;
}

static bool nobody_subscribes(void *arg)
{
	return counts_of(arg).subscribers == 0;
}

/* Streams. */

static void check_streams(bool plain)
{
	struct scene s;
	struct visitor all, some, live;

	open_scene(&s, plain, 3, 10);
	for (unsigned i = 0; i < 5; i++)
		send_next(&s, 1, 300);
	send_next(&s, 2, 100);
	subscribe(&s, &all, 1, 0);
	subscribe(&s, &some, 1, 3);
	subscribe(&s, &live, 1, -1);
	CHECK_INT(network_last_cursor(s.network, 1), -1);
	CHECK_INT(network_subscribers(s.network, 1), 3);
	CHECK_INT(network_host_connections(s.network, 1), 3);
	CHECK_INT(counts_of(&s).subscribed, 1);
	send_next(&s, 1, 70000);
	send_next(&s, 1, 3);
	for (uint64_t seq = 1; seq <= 7; seq++) {
		size_t size = seq <= 5 ? 300 : seq == 6 ? 70000 : 3;

		expect_event(&s, &all, 1, seq, size);
		if (seq > 3)
			expect_event(&s, &some, 1, seq, size);
		if (seq > 5)
			expect_event(&s, &live, 1, seq, size);
	}
	CHECK_INT(counts_of(&s).events, 7 + 4 + 2);
	CHECK_INT(counts_of(&s).pending_bytes, 0);
	visitor_close(&all);
	visitor_close(&some);
	visitor_close(&live);
	wait_until(s.loop, nobody_subscribes, &s, "the network sees them go");
	CHECK_INT(counts_of(&s).subscribed, 0);
	CHECK_INT(counts_of(&s).connections, 3);
	close_scene(&s);
}

TEST(a_subscriber_gets_what_follows_its_cursor_and_then_what_is_sent)
{
	check_streams(true);
}

TEST(the_same_by_tls)
{
	check_streams(false);
}

#define LARGE 90

static size_t large_size(uint64_t seq)
{
	return seq % 30 == 7 ? 5000000 : 100 + (size_t)seq * 401;
}

/* More than sockets hold, and an answer to a ping on the way: neither may tear the other. */
static void check_large(bool plain)
{
	struct scene s;
	struct visitor v;
	uint64_t seq = 0;
	bool pong = false;

	open_scene(&s, plain, 1, 10);
	subscribe(&s, &v, 0, -1);
	for (uint64_t i = 1; i <= LARGE; i++)
		send_next(&s, 0, large_size(i));
	CHECK(counts_of(&s).pending_bytes > 15000000);
	visitor_say_frame(&v, 0x89, SPAN_LITERAL("are you there"));
	while ((seq < LARGE || !pong) && !test_has_failed()) {
		struct frame_wait f = wait_frame(&s, &v);

		if (f.first_byte == 0x8a) {
			CHECK_SPAN(f.payload, SPAN_LITERAL("are you there"));
			CHECK(seq < LARGE); /* it came amid the events */
			pong = true;
			continue;
		}
		seq++;
		CHECK_INT(f.first_byte, 0x82);
		CHECK_SPAN(f.payload, frame_of(&s, 0, seq, large_size(seq)));
	}
	CHECK(pong);
	CHECK_INT(counts_of(&s).events, LARGE);
	visitor_close(&v);
	wait_until(s.loop, nobody_subscribes, &s, "the network sees it go");
	CHECK_INT(counts_of(&s).pending_bytes, 0);
	close_scene(&s);
}

TEST(large_events_come_whole)
{
	check_large(true);
}

TEST(large_events_come_whole_by_tls)
{
	check_large(false);
}

TEST(raw_frames_and_bytes_come_where_they_were_sent)
{
	struct scene s;
	struct visitor v, late;
	struct frame_wait f;

	open_scene(&s, true, 1, 10);
	subscribe(&s, &v, 0, -1);
	send_next(&s, 0, 50);
	network_send_raw(s.network, 0, 0x81, SPAN_LITERAL("a text"));
	send_next(&s, 0, 50);
	network_send_bytes(s.network, 0, SPAN_LITERAL("\x02\x01q\x80\x01r"));
	send_next(&s, 0, 50);
	/* Its number does not rise. */
	send_seq(&s, 0, 2, 60);
	expect_event(&s, &v, 0, 1, 50);
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x81);
	CHECK(span_is(f.payload, "a text"));
	expect_event(&s, &v, 0, 2, 50);
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x02);
	CHECK(span_is(f.payload, "q"));
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x80);
	expect_event(&s, &v, 0, 3, 50);
	expect_event(&s, &v, 0, 2, 60);
	CHECK_INT(counts_of(&s).events, 4);

	/* None of these is in the backlog. */
	subscribe(&s, &late, 0, 1);
	send_next(&s, 0, 50);
	expect_event(&s, &late, 0, 2, 50);
	expect_event(&s, &late, 0, 3, 50);
	expect_event(&s, &late, 0, 4, 50);
	visitor_close(&v);
	visitor_close(&late);
	close_scene(&s);
}

static void expect_future_cursor(struct scene *s, struct visitor *v)
{
	struct frame_wait f = wait_frame(s, v);

	CHECK_INT(f.first_byte, 0x82);
	CHECK(test_contains(f.payload, "FutureCursor"));
	f = wait_frame(s, v);
	CHECK_INT(f.first_byte, 0x88);
	CHECK(span_is(f.payload, "\x03\xf0"
				 "FutureCursor"));
	wait_until(s->loop, is_over, v, "the stream ends");
	CHECK(v->ended);
}

TEST(a_cursor_above_the_last_number_is_a_future_one)
{
	struct scene s;
	struct visitor v;

	open_scene(&s, true, 1, 10);
	send_next(&s, 0, 20);
	send_next(&s, 0, 20);
	subscribe(&s, &v, 0, 3);
	expect_future_cursor(&s, &v);
	CHECK_INT(network_last_cursor(s.network, 0), 3);
	visitor_close(&v);
	subscribe(&s, &v, 0, 2);
	send_next(&s, 0, 20);
	expect_event(&s, &v, 0, 3, 20);
	visitor_close(&v);
	close_scene(&s);
}

TEST(a_reset_host_begins_anew)
{
	struct scene s;
	struct visitor v, w;

	open_scene(&s, true, 1, 10);
	for (unsigned i = 0; i < 5; i++)
		send_next(&s, 0, 40);
	subscribe(&s, &v, 0, 0);
	for (uint64_t seq = 1; seq <= 5; seq++)
		expect_event(&s, &v, 0, seq, 40);
	network_reset(s.network, 0);
	CHECK(!visitor_is_over(&v));
	s.seqs[0] = 0;
	send_next(&s, 0, 44);
	send_next(&s, 0, 45);
	expect_event(&s, &v, 0, 1, 44);
	expect_event(&s, &v, 0, 2, 45);
	subscribe(&s, &w, 0, 5);
	expect_future_cursor(&s, &w);
	visitor_close(&w);
	/* Who is behind cannot be told the rest. */
	for (unsigned i = 0; i < 20; i++)
		send_next(&s, 0, 5000000);
	network_reset(s.network, 0);
	wait_until(s.loop, is_over, &v, "it is cut");
	CHECK_INT(counts_of(&s).pending_bytes, 0);
	visitor_close(&v);
	close_scene(&s);
}

TEST(a_cut_ends_connections_without_a_word)
{
	struct scene s;
	struct visitor v, other;

	open_scene(&s, true, 2, 10);
	subscribe(&s, &v, 0, -1);
	subscribe(&s, &other, 1, -1);
	network_cut(s.network, 0);
	CHECK_INT(counts_of(&s).subscribers, 1);
	wait_until(s.loop, is_over, &v, "the end");
	CHECK(v.reset);
	CHECK_INT(v.in.len - v.taken, 0);
	send_next(&s, 1, 20);
	expect_event(&s, &other, 1, 1, 20);
	visitor_close(&v);
	visitor_close(&other);
	close_scene(&s);
}

TEST(clients_are_answered_by_the_rules_of_websocket)
{
	struct scene s;
	struct visitor v;
	struct frame_wait f;
	uint8_t long_text[1000] = {'x'};

	open_scene(&s, true, 1, 10);
	subscribe(&s, &v, 0, -1);
	/* What a client says is not read, but for pings. */
	visitor_say_frame(&v, 0x82, span_of(long_text, sizeof(long_text)));
	visitor_say_frame(&v, 0x81, SPAN_LITERAL("hello"));
	visitor_say_frame(&v, 0x8a, SPAN_LITERAL("pong"));
	visitor_say_frame(&v, 0x89, SPAN_LITERAL("1"));
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x8a);
	CHECK(span_is(f.payload, "1"));
	visitor_say_frame(&v, 0x88, SPAN_LITERAL("\x03\xe8"));
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x88);
	CHECK(span_is(f.payload, "\x03\xe8"));
	wait_until(s.loop, is_over, &v, "the end");
	CHECK(v.ended);
	CHECK_INT(counts_of(&s).subscribers, 0);
	visitor_close(&v);

	subscribe(&s, &v, 0, -1);
	visitor_say(&v, SPAN_LITERAL("\x89\x01xxxxx")); /* not masked */
	wait_until(s.loop, is_over, &v, "the end");
	visitor_close(&v);
	close_scene(&s);
}

/* Requests. */

TEST(no_handshake_no_stream)
{
	struct scene s;
	struct visitor v;
	struct answer a;
	char name[LIMIT_HOST + 1];

	open_scene(&s, true, 1, 10);
	visit(&s, &v, 0);
	a = ask(&s, &v, 0, "/xrpc/com.atproto.sync.subscribeRepos");
	CHECK_INT(a.status, 426);
	visitor_ask(&v, world_host_name(s.world, 0, name),
		    "/xrpc/com.atproto.sync.subscribeRepos?cursor=x",
		    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
		    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
	CHECK_INT(wait_answer(&s, &v).status, 400);
	visitor_ask(&v, name, "/xrpc/com.atproto.sync.subscribeRepos",
		    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
	CHECK_INT(wait_answer(&s, &v).status, 400);
	CHECK_INT(counts_of(&s).subscribers, 0);
	CHECK_INT(counts_of(&s).connections, 1);
	/* And what is no request ends the connection. */
	visitor_say(&v, SPAN_LITERAL("hello\r\n\r\n"));
	CHECK_INT(wait_answer(&s, &v).status, 400);
	wait_until(s.loop, is_over, &v, "the end");
	visitor_close(&v);
	close_scene(&s);
}

TEST(a_request_has_a_bounded_head)
{
	struct scene s;
	struct visitor v;
	char text[1001] = "";

	open_scene(&s, true, 1, 10);
	visit(&s, &v, 0);
	memset(text, 'a', 1000);
	visitor_say(&v, SPAN_LITERAL("GET / HTTP/1.1\r\nHost: "));
	for (unsigned i = 0; i < 10; i++)
		visitor_say(&v, span_str(text));
	CHECK_INT(wait_answer(&s, &v).status, 400);
	wait_until(s.loop, is_over, &v, "the end");
	visitor_close(&v);
	close_scene(&s);
}

TEST(hosts_describe_themselves)
{
	struct scene s;
	struct visitor v;
	struct answer a;
	char want[256];

	open_scene(&s, false, 3, 10);
	visit(&s, &v, 2);
	for (unsigned i = 0; i < 3; i++) {
		a = ask(&s, &v, 2, DESCRIBE);
		CHECK_INT(a.status, 200);
		snprintf(want, sizeof(want), "\"did\":\"did:web:h00002.sim.test%%3A%u\"",
			 s.settings.port);
		CHECK(test_contains(a.body, want));
	}
	CHECK_INT(ask(&s, &v, 2, "/xrpc/com.atproto.sync.getLatestCommit?did=x").status, 404);
	CHECK_INT(counts_of(&s).connections, 1);
	visitor_close(&v);
	close_scene(&s);
}

struct page {
	bool ok;
	uint32_t next; /* of the world's hosts */
	char cursor[64];
	size_t count;
	struct scene *scene;
};

static void take_page(void *arg, const struct host_list *list)
{
	struct page *p = arg;

	p->ok = list->ok;
	p->count = list->count;
	for (size_t i = 0; i < list->count; i++) {
		char name[LIMIT_HOST + 1];

		CHECK(span_is(list->hosts[i], world_host_name(p->scene->world, p->next++, name)));
	}
	CHECK_INT(span_to_str(list->cursor, p->cursor, sizeof(p->cursor)), 0);
}

TEST(any_host_lists_all_hosts_in_pages)
{
	struct scene s;
	struct visitor v;
	struct page p = {.scene = &s};
	char path[128];

	open_scene(&s, true, 2345, 50);
	visit(&s, &v, 5);
	host_page_parse(ask(&s, &v, 5, LIST_HOSTS).body, take_page, &p);
	CHECK(p.ok);
	CHECK_INT(p.count, 200);
	for (p.next = 0, p.cursor[0] = '\0'; p.next < 2345;) {
		snprintf(path, sizeof(path), LIST_HOSTS "?limit=1000%s%s",
			 p.cursor[0] ? "&cursor=" : "", p.cursor);
		host_page_parse(ask(&s, &v, 5, path).body, take_page, &p);
		CHECK_INT(p.count, p.next <= 2000 ? 1000 : 345);
		if (!p.ok || p.count == 0)
			break;
	}
	CHECK_INT(p.next, 2345);
	CHECK_STR(p.cursor, "");
	CHECK_INT(ask(&s, &v, 5, LIST_HOSTS "?limit=1001").status, 400);
	CHECK_INT(ask(&s, &v, 5, LIST_HOSTS "?limit=0").status, 400);
	CHECK_INT(ask(&s, &v, 5, LIST_HOSTS "?cursor=here").status, 400);
	visitor_close(&v);
	close_scene(&s);
}

TEST(the_list_says_numbers_and_accounts)
{
	struct scene s;
	struct visitor v;
	struct answer a;

	open_scene(&s, true, 1, 50);
	for (unsigned i = 0; i < 4; i++)
		send_next(&s, 0, 20);
	visit(&s, &v, 0);
	a = ask(&s, &v, 0, LIST_HOSTS);
	CHECK(test_contains(a.body, "\"seq\":4,\"status\":\"active\",\"accountCount\":50}"));
	visitor_close(&v);
	close_scene(&s);
}

/* An account on this host, of this method. */
static uint32_t find_account(struct scene *s, uint32_t host, bool web)
{
	for (uint32_t i = 0; i < s->settings.accounts; i++) {
		struct world_identity identity;
		char did[LIMIT_DID + 1];

		world_identity(s->world, i, &identity);
		if (identity.host == host &&
		    web == (strncmp(world_did(s->world, i, did), "did:web:", 8) == 0))
			return i;
	}
	test_fail(__FILE__, __LINE__, "host %u has no such account", host);
	return 0;
}

static struct answer ask_status(struct scene *s, struct visitor *v, uint32_t host, uint32_t account)
{
	char did[LIMIT_DID + 1], path[LIMIT_DID + 64];

	snprintf(path, sizeof(path), STATUS "?did=%s", world_did(s->world, account, did));
	for (char *at = path; (at = strstr(at, "%3A")); at += 5) {
		memmove(at + 5, at + 3, strlen(at + 3) + 1);
		memcpy(at, "%253A", 5);
	}
	return ask(s, v, host, path);
}

TEST(a_host_knows_the_status_of_its_accounts)
{
	struct scene s;
	struct visitor v;
	struct answer a;
	uint32_t mine, web, other;

	open_scene(&s, true, 2, 100);
	mine = find_account(&s, 0, false);
	web = find_account(&s, 0, true);
	other = find_account(&s, 1, false);
	visit(&s, &v, 0);
	a = ask_status(&s, &v, 0, mine);
	CHECK_INT(a.status, 200);
	CHECK(test_contains(a.body, "\"active\":true}"));
	CHECK_INT(ask_status(&s, &v, 0, web).status, 200);
	CHECK_INT(ask_status(&s, &v, 0, other).status, 400);
	network_set_status(s.network, mine, "takendown");
	network_set_status(s.network, web, "missing");
	a = ask_status(&s, &v, 0, mine);
	CHECK(test_contains(a.body, "\"active\":false,\"status\":\"takendown\"}"));
	a = ask_status(&s, &v, 0, web);
	CHECK_INT(a.status, 400);
	CHECK(test_contains(a.body, "RepoNotFound"));
	network_set_status(s.network, mine, NULL);
	a = ask_status(&s, &v, 0, mine);
	CHECK(test_contains(a.body, "\"active\":true}"));
	CHECK_INT(ask(&s, &v, 0, STATUS "?did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").status, 400);
	CHECK_INT(ask(&s, &v, 0, STATUS).status, 400);
	visitor_close(&v);
	close_scene(&s);
}

/* Documents. */

static void check_document(struct scene *s, struct answer a, uint32_t account)
{
	struct buf want;

	buf_init(&want, KIB(64));
	world_document(s->world, account, &want);
	CHECK_INT(a.status, 200);
	CHECK_SPAN(a.body, buf_span(&want));
	buf_release(&want);
}

TEST(the_directory_has_documents_that_change)
{
	struct scene s;
	struct visitor v;
	struct world_identity identity;
	char did[LIMIT_DID + 1];
	uint32_t account;

	open_scene(&s, false, 2, 100);
	account = find_account(&s, 0, false);
	world_did(s.world, account, did);
	visit_directory(&s, &v);
	check_document(&s, ask_directory(&s, &v, did), account);
	world_identity(s.world, account, &identity);
	identity.host = 1;
	world_change(s.world, account, &identity);
	check_document(&s, ask_directory(&s, &v, did), account);
	identity.state = WORLD_IDENTITY_TOMBSTONED;
	world_change(s.world, account, &identity);
	CHECK_INT(ask_directory(&s, &v, did).status, 410);
	identity.state = WORLD_IDENTITY_MISSING;
	world_change(s.world, account, &identity);
	CHECK_INT(ask_directory(&s, &v, did).status, 404);
	CHECK_INT(ask_directory(&s, &v, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa").status, 404);
	CHECK_INT(counts_of(&s).documents, 5);
	CHECK_INT(counts_of(&s).connections, 1);
	visitor_close(&v);
	close_scene(&s);
}

TEST(names_of_did_web_serve_their_documents)
{
	struct scene s;
	struct visitor v;
	char did[LIMIT_DID + 1], name[LIMIT_DID + 1], path[LIMIT_DID + 3];
	uint32_t account;
	char *port;

	open_scene(&s, true, 2, 100);
	account = find_account(&s, 1, true);
	snprintf(name, sizeof(name), "%s", world_did(s.world, account, did) + 8);
	port = strstr(name, "%3A");
	*port = ':';
	memmove(port + 1, port + 3, strlen(port + 3) + 1);
	visit(&s, &v, 1);
	visitor_ask(&v, name, "/.well-known/did.json", "");
	check_document(&s, wait_answer(&s, &v), account);
	CHECK_INT(counts_of(&s).documents, 1);
	CHECK_INT(ask(&s, &v, 1, "/.well-known/did.json").status, 404);
	visitor_close(&v);
	/* They are not the directory's, by whatever spelling. */
	port = strstr(did, "%3A");
	snprintf(path, sizeof(path), "%.*s%%25%s", (int)(port - did), did, port + 1);
	visit_directory(&s, &v);
	CHECK_INT(ask_directory(&s, &v, did).status, 404);
	CHECK_INT(ask_directory(&s, &v, path).status, 404);
	visitor_close(&v);
	close_scene(&s);
}

TEST(the_directory_has_manners)
{
	struct scene s;
	struct visitor v;
	struct directory_manners m = {.error_percent = 100};
	struct answer a;
	char did[LIMIT_DID + 1];
	unsigned errors = 0, limited = 0;
	uint64_t before;

	open_scene(&s, true, 1, 100);
	world_did(s.world, find_account(&s, 0, false), did);
	visit_directory(&s, &v);
	network_directory(s.network, &m);
	CHECK_INT(ask_directory(&s, &v, did).status, 500);
	m.error_percent = 30;
	network_directory(s.network, &m);
	for (unsigned i = 0; i < 300; i++)
		errors += ask_directory(&s, &v, did).status == 500;
	CHECK(errors > 40 && errors < 150);

	m = (struct directory_manners){.requests_per_sec = 5};
	network_directory(s.network, &m);
	for (unsigned i = 0; i < 100 && limited == 0; i++) {
		a = ask_directory(&s, &v, did);
		limited += a.status == 429;
		CHECK(a.status == 200 || test_contains(a.head, "Retry-After: 1\r\n"));
	}
	CHECK_INT(limited, 1);

	m = (struct directory_manners){.latency_usec = 30 * USEC_PER_MSEC};
	network_directory(s.network, &m);
	before = loop_now_usec(s.loop);
	CHECK_INT(ask_directory(&s, &v, did).status, 200);
	CHECK(loop_now_usec(s.loop) - before >= 30 * USEC_PER_MSEC);

	m = (struct directory_manners){.down = true};
	network_directory(s.network, &m);
	wait_until(s.loop, is_over, &v, "it is cut");
	visitor_close(&v);
	visit_directory(&s, &v);
	wait_until(s.loop, is_over, &v, "it is refused");
	CHECK(v.reset);
	visitor_close(&v);
	m.down = false;
	network_directory(s.network, &m);
	visit_directory(&s, &v);
	CHECK_INT(ask_directory(&s, &v, did).status, 200);
	visitor_close(&v);
	close_scene(&s);
}

/* Misbehaviours. */

TEST(a_host_may_answer_no_ping)
{
	struct scene s;
	struct visitor v;
	struct frame_wait f;

	open_scene(&s, true, 1, 10);
	subscribe(&s, &v, 0, -1);
	network_misbehave(s.network, 0, NO_PONG);
	visitor_say_frame(&v, 0x89, SPAN_LITERAL("1"));
	visitor_say_frame(&v, 0x88, SPAN_LITERAL("\x03\xe8"));
	f = wait_frame(&s, &v);
	CHECK_INT(f.first_byte, 0x88);
	visitor_close(&v);
	close_scene(&s);
}

/* What is said to it waits: it comes to the next event and the one after it without an answer. */
static void say_in_vain(struct scene *s, struct visitor *v, uint64_t seq)
{
	visitor_say_frame(v, 0x89, SPAN_LITERAL("1"));
	for (uint64_t i = seq; i < seq + 2; i++) {
		send_next(s, 0, 100);
		expect_event(s, v, 0, i, 100);
	}
}

static void reset(struct visitor *v)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};

	CHECK_INT(setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)), 0);
	visitor_close(v);
}

static bool three_subscribe(void *arg)
{
	return counts_of(arg).subscribers == 3;
}

/* An end waits as well, but for a reset. */
TEST(a_host_may_read_nothing)
{
	struct scene s;
	struct visitor before, gone, cut, after;

	open_scene(&s, false, 1, 10);
	subscribe(&s, &before, 0, -1);
	network_misbehave(s.network, 0, NO_READ);
	say_in_vain(&s, &before, 1);
	subscribe(&s, &gone, 0, 2);
	visitor_close(&gone);
	subscribe(&s, &cut, 0, 2);
	subscribe(&s, &after, 0, 2);
	CHECK_INT(counts_of(&s).subscribers, 4);
	reset(&cut);
	wait_until(s.loop, three_subscribe, &s, "the reset is noticed");
	say_in_vain(&s, &after, 3);
	network_misbehave(s.network, 0, BEHAVE);
	CHECK_INT(wait_frame(&s, &after).first_byte, 0x8a);
	visitor_close(&after);
	expect_event(&s, &before, 0, 3, 100);
	expect_event(&s, &before, 0, 4, 100);
	CHECK_INT(wait_frame(&s, &before).first_byte, 0x8a);
	visitor_close(&before);
	wait_until(s.loop, nobody_subscribes, &s, "the ends are heard");
	close_scene(&s);
}

/* Connects and asks; then waits for the end. */
static void visit_in_vain(struct scene *s, struct visitor *v)
{
	char name[LIMIT_HOST + 1];

	visit(s, v, 0);
	visitor_ask(v, world_host_name(s->world, 0, name), DESCRIBE, "");
	wait_until(s->loop, is_over, v, "the end");
	CHECK_INT(v->in.len, 0);
}

TEST(a_host_may_close_every_connection)
{
	struct scene s;
	struct visitor before, v;

	open_scene(&s, false, 1, 10);
	subscribe(&s, &before, 0, -1);
	network_misbehave(s.network, 0, ACCEPT_AND_CLOSE);
	visit_in_vain(&s, &v);
	CHECK_INT(network_host_connections(s.network, 0), 2);
	visitor_close(&v);
	/* What is connected stays. */
	send_next(&s, 0, 20);
	expect_event(&s, &before, 0, 1, 20);
	visitor_close(&before);
	close_scene(&s);
}

TEST(a_host_may_close_every_stream)
{
	struct scene s;
	struct visitor v;

	open_scene(&s, true, 1, 10);
	send_next(&s, 0, 20);
	network_misbehave(s.network, 0, CLOSE_AFTER_HANDSHAKE);
	subscribe(&s, &v, 0, 0);
	wait_until(s.loop, is_over, &v, "the end");
	CHECK(v.ended);
	CHECK_INT(v.in.len - v.taken, 0);
	visitor_close(&v);
	visit(&s, &v, 0);
	CHECK_INT(ask(&s, &v, 0, DESCRIBE).status, 200);
	visitor_close(&v);
	close_scene(&s);
}

TEST(a_host_may_redirect)
{
	struct scene s;
	struct visitor v;
	struct answer a;
	char want[512], name[LIMIT_HOST + 1];

	open_scene(&s, false, 2, 10);
	network_misbehave(s.network, 0, REDIRECT);
	visit(&s, &v, 0);
	visitor_subscribe(&v, world_host_name(s.world, 0, name), -1);
	a = wait_answer(&s, &v);
	CHECK_INT(a.status, 302);
	snprintf(want, sizeof(want),
		 "\r\nLocation: https://%s/xrpc/com.atproto.sync.subscribeRepos\r\n",
		 world_host_name(s.world, 1, name));
	CHECK(test_contains(a.head, want));
	CHECK_INT(ask(&s, &v, 0, DESCRIBE).status, 200);
	visitor_close(&v);
	close_scene(&s);
}

static void check_certificate(enum misbehaviour m, long verify)
{
	struct scene s;
	struct visitor v, other;

	open_scene(&s, false, 2, 10);
	network_misbehave(s.network, 0, m);
	visit_in_vain(&s, &v);
	CHECK(v.reset && !v.greeted);
	CHECK_INT(v.verify, verify);
	subscribe(&s, &other, 1, -1);
	visitor_close(&v);
	network_misbehave(s.network, 0, BEHAVE);
	subscribe(&s, &v, 0, -1);
	visitor_close(&v);
	visitor_close(&other);
	close_scene(&s);
}

TEST(a_host_may_have_a_certificate_of_another_name)
{
	check_certificate(BAD_TLS, X509_V_ERR_HOSTNAME_MISMATCH);
}

TEST(a_host_may_have_a_certificate_of_another_authority)
{
	check_certificate(UNTRUSTED_TLS, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

TEST(a_host_may_call_any_cursor_a_future_one)
{
	struct scene s;
	struct visitor v;

	open_scene(&s, true, 1, 10);
	send_next(&s, 0, 20);
	network_misbehave(s.network, 0, FUTURE_CURSOR);
	subscribe(&s, &v, 0, 0);
	expect_future_cursor(&s, &v);
	visitor_close(&v);
	subscribe(&s, &v, 0, -1);
	send_next(&s, 0, 20);
	expect_event(&s, &v, 0, 2, 20);
	visitor_close(&v);
	close_scene(&s);
}

TEST(a_host_may_begin_every_stream_with_its_first_event)
{
	struct scene s;
	struct visitor v;

	open_scene(&s, true, 1, 10);
	send_next(&s, 0, 20);
	send_next(&s, 0, 20);
	network_misbehave(s.network, 0, IGNORE_CURSOR);
	subscribe(&s, &v, 0, 2);
	expect_event(&s, &v, 0, 1, 20);
	expect_event(&s, &v, 0, 2, 20);
	visitor_close(&v);
	close_scene(&s);
}

/* Asks for the stream, which is not opened; whether an answer of this status had the text. */
static bool is_answered(struct scene *s, enum misbehaviour m, int status, const char *text)
{
	char name[LIMIT_HOST + 1];
	struct visitor v;
	struct answer a;
	bool has_text;

	network_misbehave(s->network, 0, m);
	visit(s, &v, 0);
	visitor_subscribe(&v, world_host_name(s->world, 0, name), -1);
	a = wait_answer(s, &v);
	has_text = test_contains(a.head, text);
	CHECK_INT(a.status, status);
	CHECK_INT(network_subscribers(s->network, 0), 0);
	visitor_close(&v);
	return has_text;
}

TEST(a_host_may_open_no_stream)
{
	struct scene s;

	open_scene(&s, true, 1, 10);
	CHECK(is_answered(&s, NO_STREAM, 404, "Server: simnet"));
	CHECK(is_answered(&s, WRONG_ACCEPT, 101, "Sec-WebSocket-Accept: "));
	CHECK(!is_answered(&s, WRONG_ACCEPT, 101, RIGHT_ACCEPT));
	close_scene(&s);
}

/* Another connection to it goes through whole dialogues meanwhile. */
TEST(a_host_may_be_silent)
{
	struct scene s;
	struct visitor v, other;
	char name[LIMIT_HOST + 1];

	open_scene(&s, false, 2, 10);
	network_misbehave(s.network, 0, SILENT);
	visit(&s, &v, 0);
	visitor_subscribe(&v, world_host_name(s.world, 0, name), -1);
	subscribe(&s, &other, 1, -1);
	for (unsigned i = 0; i < 100; i++) {
		send_next(&s, 0, 20);
		send_next(&s, 1, 20);
		expect_event(&s, &other, 1, i + 1, 20);
	}
	CHECK_INT(network_host_connections(s.network, 0), 1);
	CHECK_INT(network_subscribers(s.network, 0), 0);
	CHECK(!visitor_is_over(&v));
	CHECK(!v.greeted);
	visitor_close(&v);
	visitor_close(&other);
	close_scene(&s);
}

TEST(a_host_may_refuse_everything)
{
	struct scene s;
	struct visitor before, v;
	char name[LIMIT_HOST + 1];

	open_scene(&s, true, 1, 10);
	subscribe(&s, &before, 0, -1);
	network_misbehave(s.network, 0, REFUSE);
	visit(&s, &v, 0);
	CHECK_INT(ask(&s, &v, 0, DESCRIBE).status, 503);
	CHECK_INT(ask(&s, &v, 0, LIST_HOSTS).status, 503);
	visitor_subscribe(&v, world_host_name(s.world, 0, name), -1);
	CHECK_INT(wait_answer(&s, &v).status, 503);
	send_next(&s, 0, 20);
	expect_event(&s, &before, 0, 1, 20);
	visitor_close(&v);
	visitor_close(&before);
	close_scene(&s);
}

TEST(a_host_may_vanish_and_come_back)
{
	struct scene s;
	struct visitor before, v;

	open_scene(&s, true, 1, 10);
	subscribe(&s, &before, 0, -1);
	network_misbehave(s.network, 0, VANISH);
	CHECK_INT(counts_of(&s).subscribers, 0);
	wait_until(s.loop, is_over, &before, "the end");
	visit_in_vain(&s, &v);
	CHECK(v.reset);
	visitor_close(&v);
	send_next(&s, 0, 20);
	network_misbehave(s.network, 0, BEHAVE);
	subscribe(&s, &v, 0, 0);
	expect_event(&s, &v, 0, 1, 20);
	visitor_close(&v);
	visitor_close(&before);
	close_scene(&s);
}

static void check_slow(bool plain)
{
	struct scene s;
	struct visitor v, quick;
	uint64_t before;
	size_t reads;

	open_scene(&s, plain, 2, 10);
	subscribe(&s, &v, 0, -1);
	subscribe(&s, &quick, 1, -1);
	network_misbehave(s.network, 0, SLOW);
	before = loop_now_usec(s.loop);
	reads = v.reads;
	send_next(&s, 0, 100);
	send_next(&s, 1, 100);
	expect_event(&s, &quick, 1, 1, 100);
	CHECK(v.in.len - v.taken < 102);
	expect_event(&s, &v, 0, 1, 100);
	CHECK(loop_now_usec(s.loop) - before >= 100 * USEC_PER_MSEC);
	CHECK(v.reads - reads > 10);
	/* What is left when it behaves again comes at once, and whole. */
	send_next(&s, 0, 100000);
	send_next(&s, 0, 5);
	network_misbehave(s.network, 0, BEHAVE);
	expect_event(&s, &v, 0, 2, 100000);
	expect_event(&s, &v, 0, 3, 5);
	CHECK(loop_now_usec(s.loop) - before < 20 * USEC_PER_SEC);
	visitor_close(&v);
	visitor_close(&quick);
	close_scene(&s);
}

TEST(a_host_may_be_slow)
{
	check_slow(true);
}

TEST(a_host_may_be_slow_by_tls)
{
	check_slow(false);
}

/* Settings. */

TEST(a_relay_is_told_how_to_reach_the_network)
{
	struct scene s;
	const char *const *lines;
	struct buf hosts;

	open_scene(&s, true, 12, 100);
	lines = settings_of(&s);
	CHECK_STR(setting(lines, "network.plain_hosts"), "*.sim.test");
	CHECK(!setting(lines, "network.ca_file"));
	CHECK_STR(setting(lines, "ingest.backfill"), "true");
	CHECK(test_contains(span_str(setting(lines, "ingest.bootstrap")),
			    "http://h00000.sim.test:"));
	CHECK(test_contains(span_str(setting(lines, "resolve.plc_url")), "http://plc.sim.test:"));
	test_read_file(setting(lines, "network.hosts_file"), &hosts);
	CHECK(test_contains(buf_span(&hosts), " h00011.sim.test\n"));
	CHECK(test_contains(buf_span(&hosts), " plc.sim.test\n"));
	buf_release(&hosts);
	close_scene(&s);

	open_scene(&s, false, 1, 1);
	lines = settings_of(&s);
	CHECK_STR(setting(lines, "network.private_hosts"), "*.sim.test");
	CHECK(!setting(lines, "network.plain_hosts"));
	CHECK(test_contains(span_str(setting(lines, "resolve.plc_url")), "https://plc.sim.test:"));
	close_scene(&s);
}
