/*
 * What lasts: the log and the state, which change together or not at all. Events are decided on
 * one by one and gather in a group; storage_commit makes the group durable:
 *
 *	1	messages appended to the log
 *	2	the log is synced
 *	3	state and marker, one atomic write: from here on the events exist, before it
 *		recovery cuts them off
 *	4	index records: from here on the events may be acknowledged and seen
 *
 * Failures are logged where they happen. After one storage is good for storage_close only.
 * storage_open recovers, always in the same way, whatever happened.
 */
#pragma once

#include "store/account.h"
#include "store/event_log.h"

struct storage;

struct storage_options {
	size_t cache_bytes; /* of the state's database */
	uint64_t first_seq; /* of an empty log */
	struct event_log_options log;
};

/* The account's verdict (account.h), or that of its host: VERDICT_PREV_DATA_MISSING for a legacy
 * commit after one with prevData, of whatever account. Such a host does not fall back: it could
 * before, so it must. */
struct storage_decision {
	enum verdict verdict;
	bool discontinuous;
};

/* A group that was made durable. */
struct storage_group {
	size_t events;
	size_t bytes;
	uint64_t usec; /* that it took */
};

/* folder: of both. -EUCLEAN, -EEXIST: see event_log.h. -EAGAIN: another process has it,
 * a rebuild maybe. */
int storage_open(const char *folder, const struct storage_options *o,
		 struct storage **ret) MUST_CHECK;
/* Whether a failure is that of a disk without room. */
bool storage_may_pass(int error);
/* -ENOSPC, -EDQUOT, -EFBIG: what there is can be read, but there is no room for another group. */
int storage_find_room(const struct storage *s) MUST_CHECK;
/* What of the log is real for certain, without opening anything (event_log_peek). -ENOENT */
int storage_peek(const char *folder, struct head *ret) MUST_CHECK;
/* Drops the group in hand. */
void storage_close(struct storage *s);

/* Whether the group takes no more events before storage_commit. */
bool storage_is_full(const struct storage *s);
/* Decides on an event; one that is accepted joins the group and is seen by those that follow.
 * Copies. -ERANGE: out of sequence numbers. */
int storage_put(struct storage *s, const struct verified *v,
		struct storage_decision *ret) MUST_CHECK;
/* Events in the group. */
size_t storage_pending(const struct storage *s);
/* All steps. An empty group takes none. */
int storage_commit(struct storage *s, struct storage_group *ret) MUST_CHECK;
/* The first of the steps only, for tests that stop between them. */
#define STORAGE_STEPS 4
int storage_commit_steps(struct storage *s, unsigned steps) MUST_CHECK;

/* Lets files of the log go that are too old or too many. Returns how many. */
unsigned storage_retain(struct storage *s, uint64_t now_usec);

/* Events in hand included. -ENOENT: no event of the account was seen. */
int storage_get_account(struct storage *s, struct span did, struct account *ret) MUST_CHECK;
int storage_get_host_accounts(struct storage *s, uint64_t host_id, uint64_t *ret) MUST_CHECK;
/* Over all hosts. */
uint64_t storage_accounts(const struct storage *s);
const struct event_log *storage_log(const struct storage *s);

/* Memory, for the accounts. */
int64_t storage_database_bytes(const struct storage *s);
int64_t storage_overlay_bytes(const struct storage *s);
int64_t storage_log_bytes(const struct storage *s);
