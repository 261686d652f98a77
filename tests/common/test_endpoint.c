#include "common/endpoint.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/limits.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

/* An endpoint that listens, and what it was told. */
struct bench {
	struct loop *loop;
	char url[96];
	struct endpoint *endpoint;
	unsigned ups, downs, messages;
	uint64_t bytes;
	struct buf last;
	struct link *link;
	enum { CLOSES_NEVER, CLOSES_IN_UP, CLOSES_IN_MESSAGE, CLOSES_IN_DOWN } closes;
};

static void called(struct bench *b, unsigned closes)
{
	CHECK(b->endpoint != NULL);
	loop_quit(b->loop, 0);
	if (b->closes == closes) {
		endpoint_close(b->endpoint);
		b->endpoint = NULL;
	}
}

static void up(void *arg, struct link *c)
{
	struct bench *b = arg;

	b->ups++;
	b->link = c;
	CHECK(link_data(c) == NULL);
	link_set_data(c, b);
	called(b, CLOSES_IN_UP);
}

static void down(void *arg, struct link *c)
{
	struct bench *b = arg;

	b->downs++;
	CHECK(link_data(c) == b);
	called(b, CLOSES_IN_DOWN);
}

static void message(void *arg, struct link *c, struct span m)
{
	struct bench *b = arg;

	CHECK(link_data(c) == b);
	b->messages++;
	b->bytes += m.len;
	buf_clear(&b->last);
	called(b, CLOSES_IN_MESSAGE);
	buf_append(&b->last, m); /* it is there until we return */
}

static void writable(void *arg, struct link *c)
{
	struct bench *b = arg;

	CHECK_INT(link_queued(c), 0);
	loop_quit(b->loop, 0);
}

static void bench_init(struct bench *b, enum protocol protocol, unsigned max)
{
	struct endpoint_handler h = {
		.up = up, .down = down, .message = message, .writable = writable, .arg = b};

	*b = (struct bench){.loop = loop_new()};
	buf_init(&b->last, LIMIT_MESSAGE + 4);
	snprintf(b->url, sizeof(b->url), "ipc://%s/endpoint", test_folder());
	CHECK_INT(endpoint_listen(b->loop, b->url, protocol, max, &h, &b->endpoint), 0);
}

static void bench_release(struct bench *b)
{
	endpoint_close(b->endpoint);
	buf_release(&b->last);
	loop_free(b->loop);
}

#define WAIT(b, cond) RUN_UNTIL((b)->loop, cond)

/* A peer that writes bytes, and knows when it is cut off. */
struct peer {
	struct bench *bench;
	struct loop_io io;
	int fd;
	size_t heard; /* bytes */
	bool closed;
};

static void peer_ready(void *arg, uint32_t events)
{
	struct peer *p = arg;
	uint8_t block[4096];
	ssize_t n;

	loop_quit(p->bench->loop, 0);
	if (!(events & EPOLLIN))
		return;
	n = recv(p->fd, block, sizeof(block), MSG_DONTWAIT);
	if (n > 0) {
		p->heard += (size_t)n;
		return;
	}
	p->closed = true;
	loop_io_remove(p->bench->loop, &p->io);
}

static void peer_connect(struct peer *p, struct bench *b)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	*p = (struct peer){.bench = b, .fd = socket(AF_UNIX, SOCK_STREAM, 0)};
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", b->url + strlen("ipc://"));
	CHECK_INT(connect(p->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	loop_io_init(&p->io, peer_ready, p);
	loop_io_add(b->loop, &p->io, p->fd, EPOLLIN);
}

static void peer_write(struct peer *p, struct span s)
{
	CHECK_INT(send(p->fd, s.ptr, s.len, MSG_NOSIGNAL), s.len);
}

static void peer_close(struct peer *p)
{
	loop_io_remove(p->bench->loop, &p->io);
	close(p->fd);
}

#define HELLO "00535000 0010 0000"
#define ONE   "01 0000000000000001"

static const struct {
	const char *name, *hex;
	unsigned ups, messages;
} broken[] = {
	{"nothing", "", 0, 0},
	{"part of a hello", "005350", 0, 0},
	{"not SP", "00545000 0010 0000", 0, 0},
	{"version 1", "00535001 0010 0000", 0, 0},
	{"reserved", "00535000 0010 0001", 0, 0},
	{"another protocol", "00535000 0031 0000", 0, 0},
	{"HTTP", "474554202f20485454502f312e310d0a0d0a", 0, 0},
	{"hello", HELLO, 1, 0},
	{"type", HELLO "00 0000000000000001 41", 1, 0},
	{"type of a second message",
	 HELLO ONE "41"
		   "02 0000000000000001 41",
	 1, 1},
	{"too large", HELLO "01 0000000000800001 41", 1, 0},
	{"much too large", HELLO "01 ffffffffffffffff 41", 1, 0},
	{"part of a length", HELLO "01 00000000", 1, 0},
	{"part of a body",
	 HELLO ONE "41"
		   "01 0000000000000002 41",
	 1, 1},
	{"empty message", HELLO "01 0000000000000000", 1, 1},
	{"two and a half", HELLO ONE "41" ONE "42" ONE, 1, 2},
};

/* Whatever a peer writes before it goes: what was whole is delivered, and nothing else; the next
 * one is served. */
TEST(broken_peers)
{
	struct bench b;
	struct peer p;
	struct buf bytes;

	bench_init(&b, PROTOCOL_PAIR, 1);
	buf_init(&bytes, 256);
	for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
		unsigned ups = b.ups + broken[i].ups, messages = b.messages + broken[i].messages;

		peer_connect(&p, &b);
		buf_clear(&bytes);
		test_hex(broken[i].hex, &bytes);
		peer_write(&p, buf_span(&bytes));
		WAIT(&b, b.ups == ups && b.messages == messages);
		shutdown(p.fd, SHUT_WR);
		WAIT(&b, p.closed && b.downs == ups);
		if (b.ups != ups || b.messages != messages)
			test_fail(__FILE__, __LINE__, "%s: %u up, %u messages", broken[i].name,
				  b.ups, b.messages);
		peer_close(&p);
	}
	buf_release(&bytes);
	bench_release(&b);
}

