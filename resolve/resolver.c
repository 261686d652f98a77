#include "resolve/resolver.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/did_document.h"
#include "resolve/failures.h"

#define BUCKETS 16384 /* one for each fetch that may be in hand */

enum lookup_result {
	LOOKUP_CACHE,
	LOOKUP_FETCHED,     /* began a fetch */
	LOOKUP_COALESCED,   /* waits for one that is in hand */
	LOOKUP_REFUSED,     /* unavailable at once */
	LOOKUP_STALE,       /* answered with what the cache still had */
	LOOKUP_UNSUPPORTED, /* no place where a document could be */
	LOOKUP_RESULTS,
};

struct waiter {
	struct waiter *next;
	void *asker;
	uint64_t newer_than_usec;
	bool needs_next; /* the fetch that is under way began too early for it */
};

struct fetch {
	struct resolver *resolver;
	struct fetch *next_in_bucket;
	struct fetch *next_in_queue;
	struct waiter *waiters, **waiters_end;
	enum did_method method;
	bool under_way;
	uint64_t started_usec;       /* clock_usec, once under way */
	struct directory *directory; /* did:plc, while under way */
	unsigned tried;              /* numbers of the directories that failed, as bits */
	struct loop_timer due; /* set: it is in no queue yet, for its DID was fetched just now */
	size_t did_len;
	uint8_t did[];
};

struct queue {
	struct fetch *first, **end;
	size_t count;
	unsigned under_way;
	unsigned under_way_max;
	size_t fetches, waiters; /* of this method, in hand */
};

struct resolver {
	struct resolver_options options;
	struct failures *failures;
	uint64_t timeout_usec;
	uint64_t ttl_failed_usec;
	uint64_t refresh_usec;
	unsigned concurrency;
	struct fetch *buckets[BUCKETS];
	struct queue queues[DID_METHODS];
	enum did_method turn; /* whose queue is looked at first next time */
	size_t fetch_count;
	size_t waiter_count;
	int64_t bytes; /* of fetches and waiters */
	struct loop_timer rest;
	struct log_limit failure_log;
	struct log_limit cache_log;
	uint64_t *lookups[LOOKUP_RESULTS];
	uint64_t *resolved[DID_METHODS][IDENTITY_UNAVAILABLE + 1];
};

static struct span fetch_did(const struct fetch *f)
{
	return span_of(f->did, f->did_len);
}

/* Answers. */

static void answer_status(struct resolver *r, struct span did, enum identity_status status,
			  uint64_t fetched_usec, void *asker)
{
	struct identity identity = {.status = status, .fetched_usec = fetched_usec, .did = did};

	r->options.answer(asker, &identity);
}

static void answer_entry(struct resolver *r, struct span did, const struct cache_entry *e,
			 void *asker)
{
	struct identity identity = {
		.status = e->status, .fetched_usec = e->fetched_usec, .did = did};

	if (e->status == IDENTITY_FOUND) {
		identity.key = e->key;
		identity.pds = span_str(e->pds);
		identity.handle = span_str(e->handle);
	}
	r->options.answer(asker, &identity);
}

/* Nothing new is to be had now. Who did not ask for news gets what there is, within twice its time
 * to live. */
static void answer_without_fetch(struct resolver *r, struct span did, uint64_t newer_than_usec,
				 void *asker, enum lookup_result result)
{
	uint64_t now = clock_usec();
	struct cache_entry e;

	if (newer_than_usec == 0 && cache_get(r->options.cache, did, &e) == 0 &&
	    cache_is_stale_but_usable(r->options.cache, &e, now)) {
		*r->lookups[LOOKUP_STALE] += 1;
		answer_entry(r, did, &e, asker);
		return;
	}
	if (result != LOOKUP_RESULTS)
		*r->lookups[result] += 1;
	answer_status(r, did, IDENTITY_UNAVAILABLE, now, asker);
}

/* Waiters. */

/* Whether news of that time cannot be had from the fetch that is under way. A clock that was set
 * back since it began says nothing about what came first; then it is taken for older. */
static bool began_too_early(const struct fetch *f, uint64_t newer_than_usec)
{
	return f->under_way && newer_than_usec > 0 &&
	       (newer_than_usec > f->started_usec || clock_usec() < f->started_usec);
}

