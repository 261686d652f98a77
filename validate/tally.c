#include "validate/tally.h"

#include <inttypes.h>

#define REFUSALS_BURST  10                  /* lines, */
#define REFUSALS_PERIOD (10 * USEC_PER_SEC) /* in this time */

static void register_events(struct tally *t, struct metrics *m)
{
	static const char *const labels[] = {
		"kind=\"unknown\"",  "kind=\"commit\"",  "kind=\"sync\"",
		"kind=\"identity\"", "kind=\"account\"",
	};

	for (size_t i = 0; i < ARRAY_SIZE(labels); i++)
		t->events[i] = metrics_counter(m, "relay_events_total", "Events that came in.",
					       labels[i]);
}

static void register_verdicts(struct tally *t, struct metrics *m)
{
	struct buf label;

	buf_init(&label, KIB(1));
	for (enum verdict v = VERDICT_ACCEPTED; v < VERDICT_DUPLICATE; v++) {
		const struct verdict_info *info = verdict_info(v);

		/* Numbers that are not in use share a name. */
		if (info == verdict_info(VERDICT_MAX))
			continue;
		buf_clear(&label);
		buf_printf(&label, "verdict=\"%s\"", info->name);
		buf_put_u8(&label, '\0');
		t->verdicts[v] = metrics_counter(m, "relay_verdicts_total",
						 "Final verdicts on events.",
						 (const char *)label.ptr);
	}
	buf_release(&label);
}

static void register_lookups(struct tally *t, struct metrics *m)
{
	char label[64];

	for (enum lookup_reason r = 0; r < LOOKUP_REASONS; r++) {
		snprintf(label, sizeof(label), "reason=\"%s\"", lookup_reason_name(r));
		t->lookups[r] = metrics_counter(m, "relay_identity_lookups_total",
						"Identities asked for, by what made it necessary.",
						label);
	}
}

void tally_init(struct tally *t, struct metrics *m)
{
	*t = (struct tally){
		.refusals = {.burst = REFUSALS_BURST, .period_usec = REFUSALS_PERIOD},
	};
	register_events(t, m);
	register_verdicts(t, m);
	register_lookups(t, m);
	lag_register(&t->lag, m);
}

void tally_event(struct tally *t, const struct frame *f)
{
	(*t->events[f->kind])++;
}

void tally_lookup(struct tally *t, enum lookup_reason reason)
{
	(*t->lookups[reason])++;
}

/* Skipping what is not known, and suppressing what says nothing new, is not worth a line. */
static bool is_ordinary(enum verdict v)
{
	return v == VERDICT_ACCEPTED || v == VERDICT_UNKNOWN_KIND ||
	       v == VERDICT_IDENTITY_UNCHANGED;
}

static void log_refusal(struct tally *t, const struct event *e, const struct frame *f,
			enum verdict v)
{
	const struct verdict_info *info = verdict_info(v);
	char reason[64];
	unsigned left_out;

	if (!log_limit_pass(&t->refusals, &left_out))
		return;
	snprintf(reason, sizeof(reason), "%s", info->name);
	for (char *c = strchr(reason, '_'); c; c = strchr(c, '_'))
		*c = ' ';
	if (left_out > 0)
		log_notice("%u more events refused", left_out);
	log_notice("%s refused: %s did=%s host=%s seq=%" PRIu64 " [%s]", frame_kind_name(f), reason,
		   log_text(f->did), log_text(e->host), e->host_seq, info->section);
}

void tally_verdict(struct tally *t, const struct event *e, const struct frame *f, enum verdict v)
{
	(*t->verdicts[v])++;
	lag_note(&t->lag, 1, e->received_usec, clock_usec());
	if (!is_ordinary(v))
		log_refusal(t, e, f, v);
}
