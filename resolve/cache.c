#include "resolve/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/log.h"
#include "common/loop.h"
#include "common/syntax.h"

#define ENTRY_VERSION 2
#define ENTRY_MAX     1024 /* bytes: 65 and the longest host and handle */
#define BOOT_FILE     "/proc/sys/kernel/random/boot_id" /* random(4) */
#define KEY_PREFIX    "i"
#define COUNT_KEY     "n"
#define LOOKED_AT     8      /* entries, for each that is new when there is no room; */
#define ROOMS         4      /* at most so many times */
#define MEMTABLE_SIZE MIB(1) /* about 8,000 entries between two writes of a table */

struct cache {
	struct database *database;
	struct database_batch *batch; /* empty between calls */
	struct buf key, value;        /* of the call that runs */
	struct buf hand; /* the key where room is looked for next; empty: from the first */
	uint64_t count, count_max;
	uint64_t block_bytes; /* of LevelDB's cache of blocks */
	uint64_t ttl_found_usec;
	uint64_t ttl_missing_usec;
	uint64_t boot; /* of the machine's last start */
};

/* The first half of a random UUID. */
static uint64_t read_boot(void)
{
	FILE *f = fopen(BOOT_FILE, "re");
	uint64_t high = 0, middle = 0, low = 0;

	if (!f)
		return 0;
	if (fscanf(f, "%8" SCNx64 "-%4" SCNx64 "-%4" SCNx64, &high, &middle, &low) != 3)
		high = middle = low = 0;
	fclose(f);
	return high << 32 | middle << 16 | low;
}

/* It is only a cache: a part that is damaged is not worth more than what is asked for again. */
static int begin_anew(struct cache *c)
{
	log_warning("the identity cache is damaged and begins anew: %s",
		    database_error(c->database));
	buf_clear(&c->hand);
	c->count = 0;
	return database_clear(c->database);
}

static bool is_entry(const struct database_cursor *cursor)
{
	return database_cursor_is_valid(cursor) &&
	       span_starts_with(database_cursor_key(cursor), span_str(KEY_PREFIX));
}

/* By a walk over all of them: of a database that has no count yet. */
static int count_entries(struct cache *c)
{
	struct database_cursor *cursor = database_seek(c->database, span_str(KEY_PREFIX));
	int error;

	c->count = 0;
	for (; is_entry(cursor); database_cursor_next(cursor))
		c->count++;
	error = database_cursor_error(cursor);
	database_cursor_free(cursor);
	return error;
}

static int read_count(struct cache *c)
{
	int error = database_get(c->database, span_str(COUNT_KEY), &c->value);
	struct reader r = reader_of(buf_span(&c->value));

	if (error && error != -ENOENT)
		return error;
	if (!error && reader_get_u64(&r, &c->count) == 0 && r.left == 0)
		return 0;
	return count_entries(c);
}

static int open_database(const char *path, size_t cache_bytes, struct database **ret)
{
	int r = database_open(path, cache_bytes, MEMTABLE_SIZE, ret);

	if (r != -EUCLEAN)
		return r;
	log_warning("the identity cache is damaged and begins anew: %s", database_error(NULL));
	r = database_destroy(path);
	return r < 0 ? r : database_open(path, cache_bytes, MEMTABLE_SIZE, ret);
}

int cache_open(const char *path, const struct config *config, struct cache **ret)
{
	struct database *database;
	struct cache *c;
	int r = open_database(path, config_size(config, "resolve.cache"), &database);

	if (r < 0)
		return r;
	c = xcalloc(1, sizeof(*c));
	c->database = database;
	c->batch = database_batch_new();
	buf_init(&c->key, sizeof(KEY_PREFIX) + LIMIT_DID);
	buf_init(&c->value, KIB(64)); /* whatever stands in the file: ours are under ENTRY_MAX */
	buf_init(&c->hand, sizeof(KEY_PREFIX) + LIMIT_DID);
	c->block_bytes = config_size(config, "resolve.cache");
	c->boot = read_boot();
	if (c->boot == 0) {
		log_warning("this start of the machine has no number: %s", BOOT_FILE);
		(void)!getrandom(&c->boot, sizeof(c->boot), 0); /* then it is this process's own */
	}
	r = read_count(c);
	if (r == -EUCLEAN)
		r = begin_anew(c);
	if (!r)
		r = cache_configure(c, config);
	if (r < 0) {
		cache_close(c);
		return r;
	}
	*ret = c;
	return 0;
}

int cache_configure(struct cache *c, const struct config *config)
{
	uint64_t block_bytes = config_size(config, "resolve.cache");

	c->ttl_found_usec = config_time(config, "resolve.ttl_found");
	c->ttl_missing_usec = config_time(config, "resolve.ttl_missing");
	c->count_max = config_number(config, "resolve.identities_max");
	if (block_bytes == c->block_bytes)
		return 0;
	c->block_bytes = block_bytes;
	return database_set_cache(c->database, block_bytes);
}

