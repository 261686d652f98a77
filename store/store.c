#include "store/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>

#include "common/log.h"
#include "store/calls.h"
#include "store/intake.h"
#include "store/storage.h"
#include "store/tally.h"

#define HEAD_USEC        (200 * USEC_PER_MSEC) /* fanout is told at least every 250 ms */
#define RETAIN_USEC      (60 * USEC_PER_SEC)
/* How long a full disk is left alone: with every attempt the whole window is verified again. */
#define RETRY_MIN_USEC   USEC_PER_SEC
#define RETRY_MAX_USEC   (30 * USEC_PER_SEC)
#define LINES_PER_MINUTE 10 /* about validates that cannot be understood */

struct store {
	struct stage *stage;
	struct storage_options options;
	char folder[PATH_MAX];
	struct storage *storage; /* NULL while the disk has no room */
	int error; /* why the group in hand is lost: storage and lanes are yet to be reset */
	struct tally *tally;
	struct head head;     /* zeros: nothing is known of the log */
	bool was_open;        /* head is what the marker said */
	uint64_t newest_usec; /* when ingest received the event taken last */
	struct pipe *head_pipe;
	struct calls *calls;
	struct intake **lanes;
	size_t lane_count;
	struct log_limit foreign_log;
	uint64_t *foreign;
	struct loop_task commit;
	struct loop_timer head_timer;
	struct loop_timer retain_timer;
	struct loop_timer retry_timer;
	uint64_t retry_usec;
};

static void publish_head(void *arg)
{
	struct store *s = arg;
	struct buf b;

	buf_init(&b, 64);
	s->head.usec = clock_usec();
	s->head.state = s->storage                             ? HEAD_TAKING
			: s->was_open || s->head.next_seq == 0 ? HEAD_NO_ROOM
							       : HEAD_NO_STATE;
	message_put_type(&b, MESSAGE_HEAD);
	head_encode(&b, &s->head);
	(void)!pipe_send(s->head_pipe, buf_span(&b)); /* lossy by nature */
	buf_release(&b);
	loop_timer_set(s->stage->loop, &s->head_timer, HEAD_USEC);
}

static void show(struct store *s)
{
	uint64_t received_usec = s->head.received_usec;

	event_log_head(storage_log(s->storage), &s->head);
	s->head.received_usec = received_usec;
	s->was_open = true;
	tally_show(s->tally, s->storage);
}

/* Groups. */

static bool is_ready(void *arg)
{
	const struct store *s = arg;

	return s->storage && s->error == 0;
}

/* Nothing of the group in hand was acknowledged. What has to be torn down may be in use by our
 * callers, so that is left to the end of the turn. */
static void fail(struct store *s, int error)
{
	s->error = error;
	tally_drop(s->tally);
	loop_task_queue(s->stage->loop, &s->commit);
}

static int commit_group(struct store *s)
{
	struct storage_group group;
	int r = storage_commit(s->storage, &group);

	if (r < 0) {
		fail(s, r);
		return r;
	}
	tally_keep(s->tally, &group);
	for (size_t i = 0; i < s->lane_count; i++)
		intake_acknowledge(s->lanes[i]);
	if (group.events > 0) {
		s->retry_usec = RETRY_MIN_USEC;
		s->head.received_usec = s->newest_usec;
		show(s);
		publish_head(s);
	}
	return 0;
}

static int take(void *arg, const struct verified *v, enum verdict *ret)
{
	struct store *s = arg;
	struct storage_decision d;
	int r;

	if (!is_ready(s))
		return -ECANCELED;
	if (storage_is_full(s->storage)) {
		r = commit_group(s);
		if (r < 0)
			return r;
	}
	r = storage_put(s->storage, v, &d);
	if (r < 0) {
		fail(s, r);
		return r;
	}
	tally_add(s->tally, v, &d);
	if (d.verdict == VERDICT_ACCEPTED)
		s->newest_usec = v->received_usec;
	loop_task_queue(s->stage->loop, &s->commit);
	*ret = d.verdict;
	return 0;
}

/* The disk. */

