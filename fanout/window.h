/*
 * The window: what the log holds and who may see it, as store's head notices say, and how a reader
 * goes through it.
 *
 * A reader has a place: the number of the next event, and the file and offset where that stands.
 * Ranges that are taken one after another from one place are contiguous, over file boundaries too:
 * the next file's name is the number of its first event, so a gap cannot go unseen. A place stays
 * good for as long as the file that it stands in is kept; one that has read a file to its end after
 * the next one was unlinked has fallen out.
 */
#pragma once

#include "common/message.h"

#include "fanout/files.h"
#include "fanout/range.h"

struct window {
	struct files files;
	bool known;    /* whether a notice said how far the log is */
	bool has_more; /* maybe: the notice said how far it is at least */
	struct head head;
	enum head_state state; /* of store, by the last notice */
	uint64_t heard_usec;   /* when the last notice came, or when we started: the loop's clock */
};

void window_init(struct window *w, const char *folder, uint64_t now_usec);
/* No place may be entered any more. */
void window_release(struct window *w);

enum window_change {
	WINDOW_SAME,  /* nothing to read that was not there */
	WINDOW_MORE,  /* new events, or the first notice of all */
	WINDOW_RESET, /* the numbers went back: another log. Every place in the old one has to be
			 left */
};
/* Takes a message of the head pipe. -EBADMSG: it is none. */
int window_take(struct window *w, struct span message, uint64_t now_usec,
		enum window_change *ret) MUST_CHECK;

struct place {
	uint64_t seq;
	struct file *file; /* NULL: not entered yet */
	uint64_t offset;
};

void place_init(struct place *p, uint64_t seq);
void place_release(struct place *p, struct window *w);
/* The next range, from the place on. 1: there is one; 0: not yet; -ENOENT: the file that has it is
 * not kept any more; -EBADMSG: the log is broken; others from the system. */
int place_next(struct place *p, struct window *w, struct range *ret) MUST_CHECK;
/* Goes past a range that place_next gave. */
void place_advance(struct place *p, const struct range *r);
