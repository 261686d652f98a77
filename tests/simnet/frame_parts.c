#include "tests/simnet/frame_parts.h"

#include <errno.h>

enum { UNSIGNED = 0, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5, TAG = 6 };

struct head {
	unsigned major;
	uint64_t argument;
};

struct walk {
	const uint8_t *at, *end;
};

static size_t left(const struct walk *w)
{
	return (size_t)(w->end - w->at);
}

/* The first byte of an item and the argument that follows it [RFC 8949, section 3]. */
static int take_head(struct walk *w, struct head *ret)
{
	unsigned first, size;

	if (left(w) == 0)
		return -EBADMSG;
	first = *w->at++;
	ret->major = first >> 5;
	ret->argument = first & 31;
	if (ret->argument < 24)
		return 0;
	if (ret->argument > 27)
		return -EBADMSG;
	size = 1U << (ret->argument - 24);
	if (left(w) < size)
		return -EBADMSG;
	ret->argument = 0;
	while (size-- > 0)
		ret->argument = ret->argument << 8 | *w->at++;
	return 0;
}

/* One whole item. Every item inside it has a byte at least, which bounds what may be left to take.
 */
static int skip(struct walk *w)
{
	uint64_t items = 1;

	while (items > 0) {
		struct head h;

		if (take_head(w, &h) < 0)
			return -EBADMSG;
		items--;
		if ((h.major == BYTES || h.major == TEXT) && h.argument > left(w))
			return -EBADMSG;
		if ((h.major == ARRAY || h.major == MAP) && h.argument > left(w))
			return -EBADMSG;
		if (h.major == BYTES || h.major == TEXT)
			w->at += h.argument;
		else if (h.major == ARRAY)
			items += h.argument;
		else if (h.major == MAP)
			items += 2 * h.argument;
		else if (h.major == TAG)
			items++;
		if (items > left(w))
			return -EBADMSG;
	}
	return 0;
}

struct field {
	const uint8_t *body, *key, *value, *end;
	uint64_t body_count;
};

static int find_field(struct span frame, const char *name, struct field *ret)
{
	struct walk w = {frame.ptr, frame.ptr + frame.len};
	struct field f = {NULL, NULL, NULL, NULL, 0};
	struct head h;
	bool found = false;

	if (frame.len == 0 || skip(&w) < 0)
		return -EBADMSG;
	f.body = w.at;
	if (take_head(&w, &h) < 0 || h.major != MAP)
		return -EBADMSG;
	f.body_count = h.argument;
	for (uint64_t i = 0; i < f.body_count; i++) {
		f.key = w.at;
		if (take_head(&w, &h) < 0 || h.major != TEXT || h.argument > left(&w))
			return -EBADMSG;
		w.at += h.argument;
		f.value = w.at;
		if (skip(&w) < 0)
			return -EBADMSG;
		f.end = w.at;
		if (!found && span_is(span_of(f.value - h.argument, h.argument), name)) {
			*ret = f;
			found = true;
		}
	}
	if (left(&w) > 0)
		return -EBADMSG;
	return found ? 0 : -ENOENT;
}

int frame_parts_of(struct span frame, struct frame_parts *ret)
{
	const uint8_t *end = frame.ptr + frame.len;
	struct field f;
	struct walk w;
	struct head h;

	if (find_field(frame, "seq", &f) < 0)
		return -EBADMSG;
	w = (struct walk){f.value, f.end};
	if (take_head(&w, &h) < 0 || h.major != UNSIGNED)
		return -EBADMSG;
	*ret = (struct frame_parts){
		.before = span_of(frame.ptr, (size_t)(f.value - frame.ptr)),
		.after = span_of(f.end, (size_t)(end - f.end)),
		.seq = h.argument,
	};
	return 0;
}

int frame_parts_without_handle(struct span frame, struct buf *out)
{
	const uint8_t *end = frame.ptr + frame.len;
	struct field f;
	int r = find_field(frame, "handle", &f);

	if (r < 0)
		return r;
	/* The head of a map of up to 23 fields is one byte. */
	if (f.body_count > 23)
		return -EBADMSG;
	buf_append(out, span_of(frame.ptr, (size_t)(f.body - frame.ptr)));
	buf_put_u8(out, (uint8_t)(*f.body - 1));
	buf_append(out, span_of(f.body + 1, (size_t)(f.key - f.body) - 1));
	buf_append(out, span_of(f.end, (size_t)(end - f.end)));
	return 0;
}
