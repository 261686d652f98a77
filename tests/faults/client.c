#include "tests/faults/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define DIAL_USEC (50 * USEC_PER_MSEC)

static void note_time(struct client *c)
{
	uint64_t now = loop_now_usec(c->loop);

	if (c->last_usec > 0 && now - c->last_usec > c->silence_usec)
		c->silence_usec = now - c->last_usec;
	c->last_usec = now;
}

static void take_frame(void *arg, struct span frame)
{
	struct client *c = arg;

	note_time(c);
	judge_received(c->judged, frame);
}

static void take_end(void *arg)
{
	struct client *c = arg;

	stream_reader_free(c->reader);
	c->reader = NULL;
	c->paused = false;
	loop_timer_set(c->loop, &c->dial, DIAL_USEC);
}

uint64_t client_last_seq(const struct client *c)
{
	return judge_reader_count(c->judged) > 0 ? judge_reader_last_seq(c->judged) : 0;
}

static void dial(void *arg)
{
	struct client *c = arg;
	const struct reader_handler handler = {.frame = take_frame, .closed = take_end, .arg = c};
	const struct sockaddr_in address = {.sin_family = AF_INET,
					    .sin_port = htons(c->port),
					    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int64_t cursor = c->cursor;

	if (client_last_seq(c) > 0) {
		cursor = (int64_t)client_last_seq(c);
		judge_reader_resume(c->judged, (uint64_t)cursor);
	}
	c->connections++;
	c->reader = stream_reader_new(c->loop, (const struct sockaddr *)&address, cursor, &handler);
}

static void change(void *arg)
{
	struct client *c = arg;

	if (c->reader && c->pauses) {
		c->paused = !c->paused;
		stream_reader_pause(c->reader, c->paused);
	} else if (c->reader) {
		take_end(c);
	}
	loop_timer_set(c->loop, &c->change, c->every_usec);
}

void client_open(struct client *c, struct loop *l, uint16_t port, int64_t cursor, struct judge *j,
		 const char *name)
{
	*c = (struct client){.loop = l, .port = port, .cursor = cursor};
	c->judged = judge_reader_new(j, name);
	loop_timer_init(&c->dial, dial, c);
	loop_timer_init(&c->change, change, c);
	dial(c);
}

void client_leaves(struct client *c, uint64_t every_usec)
{
	c->every_usec = every_usec;
	loop_timer_set(c->loop, &c->change, every_usec);
}

void client_pauses(struct client *c, uint64_t every_usec)
{
	c->pauses = true;
	client_leaves(c, every_usec);
}

void client_behaves(struct client *c)
{
	loop_timer_cancel(c->loop, &c->change);
	if (c->reader && c->paused)
		stream_reader_pause(c->reader, false);
	c->paused = false;
}

void client_close(struct client *c)
{
	loop_timer_cancel(c->loop, &c->dial);
	loop_timer_cancel(c->loop, &c->change);
	stream_reader_free(c->reader);
	judge_reader_free(c->judged);
}
