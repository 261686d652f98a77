#include "tests/simnet/reader.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "common/limits.h"
#include "tests/lib/raw_server.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

/* A reader of a raw server, which says what it is told. */
struct rig {
	struct loop *loop;
	struct raw_server *server;
	struct raw_client *client; /* the server's end */
	struct stream_reader *reader;
	struct buf request; /* its head */
	struct buf heard;   /* what came from the reader after it */
	struct buf frames;  /* one after another, each behind its length in 4 bytes */
	size_t count, want;
	unsigned closed;
	bool pause; /* at the next frame */
};

static void take_request(void *arg, struct raw_client *c, struct span head)
{
	struct rig *r = arg;

	r->client = c;
	buf_append(&r->request, head);
}

static void take_more(void *arg, struct raw_client *c, struct span bytes)
{
	struct rig *r = arg;

	(void)c;
	buf_clear(&r->heard);
	buf_append(&r->heard, bytes);
}

static void take_gone(void *arg, struct raw_client *c)
{
	struct rig *r = arg;

	(void)c;
	r->client = NULL;
}

static void take_frame(void *arg, struct span frame)
{
	struct rig *r = arg;

	buf_put_u32(&r->frames, (uint32_t)frame.len);
	buf_append(&r->frames, frame);
	r->count++;
	if (r->pause)
		stream_reader_pause(r->reader, true);
}

/* It may be freed in this. */
static void take_end(void *arg)
{
	struct rig *r = arg;

	r->closed++;
	CHECK(!stream_reader_is_open(r->reader));
	stream_reader_free(r->reader);
	r->reader = NULL;
}

static bool has_client(void *arg)
{
	struct rig *r = arg;

	return r->client != NULL;
}

static bool is_open(void *arg)
{
	struct rig *r = arg;

	return stream_reader_is_open(r->reader);
}

static bool has_frames(void *arg)
{
	struct rig *r = arg;

	return r->count >= r->want;
}

static bool is_closed(void *arg)
{
	struct rig *r = arg;

	return r->closed > 0;
}

static bool has_heard(void *arg)
{
	struct rig *r = arg;

	return r->heard.len > 0;
}

static void open_rig(struct rig *r, int64_t cursor)
{
	const struct raw_handler served = {take_request, take_more, take_gone, r};
	const struct reader_handler h = {take_frame, take_end, r};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	*r = (struct rig){.loop = loop_new()};
	buf_init(&r->request, KIB(64));
	buf_init(&r->heard, KIB(64));
	buf_init(&r->frames, MIB(64));
	r->server = raw_server_new(r->loop, NULL, NULL, &served);
	address.sin_port = htons(raw_server_port(r->server));
	r->reader = stream_reader_new(r->loop, (struct sockaddr *)&address, cursor, &h);
	CHECK(!stream_reader_is_open(r->reader));
	wait_until(r->loop, has_client, r, "the request");
}

static void accept_rig(struct rig *r)
{
	raw_client_accept(r->client, buf_span(&r->request));
	wait_until(r->loop, is_open, r, "the stream");
}

static void close_rig(struct rig *r)
{
	stream_reader_free(r->reader);
	raw_server_free(r->server);
	loop_free(r->loop);
	buf_release(&r->request);
	buf_release(&r->heard);
	buf_release(&r->frames);
}

static void wait_frames(struct rig *r, size_t count)
{
	r->want = count;
	wait_until(r->loop, has_frames, r, "frames");
}

static void put_frame(struct rig *r, uint8_t first, size_t size, struct buf *expected)
{
	uint8_t *payload = xmalloc(size + 1);

	for (size_t i = 0; i < size; i++)
		payload[i] = (uint8_t)(i * 7 + size);
	raw_client_frame(r->client, first, span_of(payload, size));
	if (expected) {
		buf_put_u32(expected, (uint32_t)size);
		buf_append(expected, span_of(payload, size));
	}
	free(payload);
}

TEST(the_request_says_the_cursor)
{
	struct rig r;

	open_rig(&r, 4711);
	CHECK(test_contains(buf_span(&r.request),
			    "GET /xrpc/com.atproto.sync.subscribeRepos?cursor=4711 HTTP/1.1\r\n"));
	close_rig(&r);
	open_rig(&r, -1);
	CHECK(test_contains(buf_span(&r.request),
			    "GET /xrpc/com.atproto.sync.subscribeRepos HTTP/1.1\r\n"));
	close_rig(&r);
}

