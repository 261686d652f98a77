#include "store/tally.h"

#include <assert.h>

#define KINDS (EVENT_ACCOUNT + 1)

/* The verdicts that are given here. */
static const enum verdict verdicts[] = {
	VERDICT_ACCEPTED,  VERDICT_FRAME_TOO_LARGE,  VERDICT_DUPLICATE,
	VERDICT_STALE_REV, VERDICT_ACCOUNT_INACTIVE, VERDICT_PREV_DATA_MISSING,
};

struct group {
	uint64_t events[KINDS];
	uint64_t verdicts[ARRAY_SIZE(verdicts)];
	uint64_t discontinuous;
};

struct tally {
	struct group group;                             /* in hand, */
	uint64_t received_usec[EVENT_LOG_GROUP_EVENTS]; /* and when its events were received */
	size_t received;
	struct lag lag;
	uint64_t commit_usec;
	uint64_t *events[KINDS];
	uint64_t *verdicts[ARRAY_SIZE(verdicts)];
	uint64_t *discontinuous;
	uint64_t *groups;
	uint64_t *bytes;
	uint64_t *failures;
	int64_t *first_seq, *next_seq, *log_bytes, *log_files, *accounts;
};

static uint64_t get_commit_usec(void *arg)
{
	const struct tally *t = arg;

	return t->commit_usec;
}

static void make_counters(struct tally *t, struct metrics *m)
{
	char label[64];

	for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++) {
		snprintf(label, sizeof(label), "kind=\"%s\"", event_kind_name(k) + 1);
		t->events[k] = metrics_counter(m, "relay_events_logged_total",
					       "Events that got a sequence number.", label);
	}
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		snprintf(label, sizeof(label), "verdict=\"%s\"", verdict_info(verdicts[i])->name);
		t->verdicts[i] = metrics_counter(m, "relay_verdicts_total",
						 "Events decided on, by verdict.", label);
	}
	t->discontinuous = metrics_counter(
		m, "relay_events_discontinuous_total",
		"Commits passed on that do not follow the last one known.", NULL);
	t->groups = metrics_counter(m, "relay_log_groups_total",
				    "Groups of events made durable together.", NULL);
	t->bytes = metrics_counter(m, "relay_log_bytes_written_total",
				   "Bytes appended to the log, without its index.", NULL);
	t->failures = metrics_counter(m, "relay_log_failures_total",
				      "Groups that could not be made durable.", NULL);
	metrics_seconds_call(m, "relay_log_commit_seconds_total",
			     "Time spent making groups durable.", NULL, get_commit_usec, t);
}

struct tally *tally_new(struct metrics *m)
{
	struct tally *t = xcalloc(1, sizeof(*t));

	make_counters(t, m);
	lag_register(&t->lag, m);
	t->first_seq = metrics_gauge(m, "relay_log_first_seq",
				     "Sequence number of the oldest event kept.", NULL);
	t->next_seq = metrics_gauge(m, "relay_log_next_seq",
				    "Sequence number that the next event gets.", NULL);
	t->log_bytes = metrics_gauge(m, "relay_log_bytes", "Size of the log, without its index.",
				     NULL);
	t->log_files = metrics_gauge(m, "relay_log_files", "Files of the log.", NULL);
	t->accounts = metrics_gauge(m, "relay_accounts", "Accounts known, without deleted ones.",
				    NULL);
	return t;
}

void tally_free(struct tally *t)
{
	free(t);
}

void tally_add(struct tally *t, const struct verified *v, const struct storage_decision *d)
{
	if (d->verdict == VERDICT_ACCEPTED) {
		assert(t->received < EVENT_LOG_GROUP_EVENTS);
		t->group.events[v->kind]++;
		t->received_usec[t->received++] = v->received_usec;
	}
	if (d->discontinuous)
		t->group.discontinuous++;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		if (verdicts[i] == d->verdict)
			t->group.verdicts[i]++;
}

static void note_lags(struct tally *t)
{
	uint64_t now_usec = clock_usec();

	for (size_t i = 0; i < t->received; i++)
		lag_note(&t->lag, 1, t->received_usec[i], now_usec);
}

static void forget_group(struct tally *t)
{
	t->group = (struct group){0};
	t->received = 0;
}

void tally_keep(struct tally *t, const struct storage_group *g)
{
	for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++)
		*t->events[k] += t->group.events[k];
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		*t->verdicts[i] += t->group.verdicts[i];
	*t->discontinuous += t->group.discontinuous;
	*t->groups += g->events > 0;
	*t->bytes += g->bytes;
	t->commit_usec += g->usec;
	note_lags(t);
	forget_group(t);
}

void tally_drop(struct tally *t)
{
	forget_group(t);
	++*t->failures;
}

void tally_show(struct tally *t, const struct storage *s)
{
	struct head head;

	event_log_head(storage_log(s), &head);
	*t->first_seq = (int64_t)head.first_seq;
	*t->next_seq = (int64_t)head.next_seq;
	*t->log_bytes = (int64_t)event_log_bytes(storage_log(s));
	*t->log_files = (int64_t)event_log_files(storage_log(s));
	*t->accounts = (int64_t)storage_accounts(s);
}
