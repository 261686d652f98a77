/* The stage in one process with an ingest, a store and a resolve that the tests play. */
#include "validate/validator.h"

#include <errno.h>

#include "common/host.h"
#include "common/lane.h"
#include "common/limits.h"
#include "tests/lib/foreign.h"
#include "tests/lib/frame.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define PDS        "pds.example.com"
#define TICKETS    262144
#define PASSED_MAX 4096
#define NO_VERDICT 255

struct bench {
	struct stage stage;
	struct validator *validator;
	/* ingest */
	struct lane *events;
	unsigned ingest_opened, ingest_closed;
	uint8_t acked[TICKETS]; /* verdict by ticket */
	size_t ack_count;
	/* store */
	struct lane *verified;
	unsigned store_opened;
	bool acks_at_once;
	size_t passed_count, messages;
	uint64_t passed[PASSED_MAX]; /* tickets */
	struct verified last;        /* without its spans */
	char last_did[64];
	/* resolve */
	struct pipe *identities;
	bool answers_at_once;
	size_t lookups;
	size_t owed_count; /* answers that the pipe did not take yet */
	char owed[64][REPO_DID_SIZE];
	struct repo *repos; /* whose keys it knows */
	size_t repo_count;
	uint64_t next_ticket;
	size_t want;
};

/* Ingest */

static void ingest_opened(void *arg)
{
	struct bench *b = arg;

	b->ingest_opened++;
}

static void ingest_closed(void *arg)
{
	struct bench *b = arg;

	b->ingest_closed++;
}

static int ingest_message(void *arg, enum message_type type, struct reader body)
{
	struct bench *b = arg;
	struct ack ack;

	CHECK_INT(type, MESSAGE_ACKS);
	while (body.left > 0) {
		if (ack_decode(&body, &ack) < 0)
			return -EBADMSG;
		CHECK(ack.ticket < TICKETS);
		CHECK_INT(b->acked[ack.ticket], NO_VERDICT);
		b->acked[ack.ticket] = (uint8_t)ack.verdict;
		b->ack_count++;
	}
	return 0;
}

static void writable(void *arg)
{
	(void)arg;
}

/* Store */

static void store_opened(void *arg)
{
	struct bench *b = arg;

	b->store_opened++;
	lane_ready(b->verified);
}

static void store_closed(void *arg)
{
	(void)arg;
}

static void store_ack(struct bench *b, uint64_t ticket, enum verdict verdict)
{
	ack_encode(lane_start(b->verified, MESSAGE_ACKS), &(struct ack){ticket, verdict});
	CHECK_INT(lane_send(b->verified), 0);
}

static int store_message(void *arg, enum message_type type, struct reader body)
{
	struct bench *b = arg;
	struct verified v;

	CHECK_INT(type, MESSAGE_VERIFIED);
	b->messages++;
	while (body.left > 0) {
		if (verified_decode(&body, &v) < 0)
			return -EBADMSG;
		CHECK(b->passed_count < PASSED_MAX);
		b->passed[b->passed_count++] = v.ticket;
		b->last = v;
		CHECK_INT(span_to_str(v.did, b->last_did, sizeof(b->last_did)), 0);
	}
	if (b->acks_at_once)
		store_ack(b, v.ticket, VERDICT_STALE_REV);
	return 0;
}

/* Resolve */

static void resolve_event(void *arg)
{
	(void)arg;
}

/* False: the pipe is full. */
static bool try_answer(struct bench *b, struct span did, enum identity_status status)
{
	bool sent;

	struct identity i = {
		.status = status,
		.fetched_usec = uptime_usec(),
		.did = did,
		.pds = SPAN_LITERAL(PDS),
	};
	struct buf message;

	for (size_t n = 0; n < b->repo_count; n++)
		if (span_is(did, b->repos[n].did))
			i.key = b->repos[n].key.public;
	buf_init(&message, LIMIT_MESSAGE);
	message_put_type(&message, MESSAGE_IDENTITY);
	identity_encode(&message, &i);
	sent = pipe_send(b->identities, buf_span(&message)) == 0;
	buf_release(&message);
	return sent;
}

static void resolve_answer(struct bench *b, struct span did, enum identity_status status)
{
	CHECK(try_answer(b, did, status));
}

