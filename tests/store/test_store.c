#include "store/store.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

#include "common/database.h"
#include "common/host.h"
#include "common/lane.h"
#include "common/xrpc.h"
#include "tests/lib/disk.h"
#include "tests/lib/foreign.h"
#include "tests/lib/log_reader.h"
#include "tests/lib/verified.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define WINDOW_MAX 3000
#define LANES      2
#define HOME       11
#define A          "did:web:a.example"
#define B          "did:web:b.example"

/* validate's end of a lane: sends its window whenever a session opens, and takes acknowledgements.
 */
struct upstream {
	struct fixture *fixture;
	struct lane *lane;
	struct event_spec window[WINDOW_MAX];
	size_t count;     /* in the window */
	size_t sent;      /* in this session */
	size_t acked;     /* in this session */
	size_t per_batch; /* events a message */
	enum verdict verdicts[WINDOW_MAX];
	unsigned opened, closed;
};

struct fixture {
	char folder[128];
	char log[140];
	struct stage stage;
	struct store *store;
	struct upstream *up[LANES];
	struct pipe *head_pipe;
	struct head head;
	unsigned heads;
	struct pipe *calls;
	int status; /* of the loop, when the store ended it */
};

#define WAIT(f, cond)                                                                              \
	do {                                                                                       \
		struct guard guard_;                                                               \
		guard_set(&guard_, (f)->stage.loop, WAIT_USEC);                                    \
		while (!(cond) && !guard_.has_fired)                                               \
			(f)->status = loop_run((f)->stage.loop);                                   \
		guard_cancel(&guard_);                                                             \
		CHECK(cond);                                                                       \
	} while (0)

static void look_again(struct fixture *f)
{
	loop_quit(f->stage.loop, -1);
}

/* validate's end */

static void send_window(struct upstream *u)
{
	struct verified v;
	struct buf frame;

	buf_init(&frame, LIMIT_FRAME);
	while (u->sent < u->count && lane_is_writable(u->lane)) {
		struct buf *b = lane_start(u->lane, MESSAGE_VERIFIED);

		for (size_t i = 0; i < u->per_batch && u->sent < u->count; i++, u->sent++) {
			verified_make(&u->window[u->sent], &frame, &v);
			v.ticket = u->sent;
			verified_encode(b, &v);
		}
		CHECK(lane_send(u->lane) != -ENOTCONN);
	}
	buf_release(&frame);
}

static void up_opened(void *arg)
{
	struct upstream *u = arg;

	u->opened++;
	u->sent = u->acked = 0;
	send_window(u);
	look_again(u->fixture);
}

static void up_closed(void *arg)
{
	struct upstream *u = arg;

	u->closed++;
	look_again(u->fixture);
}

static int up_message(void *arg, enum message_type type, struct reader body)
{
	struct upstream *u = arg;
	struct ack ack;

	CHECK_INT(type, MESSAGE_ACKS);
	while (body.left > 0) {
		CHECK_INT(ack_decode(&body, &ack), 0);
		CHECK_INT(ack.ticket, u->acked); /* in order, each once */
		CHECK(u->acked < u->sent);
		u->verdicts[u->acked++] = ack.verdict;
	}
	look_again(u->fixture);
	return 0;
}

static void up_writable(void *arg)
{
	send_window(arg);
}

static struct upstream *upstream_new(struct fixture *f, unsigned lane)
{
	struct upstream *u = xcalloc(1, sizeof(*u));
	const struct lane_handler handler = {.opened = up_opened,
					     .closed = up_closed,
					     .message = up_message,
					     .writable = up_writable,
					     .arg = u};
	char url[CONFIG_URL_SIZE];

	u->fixture = f;
	u->per_batch = 16;
	stage_pipe_url(&f->stage, "verified", "validate", lane, url);
	CHECK_INT(lane_dial_upstream(f->stage.loop, url, &handler, &u->lane), 0);
	return u;
}

static void add(struct upstream *u, struct event_spec spec)
{
	spec.did = spec.did ? spec.did : A;
	spec.host_id = spec.host_id ? spec.host_id : HOME;
	u->window[u->count++] = spec;
}

static bool all_acked(const struct upstream *u)
{
	return u->acked == u->count;
}

/* The stage */

