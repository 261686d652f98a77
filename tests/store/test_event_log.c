#include "store/event_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/loop.h"
#include "tests/lib/log_reader.h"
#include "tests/lib/verified.h"
#include "tests/test.h"

#define HOST 77
#define NOW  ((uint64_t)1800000000 * USEC_PER_SEC)

/* A log with the marker that its owner would keep. */
struct fixture {
	char folder[128];
	struct event_log_options options;
	struct marker marker;
	struct event_log *log;
	struct buf frame;
	uint64_t host_seq;
};

static void start(struct fixture *f, uint64_t first_seq)
{
	*f = (struct fixture){.options = {.file_bytes = MIB(1), .retention_usec = USEC_PER_SEC}};
	snprintf(f->folder, sizeof(f->folder), "%s/log", test_folder());
	buf_init(&f->frame, LIMIT_FRAME);
	CHECK_INT(event_log_create(f->folder, first_seq, &f->marker), 0);
	CHECK_INT(event_log_open(f->folder, &f->marker, &f->options, &f->log), 0);
}

static void stop(struct fixture *f)
{
	event_log_close(f->log);
	f->log = NULL;
}

static void end(struct fixture *f)
{
	stop(f);
	buf_release(&f->frame);
}

static int reopen(struct fixture *f)
{
	stop(f);
	return event_log_open(f->folder, &f->marker, &f->options, &f->log);
}

static void put(struct fixture *f, size_t pad, uint64_t usec)
{
	struct event_spec spec = {
		.kind = EVENT_IDENTITY,
		.did = "did:web:example.com",
		.host_id = HOST,
		.host_seq = ++f->host_seq,
		.pad = pad,
	};
	struct verified v;

	verified_make(&spec, &f->frame, &v);
	CHECK(event_log_fits(f->log, &v));
	event_log_put(f->log, &v, usec);
}

static void commit(struct fixture *f)
{
	CHECK_INT(event_log_write(f->log), 0);
	CHECK_INT(event_log_sync(f->log), 0);
	f->marker = *event_log_next_marker(f->log);
	CHECK_INT(event_log_finish(f->log), 0);
}

static void put_group(struct fixture *f, size_t count, size_t pad, uint64_t usec)
{
	for (size_t i = 0; i < count; i++)
		put(f, pad, usec);
	commit(f);
}

/* Every number from first to the end of the log has its event; the host's numbers begin at 1 with
 * the number first_seq. */
static void check_events(struct fixture *f, uint64_t first, uint64_t first_seq, uint64_t next)
{
	struct buf frame;
	struct log_index_record record;
	struct span did;
	uint64_t seq;

	buf_init(&frame, LOG_MESSAGE_MAX);
	CHECK_INT(f->marker.next_seq, next);
	for (uint64_t n = first; n < next; n++) {
		CHECK(log_reader_get(f->folder, n, &frame, &record));
		CHECK(log_reader_fields(buf_span(&frame), &seq, &did));
		CHECK_INT(seq, n);
		CHECK_INT(record.kind, EVENT_IDENTITY);
		CHECK(record.host_id == 0 || record.host_seq == n - first_seq + 1);
	}
	buf_release(&frame);
}

static void path_of(const struct fixture *f, uint64_t first_seq, enum log_file_type type, char *ret)
{
	char name[LOG_FILE_NAME_SIZE];

	snprintf(ret, PATH_MAX, "%s/%s", f->folder, log_file_name(first_seq, type, name));
}

static bool exists(const struct fixture *f, uint64_t first_seq, enum log_file_type type)
{
	char path[PATH_MAX];

	path_of(f, first_seq, type, path);
	return access(path, F_OK) == 0;
}

static void cut(const struct fixture *f, uint64_t first_seq, enum log_file_type type,
		uint64_t bytes)
{
	char path[PATH_MAX];

	path_of(f, first_seq, type, path);
	CHECK_INT(truncate(path, (off_t)bytes), 0);
}

