#include "ingest/window.h"

#include <assert.h>

#include "common/memory.h"

#define FIRST_SLOTS 1024

void window_init(struct window *w, size_t max_bytes)
{
	*w = (struct window){.max_bytes = max_bytes, .next_number = 1};
}

void window_release(struct window *w)
{
	while (w->first)
		window_remove(w, w->first);
	free(w->slots);
	free(w->free_slots);
	*w = (struct window){0};
}

static size_t cost(size_t frame_bytes)
{
	return sizeof(struct window_entry) + frame_bytes;
}

bool window_has_room(const struct window *w, size_t frame_bytes)
{
	if (w->count == 0)
		return true;
	if (w->free_count == 0 && w->slot_count == WINDOW_SLOTS_MAX)
		return false;
	return w->used_bytes < w->max_bytes && cost(frame_bytes) <= w->max_bytes - w->used_bytes;
}

/* Doubles the slots. Their number is bounded by max_bytes too: every event costs an entry. */
static void add_slots(struct window *w)
{
	uint32_t count = w->slot_count ? 2 * w->slot_count : FIRST_SLOTS;

	assert(count <= WINDOW_SLOTS_MAX);
	w->slots = xrealloc(w->slots, count * sizeof(*w->slots));
	w->free_slots = xrealloc(w->free_slots, count * sizeof(*w->free_slots));
	for (uint32_t slot = count; slot-- > w->slot_count;) {
		w->slots[slot] = NULL;
		w->free_slots[w->free_count++] = slot;
	}
	w->slot_count = count;
}

static uint64_t new_ticket(struct window *w, struct window_entry *e)
{
	uint32_t slot;

	if (w->free_count == 0)
		add_slots(w);
	assert(w->next_number >> (64 - WINDOW_SLOT_BITS) == 0);
	slot = w->free_slots[--w->free_count];
	w->slots[slot] = e;
	return w->next_number++ << WINDOW_SLOT_BITS | slot;
}

static uint32_t slot_of(uint64_t ticket)
{
	return (uint32_t)(ticket & (WINDOW_SLOTS_MAX - 1));
}

static void append(struct window *w, struct window_entry *e)
{
	e->previous = w->last;
	e->next = NULL;
	if (w->last)
		w->last->next = e;
	else
		w->first = e;
	w->last = e;
}

struct window_entry *window_put(struct window *w, const struct event *event)
{
	struct span frame = event->frame;
	struct window_entry *e = xmalloc(cost(frame.len));

	assert(window_has_room(w, frame.len));
	e->mark = (struct mark_entry){0};
	memcpy(e->bytes, frame.ptr, frame.len);
	e->event = *event;
	e->event.frame.ptr = e->bytes;
	e->event.ticket = new_ticket(w, e);
	append(w, e);
	if (!w->unsent)
		w->unsent = e;
	w->unsent_count++;
	w->unsent_bytes += frame.len;
	w->used_bytes += cost(frame.len);
	w->block_bytes += memory_block_bytes(e);
	w->count++;
	return e;
}

struct window_entry *window_send(struct window *w)
{
	struct window_entry *e = w->unsent;

	if (!e)
		return NULL;
	w->unsent = e->next;
	w->unsent_count--;
	w->unsent_bytes -= e->event.frame.len;
	return e;
}

void window_rewind(struct window *w)
{
	w->unsent = w->first;
	w->unsent_count = w->count;
	w->unsent_bytes = w->used_bytes - w->count * sizeof(struct window_entry);
}

/* Tickets rise along the list, so one below the first unsent ticket was sent. */
static bool is_sent(const struct window *w, const struct window_entry *e)
{
	return !w->unsent || e->event.ticket < w->unsent->event.ticket;
}

struct window_entry *window_find(const struct window *w, uint64_t ticket)
{
	uint32_t slot = slot_of(ticket);
	struct window_entry *e = slot < w->slot_count ? w->slots[slot] : NULL;

	return e && e->event.ticket == ticket && is_sent(w, e) ? e : NULL;
}

void window_remove(struct window *w, struct window_entry *e)
{
	uint32_t slot = slot_of(e->event.ticket);

	if (!is_sent(w, e)) {
		w->unsent_count--;
		w->unsent_bytes -= e->event.frame.len;
	}
	if (w->unsent == e)
		w->unsent = e->next;
	if (e->previous)
		e->previous->next = e->next;
	else
		w->first = e->next;
	if (e->next)
		e->next->previous = e->previous;
	else
		w->last = e->previous;
	w->slots[slot] = NULL;
	w->free_slots[w->free_count++] = slot;
	w->used_bytes -= cost(e->event.frame.len);
	w->block_bytes -= memory_block_bytes(e);
	w->count--;
	mark_remove(&e->mark);
	free(e);
}

int64_t window_memory_bytes(const struct window *w)
{
	return w->block_bytes + memory_block_bytes(w->slots) + memory_block_bytes(w->free_slots);
}
