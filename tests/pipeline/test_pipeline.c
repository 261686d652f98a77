/* The whole group between small fake hosts and consumers: what comes through, what never does, and
 * what survives a kill. */
#include <stdlib.h>

#include "common/cbor.h"
#include "tests/lib/frame.h"
#include "tests/lib/group.h"
#include "tests/lib/network.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

struct scene {
	struct loop *loop;
	struct fake_host *host, *other_host;
	struct fake_directory *directory;
	struct group_test *group;
	struct repo k256, p256;
	uint64_t seq; /* last one the host sent */
	struct buf frame;
};

/* more: settings beside these, NULL at the end. */
static void scene_open_with(struct scene *s, bool is_legacy, const char *const *more)
{
	char hosts[64], plc[64], legacy[64];
	const char *settings[8] = {hosts, plc};
	size_t n = 2;

	if (is_legacy)
		settings[n++] = legacy;
	while (*more && n + 1 < ARRAY_SIZE(settings))
		settings[n++] = *more++;

	*s = (struct scene){.loop = loop_new()};
	buf_init(&s->frame, LIMIT_FRAME);
	s->host = fake_host_new(s->loop, free_port());
	s->other_host = fake_host_new(s->loop, free_port());
	s->directory = fake_directory_new(s->loop, free_port());
	snprintf(hosts, sizeof(hosts), "ingest.hosts=%s %s", fake_host_name(s->host),
		 fake_host_name(s->other_host));
	snprintf(legacy, sizeof(legacy), "validate.legacy_hosts=%s", fake_host_name(s->host));
	snprintf(plc, sizeof(plc), "resolve.plc_url=%s", fake_directory_url(s->directory));
	repo_init(&s->k256, CURVE_K256, "a k256 account");
	repo_init(&s->p256, CURVE_P256, "a p256 account");
	fake_directory_put(s->directory, s->k256.did, &s->k256.key.public, fake_host_url(s->host),
			   "k.test");
	fake_directory_put(s->directory, s->p256.did, &s->p256.key.public, fake_host_url(s->host),
			   "p.test");
	s->group = group_new(s->loop, settings);
	group_start(s->group);
}

static void scene_open(struct scene *s)
{
	scene_open_with(s, false, (const char *const[]){NULL});
}

static void scene_close(struct scene *s)
{
	group_free(s->group);
	repo_release(&s->k256);
	repo_release(&s->p256);
	fake_host_free(s->host);
	fake_host_free(s->other_host);
	fake_directory_free(s->directory);
	buf_release(&s->frame);
	loop_free(s->loop);
}

static bool metric_reaches(struct scene *s, const char *member, const char *metric,
			   const char *labels, int64_t wanted)
{
	return group_wait_metric(s->group, member, metric, labels, wanted);
}

static int64_t refused(struct scene *s, const char *verdict)
{
	char labels[64];
	int64_t count;

	snprintf(labels, sizeof(labels), "verdict=\"%s\"", verdict);
	count = group_metric(s->group, "ingest", "relay_events_acknowledged_total", labels);
	return count < 0 ? 0 : count;
}

static int64_t logged(struct scene *s)
{
	return group_metric(s->group, "store", "relay_log_next_seq", "") - 1;
}

static void send_frame(struct scene *s)
{
	fake_host_send(s->host, s->seq, buf_span(&s->frame));
}

/* One op more in the repository, sent as a commit. */
static void send_commit(struct scene *s, struct repo *r, const char *path, uint64_t number)
{
	struct repo_commit commit;

	if (path)
		repo_put_number(r, path, number);
	repo_commit(r, clock_usec(), &commit);
	buf_clear(&s->frame);
	frame_put_commit(&s->frame, ++s->seq, &commit);
	send_frame(s);
	repo_commit_release(&commit);
}

static void send_numbered(struct scene *s, struct repo *r, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char path[64];

		snprintf(path, sizeof(path), "com.example.record/number-%06u", i);
		send_commit(s, r, path, i);
	}
}

struct count_wait {
	const struct consumer *consumer;
	size_t count;
};

