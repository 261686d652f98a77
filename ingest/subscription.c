#include "ingest/subscription.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "common/log.h"
#include "ingest/frame.h"

#define SUBSCRIBE_PATH "/xrpc/com.atproto.sync.subscribeRepos"

static void drop(struct subscription *s, enum drop_reason reason)
{
	++*s->crawler->counters.dropped[reason];
}

static void set_status(struct subscription *s, enum host_status status)
{
	if (s->record.status == status)
		return;
	crawler_count_status(s->crawler, s->record.status, -1);
	crawler_count_status(s->crawler, status, +1);
	s->record.status = status;
	s->changed = true;
}

/* A line about what a frame held. */
static void log_frame(struct subscription *s, const char *what, const struct frame *f)
{
	unsigned left_out;

	if (!log_limit_pass(&s->crawler->frame_log, &left_out))
		return;
	log_notice("%s host=%s seq=%" PRIu64 " type=%s name=%s message=%s left_out=%u", what,
		   s->record.host, f->seq, log_text(f->type), log_text(f->name),
		   log_text(f->message), left_out);
}

/* Frames. */

static void end_row(struct registry_record *r)
{
	r->anew_first_seq = r->anew_last_seq = 0;
	r->anew_count = 0;
}

/* Notes how new what comes with rising numbers is. */
static void note_rev(struct subscription *s, uint64_t rev_usec)
{
	uint64_t latest = clock_usec() + SUBSCRIPTION_AHEAD_USEC;

	if (rev_usec > latest)
		rev_usec = latest;
	if (rev_usec > s->record.rev_usec)
		s->record.rev_usec = rev_usec;
}

/* Whether the number is above all that came before. */
static bool is_rising(struct subscription *s, const struct frame *f)
{
	if (s->mark.known && f->seq <= s->mark.last_seq)
		return false;
	s->replaying = false;
	s->broken = s->broken_before = 0;
	end_row(&s->record);
	note_rev(s, f->rev_usec);
	return true;
}

/* The host's numbers begin anew. The epoch is on disk before there is an event of it. */
static int begin_epoch(struct subscription *s, bool has_cursor, uint64_t cursor)
{
	struct registry_record r = s->record;
	int error;

	r.epoch = registry_next_epoch(r.epoch);
	r.has_cursor = has_cursor;
	r.cursor = cursor;
	r.resets++;
	end_row(&r);
	error = crawler_write(s->crawler, &r);
	if (error) {
		log_error("the new epoch cannot be written host=%s", s->record.host);
		return error;
	}
	s->record = r;
	mark_reset(&s->mark);
	if (has_cursor)
		mark_init_at(&s->mark, cursor);
	++*s->crawler->counters.host_resets;
	return 0;
}

/* A frame whose number does not rise makes or continues a row, which begins with its lowest number:
 * if the host numbers anew, no number of the row was taken. Whether it does. */
static bool continue_row(struct subscription *s, const struct frame *f)
{
	struct registry_record *r = &s->record;

	if (f->seq <= r->anew_last_seq)
		r->anew_count = 0;
	if (r->anew_first_seq == 0 || f->seq < r->anew_first_seq)
		r->anew_first_seq = f->seq;
	r->anew_last_seq = f->seq;
	if (f->rev_usec > r->rev_usec && f->rev_usec <= clock_usec() + SUBSCRIPTION_CLOCK_USEC &&
	    r->anew_count < SUBSCRIPTION_ANEW_EVENTS)
		r->anew_count++;
	s->changed = true;
	return r->anew_count == SUBSCRIPTION_ANEW_EVENTS;
}

/* What came of the row was dropped, so it is asked for again. */
static int begin_anew(struct subscription *s)
{
	uint64_t last_seq = s->mark.last_seq, first_seq = s->record.anew_first_seq;

	if (begin_epoch(s, true, first_seq - 1) == 0)
		log_warning("the host's numbers went back for good: new epoch, read from the first "
			    "of the new ones host=%s cursor=%" PRIu64 " first=%" PRIu64
			    " epoch=%" PRIu32,
			    s->record.host, last_seq, first_seq, s->record.epoch);
	s->end_reason = "its numbers began anew";
	return -ECONNABORTED;
}