static void write_to(const struct fixture *f, uint64_t first_seq, enum log_file_type type,
		     uint64_t offset, size_t len)
{
	static const uint8_t zeros[KIB(64)];
	char path[PATH_MAX];
	int fd;

	path_of(f, first_seq, type, path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	for (; len > 0; len -= len < sizeof(zeros) ? len : sizeof(zeros)) {
		size_t part = len < sizeof(zeros) ? len : sizeof(zeros);

		CHECK_INT(pwrite(fd, zeros, part, (off_t)offset), (intmax_t)part);
		offset += part;
	}
	close(fd);
}

static uint64_t size_of(const struct fixture *f, uint64_t first_seq, enum log_file_type type)
{
	char path[PATH_MAX];
	struct stat st = {0};

	path_of(f, first_seq, type, path);
	CHECK_INT(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

TEST(groups_follow_each_other)
{
	struct fixture f;
	struct head head;

	start(&f, 1);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 1);
	CHECK_INT(head.next_seq, 1);
	put_group(&f, 3, 10, NOW);
	put_group(&f, 1, 70000, NOW);
	put_group(&f, 2, 200, NOW);
	check_events(&f, 1, 1, 7);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 1);
	CHECK_INT(head.next_seq, 7);
	CHECK_INT(head.file_first_seq, 1);
	CHECK_INT(head.file_end_bytes, size_of(&f, 1, LOG_FILE_MESSAGES));
	CHECK_INT(event_log_bytes(f.log), head.file_end_bytes);
	CHECK_INT(reopen(&f), 0);
	put_group(&f, 1, 10, NOW);
	check_events(&f, 1, 1, 8);
	end(&f);
}

TEST(index_records_say_where_from_and_when)
{
	struct fixture f;
	struct buf frame;
	struct log_index_record r;

	start(&f, 1);
	buf_init(&frame, LOG_MESSAGE_MAX);
	put(&f, 10, NOW);
	put(&f, 10, NOW + 1);
	commit(&f);
	CHECK(log_reader_get(f.folder, 2, &frame, &r));
	CHECK_INT(r.usec, NOW + 1);
	CHECK_INT(r.host_id, HOST);
	CHECK_INT(r.host_seq, 2);
	CHECK_INT(r.offset, r.length);
	buf_release(&frame);
	end(&f);
}

/* Where the number's encoding changes its length, from and to. */
static const uint64_t numbers[] = {
	1, 23, 24, 25, 255, 256, 65535, 65536, 4294967295, 4294967296, 9007199254740990};

TEST(frames_are_the_same_but_for_their_number)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		for (size_t k = 0; k < ARRAY_SIZE(numbers); k++) {
			struct event_spec spec = {.kind = EVENT_ACCOUNT,
						  .did = "did:web:a.example",
						  .host_seq = numbers[k],
						  .pad = 9};
			struct log_index_record record;
			struct verified v, want;
			struct buf frame, got;
			struct fixture f;

			start(&f, numbers[i]);
			buf_init(&frame, 4096);
			buf_init(&got, LOG_MESSAGE_MAX);
			verified_make(&spec, &frame, &v);
			event_log_put(f.log, &v, NOW);
			commit(&f);
			CHECK(log_reader_get(f.folder, numbers[i], &got, &record));
			spec.host_seq = numbers[i];
			verified_make(&spec, &frame, &want);
			CHECK_SPAN(buf_span(&got), want.frame);
			buf_release(&got);
			buf_release(&frame);
			end(&f);
		}
}

