#include "store/overlay.h"

#include <assert.h>

#define BUCKETS 2048     /* a full group has about as many keys */
#define KEEP    KIB(512) /* kept over a clear */

struct entry {
	uint64_t hash;
	size_t at; /* of the key in bytes; the value follows it */
	size_t key_len;
	size_t value_len;
	size_t next; /* 1 + place of the next in the bucket, or 0 */
};

struct overlay {
	size_t buckets[BUCKETS]; /* 1 + place of the first, or 0 */
	struct entry *entries;
	size_t count;
	size_t cap;
	struct buf bytes;
};

struct overlay *overlay_new(void)
{
	struct overlay *o = xcalloc(1, sizeof(*o));

	buf_init(&o->bytes, OVERLAY_BYTES);
	return o;
}

void overlay_free(struct overlay *o)
{
	if (!o)
		return;
	buf_release(&o->bytes);
	free(o->entries);
	free(o);
}

void overlay_clear(struct overlay *o)
{
	memset(o->buckets, 0, sizeof(o->buckets));
	o->count = 0;
	buf_trim(&o->bytes, KEEP);
}

static struct span key_of(const struct overlay *o, const struct entry *e)
{
	return span_of(o->bytes.ptr + e->at, e->key_len);
}

static struct entry *find(const struct overlay *o, struct span key, uint64_t hash)
{
	for (size_t place = o->buckets[hash % BUCKETS]; place > 0;
	     place = o->entries[place - 1].next) {
		struct entry *e = &o->entries[place - 1];

		if (e->hash == hash && span_equal(key_of(o, e), key))
			return e;
	}
	return NULL;
}

bool overlay_get(const struct overlay *o, struct span key, struct span *ret_value)
{
	const struct entry *e = find(o, key, span_hash(key));

	if (!e)
		return false;
	*ret_value = span_of(o->bytes.ptr + e->at + e->key_len, e->value_len);
	return true;
}

static void add(struct overlay *o, struct span key, struct span value, uint64_t hash)
{
	if (o->count == o->cap) {
		o->cap = o->cap ? 2 * o->cap : 64;
		o->entries = xrealloc(o->entries, o->cap * sizeof(*o->entries));
	}
	o->entries[o->count] = (struct entry){
		.hash = hash,
		.at = o->bytes.len,
		.key_len = key.len,
		.value_len = value.len,
		.next = o->buckets[hash % BUCKETS],
	};
	o->buckets[hash % BUCKETS] = ++o->count;
	buf_append(&o->bytes, key);
	buf_append(&o->bytes, value);
}

void overlay_put(struct overlay *o, struct span key, struct span value)
{
	uint64_t hash = span_hash(key);
	struct entry *e = find(o, key, hash);

	if (!e) {
		add(o, key, value, hash);
		return;
	}
	assert(e->value_len == value.len);
	memcpy(o->bytes.ptr + e->at + e->key_len, value.ptr, value.len);
}

size_t overlay_count(const struct overlay *o)
{
	return o->count;
}

void overlay_at(const struct overlay *o, size_t place, struct span *ret_key, struct span *ret_value)
{
	const struct entry *e = &o->entries[place];

	assert(place < o->count);
	*ret_key = key_of(o, e);
	*ret_value = span_of(o->bytes.ptr + e->at + e->key_len, e->value_len);
}

size_t overlay_bytes(const struct overlay *o)
{
	return sizeof(*o) + o->cap * sizeof(*o->entries) + o->bytes.cap;
}