/* What there is is served, as far as it is known to be real. */
static void peek(struct store *s)
{
	struct head head;

	if (s->was_open || storage_peek(s->folder, &head) < 0)
		return;
	if (s->head.next_seq == 0)
		log_notice("the state cannot be opened; the log is served as far as its index says "
			   "next_seq=%" PRIu64,
			   head.next_seq);
	s->head = head;
}

static int open_storage(struct store *s)
{
	int r = storage_open(s->folder, &s->options, &s->storage);

	if (storage_may_pass(r))
		peek(s);
	if (r < 0)
		return r;
	show(s); /* what there is is served, even if there is no room for more */
	r = storage_find_room(s->storage);
	if (r < 0) {
		storage_close(s->storage);
		s->storage = NULL;
	}
	return r;
}

static void give_up(struct store *s)
{
	log_error("store cannot go on, and ends; its next start recovers");
	loop_quit(s->stage->loop, STAGE_EXIT_AGAIN);
}

static void wait_for_room(struct store *s)
{
	log_warning("no room on the disk: events wait, next attempt in %u s",
		    (unsigned)(s->retry_usec / USEC_PER_SEC));
	loop_timer_set(s->stage->loop, &s->retry_timer, s->retry_usec);
	s->retry_usec = s->retry_usec * 2 < RETRY_MAX_USEC ? s->retry_usec * 2 : RETRY_MAX_USEC;
	publish_head(s);
}

static void retry(void *arg)
{
	struct store *s = arg;
	int r = open_storage(s);

	if (storage_may_pass(r)) {
		wait_for_room(s);
		return;
	}
	if (r < 0) {
		give_up(s);
		return;
	}
	log_notice("the log is open again");
	publish_head(s);
	for (size_t i = 0; i < s->lane_count; i++)
		intake_ready(s->lanes[i]);
}

static void tear_down(struct store *s)
{
	s->error = 0;
	storage_close(s->storage);
	s->storage = NULL;
	for (size_t i = 0; i < s->lane_count; i++)
		intake_reset(s->lanes[i]);
	wait_for_room(s);
}

static void end_turn(void *arg)
{
	struct store *s = arg;

	if (storage_may_pass(s->error))
		tear_down(s);
	else if (s->error < 0)
		give_up(s);
	else if (s->storage)
		(void)!commit_group(s);
}

static void retain(void *arg)
{
	struct store *s = arg;

	if (s->storage && storage_retain(s->storage, clock_usec()) > 0) {
		show(s);
		publish_head(s);
	}
	loop_timer_set(s->stage->loop, &s->retain_timer, RETAIN_USEC);
}

/* Memory accounts. */

static int64_t database_bytes(void *arg)
{
	const struct store *s = arg;

	return s->storage ? storage_database_bytes(s->storage) : 0;
}

static int64_t overlay_memory(void *arg)
{
	const struct store *s = arg;

	return s->storage ? storage_overlay_bytes(s->storage) : 0;
}

static int64_t group_bytes(void *arg)
{
	const struct store *s = arg;

	return s->storage ? storage_log_bytes(s->storage) : 0;
}

static int64_t ack_bytes(void *arg)
{
	const struct store *s = arg;
	size_t bytes = 0;

	for (size_t i = 0; i < s->lane_count; i++)
		bytes += intake_bytes(s->lanes[i]);
	return (int64_t)bytes;
}

static void register_memory(struct store *s)
{
	memory_register(s->stage->memory, "state_database", database_bytes, s);
	memory_register(s->stage->memory, "state_overlay", overlay_memory, s);
	memory_register(s->stage->memory, "log_group", group_bytes, s);
	memory_register(s->stage->memory, "acknowledgements", ack_bytes, s);
}

/* Life. */

static void lane_is_foreign(void *arg, const struct intake *in, unsigned version)
{
	struct store *s = arg;
	unsigned lane = 0, left_out;

	while (s->lanes[lane] != in)
		lane++;
	++*s->foreign;
	if (log_limit_pass(&s->foreign_log, &left_out))
		log_error("validate speaks another version: events wait until both are of one "
			  "lane=%u version=%u ours=%u left_out=%u",
			  lane, version, MESSAGE_VERSION, left_out);
}

