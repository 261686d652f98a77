#include "fanout/consumer.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/log.h"

#include "fanout/consumers.h"
#include "fanout/notice.h"

#define OUT_MAX  1024       /* bytes: the longest notice, a pong, and a close frame */
#define NOT_SENT UINT64_MAX /* a ping that is on its way to the socket */

static const struct {
	const char *name;
	enum websocket_code code;
	const char *error; /* an error frame with this name goes before the close frame */
	const char *message;
} ends[END_COUNT] = {
	[END_CLOSED] = {"closed", WEBSOCKET_NORMAL, NULL, ""},
	[END_GONE] = {"gone", WEBSOCKET_NORMAL, NULL, ""},
	[END_FUTURE_CURSOR] = {"future_cursor", WEBSOCKET_POLICY, "FutureCursor",
			       "The cursor is ahead of the stream."},
	[END_FELL_BEHIND] = {"fell_behind", WEBSOCKET_POLICY, "ConsumerTooSlow",
			     "What comes next is not kept any more."},
	[END_STALLED] = {"stalled", WEBSOCKET_POLICY, "ConsumerTooSlow",
			 "Nothing was taken for too long."},
	[END_SILENT] = {"silent", WEBSOCKET_POLICY, NULL, ""},
	[END_PROTOCOL] = {"protocol", WEBSOCKET_PROTOCOL, NULL, "not a WebSocket frame"},
	[END_TOO_BIG] = {"too_big", WEBSOCKET_TOO_BIG, NULL, "consumers send no messages"},
	[END_FLOOD] = {"flood", WEBSOCKET_POLICY, NULL, "too much was sent"},
	[END_RESTART] = {"restart", WEBSOCKET_RESTART, NULL, "restart"},
	[END_LOG_RESET] = {"log_reset", WEBSOCKET_RESTART, NULL, "the stream begins anew"},
	[END_LOG_BROKEN] = {"log_broken", WEBSOCKET_INTERNAL, NULL, "the log cannot be read"},
};

const char *consumer_end_name(enum consumer_end e)
{
	return ends[e].name;
}

/* ---- life ---- */

static void set_remote(struct consumer *c)
{
	char text[ADDRESS_SIZE], port[8] = "";

	if (c->visitor.port)
		snprintf(port, sizeof(port), ":%u", c->visitor.port);
	snprintf(c->remote, sizeof(c->remote), "[%s]%s", address_format(&c->visitor.address, text),
		 port);
}

/* Options that cannot be had cost speed or memory, not correctness. */
static void set_options(int fd)
{
	int on = 1, unsent = CONSUMER_UNSENT_BYTES;

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
}

static void on_ready(void *arg, uint32_t events);

struct consumer *consumer_new(struct consumers *set, const struct wire *wire, uint64_t seq,
			      const struct visitor *who)
{
	struct consumer *c = xcalloc(1, sizeof(*c));

	c->set = set;
	c->wire = *wire;
	c->id = ++set->last_id;
	c->connected_usec = clock_usec();
	c->visitor = *who;
	set_remote(c);
	place_init(&c->place, seq);
	buf_init(&c->out, OUT_MAX);
	websocket_input_init(&c->input);
	c->moved_usec = c->quiet_usec = c->input_usec = loop_now_usec(set->loop);
	c->next = set->first;
	if (c->next)
		c->next->previous = c;
	set->first = c;
	set->count++;
	++*set->started_total;
	set_options(c->wire.fd);
	loop_io_init(&c->io, on_ready, c);
	c->events = EPOLLIN;
	loop_io_add(set->loop, &c->io, c->wire.fd, c->events);
	log_debug("consumer %s: begins at %" PRIu64, c->remote, seq);
	return c;
}

/* Ends that are ours to decide are worth a line, if it is not written yet; there can be as many of
 * them as there are consumers. */
static void log_end(struct consumer *c, enum consumer_end end)
{
	unsigned left_out = 0;

	if (end == END_CLOSED || end == END_GONE || end == END_RESTART || end == END_LOG_BROKEN) {
		log_debug("consumer %s: %s after %" PRIu64 " bytes", c->remote, ends[end].name,
			  c->written_bytes);
		return;
	}
	if (!log_limit_pass(&c->set->log_limit, &left_out))
		return;
	log_info("consumer %s: %s at seq=%" PRIu64 " after %" PRIu64
		 " bytes (%u such lines left out)",
		 c->remote, ends[end].name, c->place.seq, c->written_bytes, left_out);
}

void consumer_free(struct consumer *c, enum consumer_end end)
{
	struct consumers *set = c->set;
	bool in_order = c->close_received && c->close_sent && c->out.len == 0;

	log_end(c, end);
	++*set->ends_total[end];
	loop_io_remove(set->loop, &c->io);
	wire_close(&c->wire, in_order);
	place_release(&c->place, set->window);
	buf_release(&c->out);
	if (c->previous)
		c->previous->next = c->next;
	else
		set->first = c->next;
	if (c->next)
		c->next->previous = c->previous;
	set->ahead_count -= c->ahead_since_usec > 0;
	consumers_give_back(set, &c->visitor);
	if (set->drain_next == c)
		set->drain_next = c->next;
	if (set->next_served == c)
		set->next_served = c->next;
	free(c);
	if (--set->count == 0 && set->stopping)
		set->stopped(set->stopped_arg);
}

