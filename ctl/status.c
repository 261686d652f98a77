#include "ctl/status.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/message.h"
#include "common/pipe.h"
#include "ctl/exposition.h"

#define ANSWER_USEC (2 * USEC_PER_SEC)

struct question {
	struct status *status;
	const struct member *member;
	struct pipe *pipe;
	bool answered;
	struct buf metrics;
};

struct status {
	struct loop *loop;
	size_t open;
	struct question questions[GROUP_MAX];
};

/* What a stage is asked for beside memory: the figures that say whether it does its work. */
struct figure {
	const char *stage;
	const char *metric;
	const char *label;
};

static const struct figure figures[] = {
	{"ingest", "relay_connections", "hosts connected"},
	{"ingest", "relay_frames_received_total", "frames received"},
	{"ingest", "relay_window_events", "unacknowledged"},
	{"resolve", "relay_lookups_total", "lookups"},
	{"resolve", "relay_http_requests_total", "HTTP requests"},
	{"validate", "relay_events_total", "events"},
	{"validate", "relay_events_waiting", "waiting"},
	{"store", "relay_events_logged_total", "events logged"},
	{"store", "relay_log_next_seq", "next seq"},
	{"fanout", "relay_consumers", "consumers"},
	{"fanout", "relay_bytes_sent_total", "bytes sent"},
};

static double value_of(const struct question *q, const char *metric)
{
	double value = 0;

	if (exposition_sum(buf_span(&q->metrics), metric, &value) != 0)
		return 0;
	return value;
}

static void format_uptime(double seconds, char *ret, size_t size)
{
	uint64_t s = seconds > 0 ? (uint64_t)seconds : 0;

	if (s < 60)
		snprintf(ret, size, "%" PRIu64 "s", s);
	else if (s < 3600)
		snprintf(ret, size, "%" PRIu64 "m%02" PRIu64 "s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(ret, size, "%" PRIu64 "h%02" PRIu64 "m", s / 3600, s / 60 % 60);
	else
		snprintf(ret, size, "%" PRIu64 "d%02" PRIu64 "h", s / 86400, s / 3600 % 24);
}

static void print_member(const struct question *q)
{
	char uptime[32];
	const char *separator = "";

	if (!q->answered) {
		printf("%-12s does not answer\n", q->member->name);
		return;
	}
	format_uptime((double)clock_usec() / 1e6 - value_of(q, "relay_process_start_time_seconds"),
		      uptime, sizeof(uptime));
	printf("%-12s %8.0f %10s %8.1fM  ", q->member->name, value_of(q, "relay_process_pid"),
	       uptime, value_of(q, "relay_process_rss_bytes") / (1 << 20));
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		if (strcmp(figures[i].stage, q->member->stage) != 0)
			continue;
		printf("%s%s %.0f", separator, figures[i].label, value_of(q, figures[i].metric));
		separator = ", ";
	}
	printf("\n");
}

static void answered(void *arg, int error, struct span reply)
{
	struct question *q = arg;
	struct reader r = reader_of(reply);
	enum message_type type;

	if (error == 0 && message_get_type(&r, &type) == 0 && type == MESSAGE_METRICS_REPLY) {
		q->answered = true;
		buf_append(&q->metrics, span_of(r.ptr, r.left));
	}
	if (--q->status->open == 0)
		loop_quit(q->status->loop, 0);
}

static void ask(struct status *s, struct question *q, const struct config *config)
{
	char url[CONFIG_URL_SIZE];
	struct buf message;

	config_pipe_url(config, "control", q->member->name, 0, url);
	if (pipe_dial_req(s->loop, url, &q->pipe) != 0)
		return;
	buf_init(&message, 16);
	message_put_type(&message, MESSAGE_METRICS);
	s->open++;
	pipe_call(q->pipe, buf_span(&message), ANSWER_USEC, answered, q);
	buf_release(&message);
}

int status_print(const struct group *g, const struct config *config)
{
	struct status *s = xcalloc(1, sizeof(*s));
	int result = 0;

	s->loop = loop_new();
	for (size_t i = 0; i < g->count; i++) {
		s->questions[i].status = s;
		s->questions[i].member = &g->members[i];
		buf_init(&s->questions[i].metrics, LIMIT_MESSAGE);
		ask(s, &s->questions[i], config);
	}
	if (s->open > 0)
		loop_run(s->loop);
	printf("%-12s %8s %10s %9s  %s\n", "PROCESS", "PID", "UPTIME", "RSS", "");
	for (size_t i = 0; i < g->count; i++) {
		struct question *q = &s->questions[i];

		print_member(q);
		if (!q->answered)
			result = 1;
		if (q->pipe)
			pipe_close(q->pipe);
		buf_release(&q->metrics);
	}
	loop_free(s->loop);
	free(s);
	return result;
}
