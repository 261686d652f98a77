/*
 * The first hosts: the pages of another relay's listHosts (ingest.bootstrap), fetched by resolve.
 * What is new is added; nothing is ever removed. Read at start, and again every
 * BOOTSTRAP_INTERVAL_USEC; after a failure again soon, where it stopped.
 */
#pragma once

#include "common/pipe.h"
#include "ingest/backoff.h"
#include "ingest/crawler.h"

#define BOOTSTRAP_INTERVAL_USEC  (24 * 3600 * USEC_PER_SEC)
#define BOOTSTRAP_CALL_USEC      (30 * USEC_PER_SEC)
#define BOOTSTRAP_RETRY_MIN_USEC (5 * USEC_PER_SEC)
#define BOOTSTRAP_RETRY_MAX_USEC (30 * 60 * USEC_PER_SEC)
#define BOOTSTRAP_PAGES_MAX      10000 /* of one reading: a list without end is left there */
#define BOOTSTRAP_CURSOR_MAX     1024  /* bytes */

struct bootstrap {
	struct crawler *crawler;
	struct pipe *resolve;
	const char *url;
	struct loop_timer timer;
	struct backoff backoff;
	char cursor[BOOTSTRAP_CURSOR_MAX + 1];
	unsigned pages;
	size_t added;
};

/* Begins, unless ingest.bootstrap is empty. Borrows both. */
void bootstrap_init(struct bootstrap *b, struct crawler *crawler, struct pipe *resolve);
/* The pipe must have been closed before. */
void bootstrap_release(struct bootstrap *b);
