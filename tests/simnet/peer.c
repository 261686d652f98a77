#include "tests/simnet/peer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define GATHER_BYTES  KIB(64)             /* given to TLS at a time: four records */
#define GATHER_MAX    MIB(64)             /* a gathered message is whole, however large */
#define PARTS         64                  /* messages in one write without TLS */
#define TURN_BYTES    MIB(1)              /* for one connection; then others have their turn */
#define IN_MAX        KIB(32)             /* a request's head, or frames of a client */
#define PONGS_MAX     KIB(64)             /* of pongs that are not taken: the client is cut */
#define CONTROL_MAX   125                 /* bytes in a control frame [RFC 6455, section 5.5] */
#define SLOW_USEC     USEC_PER_MSEC       /* between two bytes of a slow host */
#define SLOW_BURST    8                   /* bytes that are made up for when the loop was late */
#define LINGER_USEC   (10 * USEC_PER_SEC) /* for a peer to end after us */
#define FRAME_CONTROL 0x08
#define FRAME_CLOSE   0x08
#define FRAME_PING    0x09
#define FIRST_PONG    0x8a
#define FIRST_CLOSE   0x88
#define FIRST_BINARY  0x82
#define HEAD_MAX      10 /* bytes before a payload that is not masked */

enum phase {
	PHASE_SILENT,
	PHASE_TLS,
	PHASE_HTTP,
	PHASE_STREAM,
	PHASE_ENDED, /* all is said; what still comes is not read */
	PHASE_GONE,  /* to be freed */
};

struct insert {
	struct insert *next;
	size_t before; /* this place of the backlog */
	bool is_event;
	size_t len;
	uint8_t bytes[];
};

struct peer {
	struct peer_room *room;
	struct peer_list *list;
	struct pds *pds;
	struct link link;
	enum phase phase;
	bool busy;       /* a request is not answered yet */
	bool persistent; /* more requests may come */
	bool held;       /* the answer is kept back */
	bool blocked;    /* the socket takes no more */
	bool ends;       /* when all is out */
	uint32_t events; /* that the socket is watched for */
	struct loop_io io;
	struct loop_timer timer; /* the answer is let go; the next byte; the end */
	struct buf in, out;
	size_t place; /* in the backlog: what is sent next */
	struct insert *inserts, **inserts_end;
	uint64_t insert_bytes;
	size_t pong_bytes;   /* in out */
	uint64_t paced_usec; /* up to which a slow host has said its bytes; 0: it says nothing */
	uint64_t counted;    /* of it in the room's pending_bytes */
	uint64_t skipping;   /* bytes of a client's message that are yet to come */
	TAILQ_ENTRY(peer) link_in_list;
};

/* What is sent next: a frame of the backlog with its head, or an insert. */
struct message {
	uint8_t head[HEAD_MAX];
	size_t head_len;
	struct span body;
};

/* Where in the stream of messages: the backlog's place and the first insert behind it. */
struct position {
	size_t place;
	const struct insert *insert;
};

void peer_room_init(struct peer_room *room, struct loop *l)
{
	*room = (struct peer_room){.loop = l};
	buf_init(&room->gathered, GATHER_MAX);
}

void peer_room_release(struct peer_room *room)
{
	buf_release(&room->gathered);
}

/* Not masked. */
static size_t put_head(uint8_t ret[static HEAD_MAX], uint8_t first, size_t len)
{
	size_t bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

	ret[0] = first;
	ret[1] = bytes == 0 ? (uint8_t)len : bytes == 2 ? 126 : 127;
	for (size_t i = 0; i < bytes; i++)
		ret[2 + i] = (uint8_t)((uint64_t)len >> 8 * (bytes - 1 - i));
	return 2 + bytes;
}

/* Counting. */

static uint64_t pending_bytes(const struct peer *p)
{
	uint64_t backlog = 0;

	if (p->phase == PHASE_STREAM)
		backlog = backlog_bytes(&p->pds->backlog, p->place);
	return p->phase == PHASE_GONE ? 0 : backlog + p->insert_bytes + p->out.len;
}

static void count(struct peer *p)
{
	uint64_t now = pending_bytes(p);

	p->room->pending_bytes += now - p->counted;
	p->counted = now;
}

static void count_subscriber(struct peer *p, int change)
{
	bool was = p->pds->subscribers > 0;

	p->pds->subscribers += (uint32_t)change;
	p->room->subscribers += (uint32_t)change;
	p->room->subscribed += (uint32_t)((p->pds->subscribers > 0) - was);
}

