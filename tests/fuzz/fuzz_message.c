/* The first byte says which message follows. What is decoded is encoded again byte for byte. */
#include <assert.h>
#include <stdlib.h>

#include "common/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Defines recode_NAME, which decodes a struct NAME and encodes it again. */
#define RECODE(name, release)                                                                      \
	static int recode_##name(struct reader *r, struct buf *out)                                \
	{                                                                                          \
		struct name decoded;                                                               \
                                                                                                   \
		if (name##_decode(r, &decoded) < 0)                                                \
			return -1;                                                                 \
		name##_encode(out, &decoded);                                                      \
		release;                                                                           \
		return 0;                                                                          \
	}

RECODE(event, )
RECODE(verified, )
RECODE(ack, )
RECODE(lookup, )
RECODE(identity, )
RECODE(head, )
RECODE(xrpc_request, )
RECODE(xrpc_reply, )
RECODE(host_check, )
RECODE(host_list, free(decoded.hosts))

/* Their order is the corpus's: new ones go to the end. */
static int (*const recoders[])(struct reader *, struct buf *) = {
	recode_event, recode_verified,     recode_ack,        recode_lookup,     recode_identity,
	recode_head,  recode_xrpc_request, recode_xrpc_reply, recode_host_check, recode_host_list,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct buf out;
	uint8_t which;

	if (reader_get_u8(&r, &which) < 0 || which >= ARRAY_SIZE(recoders))
		return 0;
	buf_init(&out, size);
	for (struct reader before = r; r.left > 0; before = r) {
		buf_clear(&out);
		if (recoders[which](&r, &out) < 0) {
			assert(r.ptr == before.ptr && r.left == before.left);
			break;
		}
		assert(r.left < before.left);
		assert(span_equal(buf_span(&out), span_of(before.ptr, before.left - r.left)));
	}
	buf_release(&out);
	return 0;
}
