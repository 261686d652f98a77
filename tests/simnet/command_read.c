#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/loop.h"
#include "tests/simnet/command.h"
#include "tests/simnet/event_text.h"
#include "tests/simnet/reader.h"

struct reading {
	struct loop *loop;
	struct stream_reader *reader;
	struct loop_timer timer;
	bool is_counting;
	uint64_t events, events_then, bytes_then, usec_then;
	struct buf line;
};

static void stop(void *arg)
{
	struct reading *r = arg;

	loop_quit(r->loop, 0);
}

static void take_frame(void *arg, struct span frame)
{
	struct reading *r = arg;

	r->events++;
	if (r->is_counting)
		return;
	buf_clear(&r->line);
	event_put_text(frame, &r->line);
	printf("%.*s\n", (int)r->line.len, (const char *)r->line.ptr);
	if (ferror(stdout))
		stop(r);
}

static void take_end(void *arg)
{
	struct reading *r = arg;

	fprintf(stderr, "simnet: the stream ended\n");
	loop_quit(r->loop, 1);
}

/* What came since the last time, which is about a second. */
static void count(void *arg)
{
	struct reading *r = arg;
	uint64_t now = loop_now_usec(r->loop), bytes = stream_reader_bytes(r->reader);
	uint64_t usec = now > r->usec_then ? now - r->usec_then : 1;

	printf("%" PRIu64 " events, %" PRIu64 " events/s, %.1f MB/s\n", r->events,
	       (r->events - r->events_then) * USEC_PER_SEC / usec,
	       (double)(bytes - r->bytes_then) / (double)usec);
	r->events_then = r->events;
	r->bytes_then = bytes;
	r->usec_then = now;
	loop_timer_set(r->loop, &r->timer, USEC_PER_SEC);
}

/* "HOST:PORT" or "HOST:PORT/CURSOR". Free with freeaddrinfo; NULL, with a message. */
static struct addrinfo *find(const char *text, int64_t *ret_cursor)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	char host[256], port[8];
	int n = sscanf(text, "%255[^:]:%7[0-9]/%" SCNd64, host, port, ret_cursor), error;

	if (n < 2) {
		fprintf(stderr, "simnet: %s: not HOST:PORT or HOST:PORT/CURSOR\n", text);
		return NULL;
	}
	error = getaddrinfo(host, port, &hints, &found);
	if (error)
		fprintf(stderr, "simnet: %s: %s\n", host, gai_strerror(error));
	return error ? NULL : found;
}

static int read_stream(struct reading *r, const struct addrinfo *address, int64_t cursor)
{
	struct reader_handler handler = {take_frame, take_end, r};
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	buf_init(&r->line, LIMIT_FRAME);
	loop_on_stop(r->loop, stop, r);
	loop_timer_init(&r->timer, count, r);
	r->reader = stream_reader_new(r->loop, address->ai_addr, cursor, &handler);
	r->usec_then = loop_now_usec(r->loop);
	if (r->is_counting)
		loop_timer_set(r->loop, &r->timer, USEC_PER_SEC);
	status = loop_run(r->loop);
	loop_timer_cancel(r->loop, &r->timer);
	stream_reader_free(r->reader);
	buf_release(&r->line);
	return status;
}

int command_read(int argc, char **argv)
{
	struct reading r = {.is_counting = argc == 3 && strcmp(argv[2], "counts") == 0};
	struct addrinfo *address;
	int64_t cursor = -1;
	int status;

	if (argc != 2 && !r.is_counting)
		return EXIT_USAGE;
	address = find(argv[1], &cursor);
	if (!address)
		return 1;
	r.loop = loop_new();
	status = read_stream(&r, address, cursor);
	loop_free(r.loop);
	freeaddrinfo(address);
	return status;
}
