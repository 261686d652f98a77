/* The recorded scenarios against a running relay: what may come out comes out byte for byte but for
 * seq, and what must not is followed by the next that may. */
#include "tests/lib/frame.h"
#include "tests/lib/group.h"
#include "tests/lib/network.h"
#include "tests/lib/scenario.h"
#include "tests/test.h"

struct replay {
	struct scenario scenario;
	struct loop *loop;
	struct fake_host *host;    /* of the scenario */
	struct fake_host *witness; /* sends an event behind each of the scenario's */
	struct repo repo;          /* the witness's account */
	uint64_t witness_seq;
	struct fake_directory *directory;
	struct group_test *group;
	struct consumer consumer;
	uint64_t sent, due;
	struct buf frame;
};

static void replay_open(struct replay *r, const char *name, bool is_legacy)
{
	char hosts[64], plc[64], legacy[64];
	const char *settings[4] = {hosts, plc, is_legacy ? legacy : NULL, NULL};

	*r = (struct replay){.loop = loop_new()};
	scenario_read(name, &r->scenario);
	buf_init(&r->frame, LIMIT_FRAME);
	repo_init(&r->repo, CURVE_P256, "a witness");
	r->host = fake_host_new(r->loop, free_port());
	r->witness = fake_host_new(r->loop, free_port());
	r->directory = fake_directory_new(r->loop, free_port());
	fake_directory_put(r->directory, r->scenario.did, &r->scenario.key, fake_host_url(r->host),
			   r->scenario.handle);
	fake_directory_put(r->directory, r->repo.did, &r->repo.key.public,
			   fake_host_url(r->witness), "witness.test");
	snprintf(hosts, sizeof(hosts), "ingest.hosts=%s %s", fake_host_name(r->host),
		 fake_host_name(r->witness));
	snprintf(plc, sizeof(plc), "resolve.plc_url=%s", fake_directory_url(r->directory));
	snprintf(legacy, sizeof(legacy), "validate.legacy_hosts=%s", fake_host_name(r->host));
	r->group = group_new(r->loop, settings);
	group_start(r->group);
	consumer_open(&r->consumer, r->group, 0);
}

static void replay_close(struct replay *r)
{
	consumer_close(&r->consumer);
	group_free(r->group);
	fake_host_free(r->host);
	fake_host_free(r->witness);
	fake_directory_free(r->directory);
	repo_release(&r->repo);
	scenario_release(&r->scenario);
	buf_release(&r->frame);
	loop_free(r->loop);
}

static bool are_subscribed(void *arg)
{
	const struct replay *r = arg;

	return fake_host_subscribers(r->host) == 1 && fake_host_subscribers(r->witness) == 1;
}

static bool has_due(void *arg)
{
	const struct replay *r = arg;

	return r->consumer.count >= r->due || r->consumer.closed;
}

/* Whatever was to come of the frames sent so far has come: each is acknowledged or dropped. */
static void wait_decided(struct replay *r)
{
	int64_t acknowledged, dropped;

	group_wait_metric(r->group, "ingest", "relay_frames_received_total", "", (int64_t)r->sent);
	dropped = group_metric(r->group, "ingest", "relay_frames_dropped_total", "");
	acknowledged = (int64_t)r->sent - dropped;
	group_wait_metric(r->group, "ingest", "relay_events_acknowledged_total", "", acknowledged);
}

static void check_last(const struct replay *r, struct span sent)
{
	struct span got_before, got_after, sent_before, sent_after;

	if (r->consumer.count != r->due) {
		test_fail(__FILE__, __LINE__, "%zu events came out, not %ju", r->consumer.count,
			  (uintmax_t)r->due);
		return;
	}
	CHECK_INT(r->consumer.list[r->due - 1].seq, r->due);
	frame_split(consumer_frame(&r->consumer, r->due - 1), &got_before, &got_after);
	frame_split(sent, &sent_before, &sent_after);
	CHECK(sent_before.len > 0);
	CHECK_SPAN(got_before, sent_before);
	CHECK_SPAN(got_after, sent_after);
}

/* An event of the witness, which comes out next, or something came out that must not. */
static void send_witness(struct replay *r)
{
	struct repo_commit commit;
	char path[64];

	r->witness_seq++;
	snprintf(path, sizeof(path), "com.example.record/%ju", (uintmax_t)r->witness_seq);
	repo_put_number(&r->repo, path, r->witness_seq);
	repo_commit(&r->repo, clock_usec(), &commit);
	buf_clear(&r->frame);
	frame_put_commit(&r->frame, r->witness_seq, &commit);
	repo_commit_release(&commit);
	fake_host_send(r->witness, r->witness_seq, buf_span(&r->frame));
	r->sent++;
	r->due++;
	wait_until(r->loop, has_due, r, "the witness's event");
	check_last(r, buf_span(&r->frame));
}

static void send_message(struct replay *r, const struct scenario_message *m, bool drop)
{
	fake_host_send_once(r->host, m->frame);
	r->sent++;
	if (!drop) {
		r->due++;
		wait_until(r->loop, has_due, r, "an event of the scenario");
		check_last(r, m->frame);
	}
	wait_decided(r);
	send_witness(r);
}

static bool is_commit(struct span frame)
{
	return test_contains(frame, "#commit");
}

/* Without tolerance a lenient scenario's commits are dropped, for what they lack. */
static void replay(const char *name, bool is_legacy)
{
	struct replay r;
	unsigned refused = 0, dropped = 0;

	if (!test_vectors())
		SKIP("no recorded scenarios");
	replay_open(&r, name, is_legacy);
	wait_until(r.loop, are_subscribed, &r, "both hosts have their subscriber");
	send_witness(&r);
	for (size_t i = 0; i < r.scenario.count && !test_has_failed(); i++) {
		const struct scenario_message *m = &r.scenario.messages[i];
		bool lacks = r.scenario.is_lenient && !is_legacy && !m->drop && is_commit(m->frame);

		send_message(&r, m, m->drop || lacks);
		refused += lacks;
		dropped += m->drop;
	}
	CHECK_INT(group_metric(r.group, "ingest", "relay_frames_dropped_total",
			       "\"sequence_not_rising\""),
		  dropped);
	CHECK_INT(group_metric(r.group, "ingest", "relay_events_acknowledged_total",
			       "\"prev_data_missing\""),
		  refused);
	CHECK_INT(refused > 0, r.scenario.is_lenient && !is_legacy);
	CHECK_INT(fake_host_subscribers(r.host), 1);
	CHECK(!r.consumer.bad && !r.consumer.closed);
	replay_close(&r);
}

TEST(posts_and_their_deletions)
{
	replay("post_lifecycle", false);
}

TEST(an_account_from_its_making_to_its_end)
{
	replay("account_lifecycle", false);
}

TEST(numbers_that_do_not_rise)
{
	replay("seq_ordering", true);
}

TEST(a_legacy_host)
{
	replay("legacy", true);
}

TEST(numbers_that_do_not_rise_on_a_host_that_is_not_tolerated)
{
	replay("seq_ordering", false);
}

TEST(a_legacy_host_that_is_not_tolerated)
{
	replay("legacy", false);
}
