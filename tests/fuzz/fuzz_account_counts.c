/* The first byte says how many accounts were asked for; the rest is store's answer. */
#include <assert.h>

#include "ingest/calls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t counts[UINT8_MAX];
	struct buf b;

	if (size == 0)
		return 0;
	if (calls_decode_counts(reader_of(span_of(data + 1, size - 1)), data[0], counts) != 0)
		return 0;
	buf_init(&b, KIB(4));
	buf_put_u32(&b, data[0]);
	for (size_t i = 0; i < data[0]; i++)
		buf_put_u64(&b, counts[i]);
	assert(span_equal(buf_span(&b), span_of(data + 1, size - 1)));
	buf_release(&b);
	return 0;
}
