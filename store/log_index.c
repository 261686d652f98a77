#include "store/log_index.h"

#include <errno.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/crc32c.h"
#include "common/message.h"
#include "store/file.h"

#define CHUNK_RECORDS 1024 /* read or written at once: 52 KiB */

/* Where the next record and its message belong. */
struct place {
	uint64_t records;
	uint64_t offset;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Goes over records that follow the place, as long as they are right. Returns whether all were. */
static bool follow(struct span records, uint64_t end_bytes, struct place *at)
{
	for (size_t i = 0; i < records.len; i += LOG_INDEX_RECORD_SIZE) {
		struct log_index_record record;
		struct span s = span_of(records.ptr + i, LOG_INDEX_RECORD_SIZE);

		if (log_index_record_decode(s, &record) < 0 || record.offset != at->offset ||
		    record.length > end_bytes - at->offset)
			return false;
		at->offset += record.length;
		at->records++;
	}
	return true;
}

/* How far the index is right. */
static int find_good_part(int fd, const struct marker *m, struct place *ret)
{
	uint8_t chunk[CHUNK_RECORDS * LOG_INDEX_RECORD_SIZE];
	uint64_t bytes, count, here;
	struct place at = {0};
	int r = file_size(fd, &bytes);

	if (r < 0)
		return r;
	count = least(bytes / LOG_INDEX_RECORD_SIZE, m->next_seq - m->file_first_seq);
	while (at.records < count) {
		here = least(count - at.records, CHUNK_RECORDS) * LOG_INDEX_RECORD_SIZE;
		r = file_read_at(fd, chunk, here, at.records * LOG_INDEX_RECORD_SIZE);
		if (r < 0)
			return r;
		if (!follow(span_of(chunk, here), m->file_end_bytes, &at))
			break;
	}
	*ret = at;
	return 0;
}

uint8_t log_index_kind(struct span frame)
{
	struct reader r = reader_of(frame);
	struct cbor_map map;
	struct span key, text;

	if (cbor_map_open(&r, &map) < 0)
		return 0;
	while (cbor_map_more(&map)) {
		if (cbor_map_key(&r, &map, &key) < 0)
			return 0;
		if (!span_is(key, "t")) {
			if (cbor_map_skip(&r, &map) < 0)
				return 0;
			continue;
		}
		if (cbor_get_text(&r, &text) < 0)
			return 0;
		for (enum event_kind k = EVENT_COMMIT; k <= EVENT_ACCOUNT; k++)
			if (span_is(text, event_kind_name(k)))
				return (uint8_t)k;
		return 0;
	}
	return 0;
}

/* Reads the message at the place; message is cleared first. */
static int read_message(int fd, const struct place *at, uint64_t end_bytes, struct buf *message,
			struct span *ret_frame)
{
	uint64_t left = end_bytes - at->offset;
	size_t head = (size_t)least(left, LOG_MESSAGE_HEADER_MAX);
	uint8_t header[LOG_MESSAGE_HEADER_MAX];
	struct reader reader = reader_of(span_of(header, head));
	uint32_t payload;
	int r = file_read_at(fd, header, head, at->offset);

	if (r < 0)
		return r;
	if (log_message_header_decode(&reader, &payload) < 0)
		return -EBADMSG;
	head -= reader.left;
	if (payload == 0 || payload > left - head)
		return -EBADMSG;
	buf_clear(message);
	r = file_read_at(fd, buf_extend(message, head + payload), head + payload, at->offset);
	if (r < 0)
		return r;
	*ret_frame = span_of(message->ptr + head, payload);
	return 0;
}

/* Appends the records of as many messages as fit a chunk. */
static int make_chunk(int messages_fd, const struct marker *m, uint64_t now_usec, struct place *at,
		      struct buf *message, struct buf *chunk)
{
	uint64_t count = m->next_seq - m->file_first_seq;

	for (size_t i = 0; i < CHUNK_RECORDS && at->records < count; i++) {
		struct span frame;
		int r = read_message(messages_fd, at, m->file_end_bytes, message, &frame);

		if (r < 0)
			return r;
		struct log_index_record record = {
			.offset = at->offset,
			.length = (uint32_t)message->len,
			.crc32c = crc32c(0, buf_span(message)),
			.usec = now_usec,
			.kind = log_index_kind(frame),
		};

		log_index_record_encode(&record, buf_extend(chunk, LOG_INDEX_RECORD_SIZE));
		at->offset += message->len;
		at->records++;
	}
	return 0;
}

/* Makes the records from the place to the marker, and writes them unless index_fd is -1. */
static int make_rest(int messages_fd, int index_fd, const struct marker *m, uint64_t now_usec,
		     struct place at)
{
	uint64_t count = m->next_seq - m->file_first_seq;
	struct buf message, chunk;
	int r = 0;

	buf_init(&message, LOG_MESSAGE_MAX);
	buf_init(&chunk, CHUNK_RECORDS * LOG_INDEX_RECORD_SIZE);
	while (r == 0 && at.records < count) {
		uint64_t first = at.records;

		buf_clear(&chunk);
		r = make_chunk(messages_fd, m, now_usec, &at, &message, &chunk);
		if (r == 0 && index_fd >= 0)
			r = file_write_at(index_fd, buf_span(&chunk),
					  first * LOG_INDEX_RECORD_SIZE);
	}
	if (r == 0 && at.offset != m->file_end_bytes)
		r = -EBADMSG;
	buf_release(&chunk);
	buf_release(&message);
	return r;
}

int log_index_recover(int messages_fd, int index_fd, const struct marker *m, uint64_t now_usec,
		      uint64_t *ret_made)
{
	uint64_t count = m->next_seq - m->file_first_seq;
	struct place good;
	int r = find_good_part(index_fd, m, &good);

	if (r < 0)
		return r;
	r = make_rest(messages_fd, index_fd, m, now_usec, good);
	if (r == -EBADMSG && good.records > 0) {
		/* Records may be whole and yet not those of these messages. They know more than
		 * can be made anew, so that they go only when that is certain to succeed. */
		good = (struct place){0};
		r = make_rest(messages_fd, -1, m, now_usec, good);
		if (r == 0)
			r = make_rest(messages_fd, index_fd, m, now_usec, good);
	}
	if (r < 0)
		return r;
	if (ftruncate(index_fd, (off_t)(count * LOG_INDEX_RECORD_SIZE)) < 0)
		return -errno;
	*ret_made = count - good.records;
	return 0;
}

int log_index_measure(int index_fd, uint64_t messages_bytes, uint64_t *ret_records,
		      uint64_t *ret_end_bytes)
{
	const struct marker all = {.file_end_bytes = messages_bytes, .next_seq = UINT64_MAX};
	struct place good;
	int r = find_good_part(index_fd, &all, &good);

	if (r < 0)
		return r;
	*ret_records = good.records;
	*ret_end_bytes = good.offset;
	return 0;
}

bool log_index_get_last(int index_fd, uint64_t count, struct log_index_record *ret)
{
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];

	return count > 0 &&
	       file_read_at(index_fd, bytes, sizeof(bytes), (count - 1) * sizeof(bytes)) == 0 &&
	       log_index_record_decode(span_of(bytes, sizeof(bytes)), ret) == 0;
}
