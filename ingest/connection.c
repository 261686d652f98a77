#include "ingest/connection.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "common/limits.h"
#include "common/memory.h"
#include "ingest/handshake.h"

#define TURN_BYTES        KIB(256) /* read from one socket before others have their turn */
#define REQUEST_BYTES_MAX (CONNECTION_TARGET_MAX + LIMIT_HOST + 512)

#define PORT_TLS   443
#define PORT_PLAIN 80

enum phase { PHASE_NAME, PHASE_STREAM, PHASE_UPGRADE, PHASE_OPEN, PHASE_OVER };

struct connection {
	struct dialer *dialer;
	struct connection_handler handler;
	struct host host;
	bool plain;
	enum phase phase;
	struct resolver_query *query;
	struct address addresses[RESOLVER_ADDRESSES_MAX]; /* allowed ones */
	size_t address_count;
	size_t address_next;
	uint64_t deadline_usec; /* of all before OPEN */
	struct stream *stream;
	struct loop_io io;
	struct loop_timer
		timer; /* before OPEN: the present address's deadline; then: pings and silence */
	struct loop_task again; /* reading goes on in the next turn, or the end is to be reported */
	struct handshake handshake;
	struct buf out;  /* the request, as far as it is not written */
	struct buf head; /* the answer; then what came after it, until it is read */
	struct websocket *websocket;
	size_t turn_bytes_left;
	uint64_t heard_usec; /* when `received` was last seen to change */
	uint64_t moved_usec; /* when `messages` was, or no message was begun */
	uint64_t received;
	uint64_t messages;
	struct connection_report report;
	char target[CONNECTION_TARGET_MAX];
};

static const char *const end_names[END_COUNT] = {
	[END_NAME] = "dns",
	[END_FORBIDDEN] = "forbidden_address",
	[END_CONNECT] = "connect",
	[END_TLS] = "tls",
	[END_SLOW] = "connect_timeout",
	[END_HANDSHAKE] = "bad_handshake",
	[END_REDIRECT] = "redirect",
	[END_LATER] = "rate_limited",
	[END_STATUS] = "http_status",
	[END_LOST] = "lost",
	[END_CLOSED] = "closed",
	[END_SILENT] = "silent",
	[END_TEXT] = "text_frame",
	[END_OVERSIZE] = "oversize",
	[END_FRAMING] = "framing",
	[END_FLOOD] = "ping_flood",
	[END_REFUSED] = "stream_refused",
	[END_CROWDED] = "crowded_out",
};

static void try_next_address(struct connection *c);

const char *connection_end_name(enum connection_end e)
{
	return end_names[e];
}

static uint64_t now(const struct connection *c)
{
	return loop_now_usec(c->dialer->loop);
}

static void drop_stream(struct connection *c)
{
	loop_io_remove(c->dialer->loop, &c->io);
	stream_free(c->stream);
	c->stream = NULL;
}

/* The handler hears of it in the next turn. */
static void end(struct connection *c, enum connection_end e, const char *format, ...) PRINTF(3, 4);

static void end(struct connection *c, enum connection_end e, const char *format, ...)
{
	va_list args;

	if (c->phase == PHASE_OVER)
		return;
	c->phase = PHASE_OVER;
	c->report.end = e;
	va_start(args, format);
	vsnprintf(c->report.text, sizeof(c->report.text), format, args);
	va_end(args);
	loop_timer_cancel(c->dialer->loop, &c->timer);
	drop_stream(c);
	loop_task_queue(c->dialer->loop, &c->again);
}

/* Open: reading, pinging, watching. */

static void end_websocket(struct connection *c)
{
	enum websocket_state state = websocket_state(c->websocket);

	switch (state) {
	case WEBSOCKET_OPEN:
		break;
	case WEBSOCKET_TRANSPORT:
		end(c, END_LOST, "the connection was lost");
		break;
	case WEBSOCKET_CLOSED:
		end(c, END_CLOSED, "the host closed the stream with status %u",
		    websocket_close_status(c->websocket));
		break;
	case WEBSOCKET_TEXT:
		websocket_close(c->websocket, 1003);
		end(c, END_TEXT, "a text message");
		break;
	case WEBSOCKET_OVERSIZE:
		websocket_close(c->websocket, 1009);
		end(c, END_OVERSIZE, "a message of more than %d bytes", LIMIT_FRAME);
		break;
	case WEBSOCKET_FRAMING:
		end(c, END_FRAMING, "not the framing of WebSocket");
		break;
	case WEBSOCKET_FLOOD:
		end(c, END_FLOOD, "pings faster than they can be answered");
		break;
	case WEBSOCKET_REFUSED:
		websocket_close(c->websocket, 1008);
		end(c, END_REFUSED, "the stream was refused");
		break;
	case WEBSOCKET_CROWDED:
		websocket_close(c->websocket, 1013);
		end(c, END_CROWDED,
		    "its unfinished message, or the one that had to wait, was too "
		    "large for what all hosts together may have");
		break;
	}
}

