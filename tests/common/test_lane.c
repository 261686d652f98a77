#include "common/lane.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/pipe.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define WINDOW 2000 /* messages sent and not yet acknowledged */

/* A loop that is run until something is so; every callback here lets it look again. */
struct bench {
	struct loop *loop;
	char url[96];
};

static void bench_init(struct bench *b)
{
	*b = (struct bench){.loop = loop_new()};
	snprintf(b->url, sizeof(b->url), "ipc://%s/lane", test_folder());
}

static void bench_release(struct bench *b)
{
	loop_free(b->loop);
}

/* Twice the time in which upstream says OPEN again. */
#define NOTHING_COMES_USEC (400 * USEC_PER_MSEC)

static void pass(struct bench *b, uint64_t usec)
{
	struct guard guard;

	guard_set(&guard, b->loop, usec);
	while (!guard.has_fired)
		loop_run(b->loop);
	guard_cancel(&guard);
}

#define WAIT(b, cond) RUN_UNTIL((b)->loop, cond)

/* Set in the process that a test starts and kills: what is wrong there ends it, and its parent sees
 * that. */
static bool is_peer;
#define PEER_FAILED 3

#define HOLDS(cond)                                                                                \
	do {                                                                                       \
		if (cond)                                                                          \
			break;                                                                     \
		if (is_peer)                                                                       \
			_exit(PEER_FAILED);                                                        \
		test_fail(__FILE__, __LINE__, "%s", #cond);                                        \
	} while (0)

/*
 * What every message says, in both directions: the number that the sender gave the session, the
 * message's place in the session, and its ticket. The sender keeps what is not acknowledged, as
 * ingest does, and begins each session with that.
 */
struct note {
	uint32_t session;
	uint32_t place;
	uint64_t ticket;
};

static void put_note(struct buf *b, struct note n)
{
	buf_put_u32(b, n.session);
	buf_put_u32(b, n.place);
	buf_put_u64(b, n.ticket);
}

static struct note get_note(struct reader *r)
{
	struct note n = {0};

	HOLDS(reader_get_u32(r, &n.session) == 0);
	HOLDS(reader_get_u32(r, &n.place) == 0);
	HOLDS(reader_get_u64(r, &n.ticket) == 0);
	return n;
}

struct sender {
	struct loop *loop;
	struct lane *lane;
	bool open;
	unsigned opened, closed, foreign;
	struct note next;
	uint64_t until;        /* tickets */
	uint32_t next_ack;     /* its place */
	uint64_t acknowledged; /* all tickets below */
	unsigned full;         /* times that lane_send gave -EAGAIN */
	bool closes;           /* the lane, in the next callback */
};

static void sender_called(struct sender *s)
{
	loop_quit(s->loop, 0);
	if (s->closes) {
		lane_close(s->lane);
		s->lane = NULL;
	}
}

static void sender_send(struct sender *s)
{
	while (lane_is_writable(s->lane) && s->next.ticket < s->until &&
	       s->next.ticket < s->acknowledged + WINDOW) {
		struct buf *b = lane_start(s->lane, MESSAGE_EVENTS);
		size_t size = s->next.ticket * 7919 % 9973;
		int r;

		put_note(b, s->next);
		memset(buf_extend(b, size), 0, size);
		s->next.place++;
		s->next.ticket++;
		r = lane_send(s->lane);
		HOLDS(r == 0 || r == -EAGAIN);
		s->full += r == -EAGAIN;
	}
}

static void sender_opened(void *arg)
{
	struct sender *s = arg;

	HOLDS(!s->open);
	HOLDS(lane_is_open(s->lane));
	s->open = true;
	s->opened++;
	s->next.session++;
	s->next.place = 0;
	s->next.ticket = s->acknowledged;
	s->next_ack = 0;
	sender_send(s);
	sender_called(s);
}

static void sender_closed(void *arg)
{
	struct sender *s = arg;

	HOLDS(s->open);
	HOLDS(!lane_is_open(s->lane));
	s->open = false;
	s->closed++;
	sender_called(s);
}

static int sender_message(void *arg, enum message_type type, struct reader body)
{
	struct sender *s = arg;
	struct note n = get_note(&body);

	HOLDS(s->open);
	HOLDS(type == MESSAGE_ACKS);
	HOLDS(n.session == s->next.session);
	HOLDS(n.place == s->next_ack);
	HOLDS(n.ticket == s->acknowledged);
	HOLDS(n.ticket < s->next.ticket);
	s->next_ack++;
	s->acknowledged++;
	sender_send(s);
	sender_called(s);
	return 0;
}

static void sender_writable(void *arg)
{
	struct sender *s = arg;

	HOLDS(lane_is_writable(s->lane));
	sender_send(s);
	sender_called(s);
}

static void sender_foreign(void *arg, unsigned version)
{
	struct sender *s = arg;

	HOLDS(version == 2);
	s->foreign++;
	sender_called(s);
}

static void sender_open(struct sender *s, struct loop *l, const char *url)
{
	struct lane_handler h = {.opened = sender_opened,
				 .closed = sender_closed,
				 .message = sender_message,
				 .writable = sender_writable,
				 .foreign = sender_foreign,
				 .arg = s};

	s->loop = l;
	HOLDS(lane_dial_upstream(l, url, &h, &s->lane) == 0);
}

struct receiver {
	struct loop *loop;
	struct lane *lane;
	bool open;
	bool waits; /* does not call lane_ready */
	bool quiet; /* does not acknowledge */
	bool refuses;
	unsigned opened, closed, foreign;
	struct note next;   /* expected */
	struct note answer; /* next to be acknowledged */
	uint64_t received;  /* all tickets below; a session begins at or below it */
	bool fresh;         /* this session has brought nothing yet */
	bool forgets;       /* the sender may begin at 0 again */
	bool closes;
};

static void receiver_called(struct receiver *r)
{
	loop_quit(r->loop, 0);
	if (r->closes) {
		lane_close(r->lane);
		r->lane = NULL;
	}
}

static void acknowledge(struct receiver *r)
{
	while (!r->quiet && lane_is_writable(r->lane) && r->answer.ticket < r->next.ticket) {
		put_note(lane_start(r->lane, MESSAGE_ACKS), r->answer);
		r->answer.place++;
		r->answer.ticket++;
		HOLDS(lane_send(r->lane) != -ENOTCONN);
	}
}

static void receiver_opened(void *arg)
{
	struct receiver *r = arg;

	HOLDS(!r->open);
	HOLDS(!lane_is_open(r->lane));
	r->open = true;
	r->opened++;
	r->fresh = true;
	r->next = r->answer = (struct note){0};
	if (!r->waits)
		lane_ready(r->lane);
	receiver_called(r);
}

static void receiver_closed(void *arg)
{
	struct receiver *r = arg;

	HOLDS(r->open);
	r->open = false;
	r->closed++;
	receiver_called(r);
}

static int receiver_message(void *arg, enum message_type type, struct reader body)
{
	struct receiver *r = arg;
	struct note n = get_note(&body);

	HOLDS(r->open);
	HOLDS(type == MESSAGE_EVENTS);
	if (r->refuses)
		return -EBADMSG;
	if (r->fresh) {
		HOLDS(n.session > r->answer.session);
		HOLDS(n.place == 0);
		HOLDS(r->forgets || n.ticket <= r->received);
		r->next = r->answer = n;
		r->fresh = false;
	}
	HOLDS(n.session == r->next.session);
	HOLDS(n.place == r->next.place);
	HOLDS(n.ticket == r->next.ticket);
	r->next.place++;
	r->next.ticket++;
	if (r->received < r->next.ticket)
		r->received = r->next.ticket;
	acknowledge(r);
	receiver_called(r);
	return 0;
}

static void receiver_writable(void *arg)
{
	struct receiver *r = arg;

	acknowledge(r);
	receiver_called(r);
}

static void receiver_foreign(void *arg, unsigned version)
{
	struct receiver *r = arg;

	HOLDS(version == 2);
	r->foreign++;
	receiver_called(r);
}

static void receiver_open(struct receiver *r, struct loop *l, const char *url)
{
	struct lane_handler h = {.opened = receiver_opened,
				 .closed = receiver_closed,
				 .message = receiver_message,
				 .writable = receiver_writable,
				 .foreign = receiver_foreign,
				 .arg = r};

	r->loop = l;
	HOLDS(lane_listen_downstream(l, url, &h, &r->lane) == 0);
}

static void pair_open(struct bench *b, struct sender *s, struct receiver *r)
{
	bench_init(b);
	sender_open(s, b->loop, b->url);
	receiver_open(r, b->loop, b->url);
}

static void pair_close(struct bench *b, struct sender *s, struct receiver *r)
{
	lane_close(s->lane);
	lane_close(r->lane);
	bench_release(b);
}

TEST(everything_arrives_and_is_acknowledged)
{
	struct bench b;
	struct sender s = {.until = 5000};
	struct receiver r = {0};

	pair_open(&b, &s, &r);
	CHECK(!lane_is_open(s.lane));
	CHECK(!lane_is_writable(s.lane));
	WAIT(&b, s.acknowledged == s.until);
	CHECK(s.full > 0);
	CHECK_INT(s.opened + r.opened, 2);
	CHECK_INT(s.closed + r.closed, 0);
	pair_close(&b, &s, &r);
}

TEST(over_tcp)
{
	struct bench b;
	struct sender s = {.until = 5000};
	struct receiver r = {0};
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK_INT(bind(fd, (struct sockaddr *)&a, len), 0);
	CHECK_INT(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	close(fd);
	bench_init(&b);
	snprintf(b.url, sizeof(b.url), "tcp://127.0.0.1:%u", ntohs(a.sin_port));
	sender_open(&s, b.loop, b.url);
	receiver_open(&r, b.loop, b.url);
	WAIT(&b, s.acknowledged >= s.until / 2);
	lane_reset(r.lane);
	r.open = false;
	WAIT(&b, s.acknowledged == s.until);
	CHECK_INT(s.opened, 2);
	pair_close(&b, &s, &r);
}

TEST(bad_url)
{
	struct bench b;
	struct sender s = {0};
	struct lane_handler h = {.arg = &s};

	bench_init(&b);
	CHECK_INT(lane_dial_upstream(b.loop, "x", &h, &s.lane), -EINVAL);
	CHECK_INT(lane_listen_downstream(b.loop, "ipc:///nonexistent/x", &h, &s.lane), -ENOENT);
	CHECK(!s.lane);
	bench_release(&b);
}

/* A held receiver stops the sender after a bounded number of messages; then all of them come. */
TEST(hold_makes_the_sender_wait)
{
	struct bench b;
	struct sender s = {.until = 1500};
	struct receiver r = {0};

	pair_open(&b, &s, &r);
	r.waits = true;
	WAIT(&b, r.open);
	lane_hold(r.lane, true);
	lane_ready(r.lane);
	WAIT(&b, s.full > 0);
	/* What is on its way, here and in the kernel, is far less than the window. */
	while (lane_is_writable(s.lane))
		sender_send(&s);
	CHECK(s.next.ticket < 300);
	CHECK_INT(r.received, 0);
	lane_hold(r.lane, false);
	WAIT(&b, s.acknowledged == s.until);
	CHECK_INT(s.opened, 1);
	pair_close(&b, &s, &r);
}

TEST(reset_by_downstream)
{
	struct bench b;
	struct sender s = {.until = UINT64_MAX};
	struct receiver r = {0};

	pair_open(&b, &s, &r);
	for (unsigned n = 1; n <= 20; n++) {
		uint64_t goal = r.received + 100;

		WAIT(&b, r.received >= goal);
		lane_reset(r.lane);
		CHECK(!lane_is_open(r.lane));
		r.open = false; /* `closed` does not come */
		WAIT(&b, s.closed == n && r.opened == n + 1 && s.opened == n + 1);
	}
	CHECK_INT(r.closed, 0);
	pair_close(&b, &s, &r);
}

TEST(reset_by_upstream)
{
	struct bench b;
	struct sender s = {.until = UINT64_MAX};
	struct receiver r = {0};

	pair_open(&b, &s, &r);
	for (unsigned n = 1; n <= 20; n++) {
		uint64_t goal = s.acknowledged + 100;

		WAIT(&b, s.acknowledged >= goal);
		lane_reset(s.lane);
		CHECK(!lane_is_open(s.lane));
		CHECK(!lane_is_writable(s.lane));
		s.open = false;
		WAIT(&b, r.closed == n && r.opened == n + 1 && s.opened == n + 1);
	}
	CHECK_INT(s.closed, 0);
	pair_close(&b, &s, &r);
}

TEST(handler_refuses_a_message)
{
	struct bench b;
	struct sender s = {.until = 100};
	struct receiver r = {.refuses = true};

	pair_open(&b, &s, &r);
	WAIT(&b, r.closed == 1);
	r.refuses = false;
	WAIT(&b, s.acknowledged == s.until);
	CHECK(s.closed >= 1);
	pair_close(&b, &s, &r);
}

/* What was begun in one session is not sent in the next. */
TEST(message_does_not_outlive_its_session)
{
	struct bench b;
	struct sender s = {0};
	struct receiver r = {0};

	pair_open(&b, &s, &r);
	CHECK(lane_start(s.lane, MESSAGE_EVENTS) != NULL);
	CHECK_INT(lane_send(s.lane), -ENOTCONN);
	WAIT(&b, s.open);
	put_note(lane_start(s.lane, MESSAGE_EVENTS), (struct note){.session = 99, .place = 99});
	lane_reset(s.lane);
	s.open = false;
	WAIT(&b, s.opened == 2);
	CHECK_INT(lane_send(s.lane), -ENOTCONN);
	put_note(lane_start(s.lane, MESSAGE_EVENTS), (struct note){.session = 99, .place = 99});
	lane_reset(s.lane);
	s.open = false;
	s.until = 10;
	WAIT(&b, s.acknowledged == 10);
	pair_close(&b, &s, &r);
}

TEST(close_in_a_callback)
{
	for (unsigned n = 0; n < 5; n++) {
		struct bench b;
		struct sender s = {.until = n == 4 ? 5000 : 10, .closes = n == 0};
		struct receiver r = {.closes = n == 1, .quiet = n == 4};

		pair_open(&b, &s, &r);
		if (n == 2) {
			r.quiet = true;
			WAIT(&b, r.fresh && s.open);
			r.closes = true;
		} else if (n == 3) {
			WAIT(&b, s.open);
			lane_reset(r.lane);
			r.open = false;
			s.closes = true;
		} else if (n == 4) {
			WAIT(&b, s.full > 0);
			s.closes = true;
		}
		WAIT(&b, !s.lane || !r.lane);
		pair_close(&b, &s, &r);
	}
}

/* By hand: one end is a lane, the other a pipe on which the test writes frames. */

struct raw {
	struct bench *bench;
	struct pipe *pipe;
	unsigned ups, downs;
	uint64_t session; /* of the last OPEN or READY */
	unsigned opens, readies, messages, refusals;
};

static void raw_up(void *arg)
{
	struct raw *w = arg;

	w->ups++;
	loop_quit(w->bench->loop, 0);
}

static void raw_down(void *arg)
{
	struct raw *w = arg;

	w->downs++;
	loop_quit(w->bench->loop, 0);
}

static void raw_message(void *arg, struct span message)
{
	struct raw *w = arg;
	struct reader r = reader_of(message);
	uint8_t version, type;
	uint16_t zero;
	uint32_t number;

	loop_quit(w->bench->loop, 0);
	if (span_equal(message, SPAN_LITERAL("\x01\x09"))) {
		w->refusals++;
		return;
	}
	CHECK_INT(reader_get_u8(&r, &version), 0);
	CHECK_INT(reader_get_u8(&r, &type), 0);
	CHECK_INT(reader_get_u16(&r, &zero), 0);
	CHECK_INT(reader_get_u32(&r, &number), 0);
	CHECK_INT(reader_get_u64(&r, &w->session), 0);
	CHECK_INT(version, 1);
	CHECK_INT(zero, 0);
	CHECK(number == 0 || type == MESSAGE_EVENTS || type == MESSAGE_ACKS);
	w->opens += type == MESSAGE_OPEN;
	w->readies += type == MESSAGE_READY;
	w->messages += type == MESSAGE_EVENTS || type == MESSAGE_ACKS;
}

static void raw_writable(void *arg)
{
	(void)arg;
}

static void raw_open(struct raw *w, struct bench *b, bool listen)
{
	struct pipe_handler h = {.up = raw_up,
				 .down = raw_down,
				 .message = raw_message,
				 .writable = raw_writable,
				 .arg = w};

	*w = (struct raw){.bench = b};
	if (listen)
		CHECK_INT(pipe_listen_pair(b->loop, b->url, &h, &w->pipe), 0);
	else
		CHECK_INT(pipe_dial_pair(b->loop, b->url, &h, &w->pipe), 0);
}

static void raw_frame(struct raw *w, enum message_type type, uint32_t number, uint64_t session,
		      struct note n)
{
	struct buf b;

	buf_init(&b, 64);
	buf_put_u8(&b, 1);
	buf_put_u8(&b, (uint8_t)type);
	buf_put_u16(&b, 0);
	buf_put_u32(&b, number);
	buf_put_u64(&b, session);
	if (type == MESSAGE_EVENTS || type == MESSAGE_ACKS)
		put_note(&b, n);
	CHECK_INT(pipe_send(w->pipe, buf_span(&b)), 0);
	buf_release(&b);
}

static void raw_hex(struct raw *w, const char *hex)
{
	struct buf b;

	buf_init(&b, 64);
	test_hex(hex, &b);
	CHECK_INT(pipe_send(w->pipe, buf_span(&b)), 0);
	buf_release(&b);
}

#define SESSION    0x0807060504030201u
#define IN_SESSION "0102030405060708"

TEST(wrong_frames_end_the_session)
{
	static const struct {
		const char *name, *hex;
	} cases[] = {
		{"empty", ""},
		{"short", "01 03 0000 00000000 01020304050607"},
		{"version", "02 03 0000 01000000 " IN_SESSION},
		{"not zero", "01 03 0001 01000000 " IN_SESSION},
		{"gap", "01 03 0000 02000000 " IN_SESSION},
		{"repeat", "01 03 0000 00000000 " IN_SESSION},
		{"OPEN with a body", "01 01 0000 00000000 " IN_SESSION " 00"},
		{"OPEN with a number", "01 01 0000 01000000 " IN_SESSION},
		{"READY to downstream", "01 02 0000 00000000 " IN_SESSION},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench b;
		struct raw w;
		struct receiver r = {0};

		bench_init(&b);
		receiver_open(&r, b.loop, b.url);
		raw_open(&w, &b, false);
		WAIT(&b, w.ups == 1);
		raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
		raw_frame(&w, MESSAGE_EVENTS, 0, SESSION, (struct note){.session = 1});
		WAIT(&b, w.messages == 1);
		CHECK_INT(r.closed, 0);
		raw_hex(&w, cases[i].hex);
		WAIT(&b, w.downs >= 1);
		if (r.closed != 1 || r.received != 1)
			test_fail(__FILE__, __LINE__, "%s: the session goes on", cases[i].name);
		pipe_close(w.pipe);
		lane_close(r.lane);
		bench_release(&b);
	}
}

TEST(message_before_ready_ends_the_session)
{
	struct bench b;
	struct raw w;
	struct receiver r = {.waits = true};

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	raw_open(&w, &b, false);
	WAIT(&b, w.ups == 1);
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	raw_frame(&w, MESSAGE_EVENTS, 0, SESSION, (struct note){.session = 1});
	WAIT(&b, r.closed == 1);
	CHECK_INT(r.received, 0);
	lane_ready(r.lane); /* too late, and harmless */
	CHECK(!lane_is_open(r.lane));
	pipe_close(w.pipe);
	lane_close(r.lane);
	bench_release(&b);
}

TEST(open_again_is_answered_again)
{
	struct bench b;
	struct raw w;
	struct receiver r = {.waits = true};

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	raw_open(&w, &b, false);
	WAIT(&b, w.ups == 1);
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	WAIT(&b, r.open);
	CHECK_INT(w.readies, 0);
	lane_ready(r.lane);
	raw_frame(&w, MESSAGE_EVENTS, 0, SESSION, (struct note){.session = 1});
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	raw_frame(&w, MESSAGE_EVENTS, 1, SESSION,
		  (struct note){.session = 1, .place = 1, .ticket = 1});
	WAIT(&b, w.readies >= 2 && w.messages == 2);
	CHECK_INT(r.opened, 1);
	CHECK_INT(r.closed, 0);
	pipe_close(w.pipe);
	lane_close(r.lane);
	bench_release(&b);
}

/* Frames of other sessions are dropped unseen; an OPEN of another session is the end of this one;
 * none opens twice. */
TEST(other_sessions)
{
	struct bench b;
	struct raw w;
	struct receiver r = {0};

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	raw_open(&w, &b, false);
	WAIT(&b, w.ups == 1);
	raw_frame(&w, MESSAGE_EVENTS, 0, 77, (struct note){0});
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	raw_frame(&w, MESSAGE_EVENTS, 0, 77, (struct note){0});
	raw_frame(&w, MESSAGE_READY, 0, 77, (struct note){0});
	raw_frame(&w, MESSAGE_EVENTS, 0, SESSION, (struct note){.session = 1});
	WAIT(&b, w.messages == 1);
	raw_frame(&w, MESSAGE_OPEN, 0, 78, (struct note){0});
	WAIT(&b, r.opened == 2);
	CHECK_INT(r.closed, 1);
	raw_frame(&w, MESSAGE_EVENTS, 1, SESSION, (struct note){.session = 1});
	raw_frame(&w, MESSAGE_EVENTS, 0, 78, (struct note){.session = 1});
	WAIT(&b, w.messages == 2);
	CHECK_INT(r.closed, 1);
	lane_reset(r.lane);
	r.open = false;
	WAIT(&b, w.downs >= 1);
	WAIT(&b, w.ups > w.downs && pipe_is_up(w.pipe));
	raw_frame(&w, MESSAGE_OPEN, 0, 78, (struct note){0});
	raw_frame(&w, MESSAGE_OPEN, 0, 79, (struct note){0});
	WAIT(&b, w.session == 79);
	CHECK_INT(r.opened, 3);
	pipe_close(w.pipe);
	lane_close(r.lane);
	bench_release(&b);
}

/* It is told once, and then not listened to, whatever it says, until the connection is another. */
TEST(an_upstream_of_another_version)
{
	struct bench b;
	struct raw w;
	struct receiver r = {0};

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	raw_open(&w, &b, false);
	WAIT(&b, w.ups == 1);
	for (unsigned i = 0; i < 20; i++)
		raw_hex(&w, "02 01 0000 00000000 " IN_SESSION);
	WAIT(&b, r.foreign > 0 && w.refusals > 0);
	raw_hex(&w, "02 99");
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	pass(&b, NOTHING_COMES_USEC);
	CHECK_INT(r.foreign, 1);
	CHECK_INT(w.refusals, 1);
	CHECK_INT(w.readies, 0);
	CHECK_INT(r.opened, 0);
	CHECK_INT(w.downs, 0);
	pipe_break(w.pipe);
	WAIT(&b, w.downs == 1 && w.ups == 2);
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	WAIT(&b, w.readies == 1);
	CHECK_INT(r.opened, 1);
	CHECK_INT(w.refusals, 1);
	pipe_close(w.pipe);
	lane_close(r.lane);
	bench_release(&b);
}

TEST(a_downstream_of_another_version)
{
	struct bench b;
	struct raw w;
	struct sender s = {0};

	bench_init(&b);
	raw_open(&w, &b, true);
	sender_open(&s, b.loop, b.url);
	WAIT(&b, w.opens == 1);
	raw_hex(&w, "02 09");
	raw_hex(&w, "02 02 0000 00000000 " IN_SESSION);
	WAIT(&b, s.foreign > 0);
	raw_frame(&w, MESSAGE_READY, 0, w.session, (struct note){0});
	/* It does not go on asking either. */
	pass(&b, NOTHING_COMES_USEC);
	CHECK_INT(s.foreign, 1);
	CHECK_INT(s.opened, 0);
	CHECK_INT(w.opens, 1);
	CHECK_INT(w.refusals, 0);
	CHECK_INT(w.downs, 0);
	pipe_break(w.pipe);
	WAIT(&b, w.opens == 2);
	raw_frame(&w, MESSAGE_READY, 0, w.session, (struct note){0});
	WAIT(&b, s.open);
	lane_close(s.lane);
	pipe_close(w.pipe);
	bench_release(&b);
}

TEST(close_in_closed_before_opened)
{
	struct bench b;
	struct raw w;
	struct receiver r = {0};

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	raw_open(&w, &b, false);
	WAIT(&b, w.ups == 1);
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION, (struct note){0});
	WAIT(&b, r.open);
	r.closes = true;
	raw_frame(&w, MESSAGE_OPEN, 0, SESSION + 1, (struct note){0});
	WAIT(&b, !r.lane);
	CHECK_INT(r.opened, 1);
	CHECK_INT(r.closed, 1);
	pipe_close(w.pipe);
	bench_release(&b);
}

/* A session that was never ready is not closed either. */
TEST(connection_breaks_before_ready)
{
	struct bench b;
	struct raw w;
	struct sender s = {0};
	uint64_t session;

	bench_init(&b);
	raw_open(&w, &b, true);
	sender_open(&s, b.loop, b.url);
	WAIT(&b, w.opens == 1);
	session = w.session;
	pipe_break(w.pipe);
	WAIT(&b, w.opens == 2);
	CHECK(w.session != session);
	CHECK_INT(s.closed, 0);
	lane_close(s.lane);
	pipe_close(w.pipe);
	bench_release(&b);
}

TEST(upstream_says_open_until_ready)
{
	struct bench b;
	struct raw w;
	struct sender s = {.until = 1};
	uint64_t first;

	bench_init(&b);
	raw_open(&w, &b, true);
	sender_open(&s, b.loop, b.url);
	WAIT(&b, w.opens == 3);
	first = w.session;
	raw_frame(&w, MESSAGE_ACKS, 0, w.session + 1, (struct note){0});
	raw_frame(&w, MESSAGE_READY, 0, w.session + 1, (struct note){0});
	WAIT(&b, w.opens == 4);
	CHECK(!s.open);
	raw_frame(&w, MESSAGE_READY, 0, w.session, (struct note){0});
	raw_frame(&w, MESSAGE_READY, 0, w.session, (struct note){0});
	WAIT(&b, w.messages == 1);
	CHECK_INT(s.opened, 1);
	CHECK_INT(w.session, first);
	raw_frame(&w, MESSAGE_OPEN, 0, w.session, (struct note){0});
	WAIT(&b, s.closed == 1);
	WAIT(&b, w.opens >= 5 && w.session != first);
	lane_close(s.lane);
	pipe_close(w.pipe);
	bench_release(&b);
}

/* The other end in a process of its own, killed and started again while messages flow. */

enum role { ROLE_NONE, ROLE_SENDER, ROLE_RECEIVER };

/* Before main: so the process is this program again, and nng has not been used before the fork. */
__attribute__((constructor)) static void peer_main(void)
{
	const char *url = getenv("LANE_PEER_URL"), *role = getenv("LANE_PEER_ROLE");
	static struct sender s = {.until = UINT64_MAX};
	static struct receiver r = {.forgets = true};
	struct loop *l;

	if (!url || !role)
		return;
	is_peer = true;
	l = loop_new();
	if (role[0] == 's') {
		s.next.session = (uint32_t)getpid() << 8;
		sender_open(&s, l, url);
	} else {
		receiver_open(&r, l, url);
	}
	for (;;)
		loop_run(l);
}

static pid_t peer_start(const char *url, enum role role)
{
	char url_entry[128];
	char *args[] = {(char[]){"peer"}, NULL};
	char *sender_environment[] = {url_entry, (char[]){"LANE_PEER_ROLE=sender"}, NULL};
	char *receiver_environment[] = {url_entry, (char[]){"LANE_PEER_ROLE=receiver"}, NULL};
	pid_t pid;

	snprintf(url_entry, sizeof(url_entry), "LANE_PEER_URL=%s", url);
	pid = fork();
	if (pid == 0) {
		execve("/proc/self/exe", args,
		       role == ROLE_SENDER ? sender_environment : receiver_environment);
		_exit(127);
	}
	CHECK(pid > 0);
	return pid;
}

static void peer_kill(pid_t pid)
{
	int status = 0;

	kill(pid, SIGKILL);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#define KILLS 15

TEST(downstream_is_killed)
{
	struct bench b;
	struct sender s = {.until = UINT64_MAX};
	pid_t peer;

	bench_init(&b);
	sender_open(&s, b.loop, b.url);
	peer = peer_start(b.url, ROLE_RECEIVER);
	for (unsigned n = 0; n < KILLS; n++) {
		unsigned opened = s.opened;
		uint64_t goal = s.acknowledged + 1 + test_random() % 3000;

		WAIT(&b, s.acknowledged >= goal);
		CHECK(s.opened > 0);
		peer_kill(peer);
		peer = peer_start(b.url, ROLE_RECEIVER);
		opened = s.opened;
		WAIT(&b, s.opened > opened);
	}
	s.until = s.next.ticket + 100;
	sender_send(&s);
	WAIT(&b, s.acknowledged == s.until);
	peer_kill(peer);
	WAIT(&b, !s.open);
	CHECK_INT(s.closed, s.opened);
	lane_close(s.lane);
	bench_release(&b);
}

TEST(upstream_is_killed)
{
	struct bench b;
	struct receiver r = {.forgets = true};
	pid_t peer;

	bench_init(&b);
	receiver_open(&r, b.loop, b.url);
	peer = peer_start(b.url, ROLE_SENDER);
	for (unsigned n = 0; n < KILLS; n++) {
		uint64_t goal = 1 + test_random() % 3000;
		unsigned opened;

		WAIT(&b, r.open && !r.fresh && r.next.ticket >= goal);
		opened = r.opened;
		peer_kill(peer);
		peer = peer_start(b.url, ROLE_SENDER);
		WAIT(&b, r.opened > opened && r.open);
	}
	WAIT(&b, !r.fresh && r.next.ticket >= 1000);
	peer_kill(peer);
	WAIT(&b, !r.open);
	CHECK_INT(r.closed, r.opened);
	lane_close(r.lane);
	bench_release(&b);
}