static bool has_count(void *arg)
{
	struct count_wait *w = arg;

	return w->consumer->count >= w->count || w->consumer->closed;
}

/* At least so many. */
static void wait_some(struct scene *s, struct consumer *c, size_t count)
{
	struct count_wait w = {c, count};

	wait_until(s->loop, has_count, &w, "events for the consumer");
	CHECK(!c->bad);
}

/* So many and no more. */
static void wait_count(struct scene *s, struct consumer *c, size_t count)
{
	wait_some(s, c, count);
	CHECK_INT(c->count, count);
}

static void check_contiguous(const struct consumer *c, uint64_t first)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->list[i].seq != first + i) {
			test_fail(__FILE__, __LINE__, "place %zu has seq %" PRIu64 ", not %" PRIu64,
				  i, c->list[i].seq, first + i);
			return;
		}
	}
}

/* The two frames are the same but for seq. */
static void check_faithful(struct span got, struct span sent)
{
	struct span got_before, got_after, sent_before, sent_after;

	frame_split(got, &got_before, &got_after);
	frame_split(sent, &sent_before, &sent_after);
	CHECK(sent_before.len > 0);
	CHECK_SPAN(got_before, sent_before);
	CHECK_SPAN(got_after, sent_after);
}

TEST(every_kind_of_event_comes_through_byte_for_byte)
{
	struct scene s;
	struct consumer live, replay;
	struct buf sent;
	size_t ends[16], n = 0;

	scene_open(&s);
	buf_init(&sent, MIB(1));
	consumer_open(&live, s.group, -1);
	for (unsigned i = 0; i < 2; i++) {
		struct repo *r = i ? &s.p256 : &s.k256;
		struct repo_commit sync;

		for (unsigned step = 0; step < 5; step++) {
			buf_clear(&s.frame);
			if (step == 0)
				frame_put_identity(&s.frame, ++s.seq, r->did,
						   i ? "p.test" : "k.test");
			else if (step == 1)
				frame_put_account(&s.frame, ++s.seq, r->did, true, NULL);
			else if (step == 4)
				frame_put_account(&s.frame, ++s.seq, r->did, false, "deactivated");
			if (step < 2 || step == 4) {
				send_frame(&s);
			} else if (step == 2) {
				send_commit(&s, r, "com.example.record/one", i);
			} else {
				repo_sync(r, clock_usec(), &sync);
				frame_put_sync(&s.frame, ++s.seq, &sync);
				send_frame(&s);
				repo_commit_release(&sync);
			}
			buf_append(&sent, buf_span(&s.frame));
			ends[n++] = sent.len;
			/* One account waits for its identity alone; for one order of all, one at a
			 * time. */
			wait_count(&s, &live, n);
		}
	}
	consumer_open(&replay, s.group, 0);
	wait_count(&s, &replay, n);
	check_contiguous(&live, 1);
	check_contiguous(&replay, 1);
	for (size_t i = 0; i < n && i < live.count && i < replay.count; i++) {
		size_t start = i ? ends[i - 1] : 0;

		check_faithful(consumer_frame(&live, i),
			       span_of(sent.ptr + start, ends[i] - start));
		CHECK_SPAN(consumer_frame(&replay, i), consumer_frame(&live, i));
	}
	consumer_close(&live);
	consumer_close(&replay);
	buf_release(&sent);
	scene_close(&s);
}

/* What a commit says and its signature or its tree vouches for: `blocks`, `ops`, `prevData`,
 * `commit`, `rev` and `repo`. Not vouched for: seq, time, since, and the fields without meaning
 * (blobs, rebase, tooBig). */