/* Not reading, the socket is not watched at all: an error on it would wake the loop for ever. */
static void watch(struct connection *c)
{
	struct loop *l = c->dialer->loop;
	uint32_t events = EPOLLIN | stream_events(c->stream);

	if (websocket_is_holding(c->websocket)) {
		loop_io_remove(l, &c->io);
		return;
	}
	if (websocket_wants_write(c->websocket))
		events |= EPOLLOUT;
	if (c->io.fd < 0)
		loop_io_add(l, &c->io, stream_fd(c->stream), events);
	else
		loop_io_change(l, &c->io, events);
}

static ssize_t read_leftover(struct connection *c, uint8_t *ret, size_t size)
{
	size_t n = c->head.len < size ? c->head.len : size;

	memcpy(ret, c->head.ptr, n);
	buf_consume(&c->head, n);
	if (c->head.len == 0)
		buf_trim(&c->head, 0);
	return (ssize_t)n;
}

static ssize_t websocket_read(void *arg, uint8_t *ret, size_t size)
{
	struct connection *c = arg;
	ssize_t n;

	if (c->head.len)
		return read_leftover(c, ret, size);
	if (c->turn_bytes_left == 0)
		return -EAGAIN;
	n = stream_read(c->stream, ret, size < c->turn_bytes_left ? size : c->turn_bytes_left);
	if (n > 0)
		c->turn_bytes_left -= (size_t)n;
	return n;
}

static ssize_t websocket_write(void *arg, const uint8_t *bytes, size_t len)
{
	struct connection *c = arg;

	return stream_write(c->stream, bytes, len);
}

static int websocket_message(void *arg, struct span message)
{
	struct connection *c = arg;

	return c->handler.message(c->handler.arg, message);
}

/* One that has ended may be chosen before it is gone. */
static void websocket_crowded(void *arg)
{
	struct connection *c = arg;

	if (c->phase == PHASE_OPEN)
		end_websocket(c);
}

static void read_messages(struct connection *c)
{
	c->turn_bytes_left = TURN_BYTES;
	websocket_receive(c->websocket);
	end_websocket(c);
	if (c->phase != PHASE_OPEN)
		return;
	watch(c);
	if (c->turn_bytes_left == 0 && !websocket_is_holding(c->websocket))
		loop_task_queue(c->dialer->loop, &c->again);
}

/* Every tick brings a ping, so one comes in good time before a host counts as silent. */
static uint64_t tick_usec(const struct connection *c)
{
	uint64_t half = c->dialer->read_timeout_usec / 2;

	return c->dialer->ping_interval_usec < half ? c->dialer->ping_interval_usec : half;
}

/* What has come in since the last tick. While nothing is read, nothing can be heard. */
static void note_progress(struct connection *c)
{
	uint64_t received = websocket_received(c->websocket);
	uint64_t messages = websocket_messages(c->websocket);
	bool reading = c->io.fd >= 0;

	if (received != c->received || !reading)
		c->heard_usec = now(c);
	if (messages != c->messages || !reading || !websocket_is_amid(c->websocket))
		c->moved_usec = now(c);
	c->received = received;
	c->messages = messages;
}

static void tick(struct connection *c)
{
	uint64_t limit = c->dialer->read_timeout_usec;

	note_progress(c);
	if (now(c) - c->heard_usec >= limit || now(c) - c->moved_usec >= limit) {
		end(c, END_SILENT, "nothing was heard for %" PRIu64 " s", limit / USEC_PER_SEC);
		return;
	}
	if (c->io.fd >= 0) {
		websocket_ping(c->websocket);
		end_websocket(c);
		if (c->phase == PHASE_OPEN)
			watch(c);
	}
	if (c->phase == PHASE_OPEN)
		loop_timer_set(c->dialer->loop, &c->timer, tick_usec(c));
}

static void begin_messages(struct connection *c)
{
	const struct websocket_handler h = {websocket_read, websocket_write, websocket_message,
					    websocket_crowded, c};

	c->phase = PHASE_OPEN;
	buf_release(&c->out);
	if (c->head.len == 0)
		buf_trim(&c->head, 0);
	c->websocket = websocket_new(&c->dialer->pool, &h);
	c->heard_usec = c->moved_usec = now(c);
	loop_timer_set(c->dialer->loop, &c->timer, tick_usec(c));
	c->handler.opened(c->handler.arg);
	read_messages(c);
}

/* The handshake. */

