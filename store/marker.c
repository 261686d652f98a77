#include "store/marker.h"

#include <assert.h>
#include <errno.h>

#include "common/limits.h"

#define VERSION 1

/* Read by marker_decode. */
void marker_encode(const struct marker *m, uint8_t ret[static MARKER_SIZE])
{
	struct buf b;

	buf_init(&b, MARKER_SIZE);
	buf_put_u8(&b, VERSION);
	buf_put_u64(&b, m->file_first_seq);
	buf_put_u64(&b, m->file_end_bytes);
	buf_put_u64(&b, m->next_seq);
	assert(b.len == MARKER_SIZE);
	memcpy(ret, b.ptr, MARKER_SIZE);
	buf_release(&b);
}

/* A file has events if and only if it has bytes. */
static bool is_possible(const struct marker *m)
{
	return m->file_first_seq > 0 && m->next_seq <= (uint64_t)LIMIT_SEQ &&
	       m->file_first_seq <= m->next_seq && m->file_end_bytes <= INT64_MAX &&
	       (m->file_first_seq == m->next_seq) == (m->file_end_bytes == 0);
}

/* Written by marker_encode. */
int marker_decode(struct span s, struct marker *ret)
{
	struct reader r = reader_of(s);
	struct marker m;
	uint8_t version;

	if (s.len != MARKER_SIZE || reader_get_u8(&r, &version) < 0 || version != VERSION ||
	    reader_get_u64(&r, &m.file_first_seq) < 0 ||
	    reader_get_u64(&r, &m.file_end_bytes) < 0 || reader_get_u64(&r, &m.next_seq) < 0 ||
	    !is_possible(&m))
		return -EBADMSG;
	*ret = m;
	return 0;
}
