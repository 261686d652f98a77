/* Whatever an index holds, a range has at least one message, no more than there are records, and
 * not too many bytes but for a single message. */
#include <assert.h>

#include "fanout/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct range r;

	if (range_find(span_of(data, size), RANGE_ANYWHERE, &r) < 0)
		return 0;
	assert(r.events >= 1 && r.events <= size / LOG_INDEX_RECORD_SIZE);
	assert(r.end > r.start && (r.events == 1 || r.end - r.start <= RANGE_BYTES));
	return 0;
}
