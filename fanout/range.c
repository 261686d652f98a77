#include "fanout/range.h"

#include <errno.h>

static int record_at(struct span records, size_t place, struct log_index_record *ret)
{
	return log_index_record_decode(
		span_of(records.ptr + place * LOG_INDEX_RECORD_SIZE, LOG_INDEX_RECORD_SIZE), ret);
}

/* Where the message of this record ends, if it fits a range that begins at start. -ENOSPC: it does
 * not. */
static int end_within(struct span records, size_t place, uint64_t start, uint64_t *ret_end)
{
	struct log_index_record record;
	int error = record_at(records, place, &record);

	if (error < 0)
		return error;
	if (record.offset < start)
		return -EBADMSG;
	if (record.offset - start > RANGE_BYTES ||
	    record.length > RANGE_BYTES - (record.offset - start))
		return -ENOSPC;
	*ret_end = record.offset + record.length;
	return 0;
}

int range_find(struct span records, uint64_t start, struct range *ret)
{
	struct log_index_record first;
	size_t low = 1,
	       high = records.len / LOG_INDEX_RECORD_SIZE; /* how many messages: low fits */

	if (high == 0)
		return -ENODATA;
	int error = record_at(records, 0, &first);
	if (error < 0)
		return error;
	if (start != RANGE_ANYWHERE && start != first.offset)
		return -EBADMSG;
	uint64_t end = first.offset + first.length;
	/* Offsets rise, so whether a message still fits is decided by halving. */
	while (low < high) {
		size_t middle = low + (high - low + 1) / 2;
		error = end_within(records, middle - 1, first.offset, &end);
		if (error == 0)
			low = middle;
		else if (error == -ENOSPC)
			high = middle - 1;
		else
			return error;
	}
	*ret = (struct range){.start = first.offset, .end = end, .events = low};
	return 0;
}