/* The waiter of this asker for the same fetch, if it waits already: one answer is for both. */
static struct waiter *find_waiter(const struct fetch *f, const void *asker, bool needs_next)
{
	struct waiter *w = f->waiters;

	while (w && (w->asker != asker || w->needs_next != needs_next))
		w = w->next;
	return w;
}

static void add_waiter(struct fetch *f, uint64_t newer_than_usec, void *asker)
{
	bool needs_next = began_too_early(f, newer_than_usec);
	struct waiter *w = find_waiter(f, asker, needs_next);

	if (w) {
		if (w->newer_than_usec < newer_than_usec)
			w->newer_than_usec = newer_than_usec;
		return;
	}
	w = xcalloc(1, sizeof(*w));
	w->asker = asker;
	w->newer_than_usec = newer_than_usec;
	w->needs_next = needs_next;
	*f->waiters_end = w;
	f->waiters_end = &w->next;
	f->resolver->waiter_count++;
	f->resolver->queues[f->method].waiters++;
	f->resolver->bytes += (int64_t)sizeof(*w);
}

/* Takes *at out of its list. Free with free(). */
static struct waiter *take_waiter(struct fetch *f, struct waiter **at)
{
	struct waiter *w = *at;

	*at = w->next;
	if (f->waiters_end == &w->next)
		f->waiters_end = at;
	f->resolver->waiter_count--;
	f->resolver->queues[f->method].waiters--;
	f->resolver->bytes -= (int64_t)sizeof(*w);
	return w;
}

/* Fetches in hand: in their bucket, and either in a queue or under way. */

static struct fetch **bucket_of(struct resolver *r, struct span did)
{
	return &r->buckets[span_hash(did) % BUCKETS];
}

static struct fetch *find_fetch(struct resolver *r, struct span did)
{
	struct fetch *f = *bucket_of(r, did);

	while (f && !span_equal(fetch_did(f), did))
		f = f->next_in_bucket;
	return f;
}

static void enqueue(struct fetch *f)
{
	struct queue *q = &f->resolver->queues[f->method];

	f->next_in_queue = NULL;
	*q->end = f;
	q->end = &f->next_in_queue;
	q->count++;
}

static void pump(struct resolver *r);
static void give_up_queue(struct queue *q);

static void on_due(void *arg)
{
	struct fetch *f = arg;
	struct resolver *r = f->resolver;

	enqueue(f);
	if (r->concurrency == 0)
		give_up_queue(&r->queues[f->method]);
	pump(r);
}

/* The fetch before this one began at started_usec, 0 if there was none. One from the future (the
 * clock was set back) has no say. */
static void enqueue_when_due(struct fetch *f, uint64_t started_usec)
{
	struct resolver *r = f->resolver;
	uint64_t now = clock_usec(), age = now - started_usec;

	f->tried = 0;
	if (started_usec > now || age >= r->refresh_usec)
		enqueue(f);
	else
		loop_timer_set(r->options.loop, &f->due, r->refresh_usec - age);
}

static struct fetch *dequeue(struct queue *q)
{
	struct fetch *f = q->first;

	q->first = f->next_in_queue;
	if (!q->first)
		q->end = &q->first;
	q->count--;
	return f;
}

static void on_due(void *arg);

static struct fetch *fetch_new(struct resolver *r, struct span did,
			       const struct document_place *place)
{
	struct fetch *f = xcalloc(1, sizeof(*f) + did.len), **bucket = bucket_of(r, did);

	f->resolver = r;
	f->waiters_end = &f->waiters;
	f->method = place->method;
	loop_timer_init(&f->due, on_due, f);
	f->did_len = did.len;
	memcpy(f->did, did.ptr, did.len);
	f->next_in_bucket = *bucket;
	*bucket = f;
	r->fetch_count++;
	r->queues[f->method].fetches++;
	r->bytes += (int64_t)(sizeof(*f) + did.len);
	return f;
}

