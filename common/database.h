/*
 * A LevelDB database: bytes to bytes, in key order. database.c is the only file that includes
 * LevelDB's header. One process owns a database; a LOCK file left by a killed process is no
 * obstacle (the lock is the kernel's, not the file's).
 *
 * Errors: -EIO (disk), -EUCLEAN (what is on the disk is damaged, or not all of it is there),
 * -EAGAIN (another process has it open), -ENOSPC, -EDQUOT, -EFBIG (no room), -EACCES; the reason is
 * in database_error.
 *
 * A write that a kill or a power cut has interrupted is left out at the next opening: it is the
 * last of the log, nothing was written after it, and who wanted it synced was never told that it
 * was. Damage that has a record after it is refused. (common/database_log.h.) A last write that was
 * finished and damaged later cannot be told from an interrupted one: who cannot do without it needs
 * a trace of it elsewhere, as store has.
 *
 * After a failed write it is not known what is on the disk, and LevelDB would append to that: what
 * it wrote then could not be read after a crash. So the next write opens the database anew first.
 * Until that works, nothing is read either.
 */
#pragma once

#include "common/bytes.h"

struct database;
struct database_batch;
struct database_cursor;

/* cache_bytes: block cache; write_bytes: memtable. Makes the folder if it is not there. */
int database_open(const char *path, size_t cache_bytes, size_t write_bytes,
		  struct database **ret) MUST_CHECK;
void database_close(struct database *d);
/* Removes one that is not open. database_error(NULL) has the reason. */
int database_destroy(const char *path) MUST_CHECK;
/* All of it goes, damaged or not. On failure nothing can be read, and the next write opens it
 * anew. */
int database_clear(struct database *d) MUST_CHECK;
/* Another size of the block cache, which holds blocks of those files only that LevelDB does not map
 * into memory: beyond a thousand, of 8 MiB each. Closes the database and opens it again, which no
 * cursor may outlive. What database_open says; then nothing can be read, and the next write tries
 * again. */
int database_set_cache(struct database *d, size_t cache_bytes) MUST_CHECK;
/* What the last failure was; "" if none. Of the last database_open if d is NULL. */
const char *database_error(const struct database *d);
/* Heap memory of all databases of the process: the block caches, memtables, tables' indexes and
 * filters (leveldb_memory.h). With AddressSanitizer what LevelDB itself counts for this one, which
 * leaves the tables out. */
int64_t database_memory_bytes(void *d);

/* -ENOENT. out is cleared first. */
int database_get(struct database *d, struct span key, struct buf *out) MUST_CHECK;

/* Changes that become visible, and durable if sync, all at once. */
struct database_batch *database_batch_new(void);
void database_batch_free(struct database_batch *b);
void database_batch_put(struct database_batch *b, struct span key, struct span value);
void database_batch_delete(struct database_batch *b, struct span key);
/* Clears the batch when it is done. No cursor may be there, unless the write before succeeded. */
int database_write(struct database *d, struct database_batch *b, bool sync) MUST_CHECK;

/* Walks keys upward: cursor = database_seek(d, start); for (; cursor_valid; cursor_next) ... Frees
 * by database_cursor_free, before the database is closed. Sees the database as it was at
 * database_seek. Key and value borrow until the next step. */
struct database_cursor *database_seek(struct database *d, struct span start);
bool database_cursor_is_valid(const struct database_cursor *c);
/* Why it is not valid: 0 at the end of the keys, -EIO, or -EUCLEAN. */
int database_cursor_error(const struct database_cursor *c) MUST_CHECK;
struct span database_cursor_key(const struct database_cursor *c);
struct span database_cursor_value(const struct database_cursor *c);
void database_cursor_next(struct database_cursor *c);
void database_cursor_free(struct database_cursor *c);
