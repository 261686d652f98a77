#include "common/pipe.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/endpoint.h"
#include "common/limits.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

/* A loop that is run until something is so; every callback here lets it look again. Its pipes have
 * one address. */
struct bench {
	char url[96];
	struct loop *loop;
};

static void bench_init(struct bench *b)
{
	*b = (struct bench){.loop = loop_new()};
	snprintf(b->url, sizeof(b->url), "ipc://%s/pipe", test_folder());
}

/* Instead of a socket file. */
static void bench_use_tcp(struct bench *b)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_INT(bind(fd, (struct sockaddr *)&a, len), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	snprintf(b->url, sizeof(b->url), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
}

static const char *bench_path(const struct bench *b)
{
	return b->url + strlen("ipc://");
}

static void bench_release(struct bench *b)
{
	loop_free(b->loop);
}

#define WAIT(b, cond) RUN_UNTIL((b)->loop, cond)

/* Of one end: what it reads ahead, and two queues, doubled as buffers grow; with the largest
 * messages, one of them each. Endpoint and connection themselves: SMALL_BYTES. */
#define SMALL_BYTES KIB(4)
#define END_BYTES   (KIB(128) + 2 * KIB(512) + SMALL_BYTES)
#define LARGE_BYTES (3 * (LIMIT_MESSAGE + SMALL_BYTES))

/* What all pipes hold is at most this, and at least the part of it that a test makes them hold. */
#define CHECK_HELD(least, most)                                                                    \
	do {                                                                                       \
		int64_t held_ = endpoint_memory_bytes(NULL);                                       \
		if (held_ < (int64_t)(least) || held_ > (int64_t)(most))                           \
			test_fail(__FILE__, __LINE__, "the pipes hold %" PRId64 " bytes", held_);  \
	} while (0)

/* One end of a pair (or a sub). Messages are a u32 number and then that many bytes of it, as far as
 * size goes. */
struct end {
	struct bench *bench;
	struct pipe *pipe;
	unsigned ups, downs, writables;
	uint32_t sent, received;
	unsigned total; /* received, with numbers that began anew */
	size_t bytes_max;
	bool up;
	bool begins_anew; /* the numbers, with each connection */
	bool breaks;      /* in its next message */
	bool broken;
	bool closes; /* in its next callback */
};

static void end_called(struct end *e)
{
	loop_quit(e->bench->loop, 0);
	if (e->closes) {
		pipe_close(e->pipe);
		e->pipe = NULL;
	}
}

static void end_up(void *arg)
{
	struct end *e = arg;

	CHECK(!e->up);
	CHECK(pipe_is_up(e->pipe));
	e->up = true;
	e->ups++;
	if (e->begins_anew)
		e->received = 0;
	end_called(e);
}

static void end_down(void *arg)
{
	struct end *e = arg;

	CHECK(e->up);
	CHECK(!pipe_is_up(e->pipe));
	e->up = false;
	e->broken = false;
	e->downs++;
	end_called(e);
}

static void end_message(void *arg, struct span message)
{
	struct end *e = arg;
	struct reader r = reader_of(message);
	uint32_t number = 0;

	CHECK(e->up);
	CHECK(!e->broken);
	CHECK(e->pipe != NULL);
	CHECK_INT(reader_get_u32(&r, &number), 0);
	CHECK_INT(number, e->received);
	for (size_t i = 0; i < r.left; i += 997)
		CHECK_INT(r.ptr[i], (uint8_t)number);
	e->received = number + 1;
	e->total++;
	if (e->breaks) {
		e->broken = true;
		pipe_break(e->pipe);
	}
	end_called(e);
}

static void end_writable(void *arg)
{
	struct end *e = arg;

	e->writables++;
	end_called(e);
}

static struct pipe_handler end_handler(struct end *e)
{
	return (struct pipe_handler){
		.up = end_up,
		.down = end_down,
		.message = end_message,
		.writable = end_writable,
		.arg = e,
	};
}

static void end_listen(struct end *e)
{
	struct pipe_handler h = end_handler(e);

	CHECK_INT(pipe_listen_pair(e->bench->loop, e->bench->url, &h, &e->pipe), 0);
}

static void end_dial(struct end *e)
{
	struct pipe_handler h = end_handler(e);

	CHECK_INT(pipe_dial_pair(e->bench->loop, e->bench->url, &h, &e->pipe), 0);
}

/* As many as go, up to the given number. */
static void end_send(struct end *e, uint32_t until)
{
	struct buf b;

	buf_init(&b, LIMIT_MESSAGE);
	while (e->sent < until) {
		size_t size = e->bytes_max ? e->sent * 7919u % e->bytes_max : 0;

		buf_clear(&b);
		buf_put_u32(&b, e->sent);
		memset(buf_extend(&b, size), (int)e->sent, size);
		if (pipe_send(e->pipe, buf_span(&b)) < 0)
			break;
		e->sent++;
	}
	buf_release(&b);
}

/* A peer that does not use nng: says hello as the wire protocol has it, and nothing more. Blocking.
 */
static int raw_connect_as(const struct bench *b, uint8_t protocol)
{
	const uint8_t hello[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", bench_path(b));
	CHECK_INT(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	(void)!send(fd, hello, sizeof(hello), MSG_NOSIGNAL);
	return fd;
}

static int raw_connect(const struct bench *b)
{
	return raw_connect_as(b, 16);
}

static void raw_send(int fd, uint64_t claimed, struct span body)
{
	uint8_t head[9] = {1};

	for (unsigned i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)(claimed >> (56 - 8 * i));
	(void)!send(fd, head, sizeof(head), MSG_NOSIGNAL);
	(void)!send(fd, body.ptr, body.len, MSG_NOSIGNAL);
}

/* Whether the other side has closed it. */
struct closed {
	struct bench *bench;
	struct loop_io io;
	bool is;
};

static void raw_ready(void *arg, uint32_t events)
{
	struct closed *c = arg;
	uint8_t block[4096];

	(void)events;
	if (recv(c->io.fd, block, sizeof(block), MSG_DONTWAIT) > 0)
		return;
	c->is = true;
	loop_io_remove(c->bench->loop, &c->io);
	loop_quit(c->bench->loop, 0);
}

static void raw_watch(struct closed *c, struct bench *b, int fd)
{
	*c = (struct closed){.bench = b};
	loop_io_init(&c->io, raw_ready, c);
	loop_io_add(b->loop, &c->io, fd, EPOLLIN);
}

TEST(urls)
{
	static const char *const bad[] = {
		"",
		"ipc://",
		"inproc://x",
		"ws://127.0.0.1:1",
		"tcp://",
		"/run/x",
		"ipc:///tmp/"
		"a-path-that-is-longer-than-the-name-of-a-socket-may-be-0123456789012345678901"
		"234567890123456789012345678901234567890123456789",
	};
	struct bench b;
	struct end e = {.bench = &b};
	struct pipe_handler h = end_handler(&e);

	bench_init(&b);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (pipe_listen_pair(b.loop, bad[i], &h, &e.pipe) != -EINVAL)
			test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
	CHECK(!e.pipe);
	CHECK_INT(pipe_listen_pair(b.loop, "ipc:///nonexistent/x", &h, &e.pipe), -ENOENT);
	CHECK_INT(pipe_dial_req(b.loop, "nonsense", &e.pipe), -EINVAL);
	bench_release(&b);
}

/* `make run` keeps its sockets below the folder it is started in. */
TEST(relative_path)
{
	struct bench b;
	struct end e = {.bench = &b};
	char *before = getcwd(NULL, 0);

	CHECK_INT(chdir(test_folder()), 0);
	bench_init(&b);
	snprintf(b.url, sizeof(b.url), "ipc://relative");
	end_listen(&e);
	CHECK_INT(access("relative", F_OK), 0);
	pipe_close(e.pipe);
	bench_release(&b);
	CHECK_INT(chdir(before), 0);
	free(before);
}

TEST(address_in_use)
{
	struct bench b;
	struct end e = {.bench = &b}, other = {.bench = &b};
	struct pipe_handler h = end_handler(&other);

	bench_init(&b);
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		if (tcp)
			bench_use_tcp(&b);
		end_listen(&e);
		CHECK_INT(pipe_listen_pair(b.loop, b.url, &h, &other.pipe), -EADDRINUSE);
		pipe_close(e.pipe);
	}
	bench_release(&b);
}

TEST(socket_file)
{
	struct bench b;
	struct end e = {.bench = &b};
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct stat st;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	bench_init(&b);
	/* What a process that was killed leaves behind. */
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", bench_path(&b));
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	CHECK_INT(stat(bench_path(&b), &st), 0);

	end_listen(&e);
	CHECK_INT(stat(bench_path(&b), &st), 0);
	CHECK_INT(st.st_mode & 07777, 0660);
	fd = raw_connect(&b);
	WAIT(&b, e.up);
	close(fd);
	WAIT(&b, !e.up);
	pipe_close(e.pipe);
	bench_release(&b);
}

/* Both ways at once, more than fits anywhere, over ipc and tcp, with either end first. */
TEST(pair_keeps_order)
{
	for (unsigned way = 0; way < 4; way++) {
		struct bench b;
		struct end x = {.bench = &b, .bytes_max = 100000};
		struct end y = {.bench = &b, .bytes_max = 500};

		bench_init(&b);
		if (way & 1)
			bench_use_tcp(&b);
		if (way & 2)
			end_dial(&x);
		end_listen(&y);
		if (!(way & 2))
			end_dial(&x);
		CHECK(!pipe_is_up(x.pipe));
		CHECK_INT(pipe_send(x.pipe, SPAN_EMPTY), -EAGAIN);
		WAIT(&b, (end_send(&x, 1000), end_send(&y, 1000),
			  x.received == 1000 && y.received == 1000));
		CHECK(x.writables > 0);
		CHECK_INT(x.ups + y.ups, 2);
		CHECK_INT(x.downs + y.downs, 0);
		pipe_close(x.pipe);
		WAIT(&b, y.downs == 1);
		pipe_close(y.pipe);
		bench_release(&b);
	}
}

TEST(largest_message)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};
	struct buf m;

	bench_init(&b);
	end_listen(&x);
	end_dial(&y);
	buf_init(&m, LIMIT_MESSAGE);
	buf_put_u32(&m, 0);
	memset(buf_extend(&m, LIMIT_MESSAGE - 4), 0, LIMIT_MESSAGE - 4);
	WAIT(&b, y.up);
	CHECK_INT(pipe_send(y.pipe, buf_span(&m)), 0);
	WAIT(&b, x.received == 1);
	buf_release(&m);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

/* A peer that claims more than the limit is cut off, and nothing of it is delivered. */
TEST(message_over_the_limit)
{
	struct bench b;
	struct end e = {.bench = &b};
	struct closed closed;
	int fd;

	bench_init(&b);
	end_listen(&e);
	fd = raw_connect(&b);
	WAIT(&b, e.up);
	raw_watch(&closed, &b, fd);
	raw_send(fd, LIMIT_MESSAGE + 1, SPAN_LITERAL("\0\0\0\0"));
	WAIT(&b, !e.up && closed.is);
	close(fd);
	CHECK_INT(e.received, 0);
	fd = raw_connect(&b);
	raw_send(fd, 4, SPAN_LITERAL("\0\0\0\0"));
	WAIT(&b, e.received == 1);
	close(fd);
	pipe_close(e.pipe);
	bench_release(&b);
}

TEST(peer_comes_and_goes)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	end_dial(&x);
	for (unsigned n = 1; n <= 5; n++) {
		end_listen(&y);
		WAIT(&b, x.ups == n && y.up);
		y.received = x.sent;
		end_send(&x, x.sent + 1);
		WAIT(&b, y.received == x.sent);
		pipe_close(y.pipe);
		y.up = false;
		WAIT(&b, x.downs == n);
		CHECK_INT(pipe_send(x.pipe, SPAN_EMPTY), -EAGAIN);
	}
	pipe_close(x.pipe);
	bench_release(&b);
}