/* Out of its bucket. It is in no queue, and nobody waits for it. */
static void fetch_free(struct fetch *f)
{
	struct resolver *r = f->resolver;
	struct fetch **at = bucket_of(r, fetch_did(f));

	while (*at != f)
		at = &(*at)->next_in_bucket;
	*at = f->next_in_bucket;
	loop_timer_cancel(r->options.loop, &f->due);
	r->fetch_count--;
	r->queues[f->method].fetches--;
	r->bytes -= (int64_t)(sizeof(*f) + f->did_len);
	free(f);
}

/* The end of a fetch. */

/* Where the document is: as it was when the lookup came; of did:plc at the directory that is
 * asked. */
static struct document_place fetch_place(const struct fetch *f)
{
	const struct resolver_options *o = &f->resolver->options;
	const struct document_place *directory = f->directory ? directory_place(f->directory)
							      : directories_first(o->directories);
	struct document_place place;
	int found = document_place_find(fetch_did(f), directory, o->policy, &place);

	assert(found == 0);
	return place;
}

static void log_failure(struct resolver *r, const struct fetch *f, const char *reason)
{
	struct document_place place = fetch_place(f);
	char host[LIMIT_HOST + 1];
	unsigned left_out;

	if (!log_limit_pass(&r->failure_log, &left_out))
		return;
	log_warning("identity not available: %s did=%s server=%s left_out=%u",
		    log_text(span_str(reason)), log_text(fetch_did(f)),
		    host_format(&place.host, host), left_out);
}

static void log_cache_failure(struct resolver *r)
{
	unsigned left_out;

	if (log_limit_pass(&r->cache_log, &left_out))
		log_error("identity cache not written: %s left_out=%u",
			  cache_error(r->options.cache), left_out);
}

static void leave_slot(struct fetch *f)
{
	f->under_way = false;
	f->resolver->queues[f->method].under_way--;
}

/* How the directory is, as this answer shows it; it may be tried no more for this document. */
static void leave_directory(struct fetch *f, enum directory_outcome outcome, uint64_t rest_usec)
{
	if (!f->directory)
		return;
	f->tried |= 1u << directory_number(f->directory);
	directory_done(f->directory, outcome, rest_usec, loop_now_usec(f->resolver->options.loop));
	f->directory = NULL;
}

static void answer_all_without_fetch(struct fetch *f)
{
	while (f->waiters) {
		struct waiter *w = take_waiter(f, &f->waiters);

		answer_without_fetch(f->resolver, fetch_did(f), w->newer_than_usec, w->asker,
				     LOOKUP_RESULTS);
		free(w);
	}
}

/* A passing failure: nothing is learnt about the account, and all who wait are told so. */
static void fail(struct fetch *f, const char *reason, uint64_t again_usec)
{
	struct resolver *r = f->resolver;

	if (again_usec < r->ttl_failed_usec)
		again_usec = r->ttl_failed_usec;
	failures_add(r->failures, fetch_did(f), loop_now_usec(r->options.loop), again_usec);
	*r->resolved[f->method][IDENTITY_UNAVAILABLE] += 1;
	log_failure(r, f, reason);
	leave_directory(f, DIRECTORY_WELL, 0);
	leave_slot(f);
	answer_all_without_fetch(f);
	fetch_free(f);
	pump(r);
}

static bool start_elsewhere(struct fetch *f);

/* Nothing was to be had here; elsewhere, if there is another directory. rest_usec: how long this
 * one wants to be left alone. */
static void fail_here(struct fetch *f, const char *reason, enum directory_outcome outcome,
		      uint64_t rest_usec)
{
	bool web = f->method == DID_METHOD_WEB;

	leave_directory(f, outcome, rest_usec);
	if (web || !start_elsewhere(f))
		fail(f, reason, web ? rest_usec : 0);
}

/* Something is known now. Who asked for news from after the beginning of this fetch waits for
 * another: one more, whatever clocks say. */
