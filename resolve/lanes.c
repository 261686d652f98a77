#include "resolve/lanes.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"

#define LINES_PER_MINUTE 10 /* about messages that are refused, and about connections ended */

#define LANES_MAX   64   /* as group.lanes */
#define MESSAGE_MAX 4096 /* bytes of one identity: 2,600 with the longest DID, host and handle */

struct lane {
	struct lanes *lanes;
	unsigned number;
	struct pipe *pipe;
	struct buf outbox; /* u32 length and the message, each */
	bool held;
	bool refused; /* something of this connection was: nothing more of it is looked at */
	struct loop_task broken; /* breaks the connection, outside of any answer */
};

struct lanes {
	struct loop *loop;
	struct resolver *resolver;
	struct lane *lanes[LANES_MAX];
	unsigned count;
	bool stopped;
	struct buf message; /* that is being written */
	struct log_limit refused_log;
	struct log_limit broken_log;
	uint64_t *bad_messages;
	uint64_t *broken;
	uint64_t *dropped;
};

static void lane_hold_if(struct lane *l)
{
	bool hold = l->lanes->stopped || l->outbox.len >= LANES_HOLD_BYTES;

	if (hold == l->held)
		return;
	l->held = hold;
	pipe_hold(l->pipe, hold);
}

static void empty_outbox(struct lane *l)
{
	buf_trim(&l->outbox, 0);
	lane_hold_if(l);
}

static void on_up(void *arg)
{
	struct lane *l = arg;

	log_debug("validate is there lane=%u", l->number);
	lane_hold_if(l);
}

static void on_down(void *arg)
{
	struct lane *l = arg;

	loop_task_cancel(l->lanes->loop, &l->broken);
	l->refused = false;
	empty_outbox(l);
	resolver_forget(l->lanes->resolver, l);
}

static void break_lane(void *arg)
{
	struct lane *l = arg;
	unsigned left_out;

	*l->lanes->broken += 1;
	if (log_limit_pass(&l->lanes->broken_log, &left_out))
		log_warning("connection ended lane=%u left_out=%u", l->number, left_out);
	on_down(l);
	pipe_break(l->pipe);
}

static int take_lookup(struct lane *l, struct span message)
{
	struct reader r = reader_of(message);
	enum message_type type;
	struct lookup lookup;

	if (message_get_type(&r, &type) < 0 || type != MESSAGE_LOOKUP ||
	    lookup_decode(&r, &lookup) < 0)
		return -EBADMSG;
	resolver_lookup(l->lanes->resolver, &lookup, l);
	return 0;
}

/* A validate of another version is told so, once, and kept: if its connection were ended, it would
 * come again at once, for ever. Any other ends its connection, and may do better with the next. */
static void refuse(struct lane *l, struct span message)
{
	struct buf *b = &l->lanes->message;
	unsigned left_out, version;

	l->refused = true;
	if (message_is_foreign(message, &version)) {
		buf_clear(b);
		message_put_type(b, MESSAGE_REFUSED);
		(void)!pipe_send(l->pipe, buf_span(b)); /* an empty pipe takes it */
		if (log_limit_pass(&l->lanes->refused_log, &left_out))
			log_error("validate speaks another version: its lookups are not answered "
				  "lane=%u version=%u ours=%u left_out=%u",
				  l->number, version, MESSAGE_VERSION, left_out);
		return;
	}
	if (log_limit_pass(&l->lanes->refused_log, &left_out))
		log_error("message refused: no lookup lane=%u bytes=%zu left_out=%u", l->number,
			  message.len, left_out);
	loop_task_queue(l->lanes->loop, &l->broken);
}

static void on_message(void *arg, struct span message)
{
	struct lane *l = arg;

	if (!l->refused && take_lookup(l, message) == 0)
		return;
	*l->lanes->bad_messages += 1;
	if (!l->refused)
		refuse(l, message);
}

