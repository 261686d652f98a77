/* Documents of one account. What is found in one is what an identity may say: a known curve, a
 * valid host and handle. */
#include <assert.h>

#include "common/syntax.h"
#include "common/did_document.h"

#define DID "did:plc:ewvi7nxzyoun6zhxrhs64oiz"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct did_document d;
	char host[LIMIT_HOST + 1];
	struct host again;
	int error;

	if (size > LIMIT_DID_DOCUMENT ||
	    did_document_parse(span_of(data, size), SPAN_LITERAL(DID), &d) != DID_DOCUMENT_OK)
		return 0;
	assert(d.key.curve == CURVE_K256 || d.key.curve == CURVE_P256);
	assert(d.key.point[0] == 2 || d.key.point[0] == 3);
	error = host_parse(span_str(host_format(&d.pds, host)), &again);
	assert(!error);
	assert(d.handle[0] == '\0' || handle_is_valid(span_str(d.handle)));
	return 0;
}