/* The dialling end may be up and down once more in between: it is refused as long as the other end
 * has not noticed. */
TEST(break_is_seen_by_both)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};
	unsigned dialler_downs;

	bench_init(&b);
	end_dial(&x);
	end_listen(&y);
	for (unsigned n = 1; n <= 20; n++) {
		WAIT(&b, y.ups == n && x.up && y.up);
		dialler_downs = x.downs;
		pipe_break(n % 2 ? x.pipe : y.pipe);
		CHECK(pipe_is_up(x.pipe) && pipe_is_up(y.pipe));
		CHECK_INT(pipe_send(n % 2 ? x.pipe : y.pipe, SPAN_EMPTY), -EAGAIN);
		WAIT(&b, x.downs > dialler_downs && y.downs == n);
	}
	pipe_break(x.pipe);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

/* What came with the message that made the handler break the pipe is not delivered. */
TEST(break_in_message)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b, .begins_anew = true, .breaks = true};

	bench_init(&b);
	end_dial(&x);
	end_listen(&y);
	for (unsigned n = 1; n <= 10; n++) {
		WAIT(&b, x.up && y.ups == n);
		x.sent = 0;
		end_send(&x, 10);
		WAIT(&b, y.downs == n && x.downs == n);
		CHECK_INT(y.total, n);
	}
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

