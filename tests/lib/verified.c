#include "tests/lib/verified.h"

#include "common/cbor.h"
#include "tests/lib/frame.h"

#define FIRST_REV_USEC 1700000000000000

void verified_rev(unsigned number, uint8_t ret[static TID_SIZE])
{
	tid_format(FIRST_REV_USEC + number, 0, ret);
}

void verified_digest(unsigned number, uint8_t ret[static SHA256_SIZE])
{
	sha256(span_of(&number, sizeof(number)), ret);
}

static void put_frame(struct buf *b, const struct event_spec *spec, struct verified *v)
{
	frame_put_header(b, event_kind_name(spec->kind));
	cbor_put_map(b, 3);
	frame_put_text(b, "did", span_str(spec->did));
	cbor_put_text(b, SPAN_LITERAL("pad"));
	uint8_t *pad = xcalloc(1, spec->pad + 1);

	cbor_put_bytes(b, span_of(pad, spec->pad));
	free(pad);
	cbor_put_text(b, SPAN_LITERAL("seq"));
	v->seq_offset = (uint32_t)b->len;
	cbor_put_integer(b, (int64_t)spec->host_seq);
	v->seq_size = (uint8_t)(b->len - v->seq_offset);
	v->frame = buf_span(b);
}

void verified_make(const struct event_spec *spec, struct buf *frame, struct verified *ret)
{
	struct verified v = {
		.ticket = spec->host_seq,
		.host_id = spec->host_id,
		.host_epoch = spec->host_epoch,
		.host_seq = spec->host_seq,
		.received_usec = FIRST_REV_USEC,
		.kind = spec->kind,
		.did = span_str(spec->did),
	};

	buf_clear(frame);
	put_frame(frame, spec, &v);
	if (spec->kind == EVENT_COMMIT || spec->kind == EVENT_SYNC) {
		verified_rev(spec->rev, v.rev);
		verified_digest(spec->rev, v.commit);
		verified_digest(spec->rev + 1000000, v.data);
	}
	if (spec->kind == EVENT_COMMIT && spec->since > 0) {
		v.has_since = true;
		v.is_legacy = spec->is_legacy;
		v.has_prev_data = !v.is_legacy;
		verified_rev(spec->since, v.since);
		if (v.has_prev_data)
			verified_digest(spec->since + 1000000, v.prev_data);
	}
	if (spec->kind == EVENT_ACCOUNT) {
		v.active = !spec->inactive;
		v.status = spec->status;
	}
	*ret = v;
}