TEST(frames_that_would_outgrow_the_limit_do_not_fit)
{
	struct event_spec spec = {
		.kind = EVENT_IDENTITY, .did = "did:web:a.example", .host_seq = 1};
	struct verified v;
	struct fixture f;

	start(&f, 100000); /* 5 bytes instead of 1 */
	verified_make(&spec, &f.frame, &v);
	spec.pad = LIMIT_FRAME - v.frame.len - 8;
	verified_make(&spec, &f.frame, &v);
	for (; v.frame.len < LIMIT_FRAME - 4; verified_make(&spec, &f.frame, &v))
		spec.pad++;
	CHECK_INT(v.frame.len, LIMIT_FRAME - 4);
	CHECK(event_log_fits(f.log, &v));
	spec.pad++;
	verified_make(&spec, &f.frame, &v);
	CHECK(!event_log_fits(f.log, &v));
	end(&f);
}

TEST(files_change_before_a_group_that_does_not_fit)
{
	struct fixture f;
	struct head head;

	start(&f, 1);
	for (int i = 0; i < 5; i++)
		put_group(&f, 4, 100000, NOW); /* two groups of 400,000 bytes fit 1 MiB */
	CHECK_INT(event_log_files(f.log), 3);
	CHECK(exists(&f, 1, LOG_FILE_MESSAGES) && exists(&f, 9, LOG_FILE_MESSAGES) &&
	      exists(&f, 17, LOG_FILE_MESSAGES));
	check_events(&f, 1, 1, 21);
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(event_log_files(f.log), 3);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 1);
	CHECK_INT(head.file_first_seq, 17);
	CHECK_INT(event_log_bytes(f.log), size_of(&f, 1, LOG_FILE_MESSAGES) +
						  size_of(&f, 9, LOG_FILE_MESSAGES) +
						  size_of(&f, 17, LOG_FILE_MESSAGES));
	end(&f);
}

TEST(a_group_larger_than_a_file_has_one_of_its_own)
{
	struct fixture f;

	start(&f, 1);
	put_group(&f, 1, MIB(2), NOW);
	put_group(&f, 1, MIB(2), NOW);
	put_group(&f, 1, 10, NOW);
	CHECK_INT(event_log_files(f.log), 3);
	check_events(&f, 1, 1, 4);
	end(&f);
}

static void make_three_files(struct fixture *f)
{
	start(f, 1);
	put_group(f, 1, 700000, NOW);
	put_group(f, 1, 700000, NOW + 10 * USEC_PER_SEC);
	put_group(f, 1, 700000, NOW + 20 * USEC_PER_SEC);
	CHECK_INT(event_log_files(f->log), 3);
}

TEST(files_leave_by_age)
{
	struct fixture f;
	struct head head;

	make_three_files(&f);
	f.options.retention_usec = 5 * USEC_PER_SEC;
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(event_log_retain(f.log, NOW + 5 * USEC_PER_SEC), 0);
	CHECK_INT(event_log_retain(f.log, NOW + 5 * USEC_PER_SEC + 1), 1);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 2);
	CHECK(!exists(&f, 1, LOG_FILE_MESSAGES) && !exists(&f, 1, LOG_FILE_INDEX));
	/* The file that is written to stays, whatever its age. */
	CHECK_INT(event_log_retain(f.log, NOW + 1000 * USEC_PER_SEC), 1);
	CHECK_INT(event_log_files(f.log), 1);
	check_events(&f, 3, 1, 4);
	CHECK_INT(event_log_bytes(f.log), size_of(&f, 3, LOG_FILE_MESSAGES));
	end(&f);
}

TEST(files_leave_by_size)
{
	struct fixture f;
	uint64_t one;

	make_three_files(&f);
	one = size_of(&f, 2, LOG_FILE_MESSAGES);
	f.options.retention_usec = 1000 * USEC_PER_SEC;
	f.options.retention_bytes = 3 * one;
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(event_log_retain(f.log, NOW), 0);
	CHECK_INT(event_log_files(f.log), 3);
	/* A start is where a log that has filled its disk gets room, before it asks for any. */
	f.options.retention_bytes = 2 * one + 10;
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(event_log_files(f.log), 2);
	CHECK(!exists(&f, 1, LOG_FILE_MESSAGES));
	f.options.retention_bytes = 1;
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(event_log_files(f.log), 1);
	CHECK_INT(event_log_retain(f.log, NOW), 0);
	end(&f);
}