TEST(writable_follows_when_a_peer_comes)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	end_dial(&x);
	CHECK_INT(pipe_send(x.pipe, SPAN_EMPTY), -EAGAIN);
	end_listen(&y);
	WAIT(&b, x.writables == 1);
	end_send(&x, 1);
	WAIT(&b, y.received == 1);
	CHECK_INT(x.writables, 1);
	CHECK_INT(y.writables, 0);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

/* Held before there is a peer. */
TEST(hold_outlasts_a_connection)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	end_dial(&x);
	end_listen(&y);
	pipe_hold(y.pipe, true);
	WAIT(&b, x.up && y.up);
	end_send(&x, 3);
	for (unsigned n = 1; n <= 10; n++) {
		end_send(&y, n);
		WAIT(&b, x.received == n);
	}
	CHECK_INT(y.received, 0);
	pipe_hold(y.pipe, false);
	WAIT(&b, y.received == 3);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

TEST(second_peer_is_refused_unseen)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	end_listen(&x);
	end_dial(&y);
	WAIT(&b, x.up && y.up);
	for (unsigned n = 1; n <= 50; n++) {
		struct closed closed;
		int fd = raw_connect(&b);

		raw_watch(&closed, &b, fd);
		end_send(&y, n);
		WAIT(&b, x.received == n && closed.is);
		close(fd);
	}
	CHECK_INT(x.ups, 1);
	CHECK_INT(x.downs, 0);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

/* Connections that come, speak and go while the loop sleeps or runs: up and down alternate (end_up
 * and end_down check it), and a message is only ever delivered while its own sender is up (each
 * begins to count from 0). */
TEST(up_and_down_alternate)
{
	struct bench b;
	struct end e = {.bench = &b, .begins_anew = true};
	unsigned taken = 0;

	bench_init(&b);
	end_listen(&e);
	for (unsigned n = 0; n < 300; n++) {
		int fd = raw_connect(&b);
		unsigned total = e.total;

		raw_send(fd, 4, SPAN_LITERAL("\0\0\0\0"));
		raw_send(fd, 4, SPAN_LITERAL("\1\0\0\0"));
		if (n % 3 == 0) {
			struct closed refused;

			raw_watch(&refused, &b, fd);
			WAIT(&b, e.total >= total + 2 || refused.is);
			loop_io_remove(b.loop, &refused.io);
			taken += e.total >= total + 2;
		}
		close(fd);
	}
	CHECK(taken > 0);
	WAIT(&b, !e.up);
	CHECK_INT(e.ups, e.downs);
	pipe_close(e.pipe);
	bench_release(&b);
}