/* A frame whose number does not rise. */
static int leave_out(struct subscription *s, const struct frame *f)
{
	if (!s->replaying) {
		drop(s, DROP_SEQUENCE);
		log_frame(s, "frame dropped: its number does not rise", f);
	}
	return continue_row(s, f) ? begin_anew(s) : 0;
}

/* Whether one host may have this much more on its way. One event always may be. */
static bool is_within_share(const struct subscription *s, size_t frame_bytes)
{
	size_t max = s->crawler->host_window_bytes;

	return s->outstanding_bytes == 0 ||
	       (s->outstanding_bytes <= max && frame_bytes <= max - s->outstanding_bytes);
}

static void set_held(struct subscription *s, bool held)
{
	if (s->held == held)
		return;
	s->held = held;
	if (held)
		s->crawler->held_hosts++;
	else
		s->crawler->held_hosts--;
}

static int take_event(struct subscription *s, const struct frame *f, struct span bytes)
{
	struct crawler *c = s->crawler;
	const struct event e = {
		.host_id = s->host_id,
		.host_epoch = s->record.epoch,
		.host_seq = f->seq,
		.received_usec = clock_usec(),
		.received_uptime_usec = uptime_usec(),
		.host = span_str(s->record.host),
		.frame = bytes,
	};
	struct window_entry *entry;

	if (!is_rising(s, f))
		return leave_out(s, f);
	if (!is_within_share(s, bytes.len)) {
		set_held(s, true);
		return -EAGAIN;
	}
	entry = feed_put(c->feeds[stage_lane_of(f->did, c->lanes)], &e, &s->waiter);
	if (!entry)
		return -EAGAIN;
	mark_add(&s->mark, &entry->mark, f->seq);
	s->outstanding_bytes += bytes.len;
	s->record.events++;
	return 0;
}

static int skip_frame(struct subscription *s, const struct frame *f, enum drop_reason reason)
{
	if (f->seq && !is_rising(s, f))
		return leave_out(s, f);
	drop(s, reason);
	log_frame(s,
		  reason == DROP_UNKNOWN_KIND ? "frame skipped: unknown kind"
					      : "frame dropped: fields missing or wrong",
		  f);
	if (f->seq)
		mark_skip(&s->mark, f->seq);
	return 0;
}

static int take_error(struct subscription *s, const struct frame *f)
{
	uint64_t last_seq = s->mark.last_seq;

	log_frame(s, "error frame", f);
	snprintf(s->error_frame, sizeof(s->error_frame), "error frame: %s", log_text(f->name));
	s->end_reason = s->error_frame;
	if (span_is(f->name, "FutureCursor") && s->sent_cursor && begin_epoch(s, false, 0) == 0)
		log_warning("the host calls its own cursor a future one: new epoch, read from "
			    "where it is now host=%s cursor=%" PRIu64 " epoch=%" PRIu32,
			    s->record.host, last_seq, s->record.epoch);
	return -ECONNABORTED;
}

static int take_frame(struct subscription *s, const struct frame *f, struct span bytes)
{
	switch (f->class) {
	case FRAME_EVENT:
		return take_event(s, f, bytes);
	case FRAME_INFO:
		log_frame(s, "info", f);
		return 0;
	case FRAME_ERROR:
		return take_error(s, f);
	case FRAME_UNKNOWN:
		return skip_frame(s, f, DROP_UNKNOWN_KIND);
	case FRAME_BAD_FIELDS:
		return skip_frame(s, f, DROP_BAD_FIELDS);
	}
	return -EBADMSG;
}