static void head_message(void *arg, struct span message)
{
	struct fixture *f = arg;
	struct reader r = reader_of(message);
	enum message_type type;

	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_HEAD);
	CHECK_INT(head_decode(&r, &f->head), 0);
	f->heads++;
	look_again(f);
}

static void open_stage(struct fixture *f, const char *setting)
{
	char data[160], run[160], url[CONFIG_URL_SIZE];
	const char *argv[] = {
		"standpipe-store",
		"--set",
		data,
		"--set",
		run,
		"--set",
		"group.lanes=2",
		"--set",
		"group.log_level=error",
		"--set",
		"store.metrics_port=0",
		"--set",
		setting,
		NULL,
	};
	int argc = (int)ARRAY_SIZE(argv) - 1;
	const struct pipe_handler on_head = {.message = head_message, .arg = f};

	snprintf(data, sizeof(data), "group.data_dir=%s", f->folder);
	snprintf(run, sizeof(run), "group.run_dir=%s", f->folder);
	CHECK_INT(stage_init(&f->stage, "store", STAGE_SINGLE, argc, (char **)(uintptr_t)argv),
		  STAGE_GO);
	CHECK_INT(store_new(&f->stage, &f->store), 0);
	stage_pipe_url(&f->stage, "head", "fanout", 0, url);
	CHECK_INT(pipe_dial_sub(f->stage.loop, url, &on_head, &f->head_pipe), 0);
	stage_pipe_url(&f->stage, "calls", "store", 0, url);
	CHECK_INT(pipe_dial_req(f->stage.loop, url, &f->calls), 0);
	for (unsigned i = 0; i < LANES; i++)
		f->up[i] = upstream_new(f, i);
}

static void close_stage(struct fixture *f)
{
	for (unsigned i = 0; i < LANES; i++) {
		lane_close(f->up[i]->lane);
		free(f->up[i]);
	}
	pipe_close(f->calls);
	pipe_close(f->head_pipe);
	store_free(f->store);
	stage_release(&f->stage);
}

static void start_with(struct fixture *f, const char *setting)
{
	*f = (struct fixture){0};
	snprintf(f->folder, sizeof(f->folder), "%s", test_folder());
	snprintf(f->log, sizeof(f->log), "%s/store/log", f->folder);
	open_stage(f, setting);
}

static void start(struct fixture *f)
{
	start_with(f, "store.file_size=64K");
}

static void send_more(struct fixture *f, unsigned lane)
{
	WAIT(f, lane_is_open(f->up[lane]->lane));
	send_window(f->up[lane]);
	WAIT(f, all_acked(f->up[lane]));
}

/* The value of a metric whose line begins so, or -1. */
static long metric(struct fixture *f, const char *line)
{
	char start[160];
	struct buf b;
	long value = -1;

	buf_init(&b, MIB(1));
	metrics_render(f->stage.metrics, &b);
	buf_put_u8(&b, 0);
	snprintf(start, sizeof(start), "\n%s", line);
	const char *found = strstr((const char *)b.ptr, start);

	if (found && sscanf(strchr(found, ' '), "%ld", &value) != 1)
		value = -1;
	buf_release(&b);
	return value;
}

TEST(events_of_all_lanes_are_numbered_and_acknowledged)
{
	struct fixture f;
	struct log_index_record record;
	struct buf frame;
	uint64_t seq, a = 0, b = 0;
	struct span did;

	start(&f);
	for (unsigned i = 0; i < WINDOW_MAX; i++) {
		add(f.up[0],
		    (struct event_spec){
			    .kind = EVENT_COMMIT, .host_seq = 1 + i, .rev = 1 + i, .pad = i % 300});
		add(f.up[1],
		    (struct event_spec){.kind = EVENT_IDENTITY, .did = B, .host_seq = 1 + i});
	}
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]) && f.up[1]->opened && all_acked(f.up[1]));
	WAIT(&f, f.head.next_seq == 2 * WINDOW_MAX + 1);
	CHECK_INT(f.head.first_seq, 1);
	CHECK(f.head.file_first_seq > 1); /* it went through several files */
	/* Each lane's events are there, in their order. */
	buf_init(&frame, LOG_MESSAGE_MAX);
	for (uint64_t n = 1; n < f.head.next_seq; n++) {
		CHECK(log_reader_get(f.log, n, &frame, &record));
		CHECK(log_reader_fields(buf_span(&frame), &seq, &did));
		CHECK_INT(seq, n);
		CHECK_INT(record.host_seq, span_is(did, A) ? ++a : ++b);
	}
	buf_release(&frame);
	CHECK_INT(a, WINDOW_MAX);
	CHECK_INT(b, WINDOW_MAX);
	CHECK_INT(metric(&f, "relay_events_logged_total{stage=\"store\",kind=\"commit\"}"),
		  WINDOW_MAX);
	CHECK_INT(metric(&f, "relay_log_next_seq"), 2 * WINDOW_MAX + 1);
	CHECK_INT(metric(&f, "relay_lag_events_total"), 2 * WINDOW_MAX);
	CHECK(metric(&f, "relay_lag_max_seconds") > 1000); /* they were made long ago */
	CHECK(f.head.received_usec > 0);
	close_stage(&f);
}