/* Recovery. */

TEST(what_lies_beyond_the_marker_is_cut_off)
{
	struct fixture f;
	struct marker marker;

	start(&f, 1);
	put_group(&f, 3, 10, NOW);
	marker = f.marker;
	for (unsigned more = 1; more < 64; more++) {
		stop(&f);
		write_to(&f, 1, LOG_FILE_MESSAGES, marker.file_end_bytes, more);
		CHECK_INT(event_log_open(f.folder, &marker, &f.options, &f.log), 0);
		CHECK_INT(size_of(&f, 1, LOG_FILE_MESSAGES), marker.file_end_bytes);
	}
	put_group(&f, 1, 10, NOW);
	check_events(&f, 1, 1, 5);
	end(&f);
}

/* In the marker's file, or in one that was begun for the group. An index record says that the event
 * was real. */
TEST(a_marker_that_has_gone_back_is_refused)
{
	for (unsigned is_rotated = 0; is_rotated < 2; is_rotated++) {
		struct fixture f;
		struct marker before, after;

		start(&f, 1);
		put_group(&f, 2, 10, NOW);
		before = f.marker;
		f.options.file_bytes = is_rotated ? 1 : f.options.file_bytes;
		CHECK_INT(reopen(&f), 0);
		put_group(&f, 1, 10, NOW);
		after = f.marker;
		CHECK_INT(after.file_first_seq, is_rotated ? 3 : 1);
		f.marker = before;
		CHECK_INT(reopen(&f), -EUCLEAN);
		f.log = NULL;
		f.marker = after;
		CHECK_INT(reopen(&f), 0);
		check_events(&f, 1, 1, 4);
		end(&f);
	}
}

TEST(a_whole_group_beyond_the_marker_is_cut_off_and_its_numbers_used_again)
{
	struct fixture f;
	struct marker marker;

	start(&f, 1);
	put_group(&f, 2, 10, NOW);
	marker = f.marker;
	put_group(&f, 2, 33, NOW);
	f.marker = marker;
	f.host_seq = 2;
	cut(&f, 1, LOG_FILE_INDEX, 2 * LOG_INDEX_RECORD_SIZE);
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(size_of(&f, 1, LOG_FILE_INDEX), 2 * LOG_INDEX_RECORD_SIZE);
	put_group(&f, 3, 44, NOW);
	check_events(&f, 1, 1, 6);
	end(&f);
}

TEST(a_new_file_beyond_the_marker_is_removed)
{
	struct fixture f;
	struct marker marker;

	start(&f, 1);
	put_group(&f, 1, 700000, NOW);
	marker = f.marker;
	put_group(&f, 1, 700000, NOW);
	CHECK(exists(&f, 2, LOG_FILE_MESSAGES));
	f.marker = marker;
	f.host_seq = 1;
	cut(&f, 2, LOG_FILE_INDEX, 0);
	CHECK_INT(reopen(&f), 0);
	CHECK(!exists(&f, 2, LOG_FILE_MESSAGES) && !exists(&f, 2, LOG_FILE_INDEX));
	put_group(&f, 1, 700000, NOW);
	check_events(&f, 1, 1, 3);
	end(&f);
}

TEST(more_than_a_group_beyond_the_marker_is_not_cut_off)
{
	struct fixture f;
	struct marker marker;

	start(&f, 1);
	put_group(&f, 1, 10, NOW);
	marker = f.marker;
	f.options.file_bytes = MIB(64);
	CHECK_INT(reopen(&f), 0);
	put_group(&f, 1, 4000000, NOW);
	put_group(&f, 1, 4000000, NOW);
	f.marker = marker;
	CHECK_INT(reopen(&f), -EUCLEAN);
	CHECK(size_of(&f, 1, LOG_FILE_MESSAGES) > 8000000);
	end(&f);
}