static void resolve_writable(void *arg)
{
	struct bench *b = arg;

	while (b->owed_count > 0 &&
	       try_answer(b, span_str(b->owed[b->owed_count - 1]), IDENTITY_FOUND))
		b->owed_count--;
}

static void resolve_message(void *arg, struct span message)
{
	struct bench *b = arg;
	struct reader r = reader_of(message);
	enum message_type type;
	struct lookup lookup;

	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(lookup_decode(&r, &lookup), 0);
	b->lookups++;
	if (!b->answers_at_once)
		return;
	CHECK_INT(span_to_str(lookup.did, b->owed[b->owed_count++], REPO_DID_SIZE), 0);
	resolve_writable(b);
}

/* The bench */

static void stage_open(struct bench *b, const char *setting)
{
	char data[256], run[256];
	char *argv[] = {(char[]){"standpipe-validate"},
			(char[]){"--set"},
			data,
			(char[]){"--set"},
			run,
			(char[]){"--set"},
			(char[]){"validate.metrics_port=0"},
			(char[]){"--set"},
			(char *)setting,
			NULL};
	const char *folder = test_folder();

	snprintf(data, sizeof(data), "group.data_dir=%s", folder);
	snprintf(run, sizeof(run), "group.run_dir=%s", folder);
	CHECK_INT(stage_init(&b->stage, "validate", STAGE_INSTANCES, setting ? 9 : 7, argv),
		  STAGE_GO);
}

static void store_listen(struct bench *b)
{
	const struct lane_handler h = {store_opened, store_closed, store_message,
				       writable,     NULL,         b};
	char url[CONFIG_URL_SIZE];

	stage_pipe_url(&b->stage, "verified", "store", 0, url);
	CHECK_INT(lane_listen_downstream(b->stage.loop, url, &h, &b->verified), 0);
}

static void ingest_dial(struct bench *b)
{
	const struct lane_handler h = {ingest_opened, ingest_closed, ingest_message,
				       writable,      NULL,          b};
	char url[CONFIG_URL_SIZE];

	stage_pipe_url(&b->stage, "events", "ingest", 0, url);
	CHECK_INT(lane_dial_upstream(b->stage.loop, url, &h, &b->events), 0);
}

static void resolve_listen(struct bench *b)
{
	const struct pipe_handler h = {
		.up = resolve_event,
		.down = resolve_event,
		.message = resolve_message,
		.writable = resolve_writable,
		.arg = b,
	};
	char url[CONFIG_URL_SIZE];

	stage_pipe_url(&b->stage, "identities", "resolve", 0, url);
	CHECK_INT(pipe_listen_pair(b->stage.loop, url, &h, &b->identities), 0);
}

static bool is_open(void *arg)
{
	const struct bench *b = arg;

	return lane_is_open(b->events) && b->ingest_opened >= b->want;
}

static bool wait_open(struct bench *b, size_t times)
{
	b->want = times;
	return wait_until(b->stage.loop, is_open, b, "a session");
}

static void bench_open_with(struct bench *b, size_t repo_count, const char *setting)
{
	char seed[32];

	memset(b, 0, sizeof(*b));
	b->answers_at_once = true;
	b->repo_count = repo_count;
	b->repos = xcalloc(repo_count, sizeof(*b->repos));
	memset(b->acked, NO_VERDICT, sizeof(b->acked));
	stage_open(b, setting); /* before the keys, which are OpenSSL's */
	for (size_t i = 0; i < repo_count; i++) {
		snprintf(seed, sizeof(seed), "account %zu", i);
		repo_init(&b->repos[i], i % 2 ? CURVE_P256 : CURVE_K256, seed);
	}
	store_listen(b);
	resolve_listen(b);
	CHECK_INT(validator_new(&b->stage, &b->validator), 0);
	ingest_dial(b);
	CHECK(wait_open(b, 1));
}

static void bench_open(struct bench *b, size_t repo_count)
{
	bench_open_with(b, repo_count, NULL);
}

static void bench_close(struct bench *b)
{
	validator_free(b->validator);
	lane_close(b->events);
	lane_close(b->verified);
	pipe_close(b->identities);
	stage_release(&b->stage);
	for (size_t i = 0; i < b->repo_count; i++)
		repo_release(&b->repos[i]);
	free(b->repos);
}

