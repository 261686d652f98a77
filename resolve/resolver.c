#include "resolve/resolver.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "resolve/document_answer.h"
#include "resolve/failures.h"
#include "resolve/fetches.h"
#include "resolve/queue.h"

enum lookup_result {
	LOOKUP_CACHE,
	LOOKUP_FETCHED,     /* began a fetch */
	LOOKUP_COALESCED,   /* waits for one that is in hand */
	LOOKUP_REFUSED,     /* unavailable at once */
	LOOKUP_STALE,       /* answered with what the cache still had */
	LOOKUP_UNSUPPORTED, /* no place where a document could be */
	LOOKUP_RESULTS,
};

struct resolver {
	struct resolver_options options;
	struct failures *failures;
	uint64_t timeout_usec;
	uint64_t ttl_failed_usec;
	uint64_t refresh_usec;
	unsigned concurrency;
	struct fetches *fetches;
	struct queue queues[DID_METHODS];
	struct queue early; /* those whose time has not come: not to begin, but in lines as well */
	enum did_method turn; /* whose queue is looked at first next time */
	bool may_be_stale;    /* somebody may wait for a fetch who could have what is cached */
	struct loop_timer rest;
	struct log_limit failure_log;
	struct log_limit rest_log;
	struct log_limit cache_log;
	uint64_t *lookups[LOOKUP_RESULTS];
	uint64_t *crowded_out;
	uint64_t *resolved[DID_METHODS][IDENTITY_UNAVAILABLE + 1];
};

static struct resolver *resolver_of(const struct fetch *f)
{
	return f->owner;
}

/* Answers. */

static void answer_status(struct resolver *r, struct span did, enum identity_status status,
			  void *asker)
{
	struct identity identity = {.status = status, .fetched_usec = uptime_usec(), .did = did};

	r->options.answer(asker, &identity);
}

static void answer_entry(struct resolver *r, struct span did, const struct cache_entry *e,
			 void *asker)
{
	struct identity identity = {.status = e->status,
				    .fetched_usec = e->fetched_uptime_usec,
				    .age_usec = cache_age_usec(e),
				    .did = did};

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
	struct cache_entry e;

	if (newer_than_usec == 0 && cache_get(r->options.cache, did, &e) == 0 &&
	    cache_is_stale_but_usable(r->options.cache, &e)) {
		*r->lookups[LOOKUP_STALE] += 1;
		answer_entry(r, did, &e, asker);
		return;
	}
	if (result != LOOKUP_RESULTS)
		*r->lookups[result] += 1;
	answer_status(r, did, IDENTITY_UNAVAILABLE, asker);
}

/* Where a fetch stands. */

static void pump(struct resolver *r);
static void give_up_all(struct resolver *r);

static void enqueue(struct fetch *f)
{
	struct resolver *r = f->owner;

	queue_put(&r->queues[f->method], f);
}

static void on_due(void *arg)
{
	struct fetch *f = arg;
	struct resolver *r = f->owner;

	queue_remove(f);
	enqueue(f);
	pump(r);
}

/* The fetch before this one began at started_usec, 0 if there was none that matters. */
static void enqueue_when_due(struct fetch *f, uint64_t started_usec)
{
	struct resolver *r = f->owner;
	uint64_t age = uptime_usec() - started_usec;

	f->tried = 0;
	if (started_usec == 0 || age >= r->refresh_usec) {
		enqueue(f);
		return;
	}
	queue_put(&r->early, f);
	loop_timer_set(r->options.loop, &f->due, r->refresh_usec - age);
}

/* The end of a fetch. */

/* Where the document is: as it was when the lookup came; of did:plc at the directory that is
 * asked. */
static struct document_place fetch_place(const struct fetch *f)
{
	const struct resolver_options *o = &resolver_of(f)->options;
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
	resolver_of(f)->queues[f->method].under_way--;
}

