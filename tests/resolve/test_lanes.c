#include "resolve/lanes.h"

#include <stdio.h>

#include "common/pipe.h"
#include "tests/lib/capture.h"
#include "tests/resolve/fixture.h"

/* Lanes over real pipes; lookups are answered from a cache, or not at all: nothing is fetched. */
struct bench {
	struct fixture f;
	struct cache *cache;
	struct names *names;
	struct directories *directories;
	struct resolver *resolver;
	struct lanes *lanes;
	struct peer {
		struct pipe *pipe;
		unsigned ups, downs, answers, refusals;
		struct identity last; /* without its spans */
		char pds[LIMIT_HOST + 1];
	} peers[2];
	void *asker; /* who was answered last */
};

static struct bench *answering; /* resolver_options.answer has no argument for it */

static void answer(void *asker, const struct identity *identity)
{
	answering->asker = asker;
	lanes_answer(asker, identity);
}

static void on_up(void *arg)
{
	((struct peer *)arg)->ups++;
}

static void on_writable(void *arg)
{
	(void)arg;
}

static void on_down(void *arg)
{
	((struct peer *)arg)->downs++;
}

static void on_message(void *arg, struct span message)
{
	struct reader r = reader_of(message);
	struct peer *p = arg;
	enum message_type type;
	struct identity identity;

	CHECK_INT(message_get_type(&r, &type), 0);
	if (type == MESSAGE_REFUSED) {
		CHECK_INT(r.left, 0);
		p->refusals++;
		return;
	}
	CHECK_INT(type, MESSAGE_IDENTITY);
	CHECK_INT(identity_decode(&r, &identity), 0);
	CHECK_INT(r.left, 0);
	CHECK_INT(span_to_str(identity.pds, p->pds, sizeof(p->pds)), 0);
	/* Answers keep the order in which they were given. */
	CHECK(p->last.status == IDENTITY_FOUND || identity.fetched_usec >= p->last.fetched_usec);
	p->last = identity;
	p->answers++;
}

static bool peers_are_up(void *arg)
{
	const struct bench *b = arg;

	return b->peers[0].ups > b->peers[0].downs && b->peers[1].ups > b->peers[1].downs;
}

static const struct span known = SPAN_LITERAL("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa");
static const struct span unknown = SPAN_LITERAL("did:plc:bbbbbbbbbbbbbbbbbbbbbbbb");

static void open_resolver(struct bench *b)
{
	struct cache_entry e = {.status = IDENTITY_FOUND,
				.fetched_usec = clock_usec(),
				.key = {.curve = CURVE_K256, .point = {2}},
				.pds = "pds.example.com",
				.handle = "alice.test"};
	struct resolver_options o;
	char bad[64];

	CHECK_INT(cache_open(test_folder(), b->f.config, &b->cache), 0);
	CHECK_INT(cache_put(b->cache, known, &e), 0);
	b->names = names_new(b->f.loop, NULL);
	o = (struct resolver_options){.config = b->f.config,
				      .loop = b->f.loop,
				      .metrics = b->f.metrics,
				      .memory = b->f.memory,
				      .policy = b->f.policy,
				      .cache = b->cache,
				      .http = b->f.http,
				      .names = b->names,
				      .answer = answer};
	answering = b;
	CHECK_INT(directories_new(b->f.config, b->f.policy, bad, sizeof(bad), &b->directories), 0);
	o.directories = b->directories;
	b->resolver = resolver_new(&o);
}

static void bench_open(struct bench *b)
{
	static const char *const sets[] = {"resolve.concurrency=0", NULL};
	const char *folder = test_folder();

	*b = (struct bench){0};
	fixture_open(&b->f, sets);
	open_resolver(b);
	b->lanes = lanes_new(b->f.loop, b->f.metrics, b->f.memory);
	for (unsigned i = 0; i < 2; i++) {
		struct pipe_handler handler = {.up = on_up,
					       .down = on_down,
					       .message = on_message,
					       .writable = on_writable,
					       .arg = &b->peers[i]};
		char url[128];

		snprintf(url, sizeof(url), "ipc://%s.lane%u", folder, i);
		CHECK_INT(lanes_add(b->lanes, b->resolver, url), 0);
		CHECK_INT(pipe_dial_pair(b->f.loop, url, &handler, &b->peers[i].pipe), 0);
	}
	CHECK(fixture_wait(&b->f, peers_are_up, b));
}