static void leave(struct peer *p, enum phase next)
{
	if (p->phase == PHASE_STREAM)
		count_subscriber(p, -1);
	p->phase = next;
}

static bool is_slow(const struct peer *p)
{
	return p->pds && p->pds->manner == SLOW;
}

static bool is_deaf(const struct peer *p)
{
	return p->phase == PHASE_STREAM && p->pds->manner == NO_READ;
}

/* Messages in their order. */

static struct position position_of(const struct peer *p)
{
	return (struct position){p->place, p->inserts};
}

static bool next_message(const struct peer *p, struct position *at, struct message *ret)
{
	if (p->phase != PHASE_STREAM)
		return false;
	if (at->insert && at->insert->before <= at->place) {
		ret->head_len = 0;
		ret->body = span_of(at->insert->bytes, at->insert->len);
		at->insert = at->insert->next;
		return true;
	}
	if (at->place == p->pds->backlog.count)
		return false;
	ret->body = backlog_frame(&p->pds->backlog, at->place);
	ret->head_len = put_head(ret->head, FIRST_BINARY, ret->body.len);
	at->place++;
	return true;
}

static void drop_insert(struct peer *p)
{
	struct insert *i = p->inserts;

	p->insert_bytes -= i->len;
	p->inserts = i->next;
	if (!p->inserts)
		p->inserts_end = &p->inserts;
	free(i);
}

/* What next_message gave is out, or copied. */
static void take_message(struct peer *p)
{
	if (p->inserts && p->inserts->before <= p->place) {
		p->room->events += p->inserts->is_event;
		drop_insert(p);
		return;
	}
	p->place++;
	p->room->events++;
}

static void append_message(struct buf *b, const struct message *m)
{
	buf_append(b, span_of(m->head, m->head_len));
	buf_append(b, m->body);
}

/* Takes what was written of these messages; the rest of one that was begun is copied. Returns
 * whether all was. */
static bool take_written(struct peer *p, const struct message *messages, size_t count, size_t n)
{
	for (size_t i = 0; i < count; i++) {
		const struct message *m = &messages[i];
		size_t size = m->head_len + m->body.len;

		if (n == 0)
			return false;
		if (n < size) {
			append_message(&p->out, m);
			buf_consume(&p->out, n);
			take_message(p);
			return false;
		}
		n -= size;
		take_message(p);
	}
	return true;
}

/* Writing. All return whether the socket took everything; false: it is full, or gone. */

static bool check_written(struct peer *p, ssize_t n)
{
	if (n >= 0)
		return true;
	if (n == -EAGAIN)
		p->blocked = true;
	else
		leave(p, PHASE_GONE);
	return false;
}

static bool write_out(struct peer *p, size_t max)
{
	size_t len = p->out.len < max ? p->out.len : max;
	ssize_t n = link_write(&p->link, span_of(p->out.ptr, len));

	if (!check_written(p, n))
		return false;
	buf_consume(&p->out, (size_t)n);
	if (p->out.len == 0)
		buf_trim(&p->out, 0);
	else if (max > len)
		p->blocked = true;
	return p->out.len == 0;
}

static bool write_parts(struct peer *p, size_t *bytes)
{
	struct message messages[PARTS];
	struct iovec parts[2 * PARTS];
	struct position at = position_of(p);
	size_t count = 0, sum = 0, k = 0;
	ssize_t n;

	while (count < PARTS && sum < TURN_BYTES && next_message(p, &at, &messages[count])) {
		struct message *m = &messages[count++];

		parts[k++] = (struct iovec){m->head, m->head_len};
		parts[k++] = (struct iovec){(void *)(uintptr_t)m->body.ptr, m->body.len};
		sum += m->head_len + m->body.len;
	}
	n = link_write_parts(&p->link, parts, k);
	if (!check_written(p, n))
		return false;
	*bytes += (size_t)n;
	p->blocked = !take_written(p, messages, count, (size_t)n);
	return !p->blocked;
}

static bool write_gathered(struct peer *p, size_t *bytes)
{
	struct buf *b = &p->room->gathered;
	struct position at = position_of(p);
	struct message m;
	ssize_t n;

	buf_trim(b, MIB(1));
	while (b->len < GATHER_BYTES && next_message(p, &at, &m)) {
		append_message(b, &m);
		take_message(p);
		at = position_of(p);
	}
	n = link_write(&p->link, buf_span(b));
	if (!check_written(p, n) && p->phase == PHASE_GONE)
		return false;
	buf_consume(b, n > 0 ? (size_t)n : 0);
	*bytes += n > 0 ? (size_t)n : 0;
	buf_append(&p->out, buf_span(b));
	p->blocked = b->len > 0;
	return !p->blocked;
}