void cache_close(struct cache *c)
{
	if (!c)
		return;
	database_batch_free(c->batch);
	database_close(c->database);
	buf_release(&c->key);
	buf_release(&c->value);
	buf_release(&c->hand);
	free(c);
}

const char *cache_error(const struct cache *c)
{
	return database_error(c ? c->database : NULL);
}

int64_t cache_memory_bytes(void *c)
{
	return database_memory_bytes(((struct cache *)c)->database);
}

/* Read by cache_entry_decode. */
void cache_entry_encode(struct buf *b, const struct cache_entry *e)
{
	bool found = e->status == IDENTITY_FOUND;
	struct public_key key = {0};

	if (found)
		key = e->key;
	buf_put_u8(b, ENTRY_VERSION);
	buf_put_u8(b, (uint8_t)e->status);
	buf_put_u64(b, e->fetched_usec);
	buf_put_u64(b, e->fetched_uptime_usec);
	buf_put_u64(b, e->boot);
	buf_put_u8(b, (uint8_t)key.curve);
	buf_append(b, span_of(key.point, sizeof(key.point)));
	message_put_text(b, found ? span_str(e->pds) : SPAN_EMPTY);
	message_put_text(b, found ? span_str(e->handle) : SPAN_EMPTY);
}

/* The key and the names of a found entry, in the one form in which they are written. */
static bool found_is_right(const struct cache_entry *e)
{
	char formatted[LIMIT_HOST + 1];
	struct host host;

	if (e->key.curve != CURVE_K256 && e->key.curve != CURVE_P256)
		return false;
	if (e->key.point[0] != 2 && e->key.point[0] != 3) /* compressed */
		return false;
	if (host_parse(span_str(e->pds), &host) < 0 ||
	    strcmp(host_format(&host, formatted), e->pds) != 0)
		return false;
	return e->handle[0] == '\0' || handle_is_valid(span_str(e->handle));
}

/* Nothing but its status and time. */
static bool missing_is_right(const struct cache_entry *e)
{
	static const struct public_key none;

	return e->key.curve == 0 && memcmp(e->key.point, none.point, PUBLIC_KEY_SIZE) == 0 &&
	       e->pds[0] == '\0' && e->handle[0] == '\0';
}

/* Written by cache_entry_encode. */
int cache_entry_decode(struct span value, struct cache_entry *ret)
{
	struct reader r = reader_of(value);
	struct cache_entry e = {0};
	uint8_t version, status, curve;
	struct span point, pds, handle;

	if (reader_get_u8(&r, &version) < 0 || version != ENTRY_VERSION ||
	    reader_get_u8(&r, &status) < 0 || reader_get_u64(&r, &e.fetched_usec) < 0 ||
	    reader_get_u64(&r, &e.fetched_uptime_usec) < 0 || reader_get_u64(&r, &e.boot) < 0 ||
	    reader_get_u8(&r, &curve) < 0 || reader_get_span(&r, PUBLIC_KEY_SIZE, &point) < 0 ||
	    message_get_text(&r, LIMIT_HOST, &pds) < 0 ||
	    message_get_text(&r, LIMIT_HANDLE, &handle) < 0 || r.left > 0)
		return -EBADMSG;
	if (status < IDENTITY_FOUND || status > IDENTITY_UNUSABLE ||
	    span_to_str(pds, e.pds, sizeof(e.pds)) < 0 ||
	    span_to_str(handle, e.handle, sizeof(e.handle)) < 0)
		return -EBADMSG;
	e.status = (enum identity_status)status;
	e.key.curve = (enum curve)curve;
	memcpy(e.key.point, point.ptr, PUBLIC_KEY_SIZE);
	if (!(e.status == IDENTITY_FOUND ? found_is_right(&e) : missing_is_right(&e)))
		return -EBADMSG;
	*ret = e;
	return 0;
}

static struct span make_key(struct cache *c, struct span did)
{
	buf_clear(&c->key);
	buf_append_str(&c->key, KEY_PREFIX);
	buf_append(&c->key, did);
	return buf_span(&c->key);
}

static int take_value(const struct cache *c, struct span value, struct cache_entry *ret)
{
	int r = cache_entry_decode(value, ret);

	if (r == 0 && ret->boot != c->boot)
		ret->fetched_uptime_usec = 0;
	return r;
}

/* The value is in c->value. */
static int read_value(struct cache *c, struct span key)
{
	int r = database_get(c->database, key, &c->value);

	if (r != -EUCLEAN)
		return r;
	r = begin_anew(c);
	return r < 0 ? r : -ENOENT;
}

