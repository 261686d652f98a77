/* What the strict reader takes, the encoder writes again byte for byte; and taking it in one go or
 * item by item is the same. */
#include <assert.h>
#include <stdlib.h>

#include "common/cbor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_item(struct buf *out, const struct cbor_item *item)
{
	switch (item->type) {
	case CBOR_INTEGER:
		cbor_put_integer(out, item->integer);
		break;
	case CBOR_BYTES:
		cbor_put_bytes(out, item->bytes);
		break;
	case CBOR_TEXT:
		cbor_put_text(out, item->bytes);
		break;
	case CBOR_ARRAY:
		cbor_put_array(out, item->count);
		break;
	case CBOR_MAP:
		cbor_put_map(out, item->count);
		break;
	case CBOR_CID:
		cbor_put_cid(out, item->bytes);
		break;
	case CBOR_BOOL:
		cbor_put_bool(out, item->boolean);
		break;
	case CBOR_NULL:
		cbor_put_null(out);
		break;
	}
}

static void check_map_walk(struct span raw)
{
	struct reader r = reader_of(raw);
	struct cbor_map map;
	struct span key;

	if (cbor_map_open(&r, &map) < 0)
		return;
	while (cbor_map_more(&map)) {
		assert(cbor_map_key(&r, &map, &key) == 0 && key.len > 0);
		assert(cbor_skip(&r, NULL) == 0);
	}
	assert(r.left == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size)), flat = r;
	struct span raw;
	struct cbor_item item;
	struct buf out;

	if (cbor_skip(&r, &raw) < 0) {
		assert(r.ptr == flat.ptr && r.left == flat.left);
		return 0;
	}
	assert(raw.ptr == data && raw.len + r.left == size && cbor_check(raw) == 0);
	check_map_walk(raw);
	buf_init(&out, raw.len);
	while (flat.left > r.left) {
		assert(cbor_get(&flat, &item) == 0);
		put_item(&out, &item);
	}
	assert(flat.left == r.left && span_equal(buf_span(&out), raw));
	buf_release(&out);
	return 0;
}