/* Who wants no news gets what the cache has. Nobody may be left that waits for this fetch then. */
static void answer_stale_waiters(struct fetch *f)
{
	struct resolver *r = f->owner;
	struct waiter **at = &f->waiters;
	struct cache_entry e;

	if (cache_get(r->options.cache, fetch_did(f), &e) < 0 ||
	    !cache_is_stale_but_usable(r->options.cache, &e))
		return;
	while (*at) {
		struct waiter *w;

		if ((*at)->newer_than_usec > 0) {
			at = &(*at)->next;
			continue;
		}
		w = fetch_take_waiter(f, at);
		*r->lookups[LOOKUP_STALE] += 1;
		answer_entry(r, fetch_did(f), &e, w->asker);
		free(w);
	}
}

static bool has_stale_waiter(const struct fetch *f)
{
	for (const struct waiter *w = f->waiters; w; w = w->next)
		if (w->newer_than_usec == 0)
			return true;
	return false;
}

static void see_stale(struct fetch *f)
{
	if (f->method != DID_METHOD_PLC || !f->queue || !f->is_cached || !has_stale_waiter(f))
		return;
	answer_stale_waiters(f);
	if (!f->waiters) {
		queue_remove(f);
		fetch_free(f);
	}
}

/* All directories rest: of those that wait for one. */
static void answer_stale_in_queue(struct resolver *r)
{
	if (r->may_be_stale)
		fetches_each(r->fetches, see_stale);
	r->may_be_stale = false;
}

static void log_rest(struct resolver *r, const struct directory *d, uint64_t rest_usec,
		     const char *reason)
{
	char host[LIMIT_HOST + 1];
	unsigned left_out;

	if (log_limit_pass(&r->rest_log, &left_out))
		log_warning("directory rests: %s server=%s seconds=%" PRIu64 " left_out=%u",
			    log_text(span_str(reason)),
			    host_format(&directory_place(d)->host, host), rest_usec / USEC_PER_SEC,
			    left_out);
}

/* How the directory is, as this answer shows it; it may be tried no more for this document. */
static void leave_directory(struct fetch *f, enum directory_outcome outcome, uint64_t rest_usec,
			    const char *reason)
{
	struct resolver *r = f->owner;
	uint64_t now = loop_now_usec(r->options.loop), rests;

	if (!f->at_directory)
		return;
	f->at_directory = false;
	f->tried |= 1u << directory_number(f->directory);
	rests = directory_done(f->directory, outcome, rest_usec, now);
	if (rests > 0)
		log_rest(r, f->directory, rests, reason);
	if (outcome != DIRECTORY_WELL && directories_rest(r->options.directories, now))
		answer_stale_in_queue(r);
}

static void answer_all_without_fetch(struct fetch *f)
{
	while (f->waiters) {
		struct waiter *w = fetch_take_waiter(f, &f->waiters);

		answer_without_fetch(f->owner, fetch_did(f), w->newer_than_usec, w->asker,
				     LOOKUP_RESULTS);
		free(w);
	}
}

/* One that waits will not begin. */
static void give_up(struct fetch *f)
{
	queue_remove(f);
	answer_all_without_fetch(f);
	fetch_free(f);
}

static void give_up_queue(struct queue *q)
{
	while (q->count > 0)
		give_up(queue_peek(q));
}

/* Nothing more is fetched: who waits for what is not under way is told so. */
static void give_up_all(struct resolver *r)
{
	for (enum did_method m = 0; m < DID_METHODS; m++)
		give_up_queue(&r->queues[m]);
	give_up_queue(&r->early);
}

/* A passing failure: nothing is learnt about the account, and all who wait are told so. */
static void fail(struct fetch *f, const char *reason, uint64_t again_usec)
{
	struct resolver *r = f->owner;

	if (again_usec < r->ttl_failed_usec)
		again_usec = r->ttl_failed_usec;
	failures_add(r->failures, fetch_did(f), loop_now_usec(r->options.loop), again_usec);
	*r->resolved[f->method][IDENTITY_UNAVAILABLE] += 1;
	log_failure(r, f, reason);
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

	leave_directory(f, outcome, rest_usec, reason);
	if (web || !start_elsewhere(f))
		fail(f, reason, web ? rest_usec : 0);
}

/* Something is known now. Who asked for news from after the beginning of this fetch waits for
 * another. */