int cache_get(struct cache *c, struct span did, struct cache_entry *ret)
{
	int r = read_value(c, make_key(c, did));

	if (r < 0)
		return r;
	return take_value(c, buf_span(&c->value), ret) < 0 ? -ENOENT : 0;
}

static bool is_of_use(const struct cache *c, const struct cache_entry *e)
{
	return cache_is_fresh(c, e) || cache_is_stale_but_usable(c, e);
}

static void drop(struct cache *c, struct span key)
{
	database_batch_delete(c->batch, key);
	c->count--;
}

/* Drops what is of no use among the entries that the cursor is at, and gives the oldest of the
 * others: its key, empty if there is none. Never the one that is being written. */
static void look_at_some(struct cache *c, struct database_cursor *cursor, struct span written,
			 struct buf *ret_oldest)
{
	uint64_t oldest_usec = UINT64_MAX;
	struct cache_entry e;

	for (unsigned i = 0; i < LOOKED_AT && is_entry(cursor); i++, database_cursor_next(cursor)) {
		struct span key = database_cursor_key(cursor);

		if (span_equal(key, written))
			continue;
		if (take_value(c, database_cursor_value(cursor), &e) < 0 || !is_of_use(c, &e)) {
			drop(c, key);
		} else if (e.fetched_usec < oldest_usec) {
			oldest_usec = e.fetched_usec;
			buf_clear(ret_oldest);
			buf_append(ret_oldest, key);
		}
	}
}

/* From the hand on, which moves on: one entry less at least, unless there is none but the one that
 * is being written. */
static void make_room(struct cache *c, struct span written)
{
	struct span start = c->hand.len > 0 ? buf_span(&c->hand) : span_str(KEY_PREFIX);
	struct database_cursor *cursor = database_seek(c->database, start);
	uint64_t before = c->count;
	struct buf oldest;

	buf_init(&oldest, sizeof(KEY_PREFIX) + LIMIT_DID);
	look_at_some(c, cursor, written, &oldest);
	if (c->count == before && oldest.len > 0)
		drop(c, buf_span(&oldest));
	buf_clear(&c->hand);
	if (is_entry(cursor))
		buf_append(&c->hand, database_cursor_key(cursor));
	database_cursor_free(cursor);
	buf_release(&oldest);
}

static void put_count(struct cache *c)
{
	struct buf number;

	buf_init(&number, sizeof(uint64_t));
	buf_put_u64(&number, c->count);
	database_batch_put(c->batch, span_str(COUNT_KEY), buf_span(&number));
	buf_release(&number);
}

int cache_put(struct cache *c, struct span did, const struct cache_entry *e)
{
	struct span key = make_key(c, did);
	struct cache_entry own = *e;
	int error = read_value(c, key);
	uint64_t before = c->count;

	/* Only a write opens a database anew that has failed, be it one of nothing. */
	if (error && error != -ENOENT)
		return database_write(c->database, c->batch, false) < 0 ? -EIO : error;
	if (error == -ENOENT)
		c->count++;
	/* More than one where the maximum was lowered, and where the hand met the end. */
	for (unsigned i = 0; i < ROOMS && c->count > c->count_max; i++)
		make_room(c, key);
	if (c->count != before)
		put_count(c);
	buf_clear(&c->value);
	own.boot = c->boot;
	cache_entry_encode(&c->value, &own);
	database_batch_put(c->batch, key, buf_span(&c->value));
	error = database_write(c->database, c->batch, false);
	if (error) {
		/* It would be written with the next one, and all that fail would pile up in it. */
		database_batch_free(c->batch);
		c->batch = database_batch_new();
		c->count = before;
		if (error == -EUCLEAN)
			(void)!begin_anew(c); /* what was to be written is asked for again */
	}
	return error;
}

int64_t cache_count(void *c)
{
	return (int64_t)((struct cache *)c)->count;
}

uint64_t cache_age_usec(const struct cache_entry *e)
{
	uint64_t now = clock_usec();

	if (e->fetched_uptime_usec > 0)
		return uptime_usec() - e->fetched_uptime_usec;
	return e->fetched_usec <= now ? now - e->fetched_usec : UINT64_MAX;
}

bool cache_is_fresh(const struct cache *c, const struct cache_entry *e)
{
	uint64_t ttl = e->status == IDENTITY_FOUND ? c->ttl_found_usec : c->ttl_missing_usec;

	return cache_age_usec(e) < ttl;
}

bool cache_is_stale_but_usable(const struct cache *c, const struct cache_entry *e)
{
	/* Halved rather than doubled: a time to live may be as long as it likes. */
	return e->status == IDENTITY_FOUND && cache_age_usec(e) / 2 < c->ttl_found_usec;
}