static void begin_close(struct consumer *c, enum consumer_end end, enum websocket_code code)
{
	if (c->closing)
		return;
	c->closing = true;
	c->end = end;
	c->close_code = code;
	c->deadline_usec = loop_now_usec(c->set->loop) + CONSUMER_CLOSE_USEC;
}

void consumer_close(struct consumer *c, enum consumer_end end)
{
	begin_close(c, end, ends[end].code);
	consumer_pump(c);
}

/* ---- what goes out ---- */

enum step {
	STEP_AGAIN,   /* something was done; there may be more */
	STEP_IDLE,    /* nothing to send */
	STEP_BLOCKED, /* there is something to send, in another turn */
	STEP_OVER,    /* the consumer has ended, as c->end says */
};

static enum step written(struct consumer *c, ssize_t n)
{
	if (n > 0) {
		c->written_bytes += (uint64_t)n;
		*c->set->bytes_total += (uint64_t)n;
		c->quiet_usec = loop_now_usec(c->set->loop);
		return STEP_AGAIN;
	}
	if (n == 0 || errno == EAGAIN || errno == EINTR)
		return STEP_BLOCKED;
	if (!c->closing)
		c->end = END_GONE;
	return STEP_OVER;
}

static enum step send_out(struct consumer *c)
{
	ssize_t n = wire_send(&c->wire, buf_span(&c->out));
	enum step step = written(c, n);

	if (step != STEP_AGAIN)
		return step;
	if ((size_t)n < c->out.len) {
		buf_consume(&c->out, (size_t)n);
		return step;
	}
	buf_trim(&c->out, 0);
	if (c->ping_bytes == NOT_SENT)
		c->ping_bytes = wire_count(&c->wire).written;
	return step;
}

static void log_broken(const struct consumer *c, const char *reason)
{
	unsigned left_out = 0;

	if (log_limit_pass(&c->set->log_limit, &left_out))
		log_error("log: seq=%" PRIu64 " cannot be read: %s (%u such lines left out)",
			  c->place.seq, reason, left_out);
}

static enum step send_range(struct consumer *c)
{
	ssize_t n = wire_send_file(&c->wire, c->place.file->messages_fd, c->range.start,
				   (size_t)(c->range.end - c->range.start));

	/* The disk fails, or the file is shorter than its index says; the middle of a message is no
	 * place for a close frame. */
	if (n == 0 || (n < 0 && errno == EIO)) {
		log_broken(c, n < 0 ? "the disk fails" : "its file ends early");
		c->end = END_LOG_BROKEN;
		return STEP_OVER;
	}
	enum step step = written(c, n);
	if (step != STEP_AGAIN)
		return step;
	c->range.start += (uint64_t)n;
	if (c->range.start < c->range.end)
		return STEP_BLOCKED;
	*c->set->events_total += c->range.events;
	c->sent_events += c->range.events;
	return STEP_AGAIN;
}

static enum step begin_range(struct consumer *c)
{
	int found = place_next(&c->place, c->set->window, &c->range);

	if (found > 0) {
		place_advance(&c->place, &c->range);
		/* Whoever is behind reads old pages, and sendfile would wait for the disk with
		 * everybody waiting for us. */
		if (consumer_lag(c) > c->range.events)
			posix_fadvise(c->place.file->messages_fd, (off_t)c->range.end, RANGE_BYTES,
				      POSIX_FADV_WILLNEED);
		return STEP_AGAIN;
	}
	if (found == 0)
		return STEP_IDLE;
	if (found != -ENOENT)
		log_broken(c, strerror(-found));
	enum consumer_end end = found == -ENOENT ? END_FELL_BEHIND : END_LOG_BROKEN;
	begin_close(c, end, ends[end].code);
	return STEP_AGAIN;
}

static void put_close(struct consumer *c)
{
	if (ends[c->end].error)
		notice_put_error(&c->out, ends[c->end].error, ends[c->end].message);
	websocket_put_close(&c->out, c->close_code,
			    ends[c->end].error ? ends[c->end].error : ends[c->end].message);
	c->close_sent = true;
}

/* On a message boundary, and everything before it is sent. */
static enum step begin_next(struct consumer *c, bool had_range)
{
	if (c->close_sent)
		return c->close_received ? STEP_OVER : STEP_IDLE;
	if (c->closing) {
		put_close(c);
		return STEP_AGAIN;
	}
	if (c->pong_owed) {
		c->pong_owed = false;
		websocket_put_control(&c->out, WEBSOCKET_OP_PONG, span_of(c->pong, c->pong_len));
		return STEP_AGAIN;
	}
	if (c->ping_due) {
		c->ping_due = false;
		websocket_put_control(&c->out, WEBSOCKET_OP_PING, SPAN_EMPTY);
		c->ping_usec = loop_now_usec(c->set->loop);
		c->ping_bytes = NOT_SENT;
		return STEP_AGAIN;
	}
	if (had_range)
		return consumer_lag(c) > 0 ? STEP_BLOCKED : STEP_IDLE;
	return begin_range(c);
}