static void bench_close(struct bench *b)
{
	for (unsigned i = 0; i < 2; i++)
		pipe_close(b->peers[i].pipe);
	fixture_close_http(&b->f);
	names_free(b->names);
	lanes_close(b->lanes);
	resolver_free(b->resolver);
	directories_free(b->directories);
	cache_close(b->cache);
	fixture_close(&b->f);
}

/* A lookup as a message. -EAGAIN. */
static int ask(struct peer *p, struct span did)
{
	const struct lookup l = {.did = did};
	struct buf b;
	int r;

	buf_init(&b, KIB(4));
	message_put_type(&b, MESSAGE_LOOKUP);
	lookup_encode(&b, &l);
	r = pipe_send(p->pipe, buf_span(&b));
	buf_release(&b);
	return r;
}

static bool first_has_answer(void *arg)
{
	return ((const struct bench *)arg)->peers[0].answers > 0;
}

static bool second_has_answer(void *arg)
{
	return ((const struct bench *)arg)->peers[1].answers > 0;
}

TEST(a_lane_is_answered_on_that_lane)
{
	struct bench b;

	bench_open(&b);
	CHECK_INT(ask(&b.peers[0], known), 0);
	CHECK(fixture_wait(&b.f, first_has_answer, &b));
	CHECK_INT(b.peers[0].last.status, IDENTITY_FOUND);
	CHECK_STR(b.peers[0].pds, "pds.example.com");
	b.peers[0].answers = 0;
	CHECK_INT(ask(&b.peers[0], unknown), 0);
	CHECK(fixture_wait(&b.f, first_has_answer, &b));
	CHECK_INT(b.peers[0].last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(b.peers[1].answers, 0);
	bench_close(&b);
}

static bool first_came_again(void *arg)
{
	const struct bench *b = arg;

	return b->peers[0].downs > 0 && b->peers[0].ups > b->peers[0].downs;
}

TEST(what_is_no_lookup_ends_the_connection)
{
	static const char *const messages[] = {"", "\x01", "\x01\x07", "\x01\x06"};

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		struct bench b;

		bench_open(&b);
		CHECK_INT(pipe_send(b.peers[0].pipe, span_str(messages[i])), 0);
		CHECK(fixture_wait(&b.f, first_came_again, &b));
		CHECK_INT(b.peers[1].downs, 0);
		CHECK_INT(fixture_metric(&b.f,
					 "relay_lookup_messages_refused_total{stage=\"resolve\"}"),
			  1);
		/* The next connection is as good as any. */
		CHECK_INT(ask(&b.peers[0], known), 0);
		CHECK(fixture_wait(&b.f, first_has_answer, &b));
		bench_close(&b);
	}
}

#define REFUSED "relay_lookup_messages_refused_total{stage=\"resolve\"}"

static bool all_are_refused(void *arg)
{
	return fixture_metric(&((struct bench *)arg)->f, REFUSED) == 100;
}

TEST(a_peer_of_another_version_is_told_once)
{
	struct capture log;
	struct bench b;

	capture_begin(&log);
	bench_open(&b);
	for (unsigned i = 0; i < 100; i++)
		CHECK_INT(pipe_send(b.peers[0].pipe, SPAN_LITERAL("\x02\x06lookup")), 0);
	CHECK(fixture_wait(&b.f, all_are_refused, &b));
	/* Nor does what comes behind them, of whatever version, on the same connection. */
	CHECK_INT(ask(&b.peers[0], known), 0);
	CHECK_INT(ask(&b.peers[1], known), 0);
	CHECK(fixture_wait(&b.f, second_has_answer, &b));
	CHECK_INT(b.peers[0].refusals, 1);
	CHECK_INT(b.peers[0].answers, 0);
	CHECK_INT(b.peers[0].downs, 0);
	CHECK_INT(capture_count(&log, "validate speaks another version"), 1);
	/* The next connection is as good as any. */
	pipe_break(b.peers[0].pipe);
	CHECK(fixture_wait(&b.f, first_came_again, &b));
	CHECK_INT(ask(&b.peers[0], known), 0);
	CHECK(fixture_wait(&b.f, first_has_answer, &b));
	CHECK_INT(b.peers[0].refusals, 1);
	bench_close(&b);
	capture_end(&log);
}

#define TIMES 40

/* Over and over again, with many messages each time: a few lines, and one message counts for each.
 */
