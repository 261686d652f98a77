/*
 * All hosts, and what they share: the registry, the dialler and its places, the lanes' feeds, the
 * writing of cursors.
 *
 * - At most CRAWLER_DIALS_MAX handshakes are under way at a time; other hosts queue for a place,
 * first come first served.
 * - Records that changed are written every cursor_interval, in one batch.
 * - Hosts are added and never removed, at most max_hosts.
 */
#pragma once

#include "common/host.h"
#include "common/log.h"
#include "common/memory.h"
#include "common/stage.h"
#include "ingest/connection.h"
#include "ingest/counters.h"
#include "ingest/feed.h"
#include "ingest/registry.h"

#define CRAWLER_DIALS_MAX                                                                          \
	64 /* a TLS handshake takes 1.7 ms of CPU: a tenth of a second for all                     \
	    */
#define CRAWLER_DRAIN_USEC (5 * USEC_PER_SEC) /* for acknowledgements, when stopping */

struct subscription;
TAILQ_HEAD(subscription_queue, subscription);

struct crawler {
	struct stage *stage;
	struct loop *loop;
	struct counters counters;
	struct host_policy *policy;
	struct registry *registry;
	struct resolver *resolver;
	struct tls *tls;
	struct dialer dialer;
	unsigned lanes;
	size_t host_window_bytes; /* of one host on its way, in all lanes */
	size_t held_hosts;        /* that wait because they have more */
	struct feed **feeds;      /* by lane */
	bool backfill;            /* ingest.backfill */
	uint64_t backoff_min_usec;
	uint64_t backoff_max_usec;

	struct subscription **hosts; /* in the order of their numbers */
	size_t host_count;
	size_t host_cap;
	size_t max_hosts;
	struct subscription **buckets; /* by host id */
	size_t bucket_count;
	uint64_t next_number;

	struct subscription_queue dial_queue;
	unsigned dials;
	int64_t *status_gauges[HOST_OFFLINE + 1];
	int64_t *open_connections;

	uint64_t cursor_interval_usec;
	struct loop_timer write_timer;
	bool write_failed; /* the registry holds a batch that is to be tried again first */
	struct log_limit verdict_log;
	struct log_limit frame_log;
	struct log_limit write_log;
	struct log_limit foreign_log;

	bool stopping;
	struct loop_timer drain_timer;
	struct loop_task drain_task;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

/* Opens the registry and all else. Logs; 0, or the exit status. */
int crawler_init(struct crawler *c, struct stage *stage) MUST_CHECK;
void crawler_release(struct crawler *c);

/* Dials the lanes, then the hosts that are known and those of ingest.hosts. Logs; 0, or the exit
 * status. */
int crawler_start(struct crawler *c) MUST_CHECK;
/* Reads hosts no more, waits for what is on its way, writes all cursors; then stopped is called. */
void crawler_stop(struct crawler *c, void (*stopped)(void *arg), void *arg);

/* NULL if it is not known. name: as host_format gives it. */
struct subscription *crawler_find(const struct crawler *c, struct span name);
/* Adds a host that is not known yet, durably. -ENOSPC: there are max_hosts; or what registry_write
 * says. */
int crawler_add(struct crawler *c, const struct host *host, struct subscription **ret) MUST_CHECK;
/* The same for many, in one write: all or none. One that is named twice is added once. Those that
 * are new are the last ret_added of hosts. -ENOSPC: only those for which there is room are. */
int crawler_add_all(struct crawler *c, const struct host *hosts, size_t count,
		    size_t *ret_added) MUST_CHECK;

/* For subscriptions. */

/* A place to dial: subscription_dial is called, at once or when one is free. */
void crawler_queue_dial(struct crawler *c, struct subscription *s);
/* It has its place no longer, or queues no longer. */
void crawler_end_dial(struct crawler *c, struct subscription *s);
void crawler_count_status(struct crawler *c, enum host_status status, int change);
/* Writes one record now, durably. */
int crawler_write(struct crawler *c, const struct registry_record *record) MUST_CHECK;
