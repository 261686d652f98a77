/*
 * What becomes of an event: passed on, refused, or kept until its account's identity is known. This
 * is where the rules on identity and authority are [sync: authority; account hosting status]; those
 * on the event's own bytes are in check.h. No pipes here and no waiting: who asks gets an answer at
 * once, and asks again when the identity has come.
 *
 *	judge_read	decodes the frame; refuses what is wrong in itself
 *	judge_decide	the rest, with what the identity cache knows now
 */
#pragma once

#include "common/config.h"
#include "validate/check.h"
#include "validate/identity_cache.h"

enum outcome { OUTCOME_PASSED, OUTCOME_REFUSED, OUTCOME_WAITS };

/* Why an identity is asked for. */
enum lookup_reason {
	LOOKUP_MISSING,
	LOOKUP_STALE,
	LOOKUP_HOST,      /* the event does not come from the PDS that is known */
	LOOKUP_SIGNATURE, /* the signature does not fit the key that is known */
	LOOKUP_IDENTITY,  /* an #identity says that something has changed */
	LOOKUP_REASONS,
};

/* "missing", ... */
const char *lookup_reason_name(enum lookup_reason r);

struct judgement {
	enum outcome outcome;
	enum verdict verdict;      /* passed: VERDICT_ACCEPTED */
	struct verified verified;  /* passed only; borrows from the event and the judge */
	enum lookup_reason reason; /* waits only, */
	uint64_t newer_than_usec;  /* as in struct lookup */
};

struct judge;

/* Borrows the cache and the checker. */
struct judge *judge_new(const struct config *config, struct checker *checker,
			struct identity_cache *cache);
void judge_free(struct judge *j);
/* Anything but VERDICT_ACCEPTED is final. */
enum verdict judge_read(struct judge *j, const struct event *e) MUST_CHECK;
/* The frame read last: borrows from its event until the next. */
const struct frame *judge_frame(const struct judge *j);
/* What it is checked by. */
const struct check_rules *judge_rules(const struct judge *j);
/* On the event that was read last and accepted. */
void judge_decide(struct judge *j, const struct event *e, uint64_t now_usec, struct judgement *ret);