TEST(an_ingest_of_another_version_is_named)
{
	char url[CONFIG_URL_SIZE];
	struct bench b;

	bench_open(&b, 1);
	lane_close(b.events);
	stage_pipe_url(&b.stage, "events", "ingest", 0, url);
	foreign_check(b.stage.loop, b.stage.metrics, url, true, "peer=\"ingest\"",
		      "ingest speaks another version: events wait until both are of one version=2 "
		      "ours=1");
	ingest_dial(&b);
	CHECK(wait_open(&b, 2));
	bench_close(&b);
}

TEST(a_store_of_another_version_is_named)
{
	char url[CONFIG_URL_SIZE];
	struct bench b;

	bench_open(&b, 1);
	lane_close(b.verified);
	stage_pipe_url(&b.stage, "verified", "store", 0, url);
	foreign_check(b.stage.loop, b.stage.metrics, url, false, "peer=\"store\"",
		      "store speaks another version: events wait until both are of one version=2 "
		      "ours=1");
	store_listen(&b);
	CHECK(wait_open(&b, 2));
	bench_close(&b);
}

static void put_event(struct buf *out, uint64_t ticket, const char *host, struct span frame)
{
	event_encode(out, &(struct event){
				  .ticket = ticket,
				  .host_id = host_id(span_str(host)),
				  .host_epoch = 1,
				  .host_seq = ticket,
				  .received_usec = clock_usec(),
				  .received_uptime_usec = uptime_usec(),
				  .host = span_str(host),
				  .frame = frame,
			  });
}

static bool can_send(void *arg)
{
	const struct bench *b = arg;

	return lane_is_writable(b->events);
}

/* A message of its own; returns the ticket. */
static uint64_t send_frame(struct bench *b, const char *host, const struct buf *frame)
{
	uint64_t ticket = b->next_ticket++;
	int r;

	CHECK(wait_until(b->stage.loop, can_send, b, "room to send"));
	put_event(lane_start(b->events, MESSAGE_EVENTS), ticket, host, buf_span(frame));
	r = lane_send(b->events);
	CHECK(r == 0 || r == -EAGAIN);
	return ticket;
}

static void make_commit(struct repo *r, uint64_t number, size_t record_size, struct buf *out)
{
	uint8_t *record = xcalloc(1, record_size + sizeof(number));
	struct repo_commit c;

	memcpy(record, &number, sizeof(number));
	repo_put(r, "com.example.record/a", span_of(record, record_size + sizeof(number)));
	repo_commit(r, clock_usec(), &c);
	buf_clear(out);
	frame_put_commit(out, number + 1, &c);
	repo_commit_release(&c);
	free(record);
}

static uint64_t send_commit(struct bench *b, struct repo *r, const char *host)
{
	struct buf frame;
	uint64_t ticket;

	buf_init(&frame, MIB(8));
	make_commit(r, b->next_ticket, 10, &frame);
	ticket = send_frame(b, host, &frame);
	buf_release(&frame);
	return ticket;
}

static bool has_acks(void *arg)
{
	const struct bench *b = arg;

	return b->ack_count >= b->want;
}

static bool wait_acks(struct bench *b, size_t count)
{
	b->want = count;
	return wait_until(b->stage.loop, has_acks, b, "acknowledgements");
}

static bool has_passed(void *arg)
{
	const struct bench *b = arg;

	return b->passed_count >= b->want;
}

static bool wait_passed(struct bench *b, size_t count)
{
	b->want = count;
	return wait_until(b->stage.loop, has_passed, b, "verified events");
}

static bool has_lookups(void *arg)
{
	const struct bench *b = arg;

	return b->lookups >= b->want;
}

static bool wait_lookups(struct bench *b, size_t count)
{
	b->want = count;
	return wait_until(b->stage.loop, has_lookups, b, "lookups");
}

/* A line of the metrics, without its stage and instance. */
static bool has_metric(struct bench *b, const char *name, const char *label, uint64_t value)
{
	char line[256];
	struct buf text;
	bool found;

	buf_init(&text, MIB(8));
	metrics_render(b->stage.metrics, &text);
	buf_put_u8(&text, '\0');
	snprintf(line, sizeof(line), "%s{stage=\"validate\",instance=\"0\"%s%s} %" PRIu64 "\n",
		 name, label ? "," : "", label ? label : "", value);
	found = strstr((const char *)text.ptr, line) != NULL;
	if (!found)
		printf("# no %s", line);
	buf_release(&text);
	return found;
}

