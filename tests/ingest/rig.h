/*
 * What tests of the crawler and of its callers need around it: a stage in a folder of its own, a
 * lane's other end that keeps what it gets and acknowledges as it is told, and frames. In a header,
 * because only the tests of ingest link with it.
 */
#pragma once

#include <stdarg.h>

#include "common/cbor.h"
#include "ingest/crawler.h"
#include "ingest/subscription.h"
#include "tests/lib/raw_server.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define SINK_EVENTS_MAX 4096

struct sink_event {
	uint64_t ticket;
	uint64_t host_id;
	uint32_t host_epoch;
	uint64_t host_seq;
	size_t frame_bytes;
};

/* The downstream end of lane 0. */
struct sink {
	struct lane *lane;
	bool withhold; /* acknowledges only what sink_ack is called for */
	enum verdict verdict;
	unsigned sessions;
	size_t count; /* of this session */
	struct sink_event events[SINK_EVENTS_MAX];
};

struct rig {
	struct stage stage;
	struct crawler crawler;
	struct sink sink;
	const char *folder;
	bool running; /* the crawler */
	bool stopped;
};

static inline void sink_ack(struct sink *s, uint64_t ticket, enum verdict v)
{
	const struct ack a = {ticket, v};

	ack_encode(lane_start(s->lane, MESSAGE_ACKS), &a);
	CHECK_INT(lane_send(s->lane), 0);
}

static inline void sink_opened(void *arg)
{
	struct sink *s = arg;

	s->sessions++;
	s->count = 0;
	lane_ready(s->lane);
}

static inline void sink_nothing(void *arg)
{
	(void)arg;
}

static inline int sink_message(void *arg, enum message_type type, struct reader body)
{
	struct sink *s = arg;
	struct event e;

	CHECK_INT(type, MESSAGE_EVENTS);
	while (body.left) {
		CHECK_INT(event_decode(&body, &e), 0);
		CHECK(s->count < SINK_EVENTS_MAX);
		CHECK_INT(e.host_id, host_id(e.host));
		s->events[s->count++] = (struct sink_event){e.ticket, e.host_id, e.host_epoch,
							    e.host_seq, e.frame.len};
		if (!s->withhold)
			sink_ack(s, e.ticket, s->verdict);
	}
	return 0;
}

static inline void rig_set(struct rig *r, const char *format, ...) PRINTF(2, 3);
static inline void rig_set(struct rig *r, const char *format, ...)
{
	static char assignment[16384];
	char reason[256];
	va_list args;

	va_start(args, format);
	vsnprintf(assignment, sizeof(assignment), format, args);
	va_end(args);
	if (config_set(r->stage.config, assignment, reason, sizeof(reason)) != 0)
		test_fail(__FILE__, __LINE__, "%s", reason);
}

static inline void rig_init(struct rig *r)
{
	*r = (struct rig){.folder = test_folder()};
	r->stage.name = "ingest";
	r->stage.loop = loop_new();
	r->stage.config = config_new();
	log_set_level(LOG_LEVEL_ERROR);
	rig_set(r, "group.data_dir=%s", r->folder);
	rig_set(r, "group.run_dir=%s", r->folder);
	rig_set(r, "network.plain_hosts=localhost:* *.test");
	rig_set(r, "ingest.backoff_min=1ms");
	rig_set(r, "ingest.backoff_max=5ms");
	rig_set(r, "ingest.cursor_interval=1ms");
}

static inline void rig_listen(struct rig *r)
{
	const struct lane_handler h = {sink_opened,  sink_nothing, sink_message,
				       sink_nothing, NULL,         &r->sink};
	char url[CONFIG_URL_SIZE];

	stage_pipe_url(&r->stage, "events", "", 0, url);
	CHECK_INT(lane_listen_downstream(r->stage.loop, url, &h, &r->sink.lane), 0);
}

static inline void rig_start(struct rig *r)
{
	r->stage.metrics = metrics_new("ingest", -1);
	r->stage.memory = memory_new(r->stage.metrics);
	CHECK_INT(crawler_init(&r->crawler, &r->stage), 0);
	CHECK_INT(crawler_start(&r->crawler), 0);
	r->running = true;
}

/* As if the process were killed. */
static inline void rig_kill(struct rig *r)
{
	if (!r->running)
		return;
	crawler_release(&r->crawler);
	memory_free(r->stage.memory);
	metrics_free(r->stage.metrics);
	r->running = false;
}

static inline void rig_release(struct rig *r)
{
	rig_kill(r);
	lane_close(r->sink.lane);
	config_free(r->stage.config);
	loop_free(r->stage.loop);
}

static inline void rig_stopped(void *arg)
{
	struct rig *r = arg;

	r->stopped = true;
}

static inline bool rig_has_stopped(void *arg)
{
	struct rig *r = arg;

	return r->stopped;
}

/* The numbers that came in this session, as "1 2 3 ". */
static inline const char *sink_text(const struct sink *s)
{
	static char text[1024];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < s->count && len + 24 < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%" PRIu64 " ",
					s->events[i].host_seq);
	return text;
}

/* {op: 1, t: kind} {did, seq, and as many bytes more} */
static inline void put_frame(struct buf *b, const char *kind, const char *did, int64_t seq,
			     size_t more)
{
	uint8_t *zeros = xcalloc(1, more + 1);

	cbor_put_map(b, 2);
	cbor_put_text(b, SPAN_LITERAL("t"));
	cbor_put_text(b, span_str(kind));
	cbor_put_text(b, SPAN_LITERAL("op"));
	cbor_put_integer(b, 1);
	cbor_put_map(b, 3);
	cbor_put_text(b, SPAN_LITERAL("did"));
	cbor_put_text(b, span_str(did));
	cbor_put_text(b, SPAN_LITERAL("seq"));
	cbor_put_integer(b, seq);
	cbor_put_text(b, SPAN_LITERAL("zeros"));
	cbor_put_bytes(b, span_of(zeros, more));
	free(zeros);
}
