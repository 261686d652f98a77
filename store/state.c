#include "store/state.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>

#include "common/database.h"
#include "common/limits.h"
#include "common/log.h"
#include "store/overlay.h"

#define KEY_ACCOUNT   'a'
#define KEY_HOST      'h'
#define KEY_PREV_DATA 'p'
#define KEY_MAX       (1 + LIMIT_DID)
#define HOST_KEY_SIZE (1 + sizeof(uint64_t))
#define WRITE_BYTES   MIB(4) /* memtable: about 30,000 account records */
#define PLACE_SIZE    (sizeof(uint32_t) + sizeof(uint64_t))
/* Hosts, by their ids, that are not looked up again for each commit: more than send at a time. */
#define MODERN_HOSTS  4096

/* Where in a host's stream. */
struct place {
	uint64_t host_id;
	uint64_t seq;
	uint32_t epoch;
};

struct state {
	struct database *database;
	struct database_batch *batch;
	struct overlay *overlay;
	struct buf value; /* of the last read */
	struct place
		modern[MODERN_HOSTS]; /* what is known of the 'p' of hosts; host_id 0: nothing */
};

/* The marker and the accounts cannot be repaired one by one: what LevelDB still finds may be of an
 * earlier time. */
static void log_failure(const char *what, const struct database *d, int error)
{
	log_error("%s: %s", what, database_error(d));
	if (error == -EUCLEAN)
		log_error("the state is damaged: move it away, and run standpipe rebuild");
}

int state_open(const char *path, size_t cache_bytes, struct state **ret)
{
	struct database *database;
	int r = database_open(path, cache_bytes, WRITE_BYTES, &database);

	if (r < 0) {
		log_failure("cannot open the state", NULL, r);
		return r;
	}
	struct state *s = xcalloc(1, sizeof(*s));

	s->database = database;
	s->batch = database_batch_new();
	s->overlay = overlay_new();
	buf_init(&s->value, LIMIT_MESSAGE);
	*ret = s;
	return 0;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	buf_release(&s->value);
	overlay_free(s->overlay);
	database_batch_free(s->batch);
	database_close(s->database);
	free(s);
}

int state_destroy(const char *path)
{
	int r = database_destroy(path);

	if (r < 0)
		log_error("cannot remove the state: %s path=%s", database_error(NULL), path);
	return r;
}

/* ret borrows until the next read or change. All but -ENOENT is logged. */
static int get(struct state *s, struct span key, struct span *ret)
{
	int r;

	if (overlay_get(s->overlay, key, ret))
		return 0;
	r = database_get(s->database, key, &s->value);
	if (r < 0) {
		if (r != -ENOENT)
			log_failure("cannot read the state", s->database, r);
		return r;
	}
	*ret = buf_span(&s->value);
	return 0;
}

static int damaged(struct span key)
{
	log_error("damaged record in the state: key=%s", log_text(key));
	return -EIO;
}

int state_get_marker(struct state *s, struct marker *ret)
{
	struct span value;
	int r = get(s, SPAN_LITERAL("m"), &value);

	if (r < 0)
		return r;
	return marker_decode(value, ret) < 0 ? damaged(SPAN_LITERAL("m")) : 0;
}

static struct span account_key(struct span did, uint8_t ret[static KEY_MAX])
{
	assert(did.len <= LIMIT_DID);
	ret[0] = KEY_ACCOUNT;
	memcpy(ret + 1, did.ptr, did.len);
	return span_of(ret, 1 + did.len);
}

int state_get_account(struct state *s, struct span did, struct account *ret)
{
	uint8_t bytes[KEY_MAX];
	struct span key = account_key(did, bytes), value;
	int r = get(s, key, &value);

	if (r < 0)
		return r;
	return account_decode(value, ret) < 0 ? damaged(key) : 0;
}

void state_put_account(struct state *s, struct span did, const struct account *a)
{
	uint8_t key[KEY_MAX], value[ACCOUNT_SIZE];

	account_encode(a, value);
	overlay_put(s->overlay, account_key(did, key), span_of(value, sizeof(value)));
}

static struct span host_key(char kind, uint64_t host_id, uint8_t ret[static HOST_KEY_SIZE])
{
	uint64_t id = htobe64(host_id);

	ret[0] = (uint8_t)kind;
	memcpy(ret + 1, &id, sizeof(id));
	return span_of(ret, HOST_KEY_SIZE);
}

static int decode_count(struct span key, struct span value, uint64_t *ret)
{
	struct reader r = reader_of(value);

	if (value.len != sizeof(uint64_t) || reader_get_u64(&r, ret) < 0)
		return damaged(key);
	return 0;
}

int state_get_host_accounts(struct state *s, uint64_t host_id, uint64_t *ret)
{
	uint8_t bytes[HOST_KEY_SIZE];
	struct span key = host_key(KEY_HOST, host_id, bytes), value;
	int r = get(s, key, &value);

	if (r == -ENOENT) {
		*ret = 0;
		return 0;
	}
	return r < 0 ? r : decode_count(key, value, ret);
}