TEST(a_window_that_comes_again_changes_nothing)
{
	struct fixture f;
	unsigned opened;

	start(&f);
	for (unsigned i = 0; i < 100; i++)
		add(f.up[0], (struct event_spec){.kind = EVENT_ACCOUNT, .host_seq = 1 + i});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	opened = f.up[0]->opened;
	lane_reset(f.up[0]->lane);
	WAIT(&f, f.up[0]->opened > opened && all_acked(f.up[0]));
	for (unsigned i = 0; i < 100; i++)
		CHECK_INT(f.up[0]->verdicts[i], VERDICT_DUPLICATE);
	WAIT(&f, f.head.next_seq == 101);
	close_stage(&f);
	/* The same over a restart. */
	open_stage(&f, "store.first_seq=5000");
	for (unsigned i = 0; i < 101; i++)
		add(f.up[0], (struct event_spec){.kind = EVENT_ACCOUNT, .host_seq = 1 + i});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	CHECK_INT(f.up[0]->verdicts[99], VERDICT_DUPLICATE);
	CHECK_INT(f.up[0]->verdicts[100], VERDICT_ACCEPTED);
	WAIT(&f, f.head.next_seq == 102);
	close_stage(&f);
}

static const struct {
	struct event_spec event;
	enum verdict verdict;
} mixed[] = {
	{{.kind = EVENT_COMMIT, .host_seq = 1, .rev = 1}, VERDICT_ACCEPTED},
	{{.kind = EVENT_COMMIT, .host_seq = 2, .rev = 1}, VERDICT_STALE_REV},
	{{.kind = EVENT_COMMIT, .host_seq = 3, .rev = 3, .since = 2}, VERDICT_ACCEPTED},
	{{.kind = EVENT_ACCOUNT, .host_seq = 4, .inactive = true, .status = ACCOUNT_SUSPENDED},
	 VERDICT_ACCEPTED},
	{{.kind = EVENT_SYNC, .host_seq = 5, .rev = 4}, VERDICT_ACCOUNT_INACTIVE},
	{{.kind = EVENT_IDENTITY, .host_seq = 4}, VERDICT_DUPLICATE},
};

TEST(verdicts_are_acknowledged_and_counted)
{
	struct fixture f;

	start(&f);
	for (size_t i = 0; i < ARRAY_SIZE(mixed); i++)
		add(f.up[1], mixed[i].event);
	WAIT(&f, f.up[1]->opened && all_acked(f.up[1]));
	for (size_t i = 0; i < ARRAY_SIZE(mixed); i++)
		CHECK_INT(f.up[1]->verdicts[i], mixed[i].verdict);
	WAIT(&f, f.head.next_seq == 4);
	CHECK_INT(metric(&f, "relay_verdicts_total{stage=\"store\",verdict=\"accepted\"}"), 3);
	CHECK_INT(metric(&f, "relay_verdicts_total{stage=\"store\",verdict=\"stale_rev\"}"), 1);
	CHECK_INT(metric(&f, "relay_verdicts_total{stage=\"store\",verdict=\"account_inactive\"}"),
		  1);
	CHECK_INT(metric(&f, "relay_verdicts_total{stage=\"store\",verdict=\"duplicate\"}"), 1);
	CHECK_INT(metric(&f, "relay_events_discontinuous_total"), 1);
	CHECK_INT(metric(&f, "relay_accounts"), 1);
	close_stage(&f);
}

