/*
 * Lookups of identities: from the cache, or by fetching the account's DID document.
 *
 *	lookup --> cache, fresh and new enough --------------------> answer
 *	   |-----> a fetch of this DID in hand: waits for it ------> answer
 *	   |-----> failed a moment ago, too much in hand, or off --> stale answer or unavailable
 *	   `-----> queue of its method --> fetch --> cache --------> answer
 *
 * Each lookup is answered once, in any order, unless its asker is forgotten before. One DID has at
 * most one fetch in hand, however many ask. Who asks for something newer than the beginning of the
 * fetch under way waits for another one after it.
 *
 * Fetches in hand are in fetches.h, those that wait to begin in queue.h; what an answer means is
 * document_answer.h's. Under way: resolve.concurrency at most, of which did:web gets at most half.
 * Hosts take turns, and when there is no room for another fetch, the host with most of them gives
 * one up. At concurrency 0 nobody waits but for what is under way.
 *
 * A did:plc is asked of one directory after another until one answers (directories.h). While all of
 * them rest, who does not ask for news, or waits already without, gets what the cache has, even if
 * it is stale, and else waits.
 *
 * Whoever asks for news, and however often: two fetches of one DID begin resolve.refresh_interval
 * apart at least. What is asked for in between waits for its time.
 */
#pragma once

#include "common/config.h"
#include "common/loop.h"
#include "common/memory.h"
#include "common/message.h"
#include "resolve/cache.h"
#include "resolve/directories.h"
#include "resolve/http.h"
#include "resolve/names.h"

struct resolver;

struct resolver_options {
	const struct config *config; /* what resolver_configure reads */
	struct loop *loop;
	struct metrics *metrics;
	struct memory *memory;
	const struct host_policy *policy;
	struct directories *directories; /* of did:plc */
	struct cache *cache;
	struct http *http;
	struct names *names;
	/* The answer to one lookup; the spans are borrowed until it returns. It calls no function
	 * of the resolver. */
	void (*answer)(void *asker, const struct identity *identity);
};

/* Borrows what the options point to until resolver_free, config apart. */
struct resolver *resolver_new(const struct resolver_options *options);
/* Reads resolve.concurrency, .timeout, .ttl_failed and .refresh_interval, for all that begins from
 * now on. Switched off,
 * what waits is answered as if it had come afterwards. */
void resolver_configure(struct resolver *r, const struct config *config);
/* Call http_free and names_free before: they hold fetches under way. */
void resolver_free(struct resolver *r);

/* The answer may come from inside this function. */
void resolver_lookup(struct resolver *r, const struct lookup *lookup, void *asker);
/* Fetches in hand, waiting or under way. */
size_t resolver_in_hand(const struct resolver *r);
/* Its lookups are not answered any more. What is in hand for them goes on, for the cache. */
void resolver_forget(struct resolver *r, const void *asker);
