#include "fanout/consumer_list.h"

static void put_consumer(struct buf *b, const struct consumer *c)
{
	const struct consumer_info info = {
		.id = c->id,
		.connected_usec = c->connected_usec,
		.events = c->sent_events,
		.bytes = c->written_bytes,
		.lag = consumer_lag(c),
		.remote = span_str(c->remote),
		.agent = span_str(c->visitor.agent),
	};

	consumer_info_encode(b, &info);
}

/* The newest come first in the set. */
void consumer_list_answer(void *set, struct call *call, struct reader *r)
{
	const struct consumers *s = set;
	struct buf reply;
	uint64_t below;
	size_t count = 0;

	if (reader_get_u64(r, &below) < 0 || r->left > 0) {
		call_drop(call);
		return;
	}
	buf_init(&reply, LIMIT_MESSAGE);
	message_put_type(&reply, MESSAGE_CONSUMERS_LISTED);
	for (const struct consumer *c = s->first; c && count < CONSUMERS_LISTED; c = c->next) {
		if (below > 0 && c->id >= below)
			continue;
		put_consumer(&reply, c);
		count++;
	}
	call_reply(call, buf_span(&reply));
	buf_release(&reply);
}