/* How many bytes a slow host says now. */
static size_t count_due(struct peer *p)
{
	uint64_t now = loop_now_usec(p->room->loop), due;

	if (p->paced_usec == 0)
		p->paced_usec = now - SLOW_USEC;
	due = (now - p->paced_usec) / SLOW_USEC;
	p->paced_usec = due > SLOW_BURST ? now : p->paced_usec + due * SLOW_USEC;
	return due > SLOW_BURST ? SLOW_BURST : (size_t)due;
}

/* As many bytes as are due, and a while later the next. */
static void write_slowly(struct peer *p)
{
	struct position at = position_of(p);
	struct message m;
	size_t max;

	if (loop_timer_is_set(&p->timer))
		return;
	if (p->out.len == 0 && next_message(p, &at, &m)) {
		append_message(&p->out, &m);
		take_message(p);
	}
	if (p->out.len == 0) {
		p->paced_usec = 0;
		return;
	}
	/* What TLS could not write before has to be tried again whole. */
	max = p->blocked ? SIZE_MAX : count_due(p);
	p->blocked = false;
	if (write_out(p, max) || p->phase != PHASE_GONE)
		loop_timer_set(p->room->loop, &p->timer, SLOW_USEC);
}

static bool has_more(const struct peer *p)
{
	struct position at = position_of(p);
	struct message m;

	return p->out.len > 0 || next_message(p, &at, &m);
}

static void write_all(struct peer *p)
{
	size_t bytes = 0;

	p->blocked = false;
	if (p->out.len && !write_out(p, SIZE_MAX))
		return;
	while (has_more(p)) {
		if (bytes >= TURN_BYTES) {
			p->blocked = true; /* the socket says at once that it is not */
			return;
		}
		if (!(p->link.ssl ? write_gathered(p, &bytes) : write_parts(p, &bytes)))
			return;
	}
}

/* All is out. */
static void finish(struct peer *p)
{
	if (p->phase == PHASE_HTTP && p->busy) {
		p->busy = false;
		p->ends |= !p->persistent;
	}
	if (!p->ends)
		return;
	leave(p, PHASE_ENDED);
	p->blocked = false;
	link_end(&p->link);
	loop_timer_set(p->room->loop, &p->timer, LINGER_USEC);
}

static void flush(struct peer *p)
{
	if (p->held || (p->phase != PHASE_HTTP && p->phase != PHASE_STREAM))
		return;
	if (is_slow(p)) {
		write_slowly(p);
	} else {
		p->paced_usec = 0;
		write_all(p);
	}
	if (p->phase != PHASE_GONE && !has_more(p))
		finish(p);
}

/* Frames of the client. */

static void put_control(struct peer *p, uint8_t first, struct span payload)
{
	uint8_t head[HEAD_MAX];

	buf_append(&p->out, span_of(head, put_head(head, first, payload.len)));
	buf_append(&p->out, payload);
}

static void take_control(struct peer *p, uint8_t opcode, struct span payload)
{
	if (opcode == FRAME_CLOSE) {
		put_control(p, FIRST_CLOSE, payload);
		p->place = p->pds->backlog.count;
		while (p->inserts)
			drop_insert(p);
		p->ends = true;
	} else if (opcode == FRAME_PING && p->pds->manner != NO_PONG) {
		p->pong_bytes = p->out.len ? p->pong_bytes + payload.len : 0;
		if (p->pong_bytes <= PONGS_MAX)
			put_control(p, FIRST_PONG, payload);
		else
			leave(p, PHASE_GONE);
	}
}

static void unmask(uint8_t *payload, size_t len, const uint8_t mask[static 4])
{
	for (size_t i = 0; i < len; i++)
		payload[i] ^= mask[i % 4];
}

/* Takes a frame off the input. false: not all of it is there; or the client breaks the rules, and
 * is ended. Messages are not for a host to read [event stream]. */