static int take_broken(struct subscription *s)
{
	drop(s, DROP_BAD_CBOR);
	if (s->broken_before > 0) {
		s->broken_before--;
		return 0;
	}
	s->broken++;
	s->end_reason = "broken CBOR";
	return -EBADMSG;
}

/* A frame that is refused with -EAGAIN comes again, and is counted when it is taken. */
static int on_message(void *arg, struct span bytes)
{
	struct subscription *s = arg;
	struct counters *counters = &s->crawler->counters;
	struct frame f;
	int error = frame_scan(bytes, &f);

	error = error ? take_broken(s) : take_frame(s, &f, bytes);
	if (error != -EAGAIN) {
		++*counters->frames;
		*counters->frame_bytes += bytes.len;
	}
	return error;
}

static void on_room(void *arg)
{
	struct subscription *s = arg;

	connection_resume(s->connection);
}

static void on_share(void *arg)
{
	struct subscription *s = arg;

	if (!s->held)
		return;
	set_held(s, false);
	connection_resume(s->connection);
}

/* The stream goes on when a quarter of the share is free, and not from inside this. */
void subscription_acknowledged(struct subscription *s, size_t frame_bytes)
{
	assert(frame_bytes <= s->outstanding_bytes);
	s->outstanding_bytes -= frame_bytes;
	if (s->held && s->outstanding_bytes <= s->crawler->host_window_bytes / 4 * 3)
		loop_task_queue(s->crawler->loop, &s->resume_task);
}

/* Connections. */

static void on_opened(void *arg)
{
	struct subscription *s = arg;

	crawler_end_dial(s->crawler, s);
	s->state = SUBSCRIPTION_READING;
	s->opened_usec = loop_now_usec(s->crawler->loop);
	++*s->crawler->open_connections;
	set_status(s, HOST_ACTIVE);
	log_info("subscribed host=%s cursor=%s", s->record.host, s->sent_cursor ? "yes" : "no");
}

static void note_error(struct subscription *s, const char *text)
{
	snprintf(s->record.error, sizeof(s->record.error), "%s", text);
	s->record.error_usec = clock_usec();
	s->changed = true;
}

/* Some ends come of a frame, which counts as dropped too. */
static void count_end(struct subscription *s, enum connection_end end)
{
	++*s->crawler->counters.failures[end];
	if (end == END_TEXT)
		drop(s, DROP_TEXT);
	else if (end == END_OVERSIZE)
		drop(s, DROP_OVERSIZE);
	else if (end == END_FRAMING)
		drop(s, DROP_FRAMING);
}

static void rest(struct subscription *s, uint64_t session_usec, uint64_t retry_after_usec)
{
	uint64_t wait = backoff_next(&s->backoff, session_usec);

	if (retry_after_usec > s->backoff.max_usec)
		retry_after_usec = s->backoff.max_usec;
	s->state = SUBSCRIPTION_RESTING;
	loop_timer_set(s->crawler->loop, &s->timer,
		       wait > retry_after_usec ? wait : retry_after_usec);
	if (s->backoff.failures == BACKOFF_OFFLINE)
		log_notice("the host is offline after %u failures host=%s", s->backoff.failures,
			   s->record.host);
	if (backoff_is_offline(&s->backoff))
		set_status(s, HOST_OFFLINE);
}

static void leave_stream(struct subscription *s)
{
	if (s->state == SUBSCRIPTION_READING)
		--*s->crawler->open_connections;
	else
		crawler_end_dial(s->crawler, s);
	feed_forget(&s->waiter);
	set_held(s, false);
	connection_free(s->connection);
	s->connection = NULL;
}

static void on_ended(void *arg, const struct connection_report *report)
{
	struct subscription *s = arg;
	const char *text = s->end_reason ? s->end_reason : report->text;
	uint64_t now = loop_now_usec(s->crawler->loop);
	uint64_t session = s->opened_usec ? now - s->opened_usec : 0;

	count_end(s, report->end);
	log_info("stream ended: %s host=%s after=%" PRIu64 "s failures=%u", text, s->record.host,
		 session / USEC_PER_SEC, s->backoff.failures);
	note_error(s, text);
	s->ended_usec = now;
	leave_stream(s);
	rest(s, session, report->retry_after_usec);
}

