#include "resolve/cache.h"

#include <errno.h>
#include <stdlib.h>

#include "common/syntax.h"

#define ENTRY_VERSION 1
#define ENTRY_MAX     1024 /* bytes: 49 and the longest host and handle */
#define KEY_PREFIX    "i"
#define MEMTABLE_SIZE MIB(1) /* about 8,000 entries between two writes of a table */

struct cache {
	struct database *database;
	struct database_batch *batch; /* empty between calls */
	struct buf key, value;        /* of the call that runs */
	uint64_t block_bytes;         /* of LevelDB's cache of blocks */
	uint64_t ttl_found_usec;
	uint64_t ttl_missing_usec;
};

int cache_open(const char *path, const struct config *config, struct cache **ret)
{
	struct database *database;
	struct cache *c;
	int r = database_open(path, config_size(config, "resolve.cache"), MEMTABLE_SIZE, &database);

	if (r < 0)
		return r;
	c = xcalloc(1, sizeof(*c));
	c->database = database;
	c->batch = database_batch_new();
	buf_init(&c->key, sizeof(KEY_PREFIX) + LIMIT_DID);
	buf_init(&c->value, KIB(64)); /* whatever stands in the file: ours are under ENTRY_MAX */
	c->block_bytes = config_size(config, "resolve.cache");
	*ret = c;
	return cache_configure(c, config);
}

int cache_configure(struct cache *c, const struct config *config)
{
	uint64_t block_bytes = config_size(config, "resolve.cache");

	c->ttl_found_usec = config_time(config, "resolve.ttl_found");
	c->ttl_missing_usec = config_time(config, "resolve.ttl_missing");
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

int cache_get(struct cache *c, struct span did, struct cache_entry *ret)
{
	int r = database_get(c->database, make_key(c, did), &c->value);

	if (r < 0)
		return r;
	return cache_entry_decode(buf_span(&c->value), ret) < 0 ? -ENOENT : 0;
}

int cache_put(struct cache *c, struct span did, const struct cache_entry *e)
{
	buf_clear(&c->value);
	cache_entry_encode(&c->value, e);
	database_batch_put(c->batch, make_key(c, did), buf_span(&c->value));
	return database_write(c->database, c->batch, false);
}

/* UINT64_MAX if the entry is from the future. */
static uint64_t age_usec(const struct cache_entry *e, uint64_t now_usec)
{
	return e->fetched_usec <= now_usec ? now_usec - e->fetched_usec : UINT64_MAX;
}

bool cache_is_fresh(const struct cache *c, const struct cache_entry *e, uint64_t now_usec)
{
	uint64_t ttl = e->status == IDENTITY_FOUND ? c->ttl_found_usec : c->ttl_missing_usec;

	return age_usec(e, now_usec) < ttl;
}

bool cache_is_stale_but_usable(const struct cache *c, const struct cache_entry *e,
			       uint64_t now_usec)
{
	/* Halved rather than doubled: a time to live may be as long as it likes. */
	return e->status == IDENTITY_FOUND && age_usec(e, now_usec) / 2 < c->ttl_found_usec;
}