TEST(heads_come_without_events)
{
	struct fixture f;

	start_with(&f, "store.first_seq=1000");
	WAIT(&f, f.heads >= 4);
	CHECK_INT(f.head.first_seq, 1000);
	CHECK_INT(f.head.next_seq, 1000);
	CHECK_INT(f.head.file_first_seq, 1000);
	CHECK_INT(f.head.file_end_bytes, 0);
	CHECK(f.head.usec > 0);
	close_stage(&f);
}

static void send_raw(struct upstream *u, enum message_type type, const char *hex)
{
	test_hex(hex, lane_start(u->lane, type));
	CHECK_INT(lane_send(u->lane), 0);
}

TEST(messages_that_are_none_end_the_session)
{
	struct fixture f;
	struct upstream *u;

	start(&f);
	u = f.up[0];
	WAIT(&f, lane_is_open(u->lane));
	send_raw(u, MESSAGE_EVENTS, "00");
	WAIT(&f, u->closed == 1 && lane_is_open(u->lane));
	send_raw(u, MESSAGE_VERIFIED, "");
	WAIT(&f, u->closed == 2 && lane_is_open(u->lane));
	send_raw(u, MESSAGE_VERIFIED, "000102");
	WAIT(&f, u->closed == 3 && lane_is_open(u->lane));
	add(u, (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1});
	send_more(&f, 0);
	close_stage(&f);
}

/* It is told so, and the other lanes go on. */
TEST(a_validate_of_another_version_is_named)
{
	char url[CONFIG_URL_SIZE];
	struct fixture f;

	start(&f);
	WAIT(&f, f.up[0]->opened);
	pipe_close(f.head_pipe);
	f.head_pipe = NULL;
	lane_close(f.up[1]->lane);
	f.up[1]->lane = NULL;
	stage_pipe_url(&f.stage, "verified", "validate", 1, url);
	foreign_check(f.stage.loop, f.stage.metrics, url, true, "peer=\"validate\"",
		      "validate speaks another version: events wait until both are of one lane=1 "
		      "version=2 ours=1");
	add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1});
	send_more(&f, 0);
	close_stage(&f);
}

/* Calls */

struct answer {
	struct fixture *fixture;
	bool done;
	int error;
	unsigned status;
	char body[512];
	struct buf raw;
};

static void answered(void *arg, int error, struct span reply)
{
	struct answer *a = arg;

	a->done = true;
	a->error = error;
	if (error == 0)
		buf_append(&a->raw, reply);
	look_again(a->fixture);
}

static void call(struct fixture *f, const struct buf *message, uint64_t timeout_usec,
		 struct answer *ret)
{
	*ret = (struct answer){.fixture = f};
	buf_init(&ret->raw, KIB(64));
	pipe_call(f->calls, buf_span(message), timeout_usec, answered, ret);
	WAIT(f, ret->done);
}

static void xrpc(struct fixture *f, const char *method, const char *did, struct answer *ret)
{
	struct xrpc_request q = {.method = span_str(method), .remote = SPAN_LITERAL("127.0.0.1")};
	struct xrpc_reply reply = {0};
	enum message_type type = 0;
	struct reader r;
	struct buf b;

	if (did) {
		q.param_count = 1;
		q.params[0] = (struct xrpc_param){SPAN_LITERAL("did"), span_str(did)};
	}
	buf_init(&b, KIB(64));
	message_put_type(&b, MESSAGE_XRPC);
	xrpc_request_encode(&b, &q);
	call(f, &b, WAIT_USEC, ret);
	r = reader_of(buf_span(&ret->raw));
	CHECK_INT(ret->error, 0);
	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_XRPC_REPLY);
	CHECK_INT(xrpc_reply_decode(&r, &reply), 0);
	ret->status = reply.status;
	CHECK_INT(span_to_str(reply.body, ret->body, sizeof(ret->body)), 0);
	buf_release(&ret->raw);
	buf_release(&b);
}

#define STATUS    "com.atproto.sync.getRepoStatus"
#define LATEST    "com.atproto.sync.getLatestCommit"
#define NOT_FOUND "\"error\":\"RepoNotFound\""