static void succeed(struct fetch *f, const struct cache_entry *e)
{
	struct resolver *r = f->resolver;
	struct waiter **at = &f->waiters;

	if (cache_put(r->options.cache, fetch_did(f), e) < 0)
		log_cache_failure(r);
	*r->resolved[f->method][e->status] += 1;
	failures_forget(r->failures, fetch_did(f));
	leave_directory(f, DIRECTORY_WELL, 0);
	leave_slot(f);
	while (*at) {
		struct waiter *w;

		if ((*at)->needs_next) {
			(*at)->needs_next = false;
			at = &(*at)->next;
			continue;
		}
		w = take_waiter(f, at);
		answer_entry(r, fetch_did(f), e, w->asker);
		free(w);
	}
	if (f->waiters)
		enqueue_when_due(f, f->started_usec);
	else
		fetch_free(f);
	pump(r);
}

static void succeed_without_document(struct fetch *f, enum identity_status status)
{
	struct cache_entry e = {.status = status, .fetched_usec = f->started_usec};

	succeed(f, &e);
}

static void take_document(struct fetch *f, struct span body)
{
	struct cache_entry e = {.status = IDENTITY_FOUND, .fetched_usec = f->started_usec};
	const struct host_policy *policy = f->resolver->options.policy;
	struct did_document d;
	enum did_document_fault fault = did_document_parse(body, fetch_did(f), &d);

	/* What stands before a directory that is not well answers for it: a page for people. */
	if (fault == DID_DOCUMENT_NOT_JSON && f->method == DID_METHOD_PLC) {
		fail_here(f, "the answer is no document", DIRECTORY_FAILED, 0);
		return;
	}
	if (fault != DID_DOCUMENT_OK) {
		log_debug("document refused: %s did=%s", did_document_fault_name(fault),
			  log_text(fetch_did(f)));
		succeed_without_document(f, IDENTITY_UNUSABLE);
		return;
	}
	if (d.pds_is_plain && !host_policy_is_plain(policy, &d.pds)) {
		log_debug("document refused: the PDS is reached by http: only did=%s",
			  log_text(fetch_did(f)));
		succeed_without_document(f, IDENTITY_UNUSABLE);
		return;
	}
	e.key = d.key;
	host_format(&d.pds, e.pds);
	memcpy(e.handle, d.handle, sizeof(e.handle));
	succeed(f, &e);
}

/* Too many requests, or a server that is not well. */
static void take_refusal(struct fetch *f, const struct http_answer *a)
{
	bool told = a->status == 429 || a->retry_after_sec > 0;
	uint64_t rest = a->retry_after_sec * USEC_PER_SEC;

	if (rest < DIRECTORIES_REST_MIN_USEC)
		rest = DIRECTORIES_REST_MIN_USEC;
	if (rest > DIRECTORIES_REST_MAX_USEC)
		rest = DIRECTORIES_REST_MAX_USEC;
	fail_here(f, a->reason, told ? DIRECTORY_BUSY : DIRECTORY_FAILED, told ? rest : 0);
}

/* Final answers about the account: 200, 404, 410, and of did:web a redirect, which is not followed.
 * Everything else may be different in a moment. */
static void take_status(struct fetch *f, const struct http_answer *a)
{
	bool web = f->method == DID_METHOD_WEB;

	if (a->status == 200)
		take_document(f, a->body);
	else if (a->status == 404)
		succeed_without_document(f, IDENTITY_NOT_FOUND);
	else if (a->status == 410)
		/* Only a directory keeps tombstones [did:plc]. */
		succeed_without_document(f, web ? IDENTITY_NOT_FOUND : IDENTITY_TOMBSTONED);
	else if (a->status / 100 == 3 && web)
		succeed_without_document(f, IDENTITY_UNUSABLE);
	else if (a->status == 429 || a->status / 100 == 5)
		take_refusal(f, a);
	else
		fail_here(f, a->reason, DIRECTORY_WELL, 0);
}

static void take_name_state(void *arg, enum name_state state)
{
	struct fetch *f = arg;

	if (state == NAME_MISSING)
		succeed_without_document(f, IDENTITY_NOT_FOUND);
	else
		fail(f, "the name does not resolve", 0);
}

static void ask_name(struct fetch *f)
{
	struct document_place place = fetch_place(f);

	names_ask(f->resolver->options.names, place.host.name, take_name_state, f);
}