TEST(hold_makes_the_sender_wait)
{
	struct bench b;
	struct end x = {.bench = &b, .bytes_max = 50000}, y = {.bench = &b};
	uint32_t stuck;

	bench_init(&b);
	end_dial(&x);
	end_listen(&y);
	WAIT(&b, x.up && y.up);
	pipe_hold(y.pipe, true);
	/* Two queues, what the other end reads ahead, and what the kernel takes: less than a
	 * megabyte. */
	do {
		stuck = x.sent;
		end_send(&x, 1000);
		WAIT(&b, x.writables > 0 || x.sent > stuck);
		x.writables = 0;
	} while (x.sent < 18);
	CHECK(x.sent < 100);
	CHECK_INT(y.received, 0);
	CHECK_HELD(KIB(512), 2 * END_BYTES);
	pipe_hold(y.pipe, false);
	WAIT(&b, (end_send(&x, 1000), y.received == 1000));
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	CHECK_HELD(0, 0);
	bench_release(&b);
}

/* A message of its own number, of the largest size. */
static bool send_largest(struct end *e)
{
	struct buf b;
	int r;

	buf_init(&b, LIMIT_MESSAGE);
	buf_put_u32(&b, e->sent);
	memset(buf_extend(&b, LIMIT_MESSAGE - 4), (int)e->sent, LIMIT_MESSAGE - 4);
	r = pipe_send(e->pipe, buf_span(&b));
	buf_release(&b);
	e->sent += r == 0;
	return r == 0;
}

TEST(the_largest_messages_wait_one_at_a_time)
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	end_dial(&x);
	end_listen(&y);
	WAIT(&b, x.up && y.up);
	/* One is being written, one is queued; but the first is queued while its own hello is still
	 * being written. */
	while (x.sent < 2 && !test_has_failed())
		if (!send_largest(&x))
			WAIT(&b, x.writables > 0);
	CHECK(!send_largest(&x));
	CHECK_HELD(2 * LIMIT_MESSAGE, 2 * LARGE_BYTES);
	while (y.received < 6) {
		uint32_t received = y.received;

		WAIT(&b, x.writables > 0 || y.received > received);
		x.writables = 0;
		while (x.sent < 6 && send_largest(&x))
			;
		CHECK_HELD(0, 2 * LARGE_BYTES);
	}
	/* What they took is given back. */
	end_send(&x, 7);
	WAIT(&b, y.received == 7);
	CHECK_HELD(0, 2 * END_BYTES);
	pipe_close(x.pipe);
	pipe_close(y.pipe);
	bench_release(&b);
}

/* y closes its pipe in the callback that x makes come. */
static void close_in_callback(void (*act)(struct end *x, struct end *y))
{
	struct bench b;
	struct end x = {.bench = &b}, y = {.bench = &b};

	bench_init(&b);
	y.closes = act == NULL;
	end_dial(&x);
	end_listen(&y);
	WAIT(&b, act ? x.up && y.up : !y.pipe);
	if (act) {
		act(&x, &y);
		y.closes = true;
	}
	WAIT(&b, !y.pipe);
	pipe_close(x.pipe);
	bench_release(&b);
}

static void make_message(struct end *x, struct end *y)
{
	(void)y;
	end_send(x, 5);
}

static void make_down(struct end *x, struct end *y)
{
	(void)y;
	pipe_break(x->pipe);
}

static void make_writable(struct end *x, struct end *y)
{
	(void)x;
	y->bytes_max = 100000;
	end_send(y, 1000);
	CHECK(y->sent < 1000);
}

TEST(close_in_up)
{
	close_in_callback(NULL);
}

TEST(close_in_message)
{
	close_in_callback(make_message);
}

TEST(close_in_down)
{
	close_in_callback(make_down);
}

TEST(close_in_writable)
{
	close_in_callback(make_writable);
}

/* pub and sub */

struct publisher {
	struct bench *bench;
	struct pipe *pipe;
	struct loop_timer again;
	unsigned heard[2];
};

/* It is lossy, so it says the same until all have heard it. */
static void publish(void *arg)
{
	struct publisher *p = arg;

	CHECK_INT(pipe_send(p->pipe, SPAN_LITERAL("news")), 0);
	loop_timer_set(p->bench->loop, &p->again, 5 * USEC_PER_MSEC);
}

static void hear(struct publisher *p, unsigned who, struct span message)
{
	CHECK_SPAN(message, SPAN_LITERAL("news"));
	p->heard[who]++;
	loop_quit(p->bench->loop, 0);
}

static void hear_first(void *arg, struct span message)
{
	hear(arg, 0, message);
}

static void hear_second(void *arg, struct span message)
{
	hear(arg, 1, message);
}

