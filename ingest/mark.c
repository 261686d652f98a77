#include "ingest/mark.h"

#include <assert.h>

void mark_init_at(struct mark *m, uint64_t seq)
{
	*m = (struct mark){.known = true, .last_seq = seq};
}

void mark_reset(struct mark *m)
{
	for (struct mark_entry *e = m->first; e; e = e->next)
		e->mark = NULL;
	*m = (struct mark){0};
}

/* Of a host met for the first time nothing is known below its first number. */
static uint64_t below(const struct mark *m, uint64_t seq)
{
	assert(!m->known || seq > m->last_seq);
	return m->known ? m->last_seq : seq - 1;
}

void mark_add(struct mark *m, struct mark_entry *e, uint64_t seq)
{
	*e = (struct mark_entry){.mark = m, .previous = m->last, .below = below(m, seq)};
	if (m->last)
		m->last->next = e;
	else
		m->first = e;
	m->last = e;
	m->last_seq = seq;
	m->known = true;
}

void mark_skip(struct mark *m, uint64_t seq)
{
	assert(!m->known || seq > m->last_seq);
	m->last_seq = seq;
	m->known = true;
}

void mark_remove(struct mark_entry *e)
{
	struct mark *m = e->mark;

	if (!m)
		return;
	if (e->previous)
		e->previous->next = e->next;
	else
		m->first = e->next;
	if (e->next)
		e->next->previous = e->previous;
	else
		m->last = e->previous;
	*e = (struct mark_entry){0};
}

uint64_t mark_low(const struct mark *m)
{
	assert(m->known);
	return m->first ? m->first->below : m->last_seq;
}
