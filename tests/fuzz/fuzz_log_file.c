/* Headers of messages and records of the index: what is taken is written again byte for byte. A
 * kind is found in any frame. */
#include <assert.h>

#include "common/log_file.h"
#include "store/log_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX], bytes[LOG_INDEX_RECORD_SIZE];
	struct span s = span_of(data, size);
	struct reader r = reader_of(s);
	struct log_index_record record;
	uint32_t payload;

	if (log_message_header_decode(&r, &payload) == 0) {
		size_t len = log_message_header_encode(payload, header);

		assert(len == size - r.left &&
		       span_equal(span_of(header, len), span_of(data, len)));
	}
	if (log_index_record_decode(s, &record) == 0) {
		log_index_record_encode(&record, bytes);
		assert(span_equal(s, span_of(bytes, sizeof(bytes))));
	}
	assert(log_index_kind(s) <= 4);
	return 0;
}
