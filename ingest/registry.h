/*
 * What is known of every host, on disk: DATA/ingest/hosts, a LevelDB database with one key a host.
 *
 *	key	host, as host.h formats it
 *	value	u8	version, 2
 *		u8	status, enum host_status
 *		u8	1: a cursor is known; 0: none
 *		u32	epoch
 *		u64	number
 *		u64	created, microseconds since 1970
 *		u64	cursor: the low-water mark
 *		u64	events taken from it
 *		u64	how many times its numbers began anew
 *		u64	the latest rev of an event whose number rose, microseconds since 1970
 *		u64	of the row that seems to number anew: the lowest number; 0: there is none
 *		u64	the last number
 *		u8	the events in it that speak for that
 *		u64	time of the last error, microseconds since 1970; 0: there was none
 *		u16+	last error, text
 *
 * All writes are synced: events are made with a new host and a new epoch, and a log with holes that
 * a power cut left among cursors could not be told from a damaged one.
 */
#pragma once

#include "common/bytes.h"
#include "common/limits.h"

#define REGISTRY_ERROR_MAX 191 /* bytes of a last error: what a connection reports */

/* The statuses that listHosts shows [lexicon: com.atproto.sync.defs]. Numbers are on disk. */
enum host_status {
	HOST_ACTIVE = 1,  /* subscribed to, or for a moment not */
	HOST_IDLE = 2,    /* known, and never yet subscribed to */
	HOST_OFFLINE = 3, /* many failures in a row; still dialled now and then */
};

struct registry_record {
	char host[LIMIT_HOST + 1];
	enum host_status status;
	bool has_cursor;
	uint32_t epoch;
	uint64_t number; /* rises in the order in which hosts were added */
	uint64_t created_usec;
	uint64_t cursor;
	uint64_t events;
	uint64_t resets;
	uint64_t rev_usec; /* 0: none */
	uint64_t anew_first_seq;
	uint64_t anew_last_seq;
	uint8_t anew_count;
	uint64_t error_usec;
	char error[REGISTRY_ERROR_MAX + 1];
};

const char *host_status_name(enum host_status s);

/* The epoch that comes after this one (0: none): the present time in seconds since 1970, so that
 * epochs rise even if the registry is lost. */
uint32_t registry_next_epoch(uint32_t epoch);

/* The value alone. */
void registry_record_encode(struct buf *b, const struct registry_record *r);
/* Leaves ret->host alone. -EBADMSG. */
int registry_record_decode(struct span value, struct registry_record *ret) MUST_CHECK;

struct registry;

/* As database_open; -EBADMSG is never given here. */
int registry_open(const char *path, size_t cache_bytes, struct registry **ret) MUST_CHECK;
void registry_close(struct registry *r);
/* The reason of the last failure; of the last registry_open if r is NULL. */
const char *registry_error(const struct registry *r);
int64_t registry_memory_bytes(void *r);
/* Every record, in the order of names; stops at the first that take refuses. -EBADMSG: one that is
 * not readable, named by registry_error; -EUCLEAN, -EIO: not all of them can be read. */
int registry_load(struct registry *r, int (*take)(void *arg, const struct registry_record *record),
		  void *arg) MUST_CHECK;
/* Into the next registry_write. */
void registry_put(struct registry *r, const struct registry_record *record);
/* All that was put, at once. It is kept for the next time if this fails. */
int registry_write(struct registry *r) MUST_CHECK;
