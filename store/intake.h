/*
 * The end of one lane: takes verified events from validate, and sends back an acknowledgement for
 * each, in the order of the events, when its owner says that they are durable.
 *
 * Acknowledgements wait here when validate does not take them; then no more events are taken from
 * the lane, so they are bounded by what one turn of the loop brings.
 */
#pragma once

#include "common/loop.h"
#include "common/message.h"

struct intake;

struct intake_handler {
	/* Whether a session may begin now. If not: intake_ready, later. */
	bool (*is_ready)(void *arg);
	/* Decides on an event (borrowed). Negative: it cannot, and intake_reset follows. */
	int (*take)(void *arg, const struct verified *v, enum verdict *ret);
	/* The validate of this lane speaks another version, lane.h. */
	void (*foreign)(void *arg, const struct intake *in, unsigned version);
	void *arg;
};

int intake_new(struct loop *l, const char *url, const struct intake_handler *h,
	       struct intake **ret) MUST_CHECK;
void intake_free(struct intake *in);

/* A session that waits for it begins. */
void intake_ready(struct intake *in);
/* Sends the acknowledgements of all events taken so far. */
void intake_acknowledge(struct intake *in);
/* Ends the session, unsent acknowledgements dropped: validate sends everything again. */
void intake_reset(struct intake *in);
/* Takes no more events. */
void intake_stop(struct intake *in);
/* Memory it holds. */
size_t intake_bytes(const struct intake *in);
