/* What ingest reads of a frame lies within it and has the form that the header promises; a frame of
 * two whole maps is never broken. */
#include <assert.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "ingest/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct span part, struct span all)
{
	return part.len == 0 || (part.ptr >= all.ptr && part.len <= all.len &&
				 part.ptr - all.ptr <= (ptrdiff_t)(all.len - part.len));
}

static bool is_two_maps(struct span bytes)
{
	struct reader r = reader_of(bytes);
	struct cbor_map map;
	struct reader head = r;

	if (cbor_map_open(&head, &map) != 0 || cbor_skip(&r, NULL) != 0)
		return false;
	head = r;
	return cbor_map_open(&head, &map) == 0 && cbor_skip(&r, NULL) == 0 && r.left == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	struct frame f;

	if (frame_scan(input, &f) != 0) {
		assert(!is_two_maps(input));
		return 0;
	}
	assert(is_two_maps(input));
	assert(f.seq < (uint64_t)LIMIT_SEQ);
	assert(is_within(f.type, input) && is_within(f.did, input));
	assert(is_within(f.name, input) && is_within(f.message, input));
	if (f.class == FRAME_EVENT)
		assert(f.seq > 0 && f.did.len > 0 && f.type.len > 0);
	return 0;
}