/* Each account has the commit with rev number 7, if it has one, and then this status. */
static const struct {
	const char *did;
	bool has_commit;
	bool inactive;
	enum account_status status;
	unsigned repo_status; /* HTTP status of getRepoStatus, and what its body has */
	const char *repo_body;
	unsigned latest;
	const char *latest_body;
} repos[] = {
	{"did:web:active.example", true, false, ACCOUNT_ACTIVE, 200, "\"active\":true,\"rev\":\"",
	 200, "\"cid\":\"bafyrei"},
	{"did:web:new.example", false, false, ACCOUNT_ACTIVE, 200, "\"active\":true}", 404,
	 NOT_FOUND},
	{"did:web:desync.example", true, false, ACCOUNT_DESYNCHRONIZED, 200,
	 "\"active\":true,\"status\":\"desynchronized\",\"rev\":\"", 200, "\"rev\":\""},
	{"did:web:off.example", true, true, ACCOUNT_DEACTIVATED, 200,
	 "\"active\":false,\"status\":\"deactivated\"}", 403, "\"error\":\"RepoDeactivated\""},
	{"did:web:inactive.example", true, true, ACCOUNT_INACTIVE, 200, "\"active\":false}", 403,
	 "\"error\":\"RepoDeactivated\""},
	{"did:web:down.example", true, true, ACCOUNT_TAKENDOWN, 200,
	 "\"active\":false,\"status\":\"takendown\"}", 403, "\"error\":\"RepoTakendown\""},
	{"did:web:suspended.example", true, true, ACCOUNT_SUSPENDED, 200,
	 "\"active\":false,\"status\":\"suspended\"}", 403, "\"error\":\"RepoSuspended\""},
	{"did:web:deleted.example", true, true, ACCOUNT_DELETED, 200,
	 "\"active\":false,\"status\":\"deleted\"}", 404, NOT_FOUND},
};

static const struct {
	const char *method;
	const char *did;
	unsigned status;
	const char *body;
} refused_calls[] = {
	{STATUS, "did:web:unknown.example", 404, NOT_FOUND},
	{LATEST, "did:web:unknown.example", 404, NOT_FOUND},
	{STATUS, NULL, 400, "\"error\":\"InvalidRequest\""},
	{LATEST, NULL, 400, "\"error\":\"InvalidRequest\""},
	{STATUS, "", 400, "\"error\":\"InvalidRequest\""},
	{STATUS, "nobody", 400, "\"error\":\"InvalidRequest\""},
	{"com.atproto.sync.getRecord", A, 501, "\"error\":\"MethodNotImplemented\""},
};

static void check_answer(struct fixture *f, const char *method, const char *did, unsigned status,
			 const char *body)
{
	struct answer a;

	xrpc(f, method, did, &a);
	if (a.status != status || !strstr(a.body, body))
		test_fail(__FILE__, __LINE__, "%s %s: %u %s", method, did ? did : "(none)",
			  a.status, a.body);
}

TEST(questions_about_repos)
{
	struct fixture f;
	uint64_t seq = 0;

	start(&f);
	for (size_t i = 0; i < ARRAY_SIZE(repos); i++) {
		if (repos[i].has_commit)
			add(f.up[0], (struct event_spec){.kind = EVENT_COMMIT,
							 .did = repos[i].did,
							 .host_seq = ++seq,
							 .rev = 7});
		add(f.up[0], (struct event_spec){.kind = EVENT_ACCOUNT,
						 .did = repos[i].did,
						 .host_seq = ++seq,
						 .inactive = repos[i].inactive,
						 .status = repos[i].status});
	}
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	for (size_t i = 0; i < ARRAY_SIZE(repos); i++) {
		check_answer(&f, STATUS, repos[i].did, repos[i].repo_status, repos[i].repo_body);
		check_answer(&f, STATUS, repos[i].did, repos[i].repo_status, repos[i].did);
		check_answer(&f, LATEST, repos[i].did, repos[i].latest, repos[i].latest_body);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused_calls); i++)
		check_answer(&f, refused_calls[i].method, refused_calls[i].did,
			     refused_calls[i].status, refused_calls[i].body);
	close_stage(&f);
}

