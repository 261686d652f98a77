/*
 * What the accounts of a world do: real repositories with real commits, in a mix and with sizes
 * like the network's (mostly posts, likes, follows and deletes of one record; some commits with
 * many ops; frames of 4 to 5 KB in the mean, with a tail up to the limits), and now and then an
 * #identity, an #account or a #sync, a key that is rotated, an account that moves or is deleted.
 *
 * Every event is one that a relay has to accept, but for those whose record says otherwise (a stale
 * #sync). Faults are tests/simnet/fault.h.
 */
#pragma once

#include "tests/simnet/corpus.h"

struct traffic_settings {
	uint64_t events;
	/* Accounts that have commits; their repositories are in memory while the traffic is
	 * written. The rest are made known by #account and #identity events only. */
	uint32_t active;
	/* Each account's first event comes before any account's second. */
	bool all_first;
	/* Records of a repository when it is first seen, in the mean: more make larger trees, and
	 * so larger proofs. */
	unsigned records;
	/* Identity changes (rotations, moves, deletions) per 100,000 events; they come together,
	 * each group behind a CORPUS_BARRIER. 0: none. */
	unsigned changes;
	/* Only #commit events. */
	bool commits_only;
};

/* What the real network's mix comes to, for so many events. */
void traffic_defaults(uint64_t events, struct traffic_settings *ret);
/* The world as it is at its beginning; it does not change: whoever plays the corpus changes it. */
void traffic_write(const struct world *w, const struct traffic_settings *t,
		   struct corpus_writer *out);

/* The corpus of these settings, from the folder where corpora are kept between runs (build/corpora,
 * or $STANDPIPE_CORPORA): written first if it is not there, or if the program that writes it is
 * newer. Two processes may ask at once. Returns a path; valid until the next call. */
const char *traffic_corpus(const struct world_settings *s, const struct traffic_settings *t);