static void take_http_answer(void *arg, const struct http_answer *a)
{
	struct fetch *f = arg;
	bool web = f->method == DID_METHOD_WEB;

	switch (a->outcome) {
	case HTTP_ANSWERED:
		take_status(f, a);
		break;
	case HTTP_NO_NAME:
		if (web)
			ask_name(f);
		else
			fail_here(f, a->reason, DIRECTORY_FAILED, 0);
		break;
	case HTTP_FORBIDDEN:
		/* Of the directory it is our configuration that is wrong, not the account. */
		if (web)
			succeed_without_document(f, IDENTITY_UNUSABLE);
		else
			fail_here(f, a->reason, DIRECTORY_FAILED, 0);
		break;
	case HTTP_CANCELLED:
		break; /* resolver_free follows */
	case HTTP_TOO_LARGE:
		succeed_without_document(f, IDENTITY_UNUSABLE);
		break;
	default:
		fail_here(f, a->reason, DIRECTORY_FAILED, 0);
	}
}

/* The beginning of a fetch. */

/* Of did:plc the directory has been picked. */
static void request_document(struct fetch *f)
{
	struct resolver *r = f->resolver;
	struct http_request request = {
		.purpose = f->method == DID_METHOD_PLC ? HTTP_PLC : HTTP_DID_WEB,
		.max_bytes = LIMIT_DID_DOCUMENT,
		.timeout_usec = r->timeout_usec,
		.done = take_http_answer,
		.arg = f,
	};
	struct document_place place = fetch_place(f);

	request.host = place.host;
	request.plain = place.plain;
	request.path = place.path;
	f->started_usec = clock_usec();
	http_get(r->options.http, &request);
}

/* The next directory, while the fetch keeps its place among those under way. */
static bool start_elsewhere(struct fetch *f)
{
	struct resolver_options *o = &f->resolver->options;
	uint64_t wait;

	f->directory = directories_pick(o->directories, f->tried, loop_now_usec(o->loop), &wait);
	if (!f->directory)
		return false;
	request_document(f);
	return true;
}

/* Whether there is a directory for the first of the queue; if not, the queue is looked at again
 * when there may be one. */
static bool has_directory(struct resolver *r, struct queue *q)
{
	uint64_t wait = UINT64_MAX;

	if (q != &r->queues[DID_METHOD_PLC])
		return true;
	q->first->directory = directories_pick(r->options.directories, q->first->tried,
					       loop_now_usec(r->options.loop), &wait);
	if (q->first->directory)
		return true;
	if (wait != UINT64_MAX)
		loop_timer_set(r->options.loop, &r->rest, wait);
	return false;
}

static bool may_start(const struct resolver *r, const struct queue *q)
{
	unsigned under_way = 0;

	for (enum did_method m = 0; m < DID_METHODS; m++)
		under_way += r->queues[m].under_way;
	return q->first && under_way < r->concurrency && q->under_way < q->under_way_max;
}

static void start(struct fetch *f)
{
	f->under_way = true;
	f->resolver->queues[f->method].under_way++;
	request_document(f);
}

/* Starts what may start, the queues in turn. */
static void pump(struct resolver *r)
{
	for (unsigned idle = 0; idle < DID_METHODS;) {
		struct queue *q = &r->queues[r->turn];

		r->turn = (r->turn + 1) % DID_METHODS;
		if (may_start(r, q) && has_directory(r, q)) {
			start(dequeue(q));
			idle = 0;
		} else {
			idle++;
		}
	}
}

static void on_rested(void *arg)
{
	pump(arg);
}

/* Lookups. */

static bool answer_from_cache(struct resolver *r, struct span did, uint64_t newer_than_usec,
			      uint64_t now_usec, void *asker)
{
	struct cache_entry e;

	if (cache_get(r->options.cache, did, &e) < 0 || e.fetched_usec < newer_than_usec ||
	    !cache_is_fresh(r->options.cache, &e, now_usec))
		return false;
	*r->lookups[LOOKUP_CACHE] += 1;
	answer_entry(r, did, &e, asker);
	return true;
}

