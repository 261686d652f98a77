/*
 * store's LevelDB database, and every key in it:
 *
 *	'a' + DID		account record, account.h
 *	'h' + u64 host id	u64 number of accounts that count for the host (the key's number
 *				is big-endian, the value's little-endian)
 *	'm'			the marker, marker.h
 *	'p' + u64 host id	u32 epoch, u64 seq: the first, in the host's order, of the commits
 *				with prevData that were taken (the key's number is big-endian)
 *
 * Changes gather in memory, where the next event sees them, until state_write makes all of them
 * durable at once, together with the marker that says which events have led to them. After a
 * failed write it is not known whether it was done: close the state and open it again, which
 * tells.
 */
#pragma once

#include "store/account.h"
#include "store/marker.h"

struct state;

/* Makes the folder if it is not there. Logs why it cannot. */
int state_open(const char *path, size_t cache_bytes, struct state **ret) MUST_CHECK;
void state_close(struct state *s);
/* Removes a state that is not open. -EIO, logged. */
int state_destroy(const char *path) MUST_CHECK;

/* The one on disk. -ENOENT in a new database. */
int state_get_marker(struct state *s, struct marker *ret) MUST_CHECK;
/* With the changes that are not written yet. -ENOENT. */
int state_get_account(struct state *s, struct span did, struct account *ret) MUST_CHECK;
/* 0 for an unknown host. */
int state_get_host_accounts(struct state *s, uint64_t host_id, uint64_t *ret) MUST_CHECK;
/* Over all hosts; walks them. */
int state_count_accounts(struct state *s, uint64_t *ret) MUST_CHECK;

/* Whether the event's host has sent a commit with prevData before it. */
int state_is_after_prev_data(struct state *s, const struct verified *v, bool *ret) MUST_CHECK;

/* Copies. */
void state_put_account(struct state *s, struct span did, const struct account *a);
/* One account from one host's count to another's; 0: none. */
int state_move_account(struct state *s, uint64_t from_host_id, uint64_t to_host_id) MUST_CHECK;

/* An accepted event. Remembers the first one with prevData in each host's order, whichever lane is
 * ahead. */
int state_note_prev_data(struct state *s, const struct verified *v) MUST_CHECK;

/* Logs why it failed. */
int state_write(struct state *s, const struct marker *m) MUST_CHECK;

/* The changes alone, and not synced: for a state that is put together, and has no marker until it
 * is whole. */
int state_flush(struct state *s) MUST_CHECK;

/* For the memory accounts. */
int64_t state_database_bytes(const struct state *s);
int64_t state_overlay_bytes(const struct state *s);
