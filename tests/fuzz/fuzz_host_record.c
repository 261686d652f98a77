/* A host's record that is taken is written back in the same bytes. */
#include <assert.h>

#include "ingest/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct registry_record r = {0};
	struct buf b;

	if (registry_record_decode(span_of(data, size), &r) != 0)
		return 0;
	buf_init(&b, KIB(4));
	registry_record_encode(&b, &r);
	assert(span_equal(buf_span(&b), span_of(data, size)));
	buf_release(&b);
	return 0;
}
