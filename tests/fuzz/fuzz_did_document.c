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
	enum did_document_fault fault;
	struct host again;
	struct buf subject;
	int error;

	if (size > LIMIT_DID_DOCUMENT)
		return 0;
	buf_init(&subject, LIMIT_DID_DOCUMENT);
	error = did_document_subject(span_of(data, size), &subject);
	assert(error == 0 || subject.len == 0);
	fault = did_document_parse(span_of(data, size), SPAN_LITERAL(DID), &d);
	assert(strcmp(did_document_fault_name(fault), "unknown") != 0);
	if (fault != DID_DOCUMENT_OK) {
		buf_release(&subject);
		return 0;
	}
	assert(span_is(buf_span(&subject), DID));
	buf_release(&subject);
	assert(d.key.curve == CURVE_K256 || d.key.curve == CURVE_P256);
	assert(d.key.point[0] == 2 || d.key.point[0] == 3);
	error = host_parse(span_str(host_format(&d.pds, host)), &again);
	assert(!error);
	assert(d.handle[0] == '\0' || handle_is_valid(span_str(d.handle)));
	return 0;
}
