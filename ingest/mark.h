/*
 * The low-water mark of a host: the highest sequence number at and below which everything the host
 * sent is finished, that is, acknowledged or skipped. It is the cursor that is kept on disk: a host
 * asked to go on behind it sends again all that is not finished, and nothing that is needed less.
 *
 * Acknowledgements come in any order (an event waits for its account's identity while others pass).
 * Only what is outstanding is remembered: each entry knows the number that came in before it, so
 * the mark is what stands below the first one outstanding, or the last number of all when nothing
 * is.
 *
 *	numbers in:	11  12  15  16  20		outstanding: 15 (below: 12), 20 (below: 16)
 *	finished:	x   x       x			mark: 12; when 15 is finished: 16
 *
 * Entries live in their owner's memory (the window's); the mark borrows them from mark_add until
 * mark_remove or mark_reset. Invariant: numbers of entries rise from first to last, and none is
 * above `last_seq`.
 */
#pragma once

#include "common/bytes.h"

struct mark;

struct mark_entry {
	struct mark *mark; /* NULL: of no mark, or of one that was reset */
	struct mark_entry *previous;
	struct mark_entry *next;
	uint64_t below; /* what came in before it */
};

struct mark {
	bool known; /* some number has come in, or was set */
	uint64_t last_seq;
	struct mark_entry *first;
	struct mark_entry *last;
};

/* Everything up to seq is finished (a cursor read from disk). */
void mark_init_at(struct mark *m, uint64_t seq);
/* Nothing is known. Entries outstanding are let go: they are finished without moving this mark. */
void mark_reset(struct mark *m);
/* A number above all before it came in and is outstanding from now on. */
void mark_add(struct mark *m, struct mark_entry *e, uint64_t seq);
/* A number above all before it came in, and there is nothing to do about it. */
void mark_skip(struct mark *m, uint64_t seq);
/* It is finished. Does nothing to an entry of no mark. */
void mark_remove(struct mark_entry *e);
/* The mark; m->known must hold. */
uint64_t mark_low(const struct mark *m);