static bool take_frame(struct peer *p)
{
	struct reader r = reader_of(buf_span(&p->in));
	uint64_t len = r.left >= 2 ? r.ptr[1] & 0x7f : 0;
	size_t head = len == 127 ? 14 : len == 126 ? 8 : 6;
	uint8_t opcode, *mask;

	if (r.left < head)
		return false;
	opcode = p->in.ptr[0] & 0x0f;
	mask = p->in.ptr + head - 4;
	if (len >= 126) {
		len = 0;
		for (const uint8_t *b = p->in.ptr + 2; b < mask; b++)
			len = len << 8 | *b;
	}
	if (!(p->in.ptr[1] & 0x80) || (opcode & FRAME_CONTROL && len > CONTROL_MAX)) {
		p->ends = true;
		return false;
	}
	if (!(opcode & FRAME_CONTROL)) {
		p->skipping = len;
		buf_consume(&p->in, head);
		return true;
	}
	if (r.left - head < len)
		return false;
	unmask(p->in.ptr + head, (size_t)len, mask);
	take_control(p, opcode, span_of(p->in.ptr + head, (size_t)len));
	buf_consume(&p->in, head + (size_t)len);
	return true;
}

static void take_frames(struct peer *p)
{
	while (p->phase == PHASE_STREAM && !p->ends) {
		size_t n = p->skipping < p->in.len ? (size_t)p->skipping : p->in.len;

		buf_consume(&p->in, n);
		p->skipping -= n;
		if (p->skipping || !take_frame(p))
			return;
	}
}

/* Requests. */

static void refuse_head(struct peer *p)
{
	struct buf json;

	buf_init(&json, KIB(1));
	answer_put_error(&json, "InvalidRequest", "not a request that is understood here");
	p->persistent = false;
	peer_answer(p, 400, "", buf_span(&json), 0);
	buf_release(&json);
}

static void take_requests(struct peer *p)
{
	while (p->phase == PHASE_HTTP && !p->busy && !p->ends) {
		struct request q;
		size_t size = 0;
		int error = request_parse(buf_span(&p->in), &q, &size);

		if (error == -EAGAIN)
			return;
		p->busy = true;
		if (error || q.has_body) {
			refuse_head(p);
			return;
		}
		p->persistent = q.is_persistent;
		p->room->request(p->room->arg, p, &q);
		if (p->phase != PHASE_GONE)
			buf_consume(&p->in, size);
		flush(p);
	}
}

static void take_input(struct peer *p)
{
	take_requests(p);
	take_frames(p);
	if (p->in.len == 0)
		buf_trim(&p->in, 0);
	flush(p);
}

/* The socket. */

static void keep(struct peer *p, struct span bytes)
{
	if (p->phase == PHASE_ENDED || p->ends)
		return;
	if (bytes.len > IN_MAX - p->in.len)
		leave(p, PHASE_GONE);
	else
		buf_append(&p->in, bytes);
}

/* TLS holds what the socket will not be readable for again, so all is read. */
static void receive(struct peer *p)
{
	while (p->phase != PHASE_GONE && !is_deaf(p)) {
		ssize_t n = link_read(&p->link, p->room->block, sizeof(p->room->block));

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			leave(p, PHASE_GONE);
			return;
		}
		keep(p, span_of(p->room->block, (size_t)n));
		take_input(p);
		if (!p->link.ssl && (size_t)n < sizeof(p->room->block))
			return;
	}
}

/* A silent host takes what it is sent and lets it fall. */
static void discard(struct peer *p)
{
	ssize_t n = recv(p->link.fd, p->room->block, sizeof(p->room->block), 0);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		leave(p, PHASE_GONE);
}

static void accept_tls(struct peer *p, uint32_t *ret_events)
{
	int error = link_accept(&p->link, ret_events);

	if (!error)
		p->phase = PHASE_HTTP;
	else if (error != -EAGAIN)
		leave(p, PHASE_GONE);
}

/* The last thing that is done in each call from outside: the peer may be gone then. */
static void settle(struct peer *p, uint32_t events)
{
	if (p->phase == PHASE_GONE) {
		peer_free(p);
		return;
	}
	if (p->blocked && !is_slow(p))
		events |= EPOLLOUT;
	if (is_deaf(p))
		events &= ~(uint32_t)EPOLLIN;
	if (events != p->events)
		loop_io_change(p->room->loop, &p->io, events);
	p->events = events;
	count(p);
}

static void on_ready(void *arg, uint32_t ready)
{
	struct peer *p = arg;
	uint32_t events = EPOLLIN;

	if (p->phase == PHASE_SILENT)
		discard(p);
	if (p->phase == PHASE_TLS)
		accept_tls(p, &events);
	if (p->phase == PHASE_HTTP || p->phase == PHASE_STREAM || p->phase == PHASE_ENDED) {
		if (ready & EPOLLOUT && !is_slow(p))
			flush(p);
		if (is_deaf(p) && ready & (EPOLLHUP | EPOLLERR))
			leave(p, PHASE_GONE);
		if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR))
			receive(p);
	}
	settle(p, events);
}

