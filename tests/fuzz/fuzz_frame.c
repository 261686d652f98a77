/* An accepted frame is canonical in all of its bytes and says where its seq stands; and without its
 * handle it is a frame again. */
#include <assert.h>
#include <stdlib.h>

#include "common/cbor.h"
#include "validate/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_seq(const struct frame *f)
{
	struct reader r = reader_of(span_of(f->bytes.ptr + f->seq_offset, f->seq_size));
	int64_t seq;
	int error = cbor_get_integer(&r, &seq);

	assert(error == 0 && r.left == 0 && (uint64_t)seq == f->seq);
}

static void check_cbor(const struct frame *f)
{
	struct reader r = reader_of(f->bytes);
	struct span header, body;
	int error = cbor_skip(&r, &header);

	assert(error == 0);
	error = cbor_skip(&r, &body);
	assert(error == 0 && r.left == 0);
	assert(body.ptr == f->body.ptr && body.len == f->body.len);
}

static void check_without_handle(const struct frame *f)
{
	static struct frame again;
	struct buf out;
	enum verdict v;

	buf_init(&out, LIMIT_FRAME);
	frame_remove_handle(f, &out);
	v = frame_decode(buf_span(&out), &again);
	assert(v == VERDICT_ACCEPTED && again.handle.len == 0 && again.seq == f->seq);
	assert(span_equal(again.did, f->did) && again.body_count == f->body_count - 1);
	buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct frame f;

	if (frame_decode(span_of(data, size), &f) != VERDICT_ACCEPTED)
		return 0;
	check_cbor(&f);
	check_seq(&f);
	assert(f.op_count <= LIMIT_OPS && did_is_valid(f.did));
	assert(strcmp(frame_kind_name(&f), "event") != 0);
	if (f.handle.len > 0)
		check_without_handle(&f);
	return 0;
}