TEST(an_event_goes_through_and_its_ack_comes_back)
{
	struct bench b;

	bench_open(&b, 1);
	CHECK_INT(send_commit(&b, &b.repos[0], PDS), 0);
	CHECK(wait_passed(&b, 1));
	CHECK_INT(b.lookups, 1);
	CHECK_INT(b.last.kind, EVENT_COMMIT);
	CHECK_INT(b.last.host_id, host_id(SPAN_LITERAL(PDS)));
	CHECK_STR(b.last_did, b.repos[0].did);
	CHECK_INT(b.ack_count, 0);
	store_ack(&b, 0, VERDICT_DUPLICATE);
	CHECK(wait_acks(&b, 1));
	CHECK_INT(b.acked[0], VERDICT_DUPLICATE);
	CHECK(has_metric(&b, "relay_events_total", "kind=\"commit\"", 1));
	CHECK(has_metric(&b, "relay_verdicts_total", "verdict=\"accepted\"", 1));
	CHECK(has_metric(&b, "relay_identity_lookups_total", "reason=\"missing\"", 1));
	CHECK(has_metric(&b, "relay_identity_cache_entries", NULL, 1));
	CHECK(has_metric(&b, "relay_events_waiting", NULL, 0));
	CHECK(has_metric(&b, "relay_lag_events_total", NULL, 1));
	bench_close(&b);
}

TEST(refused_events_are_acknowledged_at_once)
{
	struct buf frame;
	struct bench b;

	bench_open(&b, 2);
	buf_init(&frame, MIB(8));
	make_commit(&b.repos[0], 1, 10, &frame);
	/* a bit of the last block, the record */
	frame.ptr[frame.len - 120] ^= 1;
	send_frame(&b, PDS, &frame);
	make_commit(&b.repos[1], 1, 10, &frame);
	send_frame(&b, "other.example.com", &frame);
	buf_clear(&frame);
	frame_put_info(&frame, "OutdatedCursor", NULL);
	send_frame(&b, PDS, &frame);
	buf_clear(&frame);
	buf_append_str(&frame, "hello");
	send_frame(&b, PDS, &frame);
	CHECK(wait_acks(&b, 4));
	CHECK(b.acked[0] != VERDICT_ACCEPTED);
	CHECK_INT(b.acked[1], VERDICT_WRONG_HOST);
	CHECK_INT(b.acked[2], VERDICT_UNKNOWN_KIND);
	CHECK_INT(b.acked[3], VERDICT_FRAME_BAD_CBOR);
	CHECK_INT(b.passed_count, 0);
	CHECK(has_metric(&b, "relay_verdicts_total", "verdict=\"wrong_host\"", 1));
	CHECK(has_metric(&b, "relay_verdicts_total", "verdict=\"accepted\"", 0));
	CHECK(has_metric(&b, "relay_events_total", "kind=\"unknown\"", 2));
	buf_release(&frame);
	bench_close(&b);
}

TEST(a_batch_of_many_accounts_keeps_their_orders)
{
	enum { ACCOUNTS = 20, EACH = 30 };
	uint64_t next[ACCOUNTS] = {0};
	struct buf *body, frame;
	struct bench b;

	bench_open(&b, ACCOUNTS);
	buf_init(&frame, MIB(8));
	CHECK(wait_until(b.stage.loop, can_send, &b, "room to send"));
	body = lane_start(b.events, MESSAGE_EVENTS);
	for (uint64_t i = 0; i < ACCOUNTS * EACH; i++) {
		make_commit(&b.repos[i % ACCOUNTS], i, 10, &frame);
		put_event(body, i, PDS, buf_span(&frame));
	}
	CHECK_INT(lane_send(b.events), 0);
	CHECK(wait_passed(&b, ACCOUNTS * EACH));
	for (size_t i = 0; i < b.passed_count; i++) {
		uint64_t account = b.passed[i] % ACCOUNTS;

		CHECK_INT(b.passed[i] / ACCOUNTS, next[account]);
		next[account]++;
	}
	CHECK_INT(b.lookups, ACCOUNTS);
	CHECK(b.messages <= 60);
	buf_release(&frame);
	bench_close(&b);
}