TEST(frames_of_every_size_come_whole)
{
	static const size_t sizes[] = {0,     1,     125,    126,     127,  4500,
				       65535, 65536, 300000, 5000000, 4500, 2};
	struct rig r;
	struct buf expected;

	open_rig(&r, 0);
	buf_init(&expected, MIB(64));
	accept_rig(&r);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		put_frame(&r, 0x82, sizes[i], &expected);
	wait_frames(&r, ARRAY_SIZE(sizes));
	CHECK_SPAN(buf_span(&r.frames), buf_span(&expected));
	CHECK(stream_reader_bytes(r.reader) > 5000000 + 300000);
	CHECK_INT(r.closed, 0);
	buf_release(&expected);
	close_rig(&r);
}

TEST(a_ping_is_answered)
{
	static const uint8_t pong[] = {0x8a, 0x83, 0, 0, 0, 0, 'a', 'b', 'c'};
	struct rig r;

	open_rig(&r, 0);
	accept_rig(&r);
	raw_client_frame(r.client, 0x89, SPAN_LITERAL("abc"));
	wait_until(r.loop, has_heard, &r, "a pong");
	CHECK_SPAN(buf_span(&r.heard), span_of(pong, sizeof(pong)));
	CHECK_INT(r.count, 0);
	close_rig(&r);
}

TEST(what_is_no_binary_message_ends_it)
{
	static const struct {
		uint8_t first;
		size_t size;
	} wrong[] = {{0x81, 5},
		     {0x02, 5},
		     {0x80, 5},
		     {0x88, 2},
		     {0xc2, 5},
		     {0x89, 126},
		     {0x82, LIMIT_FRAME + 1}};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct rig r;

		open_rig(&r, 0);
		accept_rig(&r);
		put_frame(&r, 0x82, 10, NULL);
		put_frame(&r, wrong[i].first, wrong[i].size, NULL);
		put_frame(&r, 0x82, 10, NULL);
		wait_until(r.loop, is_closed, &r, "the end");
		CHECK_INT(r.closed, 1);
		CHECK_INT(r.count, 1);
		close_rig(&r);
	}
}

TEST(the_end_of_the_connection_is_told)
{
	struct rig r;

	open_rig(&r, 0);
	accept_rig(&r);
	put_frame(&r, 0x82, 10, NULL);
	wait_frames(&r, 1);
	raw_client_cut(r.client);
	wait_until(r.loop, is_closed, &r, "the end");
	close_rig(&r);
}

TEST(another_answer_than_101_ends_it)
{
	struct rig r;

	open_rig(&r, 0);
	raw_client_send(r.client, SPAN_LITERAL("HTTP/1.1 400 Bad Request\r\n\r\n"));
	wait_until(r.loop, is_closed, &r, "the end");
	close_rig(&r);
}

TEST(who_does_not_listen_is_no_stream)
{
	const struct reader_handler h = {NULL, take_end, &(struct rig){0}};
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(free_port()),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct rig *r = h.arg;

	r->loop = loop_new();
	r->reader = stream_reader_new(r->loop, (struct sockaddr *)&address, -1, &h);
	wait_until(r->loop, is_closed, r, "the end");
	loop_free(r->loop);
}

static bool is_stuck(void *arg)
{
	struct rig *r = arg;

	return raw_client_unsent(r->client) > 0;
}

TEST(a_paused_reader_takes_nothing_and_loses_nothing)
{
	struct rig r;
	struct buf expected;
	uint64_t bytes;

	open_rig(&r, 0);
	buf_init(&expected, MIB(64));
	accept_rig(&r);
	r.pause = true;
	for (unsigned i = 0; i < 2000; i++)
		put_frame(&r, 0x82, 9000, &expected);
	wait_frames(&r, 1);
	bytes = stream_reader_bytes(r.reader);
	wait_until(r.loop, is_stuck, &r, "the sockets are full");
	CHECK_INT(r.count, 1);
	CHECK_INT(stream_reader_bytes(r.reader), bytes);
	r.pause = false;
	stream_reader_pause(r.reader, false);
	wait_frames(&r, 2000);
	CHECK_SPAN(buf_span(&r.frames), buf_span(&expected));
	buf_release(&expected);
	close_rig(&r);
}