TEST(pub_reaches_all_and_never_fails)
{
	struct bench b;
	struct publisher p = {.bench = &b};
	struct pipe_handler h[2] = {{.message = hear_first, .arg = &p},
				    {.message = hear_second, .arg = &p}};
	struct pipe *subs[2];

	bench_init(&b);
	for (size_t i = 0; i < 2; i++)
		CHECK_INT(pipe_dial_sub(b.loop, b.url, &h[i], &subs[i]), 0);
	CHECK_INT(pipe_listen_pub(b.loop, b.url, &p.pipe), 0);
	for (unsigned i = 0; i < 1000; i++)
		CHECK_INT(pipe_send(p.pipe, SPAN_LITERAL("news")), 0);
	loop_timer_init(&p.again, publish, &p);
	publish(&p);
	WAIT(&b, p.heard[0] > 0 && p.heard[1] > 0);
	loop_timer_cancel(b.loop, &p.again);
	pipe_close(subs[0]);
	pipe_close(subs[1]);
	pipe_close(p.pipe);
	bench_release(&b);
}

/* req and rep */

#define CALLS 1024

/* Answers every request with the same bytes, in the way that its mode says. */
struct server {
	struct bench *bench;
	struct pipe *pipe;
	size_t keep; /* answers when so many are there, the newest first */
	struct call *kept[CALLS];
	uint32_t number[CALLS];
	size_t count;
	unsigned requests;
	uint32_t at_once_from; /* these numbers are answered without being kept */
};

static void answer(struct call *c, uint32_t number)
{
	struct buf b;

	buf_init(&b, 4);
	buf_put_u32(&b, number);
	call_reply(c, buf_span(&b));
	buf_release(&b);
}

static void answer_kept(struct server *s)
{
	while (s->count > 0) {
		s->count--;
		answer(s->kept[s->count], s->number[s->count]);
	}
}

static void server_request(void *arg, struct call *c, struct span message)
{
	struct server *s = arg;
	struct reader r = reader_of(message);
	uint32_t number = 0;

	CHECK_INT(reader_get_u32(&r, &number), 0);
	s->requests++;
	loop_quit(s->bench->loop, 0);
	if (number >= s->at_once_from) {
		answer(c, number);
		return;
	}
	s->number[s->count] = number;
	s->kept[s->count++] = c;
	if (s->count >= s->keep)
		answer_kept(s);
}

static void server_open(struct server *s, struct bench *b, size_t keep)
{
	struct pipe_handler h = {.request = server_request, .arg = s};

	*s = (struct server){.bench = b, .keep = keep, .at_once_from = UINT32_MAX};
	CHECK_INT(pipe_listen_rep(b->loop, b->url, &h, &s->pipe), 0);
}

struct client {
	struct bench *bench;
	struct pipe *pipe;
	struct asked {
		struct client *of;
		uint32_t number;
		bool done;
		int error;
	} calls[CALLS + 8];
	uint32_t count;
	unsigned answered, failed;
	bool closes;
	bool calling; /* inside pipe_call */
};

static void client_done(void *arg, int error, struct span reply)
{
	struct asked *a = arg;
	struct client *c = a->of;
	struct reader r = reader_of(reply);
	uint32_t number = 0;

	CHECK(!c->calling);
	CHECK(!a->done);
	a->done = true;
	a->error = error;
	loop_quit(c->bench->loop, 0);
	if (error < 0) {
		CHECK_INT(reply.len, 0);
		c->failed++;
	} else {
		CHECK_INT(reader_get_u32(&r, &number), 0);
		CHECK_INT(number, a->number);
		c->answered++;
	}
	if (c->closes) {
		c->closes = false;
		pipe_close(c->pipe);
		c->pipe = NULL;
	}
}

static void client_open(struct client *c, struct bench *b)
{
	*c = (struct client){.bench = b};
	CHECK_INT(pipe_dial_req(b->loop, b->url, &c->pipe), 0);
}

static struct asked *ask(struct client *c, uint64_t timeout_usec, size_t size)
{
	struct asked *a = &c->calls[c->count];
	struct buf b;

	*a = (struct asked){.of = c, .number = c->count++};
	buf_init(&b, LIMIT_MESSAGE);
	buf_put_u32(&b, a->number);
	memset(buf_extend(&b, size), 0, size);
	c->calling = true;
	pipe_call(c->pipe, buf_span(&b), timeout_usec, client_done, a);
	c->calling = false;
	buf_release(&b);
	return a;
}

/* These are too large for the stack. */
static struct server server, second_server;
static struct client clients[3];

TEST(calls_are_answered_out_of_order)
{
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		struct bench b;
		struct client *c = &clients[0];

		bench_init(&b);
		if (tcp)
			bench_use_tcp(&b);
		client_open(c, &b);
		for (unsigned i = 0; i < CALLS; i++)
			ask(c, WAIT_USEC, i);
		server_open(&server, &b, 32);
		WAIT(&b, c->answered == CALLS);
		CHECK_INT(c->failed, 0);
		CHECK_INT(server.requests, CALLS);
		pipe_close(c->pipe);
		pipe_close(server.pipe);
		bench_release(&b);
	}
}