static void take_answer(struct connection *c, enum handshake_result result,
			const struct handshake_answer *answer)
{
	switch (result) {
	case HANDSHAKE_MORE:
		break;
	case HANDSHAKE_DONE:
		buf_consume(&c->head, answer->head_bytes);
		begin_messages(c);
		break;
	case HANDSHAKE_BAD:
		end(c, END_HANDSHAKE, "the answer opens no WebSocket");
		break;
	case HANDSHAKE_TOO_LARGE:
		end(c, END_HANDSHAKE, "an answer of more than %d bytes", LIMIT_HTTP_HEAD);
		break;
	case HANDSHAKE_REDIRECT:
		end(c, END_REDIRECT, "HTTP status %u, a redirect", answer->status);
		break;
	case HANDSHAKE_LATER:
		c->report.retry_after_usec = answer->retry_after_usec;
		end(c, END_LATER, "HTTP status %u", answer->status);
		break;
	case HANDSHAKE_REFUSED:
		end(c, END_STATUS, "HTTP status %u", answer->status);
		break;
	}
}

/* 0, or what stream_read says. */
static int read_answer(struct connection *c)
{
	size_t room = LIMIT_HTTP_HEAD - c->head.len, before = c->head.len;
	struct handshake_answer answer = {0};
	enum handshake_result result;
	uint8_t *into = buf_extend(&c->head, room);
	ssize_t n = stream_read(c->stream, into, room);

	c->head.len = before + (n > 0 ? (size_t)n : 0);
	if (n <= 0)
		return n < 0 ? (int)n : -ECONNRESET;
	result = handshake_parse(&c->handshake, buf_span(&c->head), &answer);
	take_answer(c, result, &answer);
	return 0;
}

static int write_request(struct connection *c)
{
	while (c->out.len) {
		ssize_t n = stream_write(c->stream, c->out.ptr, c->out.len);

		if (n <= 0)
			return n < 0 ? (int)n : -EPIPE;
		buf_consume(&c->out, (size_t)n);
	}
	return 0;
}

static void go_on_upgrading(struct connection *c)
{
	int error = write_request(c);

	while (!error && c->phase == PHASE_UPGRADE)
		error = read_answer(c);
	if (c->phase != PHASE_UPGRADE)
		return;
	if (error == -EAGAIN)
		loop_io_change(c->dialer->loop, &c->io, stream_events(c->stream));
	else
		end(c, END_HANDSHAKE, "no answer: %s", strerror(-error));
}

static void begin_upgrade(struct connection *c)
{
	char name[LIMIT_HOST + 1];

	c->phase = PHASE_UPGRADE;
	handshake_init(&c->handshake);
	handshake_request(&c->handshake, host_format(&c->host, name), c->target, &c->out);
	loop_timer_set(c->dialer->loop, &c->timer,
		       c->deadline_usec > now(c) ? c->deadline_usec - now(c) : 0);
	go_on_upgrading(c);
}

/* TCP and TLS. A failure of one address leads to the next; the last one's is reported. */

static void fail_address(struct connection *c, int error)
{
	const char *reason = c->stream ? stream_error(c->stream) : "";
	bool tls = error == -EPROTO || (c->stream && stream_is_connected(c->stream));

	c->report.end = tls ? END_TLS : END_CONNECT;
	snprintf(c->report.text, sizeof(c->report.text), "%s: %s", tls ? "TLS" : "TCP",
		 *reason ? reason : strerror(-error));
	drop_stream(c);
	try_next_address(c);
}

static void go_on_opening(struct connection *c)
{
	int error = stream_open(c->stream);

	if (!error)
		begin_upgrade(c);
	else if (error == -EAGAIN)
		loop_io_change(c->dialer->loop, &c->io, stream_events(c->stream));
	else
		fail_address(c, error);
}

static void try_next_address(struct connection *c)
{
	struct dialer *d = c->dialer;
	uint64_t left = c->deadline_usec > now(c) ? c->deadline_usec - now(c) : 0;
	int error = -EAGAIN;

	while (error && c->address_next < c->address_count) {
		struct address *a = &c->addresses[c->address_next];

		loop_timer_set(d->loop, &c->timer, left / (c->address_count - c->address_next));
		c->address_next++;
		error = stream_new(c->plain ? NULL : d->tls, c->host.name,
				   (struct sockaddr *)&a->sockaddr, a->len, &c->stream);
		if (error) {
			c->report.end = END_CONNECT;
			snprintf(c->report.text, sizeof(c->report.text), "TCP: %s",
				 strerror(-error));
		}
	}
	if (error) {
		char text[sizeof(c->report.text)];

		snprintf(text, sizeof(text), "%s", c->report.text);
		end(c, c->report.end, "%s", text);
		return;
	}
	c->phase = PHASE_STREAM;
	loop_io_add(d->loop, &c->io, stream_fd(c->stream), stream_events(c->stream));
}