TEST(the_latest_commit_is_the_last_one_accepted)
{
	struct fixture f;
	struct cid cid = {.codec = CID_DAG_CBOR};
	char text[CID_TEXT_SIZE], want[256];
	uint8_t rev[TID_SIZE];

	start(&f);
	add(f.up[0], (struct event_spec){.kind = EVENT_COMMIT, .host_seq = 1, .rev = 7});
	add(f.up[0],
	    (struct event_spec){.kind = EVENT_COMMIT, .host_seq = 2, .rev = 9, .since = 7});
	add(f.up[0],
	    (struct event_spec){.kind = EVENT_COMMIT, .host_seq = 3, .rev = 8, .since = 7});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	verified_digest(9, cid.digest);
	verified_rev(9, rev);
	snprintf(want, sizeof(want), "{\"cid\":\"%s\",\"rev\":\"%.13s\"}", cid_format(&cid, text),
		 (const char *)rev);
	check_answer(&f, LATEST, A, 200, want);
	close_stage(&f);
}

TEST(accounts_of_hosts)
{
	struct fixture f;
	struct answer a;
	struct buf b, want;

	start(&f);
	add(f.up[0], (struct event_spec){.kind = EVENT_ACCOUNT, .did = A, .host_seq = 1});
	add(f.up[0], (struct event_spec){.kind = EVENT_ACCOUNT, .did = B, .host_seq = 2});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	buf_init(&b, 64);
	buf_init(&want, 64);
	message_put_type(&b, MESSAGE_ACCOUNT_COUNTS);
	buf_put_u32(&b, 3);
	buf_put_u64(&b, 99);
	buf_put_u64(&b, HOME);
	buf_put_u64(&b, 0);
	message_put_type(&want, MESSAGE_ACCOUNTS_COUNTED);
	buf_put_u32(&want, 3);
	buf_put_u64(&want, 0);
	buf_put_u64(&want, 2);
	buf_put_u64(&want, 0);
	call(&f, &b, WAIT_USEC, &a);
	CHECK_INT(a.error, 0);
	CHECK_SPAN(buf_span(&a.raw), buf_span(&want));
	buf_release(&a.raw);
	/* One host id fewer than it says. */
	b.len -= sizeof(uint64_t);
	call(&f, &b, 50 * USEC_PER_MSEC, &a);
	CHECK_INT(a.error, -ETIMEDOUT);
	buf_release(&a.raw);
	buf_release(&b);
	buf_release(&want);
	close_stage(&f);
}

/* Failures */

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A limit on the size of files stands for a disk that is full. */
TEST(a_full_disk_stops_the_lanes_and_passes)
{
	struct fixture f;
	struct answer a;
	struct log_index_record record;
	struct buf frame;

	start_with(&f, "store.file_size=16M");
	add(f.up[0], (struct event_spec){.kind = EVENT_COMMIT, .host_seq = 1, .rev = 7});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	limit_files(KIB(256));
	for (unsigned i = 2; i < 12; i++)
		add(f.up[0],
		    (struct event_spec){
			    .kind = EVENT_COMMIT, .host_seq = i, .rev = 7 + i, .pad = 100000});
	f.up[0]->per_batch = 10;
	send_window(f.up[0]);
	WAIT(&f, f.up[0]->closed == 1);
	CHECK_INT(f.up[0]->acked, 1);
	CHECK_INT(metric(&f, "relay_log_failures_total"), 1);
	WAIT(&f, f.head.state == HEAD_NO_ROOM);
	CHECK_INT(f.head.next_seq, 2);
	xrpc(&f, STATUS, A, &a);
	CHECK_INT(a.status, 503);

	limit_files(RLIM_INFINITY);
	WAIT(&f, f.up[0]->opened == 2 && all_acked(f.up[0]));
	CHECK_INT(f.up[0]->verdicts[0], VERDICT_DUPLICATE);
	CHECK_INT(f.up[0]->verdicts[10], VERDICT_ACCEPTED);
	WAIT(&f, f.head.next_seq == 12 && f.head.state == HEAD_TAKING);
	buf_init(&frame, LOG_MESSAGE_MAX);
	for (uint64_t n = 1; n < 12; n++) {
		CHECK(log_reader_get(f.log, n, &frame, &record));
		CHECK_INT(record.host_seq, n);
	}
	buf_release(&frame);
	close_stage(&f);
}