/* Several callers; each one's calls are all answered in one go, and none of the replies is lost. */
TEST(many_replies_at_once)
{
	struct bench b;

	bench_init(&b);
	server_open(&server, &b, ARRAY_SIZE(clients) * 64);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		client_open(&clients[i], &b);
		for (unsigned n = 0; n < 320; n++)
			ask(&clients[i], WAIT_USEC, 2000);
	}
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		WAIT(&b, clients[i].answered == 320);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		pipe_close(clients[i].pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* Calls that take long hold the others up for a moment only. */
TEST(slow_calls_let_others_pass)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	server.at_once_from = 200;
	client_open(c, &b);
	for (unsigned i = 0; i < 300; i++)
		ask(c, WAIT_USEC, 0);
	WAIT(&b, c->answered == 100);
	CHECK_INT(server.count, 200);
	/* A few at a time: nobody waits for them any more. */
	while (server.count > 0) {
		answer(server.kept[server.count - 1], server.number[server.count - 1]);
		server.count--;
		WAIT(&b, c->answered == 300 - server.count);
	}
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

TEST(too_many_calls)
{
	struct bench b;
	struct client *c = &clients[0];
	struct asked *last;

	bench_init(&b);
	client_open(c, &b);
	for (unsigned i = 0; i < CALLS; i++)
		ask(c, WAIT_USEC, 0);
	last = ask(c, WAIT_USEC, 0);
	CHECK(!last->done);
	WAIT(&b, last->done);
	CHECK_INT(last->error, -ENOBUFS);
	CHECK_INT(c->failed, 1);
	CHECK_HELD(CALLS * 4, END_BYTES + CALLS * KIB(1));
	last = ask(c, WAIT_USEC, 0);
	pipe_close(c->pipe);
	CHECK_INT(last->error, -ENOBUFS);
	CHECK_INT(c->failed, CALLS + 2);
	CHECK_INT(c->calls[0].error, -ECANCELED);
	CHECK_INT(c->calls[CALLS - 1].error, -ECANCELED);
	bench_release(&b);
}

TEST(calls_are_bounded_in_bytes)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	client_open(c, &b);
	for (unsigned i = 0; i < 5; i++)
		ask(c, WAIT_USEC, LIMIT_MESSAGE - 4);
	WAIT(&b, c->failed == 1);
	CHECK_INT(c->calls[4].error, -ENOBUFS);
	CHECK_HELD(4 * (LIMIT_MESSAGE - 4), 4 * LIMIT_MESSAGE + END_BYTES);
	/* They are copied once more for the connection, and all of them are taken. */
	server_open(&server, &b, SIZE_MAX);
	WAIT(&b, server.count == 4);
	CHECK_HELD(4 * (LIMIT_MESSAGE - 4), (4 + 4 + 4 + 1) * LIMIT_MESSAGE + 2 * END_BYTES);
	answer_kept(&server);
	WAIT(&b, c->answered == 4);
	ask(c, WAIT_USEC, LIMIT_MESSAGE - 4);
	WAIT(&b, server.count == 1);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	call_drop(server.kept[0]);
	CHECK_HELD(0, 0);
	bench_release(&b);
}

