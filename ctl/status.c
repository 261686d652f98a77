#include "ctl/status.h"

#include "ctl/figures.h"

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

static void print_member(const struct answer *a)
{
	char uptime[FIGURE_SIZE];
	const char *separator = "";

	if (!a->answered) {
		printf("%-12s does not answer\n", a->member->name);
		return;
	}
	printf("%-12s %8.0f %10s %8.1fM  ", a->member->name, figure_sum(a, "relay_process_pid"),
	       figure_time(figure_uptime(a), uptime),
	       figure_sum(a, "relay_process_rss_bytes") / (1 << 20));
	for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
		if (strcmp(figures[i].stage, a->member->stage) != 0)
			continue;
		printf("%s%s %.0f", separator, figures[i].label, figure_sum(a, figures[i].metric));
		separator = ", ";
	}
	printf("\n");
}

int status_print(const struct group *g, const struct config *config)
{
	struct ask *ask;
	int result = 0;

	if (ask_open(g, config, NULL, &ask) < 0)
		return 1;
	ask_metrics(ask);
	printf("%-12s %8s %10s %9s  %s\n", "PROCESS", "PID", "UPTIME", "RSS", "");
	for (size_t i = 0; i < ask_count(ask); i++) {
		print_member(ask_answer(ask, i));
		if (!ask_answer(ask, i)->answered)
			result = 1;
	}
	ask_close(ask);
	return result;
}