static void on_timer(void *arg)
{
	subscription_start(arg);
}

/* With a cursor if one is known. A new host is read live, or from its beginning if so configured.
 */
static void format_target(struct subscription *s, char *ret, size_t size)
{
	bool whole = s->crawler->backfill && s->record.resets == 0;

	s->sent_cursor = s->mark.known || whole;
	if (s->sent_cursor)
		snprintf(ret, size, SUBSCRIBE_PATH "?cursor=%" PRIu64,
			 s->mark.known ? s->mark.last_seq : 0);
	else
		snprintf(ret, size, SUBSCRIBE_PATH);
}

struct subscription *subscription_new(struct crawler *c, const struct host *host,
				      const struct registry_record *record)
{
	struct subscription *s = xcalloc(1, sizeof(*s));

	s->crawler = c;
	s->host = *host;
	s->record = *record;
	s->host_id = host_id(span_str(record->host));
	s->backoff = (struct backoff){c->backoff_min_usec, c->backoff_max_usec, 0};
	s->waiter = (struct feed_waiter){.wake = on_room, .arg = s};
	loop_timer_init(&s->timer, on_timer, s);
	loop_task_init(&s->resume_task, on_share, s);
	if (record->has_cursor)
		mark_init_at(&s->mark, record->cursor);
	crawler_count_status(c, record->status, +1);
	return s;
}

void subscription_free(struct subscription *s)
{
	if (!s)
		return;
	loop_timer_cancel(s->crawler->loop, &s->timer);
	loop_task_cancel(s->crawler->loop, &s->resume_task);
	feed_forget(&s->waiter);
	connection_free(s->connection);
	mark_reset(&s->mark);
	free(s);
}

void subscription_start(struct subscription *s)
{
	if (s->state != SUBSCRIPTION_RESTING)
		return;
	loop_timer_cancel(s->crawler->loop, &s->timer);
	s->state = SUBSCRIPTION_QUEUED;
	crawler_queue_dial(s->crawler, s);
}

void subscription_dial(struct subscription *s)
{
	const struct connection_handler h = {on_opened, on_message, on_ended, s};
	char target[CONNECTION_TARGET_MAX];

	format_target(s, target, sizeof(target));
	s->state = SUBSCRIPTION_DIALLING;
	s->opened_usec = 0;
	s->replaying = s->sent_cursor;
	s->broken_before = s->broken;
	s->end_reason = NULL;
	s->connection = connection_new(&s->crawler->dialer, &s->host, target, &h);
}

void subscription_ask(struct subscription *s)
{
	uint64_t now = loop_now_usec(s->crawler->loop);
	uint64_t earliest = s->ended_usec + SUBSCRIPTION_ASKED_USEC;
	uint64_t wait = earliest > now ? earliest - now : 0;

	if (s->state == SUBSCRIPTION_RESTING && loop_timer_is_set(&s->timer) &&
	    s->timer.at_usec > now + wait)
		loop_timer_set(s->crawler->loop, &s->timer, wait);
}

void subscription_stop(struct subscription *s)
{
	loop_timer_cancel(s->crawler->loop, &s->timer);
	if (s->state != SUBSCRIPTION_RESTING)
		leave_stream(s);
	s->state = SUBSCRIPTION_RESTING;
}

bool subscription_record(struct subscription *s)
{
	bool write = s->changed;

	if (s->mark.known) {
		uint64_t low = mark_low(&s->mark);

		write |= !s->record.has_cursor || low != s->record.cursor;
		s->record.has_cursor = true;
		s->record.cursor = low;
	}
	s->changed = false;
	return write;
}

size_t subscription_memory_bytes(const struct subscription *s)
{
	return s->connection ? connection_memory_bytes(s->connection) : 0;
}