static bool is_refused(const struct resolver *r, struct span did, enum did_method method,
		       const struct fetch *in_hand)
{
	const struct queue *q = &r->queues[method];
	size_t part = method == DID_METHOD_WEB ? RESOLVER_WEB_PART : 1;

	if (r->concurrency == 0 || r->waiter_count >= RESOLVER_LOOKUPS_MAX ||
	    q->waiters >= RESOLVER_LOOKUPS_MAX / part)
		return true;
	if (in_hand)
		return false;
	return r->fetch_count >= RESOLVER_FETCHES_MAX ||
	       q->fetches >= RESOLVER_FETCHES_MAX / part ||
	       failures_has(r->failures, did, loop_now_usec(r->options.loop));
}

/* When the last document of this DID was asked for; 0: never. */
static uint64_t last_fetched(struct resolver *r, struct span did)
{
	struct cache_entry e;

	return cache_get(r->options.cache, did, &e) == 0 ? e.fetched_usec : 0;
}

/* Rather than wait for a directory that rests. */
static bool answer_stale_while_resting(struct resolver *r, const struct lookup *lookup,
				       enum did_method method, void *asker)
{
	struct cache_entry e;

	if (lookup->newer_than_usec > 0 || method != DID_METHOD_PLC ||
	    !directories_rest(r->options.directories, loop_now_usec(r->options.loop)) ||
	    cache_get(r->options.cache, lookup->did, &e) < 0 ||
	    !cache_is_stale_but_usable(r->options.cache, &e, clock_usec()))
		return false;
	*r->lookups[LOOKUP_STALE] += 1;
	answer_entry(r, lookup->did, &e, asker);
	return true;
}

void resolver_lookup(struct resolver *r, const struct lookup *lookup, void *asker)
{
	uint64_t now = clock_usec();
	struct document_place place;
	struct fetch *f;

	if (document_place_find(lookup->did, directories_first(r->options.directories),
				r->options.policy, &place) < 0) {
		*r->lookups[LOOKUP_UNSUPPORTED] += 1;
		answer_status(r, lookup->did, IDENTITY_NOT_FOUND, now, asker);
		return;
	}
	if (answer_from_cache(r, lookup->did, lookup->newer_than_usec, now, asker))
		return;
	if (answer_stale_while_resting(r, lookup, place.method, asker))
		return;
	f = find_fetch(r, lookup->did);
	if (is_refused(r, lookup->did, place.method, f)) {
		answer_without_fetch(r, lookup->did, lookup->newer_than_usec, asker,
				     LOOKUP_REFUSED);
		return;
	}
	if (f) {
		*r->lookups[LOOKUP_COALESCED] += 1;
		add_waiter(f, lookup->newer_than_usec, asker);
		return;
	}
	*r->lookups[LOOKUP_FETCHED] += 1;
	f = fetch_new(r, lookup->did, &place);
	add_waiter(f, lookup->newer_than_usec, asker);
	enqueue_when_due(f, last_fetched(r, lookup->did));
	pump(r);
}

static void forget_in(struct fetch *f, const void *asker)
{
	struct waiter **at = &f->waiters;

	while (*at) {
		if ((*at)->asker == asker)
			free(take_waiter(f, at));
		else
			at = &(*at)->next;
	}
}

void resolver_forget(struct resolver *r, const void *asker)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct fetch *f = r->buckets[i]; f; f = f->next_in_bucket)
			forget_in(f, asker);
}

/* The resolver itself. */

static int64_t queued_count(void *arg)
{
	const struct resolver *r = arg;
	int64_t count = 0;

	for (enum did_method m = 0; m < DID_METHODS; m++)
		count += (int64_t)r->queues[m].count;
	return count;
}

static int64_t queue_bytes(void *arg)
{
	return ((const struct resolver *)arg)->bytes + (int64_t)sizeof(struct resolver);
}

static void add_resolved_metrics(struct resolver *r, struct metrics *m)
{
	static const char *const names[IDENTITY_UNAVAILABLE + 1] = {
		[IDENTITY_FOUND] = "found",
		[IDENTITY_NOT_FOUND] = "not_found",
		[IDENTITY_TOMBSTONED] = "tombstoned",
		[IDENTITY_UNUSABLE] = "unusable",
		[IDENTITY_UNAVAILABLE] = "unavailable",
	};
	char labels[64];

	for (enum did_method d = 0; d < DID_METHODS; d++)
		for (size_t s = IDENTITY_FOUND; s < ARRAY_SIZE(names); s++) {
			snprintf(labels, sizeof(labels), "method=\"%s\",result=\"%s\"",
				 did_method_name(d), names[s]);
			r->resolved[d][s] = metrics_counter(
				m, "relay_identities_resolved_total",
				"DID documents fetched, by what came of it.", labels);
		}
}