/* Messages in pieces of any size, and many in one piece. */
TEST(pieces)
{
	struct bench b;
	struct peer p;
	struct buf bytes;
	size_t at = 0;
	uint64_t total = 0;

	bench_init(&b, PROTOCOL_PAIR, 1);
	buf_init(&bytes, MIB(64));
	test_hex(HELLO, &bytes);
	for (unsigned n = 0; n < 300; n++) {
		size_t len = test_random() % (n % 50 == 0 ? 1000000 : 300);

		buf_put_u8(&bytes, 1);
		for (unsigned i = 0; i < 8; i++)
			buf_put_u8(&bytes, (uint8_t)((uint64_t)len >> (56 - 8 * i)));
		memset(buf_extend(&bytes, len), (int)n, len);
		total += len;
	}
	peer_connect(&p, &b);
	while (at < bytes.len) {
		size_t len = 1 + test_random() % (at < 300 ? 3 : 60000);
		ssize_t n;

		if (len > bytes.len - at)
			len = bytes.len - at;
		n = send(p.fd, bytes.ptr + at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0) {
			at += (size_t)n;
			continue;
		}
		loop_io_change(b.loop, &p.io, EPOLLIN | EPOLLOUT);
		loop_run(b.loop);
		loop_io_change(b.loop, &p.io, EPOLLIN);
	}
	WAIT(&b, b.messages == 300);
	CHECK_INT(b.bytes, total);
	peer_close(&p);
	buf_release(&bytes);
	bench_release(&b);
}

static size_t count_closed(const struct peer *peers, size_t count)
{
	size_t closed = 0;

	for (size_t i = 0; i < count; i++)
		closed += peers[i].closed;
	return closed;
}

static size_t count_greeted(const struct peer *peers, size_t count)
{
	size_t greeted = 0;

	for (size_t i = 0; i < count; i++)
		greeted += peers[i].heard == 8;
	return greeted;
}

/* Of those that say hello at the same time one is up. Who comes later hears nothing. */
TEST(one_at_a_time)
{
	struct bench b;
	struct peer peers[10], late;
	struct buf hello;

	bench_init(&b, PROTOCOL_PAIR, 1);
	buf_init(&hello, 8);
	test_hex(HELLO, &hello);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		peer_connect(&peers[i], &b);
	WAIT(&b, count_greeted(peers, ARRAY_SIZE(peers)) == ARRAY_SIZE(peers));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		peer_write(&peers[i], buf_span(&hello));
	WAIT(&b, count_closed(peers, ARRAY_SIZE(peers)) == ARRAY_SIZE(peers) - 1);
	peer_connect(&late, &b);
	WAIT(&b, late.closed);
	CHECK_INT(late.heard, 0);
	CHECK_INT(b.ups, 1);
	CHECK_INT(b.downs, 0);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		peer_close(&peers[i]);
	peer_close(&late);
	buf_release(&hello);
	bench_release(&b);
}

/* Who says nothing is cut off after 5 seconds; sixteen of them do not keep others out for longer.
 */