/* Names. */

static void take_addresses(struct connection *c, const struct address *addresses, size_t count)
{
	for (size_t i = 0; i < count && c->address_count < RESOLVER_ADDRESSES_MAX; i++)
		if (host_policy_allows(c->dialer->policy, &c->host,
				       (const struct sockaddr *)&addresses[i].sockaddr))
			c->addresses[c->address_count++] = addresses[i];
	if (c->address_count == 0)
		end(c, END_FORBIDDEN, "its addresses may not be connected to");
	else
		try_next_address(c);
}

static void on_addresses(void *arg, int error, const struct address *addresses, size_t count)
{
	struct connection *c = arg;

	c->query = NULL;
	if (error == -ENOENT)
		end(c, END_NAME, "no such name");
	else if (error)
		end(c, END_NAME, "the name cannot be resolved now");
	else
		take_addresses(c, addresses, count);
}

static void find_addresses(struct connection *c)
{
	uint16_t port = c->host.port ? c->host.port : c->plain ? PORT_PLAIN : PORT_TLS;
	struct address a = {0};

	if (host_policy_address(c->dialer->policy, &c->host, port, &a.sockaddr, &a.len) == 0)
		take_addresses(c, &a, 1);
	else
		c->query = resolver_ask(c->dialer->resolver, c->host.name, port, on_addresses, c);
}

/* The loop. */

static void on_ready(void *arg, uint32_t events)
{
	struct connection *c = arg;

	if (c->phase == PHASE_STREAM)
		go_on_opening(c);
	else if (c->phase == PHASE_UPGRADE)
		go_on_upgrading(c);
	else if (c->phase == PHASE_OPEN) {
		if (events & EPOLLOUT)
			websocket_flush(c->websocket);
		read_messages(c);
	}
}

static void on_timer(void *arg)
{
	struct connection *c = arg;

	if (c->phase == PHASE_OPEN)
		tick(c);
	else if (c->phase == PHASE_STREAM && c->address_next < c->address_count)
		fail_address(c, -ETIMEDOUT);
	else
		end(c, END_SLOW, "not open in time");
}

static void on_again(void *arg)
{
	struct connection *c = arg;
	struct connection_report report = c->report;

	if (c->phase == PHASE_OVER)
		c->handler.ended(c->handler.arg, &report);
	else if (c->phase == PHASE_NAME)
		find_addresses(c);
	else if (c->phase == PHASE_OPEN)
		read_messages(c);
}

struct connection *connection_new(struct dialer *d, const struct host *host, const char *target,
				  const struct connection_handler *h)
{
	struct connection *c = xcalloc(1, sizeof(*c));

	c->dialer = d;
	c->handler = *h;
	c->host = *host;
	c->plain = host_policy_is_plain(d->policy, host);
	c->phase = PHASE_NAME;
	c->deadline_usec = now(c) + d->connect_timeout_usec;
	assert(strlen(target) < sizeof(c->target));
	snprintf(c->target, sizeof(c->target), "%s", target);
	buf_init(&c->out, REQUEST_BYTES_MAX);
	buf_init(&c->head, LIMIT_HTTP_HEAD);
	loop_io_init(&c->io, on_ready, c);
	loop_timer_init(&c->timer, on_timer, c);
	loop_task_init(&c->again, on_again, c);
	loop_timer_set(d->loop, &c->timer, d->connect_timeout_usec);
	loop_task_queue(d->loop, &c->again);
	return c;
}

void connection_free(struct connection *c)
{
	if (!c)
		return;
	if (c->phase == PHASE_OPEN)
		websocket_close(c->websocket, 1001);
	resolver_forget(c->query);
	loop_timer_cancel(c->dialer->loop, &c->timer);
	loop_task_cancel(c->dialer->loop, &c->again);
	drop_stream(c);
	websocket_free(c->websocket);
	buf_release(&c->out);
	buf_release(&c->head);
	free(c);
}

bool connection_is_open(const struct connection *c)
{
	return c->phase == PHASE_OPEN;
}

bool connection_is_holding(const struct connection *c)
{
	return c->phase == PHASE_OPEN && websocket_is_holding(c->websocket);
}

void connection_resume(struct connection *c)
{
	if (!connection_is_holding(c))
		return;
	websocket_resume(c->websocket);
	end_websocket(c);
	if (c->phase == PHASE_OPEN && !websocket_is_holding(c->websocket))
		loop_task_queue(c->dialer->loop, &c->again);
}

size_t connection_memory_bytes(const struct connection *c)
{
	return (size_t)memory_block_bytes(c) + c->out.cap + c->head.cap +
	       (c->stream ? stream_memory_bytes(c->stream) : 0) +
	       (c->websocket ? websocket_memory_bytes(c->websocket) : 0);
}