static void succeed(struct fetch *f, const struct cache_entry *known)
{
	struct resolver *r = f->owner;
	struct waiter **at = &f->waiters;
	struct cache_entry e = *known;

	e.fetched_uptime_usec = f->started_usec;
	e.fetched_usec = clock_usec() - (uptime_usec() - f->started_usec);
	if (cache_put(r->options.cache, fetch_did(f), &e) < 0)
		log_cache_failure(r);
	*r->resolved[f->method][e.status] += 1;
	failures_forget(r->failures, fetch_did(f));
	leave_directory(f, DIRECTORY_WELL, 0, NULL);
	leave_slot(f);
	while (*at) {
		struct waiter *w;

		if ((*at)->needs_next) {
			(*at)->needs_next = false;
			at = &(*at)->next;
			continue;
		}
		w = fetch_take_waiter(f, at);
		answer_entry(r, fetch_did(f), &e, w->asker);
		free(w);
	}
	if (f->waiters)
		enqueue_when_due(f, f->started_usec);
	else
		fetch_free(f);
	pump(r);
}

static void take_name_state(void *arg, enum name_state state)
{
	struct fetch *f = arg;

	if (state == NAME_MISSING)
		succeed(f, &(struct cache_entry){.status = IDENTITY_NOT_FOUND});
	else
		fail(f, "the name does not resolve", 0);
}

static void ask_name(struct fetch *f)
{
	struct document_place place = fetch_place(f);

	names_ask(resolver_of(f)->options.names, place.host.name, take_name_state, f);
}

static void take_http_answer(void *arg, const struct http_answer *a)
{
	struct fetch *f = arg;
	struct resolver *r = f->owner;
	struct document_answer d;

	if (a->outcome == HTTP_CANCELLED)
		return; /* resolver_free follows */
	document_answer_read(f->method, fetch_did(f), r->options.policy, a, &d);
	switch (d.outcome) {
	case DOCUMENT_KNOWN:
		if (d.reason)
			log_debug("document refused: %s did=%s", log_text(span_str(d.reason)),
				  log_text(fetch_did(f)));
		succeed(f, &d.entry);
		break;
	case DOCUMENT_PASSES:
		fail_here(f, d.reason, d.directory, d.rest_usec);
		break;
	case DOCUMENT_NAME:
		ask_name(f);
		break;
	}
}

/* The beginning of a fetch. */

/* Of did:plc the directory has been picked. */
static void request_document(struct fetch *f)
{
	struct resolver *r = f->owner;
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
	f->started_usec = uptime_usec();
	http_get(r->options.http, &request);
}

/* False: there is none, and ret_wait_usec is when there may be one. */
static bool pick_directory(struct fetch *f, uint64_t *ret_wait_usec)
{
	struct resolver_options *o = &resolver_of(f)->options;
	struct directory *d = directories_pick(o->directories, f->tried, loop_now_usec(o->loop),
					       ret_wait_usec);

	if (!d)
		return false;
	f->directory = d;
	f->at_directory = true;
	return true;
}

/* The next directory, while the fetch keeps its place among those under way. */
static bool start_elsewhere(struct fetch *f)
{
	uint64_t wait;

	if (resolver_of(f)->concurrency == 0 || !pick_directory(f, &wait))
		return false;
	request_document(f);
	return true;
}

/* Whether there is a directory for the first of the queue; if not, the queue is looked at again
 * when there may be one. */
static bool has_directory(struct resolver *r, const struct queue *q)
{
	struct fetch *f = queue_peek(q);
	uint64_t wait = UINT64_MAX;

	if (f->method != DID_METHOD_PLC)
		return true;
	if (pick_directory(f, &wait))
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
	return q->count > 0 && under_way < r->concurrency && q->under_way < q->under_way_max;
}

static void start(struct fetch *f)
{
	f->under_way = true;
	resolver_of(f)->queues[f->method].under_way++;
	request_document(f);
}

/* Starts what may start, the queues in turn. Switched off, nothing waits for what will not
 * come. */
