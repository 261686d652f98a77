/* Values of the identity cache, as a damaged disk could give them. What decodes is written again as
 * the same bytes. */
#include <assert.h>

#include "resolve/cache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cache_entry e;
	struct buf again;

	if (cache_entry_decode(span_of(data, size), &e) < 0)
		return 0;
	buf_init(&again, size);
	cache_entry_encode(&again, &e);
	assert(span_equal(buf_span(&again), span_of(data, size)));
	buf_release(&again);
	return 0;
}
