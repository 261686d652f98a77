/*
 * What the stage tells of its work: counters, and a line in the log for each refused event, as far
 * as such lines do not come too fast.
 */
#pragma once

#include "common/lag.h"
#include "common/log.h"
#include "common/message.h"
#include "common/metrics.h"
#include "validate/frame.h"
#include "validate/judge.h"

struct tally {
	uint64_t *events[EVENT_ACCOUNT + 1]; /* by kind; 0: a kind that is not known */
	uint64_t *verdicts[VERDICT_MAX];     /* NULL: never given here */
	uint64_t *lookups[LOOKUP_REASONS];
	struct lag lag;
	struct log_limit refusals;
};

void tally_init(struct tally *t, struct metrics *m);
/* Once for each event, when it has been read for the first time. */
void tally_event(struct tally *t, const struct frame *f);
/* Once for each event, when its verdict is final. */
void tally_verdict(struct tally *t, const struct event *e, const struct frame *f, enum verdict v);
void tally_lookup(struct tally *t, enum lookup_reason reason);
