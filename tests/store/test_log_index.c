#include "store/log_index.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "common/crc32c.h"
#include "common/message.h"
#include "store/file.h"
#include "tests/lib/frame.h"
#include "tests/test.h"

#define EVENTS    2500 /* more than two chunks of records */
#define MADE_USEC 4242
#define HOST      9

struct pair {
	int messages_fd;
	int index_fd;
	struct marker marker;
	struct buf messages;
	struct buf records;
};

static int open_new(const char *folder, const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	return fd;
}

static void add_event(struct pair *p, uint64_t seq)
{
	static const uint8_t kinds[] = {EVENT_IDENTITY, EVENT_ACCOUNT};
	struct log_index_record record = {.offset = p->messages.len,
					  .usec = seq,
					  .host_id = HOST,
					  .host_seq = seq,
					  .kind = kinds[seq % 2]};
	uint8_t header[LOG_MESSAGE_HEADER_MAX];
	struct buf frame;

	buf_init(&frame, 4096);
	if (record.kind == EVENT_IDENTITY)
		frame_put_identity(&frame, seq, "did:web:a.example", NULL);
	else
		frame_put_account(&frame, seq, "did:web:a.example", true, NULL);
	buf_append(&p->messages, span_of(header, log_message_header_encode(frame.len, header)));
	buf_append(&p->messages, buf_span(&frame));
	record.length = (uint32_t)(p->messages.len - record.offset);
	record.crc32c = crc32c(0, span_of(p->messages.ptr + record.offset, record.length));
	log_index_record_encode(&record, buf_extend(&p->records, LOG_INDEX_RECORD_SIZE));
	buf_release(&frame);
}

/* A pair of files, whole. */
static void make(struct pair *p)
{
	const char *folder = test_folder();

	*p = (struct pair){.messages_fd = open_new(folder, "ws"),
			   .index_fd = open_new(folder, "idx")};
	buf_init(&p->messages, MIB(4));
	buf_init(&p->records, MIB(1));
	for (uint64_t seq = 1; seq <= EVENTS; seq++)
		add_event(p, seq);
	p->marker = (struct marker){1, p->messages.len, EVENTS + 1};
	CHECK_INT(file_write_at(p->messages_fd, buf_span(&p->messages), 0), 0);
	CHECK_INT(file_write_at(p->index_fd, buf_span(&p->records), 0), 0);
}

static void release(struct pair *p)
{
	close(p->messages_fd);
	close(p->index_fd);
	buf_release(&p->messages);
	buf_release(&p->records);
}

/* The index has all records; those from the place on were made anew. */
static void check_index(const struct pair *p, uint64_t made_from)
{
	uint64_t bytes = 0;

	CHECK_INT(file_size(p->index_fd, &bytes), 0);
	CHECK_INT(bytes, EVENTS * LOG_INDEX_RECORD_SIZE);
	for (uint64_t i = 0; i < EVENTS; i++) {
		uint8_t got[LOG_INDEX_RECORD_SIZE];
		struct log_index_record want, is = {0};
		size_t at = i * LOG_INDEX_RECORD_SIZE;

		CHECK_INT(file_read_at(p->index_fd, got, sizeof(got), at), 0);
		CHECK_INT(log_index_record_decode(span_of(p->records.ptr + at, sizeof(got)), &want),
			  0);
		CHECK_INT(log_index_record_decode(span_of(got, sizeof(got)), &is), 0);
		CHECK(is.offset == want.offset && is.length == want.length &&
		      is.crc32c == want.crc32c && is.kind == want.kind);
		CHECK_INT(is.host_id, i < made_from ? HOST : 0);
		CHECK_INT(is.usec, i < made_from ? i + 1 : MADE_USEC);
	}
}

static void recover(const struct pair *p, uint64_t good)
{
	uint64_t made = UINT64_MAX;

	CHECK_INT(log_index_recover(p->messages_fd, p->index_fd, &p->marker, MADE_USEC, &made), 0);
	CHECK_INT(made, EVENTS - good);
	check_index(p, good);
}

TEST(a_whole_index_stays)
{
	struct pair p;

	make(&p);
	recover(&p, EVENTS);
	release(&p);
}

static const uint64_t places[] = {0, 1, 1023, 1024, 1025, 2048, EVENTS - 1};

TEST(a_short_index_is_completed)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		for (uint64_t extra = 0; extra < 2; extra++) {
			struct pair p;
			off_t bytes = (off_t)(places[i] * LOG_INDEX_RECORD_SIZE + 20 * extra);

			make(&p);
			CHECK_INT(ftruncate(p.index_fd, bytes), 0);
			recover(&p, places[i]);
			release(&p);
		}
}

