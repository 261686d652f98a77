/*
 * Recovery of an index from any bytes: a .ws with any content, an .idx with any content, and a
 * marker that says so many events. If it succeeds, the index describes all of the messages without
 * a gap.
 *
 * Input: u8 events, u16 length of the .idx, the .idx, the .ws.
 */
#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store/file.h"
#include "store/log_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_with(const char *name, struct span content)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	assert(fd >= 0);
	assert(file_write_at(fd, content, 0) == 0);
	return fd;
}

static void check_index(int index_fd, uint8_t events, uint64_t end_bytes)
{
	uint64_t offset = 0, bytes;

	assert(file_size(index_fd, &bytes) == 0 &&
	       bytes == (uint64_t)events * LOG_INDEX_RECORD_SIZE);
	for (unsigned i = 0; i < events; i++) {
		uint8_t record_bytes[LOG_INDEX_RECORD_SIZE];
		struct log_index_record record;

		assert(file_read_at(index_fd, record_bytes, sizeof(record_bytes),
				    (uint64_t)i * LOG_INDEX_RECORD_SIZE) == 0);
		assert(log_index_record_decode(span_of(record_bytes, sizeof(record_bytes)),
					       &record) == 0);
		assert(record.offset == offset);
		offset += record.length;
	}
	assert(offset == end_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct span index;
	uint64_t made;
	uint16_t len;
	uint8_t events;

	if (reader_get_u8(&r, &events) < 0 || reader_get_u16(&r, &len) < 0 ||
	    reader_get_span(&r, len, &index) < 0)
		return 0;
	struct marker m = {
		.file_first_seq = 1, .file_end_bytes = r.left, .next_seq = 1 + (uint64_t)events};
	int messages_fd = file_with("ws", span_of(r.ptr, r.left)),
	    index_fd = file_with("idx", index);

	if (log_index_recover(messages_fd, index_fd, &m, 1, &made) == 0) {
		assert(made <= events);
		check_index(index_fd, events, m.file_end_bytes);
	}
	close(messages_fd);
	close(index_fd);
	return 0;
}