TEST(a_start_on_a_full_disk_waits_for_room)
{
	struct fixture f;

	start(&f);
	add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	close_stage(&f);
	limit_files(10);
	f.head = (struct head){0};
	open_stage(&f, "store.file_size=64K");
	/* What there is is served for all that. */
	WAIT(&f, f.head.state == HEAD_NO_STATE);
	CHECK_INT(f.head.first_seq, 1);
	CHECK_INT(f.head.next_seq, 2);
	CHECK_INT(f.head.file_first_seq, 1);
	CHECK(f.head.file_end_bytes > 0);
	add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 2});
	limit_files(RLIM_INFINITY);
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	WAIT(&f, f.head.next_seq == 3);
	CHECK_INT(f.head.state, HEAD_TAKING);
	close_stage(&f);
}

/* The state can be opened, but there is no room for another group: what there is is served. */
TEST(a_start_on_a_disk_that_is_nearly_full_serves_what_it_has)
{
	char *disk = disk_new("size=32m");
	struct fixture f = {0};

	if (!disk)
		SKIP("no filesystem can be mounted");
	snprintf(f.folder, sizeof(f.folder), "%s", disk);
	snprintf(f.log, sizeof(f.log), "%s/store/log", f.folder);
	open_stage(&f, "store.file_size=64K");
	add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	close_stage(&f);
	disk_resize(disk, "size=4m");
	f.head = (struct head){0};
	open_stage(&f, "store.file_size=64K");
	WAIT(&f, f.head.state == HEAD_NO_ROOM);
	CHECK_INT(f.head.first_seq, 1);
	CHECK_INT(f.head.next_seq, 2);
	disk_resize(disk, "size=32m");
	WAIT(&f, f.head.state == HEAD_TAKING);
	CHECK_INT(f.head.next_seq, 2);
	close_stage(&f);
	disk_free(disk);
}

TEST(a_damaged_state_ends_the_stage)
{
	struct fixture f;
	struct database *d;
	struct database_batch *batch = database_batch_new();
	char path[160];

	start(&f);
	close_stage(&f);
	snprintf(path, sizeof(path), "%s/store/state", f.folder);
	CHECK_INT(database_open(path, KIB(64), KIB(64), &d), 0);
	database_batch_put(batch, SPAN_LITERAL("a" A), SPAN_LITERAL("damaged"));
	CHECK_INT(database_write(d, batch, true), 0);
	database_batch_free(batch);
	database_close(d);

	open_stage(&f, "store.file_size=64K");
	add(f.up[0], (struct event_spec){.kind = EVENT_COMMIT, .host_seq = 1, .rev = 7});
	f.status = 0;
	WAIT(&f, f.status == STAGE_EXIT_AGAIN);
	CHECK_INT(f.up[0]->acked, 0);
	close_stage(&f);
}

TEST(stopping_keeps_what_is_in_hand)
{
	struct fixture f;
	struct loop_task stop;

	start(&f);
	for (unsigned i = 0; i < 500; i++)
		add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1 + i});
	WAIT(&f, f.up[0]->opened && f.up[0]->acked > 0);
	loop_task_init(&stop, store_stop, f.store);
	loop_task_queue(f.stage.loop, &stop);
	WAIT(&f, f.status == 0);
	size_t acked = f.up[0]->acked;

	close_stage(&f);
	open_stage(&f, "store.file_size=64K");
	for (unsigned i = 0; i < acked; i++)
		add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1 + i});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	for (size_t i = 0; i < acked; i++)
		CHECK_INT(f.up[0]->verdicts[i], VERDICT_DUPLICATE);
	close_stage(&f);
}

TEST(a_second_store_does_not_start)
{
	struct fixture f;
	struct store *second = NULL;

	start(&f);
	CHECK_INT(store_new(&f.stage, &second), -EAGAIN);
	close_stage(&f);
}

TEST(memory_is_accounted)
{
	struct fixture f;

	start(&f);
	add(f.up[0], (struct event_spec){.kind = EVENT_IDENTITY, .host_seq = 1});
	WAIT(&f, f.up[0]->opened && all_acked(f.up[0]));
	CHECK(metric(&f, "relay_accounted_bytes{stage=\"store\",what=\"log_group\"}") > 0);
	CHECK(metric(&f, "relay_accounted_bytes{stage=\"store\",what=\"state_overlay\"}") > 0);
	CHECK(metric(&f, "relay_accounted_bytes{stage=\"store\",what=\"state_database\"}") >= 0);
	close_stage(&f);
}