void consumer_pump(struct consumer *c)
{
	enum step step = STEP_AGAIN;
	bool had_range = false;

	/* One range at most, and each of the other things once. */
	while (step == STEP_AGAIN) {
		if (c->out.len > 0) {
			step = send_out(c);
		} else if (c->range.start < c->range.end) {
			step = send_range(c);
			had_range = true;
		} else {
			step = begin_next(c, had_range);
		}
	}
	if (step == STEP_OVER) {
		consumer_free(c, c->end);
		return;
	}
	uint32_t events = step == STEP_BLOCKED ? EPOLLIN | EPOLLOUT : EPOLLIN;
	if (events != c->events)
		loop_io_change(c->set->loop, &c->io, events);
	c->events = events;
}

/* ---- what comes in ---- */

/* false: what follows does not matter any more. */
static bool take_event(struct consumer *c, enum websocket_event event)
{
	switch (event) {
	case WEBSOCKET_PING:
		c->pong_owed = true;
		c->pong_len = c->input.len;
		memcpy(c->pong, c->input.payload, c->input.len);
		return true;
	case WEBSOCKET_CLOSE:
		c->close_received = true;
		begin_close(c, END_CLOSED, c->input.code);
		return false;
	case WEBSOCKET_BAD:
		begin_close(c, c->input.code == WEBSOCKET_TOO_BIG ? END_TOO_BIG : END_PROTOCOL,
			    c->input.code);
		return false;
	default:
		return true;
	}
}

/* Whether it has sent more than it may. */
static bool is_flood(struct consumer *c, size_t bytes, uint64_t now_usec)
{
	uint64_t allowed = (now_usec - c->input_usec) * CONSUMER_INPUT_RATE / USEC_PER_SEC;

	/* Little by little, so that nothing is lost to rounding. */
	if (allowed > 0) {
		c->input_bytes -= allowed < c->input_bytes ? allowed : c->input_bytes;
		c->input_usec = now_usec;
	}
	c->input_bytes += bytes;
	return c->input_bytes > CONSUMER_INPUT_BYTES;
}

void consumer_feed(struct consumer *c, struct span bytes)
{
	c->quiet_usec = loop_now_usec(c->set->loop);
	c->ping_usec = 0;
	if (!c->deaf && is_flood(c, bytes.len, c->quiet_usec)) {
		begin_close(c, END_FLOOD, ends[END_FLOOD].code);
		c->deaf = true;
	}
	while (!c->deaf && bytes.len > 0)
		c->deaf = !take_event(c, websocket_input_get(&c->input, &bytes));
	consumer_pump(c);
}

static void read_some(struct consumer *c)
{
	uint8_t bytes[WIRE_RECEIVE_BYTES];
	ssize_t n = wire_receive(&c->wire, bytes, sizeof(bytes));

	if (n > 0)
		consumer_feed(c, span_of(bytes, (size_t)n));
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		consumer_free(c, c->closing                 ? c->end
				 : n < 0 && errno == EDQUOT ? END_FLOOD
							    : END_GONE);
	else
		consumer_pump(c);
}

static void on_ready(void *arg, uint32_t events)
{
	struct consumer *c = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		read_some(c);
	else
		consumer_pump(c);
}

/* ---- deadlines ---- */

uint64_t consumer_lag(const struct consumer *c)
{
	uint64_t next_seq = c->set->window->head.next_seq;
	uint64_t lag = c->place.seq < next_seq ? next_seq - c->place.seq : 0;

	return c->range.start < c->range.end ? lag + c->range.events : lag;
}

static bool is_silent(const struct consumer *c, uint64_t now_usec)
{
	return c->ping_usec > 0 && now_usec - c->ping_usec >= c->set->settings.ping_usec;
}

void consumer_check(struct consumer *c, uint64_t now_usec)
{
	/* What waits in our kernel's queue was not taken by anybody. */
	struct wire_count count = wire_count(&c->wire);
	bool waits = c->events & EPOLLOUT || count.taken < count.written;

	if (count.taken > c->taken_bytes || !waits)
		c->moved_usec = now_usec;
	/* Whoever takes events behind a ping is alive, and may be far from the ping yet. */
	if (count.taken > c->taken_bytes && count.taken > c->ping_bytes)
		c->ping_usec = 0;
	c->taken_bytes = count.taken;
	if (c->closing) {
		if (now_usec >= c->deadline_usec)
			consumer_free(c, c->end);
	} else if (is_silent(c, now_usec)) {
		consumer_free(c, END_SILENT);
	} else if (now_usec - c->moved_usec >= c->set->settings.progress_usec) {
		consumer_close(c, END_STALLED);
	} else if (!waits && c->ping_usec == 0 &&
		   now_usec - c->quiet_usec >= c->set->settings.ping_usec) {
		c->ping_due = true;
		consumer_pump(c);
	}
}
