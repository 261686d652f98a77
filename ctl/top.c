#include "ctl/top.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/loop.h"
#include "ctl/exposition.h"
#include "ctl/figures.h"

#define REFRESH_USEC  (2 * USEC_PER_SEC)
#define ONCE_USEC     USEC_PER_SEC
#define BYTES_PER_MIB 1048576.0

/* What counts as an event in each stage. */
static const struct {
	const char *stage, *metric;
} counters[] = {
	{"ingest", "relay_frames_received_total"}, {"resolve", "relay_lookups_total"},
	{"validate", "relay_events_total"},        {"store", "relay_events_logged_total"},
	{"fanout", "relay_events_sent_total"},
};

/* A member as it was at the reading before. */
struct past {
	double pid, events;
	uint64_t at_usec;
};

static double events_of(const struct answer *a)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		if (strcmp(counters[i].stage, a->member->stage) == 0)
			return figure_sum(a, counters[i].metric);
	return 0;
}

/* Since the reading before; "-" if that was of another process, or there was none. */
static const char *rate_of(const struct answer *a, const struct past *past,
			   char ret[static FIGURE_SIZE])
{
	double sec = (double)(clock_usec() - past->at_usec) / 1e6, per_sec;

	snprintf(ret, FIGURE_SIZE, "-");
	if (past->at_usec > 0 && sec > 0 &&
	    (int64_t)past->pid == (int64_t)figure_sum(a, "relay_process_pid")) {
		per_sec = (events_of(a) - past->events) / sec;
		snprintf(ret, FIGURE_SIZE, per_sec < 10 ? "%.1f" : "%.0f", per_sec);
	}
	return ret;
}

/* MiB an hour; or when it will be known. */
static const char *slope_of(const struct answer *a, const char *of, char ret[static FIGURE_SIZE])
{
	char label[64], wait[FIGURE_SIZE];
	double value;

	snprintf(label, sizeof(label), "of=\"%s\",window=\"10m\"", of);
	if (figure_find(a, "relay_memory_slope_bytes_per_hour", label, &value))
		snprintf(ret, FIGURE_SIZE, "%+.1f", value / BYTES_PER_MIB);
	else
		snprintf(ret, FIGURE_SIZE, "in %s",
			 figure_time(figure_sum(a, "relay_memory_slope_wait_seconds"), wait));
	return ret;
}

/* The most of any sample; less than 0 if there is none. */
static double most_of(const struct answer *a, const char *metric)
{
	struct span text = buf_span(&a->body);
	struct exposition_sample sample;
	double most = -1;

	while (exposition_next(&text, metric, &sample))
		if (sample.value > most)
			most = sample.value;
	return most;
}

/* How full the fullest of its queues is: of ingest the windows of the lanes, of resolve the lookups
 * in hand. The others' are bounded by these windows. */
static const char *queue_of(const struct answer *a, char ret[static FIGURE_SIZE])
{
	double most = most_of(a, "relay_queue_fill_permille") / 10;
	double limit = most_of(a, "relay_window_limit_bytes");

	if (limit > 0)
		most = 100 * most_of(a, "relay_window_bytes") / limit;
	snprintf(ret, FIGURE_SIZE, "-");
	if (most >= 0)
		snprintf(ret, FIGURE_SIZE, "%.1f%%", most);
	return ret;
}

static void print_row(const struct answer *a, const struct past *past)
{
	double in_use = figure_sum(a, "relay_malloc_in_use_bytes");
	double unaccounted = figure_sum(a, "relay_unaccounted_bytes");
	double starts = figure_sum(a, "relay_process_starts");
	char text[10][FIGURE_SIZE];

	if (!a->answered) {
		printf("%-11s does not answer\n", a->member->name);
		return;
	}
	printf("%-11s %7.0f %7s %7s %7s %7s %7s %8s %8s %8s %8s %7s %6.0f\n", a->member->name,
	       figure_sum(a, "relay_process_pid"), figure_time(figure_uptime(a), text[0]),
	       figure_bytes(figure_sum(a, "relay_process_rss_bytes"), text[1]),
	       figure_bytes(in_use, text[2]), figure_bytes(in_use - unaccounted, text[3]),
	       figure_bytes(unaccounted, text[4]), slope_of(a, "unaccounted", text[5]),
	       slope_of(a, "libraries", text[6]), slope_of(a, "fragmentation", text[7]),
	       rate_of(a, past, text[8]), queue_of(a, text[9]), starts > 1 ? starts - 1 : 0);
}

/* 0 if all answered. */
static int print_table(struct ask *ask, struct past *pasts)
{
	int result = 0;

	printf("%-11s %7s %7s %7s %7s %7s %7s %8s %8s %8s %8s %7s %6s\n", "PROCESS", "PID",
	       "UPTIME", "RSS", "HEAP", "ACCNTED", "UNACCTD", "LEAK/h", "LIBS/h", "FRAG/h",
	       "EVENTS/s", "QUEUE", "RESTRT");
	for (size_t i = 0; i < ask_count(ask); i++) {
		const struct answer *a = ask_answer(ask, i);

		print_row(a, &pasts[i]);
		if (!a->answered)
			result = 1;
	}
	fflush(stdout);
	return result;
}

static void keep(struct ask *ask, struct past *pasts)
{
	for (size_t i = 0; i < ask_count(ask); i++) {
		const struct answer *a = ask_answer(ask, i);

		pasts[i] = (struct past){0};
		if (a->answered)
			pasts[i] = (struct past){figure_sum(a, "relay_process_pid"), events_of(a),
						 clock_usec()};
	}
}

int top_run(const struct group *g, const struct config *config, bool once)
{
	struct past *pasts = xcalloc(GROUP_MAX, sizeof(*pasts));
	struct ask *ask;
	int result = 1;

	if (ask_open(g, config, NULL, &ask) < 0)
		goto out;
	ask_metrics(ask);
	while (keep(ask, pasts), ask_pause(ask, once ? ONCE_USEC : REFRESH_USEC)) {
		ask_metrics(ask);
		if (isatty(STDOUT_FILENO) && !once)
			printf("\033[H\033[2J"); /* home, and clear: any terminal since the VT100 */
		result = print_table(ask, pasts);
		if (once)
			break;
		printf("\nLEAK/h: slope of what no account explains, LIBS/h: of what OpenSSL and "
		       "curl hold, FRAG/h: of what is free between blocks; MiB an hour, of ten "
		       "minutes.\n");
	}
	ask_close(ask);
out:
	free(pasts);
	return result;
}
