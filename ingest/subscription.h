/*
 * One host: its record, its stream, and what is outstanding of it. It lives as long as the process.
 *
 *	          dial               place free            opened
 *	RESTING --------> QUEUED ------------> DIALLING ------------> READING
 *	   ^                                      |                     |
 *	   '---------------- backoff -------------'---------------------'
 *
 * Sequence numbers rise: a frame whose number does not is dropped [event stream: Sequence Numbers].
 * After a reconnection the host is asked to go on behind the last number that came in, not behind
 * the low-water mark, since what is outstanding is still in a window. Only a new process begins
 * again at the mark. Hosts differ in whether a cursor includes its own number, so numbers up to it
 * that come before any new one are skipped without a word.
 *
 * Of one host only so much is on its way at a time (ingest.host_window): events that wait for
 * identities keep their place in the window, and one host's must not take it from all others.
 *
 * A frame of broken CBOR ends the stream [event stream: Framing]. The host will send it again
 * behind the same cursor, since its number is not to be trusted; so what was found broken there
 * before is skipped then, and every stream gets further than the one before.
 *
 * A host that calls our cursor a future one has lost its state and numbers anew: it gets a new
 * epoch, its cursor is forgotten, and it is read from its present position on. Some hosts do not
 * say so, and send low numbers. Whatever comes with numbers that are not above the last one taken
 * is a row; it goes on over reconnections and restarts, and ends with a number that is above. What
 * tells that the host numbers anew from old events sent again is that commits of the row, whose
 * numbers rise among themselves, were made after all that were taken: by their revs, and so by the
 * host's own clock, whatever ours says. A few of them, and the host gets a new epoch too, and is
 * asked again for all of the row.
 *
 * Epochs rise: store takes what is of an earlier one than it has seen for a replay.
 */
#pragma once

#include "ingest/backoff.h"
#include "ingest/crawler.h"
#include "ingest/feed.h"
#include "ingest/mark.h"
#include "ingest/registry.h"

/* A dial that somebody asks for comes no sooner after the end of the last attempt. */
#define SUBSCRIPTION_ASKED_USEC (10 * USEC_PER_SEC)

/* So many such commits of a row prove that the host numbers anew. Fewer may be out of order. */
#define SUBSCRIPTION_ANEW_EVENTS 3
/* What is ahead of our clock by more proves nothing: validate refuses it. */
#define SUBSCRIPTION_CLOCK_USEC  (5 * 60 * USEC_PER_SEC)
/* One account with a rev of a far future does not take the proof from its host for longer. */
#define SUBSCRIPTION_AHEAD_USEC  (24 * 3600 * USEC_PER_SEC)

enum subscription_state {
	SUBSCRIPTION_RESTING, /* `timer` says until when */
	SUBSCRIPTION_QUEUED,  /* for a dialling place */
	SUBSCRIPTION_DIALLING,
	SUBSCRIPTION_READING,
};

struct subscription {
	struct crawler *crawler;
	struct host host;
	uint64_t host_id;
	struct registry_record
		record; /* all but the cursor is up to date; see subscription_record */
	bool changed;   /* in more than its cursor since it was written */
	struct mark mark;
	enum subscription_state state;
	struct backoff backoff;
	struct loop_timer timer;
	struct connection *connection;
	struct feed_waiter waiter;
	size_t outstanding_bytes;     /* of its frames in the windows */
	bool held;                    /* it has as many there as one host may have, and waits */
	struct loop_task resume_task; /* it has fewer again */
	bool sent_cursor;             /* the present stream was asked for with one */
	bool replaying;               /* no number above the cursor has come on it yet */
	uint64_t opened_usec;         /* when it was opened; 0: it was not */
	uint64_t ended_usec;          /* when the last one ended; 0: there was none */
	unsigned broken;              /* frames found broken since the last number that was taken */
	unsigned broken_before; /* those of them that the present stream is expected to bring again
				 */
	const char *end_reason; /* why we end it ourselves; NULL: we do not */
	char error_frame[96];   /* end_reason may point here */
	struct subscription *next_in_bucket;
	TAILQ_ENTRY(subscription) queue_link;
};

/* Copies the record, whose host must parse as `host`. */
struct subscription *subscription_new(struct crawler *c, const struct host *host,
				      const struct registry_record *record);
void subscription_free(struct subscription *s);

/* Dials as soon as a place is free. Does nothing unless it rests. */
void subscription_start(struct subscription *s);
/* It has a dialling place: dials. */
void subscription_dial(struct subscription *s);
/* Somebody says that the host is there: if it rests after a failure, the wait is cut short. */
void subscription_ask(struct subscription *s);
/* One of its events, whose frame has so many bytes, is finished and leaves its window. */
void subscription_acknowledged(struct subscription *s, size_t frame_bytes);
/* Takes nothing any more, and dials no more. */
void subscription_stop(struct subscription *s);
/* Brings record.cursor up to the low-water mark. Whether the record is to be written. */
bool subscription_record(struct subscription *s);
size_t subscription_memory_bytes(const struct subscription *s);
