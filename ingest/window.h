/*
 * The window of a lane: the events that were taken from hosts and are not acknowledged yet, with
 * their bytes, in the order of their tickets. When a session of the lane begins, all of it is sent
 * again.
 *
 *	first                         unsent                last
 *	  |  sent, not acknowledged     |  not sent yet       |
 *
 * Acknowledgements come in any order, so every event has its own memory, given back when it leaves:
 * an event that waits ten minutes for an identity must not hold a place in which a thousand others
 * could pass it. The window is bounded by the bytes of its events and their entries together; one
 * event always fits, whatever its size, when there is no other.
 *
 * A ticket is a rising number and, in its low bits, the slot where the event is found again:
 *
 *	| number, 40 bits | slot, 24 bits |
 *
 * A million events a second would take 12 days to use up the numbers; at ten thousand it is three
 * years, after which the process ends and its hosts begin again at their marks.
 */
#pragma once

#include "common/bytes.h"
#include "common/message.h"
#include "ingest/mark.h"

#define WINDOW_SLOT_BITS 24
#define WINDOW_SLOTS_MAX (1u << WINDOW_SLOT_BITS)

struct window_entry {
	struct window_entry *previous;
	struct window_entry *next;
	struct mark_entry mark;
	struct event event; /* event.host borrows from its subscription; event.frame from `bytes` */
	uint8_t bytes[];
};

struct window {
	size_t max_bytes;
	size_t used_bytes;
	int64_t block_bytes; /* of the same on the heap, which is more */
	size_t count;
	uint64_t next_number;
	struct window_entry *first;
	struct window_entry *last;
	struct window_entry *unsent; /* first of those to be sent; NULL: all are sent */
	size_t unsent_count;
	size_t unsent_bytes;         /* of their frames */
	struct window_entry **slots; /* by slot; NULL: free */
	uint32_t slot_count;
	uint32_t *free_slots; /* a stack */
	uint32_t free_count;
};

void window_init(struct window *w, size_t max_bytes);
void window_release(struct window *w);

bool window_has_room(const struct window *w, size_t frame_bytes);
/* Copies the frame, gives e a ticket of its own and puts it last. There must be room. Borrows
 * e->host until it leaves. The entry is valid until window_remove. */
struct window_entry *window_put(struct window *w, const struct event *e);
/* The next one to send, which counts as sent then; NULL: none. */
struct window_entry *window_send(struct window *w);
/* Nothing counts as sent any more. */
void window_rewind(struct window *w);
/* The event with this ticket, if it is in the window and was sent; or NULL. */
struct window_entry *window_find(const struct window *w, uint64_t ticket);
/* Frees the entry, takes it out of its mark. */
void window_remove(struct window *w, struct window_entry *e);
/* All memory it holds, as the allocator has rounded it. */
int64_t window_memory_bytes(const struct window *w);
