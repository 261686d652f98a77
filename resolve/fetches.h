/*
 * The fetches in hand, and who waits for them. A DID has at most one.
 *
 *	fetch_new --> due: a timer is set, for its DID was fetched just now
 *	   |             `--> in a queue (queue.h)
 *	   |                     `--> under way --> fetch_free
 *	   `------------------------^    ^ `--> once more, for those that need the next one
 *
 * The table owns the fetches and their waiters, and counts both: FETCHES_MAX and
 * FETCHES_WAITERS_MAX at most, which has_room tells before one is made, and of which did:web, where
 * anybody can run a slow server, has at most half. Where a fetch stands is its owner's business: it
 * has to be in no queue when it is freed.
 */
#pragma once

#include <sys/queue.h>

#include "common/loop.h"
#include "resolve/directories.h"

#define FETCHES_MAX         16384 /* about 2 MB of them */
#define FETCHES_WAITERS_MAX 65536 /* some for each; 2 MB */
/* did:web may have this part of either, so that slow servers leave room for the directory. */
#define FETCHES_WEB_PART    2

struct fetches;

struct waiter {
	struct waiter *next;
	void *asker;
	uint64_t newer_than_usec;
	bool needs_next; /* the fetch that is under way began too early for it */
};

struct fetch {
	struct fetches *all;
	struct fetch *next_in_bucket;
	struct waiter *waiters, **waiters_end;
	enum did_method method;
	uint64_t host_id; /* whose line it stands in */
	/* queue.h's: where it waits; NULL while it is under way */
	struct queue *queue;
	struct queue_line *line;
	TAILQ_ENTRY(fetch) next_in_line;
	uint64_t place;
	bool under_way;
	uint64_t started_usec;       /* uptime_usec, once under way */
	struct directory *directory; /* did:plc: that it is asked of, or was asked of last */
	bool at_directory;           /* whose answer is awaited */
	bool is_cached;              /* something is known of the DID, which may be stale */
	unsigned tried;              /* numbers of the directories that failed, as bits */
	struct loop_timer due;       /* set: it may not begin yet */
	void *owner;
	size_t did_len;
	uint8_t did[];
};

struct fetches *fetches_new(struct loop *loop);
/* With all that are in hand, and their waiters. */
void fetches_free(struct fetches *all);

struct fetch *fetches_find(const struct fetches *all, struct span did);
bool fetches_has_room(const struct fetches *all, enum did_method method);
/* There is no room because of the method's own part. */
bool fetches_has_its_part(const struct fetches *all, enum did_method method);
bool fetches_has_room_to_wait(const struct fetches *all, enum did_method method);
size_t fetches_count(const struct fetches *all);
/* Calls see for each of them; it may free the one that it is given. */
void fetches_each(struct fetches *all, void (*see)(struct fetch *f));
int64_t fetches_bytes(const struct fetches *all);
/* Nobody of this asker waits any more. */
void fetches_forget(struct fetches *all, const void *asker);

/* of a DID that has none; on_due: of its timer, with the fetch. */
struct fetch *fetch_new(struct fetches *all, struct span did, enum did_method method,
			void (*on_due)(void *fetch), void *owner);
/* Nobody waits for it. */
void fetch_free(struct fetch *f);
struct span fetch_did(const struct fetch *f);
/* One that waits already does so for the newer of both times: one answer is for both. */
void fetch_add_waiter(struct fetch *f, uint64_t newer_than_usec, void *asker);
/* Takes *at out of the fetch's list. Free with free(). */
struct waiter *fetch_take_waiter(struct fetch *f, struct waiter **at) MUST_CHECK;
