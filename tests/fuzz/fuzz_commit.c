/* What is signed is the object without its signature: canonical, and nothing else missing. */
#include <assert.h>
#include <stdlib.h>

#include "common/cbor.h"
#include "validate/commit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes under the key "sig" in a map; an empty span if there are none. */
static struct span find_sig(struct span map)
{
	struct reader r = reader_of(map);
	struct cbor_map m;
	struct span key, value;

	if (cbor_map_open(&r, &m) < 0)
		return SPAN_EMPTY;
	while (cbor_map_more(&m)) {
		if (cbor_map_key(&r, &m, &key) < 0 || cbor_skip(&r, &value) < 0)
			break;
		if (span_is(key, "sig"))
			return value;
	}
	return SPAN_EMPTY;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span block = span_of(data, size);
	struct commit c;
	struct buf out;

	if (commit_decode(block, &c) != VERDICT_ACCEPTED)
		return 0;
	buf_init(&out, size + 16);
	commit_unsigned(&c, &out);
	assert(cbor_check(buf_span(&out)) == 0);
	assert(find_sig(block).len > 0 && find_sig(buf_span(&out)).len == 0);
	/* The heads of both maps have one to five bytes. */
	assert(out.len + c.sig_field.len <= size && out.len + c.sig_field.len + 4 >= size);
	buf_release(&out);
	return 0;
}