static int open_lanes(struct store *s)
{
	const struct intake_handler handler = {
		.is_ready = is_ready, .take = take, .foreign = lane_is_foreign, .arg = s};
	size_t count = (size_t)config_number(s->stage->config, "group.lanes");
	char url[CONFIG_URL_SIZE];

	s->lanes = xcalloc(count, sizeof(struct intake *));
	for (; s->lane_count < count; s->lane_count++) {
		stage_pipe_url(s->stage, "verified", "store", (unsigned)s->lane_count, url);
		int r = intake_new(s->stage->loop, url, &handler, &s->lanes[s->lane_count]);

		if (r < 0) {
			log_error("cannot listen for events: %s url=%s", strerror(-r), url);
			return r;
		}
	}
	return 0;
}

static int open_pipes(struct store *s)
{
	char url[CONFIG_URL_SIZE];
	int r;

	stage_pipe_url(s->stage, "head", "store", 0, url);
	r = pipe_listen_pub(s->stage->loop, url, &s->head_pipe);
	if (r < 0) {
		log_error("cannot listen for readers of the log: %s url=%s", strerror(-r), url);
		return r;
	}
	stage_pipe_url(s->stage, "calls", "store", 0, url);
	r = calls_new(s->stage->loop, url, &s->storage, &s->calls);
	return r < 0 ? r : open_lanes(s);
}

static void read_options(struct store *s)
{
	const struct config *c = s->stage->config;

	s->options = (struct storage_options){
		.cache_bytes = config_size(c, "store.cache"),
		.first_seq = config_number(c, "store.first_seq"),
		.log = {.file_bytes = config_size(c, "store.file_size"),
			.retention_usec = config_time(c, "store.retention_age"),
			.retention_bytes = config_size(c, "store.retention_bytes")},
	};
}

int store_new(struct stage *stage, struct store **ret)
{
	struct store *s = xcalloc(1, sizeof(*s));
	bool full;
	int r;

	s->stage = stage;
	s->retry_usec = RETRY_MIN_USEC;
	read_options(s);
	loop_task_init(&s->commit, end_turn, s);
	loop_timer_init(&s->head_timer, publish_head, s);
	loop_timer_init(&s->retain_timer, retain, s);
	loop_timer_init(&s->retry_timer, retry, s);
	s->tally = tally_new(stage->metrics);
	s->foreign_log = (struct log_limit){.burst = LINES_PER_MINUTE,
					    .period_usec = 60 * USEC_PER_SEC};
	s->foreign = metrics_counter(
		stage->metrics, "relay_foreign_connections_total",
		"Connections with stages of another version, which are of no use.",
		"peer=\"validate\"");
	r = stage_data_dir(stage, "store", s->folder);
	if (r == 0)
		r = open_storage(s);
	full = storage_may_pass(r);
	if (r == 0 || full)
		r = open_pipes(s);
	if (r < 0) {
		store_free(s);
		return r;
	}
	register_memory(s);
	if (full)
		wait_for_room(s);
	else
		publish_head(s);
	loop_timer_set(stage->loop, &s->retain_timer, RETAIN_USEC);
	*ret = s;
	return 0;
}

void store_free(struct store *s)
{
	if (!s)
		return;
	loop_task_cancel(s->stage->loop, &s->commit);
	loop_timer_cancel(s->stage->loop, &s->head_timer);
	loop_timer_cancel(s->stage->loop, &s->retain_timer);
	loop_timer_cancel(s->stage->loop, &s->retry_timer);
	for (size_t i = 0; i < s->lane_count; i++)
		intake_free(s->lanes[i]);
	free(s->lanes);
	calls_free(s->calls);
	pipe_close(s->head_pipe);
	storage_close(s->storage);
	tally_free(s->tally);
	free(s);
}

void store_stop(void *arg)
{
	struct store *s = arg;

	for (size_t i = 0; i < s->lane_count; i++)
		intake_stop(s->lanes[i]);
	if (is_ready(s) && commit_group(s) < 0)
		log_warning("the last events are not kept; their hosts send them again");
	loop_quit(s->stage->loop, 0);
}
