#include "tests/simnet/judge.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/simnet/frame_parts.h"

#define NONE      UINT32_MAX
#define OFFENCE   ((uint32_t)1 << 31) /* in the table of numbers: an offence, not an event */
#define NOTES_MAX 20
#define NOTE_SIZE 320

enum due { DUE, EXCUSED, REFUSED };

/* An event that was sent, about 70 bytes. Events of the same content (an #account that says again
 * what was said) are a chain in the order of their sending; its first event stands in the table of
 * contents. */
struct event {
	uint64_t hash;      /* of the content */
	const uint8_t *ptr; /* what has to come out, */
	uint32_t size;
	uint32_t seq_offset;
	uint8_t seq_size;
	uint8_t due; /* enum due */
	uint8_t kind;
	uint8_t verdict;
	uint32_t account, host;
	uint64_t host_seq;
	uint64_t number;    /* under which it came; 0: it did not */
	uint32_t earlier;   /* the last event of the account before it, or NONE */
	uint32_t next_same; /* in its chain, or NONE */
	uint32_t last_same; /* of the first of a chain: the last, */
	uint32_t free_same; /* and one before which all came; NONE: all came */
};

/* A number whose content is nobody's or another number's too. */
struct offence {
	uint64_t number, hash;
};

/* Open addressing over references to what is kept elsewhere; the rest of a slot is the owner's to
 * compare. Half full at most. */
struct table {
	uint32_t *slots;
	size_t size, used;
	uint64_t (*hash)(const struct judge *j, uint32_t ref);
};

struct judge {
	struct event *events;
	uint32_t event_count, event_cap;
	struct offence *offences;
	uint32_t offence_count, offence_cap;
	struct table contents;      /* first events of chains, by hash */
	struct table numbers;       /* events and offences, by number */
	struct table accounts;      /* the last event of each */
	uint64_t highest;           /* number that came */
	struct judge_report report; /* but for what is worked out when it is asked for */
	struct buf changed;         /* one frame that has to come out changed */
	uint8_t **owned;            /* those frames */
	size_t owned_count;
	size_t note_count;
	char notes[NOTES_MAX][NOTE_SIZE];
};

struct judge_reader {
	struct judge *judge;
	char *name;
	bool has_last;
	uint64_t last, count;
};

static uint64_t mix(uint64_t v)
{
	v ^= v >> 32;
	v *= 0x9e3779b97f4a7c15;
	return v ^ v >> 29;
}

