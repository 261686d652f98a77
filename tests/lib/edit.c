#include "tests/lib/edit.h"

#include <assert.h>

#include "common/cbor.h"

#define FIELDS_MAX 64

struct field {
	struct span key, value;
};

static size_t fields_of(struct span map, struct field *ret)
{
	struct reader r = reader_of(map);
	struct cbor_map m;
	size_t count = 0;
	int error = cbor_map_open(&r, &m);

	while (error == 0 && cbor_map_more(&m)) {
		assert(count < FIELDS_MAX);
		error = cbor_map_key(&r, &m, &ret[count].key);
		if (error == 0)
			error = cbor_skip(&r, &ret[count++].value);
	}
	assert(error == 0);
	return count;
}

static bool is_before(struct span a, struct span b)
{
	return a.len != b.len ? a.len < b.len : span_compare(a, b) < 0;
}

static void put_field(struct buf *out, struct span key, struct span value)
{
	if (value.len == 0)
		return;
	cbor_put_text(out, key);
	buf_append(out, value);
}

void edit_map(struct span map, const char *key, struct span value, struct buf *out)
{
	struct field fields[FIELDS_MAX];
	size_t count = fields_of(map, fields), place = 0, kept = 0;
	struct span name = span_str(key);

	while (place < count && is_before(fields[place].key, name))
		place++;
	kept = place + (place < count && span_equal(fields[place].key, name));
	cbor_put_map(out, place + (value.len > 0) + count - kept);
	for (size_t i = 0; i < place; i++)
		put_field(out, fields[i].key, fields[i].value);
	put_field(out, name, value);
	for (size_t i = kept; i < count; i++)
		put_field(out, fields[i].key, fields[i].value);
}

struct span edit_body(struct span frame)
{
	struct reader r = reader_of(frame);
	int error = cbor_skip(&r, NULL);

	assert(error == 0);
	return span_of(r.ptr, r.left);
}

void edit_frame(struct span frame, const char *key, struct span value, struct buf *out)
{
	struct span body = edit_body(frame);

	buf_append(out, span_of(frame.ptr, frame.len - body.len));
	edit_map(body, key, value, out);
}

struct span edit_get(struct span map, const char *key)
{
	struct field fields[FIELDS_MAX];
	size_t count = fields_of(map, fields);

	for (size_t i = 0; i < count; i++)
		if (span_is(fields[i].key, key))
			return fields[i].value;
	return SPAN_EMPTY;
}