TEST(calls_time_out)
{
	struct bench b;
	struct client *c = &clients[0];
	struct asked *a;

	bench_init(&b);
	client_open(c, &b);
	/* Nobody is there. */
	for (unsigned i = 0; i < 20; i++)
		ask(c, 1000 * (i + 1), 0);
	WAIT(&b, c->failed == 20);
	CHECK_INT(c->calls[0].error, -ETIMEDOUT);
	CHECK_INT(c->calls[19].error, -ETIMEDOUT);
	server_open(&server, &b, SIZE_MAX);
	/* Its reply comes too late, and is not taken for another call's. */
	a = ask(c, 300 * USEC_PER_MSEC, 0);
	WAIT(&b, a->done && server.count > 0 && server.number[server.count - 1] == a->number);
	CHECK_INT(a->error, -ETIMEDOUT);
	answer_kept(&server);
	server.at_once_from = 0;
	ask(c, WAIT_USEC, 0);
	WAIT(&b, c->answered == 1);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

TEST(dropped_call_times_out)
{
	struct bench b;
	struct client *c = &clients[0];
	struct asked *a;

	bench_init(&b);
	client_open(c, &b);
	server_open(&server, &b, SIZE_MAX);
	a = ask(c, 500 * USEC_PER_MSEC, 0);
	WAIT(&b, server.count == 1);
	call_drop(server.kept[0]);
	WAIT(&b, a->done);
	CHECK_INT(a->error, -ETIMEDOUT);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* What a server had taken when it went, and what is asked while there is none, the next one
 * answers. */
TEST(server_restarts)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	client_open(c, &b);
	server_open(&server, &b, SIZE_MAX);
	for (unsigned i = 0; i < 10; i++)
		ask(c, WAIT_USEC, 0);
	WAIT(&b, server.count == 10);
	pipe_close(server.pipe);
	answer_kept(&server); /* goes nowhere */
	ask(c, WAIT_USEC, 0);
	server_open(&second_server, &b, 1);
	WAIT(&b, c->answered == 11);
	CHECK_INT(second_server.requests, 11);
	pipe_close(c->pipe);
	pipe_close(second_server.pipe);
	bench_release(&b);
}

TEST(client_goes_before_the_reply)
{
	struct bench b;

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	client_open(&clients[0], &b);
	ask(&clients[0], WAIT_USEC, 0);
	WAIT(&b, server.count == 1);
	pipe_close(clients[0].pipe);
	CHECK_INT(clients[0].calls[0].error, -ECANCELED);
	client_open(&clients[0], &b);
	ask(&clients[0], WAIT_USEC, 0);
	WAIT(&b, server.count == 2);
	answer_kept(&server);
	WAIT(&b, clients[0].answered == 1);
	pipe_close(clients[0].pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* A reply is written and not yet sent, a request is held: closing the server frees both. */
TEST(server_closes_with_work_in_hand)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	client_open(c, &b);
	for (unsigned i = 0; i < 60; i++)
		ask(c, WAIT_USEC, 0);
	WAIT(&b, server.count == 60);
	for (unsigned i = 0; i < 50; i++)
		answer(server.kept[i], server.number[i]);
	pipe_close(server.pipe);
	for (unsigned i = 50; i < 60; i++)
		call_drop(server.kept[i]);
	pipe_close(c->pipe);
	bench_release(&b);
}

TEST(close_in_done)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	for (unsigned late = 0; late < 2; late++) {
		client_open(c, &b);
		c->closes = true;
		if (!late)
			server_open(&server, &b, 1);
		for (unsigned i = 0; i < 100; i++)
			ask(c, late ? 1000 : WAIT_USEC, 0);
		WAIT(&b, !c->pipe);
		CHECK_INT(c->answered + c->failed, 100);
		CHECK_INT(c->calls[99].error, -ECANCELED);
		if (!late)
			pipe_close(server.pipe);
	}
	bench_release(&b);
}

/* Callers that do not keep to the rules, by hand. */

TEST(request_without_an_id)
{
	struct bench b;
	struct closed closed;
	int fd;

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	for (unsigned n = 0; n < 2; n++) {
		fd = raw_connect_as(&b, 48);
		raw_watch(&closed, &b, fd);
		raw_send(fd, n ? 8 : 3,
			 n ? SPAN_LITERAL("\0\0\0\1\0\0\0\0") : SPAN_LITERAL("\x80\0\0"));
		WAIT(&b, closed.is);
		close(fd);
	}
	CHECK_INT(server.requests, 0);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* It asks more than is kept for one caller: the rest has to wait. */
TEST(caller_with_too_many_requests)
{
	struct bench b;
	struct client *c = &clients[0];
	struct buf requests;
	int fd;

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	fd = raw_connect_as(&b, 48);
	buf_init(&requests, KIB(64));
	for (unsigned n = 0; n < CALLS + 100; n++)
		buf_append(&requests, SPAN_LITERAL("\1\0\0\0\0\0\0\0\10\x80\0\0\1\0\0\0\0"));
	CHECK_INT(send(fd, requests.ptr, requests.len, 0), requests.len);
	buf_release(&requests);
	WAIT(&b, server.requests == CALLS);
	/* Others are served meanwhile. */
	server.at_once_from = 1;
	client_open(c, &b);
	c->count = 1;
	for (unsigned n = 1; n <= 5; n++) {
		ask(c, WAIT_USEC, 0);
		WAIT(&b, c->answered == n);
	}
	CHECK_INT(server.requests, CALLS + 5);
	answer_kept(&server);
	WAIT(&b, server.requests == CALLS + 105);
	answer_kept(&server);
	close(fd);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* It does not read its replies: it is cut off before they take too much memory. */
TEST(caller_that_does_not_read)
{
	struct bench b;
	struct closed closed;
	struct buf reply;
	int64_t most = 0;
	int fd;

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	fd = raw_connect_as(&b, 48);
	for (unsigned n = 0; n < 16; n++)
		raw_send(fd, 8, SPAN_LITERAL("\x80\0\0\1\0\0\0\0"));
	WAIT(&b, server.count == 16);
	buf_init(&reply, LIMIT_MESSAGE);
	memset(buf_extend(&reply, LIMIT_MESSAGE), 0, LIMIT_MESSAGE);
	/* One that is being written and seven in the queue, for which it doubles. */
	for (unsigned n = 0; n < 16; n++) {
		call_reply(server.kept[n], buf_span(&reply));
		CHECK_HELD(0, (16 + 1) * LIMIT_MESSAGE + 2 * END_BYTES);
		if (endpoint_memory_bytes(NULL) > most)
			most = endpoint_memory_bytes(NULL);
	}
	CHECK(most >= 8 * LIMIT_MESSAGE);
	CHECK_HELD(0, LIMIT_MESSAGE + 2 * END_BYTES);
	raw_watch(&closed, &b, fd);
	WAIT(&b, closed.is);
	close(fd);
	buf_release(&reply);
	pipe_close(server.pipe);
	bench_release(&b);
}

#define CALLERS 256

/* One more than there may be is cut off; and gets in when another is gone. */
TEST(callers_are_bounded)
{
	struct bench b;
	struct closed closed;
	int fds[CALLERS], fd;

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	for (unsigned i = 0; i < CALLERS; i++) {
		fds[i] = raw_connect_as(&b, 48);
		raw_send(fds[i], 8, SPAN_LITERAL("\x80\0\0\1\0\0\0\0"));
		WAIT(&b, server.count == i + 1);
	}
	CHECK_HELD(CALLERS * KIB(128), CALLERS * (KIB(128) + SMALL_BYTES) + SMALL_BYTES);
	fd = raw_connect_as(&b, 48);
	raw_watch(&closed, &b, fd);
	raw_send(fd, 8, SPAN_LITERAL("\x80\0\0\1\0\0\0\0"));
	WAIT(&b, closed.is);
	close(fd);
	CHECK_INT(server.count, CALLERS);
	raw_watch(&closed, &b, fds[0]);
	shutdown(fds[0], SHUT_RDWR);
	WAIT(&b, closed.is);
	client_open(&clients[0], &b);
	ask(&clients[0], WAIT_USEC, 0);
	server.at_once_from = 0;
	WAIT(&b, clients[0].answered == 1);
	for (unsigned i = 0; i < CALLERS; i++) {
		call_drop(server.kept[i]);
		close(fds[i]);
	}
	pipe_close(clients[0].pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

#define DEAF 4

/* What waits for all callers is bounded: some that read nothing do not take the place of one that
 * does. */
TEST(callers_that_do_not_read)
{
	struct bench b;
	struct client *c = &clients[0];
	struct buf reply;
	int64_t most = 0;
	int fds[DEAF];

	bench_init(&b);
	server_open(&server, &b, SIZE_MAX);
	for (unsigned i = 0; i < DEAF; i++) {
		fds[i] = raw_connect_as(&b, 48);
		for (unsigned n = 0; n < 4; n++)
			raw_send(fds[i], 8, SPAN_LITERAL("\x80\0\0\1\0\0\0\0"));
		WAIT(&b, server.count == 4 * (i + 1));
	}
	client_open(c, &b);
	ask(c, WAIT_USEC, 0);
	WAIT(&b, server.count == 4 * DEAF + 1);
	buf_init(&reply, LIMIT_MESSAGE);
	memset(buf_extend(&reply, LIMIT_MESSAGE), 0, LIMIT_MESSAGE);
	for (unsigned n = 0; n < 4 * DEAF; n++) {
		call_reply(server.kept[n / DEAF + n % DEAF * 4], buf_span(&reply));
		CHECK_HELD(0, (2 * 8 + 1) * LIMIT_MESSAGE + (2 + DEAF) * END_BYTES);
		if (endpoint_memory_bytes(NULL) > most)
			most = endpoint_memory_bytes(NULL);
	}
	CHECK(most >= 8 * LIMIT_MESSAGE);
	/* It may have to come back and to ask again. */
	call_reply(server.kept[4 * DEAF], buf_span(&reply));
	CHECK_HELD(0, (2 * 8 + 1) * LIMIT_MESSAGE + (2 + DEAF) * END_BYTES);
	server.at_once_from = 0;
	WAIT(&b, c->answered == 1);
	CHECK_INT(c->failed, 0);
	buf_release(&reply);
	for (unsigned i = 0; i < DEAF; i++)
		close(fds[i]);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* A late reply is not taken for that of a call with the same place in the table. */
TEST(late_reply_of_a_reused_place)
{
	struct bench b;
	struct client *c = &clients[0];

	bench_init(&b);
	client_open(c, &b);
	server_open(&server, &b, SIZE_MAX);
	ask(c, 500 * USEC_PER_MSEC, 0);
	WAIT(&b, server.count == 1 && c->failed == 1);
	server.at_once_from = 1;
	for (unsigned n = 1; n < CALLS; n++)
		ask(c, WAIT_USEC, 0);
	WAIT(&b, c->answered == CALLS - 1);
	server.at_once_from = UINT32_MAX;
	ask(c, WAIT_USEC, 0);
	WAIT(&b, server.count == 2);
	answer(server.kept[0], server.number[0]);
	answer(server.kept[1], server.number[1]);
	WAIT(&b, c->answered == CALLS);
	pipe_close(c->pipe);
	pipe_close(server.pipe);
	bench_release(&b);
}

/* A subscriber that is held gets the newest, and little of what was before. */
struct listener {
	struct bench *bench;
	uint32_t last;
	unsigned heard;
};

static void listener_message(void *arg, struct span message)
{
	struct listener *l = arg;
	struct reader r = reader_of(message);
	uint32_t number = 0;

	CHECK_INT(reader_get_u32(&r, &number), 0);
	CHECK(l->heard == 0 || number > l->last);
	l->last = number;
	l->heard++;
	loop_quit(l->bench->loop, 0);
}

TEST(subscriber_that_does_not_read)
{
	struct bench b;
	struct listener heard = {.bench = &b};
	struct pipe_handler h = {.message = listener_message, .arg = &heard};
	struct pipe *pub, *sub;
	struct guard guard;
	struct buf message;
	uint32_t number = 0;

	bench_init(&b);
	buf_init(&message, 20000);
	CHECK_INT(pipe_listen_pub(b.loop, b.url, &pub), 0);
	CHECK_INT(pipe_dial_sub(b.loop, b.url, &h, &sub), 0);
	while (number < 3000 || heard.heard == 0) {
		buf_clear(&message);
		buf_put_u32(&message, ++number);
		memset(buf_extend(&message, 10000), 0, 10000);
		CHECK_INT(pipe_send(pub, buf_span(&message)), 0);
		if (heard.heard > 0)
			continue; /* the loop does not run any more: nothing is read */
		guard_set(&guard, b.loop, USEC_PER_MSEC);
		loop_run(b.loop);
		guard_cancel(&guard);
	}
	/* One queue is being written, one waits; both doubled. And what both ends read ahead. */
	CHECK_HELD(2 * KIB(64), 2 * KIB(128) + 2 * (KIB(128) + SMALL_BYTES));
	WAIT(&b, heard.last == number);
	CHECK(heard.heard < 200);
	buf_release(&message);
	pipe_close(sub);
	pipe_close(pub);
	bench_release(&b);
}
