#include "common/car.h"

#include <errno.h>

#include "common/cbor.h"
#include "common/limits.h"

#define VERSION 1

/* Seven bits a byte. */
#define VARINT_SIZE 10

static int get_section(struct reader *r, struct span *ret)
{
	uint64_t size;

	if (reader_get_varint(r, &size) < 0 || size > r->left)
		return -EBADMSG;
	return reader_get_span(r, (size_t)size, ret);
}

/* The first root is the newest commit; what others mean is nowhere defined [repository: CAR file
 * serialization]. */
static int get_roots(struct reader *r, struct cid *ret_first)
{
	struct span root;
	size_t count;

	if (cbor_array_open(r, &count) < 0 || count == 0)
		return -EBADMSG;
	for (size_t i = 0; i < count; i++) {
		if (cbor_get_cid(r, &root) < 0)
			return -EBADMSG;
		if (i == 0 && cid_decode(root, ret_first) < 0)
			return -EBADMSG;
	}
	return 0;
}

/* {roots: [CID, ...], version: 1}; other keys have no meaning and are passed over [CARv1: header].
 */
static int header_decode(struct span header, struct cid *ret_root)
{
	struct reader r = reader_of(header);
	struct cbor_map map;
	struct span key;
	int64_t version = 0;
	bool has_roots = false;
	int error;

	if (cbor_map_open(&r, &map) < 0)
		return -EBADMSG;
	while (cbor_map_more(&map)) {
		if (cbor_map_key(&r, &map, &key) < 0)
			return -EBADMSG;
		if (span_is(key, "roots")) {
			error = get_roots(&r, ret_root);
			has_roots = true;
		} else if (span_is(key, "version")) {
			error = cbor_get_integer(&r, &version);
		} else {
			error = cbor_map_skip(&r, &map);
		}
		if (error < 0)
			return error;
	}
	return has_roots && version == VERSION && r.left == 0 ? 0 : -EBADMSG;
}

int car_open(struct span archive, struct car *ret)
{
	struct reader r = reader_of(archive);
	struct span header;
	struct cid root;

	if (get_section(&r, &header) < 0 || header.len > LIMIT_CAR_HEADER ||
	    header_decode(header, &root) < 0)
		return -EBADMSG;
	*ret = (struct car){r, root};
	return 0;
}

int car_next(struct car *c, struct car_block *ret)
{
	struct reader r = c->blocks;
	struct span section;

	if (get_section(&r, &section) < 0 || section.len < CID_SIZE ||
	    cid_decode(span_of(section.ptr, CID_SIZE), &ret->cid) < 0)
		return -EBADMSG;
	c->blocks = r;
	ret->data = span_of(section.ptr + CID_SIZE, section.len - CID_SIZE);
	return 0;
}

static void put_varint(struct buf *b, uint64_t v)
{
	uint8_t bytes[VARINT_SIZE];
	size_t size = 0;

	for (; v >= 0x80; v >>= 7)
		bytes[size++] = (uint8_t)(v | 0x80);
	bytes[size++] = (uint8_t)v;
	buf_append(b, span_of(bytes, size));
}

void car_put_header(struct buf *b, const struct cid *root)
{
	uint8_t binary[CID_SIZE];
	struct buf header;

	cid_encode(root, binary);
	buf_init(&header, LIMIT_CAR_HEADER);
	cbor_put_map(&header, 2);
	cbor_put_text(&header, SPAN_LITERAL("roots"));
	cbor_put_array(&header, 1);
	cbor_put_cid(&header, span_of(binary, sizeof(binary)));
	cbor_put_text(&header, SPAN_LITERAL("version"));
	cbor_put_integer(&header, VERSION);
	put_varint(b, header.len);
	buf_append(b, buf_span(&header));
	buf_release(&header);
}

void car_put_block(struct buf *b, const struct cid *cid, struct span data)
{
	put_varint(b, CID_SIZE + data.len);
	cid_encode(cid, buf_extend(b, CID_SIZE));
	buf_append(b, data);
}