static void on_timer(void *arg)
{
	struct peer *p = arg;

	p->held = false;
	if (p->phase == PHASE_ENDED)
		leave(p, PHASE_GONE);
	else
		take_input(p);
	settle(p, EPOLLIN);
}

struct peer *peer_new(struct peer_room *room, struct peer_list *list, struct pds *pds, int fd,
		      SSL_CTX *context, bool is_silent)
{
	struct peer *p = xcalloc(1, sizeof(*p));

	p->room = room;
	p->list = list;
	p->pds = pds;
	p->phase = is_silent ? PHASE_SILENT : context ? PHASE_TLS : PHASE_HTTP;
	p->inserts_end = &p->inserts;
	p->events = EPOLLIN;
	buf_init(&p->in, IN_MAX);
	buf_init(&p->out, GATHER_MAX);
	link_open(&p->link, fd, is_silent ? NULL : context);
	loop_io_init(&p->io, on_ready, p);
	loop_timer_init(&p->timer, on_timer, p);
	loop_io_add(room->loop, &p->io, fd, p->events);
	TAILQ_INSERT_TAIL(list, p, link_in_list);
	return p;
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	leave(p, PHASE_GONE);
	count(p);
	loop_io_remove(p->room->loop, &p->io);
	loop_timer_cancel(p->room->loop, &p->timer);
	link_close(&p->link, true);
	while (p->inserts)
		drop_insert(p);
	buf_release(&p->in);
	buf_release(&p->out);
	TAILQ_REMOVE(p->list, p, link_in_list);
	free(p);
}

struct peer *peer_next(const struct peer *p)
{
	return TAILQ_NEXT(p, link_in_list);
}

struct pds *peer_pds(const struct peer *p)
{
	return p->pds;
}

bool peer_is_subscriber(const struct peer *p)
{
	return p->phase == PHASE_STREAM;
}

void peer_answer(struct peer *p, int status, const char *headers, struct span json,
		 uint64_t after_usec)
{
	assert(p->phase == PHASE_HTTP && p->busy);
	answer_put(&p->out, status, headers, json, p->persistent);
	p->held = after_usec > 0;
	if (p->held)
		loop_timer_set(p->room->loop, &p->timer, after_usec);
}

void peer_subscribe(struct peer *p, const struct request *q, size_t place)
{
	char key[REQUEST_ACCEPT_SIZE + 1];

	assert(p->phase == PHASE_HTTP && p->busy && place <= p->pds->backlog.count);
	request_accept_key(q, key);
	buf_printf(&p->out,
		   "HTTP/1.1 101 Switching Protocols\r\n"
		   "Server: simnet\r\n"
		   "Upgrade: websocket\r\n"
		   "Connection: Upgrade\r\n"
		   "Sec-WebSocket-Accept: %s\r\n"
		   "\r\n",
		   key);
	p->phase = PHASE_STREAM;
	p->place = place;
	count_subscriber(p, +1);
}

static void put(struct peer *p, struct span head, struct span body, bool is_event)
{
	struct insert *i = xmalloc(sizeof(*i) + head.len + body.len);

	assert(p->phase == PHASE_STREAM);
	i->next = NULL;
	i->before = p->pds->backlog.count;
	i->is_event = is_event;
	i->len = head.len + body.len;
	if (head.len > 0)
		memcpy(i->bytes, head.ptr, head.len);
	if (body.len > 0)
		memcpy(i->bytes + head.len, body.ptr, body.len);
	*p->inserts_end = i;
	p->inserts_end = &i->next;
	p->insert_bytes += i->len;
}

void peer_put_frame(struct peer *p, uint8_t first_byte, struct span payload, bool is_event)
{
	uint8_t head[HEAD_MAX];

	put(p, span_of(head, put_head(head, first_byte, payload.len)), payload, is_event);
}

void peer_put_bytes(struct peer *p, struct span bytes)
{
	put(p, SPAN_LITERAL(""), bytes, false);
}

void peer_flush(struct peer *p)
{
	flush(p);
	settle(p, p->phase == PHASE_TLS ? p->events : (uint32_t)EPOLLIN);
}

bool peer_rewind(struct peer *p)
{
	bool all = !has_more(p);

	p->place = 0;
	return all;
}

void peer_end(struct peer *p)
{
	p->ends = true;
}