static uint64_t hash_words(uint64_t h, const uint64_t words[static 2])
{
	unsigned __int128 product = (unsigned __int128)(h ^ words[0]) *
				    (words[1] ^ 0x9e3779b97f4a7c15);

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_bytes(uint64_t h, struct span s)
{
	const uint8_t *end = s.ptr + s.len;
	uint64_t words[2];

	h = mix(h ^ s.len);
	for (; (size_t)(end - s.ptr) >= sizeof(words); s.ptr += sizeof(words)) {
		memcpy(words, s.ptr, sizeof(words));
		h = hash_words(h, words);
	}
	if (s.ptr == end)
		return h;
	memset(words, 0, sizeof(words));
	memcpy(words, s.ptr, (size_t)(end - s.ptr));
	return hash_words(h, words);
}

static uint64_t hash_parts(struct span before, struct span after)
{
	return hash_bytes(hash_bytes(0, before), after);
}

static struct span before_seq(const struct event *e)
{
	return span_of(e->ptr, e->seq_offset);
}

static struct span after_seq(const struct event *e)
{
	uint32_t end = e->seq_offset + e->seq_size;

	return span_of(e->ptr + end, e->size - end);
}

static bool same_content(const struct event *e, struct span before, struct span after)
{
	return span_equal(before_seq(e), before) && span_equal(after_seq(e), after);
}

/* Tables. */

static uint64_t hash_of_content(const struct judge *j, uint32_t ref)
{
	return j->events[ref].hash;
}

static uint64_t number_of(const struct judge *j, uint32_t ref)
{
	return ref & OFFENCE ? j->offences[ref & ~OFFENCE].number : j->events[ref].number;
}

static uint64_t hash_of_number(const struct judge *j, uint32_t ref)
{
	return mix(number_of(j, ref));
}

static uint64_t hash_of_account(const struct judge *j, uint32_t ref)
{
	return mix(j->events[ref].account);
}

static void table_init(struct table *t, uint64_t (*hash)(const struct judge *j, uint32_t ref))
{
	t->size = 1024;
	t->used = 0;
	t->hash = hash;
	t->slots = xmalloc(t->size * sizeof(*t->slots));
	memset(t->slots, 0xff, t->size * sizeof(*t->slots));
}

static uint32_t *table_first(const struct table *t, uint64_t hash)
{
	return &t->slots[hash & (t->size - 1)];
}

static uint32_t *table_next(const struct table *t, uint32_t *slot)
{
	return slot + 1 == t->slots + t->size ? t->slots : slot + 1;
}

static void table_grow(struct table *t, const struct judge *j)
{
	struct table old = *t;

	t->size = 2 * old.size;
	t->slots = xmalloc(t->size * sizeof(*t->slots));
	memset(t->slots, 0xff, t->size * sizeof(*t->slots));
	for (size_t i = 0; i < old.size; i++) {
		uint32_t *slot;

		if (old.slots[i] == NONE)
			continue;
		slot = table_first(t, t->hash(j, old.slots[i]));
		while (*slot != NONE)
			slot = table_next(t, slot);
		*slot = old.slots[i];
	}
	free(old.slots);
}

/* In an empty slot that a search has found; no slot is valid afterwards. */
static void table_fill(struct table *t, const struct judge *j, uint32_t *slot, uint32_t ref)
{
	*slot = ref;
	if (++t->used > t->size / 2)
		table_grow(t, j);
}

static uint32_t *find_content(const struct judge *j, uint64_t hash, struct span before,
			      struct span after)
{
	uint32_t *slot = table_first(&j->contents, hash);

	while (*slot != NONE &&
	       !(j->events[*slot].hash == hash && same_content(&j->events[*slot], before, after)))
		slot = table_next(&j->contents, slot);
	return slot;
}

static uint32_t *find_number(const struct judge *j, uint64_t number)
{
	uint32_t *slot = table_first(&j->numbers, mix(number));

	while (*slot != NONE && number_of(j, *slot) != number)
		slot = table_next(&j->numbers, slot);
	return slot;
}

static uint32_t *find_account(const struct judge *j, uint32_t account)
{
	uint32_t *slot = table_first(&j->accounts, mix(account));

	while (*slot != NONE && j->events[*slot].account != account)
		slot = table_next(&j->accounts, slot);
	return slot;
}

/* Notes, for people. */

static void note(struct judge *j, const char *format, ...) PRINTF(2, 3);

static void note(struct judge *j, const char *format, ...)
{
	va_list args;

	if (j->note_count == NOTES_MAX)
		return;
	va_start(args, format);
	vsnprintf(j->notes[j->note_count++], NOTE_SIZE, format, args);
	va_end(args);
}

static const char *describe(const struct event *e, char ret[static NOTE_SIZE])
{
	static const char *const kinds[] = {"#commit", "#sync", "#identity", "#account"};

	snprintf(ret, NOTE_SIZE, "%s %" PRIu64 " of host %u, account %u, %u bytes (%s)",
		 e->kind < ARRAY_SIZE(kinds) ? kinds[e->kind] : "event", e->host_seq, e->host,
		 e->account, e->size, verdict_info(e->verdict)->name);
	return ret;
}

/* What can be read in the first bytes of a frame. */
static const char *readable(struct span s, char ret[static NOTE_SIZE])
{
	size_t n = s.len < 160 ? s.len : 160;

	for (size_t i = 0; i < n; i++)
		ret[i] = s.ptr[i] >= ' ' && s.ptr[i] < 0x7f ? (char)s.ptr[i] : '.';
	ret[n] = '\0';
	return ret;
}

/* What was sent. */

struct judge *judge_open(void)
{
	struct judge *j = xcalloc(1, sizeof(*j));

	table_init(&j->contents, hash_of_content);
	table_init(&j->numbers, hash_of_number);
	table_init(&j->accounts, hash_of_account);
	return j;
}

void judge_close(struct judge *j)
{
	if (!j)
		return;
	for (size_t i = 0; i < j->owned_count; i++)
		free(j->owned[i]);
	free(j->owned);
	free(j->contents.slots);
	free(j->numbers.slots);
	free(j->accounts.slots);
	free(j->events);
	free(j->offences);
	free(j);
}

/* The frame that has to come out: without its handle. Its `seq` stands where it stood, for keys
 * come in the order of their lengths. */
static struct span keep_without_handle(struct judge *j, struct span frame)
{
	struct buf b;
	int r;

	buf_init(&b, frame.len);
	r = frame_parts_without_handle(frame, &b);
	assert(r == 0);
	j->owned = xrealloc(j->owned, (j->owned_count + 1) * sizeof(*j->owned));
	j->owned[j->owned_count++] = b.ptr;
	return buf_span(&b);
}

static struct event *add_event(struct judge *j)
{
	if (j->event_count == j->event_cap) {
		j->event_cap = j->event_cap ? j->event_cap + j->event_cap / 2 : 1024;
		assert(j->event_cap < OFFENCE);
		j->events = xrealloc(j->events, j->event_cap * sizeof(*j->events));
	}
	return &j->events[j->event_count++];
}

/* As the last of its chain. */
static void chain(struct judge *j, uint32_t ref)
{
	struct event *e = &j->events[ref];
	uint32_t *slot = find_content(j, e->hash, before_seq(e), after_seq(e));
	struct event *first;

	if (*slot == NONE) {
		table_fill(&j->contents, j, slot, ref);
		return;
	}
	first = &j->events[*slot];
	j->events[first->last_same].next_same = ref;
	first->last_same = ref;
	if (first->free_same == NONE)
		first->free_same = ref;
}

static void follow(struct judge *j, uint32_t ref)
{
	uint32_t *slot = find_account(j, j->events[ref].account);

	if (*slot == NONE) {
		table_fill(&j->accounts, j, slot, ref);
		return;
	}
	j->events[ref].earlier = *slot;
	*slot = ref;
}

static void add(struct judge *j, const struct corpus_record *r, enum due due)
{
	struct span content = r->loses_handle ? keep_without_handle(j, r->frame) : r->frame;
	struct event *e = add_event(j);
	uint32_t ref = j->event_count - 1;

	assert(r->seq_offset <= content.len && r->seq_size <= content.len - r->seq_offset);
	*e = (struct event){
		.ptr = content.ptr,
		.size = (uint32_t)content.len,
		.seq_offset = r->seq_offset,
		.seq_size = (uint8_t)r->seq_size,
		.due = (uint8_t)due,
		.kind = (uint8_t)r->kind,
		.verdict = (uint8_t)r->verdict,
		.account = r->account,
		.host = r->host,
		.host_seq = r->seq,
		.earlier = NONE,
		.next_same = NONE,
		.last_same = ref,
		.free_same = ref,
	};
	e->hash = hash_parts(before_seq(e), after_seq(e));
	chain(j, ref);
	follow(j, ref);
	j->report.sent++;
	j->report.due += due == DUE;
}

void judge_sent(struct judge *j, const struct corpus_record *r)
{
	assert(r->type == CORPUS_EVENT);
	add(j, r, r->verdict == VERDICT_ACCEPTED ? DUE : REFUSED);
}

static struct event *find_sent(struct judge *j, const struct corpus_record *r)
{
	uint32_t *slot = find_account(j, r->account);

	for (uint32_t at = *slot; at != NONE; at = j->events[at].earlier) {
		struct event *e = &j->events[at];

		if (e->host == r->host && e->host_seq == r->seq && e->kind == r->kind)
			return e;
	}
	return NULL;
}

void judge_excuse(struct judge *j, const struct corpus_record *r)
{
	struct event *e = find_sent(j, r);

	assert(r->type == CORPUS_EVENT);
	if (!e) {
		add(j, r, EXCUSED);
		return;
	}
	j->report.due -= e->due == DUE;
	j->report.received -= e->due == DUE && e->number;
	j->report.let_through -= e->due == REFUSED && e->number;
	e->due = EXCUSED;
}

/* What came. */

static struct offence *add_offence(struct judge *j, uint64_t number, uint64_t hash)
{
	if (j->offence_count == j->offence_cap) {
		j->offence_cap = j->offence_cap ? 2 * j->offence_cap : 64;
		assert(j->offence_cap < OFFENCE);
		j->offences = xrealloc(j->offences, j->offence_cap * sizeof(*j->offences));
	}
	j->offences[j->offence_count] = (struct offence){number, hash};
	return &j->offences[j->offence_count++];
}

static void offend(struct judge *j, uint64_t number, uint64_t hash)
{
	add_offence(j, number, hash);
	table_fill(&j->numbers, j, find_number(j, number), OFFENCE | (j->offence_count - 1));
}

/* The one of the chain that this may be: rather one that is due than one that is not. NONE: all
 * came. */
static uint32_t choose(struct judge *j, struct event *first)
{
	uint32_t best = NONE;

	while (first->free_same != NONE && j->events[first->free_same].number)
		first->free_same = j->events[first->free_same].next_same;
	for (uint32_t at = first->free_same; at != NONE; at = j->events[at].next_same) {
		const struct event *e = &j->events[at];

		if (!e->number && (best == NONE || e->due < j->events[best].due))
			best = at;
		if (best != NONE && j->events[best].due == DUE)
			break;
	}
	return best;
}

static void set_number(struct judge *j, uint32_t ref, uint64_t number)
{
	if (ref & OFFENCE)
		j->offences[ref & ~OFFENCE].number = number;
	else
		j->events[ref].number = number;
}

static void swap_numbers(struct judge *j, uint32_t a, uint32_t b)
{
	uint64_t number = number_of(j, a), other = number_of(j, b);
	uint32_t *slot = find_number(j, number), *other_slot = find_number(j, other);

	set_number(j, a, other);
	set_number(j, b, number);
	*slot = b;
	*other_slot = a;
}

/* Readers stand at different places, so numbers may come in any order; which of a chain a number
 * belongs to cannot be seen. So they are dealt out rising, to those that are due alike, and what
 * is too much (last is an offence then) has the highest. */
static void sort_chain(struct judge *j, uint32_t first, uint32_t last)
{
	unsigned due = last & OFFENCE ? DUE : j->events[last].due;

	for (uint32_t at = first; at != last && at != NONE; at = j->events[at].next_same) {
		const struct event *e = &j->events[at];

		if (e->due == due && e->number > number_of(j, last))
			swap_numbers(j, at, last);
	}
}

static void take(struct judge *j, uint32_t first, uint32_t ref, uint64_t number)
{
	struct event *e = &j->events[ref];
	char what[NOTE_SIZE];

	e->number = number;
	table_fill(&j->numbers, j, find_number(j, number), ref);
	if (number < j->highest)
		sort_chain(j, first, ref);
	else
		j->highest = number;
	if (e->due == DUE)
		j->report.received++;
	if (e->due == REFUSED) {
		j->report.let_through++;
		note(j, "let through: number %" PRIu64 ": %s", number, describe(e, what));
	}
}

static void judge_new_number(struct judge_reader *r, const struct frame_parts *p, struct span frame)
{
	struct judge *j = r->judge;
	uint64_t hash = hash_parts(p->before, p->after);
	uint32_t first = *find_content(j, hash, p->before, p->after), ref;
	char what[NOTE_SIZE];

	if (first == NONE) {
		j->report.forged++;
		note(j, "forged: number %" PRIu64 " at %s, %zu bytes: %s", p->seq, r->name,
		     frame.len, readable(frame, what));
		offend(j, p->seq, hash);
		return;
	}
	ref = choose(j, &j->events[first]);
	if (ref == NONE) {
		j->report.repeated++;
		note(j, "repeated: number %" PRIu64 ", also %" PRIu64 ": %s", p->seq,
		     j->events[first].number, describe(&j->events[first], what));
		offend(j, p->seq, hash);
		sort_chain(j, first, OFFENCE | (j->offence_count - 1));
		return;
	}
	take(j, first, ref, p->seq);
}

static bool is_known_content(const struct judge *j, uint32_t ref, const struct frame_parts *p)
{
	if (ref & OFFENCE)
		return j->offences[ref & ~OFFENCE].hash == hash_parts(p->before, p->after);
	return same_content(&j->events[ref], p->before, p->after);
}

static void judge_number(struct judge_reader *r, uint64_t number)
{
	if (r->has_last && number != r->last + 1) {
		r->judge->report.gaps++;
		note(r->judge, "gap: number %" PRIu64 " after %" PRIu64 " at %s", number, r->last,
		     r->name);
	}
	r->has_last = true;
	r->last = number;
}

void judge_received(struct judge_reader *r, struct span frame)
{
	struct judge *j = r->judge;
	struct frame_parts p;
	char what[NOTE_SIZE];
	uint32_t ref;

	r->count++;
	if (frame_parts_of(frame, &p) < 0 || p.seq == 0) {
		j->report.forged++;
		note(j, "forged: no number, after %" PRIu64 " at %s, %zu bytes: %s", r->last,
		     r->name, frame.len, readable(frame, what));
		return;
	}
	judge_number(r, p.seq);
	ref = *find_number(j, p.seq);
	if (ref == NONE) {
		judge_new_number(r, &p, frame);
	} else if (!is_known_content(j, ref, &p)) {
		j->report.two_contents++;
		note(j, "two contents: number %" PRIu64 " at %s, %zu bytes: %s", p.seq, r->name,
		     frame.len, readable(frame, what));
	}
}

struct judge_reader *judge_reader_new(struct judge *j, const char *name)
{
	struct judge_reader *r = xcalloc(1, sizeof(*r));

	r->judge = j;
	r->name = xstrdup(name);
	return r;
}

void judge_reader_free(struct judge_reader *r)
{
	if (!r)
		return;
	free(r->name);
	free(r);
}

void judge_reader_resume(struct judge_reader *r, uint64_t cursor)
{
	r->has_last = true;
	r->last = cursor;
}

uint64_t judge_reader_last_seq(const struct judge_reader *r)
{
	return r->last;
}

uint64_t judge_reader_count(const struct judge_reader *r)
{
	return r->count;
}

/* The verdict. */

/* Events that came under a lower number than an earlier one of their account. */
static uint64_t find_reordered(const struct judge *j, bool shown)
{
	uint64_t *highest = xcalloc(j->event_count + 1, sizeof(*highest)), count = 0,
		 shown_count = 0;
	char what[NOTE_SIZE];

	for (uint32_t i = 0; i < j->event_count; i++) {
		const struct event *e = &j->events[i];
		uint64_t earlier = e->earlier == NONE ? 0 : highest[e->earlier];

		highest[i] = earlier;
		if (e->due != REFUSED && e->number > earlier)
			highest[i] = e->number;
		if (!e->number || e->due == REFUSED || e->number > earlier)
			continue;
		count++;
		if (shown && shown_count++ < NOTES_MAX)
			printf("# reordered: number %" PRIu64 ", an earlier event of the account "
			       "has %" PRIu64 ": %s\n",
			       e->number, earlier, describe(e, what));
	}
	free(highest);
	return count;
}

void judge_report(const struct judge *j, struct judge_report *ret)
{
	*ret = j->report;
	ret->missing = j->report.due - j->report.received;
	ret->reordered = find_reordered(j, false);
}

bool judge_is_complete(const struct judge *j)
{
	return j->report.received == j->report.due;
}

static void show_missing(const struct judge *j)
{
	char what[NOTE_SIZE];
	unsigned shown = 0;

	for (uint32_t i = 0; i < j->event_count && shown < NOTES_MAX; i++) {
		if (j->events[i].due == DUE && !j->events[i].number) {
			printf("# missing: %s\n", describe(&j->events[i], what));
			shown++;
		}
	}
}

bool judge_verdict(const struct judge *j)
{
	struct judge_report p;

	judge_report(j, &p);
	if (p.missing + p.repeated + p.reordered + p.forged + p.let_through + p.gaps +
		    p.two_contents ==
	    0)
		return true;
	printf("# sent %" PRIu64 ", due %" PRIu64 ", received %" PRIu64 ": missing %" PRIu64
	       ", repeated %" PRIu64 ", reordered %" PRIu64 ", forged %" PRIu64
	       ", let through %" PRIu64 ", gaps %" PRIu64 ", two contents %" PRIu64 "\n",
	       p.sent, p.due, p.received, p.missing, p.repeated, p.reordered, p.forged,
	       p.let_through, p.gaps, p.two_contents);
	for (size_t i = 0; i < j->note_count; i++)
		printf("# %s\n", j->notes[i]);
	show_missing(j);
	find_reordered(j, true);
	return false;
}