TEST(a_log_that_ends_before_the_marker_is_refused)
{
	struct fixture f;

	start(&f, 1);
	put_group(&f, 3, 10, NOW);
	for (uint64_t bytes = f.marker.file_end_bytes; bytes-- > 0;) {
		stop(&f);
		cut(&f, 1, LOG_FILE_MESSAGES, bytes);
		CHECK_INT(event_log_open(f.folder, &f.marker, &f.options, &f.log), -EUCLEAN);
		CHECK_INT(size_of(&f, 1, LOG_FILE_MESSAGES), bytes);
	}
	end(&f);
}

TEST(a_log_without_its_newest_file_is_refused)
{
	struct fixture f;
	char path[PATH_MAX];

	make_three_files(&f);
	path_of(&f, 3, LOG_FILE_MESSAGES, path);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(reopen(&f), -EUCLEAN);
	end(&f);
}

TEST(the_index_is_completed_wherever_it_was_cut)
{
	struct fixture f;
	uint64_t whole;

	start(&f, 1);
	put_group(&f, 3, 10, NOW);
	put_group(&f, 2, 20, NOW);
	whole = size_of(&f, 1, LOG_FILE_INDEX);
	for (uint64_t bytes = 0; bytes <= whole; bytes++) {
		stop(&f);
		cut(&f, 1, LOG_FILE_INDEX, bytes);
		CHECK_INT(event_log_open(f.folder, &f.marker, &f.options, &f.log), 0);
		CHECK_INT(size_of(&f, 1, LOG_FILE_INDEX), whole);
		check_events(&f, 1, 1, 6);
	}
	put_group(&f, 1, 10, NOW);
	check_events(&f, 1, 1, 7);
	end(&f);
}

TEST(an_index_that_is_missing_is_made_anew)
{
	struct fixture f;
	char path[PATH_MAX];

	start(&f, 1);
	put_group(&f, 5, 10, NOW);
	stop(&f);
	path_of(&f, 1, LOG_FILE_INDEX, path);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(reopen(&f), 0);
	check_events(&f, 1, 1, 6);
	end(&f);
}

TEST(files_before_a_gap_are_left_alone)
{
	struct fixture f;
	struct head head;
	char path[PATH_MAX];

	make_three_files(&f);
	path_of(&f, 2, LOG_FILE_MESSAGES, path);
	CHECK_INT(unlink(path), 0);
	path_of(&f, 2, LOG_FILE_INDEX, path);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(reopen(&f), 0);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 3);
	CHECK_INT(event_log_files(f.log), 1);
	CHECK(exists(&f, 1, LOG_FILE_MESSAGES));
	CHECK_INT(event_log_bytes(f.log), size_of(&f, 3, LOG_FILE_MESSAGES));
	end(&f);
}

/* Short after a power cut; missing; of records that are shorter than ours, or that fill as many
 * bytes as some of ours. */
TEST(an_older_index_is_made_anew)
{
	static const size_t bytes[] = {LOG_INDEX_RECORD_SIZE - 1, 0, 48, 13 * 48, 12 * 48};
	struct fixture f;
	struct head head;
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		make_three_files(&f);
		path_of(&f, 2, LOG_FILE_INDEX, path);
		CHECK_INT(unlink(path), 0);
		if (bytes[i] > 0)
			write_to(&f, 2, LOG_FILE_INDEX, 0, bytes[i]);
		CHECK_INT(reopen(&f), 0);
		event_log_head(f.log, &head);
		CHECK_INT(head.first_seq, 1);
		CHECK_INT(event_log_files(f.log), 3);
		CHECK_INT(size_of(&f, 2, LOG_FILE_INDEX), LOG_INDEX_RECORD_SIZE);
		check_events(&f, 1, 1, 4);
		end(&f);
	}
}