static bool is_vouched_for(struct span key)
{
	static const char *const keys[] = {"blocks", "ops", "prevData", "commit", "rev", "repo"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (span_is(key, keys[i]))
			return true;
	return false;
}

/* Header and body are still DAG-CBOR. */
static bool is_whole(struct span frame)
{
	struct reader r = reader_of(frame);

	return cbor_skip(&r, NULL) == 0 && cbor_skip(&r, NULL) == 0 && r.left == 0;
}

/* Sends the frame once for each bit of what is vouched for, flipped; each with a seq of its own.
 * Returns how many. A flip that breaks the frame's CBOR ends the connection: another test. */
static uint64_t send_flipped(struct scene *s, const struct repo_commit *commit)
{
	uint64_t count = 0;
	bool after_seq = false; /* a seq may be longer than the clean one: what comes after moves */
	struct buf clean;
	struct reader r;
	struct cbor_map map;
	struct span key, value;

	buf_init(&clean, LIMIT_FRAME);
	frame_put_commit(&clean, s->seq, commit);
	r = reader_of(buf_span(&clean));
	CHECK(cbor_skip(&r, NULL) == 0 && cbor_map_open(&r, &map) == 0);
	while (cbor_map_more(&map) && cbor_map_key(&r, &map, &key) == 0 &&
	       cbor_skip(&r, &value) == 0) {
		size_t from = (size_t)(value.ptr - clean.ptr) * 8;
		size_t end = from + (is_vouched_for(key) ? value.len * 8 : 0);

		for (size_t bit = from; bit < end; bit++) {
			buf_clear(&s->frame);
			frame_put_commit(&s->frame, ++s->seq, commit);
			size_t moved = after_seq ? s->frame.len - clean.len : 0;

			s->frame.ptr[bit / 8 + moved] ^= (uint8_t)(1u << bit % 8);
			if (!is_whole(buf_span(&s->frame)))
				continue;
			send_frame(s);
			count++;
		}
		if (span_is(key, "seq"))
			after_seq = true;
	}
	buf_release(&clean);
	return count;
}

TEST(a_commit_with_any_bit_flipped_never_comes_out)
{
	struct scene s;
	struct consumer live;

	scene_open(&s);
	send_numbered(&s, &s.k256, 0, 3);
	send_numbered(&s, &s.p256, 0, 3);
	metric_reaches(&s, "fanout-0", "relay_head_seq", "", 6);
	consumer_open(&live, s.group, -1);
	for (unsigned i = 0; i < 2; i++) {
		struct repo *r = i ? &s.p256 : &s.k256;
		struct repo_commit commit;
		uint64_t count;
		int64_t received = group_metric(s.group, "ingest", "relay_frames_received_total",
						"");

		repo_put_number(r, "com.example.record/flipped", 1);
		repo_commit(r, clock_usec(), &commit);
		count = send_flipped(&s, &commit);
		CHECK(count > 5000);
		metric_reaches(&s, "ingest", "relay_frames_received_total", "",
			       received + (int64_t)count);
		CHECK_INT(logged(&s), 6 + i);
		/* The same, whole: it is taken, so the account went on behind all that was refused.
		 */
		buf_clear(&s.frame);
		frame_put_commit(&s.frame, ++s.seq, &commit);
		send_frame(&s);
		wait_count(&s, &live, i + 1);
		repo_commit_release(&commit);
		printf("# %" PRIu64 " flipped bits refused\n", count);
	}
	CHECK(refused(&s, "block_hash") > 0);
	CHECK(refused(&s, "inversion_failed") > 0);
	CHECK(refused(&s, "bad_car") > 0);
	consumer_close(&live);
	scene_close(&s);
}

TEST(broken_cbor_ends_the_connection_and_nothing_else)
{
	struct scene s;
	struct repo_commit commit;

	scene_open(&s);
	send_numbered(&s, &s.k256, 0, 1);
	send_numbered(&s, &s.p256, 0, 1);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 3);
	repo_put_number(&s.k256, "com.example.record/broken", 1);
	repo_commit(&s.k256, clock_usec(), &commit);
	buf_clear(&s.frame);
	frame_put_commit(&s.frame, ++s.seq, &commit);
	s.frame.len--;
	fake_host_send_once(s.host, buf_span(&s.frame));
	metric_reaches(&s, "ingest", "relay_frames_dropped_total", "bad_cbor", 1);
	/* The host is dialled again, and goes on. */
	s.frame.len++;
	send_frame(&s);
	send_numbered(&s, &s.p256, 1, 2);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 5);
	repo_commit_release(&commit);
	scene_close(&s);
}