TEST(lines_about_a_peer_are_limited)
{
	struct capture log;
	struct bench b;

	capture_begin(&log);
	bench_open(&b);
	for (unsigned n = 0; n < TIMES; n++) {
		b.peers[0].downs = 0;
		b.peers[0].ups = 1;
		for (unsigned i = 0; i < 10; i++)
			(void)!pipe_send(b.peers[0].pipe, SPAN_LITERAL("\x01\x07"));
		CHECK(fixture_wait(&b.f, first_came_again, &b));
	}
	CHECK(fixture_metric(&b.f, REFUSED) >= TIMES);
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_connections_ended_total{stage=\"resolve\"}"),
		  TIMES);
	CHECK(capture_count(&log, "message refused") <= 10);
	CHECK(capture_count(&log, "connection ended") <= 10);
	bench_close(&b);
	capture_end(&log);
}

#define KEPT    "relay_accounted_bytes{stage=\"resolve\",what=\"outbox\"}"
#define DROPPED "relay_lookup_answers_dropped_total{stage=\"resolve\"}"

#define MANY       20000
#define FULL_TURNS 50 /* in which the pipe takes nothing: then it is full for good */

struct flood {
	struct bench *b;
	unsigned asked, full_turns;
	int64_t most_kept;
};

static unsigned ask_more(struct flood *f)
{
	unsigned before = f->asked;

	while (f->asked < MANY && ask(&f->b->peers[0], unknown) == 0)
		f->asked++;
	return f->asked - before;
}

/* Asks as fast as the pipe takes it while the peer does not read its answers. */
static bool flood_is_held(void *arg)
{
	struct flood *f = arg;
	int64_t kept = fixture_metric(&f->b->f, KEPT);

	if (kept > f->most_kept)
		f->most_kept = kept;
	f->full_turns = ask_more(f) > 0 ? 0 : f->full_turns + 1;
	return f->asked == MANY || (kept >= LANES_HOLD_BYTES && f->full_turns >= FULL_TURNS);
}

static bool flood_is_answered(void *arg)
{
	struct flood *f = arg;

	ask_more(f);
	return f->b->peers[0].answers == MANY;
}

TEST(a_peer_that_does_not_read_has_to_wait)
{
	struct bench b;
	struct flood f = {.b = &b};

	bench_open(&b);
	pipe_hold(b.peers[0].pipe, true);
	CHECK(fixture_wait(&b.f, flood_is_held, &f));
	CHECK(f.asked < MANY);
	CHECK(f.most_kept >= LANES_HOLD_BYTES && f.most_kept <= 2 * LANES_HOLD_BYTES);
	pipe_hold(b.peers[0].pipe, false);
	CHECK(fixture_wait(&b.f, flood_is_answered, &f));
	CHECK_INT(b.peers[0].downs, 0);
	bench_close(&b);
}

/* All that was asked is answered at once, while the peer does not read. */
TEST(answers_that_are_kept_are_bounded)
{
	char did[LIMIT_DID];
	struct identity i = {.status = IDENTITY_FOUND,
			     .fetched_usec = clock_usec(),
			     .did = span_of(did, sizeof(did)),
			     .key = {.curve = CURVE_K256, .point = {2}},
			     .pds = SPAN_LITERAL("pds.example.com")};
	int64_t kept = 0;
	struct bench b;

	memset(did, 'a', sizeof(did));
	memcpy(did, "did:web:", strlen("did:web:"));
	bench_open(&b);
	CHECK_INT(ask(&b.peers[0], known), 0);
	CHECK(fixture_wait(&b.f, first_has_answer, &b));
	pipe_hold(b.peers[0].pipe, true);
	for (unsigned n = 0; n < 2 * LANES_OUTBOX_MAX / LIMIT_DID; n++) {
		lanes_answer(b.asker, &i);
		kept = fixture_metric(&b.f, KEPT);
		CHECK(kept <= LANES_OUTBOX_MAX);
	}
	CHECK(kept > (int64_t)(LANES_OUTBOX_MAX - KIB(4)));
	CHECK(fixture_metric(&b.f, DROPPED) > LANES_OUTBOX_MAX / LIMIT_DID / 2);
	CHECK_INT(b.peers[0].downs, 0);
	/* What is kept is dropped, and the connection ends. */
	pipe_hold(b.peers[0].pipe, false);
	CHECK(fixture_wait(&b.f, first_came_again, &b));
	CHECK_INT(fixture_metric(&b.f, KEPT), 0);
	b.peers[0].answers = 0;
	CHECK_INT(ask(&b.peers[0], known), 0);
	CHECK(fixture_wait(&b.f, first_has_answer, &b));
	CHECK_INT(b.peers[1].downs, 0);
	bench_close(&b);
}