/* As a power cut may leave it: pages that never reached the disk. */
TEST(records_after_a_damaged_one_are_made_anew)
{
	static const uint8_t zeros[LOG_INDEX_RECORD_SIZE];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct pair p;

		make(&p);
		CHECK_INT(file_write_at(p.index_fd, span_of(zeros, sizeof(zeros)),
					places[i] * LOG_INDEX_RECORD_SIZE),
			  0);
		recover(&p, places[i]);
		release(&p);
	}
}

TEST(records_beyond_the_marker_are_cut_off)
{
	struct pair p;

	make(&p);
	CHECK_INT(file_write_at(p.index_fd, span_of(p.records.ptr, 100),
				EVENTS * LOG_INDEX_RECORD_SIZE),
		  0);
	recover(&p, EVENTS);
	release(&p);
}

/* Whole records, each with its checksum, that are another file's. */
TEST(records_of_other_messages_are_not_believed)
{
	struct pair p;
	struct log_index_record record = {.offset = 0, .length = 11, .kind = 1};
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];

	make(&p);
	CHECK_INT(ftruncate(p.index_fd, 0), 0);
	for (uint64_t i = 0; i < 10; i++) {
		log_index_record_encode(&record, bytes);
		CHECK_INT(
			file_write_at(p.index_fd, span_of(bytes, sizeof(bytes)), i * sizeof(bytes)),
			0);
		record.offset += record.length;
	}
	recover(&p, 0);
	release(&p);
}

TEST(a_record_of_another_place_is_made_anew)
{
	struct pair p;
	struct log_index_record record;
	uint8_t bytes[LOG_INDEX_RECORD_SIZE];
	size_t at = 1500 * LOG_INDEX_RECORD_SIZE;

	make(&p);
	CHECK_INT(log_index_record_decode(span_of(p.records.ptr + at, sizeof(bytes)), &record), 0);
	record.offset++;
	log_index_record_encode(&record, bytes);
	CHECK_INT(file_write_at(p.index_fd, span_of(bytes, sizeof(bytes)), at), 0);
	recover(&p, 1500);
	release(&p);
}

/* What the first records know beside the messages is not lost. */
static void check_kept(const struct pair *p, size_t count)
{
	uint8_t got[LOG_INDEX_RECORD_SIZE];

	for (size_t at = 0; at < count * sizeof(got); at += sizeof(got)) {
		CHECK_INT(file_read_at(p->index_fd, got, sizeof(got), at), 0);
		CHECK_SPAN(span_of(got, sizeof(got)), span_of(p->records.ptr + at, sizeof(got)));
	}
}

static const struct {
	const char *what;
	int64_t bytes;
	int64_t events;
} wrong_markers[] = {
	{"ends inside a message", -1, 0},
	{"ends inside a header", -100000, 0},
	{"one event fewer than there are", 0, -1},
	{"one event more than there are", 0, 1},
};

TEST(messages_that_are_not_what_the_marker_says)
{
	for (size_t i = 0; i < ARRAY_SIZE(wrong_markers); i++) {
		struct pair p;
		uint64_t made;

		make(&p);
		p.marker.file_end_bytes += (uint64_t)wrong_markers[i].bytes;
		p.marker.next_seq += (uint64_t)wrong_markers[i].events;
		CHECK_INT(ftruncate(p.index_fd, 10 * LOG_INDEX_RECORD_SIZE), 0);
		if (log_index_recover(p.messages_fd, p.index_fd, &p.marker, MADE_USEC, &made) !=
		    -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s", wrong_markers[i].what);
		check_kept(&p, 10);
		release(&p);
	}
}

TEST(bytes_that_are_no_messages)
{
	struct pair p;
	uint64_t made;

	make(&p);
	CHECK_INT(ftruncate(p.index_fd, 0), 0);
	CHECK_INT(file_write_at(p.messages_fd, SPAN_LITERAL("\0\0\0\0"), 0), 0);
	CHECK_INT(log_index_recover(p.messages_fd, p.index_fd, &p.marker, MADE_USEC, &made),
		  -EBADMSG);
	release(&p);
}

static const struct {
	const char *hex;
	uint8_t kind;
} headers[] = {
	{"a2 6174 6723636f6d6d6974 626f70 01 a0", EVENT_COMMIT},
	{"a2 6174 652373796e63 626f70 01 a0", EVENT_SYNC},
	{"a2 6174 6523696e666f 626f70 01 a0", 0}, /* #info */
	{"a1 626f70 01 a0", 0},
	{"a2 6161 f6 6174 652373796e63 a0", EVENT_SYNC}, /* an unknown field before */
	{"a2 6174 01 626f70 01", 0},
	{"01", 0},
	{"", 0},
	{"a2 6174", 0},
};

TEST(kinds)
{
	for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
		struct buf b;

		buf_init(&b, 64);
		test_hex(headers[i].hex, &b);
		if (log_index_kind(buf_span(&b)) != headers[i].kind)
			test_fail(__FILE__, __LINE__, "%s", headers[i].hex);
		buf_release(&b);
	}
}