TEST(only_the_account_that_is_not_known_waits)
{
	struct bench b;

	bench_open(&b, 2);
	b.answers_at_once = false;
	send_commit(&b, &b.repos[0], PDS);
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_lookups(&b, 1));
	b.answers_at_once = true;
	send_commit(&b, &b.repos[1], PDS);
	CHECK(wait_passed(&b, 1));
	CHECK_INT(b.passed[0], 2);
	CHECK(has_metric(&b, "relay_events_waiting", NULL, 2));
	resolve_answer(&b, span_str(b.repos[0].did), IDENTITY_FOUND);
	CHECK(wait_passed(&b, 3));
	CHECK_INT(b.passed[1], 0);
	CHECK_INT(b.passed[2], 1);
	CHECK_INT(b.lookups, 2);
	bench_close(&b);
}

/* A host that tells of an account that is not its own does not hold up the one that may. */
TEST(another_host_waits_for_itself)
{
	struct buf frame;
	struct bench b;

	bench_open(&b, 1);
	buf_init(&frame, MIB(8));
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 1));
	b.answers_at_once = false;
	frame_put_account(&frame, 5, b.repos[0].did, false, "deleted");
	send_frame(&b, "evil.example.com", &frame);
	CHECK(wait_lookups(&b, 2));
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 2));
	CHECK_INT(b.passed[1], 2);
	resolve_answer(&b, span_str(b.repos[0].did), IDENTITY_FOUND);
	CHECK(wait_acks(&b, 1));
	CHECK_INT(b.acked[1], VERDICT_WRONG_HOST);
	buf_release(&frame);
	bench_close(&b);
}

TEST(an_identity_that_cannot_be_had)
{
	struct bench b;

	bench_open_with(&b, 1, "validate.identity_wait=200ms");
	b.answers_at_once = false;
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_lookups(&b, 1));
	resolve_answer(&b, span_str(b.repos[0].did), IDENTITY_UNAVAILABLE);
	CHECK(wait_acks(&b, 1));
	CHECK_INT(b.acked[0], VERDICT_IDENTITY_UNAVAILABLE);
	CHECK(has_metric(&b, "relay_events_waiting", NULL, 0));
	bench_close(&b);
}

TEST(a_new_session_of_ingest_is_one_of_store_too)
{
	struct bench b;

	bench_open(&b, 1);
	b.answers_at_once = false;
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_lookups(&b, 1));
	CHECK_INT(b.store_opened, 1);
	/* nothing was sent to store yet, so its session stays */
	lane_reset(b.events);
	CHECK(wait_open(&b, 2));
	CHECK_INT(b.store_opened, 1);
	CHECK(has_metric(&b, "relay_events_waiting", NULL, 0));
	resolve_answer(&b, span_str(b.repos[0].did), IDENTITY_FOUND);
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 1));
	CHECK_INT(b.passed[0], 1);
	lane_reset(b.events);
	CHECK(wait_open(&b, 3));
	CHECK_INT(b.store_opened, 2);
	/* the ack of the old session is not passed on in the new one */
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 2));
	store_ack(&b, 2, VERDICT_ACCEPTED);
	CHECK(wait_acks(&b, 1));
	CHECK_INT(b.acked[2], VERDICT_ACCEPTED);
	bench_close(&b);
}

TEST(when_store_goes_ingest_sends_again)
{
	struct bench b;

	bench_open(&b, 1);
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 1));
	lane_reset(b.verified);
	CHECK(wait_open(&b, 2));
	CHECK_INT(b.ingest_closed, 1);
	CHECK_INT(b.store_opened >= 2, 1);
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 2));
	bench_close(&b);
}

TEST(a_message_that_does_not_decode_ends_the_session)
{
	struct bench b;

	bench_open(&b, 1);
	buf_append_str(lane_start(b.events, MESSAGE_EVENTS), "garbage");
	CHECK_INT(lane_send(b.events), 0);
	CHECK(wait_open(&b, 2));
	buf_append_str(lane_start(b.events, MESSAGE_VERIFIED), "");
	CHECK_INT(lane_send(b.events), 0);
	CHECK(wait_open(&b, 3));
	send_commit(&b, &b.repos[0], PDS);
	CHECK(wait_passed(&b, 1));
	bench_close(&b);
}

