/* An answer is judged once it is complete, whatever follows, and not before. */
#include <assert.h>

#include "common/limits.h"
#include "ingest/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct handshake_answer a = {0}, b = {0};
	enum handshake_result result;
	struct handshake h;

	handshake_init_key(&h, (const uint8_t *)"the sample nonce");
	result = handshake_parse(&h, span_of(data, size), &a);
	if (result == HANDSHAKE_MORE || result == HANDSHAKE_TOO_LARGE || result == HANDSHAKE_BAD) {
		assert(result != HANDSHAKE_MORE || size < LIMIT_HTTP_HEAD);
		return 0;
	}
	assert(a.head_bytes > 0 && a.head_bytes <= size && a.head_bytes <= LIMIT_HTTP_HEAD);
	assert((result == HANDSHAKE_DONE) == (a.status == 101));
	assert(a.retry_after_usec <= HANDSHAKE_RETRY_MAX_USEC);
	assert(handshake_parse(&h, span_of(data, a.head_bytes), &b) == result);
	assert(handshake_parse(&h, span_of(data, a.head_bytes - 1), &b) == HANDSHAKE_MORE);
	return 0;
}