static void keep_message(struct lane *l, struct span message)
{
	if (message.len + sizeof(uint32_t) > LANES_OUTBOX_MAX - l->outbox.len) {
		*l->lanes->dropped += 1;
		loop_task_queue(l->lanes->loop, &l->broken);
		return;
	}
	buf_put_u32(&l->outbox, (uint32_t)message.len);
	buf_append(&l->outbox, message);
	lane_hold_if(l);
}

static void on_writable(void *arg)
{
	struct lane *l = arg;
	struct reader r = reader_of(buf_span(&l->outbox));
	size_t sent = 0;
	struct span message;
	uint32_t len;

	while (reader_get_u32(&r, &len) == 0 && reader_get_span(&r, len, &message) == 0) {
		if (pipe_send(l->pipe, message) < 0)
			break;
		sent += sizeof(len) + len;
	}
	buf_consume(&l->outbox, sent);
	lane_hold_if(l);
}

void lanes_answer(void *asker, const struct identity *identity)
{
	struct lane *l = asker;
	struct buf *b = &l->lanes->message;

	buf_clear(b);
	message_put_type(b, MESSAGE_IDENTITY);
	identity_encode(b, identity);
	/* What is kept goes first, or an older identity would come after a newer one of its
	 * account. An answer for nobody is dropped. */
	if (l->outbox.len > 0 || pipe_send(l->pipe, buf_span(b)) < 0)
		if (pipe_is_up(l->pipe))
			keep_message(l, buf_span(b));
}

static int64_t outbox_bytes(void *arg)
{
	const struct lanes *ls = arg;
	int64_t bytes = 0;

	for (unsigned i = 0; i < ls->count; i++)
		bytes += (int64_t)ls->lanes[i]->outbox.cap;
	return bytes;
}

struct lanes *lanes_new(struct loop *loop, struct metrics *metrics, struct memory *memory)
{
	struct lanes *ls = xcalloc(1, sizeof(*ls));

	ls->loop = loop;
	ls->refused_log = ls->broken_log = (struct log_limit){.burst = LINES_PER_MINUTE,
							      .period_usec = 60 * USEC_PER_SEC};
	buf_init(&ls->message, MESSAGE_MAX);
	ls->bad_messages = metrics_counter(metrics, "relay_lookup_messages_refused_total",
					   "Messages of validate that were no lookups.", NULL);
	ls->broken = metrics_counter(metrics, "relay_lookup_connections_ended_total",
				     "Connections of validate ended from here.", NULL);
	ls->dropped = metrics_counter(metrics, "relay_lookup_answers_dropped_total",
				      "Answers that validate did not take in time.", NULL);
	memory_register(memory, "outbox", outbox_bytes, ls);
	return ls;
}

int lanes_add(struct lanes *ls, struct resolver *resolver, const char *url)
{
	struct lane *l = xcalloc(1, sizeof(*l));
	const struct pipe_handler handler = {
		.up = on_up,
		.down = on_down,
		.message = on_message,
		.writable = on_writable,
		.arg = l,
	};
	int r = pipe_listen_pair(ls->loop, url, &handler, &l->pipe);

	if (r < 0) {
		free(l);
		return r;
	}
	assert(ls->count < LANES_MAX);
	ls->resolver = resolver;
	l->lanes = ls;
	l->number = ls->count;
	buf_init(&l->outbox, LANES_OUTBOX_MAX);
	loop_task_init(&l->broken, break_lane, l);
	ls->lanes[ls->count++] = l;
	return 0;
}

void lanes_stop(struct lanes *ls)
{
	ls->stopped = true;
	for (unsigned i = 0; i < ls->count; i++)
		lane_hold_if(ls->lanes[i]);
}

void lanes_close(struct lanes *ls)
{
	if (!ls)
		return;
	for (unsigned i = 0; i < ls->count; i++) {
		struct lane *l = ls->lanes[i];

		pipe_close(l->pipe);
		loop_task_cancel(ls->loop, &l->broken);
		resolver_forget(ls->resolver, l);
		buf_release(&l->outbox);
		free(l);
	}
	buf_release(&ls->message);
	free(ls);
}