TEST(forgeries_are_refused_under_their_own_names)
{
	struct scene s;
	struct test_key own;

	scene_open(&s);
	send_numbered(&s, &s.k256, 0, 1);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 2);

	/* Signed by another key. */
	own = s.k256.key;
	test_key_make(CURVE_K256, "somebody else", &s.k256.key);
	send_numbered(&s, &s.k256, 1, 2);
	metric_reaches(&s, "ingest", "relay_events_acknowledged_total", "verdict=\"bad_signature\"",
		       1);
	s.k256.key = own;

	/* From a host that is not the account's. */
	buf_clear(&s.frame);
	frame_put_account(&s.frame, 1, s.k256.did, false, "deleted");
	fake_host_send(s.other_host, 1, buf_span(&s.frame));
	metric_reaches(&s, "ingest", "relay_events_acknowledged_total", "verdict=\"wrong_host\"",
		       1);

	/* Of an account that nobody knows. */
	buf_clear(&s.frame);
	frame_put_account(&s.frame, ++s.seq, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", true, NULL);
	send_frame(&s);
	metric_reaches(&s, "ingest", "relay_events_acknowledged_total",
		       "verdict=\"identity_not_found\"", 1);

	CHECK_INT(logged(&s), 1);
	scene_close(&s);
}

TEST(a_rotated_key_passes_after_one_refresh)
{
	struct scene s;

	scene_open(&s);
	send_numbered(&s, &s.k256, 0, 1);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 2);
	test_key_make(CURVE_P256, "a new key", &s.k256.key);
	fake_directory_put(s.directory, s.k256.did, &s.k256.key.public, fake_host_url(s.host),
			   "k.test");
	send_numbered(&s, &s.k256, 1, 2);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 3);
	scene_close(&s);
}

/* A commit that does not say what was before it. */
static void send_legacy_commit(struct scene *s, struct repo *r, uint64_t number)
{
	struct repo_commit commit;

	repo_put_number(r, "com.example.record/legacy", number);
	repo_commit(r, clock_usec(), &commit);
	commit.has_prev_data = false;
	buf_clear(&s->frame);
	frame_put_commit(&s->frame, ++s->seq, &commit);
	send_frame(s);
	repo_commit_release(&commit);
}

/* What one account's commit has shown of its host holds for the others, in whatever lane, and after
 * a restart of all that could forget it. */
TEST(a_tolerated_host_does_not_fall_back_over_restarts)
{
	struct scene s;

	scene_open_with(&s, true, (const char *const[]){NULL});
	send_commit(&s, &s.k256, "com.example.record/first", 1);
	send_commit(&s, &s.p256, "com.example.record/first", 1);
	send_legacy_commit(&s, &s.k256, 1);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 4);
	CHECK_INT(refused(&s, "prev_data_missing"), 0);
	send_commit(&s, &s.p256, "com.example.record/second", 2);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 5);
	send_legacy_commit(&s, &s.k256, 2);
	metric_reaches(&s, "ingest", "relay_events_acknowledged_total",
		       "verdict=\"prev_data_missing\"", 1);
	group_stop(s.group);
	group_start(s.group);
	send_legacy_commit(&s, &s.k256, 3);
	metric_reaches(&s, "ingest", "relay_events_acknowledged_total",
		       "verdict=\"prev_data_missing\"", 1);
	send_commit(&s, &s.k256, "com.example.record/third", 3);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 6);
	scene_close(&s);
}

