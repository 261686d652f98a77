/*
 * What ingest counts, registered once, so that the places that count only add. Names and labels are
 * in counters.c.
 */
#pragma once

#include "common/metrics.h"
#include "common/verdict.h"
#include "ingest/connection.h"

/* Why a frame went no further. */
enum drop_reason {
	DROP_SEQUENCE,     /* its number does not rise [event stream: Sequence Numbers] */
	DROP_UNKNOWN_KIND, /* another op or t */
	DROP_BAD_FIELDS,
	DROP_BAD_CBOR, /* this and the next three also end the connection */
	DROP_TEXT,
	DROP_OVERSIZE,
	DROP_FRAMING,
};
#define DROP_COUNT (DROP_FRAMING + 1)

/* How a requestCrawl was answered. */
enum crawl_result {
	CRAWL_ADDED,
	CRAWL_KNOWN,
	CRAWL_BAD_NAME,
	CRAWL_UNREACHABLE,
	CRAWL_NOT_PDS,
	CRAWL_RELAY,
	CRAWL_FORBIDDEN,
	CRAWL_BUSY,   /* too many checks under way, or no room for more hosts */
	CRAWL_FAILED, /* our own machinery */
};
#define CRAWL_COUNT (CRAWL_FAILED + 1)

struct counters {
	uint64_t *frames;
	uint64_t *frame_bytes;
	uint64_t *dropped[DROP_COUNT];
	uint64_t *acknowledged[VERDICT_MAX];
	uint64_t *failures[END_COUNT];
	uint64_t *crawls[CRAWL_COUNT];
	uint64_t *lane_sessions;
	uint64_t *foreign; /* connections */
	uint64_t *host_resets;
};

/* The pointers are valid as long as m is. */
void counters_register(struct counters *c, struct metrics *m);
