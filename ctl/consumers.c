#include "ctl/consumers.h"

#include <inttypes.h>

#include "common/limits.h"
#include "common/loop.h"
#include "ctl/ask.h"
#include "ctl/figures.h"

static void print_consumer(const char *replica, const struct consumer_info *c)
{
	char since[FIGURE_SIZE], bytes[FIGURE_SIZE];

	printf("%-10s %8" PRIu64 " %-28.*s %10s %12" PRIu64 " %9s %10" PRIu64 "  %.*s\n", replica,
	       c->id, (int)c->remote.len, (const char *)c->remote.ptr,
	       figure_time((double)(clock_usec() - c->connected_usec) / (double)USEC_PER_SEC,
			   since),
	       c->events, figure_bytes((double)c->bytes, bytes), c->lag, (int)c->agent.len,
	       (const char *)c->agent.ptr);
}

/* The lowest id of the page, 0 if it is the last; -1: it does not decode. */
static int64_t print_page(const struct answer *a)
{
	struct reader r = reader_of(buf_span(&a->body));
	struct consumer_info c = {0};
	size_t count = 0;

	while (r.left > 0 && consumer_info_decode(&r, &c) == 0) {
		print_consumer(a->member->name, &c);
		count++;
	}
	if (r.left > 0)
		return -1;
	return count < CONSUMERS_LISTED ? 0 : (int64_t)c.id;
}

static int print_replica(struct ask *ask)
{
	const struct answer *a = ask_answer(ask, 0);
	struct buf message;
	int64_t below = 0;

	do {
		buf_init(&message, 16);
		message_put_type(&message, MESSAGE_CONSUMERS);
		buf_put_u64(&message, (uint64_t)below);
		ask_all(ask, buf_span(&message), MESSAGE_CONSUMERS_LISTED);
		buf_release(&message);
		below = a->answered ? print_page(a) : -1;
	} while (below > 0);
	if (below < 0)
		fprintf(stderr, "%s does not answer\n", a->member->name);
	return below < 0;
}

int consumers_print(const struct group *g, const struct config *config)
{
	int result = 0;

	printf("%-10s %8s %-28s %10s %12s %9s %10s  %s\n", "REPLICA", "ID", "ADDRESS", "CONNECTED",
	       "EVENTS", "BYTES", "LAG", "AGENT");
	for (size_t i = 0; i < g->count; i++) {
		struct ask *ask;

		if (strcmp(g->members[i].stage, "fanout") != 0 ||
		    ask_open(g, config, g->members[i].name, &ask) < 0)
			continue;
		if (print_replica(ask) != 0)
			result = 1;
		ask_close(ask);
	}
	return result;
}