TEST(a_cursor_gives_the_rest_over_a_restart)
{
	struct scene s;
	struct consumer all, rest, live;

	scene_open(&s);
	send_numbered(&s, &s.k256, 0, 50);
	consumer_open(&all, s.group, 0);
	wait_count(&s, &all, 50);
	group_stop(s.group);
	send_numbered(&s, &s.k256, 50, 60);
	group_start(s.group);
	consumer_open(&rest, s.group, 20);
	wait_count(&s, &rest, 40);
	consumer_open(&live, s.group, -1);
	send_numbered(&s, &s.k256, 60, 61);
	wait_count(&s, &live, 1);
	wait_count(&s, &rest, 41);
	check_contiguous(&all, 1);
	check_contiguous(&rest, 21);
	check_contiguous(&live, 61);
	for (size_t i = 0; i < 30 && i < rest.count; i++)
		CHECK_SPAN(consumer_frame(&rest, i), consumer_frame(&all, i + 20));
	consumer_close(&all);
	consumer_close(&rest);
	consumer_close(&live);
	scene_close(&s);
}

/* From this cursor on, what the one that has all has. */
static void check_rest(struct scene *s, const struct consumer *all, uint64_t cursor)
{
	struct consumer rest;
	size_t count = all->count - (size_t)cursor;

	consumer_open(&rest, s->group, (int64_t)cursor);
	wait_count(s, &rest, count);
	check_contiguous(&rest, cursor + 1);
	for (size_t i = 0; i < count && i < rest.count; i++)
		CHECK_SPAN(consumer_frame(&rest, i), consumer_frame(all, i + (size_t)cursor));
	consumer_close(&rest);
}

/* Files of the log that begin and end anywhere, some of them over a restart of store, killed or
 * asked to end. */
TEST(every_cursor_of_a_log_of_many_files_that_spans_restarts)
{
	struct scene s;
	struct consumer all;

	scene_open_with(&s, false, (const char *const[]){"store.file_size=64K", NULL});
	consumer_open(&all, s.group, 0);
	for (unsigned part = 0; part < 4; part++) {
		send_numbered(&s, &s.k256, part * 60, (part + 1) * 60);
		wait_count(&s, &all, (part + 1) * 60);
		group_kill(s.group, part % 2 ? "fanout-0" : "store");
		if (all.closed || part % 2) {
			consumer_close(&all);
			metric_reaches(&s, "fanout-0", "relay_head_seq", "", (int64_t)s.seq);
			consumer_open(&all, s.group, 0);
			wait_count(&s, &all, (part + 1) * 60);
		}
	}
	CHECK(group_metric(s.group, "store", "relay_log_files", "") > 3);
	check_contiguous(&all, 1);
	for (uint64_t cursor = 0; cursor < all.count && !test_has_failed(); cursor++)
		check_rest(&s, &all, cursor);
	consumer_close(&all);
	scene_close(&s);
}

static struct span first_message(struct stream_client *c, struct scene *s, uint64_t cursor)
{
	struct stream_frame f = {0};
	char query[64];

	snprintf(query, sizeof(query), "?cursor=%" PRIu64, cursor);
	CHECK(stream_open(c, group_port(s->group), query, ""));
	CHECK_INT(stream_read(c, &f), 1);
	return f.payload;
}

/* Retention takes the oldest files while the group runs. */
TEST(cursors_outside_of_the_window_are_told)
{
	struct stream_client c;
	struct stream_frame f = {0};
	struct scene s;
	int64_t first;

	scene_open_with(
		&s, false,
		(const char *const[]){"store.file_size=64K", "store.retention_bytes=64K", NULL});
	/* Until the first file has gone. */
	for (unsigned i = 0; group_metric(s.group, "store", "relay_log_first_seq", "") <= 1 &&
			     i < 5000 && !test_has_failed();
	     i += 50) {
		send_numbered(&s, &s.k256, i % 1000, i % 1000 + 50);
		metric_reaches(&s, "fanout-0", "relay_head_seq", "", (int64_t)s.seq);
	}
	first = group_metric(s.group, "store", "relay_log_first_seq", "");
	CHECK(first > 1);
	CHECK(test_contains(first_message(&c, &s, 1), "OutdatedCursor"));
	CHECK_INT(stream_read(&c, &f), 1);
	CHECK_INT(f.opcode, 2);
	CHECK(!test_contains(f.payload, "OutdatedCursor"));
	stream_close(&c);
	CHECK(test_contains(first_message(&c, &s, s.seq + 1), "FutureCursor"));
	CHECK_INT(stream_read(&c, &f), 1);
	CHECK_INT(f.opcode, 8);
	stream_close(&c);
	CHECK(!test_contains(first_message(&c, &s, 0), "OutdatedCursor"));
	stream_close(&c);
	scene_close(&s);
}