static int64_t queue_fill(void *arg)
{
	const struct resolver *r = arg;

	return (int64_t)(1000 * r->fetch_count / RESOLVER_FETCHES_MAX);
}

static void add_metrics(struct resolver *r)
{
	static const char *const names[LOOKUP_RESULTS] = {
		[LOOKUP_CACHE] = "cache",         [LOOKUP_FETCHED] = "fetched",
		[LOOKUP_COALESCED] = "coalesced", [LOOKUP_REFUSED] = "refused",
		[LOOKUP_STALE] = "stale",         [LOOKUP_UNSUPPORTED] = "unsupported",
	};
	struct metrics *m = r->options.metrics;
	char labels[64];

	for (size_t i = 0; i < LOOKUP_RESULTS; i++) {
		snprintf(labels, sizeof(labels), "result=\"%s\"", names[i]);
		r->lookups[i] = metrics_counter(m, "relay_lookups_total",
						"Lookups of identities, by how they were served.",
						labels);
	}
	add_resolved_metrics(r, m);
	metrics_gauge_call(m, "relay_lookup_queue", "DIDs that wait for a fetch to begin.", NULL,
			   queued_count, r);
	metrics_gauge_call(m, "relay_queue_fill_permille",
			   "How full a queue is, in parts of a thousand.", "what=\"lookups\"",
			   queue_fill, r);
	metrics_gauge_call(m, "relay_identities_kept", "Identities on disk.", NULL, cache_count,
			   r->options.cache);
	memory_register(r->options.memory, "queue", queue_bytes, r);
	memory_register(r->options.memory, "failures", failures_memory_bytes, r->failures);
	memory_register(r->options.memory, "leveldb", cache_memory_bytes, r->options.cache);
}

/* Nothing more is fetched: who waits for what is not under way is told so. */
static void give_up_queue(struct queue *q)
{
	while (q->first) {
		struct fetch *f = dequeue(q);

		answer_all_without_fetch(f);
		fetch_free(f);
	}
}

void resolver_configure(struct resolver *r, const struct config *config)
{
	r->timeout_usec = config_time(config, "resolve.timeout");
	r->ttl_failed_usec = config_time(config, "resolve.ttl_failed");
	r->refresh_usec = config_time(config, "resolve.refresh_interval");
	r->concurrency = (unsigned)config_number(config, "resolve.concurrency");
	for (enum did_method m = 0; m < DID_METHODS; m++) {
		r->queues[m].under_way_max = r->concurrency;
		if (r->concurrency == 0)
			give_up_queue(&r->queues[m]);
	}
	r->queues[DID_METHOD_WEB].under_way_max = (r->concurrency + 1) / 2;
	pump(r);
}

size_t resolver_in_hand(const struct resolver *r)
{
	return r->fetch_count;
}

struct resolver *resolver_new(const struct resolver_options *options)
{
	struct resolver *r = xcalloc(1, sizeof(*r));

	r->options = *options;
	r->options.config = NULL;
	r->failures = failures_new();
	for (enum did_method m = 0; m < DID_METHODS; m++)
		r->queues[m] = (struct queue){.end = &r->queues[m].first};
	resolver_configure(r, options->config);
	r->failure_log = (struct log_limit){.burst = 10, .period_usec = 10 * USEC_PER_SEC};
	r->cache_log = (struct log_limit){.burst = 1, .period_usec = 10 * USEC_PER_SEC};
	loop_timer_init(&r->rest, on_rested, r);
	add_metrics(r);
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (r->buckets[i]) {
			struct fetch *f = r->buckets[i];

			while (f->waiters)
				free(take_waiter(f, &f->waiters));
			fetch_free(f);
		}
	loop_timer_cancel(r->options.loop, &r->rest);
	failures_free(r->failures);
	free(r);
}