TEST(silent_peers)
{
	struct bench b;
	struct peer silent[20], late;
	struct buf hello;

	bench_init(&b, PROTOCOL_PAIR, 1);
	buf_init(&hello, 8);
	test_hex(HELLO, &hello);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		peer_connect(&silent[i], &b);
	WAIT(&b, count_closed(silent, ARRAY_SIZE(silent)) == 4);
	CHECK_INT(count_greeted(silent, ARRAY_SIZE(silent)), 16);
	WAIT(&b, count_closed(silent, ARRAY_SIZE(silent)) > 4);
	peer_connect(&late, &b);
	peer_write(&late, buf_span(&hello));
	WAIT(&b, b.ups == 1);
	WAIT(&b, count_closed(silent, ARRAY_SIZE(silent)) == ARRAY_SIZE(silent));
	CHECK_INT(b.downs, 0);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		peer_close(&silent[i]);
	peer_close(&late);
	buf_release(&hello);
	bench_release(&b);
}

TEST(queue_and_clear)
{
	struct bench b;
	struct peer p;
	struct buf bytes;
	size_t queued;

	bench_init(&b, PROTOCOL_PAIR, 1);
	buf_init(&bytes, MIB(1));
	test_hex(HELLO, &bytes);
	peer_connect(&p, &b);
	peer_write(&p, buf_span(&bytes));
	WAIT(&b, b.ups == 1);
	loop_io_remove(b.loop, &p.io);
	memset(buf_extend(&bytes, 100000), 0, 100000);
	/* More than the kernel takes from one who does not read. */
	for (unsigned n = 0; n < 20; n++)
		link_send(b.link, SPAN_LITERAL("head"), buf_span(&bytes));
	queued = link_queued(b.link);
	CHECK(queued > 0);
	link_send(b.link, SPAN_EMPTY, SPAN_LITERAL("x"));
	CHECK_INT(link_queued(b.link), queued + 10);
	link_clear(b.link);
	CHECK_INT(link_queued(b.link), 0);
	link_close(b.link);
	link_close(b.link);
	link_send(b.link, SPAN_EMPTY, SPAN_LITERAL("x"));
	CHECK_INT(link_queued(b.link), 0);
	CHECK_INT(b.downs, 0);
	WAIT(&b, b.downs == 1);
	close(p.fd);
	buf_release(&bytes);
	bench_release(&b);
}

/* A link that is held delivers nothing, whatever the other one does meanwhile, and then
 * everything. */
TEST(hold)
{
	struct bench b;
	struct peer held, other;
	struct link *link;
	struct buf hello, bytes;

	bench_init(&b, PROTOCOL_REP, 2);
	buf_init(&hello, 8);
	test_hex("00535000 0030 0000", &hello);
	buf_init(&bytes, 64);
	test_hex(ONE "41" ONE "42" ONE "43", &bytes);
	peer_connect(&held, &b);
	peer_write(&held, buf_span(&hello));
	WAIT(&b, b.ups == 1);
	link = b.link;
	peer_connect(&other, &b);
	peer_write(&other, buf_span(&hello));
	WAIT(&b, b.ups == 2);
	for (unsigned n = 0; n < 20; n++) {
		unsigned before = b.messages;

		link_hold(link, true);
		for (unsigned i = 0; i < 3; i++) {
			peer_write(&held, buf_span(&bytes));
			peer_write(&other, buf_span(&bytes));
			WAIT(&b, b.messages == before + 3 * (i + 1));
		}
		link_hold(link, false);
		WAIT(&b, b.messages == before + 18);
	}
	peer_close(&held);
	peer_close(&other);
	buf_release(&hello);
	buf_release(&bytes);
	bench_release(&b);
}

TEST(close_in_a_handler)
{
	for (unsigned closes = CLOSES_IN_UP; closes <= CLOSES_IN_DOWN; closes++) {
		struct bench b;
		struct peer p;
		struct buf bytes;

		bench_init(&b, PROTOCOL_PAIR, 1);
		b.closes = closes;
		buf_init(&bytes, 64);
		test_hex(HELLO ONE "41" ONE "42" ONE "43", &bytes);
		peer_connect(&p, &b);
		peer_write(&p, buf_span(&bytes));
		shutdown(p.fd, SHUT_WR);
		WAIT(&b, !b.endpoint);
		CHECK_INT(b.messages, closes == CLOSES_IN_UP        ? 0
				      : closes == CLOSES_IN_MESSAGE ? 1
								    : 3);
		peer_close(&p);
		buf_release(&bytes);
		bench_release(&b);
	}
}

/* It closes while connections are being made that it has not taken. */
TEST(close_with_peers_at_the_door)
{
	for (unsigned n = 0; n < 50; n++) {
		struct bench b;
		struct peer peers[3];

		bench_init(&b, PROTOCOL_PAIR, 1);
		for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
			peer_connect(&peers[i], &b);
		endpoint_close(b.endpoint);
		b.endpoint = NULL;
		WAIT(&b, count_closed(peers, ARRAY_SIZE(peers)) == ARRAY_SIZE(peers));
		for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
			peer_close(&peers[i]);
		bench_release(&b);
	}
}
