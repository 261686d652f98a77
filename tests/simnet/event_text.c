#include "tests/simnet/event_text.h"

#include <inttypes.h>

#include "common/cbor.h"
#include "tests/lib/edit.h"

#define OPS_SHOWN 3

static struct span get_text(struct span map, const char *key)
{
	struct reader r = reader_of(edit_get(map, key));
	struct span text;

	return cbor_get_text(&r, &text) == 0 ? text : SPAN_EMPTY;
}

static bool get_flag(struct span map, const char *key)
{
	struct reader r = reader_of(edit_get(map, key));
	bool flag;

	return cbor_get_boolean(&r, &flag) == 0 && flag;
}

static int64_t get_number(struct span map, const char *key)
{
	struct reader r = reader_of(edit_get(map, key));
	int64_t number;

	return cbor_get_integer(&r, &number) == 0 ? number : -1;
}

static void put_word(struct buf *line, const char *before, struct span text)
{
	if (text.len == 0)
		return;
	buf_append_str(line, before);
	buf_append(line, text);
}

static void put_ops(struct span body, struct buf *line)
{
	struct reader r = reader_of(edit_get(body, "ops"));
	struct span op;
	size_t count;

	if (cbor_array_open(&r, &count) < 0)
		return;
	for (size_t i = 0; i < count && i < OPS_SHOWN && cbor_skip(&r, &op) == 0; i++) {
		put_word(line, i == 0 ? "  " : ", ", get_text(op, "action"));
		put_word(line, " ", get_text(op, "path"));
	}
	if (count > OPS_SHOWN)
		buf_printf(line, " and %zu more", count - OPS_SHOWN);
}

static void put_event(struct span kind, struct span body, struct buf *line)
{
	bool is_commit = span_is(kind, "#commit");

	buf_printf(line, "%8" PRId64 "  %-10.*s", get_number(body, "seq"), (int)kind.len,
		   (const char *)kind.ptr);
	put_word(line, " ", get_text(body, is_commit ? "repo" : "did"));
	if (is_commit)
		put_ops(body, line);
	else if (span_is(kind, "#account"))
		buf_append_str(line, get_flag(body, "active") ? "  active" : "  inactive");
	put_word(line, "  ", get_text(body, "status"));
	put_word(line, "  ", get_text(body, "handle"));
	if (!is_commit)
		put_word(line, "  rev ", get_text(body, "rev"));
}

void event_put_text(struct span frame, struct buf *line)
{
	struct reader r = reader_of(frame);
	struct span header, body, kind;

	if (cbor_skip(&r, &header) < 0 || cbor_skip(&r, &body) < 0 || r.left > 0 ||
	    header.len == 0 || header.ptr[0] >> 5 != 5 || body.ptr[0] >> 5 != 5) {
		buf_printf(line, "no event: %zu bytes", frame.len);
		return;
	}
	kind = get_text(header, "t");
	if (kind.len > 0 && get_number(body, "seq") >= 0) {
		put_event(kind, body, line);
		return;
	}
	buf_append_str(line, kind.len > 0 ? "" : "error");
	put_word(line, "", kind);
	put_word(line, " ", get_text(body, "name"));
	put_word(line, " ", get_text(body, "error"));
	put_word(line, ": ", get_text(body, "message"));
}
