/* A CID that is taken, in binary or as text, has that one form. */
#include <assert.h>

#include "common/cid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span input = span_of(data, size);
	uint8_t binary[CID_SIZE];
	char text[CID_TEXT_SIZE];
	struct cid cid, again;

	if (cid_decode(input, &cid) == 0) {
		cid_encode(&cid, binary);
		assert(span_equal(span_of(binary, sizeof(binary)), input));
		assert(cid_parse(span_str(cid_format(&cid, text)), &again) == 0);
		assert(cid_equal(&cid, &again));
		assert((cid_decode_dag_cbor(input, &again) == 0) == (cid.codec == CID_DAG_CBOR));
	} else {
		assert(cid_decode_dag_cbor(input, &cid) < 0);
	}
	if (cid_parse(input, &cid) == 0)
		assert(span_is(input, cid_format(&cid, text)));
	return 0;
}