/* The value of the metric whose last label is this. */
static int64_t value_of(struct bench *b, const char *row)
{
	int64_t value = -1;
	struct buf text;
	const char *at;

	buf_init(&text, MIB(8));
	metrics_render(b->stage.metrics, &text);
	buf_put_u8(&text, '\0');
	at = strstr((const char *)text.ptr, row);
	CHECK(at && sscanf(at + strlen(row), "%" SCNd64, &value) == 1);
	buf_release(&text);
	return value;
}

/* What the validator has in its buffers: a row of the accounts. */
static int64_t buffer_bytes(struct bench *b)
{
	return value_of(b, "what=\"buffers\"} ");
}

#define RECORD_BYTES 900000

/* The pipes are full, and the validator has what it cannot pass on. */
static bool ingest_is_stuck(void *arg)
{
	struct bench *b = arg;
	struct buf frame;

	if (!lane_is_writable(b->events))
		return buffer_bytes(b) > RECORD_BYTES;
	buf_init(&frame, MIB(8));
	make_commit(&b->repos[b->next_ticket % b->repo_count], b->next_ticket, RECORD_BYTES,
		    &frame);
	put_event(lane_start(b->events, MESSAGE_EVENTS), b->next_ticket++, PDS, buf_span(&frame));
	(void)!lane_send(b->events);
	buf_release(&frame);
	return false;
}

/* Store takes nothing: soon nothing more is taken from ingest, and all of it comes out later. */
TEST(a_store_that_takes_nothing_stops_ingest)
{
	struct bench b;

	bench_open(&b, 3);
	/* The first answers come while store still listens. */
	for (size_t i = 0; i < b.repo_count; i++)
		send_commit(&b, &b.repos[i], PDS);
	CHECK(wait_passed(&b, 3));
	lane_hold(b.verified, true);
	CHECK(wait_until(b.stage.loop, ingest_is_stuck, &b, "ingest to be stopped"));
	CHECK(b.next_ticket < 200);
	CHECK_INT(b.passed_count, 3);
	/* The rest of one message. */
	CHECK(buffer_bytes(&b) < LIMIT_BATCH_BYTES + LIMIT_FRAME);
	lane_hold(b.verified, false);
	CHECK(wait_passed(&b, b.next_ticket));
	for (size_t i = 0; i < b.passed_count; i++)
		CHECK_INT(b.passed[i], i);
	CHECK_INT(b.ack_count, 0);
	CHECK_INT(b.ingest_opened, 1);
	bench_close(&b);
}

#define REFUSED (TICKETS - 10000)

/* In messages as large as ingest makes them, while they are taken. */
static bool all_is_sent(void *arg)
{
	struct bench *b = arg;

	while (b->next_ticket < REFUSED && lane_is_writable(b->events)) {
		struct buf *out = lane_start(b->events, MESSAGE_EVENTS);

		for (unsigned i = 0; i < LIMIT_BATCH_EVENTS && b->next_ticket < REFUSED; i++)
			put_event(out, b->next_ticket++, PDS, SPAN_LITERAL("no frame"));
		CHECK(lane_send(b->events) != -ENOTCONN);
	}
	return b->next_ticket == REFUSED && lane_is_writable(b->events);
}

static bool all_is_refused(void *arg)
{
	return value_of(arg, "verdict=\"frame_bad_cbor\"} ") == REFUSED;
}

/* Ingest takes no acknowledgements: they are kept, 9 bytes each, and nothing more. */
TEST(acknowledgements_that_ingest_does_not_take_are_kept)
{
	static struct bench b;
	const int64_t most = 2 * 9 * (int64_t)REFUSED + (int64_t)KIB(512);

	bench_open(&b, 1);
	lane_hold(b.events, true);
	CHECK(wait_until(b.stage.loop, all_is_sent, &b, "all to be sent"));
	CHECK(wait_until(b.stage.loop, all_is_refused, &b, "all to be refused"));
	CHECK(b.ack_count < REFUSED);
	CHECK(buffer_bytes(&b) > (int64_t)MIB(1) / 2);
	CHECK(buffer_bytes(&b) < most);
	lane_hold(b.events, false);
	CHECK(wait_acks(&b, REFUSED));
	CHECK_INT(b.ingest_opened, 1);
	/* What they took is given back. */
	CHECK(buffer_bytes(&b) < (int64_t)KIB(512));
	bench_close(&b);
}
