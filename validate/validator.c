#include "validate/validator.h"

#include <errno.h>

#include "common/lane.h"
#include "common/log.h"
#include "validate/inquiry.h"
#include "validate/judge.h"
#include "validate/tally.h"

#define ACK_SIZE         9
/* Acknowledgements in one message: as many as a batch of events has bytes for. */
#define ACKS_BYTES_MAX   (LIMIT_BATCH_BYTES / ACK_SIZE * ACK_SIZE)
/* Acknowledgements that wait: ingest's window cannot hold so many events. */
#define ACKS_WAITING_MAX MIB(256)
/* The rest of one message, and of those that the pipe gives before it is held. */
#define BACKLOG_MAX      (4 * (size_t)LIMIT_MESSAGE)
/* Kept of what a large frame made these buffers take. */
#define BUFFER_KEEP      (2 * LIMIT_BATCH_BYTES)
#define LINES_PER_MINUTE 10 /* about a peer that cannot be understood */

enum peer { PEER_INGEST, PEER_RESOLVE, PEER_STORE };
#define PEERS (PEER_STORE + 1)

struct validator {
	struct loop *loop;
	struct checker *checker;
	struct identity_cache *cache;
	struct judge *judge;
	struct inquiries *inquiries;
	struct tally tally;
	struct judgement judgement;
	struct lane *upstream;
	struct lane *downstream;
	bool is_downstream_used; /* something was sent in its session */
	/* The message to store that is being filled; NULL: none. */
	struct buf *batch;
	size_t batch_events;
	struct loop_task flush;
	struct buf acks;     /* encoded, for ingest */
	struct buf backlog;  /* events that came in and were not looked at yet, */
	size_t backlog_done; /* from here on */
	struct log_limit peer_log;
	uint64_t *foreign[PEERS];
};

/* Out */

static bool is_room(const struct validator *v)
{
	return lane_is_writable(v->downstream);
}

/* Whether it was taken or has to wait, is_room says. */
static void send_batch(struct validator *v)
{
	if (!v->batch)
		return;
	v->batch = NULL;
	if (lane_send(v->downstream) == -ENOTCONN)
		log_debug("a batch was dropped: no session with store");
}

static void send_acks(struct validator *v)
{
	while (v->acks.len > 0 && lane_is_writable(v->upstream)) {
		size_t size = v->acks.len < ACKS_BYTES_MAX ? v->acks.len : ACKS_BYTES_MAX;

		buf_append(lane_start(v->upstream, MESSAGE_ACKS), span_of(v->acks.ptr, size));
		buf_consume(&v->acks, size);
		if (lane_send(v->upstream) < 0)
			break;
	}
	if (v->acks.len == 0)
		buf_trim(&v->acks, BUFFER_KEEP);
}

static void flush(void *arg)
{
	struct validator *v = arg;

	send_batch(v);
	send_acks(v);
}

static void put_verified(struct validator *v, const struct verified *event)
{
	if (!v->batch) {
		v->batch = lane_start(v->downstream, MESSAGE_VERIFIED);
		v->batch_events = 0;
		v->is_downstream_used = true;
	}
	verified_encode(v->batch, event);
	if (++v->batch_events == LIMIT_BATCH_EVENTS || v->batch->len >= LIMIT_BATCH_BYTES)
		send_batch(v);
	else
		loop_task_queue(v->loop, &v->flush);
}

static void put_ack(struct validator *v, uint64_t ticket, enum verdict verdict)
{
	ack_encode(&v->acks, &(struct ack){.ticket = ticket, .verdict = verdict});
	loop_task_queue(v->loop, &v->flush);
}

static void refuse(struct validator *v, const struct event *e, enum verdict verdict)
{
	tally_verdict(&v->tally, e, judge_frame(v->judge), verdict);
	put_ack(v, e->ticket, verdict);
}

/* Events */

/* On the event that the judge has read. False: it has to wait, as the judgement says. */
static bool decide(struct validator *v, const struct event *e)
{
	struct judgement *j = &v->judgement;

	judge_decide(v->judge, e, uptime_usec(), j);
	if (j->outcome == OUTCOME_WAITS)
		return false;
	if (j->outcome == OUTCOME_REFUSED) {
		refuse(v, e, j->verdict);
		return true;
	}
	tally_verdict(&v->tally, e, judge_frame(v->judge), VERDICT_ACCEPTED);
	put_verified(v, &j->verified);
	return true;
}

static void ask(struct validator *v, struct inquiry *q)
{
	tally_lookup(&v->tally, v->judgement.reason);
	inquiry_ask(q, v->judgement.newer_than_usec);
}

static void take_event(struct validator *v, const struct event *e)
{
	enum verdict verdict = judge_read(v->judge, e);
	const struct frame *f = judge_frame(v->judge);
	struct inquiry *q;

	tally_event(&v->tally, f);
	if (verdict != VERDICT_ACCEPTED) {
		refuse(v, e, verdict);
		return;
	}
	q = inquiries_find(v->inquiries, f->did, e->host_id);
	if (q)
		inquiry_append(q, e);
	else if (!decide(v, e))
		ask(v, inquiries_begin(v->inquiries, f->did, e));
}