int state_count_accounts(struct state *s, uint64_t *ret)
{
	struct database_cursor *c = database_seek(s->database, SPAN_LITERAL("h"));
	uint64_t total = 0, count;
	int r = 0;

	for (; r == 0 && database_cursor_is_valid(c); database_cursor_next(c)) {
		struct span key = database_cursor_key(c);

		if (key.len != HOST_KEY_SIZE || key.ptr[0] != KEY_HOST)
			break;
		r = decode_count(key, database_cursor_value(c), &count);
		if (r == 0)
			total += count;
	}
	if (r == 0 && (r = database_cursor_error(c)) < 0)
		log_failure("cannot read the state", s->database, r);
	database_cursor_free(c);
	if (r == 0)
		*ret = total;
	return r;
}

static void put_host_accounts(struct state *s, uint64_t host_id, uint64_t count)
{
	uint8_t key[HOST_KEY_SIZE];

	count = htole64(count);
	overlay_put(s->overlay, host_key(KEY_HOST, host_id, key), span_of(&count, sizeof(count)));
}

int state_move_account(struct state *s, uint64_t from_host_id, uint64_t to_host_id)
{
	uint64_t from = 0, to = 0;
	int r = 0;

	assert(from_host_id != to_host_id);
	if (from_host_id != 0)
		r = state_get_host_accounts(s, from_host_id, &from);
	if (r == 0 && to_host_id != 0)
		r = state_get_host_accounts(s, to_host_id, &to);
	if (r < 0)
		return r;
	if (from_host_id != 0) {
		assert(from > 0); /* counts change together with the accounts they count */
		put_host_accounts(s, from_host_id, from - 1);
	}
	if (to_host_id != 0)
		put_host_accounts(s, to_host_id, to + 1);
	return 0;
}

static struct place place_of(const struct verified *v)
{
	return (struct place){v->host_id, v->host_seq, v->host_epoch};
}

static bool is_before(const struct place *a, const struct place *b)
{
	return a->epoch < b->epoch || (a->epoch == b->epoch && a->seq < b->seq);
}

/* Written by put_place. */
static int get_place(struct state *s, uint64_t host_id, struct place *ret)
{
	uint8_t bytes[HOST_KEY_SIZE];
	struct span key = host_key(KEY_PREV_DATA, host_id, bytes), value;
	struct reader reader;
	int r = get(s, key, &value);

	if (r < 0)
		return r;
	reader = reader_of(value);
	ret->host_id = host_id;
	return value.len != PLACE_SIZE || reader_get_u32(&reader, &ret->epoch) < 0 ||
			       reader_get_u64(&reader, &ret->seq) < 0
		       ? damaged(key)
		       : 0;
}

/* Read by get_place. */
static void put_place(struct state *s, const struct place *p)
{
	uint8_t key[HOST_KEY_SIZE];
	struct buf value;

	buf_init(&value, PLACE_SIZE);
	buf_put_u32(&value, p->epoch);
	buf_put_u64(&value, p->seq);
	overlay_put(s->overlay, host_key(KEY_PREV_DATA, p->host_id, key), buf_span(&value));
	buf_release(&value);
}

int state_is_after_prev_data(struct state *s, const struct verified *v, bool *ret)
{
	struct place here = place_of(v), first;
	int r = get_place(s, v->host_id, &first);

	*ret = r == 0 && is_before(&first, &here);
	return r == -ENOENT ? 0 : r;
}

int state_note_prev_data(struct state *s, const struct verified *v)
{
	struct place *known = &s->modern[v->host_id % MODERN_HOSTS], here = place_of(v), first;
	int r;

	if (!v->has_prev_data || (known->host_id == here.host_id && !is_before(&here, known)))
		return 0;
	r = get_place(s, v->host_id, &first);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == -ENOENT || is_before(&here, &first)) {
		put_place(s, &here);
		first = here;
	}
	*known = first;
	return 0;
}

static void put_changes(struct state *s)
{
	struct span key, value;

	for (size_t i = 0; i < overlay_count(s->overlay); i++) {
		overlay_at(s->overlay, i, &key, &value);
		database_batch_put(s->batch, key, value);
	}
}

static int write_batch(struct state *s, bool sync)
{
	int r = database_write(s->database, s->batch, sync);

	if (r < 0) {
		log_failure("cannot write the state", s->database, r);
		return r;
	}
	overlay_clear(s->overlay);
	return 0;
}

int state_write(struct state *s, const struct marker *m)
{
	uint8_t marker[MARKER_SIZE];

	put_changes(s);
	marker_encode(m, marker);
	database_batch_put(s->batch, SPAN_LITERAL("m"), span_of(marker, sizeof(marker)));
	return write_batch(s, true);
}

int state_flush(struct state *s)
{
	put_changes(s);
	return write_batch(s, false);
}

int64_t state_database_bytes(const struct state *s)
{
	return database_memory_bytes(s->database);
}

int64_t state_overlay_bytes(const struct state *s)
{
	return (int64_t)(sizeof(*s) + overlay_bytes(s->overlay));
}
