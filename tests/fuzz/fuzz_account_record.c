/* An account record or a marker that is taken is written again byte for byte. */
#include <assert.h>

#include "store/account.h"
#include "store/marker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t account_bytes[ACCOUNT_SIZE], marker_bytes[MARKER_SIZE];
	struct span s = span_of(data, size);
	struct account a;
	struct marker m;

	if (account_decode(s, &a) == 0) {
		account_encode(&a, account_bytes);
		assert(span_equal(s, span_of(account_bytes, sizeof(account_bytes))));
	}
	if (marker_decode(s, &m) == 0) {
		marker_encode(&m, marker_bytes);
		assert(span_equal(s, span_of(marker_bytes, sizeof(marker_bytes))));
	}
	return 0;
}