/* Goes on with an account whose identity has come, until it is needed anew, or there is no room. */
static void resume(struct validator *v, struct inquiry *q)
{
	struct event e;

	do {
		enum verdict verdict;

		if (!is_room(v)) {
			inquiry_put_back(q);
			return;
		}
		inquiry_first(q, &e);
		verdict = judge_read(v->judge, &e);
		if (verdict != VERDICT_ACCEPTED) {
			refuse(v, &e, verdict);
		} else if (!decide(v, &e)) {
			ask(v, q);
			return;
		}
	} while (inquiry_pop(q));
}

/* Events from r, as long as there is room for what comes of them. */
static int take_events(struct validator *v, struct reader *r)
{
	struct event e;

	while (r->left > 0 && is_room(v)) {
		if (event_decode(r, &e) < 0)
			return -EBADMSG;
		take_event(v, &e);
	}
	return 0;
}

static int take_backlog(struct validator *v)
{
	struct reader r;
	int error;

	if (v->backlog.len == 0)
		return 0;
	r = reader_of(span_of(v->backlog.ptr + v->backlog_done, v->backlog.len - v->backlog_done));
	error = take_events(v, &r);
	v->backlog_done = v->backlog.len - r.left;
	if (r.left == 0) {
		buf_trim(&v->backlog, BUFFER_KEEP);
		v->backlog_done = 0;
	}
	return error;
}

static void forget(struct validator *v)
{
	inquiries_clear(v->inquiries);
	buf_trim(&v->acks, BUFFER_KEEP);
	buf_trim(&v->backlog, BUFFER_KEEP);
	v->backlog_done = 0;
	v->batch = NULL;
	lane_hold(v->upstream, false);
}

/* Whatever can be done now; what came first is done first. */
static void go_on(struct validator *v)
{
	struct inquiry *q;
	unsigned left_out;

	while (is_room(v) && (q = inquiries_take_ready(v->inquiries)))
		resume(v, q);
	if (take_backlog(v) < 0) {
		if (log_limit_pass(&v->peer_log, &left_out))
			log_error("ingest sent an event that does not decode left_out=%u",
				  left_out);
		lane_reset(v->upstream);
		forget(v);
	}
	lane_hold(v->upstream, v->backlog.len > 0);
}

/* Upstream: ingest */

static void upstream_opened(void *arg)
{
	struct validator *v = arg;

	forget(v);
	if (v->is_downstream_used) {
		v->is_downstream_used = false;
		lane_reset(v->downstream);
	}
	if (lane_is_open(v->downstream))
		lane_ready(v->upstream);
}

static void upstream_closed(void *arg)
{
	forget(arg);
}

static int upstream_message(void *arg, enum message_type type, struct reader body)
{
	struct validator *v = arg;

	if (type != MESSAGE_EVENTS)
		return -EBADMSG;
	if (v->backlog.len == 0 && take_events(v, &body) < 0)
		return -EBADMSG;
	if (body.left > 0) {
		buf_append(&v->backlog, span_of(body.ptr, body.left));
		lane_hold(v->upstream, true);
	}
	return 0;
}

static void upstream_writable(void *arg)
{
	send_acks(arg);
}

/* Downstream: store */

static void downstream_opened(void *arg)
{
	struct validator *v = arg;

	log_info("session with store opened");
	lane_ready(v->upstream);
}

static void downstream_closed(void *arg)
{
	struct validator *v = arg;

	log_info("session with store ended");
	v->is_downstream_used = false;
	lane_reset(v->upstream);
	forget(v);
}

static int downstream_message(void *arg, enum message_type type, struct reader body)
{
	struct validator *v = arg;
	struct ack ack;

	if (type != MESSAGE_ACKS)
		return -EBADMSG;
	while (body.left > 0) {
		if (ack_decode(&body, &ack) < 0)
			return -EBADMSG;
		put_ack(v, ack.ticket, ack.verdict);
	}
	return 0;
}

static void downstream_writable(void *arg)
{
	go_on(arg);
}

/* Identities */

static void identity_answered(void *arg, const struct identity *i)
{
	struct validator *v = arg;

	identity_cache_put(v->cache, i, uptime_usec());
}

static void inquiry_ready(void *arg)
{
	go_on(arg);
}

static void event_expired(void *arg, const struct event *e)
{
	struct validator *v = arg;
	enum verdict verdict = judge_read(v->judge, e);

	refuse(v, e, verdict == VERDICT_ACCEPTED ? VERDICT_IDENTITY_UNAVAILABLE : verdict);
}

/* Stages of another version */

static const char *const peer_names[PEERS] = {"ingest", "resolve", "store"};