/* Each stage but fanout is killed while events flow; a consumer that is connected all the time sees
 * every event once, in order. */
TEST(killing_any_stage_loses_and_repeats_nothing)
{
	static const char *const stages[] = {"validate-0", "store", "resolve", "ingest"};
	struct scene s;
	struct consumer c;
	unsigned sent = 0;

	scene_open(&s);
	consumer_open(&c, s.group, 0);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		send_numbered(&s, &s.k256, sent, sent + 300);
		sent += 300;
		wait_some(&s, &c, sent - 299);
		group_kill(s.group, stages[i]);
		send_numbered(&s, &s.k256, sent, sent + 50);
		sent += 50;
		wait_count(&s, &c, sent);
	}
	check_contiguous(&c, 1);
	CHECK(!c.closed);
	CHECK_INT(logged(&s), sent);
	consumer_close(&c);
	scene_close(&s);
}

TEST(a_host_that_cuts_its_connection_is_read_on)
{
	struct scene s;
	struct consumer c;

	scene_open(&s);
	consumer_open(&c, s.group, 0);
	for (unsigned i = 0; i < 5; i++) {
		send_numbered(&s, &s.p256, i * 20, i * 20 + 20);
		fake_host_cut(s.host);
	}
	wait_count(&s, &c, 100);
	check_contiguous(&c, 1);
	consumer_close(&c);
	scene_close(&s);
}

TEST(the_public_port_answers)
{
	static const struct {
		const char *path;
		int status;
		const char *contains;
	} cases[] = {
		{"/", 200, "/xrpc/com.atproto.sync.subscribeRepos"},
		{"/_health", 200, "\"status\":\"ok\""},
		{"/xrpc/_health", 200, "\"status\":\"ok\""},
		{"/nothing", 404, ""},
		{"/xrpc/com.example.unknown", 501, "MethodNotImplemented"},
		{"/xrpc/com.atproto.sync.getRepoStatus", 400, "InvalidRequest"},
		{"/xrpc/com.atproto.sync.getRepoStatus?did=did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 404,
		 "RepoNotFound"},
		{"/xrpc/com.atproto.sync.listHosts?limit=0", 400, "InvalidRequest"},
		{"/xrpc/com.atproto.sync.subscribeRepos", 426, "InvalidRequest"},
	};
	struct scene s;
	struct buf body;
	char path[256];

	scene_open(&s);
	buf_init(&body, MIB(1));
	send_numbered(&s, &s.k256, 0, 3);
	metric_reaches(&s, "store", "relay_log_next_seq", "", 4);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = group_get(s.group, cases[i].path, &body);

		if (status != cases[i].status || !test_contains(buf_span(&body), cases[i].contains))
			test_fail(__FILE__, __LINE__, "%s: %d %.*s", cases[i].path, status,
				  (int)body.len, (const char *)body.ptr);
	}
	snprintf(path, sizeof(path), "/xrpc/com.atproto.sync.getRepoStatus?did=%s", s.k256.did);
	CHECK_INT(group_get(s.group, path, &body), 200);
	CHECK(memmem(body.ptr, body.len, s.k256.rev, TID_SIZE) != NULL);
	snprintf(path, sizeof(path), "/xrpc/com.atproto.sync.getLatestCommit?did=%s", s.k256.did);
	CHECK_INT(group_get(s.group, path, &body), 200);
	CHECK_INT(group_get(s.group, "/xrpc/com.atproto.sync.listHosts", &body), 200);
	CHECK(test_contains(buf_span(&body), fake_host_name(s.host)));
	CHECK_INT(group_post(s.group, "/xrpc/com.atproto.sync.requestCrawl",
			     "{\"hostname\":\"127.0.0.1:1\"}", &body),
		  400);
	buf_release(&body);
	scene_close(&s);
}
