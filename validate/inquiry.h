/*
 * Events that wait for their account's identity, and the asking for it, over the pair pipe to
 * resolve.
 *
 * An inquiry belongs to one account as one host tells of it, so that a host which sends events of
 * accounts that are not its own holds up nobody but itself. Its events keep their order: once one
 * waits, those that come later queue behind it.
 *
 *	waiting	asked; asked again after 5 s without an answer, when the pipe comes back, and,
 *		if the answer was IDENTITY_UNAVAILABLE or does not do for the first event, time and
 *		again, after 1 s, 2 s, ... 30 s
 *	ready	the answer has come: the first event can be judged again
 *
 * An event that has waited for the configured time since it was received, and for a tenth of it
 * here, is given back as expired.
 * All memory is the events' own, which the window of ingest bounds.
 */
#pragma once

#include "common/loop.h"
#include "common/message.h"

struct inquiries;
struct inquiry;

struct inquiry_handler {
	/* An answer has come, to whatever question; not IDENTITY_UNAVAILABLE. Borrowed. */
	void (*answered)(void *arg, const struct identity *i);
	/* There is at least one ready inquiry. */
	void (*ready)(void *arg);
	/* Waited too long; borrowed, and forgotten afterwards. */
	void (*expired)(void *arg, const struct event *e);
	/* resolve speaks another version: nothing that is asked over this connection is answered.
	 * Once a connection. */
	void (*foreign)(void *arg, unsigned version);
	void *arg;
};

int inquiries_new(struct loop *l, const char *url, uint64_t wait_usec,
		  const struct inquiry_handler *h, struct inquiries **ret) MUST_CHECK;
void inquiries_free(struct inquiries *s);
/* Forgets all events. */
void inquiries_clear(struct inquiries *s);

/* NULL if no event of this account waits. */
struct inquiry *inquiries_find(struct inquiries *s, struct span did, uint64_t host_id);
/* Begins an inquiry with its first event. Copies. Ask next. */
struct inquiry *inquiries_begin(struct inquiries *s, struct span did, const struct event *e);
/* An event behind the others. Copies. */
void inquiry_append(struct inquiry *q, const struct event *e);
/* Waits for an identity fetched at newer_than_usec or later. */
void inquiry_ask(struct inquiry *q, uint64_t newer_than_usec);
/* The ready inquiry that waits longest, no longer listed as ready: drain it, ask again, or put it
 * back. NULL if there is none. */
struct inquiry *inquiries_take_ready(struct inquiries *s);
void inquiry_put_back(struct inquiry *q);
/* Its first event; borrowed until inquiry_pop. */
void inquiry_first(const struct inquiry *q, struct event *ret);
/* Forgets the first event; false if it was the last one, and the inquiry is gone. */
bool inquiry_pop(struct inquiry *q);

int64_t inquiries_event_count(void *inquiries);
int64_t inquiries_memory_bytes(void *inquiries);