TEST(an_older_file_that_lacks_messages_is_a_gap)
{
	struct fixture f;
	struct head head;

	make_three_files(&f);
	cut(&f, 2, LOG_FILE_MESSAGES, size_of(&f, 2, LOG_FILE_MESSAGES) - 1);
	cut(&f, 2, LOG_FILE_INDEX, 0);
	CHECK_INT(reopen(&f), 0);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 3);
	CHECK(exists(&f, 2, LOG_FILE_MESSAGES));
	end(&f);
}

TEST(an_index_without_messages_is_what_an_unlink_left)
{
	struct fixture f;
	struct head head;
	char path[PATH_MAX];

	make_three_files(&f);
	path_of(&f, 1, LOG_FILE_MESSAGES, path);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(reopen(&f), 0);
	event_log_head(f.log, &head);
	CHECK_INT(head.first_seq, 2);
	CHECK(!exists(&f, 1, LOG_FILE_INDEX));
	end(&f);
}

TEST(other_files_in_the_folder_are_left_alone)
{
	struct fixture f;
	char path[PATH_MAX];
	int fd;

	start(&f, 1);
	snprintf(path, sizeof(path), "%s/00000000000000000009.ws.gz", f.folder);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_INT(reopen(&f), 0);
	CHECK_INT(access(path, F_OK), 0);
	end(&f);
}

TEST(no_new_log_where_there_are_events)
{
	struct fixture f;
	struct marker marker;

	start(&f, 1);
	put_group(&f, 1, 10, NOW);
	stop(&f);
	CHECK_INT(event_log_create(f.folder, 100, &marker), -EEXIST);
	CHECK_INT(reopen(&f), 0);
	check_events(&f, 1, 1, 2);
	end(&f);
}

TEST(a_first_start_that_was_cut_short_begins_again)
{
	struct fixture f;

	start(&f, 1);
	stop(&f);
	CHECK_INT(event_log_create(f.folder, 500, &f.marker), 0);
	CHECK(!exists(&f, 1, LOG_FILE_MESSAGES));
	CHECK_INT(reopen(&f), 0);
	put_group(&f, 2, 10, NOW);
	check_events(&f, 500, 500, 502);
	end(&f);
}

TEST(a_group_is_bounded)
{
	struct fixture f;

	start(&f, 1);
	for (int i = 0; i < EVENT_LOG_GROUP_EVENTS; i++)
		put(&f, 1, NOW);
	CHECK_INT(event_log_group_events(f.log), EVENT_LOG_GROUP_EVENTS);
	CHECK(event_log_group_bytes(f.log) < EVENT_LOG_GROUP_BYTES);
	commit(&f);
	CHECK_INT(event_log_group_events(f.log), 0);
	check_events(&f, 1, 1, EVENT_LOG_GROUP_EVENTS + 1);
	CHECK(event_log_memory_bytes(f.log) < MIB(2));
	end(&f);
}

TEST(sequence_numbers_end)
{
	struct fixture f;

	start(&f, (uint64_t)LIMIT_SEQ - 1);
	CHECK(!event_log_is_spent(f.log));
	put(&f, 1, NOW);
	CHECK(event_log_is_spent(f.log));
	commit(&f);
	CHECK_INT(reopen(&f), 0);
	CHECK(event_log_is_spent(f.log));
	end(&f);
}

/* By the indexes alone. */
static void check_peek(struct fixture *f, uint64_t first_seq, uint64_t next_seq)
{
	struct head head = {0};

	CHECK_INT(event_log_peek(f->folder, &head), 0);
	CHECK_INT(head.first_seq, first_seq);
	CHECK_INT(head.next_seq, next_seq);
	CHECK_INT(head.file_end_bytes == f->marker.file_end_bytes &&
			  head.file_first_seq == f->marker.file_first_seq,
		  next_seq == f->marker.next_seq);
}