static void peer_is_foreign(struct validator *v, enum peer peer, unsigned version)
{
	unsigned left_out;

	++*v->foreign[peer];
	if (log_limit_pass(&v->peer_log, &left_out))
		log_error("%s speaks another version: events wait until both are of one "
			  "version=%u ours=%u left_out=%u",
			  peer_names[peer], version, MESSAGE_VERSION, left_out);
}

static void upstream_is_foreign(void *arg, unsigned version)
{
	peer_is_foreign(arg, PEER_INGEST, version);
}

static void resolve_is_foreign(void *arg, unsigned version)
{
	peer_is_foreign(arg, PEER_RESOLVE, version);
}

static void downstream_is_foreign(void *arg, unsigned version)
{
	peer_is_foreign(arg, PEER_STORE, version);
}

/* Opening and closing */

static int64_t buffer_bytes(void *arg)
{
	const struct validator *v = arg;

	return (int64_t)(sizeof(*v) + v->acks.cap + v->backlog.cap);
}

static void add_foreign_counters(struct validator *v, struct metrics *m)
{
	char label[32];

	for (enum peer p = 0; p < PEERS; p++) {
		snprintf(label, sizeof(label), "peer=\"%s\"", peer_names[p]);
		v->foreign[p] = metrics_counter(
			m, "relay_foreign_connections_total",
			"Connections with stages of another version, which are of no use.", label);
	}
}

static void open_core(struct validator *v, struct stage *stage)
{
	const struct config *c = stage->config;

	v->checker = checker_new();
	v->cache = identity_cache_new(
		config_size(c, "validate.key_cache"), config_time(c, "resolve.ttl_found"),
		config_time(c, "resolve.ttl_missing"), checker_signatures(v->checker));
	v->judge = judge_new(c, v->checker, v->cache);
	tally_init(&v->tally, stage->metrics);
	loop_task_init(&v->flush, flush, v);
	v->peer_log = (struct log_limit){.burst = LINES_PER_MINUTE,
					 .period_usec = 60 * USEC_PER_SEC};
	add_foreign_counters(v, stage->metrics);
	buf_init(&v->acks, ACKS_WAITING_MAX);
	buf_init(&v->backlog, BACKLOG_MAX);
	memory_register(stage->memory, "checker", checker_memory_bytes, v->checker);
	memory_register(stage->memory, "identity_cache", identity_cache_memory_bytes, v->cache);
	memory_register_fill(stage->memory, "identity_cache", identity_cache_fill, v->cache);
	memory_register(stage->memory, "buffers", buffer_bytes, v);
	metrics_gauge_call(stage->metrics, "relay_identity_cache_entries",
			   "Accounts whose identity is kept in memory.", NULL, identity_cache_count,
			   v->cache);
}

static int open_pipes(struct validator *v, struct stage *stage)
{
	const struct lane_handler down = {downstream_opened,     downstream_closed,
					  downstream_message,    downstream_writable,
					  downstream_is_foreign, v};
	const struct lane_handler up = {upstream_opened,   upstream_closed,     upstream_message,
					upstream_writable, upstream_is_foreign, v};
	const struct inquiry_handler asker = {identity_answered, inquiry_ready, event_expired,
					      resolve_is_foreign, v};
	const unsigned lane = stage->instance;
	char url[CONFIG_URL_SIZE];
	int error;

	stage_pipe_url(stage, "verified", stage->name, lane, url);
	error = lane_dial_upstream(stage->loop, url, &down, &v->downstream);
	if (!error) {
		stage_pipe_url(stage, "identities", stage->name, lane, url);
		error = inquiries_new(stage->loop, url,
				      config_time(stage->config, "validate.identity_wait"), &asker,
				      &v->inquiries);
	}
	if (!error) {
		stage_pipe_url(stage, "events", stage->name, lane, url);
		error = lane_listen_downstream(stage->loop, url, &up, &v->upstream);
	}
	if (error)
		log_error("pipe cannot be opened: %s: %s", url, strerror(-error));
	return error;
}

int validator_new(struct stage *stage, struct validator **ret)
{
	struct validator *v = xcalloc(1, sizeof(*v));
	int error;

	v->loop = stage->loop;
	open_core(v, stage);
	error = open_pipes(v, stage);
	if (error) {
		validator_free(v);
		return error;
	}
	memory_register(stage->memory, "waiting", inquiries_memory_bytes, v->inquiries);
	metrics_gauge_call(stage->metrics, "relay_events_waiting",
			   "Events that wait for their account's identity.", NULL,
			   inquiries_event_count, v->inquiries);
	*ret = v;
	return 0;
}

void validator_stop(void *validator)
{
	struct validator *v = validator;

	flush(v);
	loop_quit(v->loop, 0);
}

void validator_free(struct validator *v)
{
	if (!v)
		return;
	loop_task_cancel(v->loop, &v->flush);
	lane_close(v->upstream);
	inquiries_free(v->inquiries);
	lane_close(v->downstream);
	judge_free(v->judge);
	identity_cache_free(v->cache);
	checker_free(v->checker);
	buf_release(&v->acks);
	buf_release(&v->backlog);
	free(v);
}
