#include "tests/lib/log_maker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/log_file.h"

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static void path_of(const struct log_maker *m, uint64_t first_seq, enum log_file_type type,
		    char ret[static 256])
{
	char name[LOG_FILE_NAME_SIZE];

	snprintf(ret, 256, "%s/%s", m->folder, log_file_name(first_seq, type, name));
}

static int make(const struct log_maker *m, uint64_t first_seq, enum log_file_type type)
{
	char path[256];

	path_of(m, first_seq, type, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

static void name_file(struct log_maker *m)
{
	assert(m->file_count < LOG_MAKER_FILES_MAX);
	m->firsts[m->file_count++] = m->next_seq;
	m->end_bytes = 0;
}

static void close_files(struct log_maker *m)
{
	if (m->messages_fd >= 0)
		close(m->messages_fd);
	if (m->index_fd >= 0)
		close(m->index_fd);
	m->messages_fd = m->index_fd = -1;
}

void log_maker_init(struct log_maker *m, const char *folder, uint64_t first_seq, size_t file_events,
		    bool eager)
{
	*m = (struct log_maker){
		.file_events = file_events,
		.eager = eager,
		.next_seq = first_seq,
		.messages_fd = -1,
		.index_fd = -1,
	};
	snprintf(m->folder, sizeof(m->folder), "%s", folder);
	name_file(m);
}

void log_maker_release(struct log_maker *m)
{
	close_files(m);
}

static void write_all(int fd, struct span s)
{
	if (write(fd, s.ptr, s.len) != (ssize_t)s.len)
		die("write");
}

static uint8_t filling(uint64_t seq, size_t i)
{
	return (uint8_t)(seq * 131 + i * 7);
}

static void put_payload(struct buf *b, uint64_t seq, size_t bytes)
{
	size_t start = b->len;

	buf_printf(b, "E%020" PRIu64, seq);
	for (size_t i = b->len - start; i < bytes; i++)
		buf_put_u8(b, filling(seq, i));
}

uint64_t log_maker_seq(struct span payload)
{
	uint64_t seq = 0;

	if (payload.len < LOG_MAKER_PAYLOAD_MIN || payload.ptr[0] != 'E')
		return 0;
	for (size_t i = 1; i <= 20; i++)
		seq = seq * 10 + (uint64_t)(payload.ptr[i] - '0');
	for (size_t i = 21; i < payload.len; i++)
		if (payload.ptr[i] != filling(seq, i))
			return 0;
	return seq;
}

static void add_one(struct log_maker *m, struct buf *message, size_t payload_bytes)
{
	uint8_t header[LOG_MESSAGE_HEADER_MAX], index[LOG_INDEX_RECORD_SIZE];

	if (m->next_seq - m->firsts[m->file_count - 1] == m->file_events) {
		close_files(m);
		name_file(m);
	}
	if (m->messages_fd < 0) {
		m->messages_fd = make(m, m->next_seq, LOG_FILE_MESSAGES);
		m->index_fd = make(m, m->next_seq, LOG_FILE_INDEX);
	}
	buf_clear(message);
	buf_append(message, span_of(header, log_message_header_encode(payload_bytes, header)));
	put_payload(message, m->next_seq, payload_bytes);
	const struct log_index_record record = {
		.offset = m->end_bytes,
		.length = (uint32_t)message->len,
		.crc32c = crc32c(0, buf_span(message)),
		.usec = m->next_seq,
		.kind = EVENT_COMMIT,
	};
	log_index_record_encode(&record, index);
	write_all(m->messages_fd, buf_span(message));
	write_all(m->index_fd, span_of(index, sizeof(index)));
	m->end_bytes += message->len;
	m->next_seq++;
}

void log_maker_add(struct log_maker *m, size_t count, size_t payload_bytes)
{
	struct buf message;

	assert(payload_bytes >= LOG_MAKER_PAYLOAD_MIN);
	buf_init(&message, LOG_MESSAGE_MAX);
	for (size_t i = 0; i < count; i++)
		add_one(m, &message, payload_bytes);
	buf_release(&message);
	if (m->eager && m->next_seq - m->firsts[m->file_count - 1] == m->file_events) {
		close_files(m);
		name_file(m);
	}
}

/* Returns how many bytes there were. */
static uint64_t copy_oldest(const struct log_maker *m, enum log_file_type type, int to)
{
	char path[256];
	uint64_t bytes = 0;
	ssize_t n;

	path_of(m, m->firsts[0], type, path);
	int from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		die(path);
	while ((n = sendfile(to, from, NULL, MIB(64))) > 0)
		bytes += (uint64_t)n;
	if (n < 0)
		die("sendfile");
	close(from);
	return bytes;
}

void log_maker_repeat(struct log_maker *m, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert((m->next_seq - m->firsts[0]) % m->file_events == 0);
		close_files(m);
		name_file(m);
		m->messages_fd = make(m, m->next_seq, LOG_FILE_MESSAGES);
		m->index_fd = make(m, m->next_seq, LOG_FILE_INDEX);
		m->end_bytes = copy_oldest(m, LOG_FILE_MESSAGES, m->messages_fd);
		copy_oldest(m, LOG_FILE_INDEX, m->index_fd);
		m->next_seq += m->file_events;
	}
}

void log_maker_drop(struct log_maker *m)
{
	char path[256];

	assert(m->file_count > 1);
	path_of(m, m->firsts[0], LOG_FILE_MESSAGES, path);
	unlink(path);
	path_of(m, m->firsts[0], LOG_FILE_INDEX, path);
	unlink(path);
	m->file_count--;
	memmove(m->firsts, m->firsts + 1, m->file_count * sizeof(m->firsts[0]));
}

void log_maker_blank(struct log_maker *m, uint64_t seq)
{
	uint8_t record[LOG_INDEX_RECORD_SIZE];
	struct log_index_record r = {0};
	size_t file = m->file_count - 1;
	char path[256];
	uint8_t *blank;
	int fd;

	while (m->firsts[file] > seq)
		file--;
	path_of(m, m->firsts[file], LOG_FILE_INDEX, path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (pread(fd, record, sizeof(record), (off_t)((seq - m->firsts[file]) * sizeof(record))) !=
		    sizeof(record) ||
	    log_index_record_decode(span_of(record, sizeof(record)), &r) < 0)
		die(path);
	close(fd);
	path_of(m, m->firsts[file], LOG_FILE_MESSAGES, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	blank = xmalloc(r.length);
	if (pread(fd, blank, r.length, (off_t)r.offset) != (ssize_t)r.length)
		die(path);
	struct reader in = reader_of(span_of(blank, r.length));
	uint32_t payload_bytes = 0;

	if (log_message_header_decode(&in, &payload_bytes) < 0 || in.left != payload_bytes)
		die(path);
	memset(blank, LOG_MAKER_BLANK, payload_bytes);
	if (pwrite(fd, blank, payload_bytes, (off_t)(r.offset + r.length - payload_bytes)) !=
	    (ssize_t)payload_bytes)
		die(path);
	free(blank);
	close(fd);
}

bool log_maker_is(uint64_t seq, struct span payload, bool blanked)
{
	char head[24];

	snprintf(head, sizeof(head), "E%020" PRIu64, seq);
	for (size_t i = 0; i < payload.len; i++) {
		uint8_t made = i < strlen(head) ? (uint8_t)head[i] : filling(seq, i);

		if (payload.ptr[i] != made && !(blanked && payload.ptr[i] == LOG_MAKER_BLANK))
			return false;
	}
	return payload.len >= LOG_MAKER_PAYLOAD_MIN;
}

struct head log_maker_head(const struct log_maker *m)
{
	return (struct head){
		.first_seq = m->firsts[0],
		.next_seq = m->next_seq,
		.file_first_seq = m->firsts[m->file_count - 1],
		.file_end_bytes = m->end_bytes,
		.usec = 1,
		.received_usec = 1,
		.state = HEAD_TAKING,
	};
}