TEST(what_is_real_can_be_told_without_the_marker)
{
	struct fixture f;
	struct head head;

	start(&f, 1);
	CHECK_INT(event_log_peek(f.folder, &head), -ENOENT);
	put_group(&f, 3, 10, NOW);
	check_peek(&f, 1, 4);
	/* In hand, written, synced, marked: not before it is finished, by whatever file. */
	for (unsigned pad = 10; pad <= 1100000; pad += 1099990) {
		uint64_t next = f.marker.next_seq;

		put(&f, pad, NOW);
		check_peek(&f, 1, next);
		CHECK_INT(event_log_write(f.log), 0);
		check_peek(&f, 1, next);
		CHECK_INT(event_log_sync(f.log), 0);
		check_peek(&f, 1, next);
		f.marker = *event_log_next_marker(f.log);
		CHECK_INT(event_log_finish(f.log), 0);
		check_peek(&f, 1, next + 1);
	}
	CHECK_INT(event_log_files(f.log), 2);
	CHECK_INT(reopen(&f), 0);
	check_peek(&f, 1, f.marker.next_seq);
	end(&f);
}

/* What a power cut leaves of an index is real as far as it goes; what stands behind a gap is not
 * taken, nor what the messages do not reach. */
TEST(an_index_that_lost_records_says_less)
{
	struct fixture f;
	struct head head;

	start(&f, 1);
	put_group(&f, 5, 10, NOW);
	stop(&f);
	for (uint64_t bytes = size_of(&f, 1, LOG_FILE_INDEX); bytes >= LOG_INDEX_RECORD_SIZE;
	     bytes--) {
		cut(&f, 1, LOG_FILE_INDEX, bytes);
		check_peek(&f, 1, 1 + bytes / LOG_INDEX_RECORD_SIZE);
	}
	cut(&f, 1, LOG_FILE_INDEX, LOG_INDEX_RECORD_SIZE - 1);
	CHECK_INT(event_log_peek(f.folder, &head), -ENOENT);
	CHECK_INT(reopen(&f), 0);
	check_peek(&f, 1, 6);
	stop(&f);
	write_to(&f, 1, LOG_FILE_INDEX, 2 * LOG_INDEX_RECORD_SIZE, LOG_INDEX_RECORD_SIZE);
	check_peek(&f, 1, 3);
	cut(&f, 1, LOG_FILE_MESSAGES, size_of(&f, 1, LOG_FILE_MESSAGES) / 5 * 2 - 1);
	check_peek(&f, 1, 2);
	end(&f);
}

/* And where the run begins: nothing is made anew for it. */
TEST(a_look_without_the_marker_begins_after_a_gap)
{
	struct fixture f;
	char path[PATH_MAX];

	make_three_files(&f);
	check_peek(&f, 1, 4);
	path_of(&f, 1, LOG_FILE_INDEX, path);
	CHECK_INT(unlink(path), 0);
	check_peek(&f, 2, 4);
	CHECK(!exists(&f, 1, LOG_FILE_INDEX));
	cut(&f, 2, LOG_FILE_MESSAGES, size_of(&f, 2, LOG_FILE_MESSAGES) - 1);
	check_peek(&f, 3, 4);
	end(&f);
}

/* Whether its index, which says more, is there or not. */
TEST(an_older_file_that_has_lost_its_end_is_a_gap)
{
	for (unsigned has_index = 0; has_index < 2; has_index++) {
		struct fixture f;
		struct head head;
		char path[PATH_MAX];

		start(&f, 1);
		put_group(&f, 1, 700000, NOW);
		put_group(&f, 1, 700000, NOW);
		cut(&f, 1, LOG_FILE_MESSAGES, size_of(&f, 1, LOG_FILE_MESSAGES) - 1);
		path_of(&f, 1, LOG_FILE_INDEX, path);
		if (!has_index)
			CHECK_INT(unlink(path), 0);
		CHECK_INT(reopen(&f), 0);
		event_log_head(f.log, &head);
		CHECK_INT(head.first_seq, 2);
		CHECK_INT(exists(&f, 1, LOG_FILE_INDEX), has_index);
		end(&f);
	}
}
