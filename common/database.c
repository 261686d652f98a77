#include "common/database.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leveldb/c.h>

#include "common/database_log.h"
#include "common/leveldb_memory.h"

#define BLOOM_BITS  10 /* a key: one in a hundred lookups of an absent one reads a block in vain */
/*
 * Files that are open, and mapped, at once. Tables of 8 MiB instead of 2 keep them few: a million
 * accounts are some 25.
 */
#define OPEN_FILES  500
#define TABLE_BYTES MIB(8)
#define ERROR_SIZE  512

struct database {
	leveldb_t *db; /* NULL: it could not be opened anew */
	char *path;
	bool failed; /* the last write: it is opened anew before the next */
	leveldb_options_t *options;
	leveldb_readoptions_t *reading;
	leveldb_writeoptions_t *writing, *writing_sync;
	leveldb_filterpolicy_t *filter;
	leveldb_cache_t *cache;
	char error[ERROR_SIZE];
};

struct database_batch {
	leveldb_writebatch_t *batch;
};

struct database_cursor {
	leveldb_iterator_t *iterator; /* NULL: the database is not open */
};

/* Why the last database_open failed: there is no struct to keep it in. */
static char open_error[ERROR_SIZE];

/* LevelDB gives its errors as text only, with strerror's words at their end. */
static int translate(const char *text)
{
	static const int known[] = {EAGAIN, ENOSPC, EDQUOT, EFBIG, EACCES};

	if (strstr(text, "already held by process"))
		return -EAGAIN;
	if (strncmp(text, "Corruption", strlen("Corruption")) == 0)
		return -EUCLEAN;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strstr(text, strerror(known[i])))
			return -known[i];
	return -EIO;
}

/* Takes what LevelDB left in its error pointer. 0 if that is nothing. */
static int take_error(char *text, char ret_error[static ERROR_SIZE])
{
	int error;

	if (!text)
		return 0;
	error = translate(text);
	snprintf(ret_error, ERROR_SIZE, "%s", text);
	leveldb_free(text);
	return error;
}

static void set_options(struct database *d, size_t cache_bytes, size_t write_bytes)
{
	d->options = leveldb_options_create();
	d->reading = leveldb_readoptions_create();
	d->writing = leveldb_writeoptions_create();
	d->writing_sync = leveldb_writeoptions_create();
	d->filter = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
	d->cache = leveldb_cache_create_lru(cache_bytes);
	leveldb_options_set_create_if_missing(d->options, 1);
	/* Also what a compaction reads: it would give damaged bytes a good checksum. */
	leveldb_options_set_paranoid_checks(d->options, 1);
	leveldb_options_set_filter_policy(d->options, d->filter);
	leveldb_options_set_cache(d->options, d->cache);
	leveldb_options_set_write_buffer_size(d->options, write_bytes);
	/* Digests and keys hardly get smaller, and every block that the cache has not would be
	 * expanded for one record of it. */
	leveldb_options_set_compression(d->options, leveldb_no_compression);
	leveldb_options_set_max_open_files(d->options, OPEN_FILES);
	leveldb_options_set_max_file_size(d->options, TABLE_BYTES);
	leveldb_readoptions_set_verify_checksums(d->reading, 1);
	leveldb_writeoptions_set_sync(d->writing_sync, 1);
}

static bool is_content(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && (strcmp(dot, ".ldb") == 0 || strcmp(dot, ".log") == 0);
}

/* LevelDB would make a new database in the folder of one whose CURRENT is gone, and remove the old
 * one's files. */
static int check_current(const char *path)
{
	char current[PATH_MAX];
	struct dirent *e;
	DIR *dir;
	int r = 0;

	snprintf(current, sizeof(current), "%s/CURRENT", path);
	if (access(current, F_OK) == 0 || !(dir = opendir(path)))
		return 0;
	while (r == 0 && (e = readdir(dir)))
		if (is_content(e->d_name))
			r = -EUCLEAN;
	closedir(dir);
	if (r < 0)
		snprintf(open_error, sizeof(open_error), "Corruption: %.400s is missing", current);
	return r;
}

static int open_whole(struct database *d, char ret_error[static ERROR_SIZE])
{
	char *text = NULL;
	int error = database_log_mend(d->path, ret_error, ERROR_SIZE);

	if (error)
		return error;
	d->db = leveldb_open(d->options, d->path, &text);
	return take_error(text, ret_error);
}

int database_open(const char *path, size_t cache_bytes, size_t write_bytes, struct database **ret)
{
	struct database *d;
	int error;

	/* LevelDB would say only that its LOCK cannot be opened. */
	if (mkdir(path, 0750) < 0 && errno != EEXIST) {
		snprintf(open_error, sizeof(open_error), "%s: %s", path, strerror(errno));
		return translate(open_error);
	}
	error = check_current(path);
	if (error)
		return error;
	d = xcalloc(1, sizeof(*d));
	d->path = xstrdup(path);
	set_options(d, cache_bytes, write_bytes);
	error = open_whole(d, open_error);
	if (error) {
		database_close(d);
		return error;
	}
	*ret = d;
	return 0;
}