static void pump(struct resolver *r)
{
	if (r->concurrency == 0)
		give_up_all(r);
	for (unsigned idle = 0; idle < DID_METHODS;) {
		struct queue *q = &r->queues[r->turn];

		r->turn = (r->turn + 1) % DID_METHODS;
		if (may_start(r, q) && has_directory(r, q)) {
			start(queue_get(q));
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
			      void *asker)
{
	struct cache_entry e;

	if (cache_get(r->options.cache, did, &e) < 0 || e.fetched_uptime_usec < newer_than_usec ||
	    !cache_is_fresh(r->options.cache, &e))
		return false;
	*r->lookups[LOOKUP_CACHE] += 1;
	answer_entry(r, did, &e, asker);
	return true;
}

/* The last one of the longest line that is longer than this host's would be, if there is such a
 * line. Of did:web only, where did:web has its part. */
static struct fetch *find_excess(const struct resolver *r, enum did_method method, uint64_t host_id)
{
	const struct queue *const queues[] = {&r->queues[DID_METHOD_WEB], &r->early,
					      &r->queues[DID_METHOD_PLC]};
	bool web_only = method == DID_METHOD_WEB && fetches_has_its_part(r->fetches, method);
	size_t count = web_only ? 1 : ARRAY_SIZE(queues), most = 0;
	struct fetch *excess = NULL;

	for (size_t i = 0; i < count; i++) {
		struct fetch *f = queue_last_of_longest(queues[i]);
		size_t length = f ? queue_length(queues[i], f->host_id) : 0;

		if (length > most) {
			most = length;
			excess = f;
		}
	}
	return most > queue_length(&r->queues[method], host_id) + 1 ? excess : NULL;
}

/* If there is no room for another fetch, whoever has most of them gives one up. */
static bool make_room(struct resolver *r, enum did_method method, uint64_t host_id)
{
	struct fetch *excess;

	if (fetches_has_room(r->fetches, method))
		return true;
	excess = find_excess(r, method, host_id);
	if (!excess)
		return false;
	*r->crowded_out += 1;
	give_up(excess);
	return true;
}

static bool is_refused(struct resolver *r, const struct lookup *lookup, enum did_method method,
		       const struct fetch *in_hand)
{
	if (r->concurrency == 0 || !fetches_has_room_to_wait(r->fetches, method))
		return true;
	if (in_hand)
		return false;
	return failures_has(r->failures, lookup->did, loop_now_usec(r->options.loop)) ||
	       !make_room(r, method, lookup->host_id);
}

/* It may be nearer to its turn by this lookup's host. */
static void join(struct fetch *f, const struct lookup *lookup, void *asker)
{
	struct resolver *r = f->owner;

	fetch_add_waiter(f, lookup->newer_than_usec, asker);
	if (f->is_cached && lookup->newer_than_usec == 0)
		r->may_be_stale = true;
	if (f->queue)
		queue_offer(f->queue, f, lookup->host_id);
	else if (queue_length(&r->queues[f->method], lookup->host_id) <
		 queue_length(&r->queues[f->method], f->host_id))
		f->host_id = lookup->host_id; /* should there be a next time */
}

/* After the last document of this DID, if there is one in the cache. */
static void enqueue_after_last(struct fetch *f)
{
	struct resolver *r = f->owner;
	struct cache_entry e;

	if (cache_get(r->options.cache, fetch_did(f), &e) < 0) {
		enqueue_when_due(f, 0);
		return;
	}
	f->is_cached = r->may_be_stale = true;
	enqueue_when_due(f, e.fetched_uptime_usec);
}

/* Rather than wait for a directory that rests. */
static bool answer_stale_while_resting(struct resolver *r, const struct lookup *lookup,
				       enum did_method method, void *asker)
{
	struct cache_entry e;

	if (lookup->newer_than_usec > 0 || method != DID_METHOD_PLC ||
	    !directories_rest(r->options.directories, loop_now_usec(r->options.loop)) ||
	    cache_get(r->options.cache, lookup->did, &e) < 0 ||
	    !cache_is_stale_but_usable(r->options.cache, &e))
		return false;
	*r->lookups[LOOKUP_STALE] += 1;
	answer_entry(r, lookup->did, &e, asker);
	return true;
}

void resolver_lookup(struct resolver *r, const struct lookup *lookup, void *asker)
{
	struct document_place place;
	struct fetch *f;

	if (document_place_find(lookup->did, directories_first(r->options.directories),
				r->options.policy, &place) < 0) {
		*r->lookups[LOOKUP_UNSUPPORTED] += 1;
		answer_status(r, lookup->did, IDENTITY_NOT_FOUND, asker);
		return;
	}
	if (answer_from_cache(r, lookup->did, lookup->newer_than_usec, asker))
		return;
	if (answer_stale_while_resting(r, lookup, place.method, asker))
		return;
	f = fetches_find(r->fetches, lookup->did);
	if (is_refused(r, lookup, place.method, f)) {
		answer_without_fetch(r, lookup->did, lookup->newer_than_usec, asker,
				     LOOKUP_REFUSED);
		return;
	}
	if (f) {
		*r->lookups[LOOKUP_COALESCED] += 1;
		join(f, lookup, asker);
		return;
	}
	*r->lookups[LOOKUP_FETCHED] += 1;
	f = fetch_new(r->fetches, lookup->did, place.method, on_due, r);
	f->host_id = lookup->host_id;
	fetch_add_waiter(f, lookup->newer_than_usec, asker);
	enqueue_after_last(f);
	pump(r);
}

void resolver_forget(struct resolver *r, const void *asker)
{
	fetches_forget(r->fetches, asker);
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

static int64_t waiting_bytes(void *arg)
{
	const struct resolver *r = arg;

	int64_t bytes = fetches_bytes(r->fetches) + queue_bytes(&r->early) + (int64_t)sizeof(*r);

	for (enum did_method m = 0; m < DID_METHODS; m++)
		bytes += queue_bytes(&r->queues[m]);
	return bytes;
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

	return (int64_t)(1000 * fetches_count(r->fetches) / FETCHES_MAX);
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
	r->crowded_out = metrics_counter(
		m, "relay_lookups_crowded_out_total",
		"DIDs that were given up for another host's, by the host with most of them.", NULL);
	metrics_gauge_call(m, "relay_lookup_queue", "DIDs that wait for a fetch to begin.", NULL,
			   queued_count, r);
	metrics_gauge_call(m, "relay_queue_fill_permille",
			   "How full a queue is, in parts of a thousand.", "what=\"lookups\"",
			   queue_fill, r);
	metrics_gauge_call(m, "relay_identities_kept", "Identities on disk.", NULL, cache_count,
			   r->options.cache);
	memory_register(r->options.memory, "queue", waiting_bytes, r);
	memory_register(r->options.memory, "failures", failures_memory_bytes, r->failures);
	memory_register(r->options.memory, "leveldb", cache_memory_bytes, r->options.cache);
}

void resolver_configure(struct resolver *r, const struct config *config)
{
	r->timeout_usec = config_time(config, "resolve.timeout");
	r->ttl_failed_usec = config_time(config, "resolve.ttl_failed");
	r->refresh_usec = config_time(config, "resolve.refresh_interval");
	r->concurrency = (unsigned)config_number(config, "resolve.concurrency");
	for (enum did_method m = 0; m < DID_METHODS; m++)
		r->queues[m].under_way_max = r->concurrency;
	r->queues[DID_METHOD_WEB].under_way_max = (r->concurrency + 1) / 2;
	pump(r);
}

size_t resolver_in_hand(const struct resolver *r)
{
	return fetches_count(r->fetches);
}

struct resolver *resolver_new(const struct resolver_options *options)
{
	struct resolver *r = xcalloc(1, sizeof(*r));

	r->options = *options;
	r->options.config = NULL;
	r->failures = failures_new();
	r->fetches = fetches_new(options->loop);
	for (enum did_method m = 0; m < DID_METHODS; m++)
		queue_init(&r->queues[m]);
	queue_init(&r->early);
	resolver_configure(r, options->config);
	r->failure_log = (struct log_limit){.burst = 10, .period_usec = 10 * USEC_PER_SEC};
	r->rest_log = (struct log_limit){.burst = 10, .period_usec = 60 * USEC_PER_SEC};
	r->cache_log = (struct log_limit){.burst = 1, .period_usec = 10 * USEC_PER_SEC};
	loop_timer_init(&r->rest, on_rested, r);
	add_metrics(r);
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	for (enum did_method m = 0; m < DID_METHODS; m++)
		queue_release(&r->queues[m]);
	queue_release(&r->early);
	fetches_free(r->fetches);
	loop_timer_cancel(r->options.loop, &r->rest);
	failures_free(r->failures);
	free(r);
}