void database_close(struct database *d)
{
	if (!d)
		return;
	if (d->db)
		leveldb_close(d->db);
	leveldb_options_destroy(d->options);
	leveldb_readoptions_destroy(d->reading);
	leveldb_writeoptions_destroy(d->writing);
	leveldb_writeoptions_destroy(d->writing_sync);
	leveldb_cache_destroy(d->cache);
	leveldb_filterpolicy_destroy(d->filter);
	free(d->path);
	free(d);
}

int database_destroy(const char *path)
{
	leveldb_options_t *options = leveldb_options_create();
	char *text = NULL;

	leveldb_destroy_db(options, path, &text);
	leveldb_options_destroy(options);
	return take_error(text, open_error);
}

const char *database_error(const struct database *d)
{
	return d ? d->error : open_error;
}

int64_t database_memory_bytes(void *arg)
{
	struct database *d = arg;
	long long bytes = leveldb_memory_bytes();
	char *text;

	if (bytes >= 0)
		return bytes;
	text = d->db ? leveldb_property_value(d->db, "leveldb.approximate-memory-usage") : NULL;
	if (!text || sscanf(text, "%lld", &bytes) != 1)
		bytes = 0;
	leveldb_free(text);
	return bytes;
}

int database_get(struct database *d, struct span key, struct buf *out)
{
	char *text = NULL, *value;
	size_t len;
	int error;

	buf_clear(out);
	if (!d->db)
		return -EIO;
	value = leveldb_get(d->db, d->reading, (const char *)key.ptr, key.len, &len, &text);
	error = take_error(text, d->error);
	if (error)
		return error;
	if (!value)
		return -ENOENT;
	buf_append(out, span_of(value, len));
	leveldb_free(value);
	return 0;
}

struct database_batch *database_batch_new(void)
{
	struct database_batch *b = xmalloc(sizeof(*b));

	b->batch = leveldb_writebatch_create();
	return b;
}

void database_batch_free(struct database_batch *b)
{
	if (!b)
		return;
	leveldb_writebatch_destroy(b->batch);
	free(b);
}

void database_batch_put(struct database_batch *b, struct span key, struct span value)
{
	leveldb_writebatch_put(b->batch, (const char *)key.ptr, key.len, (const char *)value.ptr,
			       value.len);
}

void database_batch_delete(struct database_batch *b, struct span key)
{
	leveldb_writebatch_delete(b->batch, (const char *)key.ptr, key.len);
}

static int open_anew(struct database *d)
{
	if (d->db)
		leveldb_close(d->db);
	d->db = NULL;
	return open_whole(d, d->error);
}

int database_clear(struct database *d)
{
	char *text = NULL;
	int error;

	if (d->db)
		leveldb_close(d->db);
	d->db = NULL;
	leveldb_destroy_db(d->options, d->path, &text);
	error = take_error(text, d->error);
	if (!error)
		error = open_anew(d);
	d->failed = error != 0;
	return error;
}

int database_set_cache(struct database *d, size_t cache_bytes)
{
	int error;

	if (d->db)
		leveldb_close(d->db);
	d->db = NULL;
	leveldb_cache_destroy(d->cache);
	d->cache = leveldb_cache_create_lru(cache_bytes);
	leveldb_options_set_cache(d->options, d->cache);
	error = open_anew(d);
	d->failed = error != 0;
	return error;
}

int database_write(struct database *d, struct database_batch *b, bool sync)
{
	char *text = NULL;
	int error = d->failed ? open_anew(d) : 0;

	if (error)
		return error;
	leveldb_write(d->db, sync ? d->writing_sync : d->writing, b->batch, &text);
	error = take_error(text, d->error);
	d->failed = error != 0;
	if (!error)
		leveldb_writebatch_clear(b->batch);
	return error;
}

struct database_cursor *database_seek(struct database *d, struct span start)
{
	struct database_cursor *c = xcalloc(1, sizeof(*c));

	if (!d->db)
		return c;
	c->iterator = leveldb_create_iterator(d->db, d->reading);
	leveldb_iter_seek(c->iterator, (const char *)start.ptr, start.len);
	return c;
}

bool database_cursor_is_valid(const struct database_cursor *c)
{
	return c->iterator && leveldb_iter_valid(c->iterator);
}

int database_cursor_error(const struct database_cursor *c)
{
	char *text = NULL;
	int error = 0;

	if (!c->iterator)
		return -EIO;
	leveldb_iter_get_error(c->iterator, &text);
	if (text)
		error = translate(text);
	leveldb_free(text);
	return error;
}

struct span database_cursor_key(const struct database_cursor *c)
{
	size_t len;
	const char *key = leveldb_iter_key(c->iterator, &len);

	return span_of(key, len);
}

struct span database_cursor_value(const struct database_cursor *c)
{
	size_t len;
	const char *value = leveldb_iter_value(c->iterator, &len);

	return span_of(value, len);
}

void database_cursor_next(struct database_cursor *c)
{
	leveldb_iter_next(c->iterator);
}

void database_cursor_free(struct database_cursor *c)
{
	if (!c)
		return;
	if (c->iterator)
		leveldb_iter_destroy(c->iterator);
	free(c);
}
