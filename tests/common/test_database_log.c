#include "common/database_log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/database.h"
#include "tests/test.h"

#define WRITES 5

/* A log as LevelDB writes it, and where each write ends. */
struct written {
	char folder[128];
	char path[400];
	struct buf log;
	size_t ends[WRITES];
};

static void find_log(struct written *w)
{
	DIR *dir = opendir(w->folder);
	struct dirent *e;

	while ((e = readdir(dir)))
		if (strlen(e->d_name) > 4 && strcmp(e->d_name + strlen(e->d_name) - 4, ".log") == 0)
			snprintf(w->path, sizeof(w->path), "%s/%.80s", w->folder, e->d_name);
	closedir(dir);
}

/* Of values of these sizes, under the keys "0", "1" ... */
static void write_log(struct written *w, const size_t sizes[static WRITES])
{
	struct database_batch *b = database_batch_new();
	struct database *d;

	snprintf(w->folder, sizeof(w->folder), "%s/db", test_folder());
	CHECK_INT(database_open(w->folder, MIB(1), MIB(1), &d), 0);
	find_log(w);
	for (size_t i = 0; i < WRITES; i++) {
		uint8_t *value = xmalloc(sizes[i]);
		char key[] = {(char)('0' + i), '\0'};

		memset(value, 'x', sizes[i]);
		database_batch_put(b, span_str(key), span_of(value, sizes[i]));
		CHECK_INT(database_write(d, b, true), 0);
		free(value);
		test_read_file(w->path, &w->log);
		w->ends[i] = w->log.len;
		if (i + 1 < WRITES)
			buf_release(&w->log);
	}
	database_batch_free(b);
	database_close(d);
}

static const size_t small[WRITES] = {100, 10, 1, 300, 200};
/* The last one begins in the second block and ends in the fourth. */
static const size_t large[WRITES] = {100, KIB(30), KIB(20), 300, KIB(64)};

static void put_log(const struct written *w, struct span log)
{
	int fd = open(w->path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	CHECK_INT(write(fd, log.ptr, log.len), log.len);
	close(fd);
}

static void check_count(const struct written *w, size_t want)
{
	struct database_cursor *c;
	struct database *d = NULL;
	size_t count = 0;

	CHECK_INT(database_open(w->folder, MIB(1), MIB(1), &d), 0);
	if (!d)
		return;
	c = database_seek(d, SPAN_EMPTY);
	for (; database_cursor_is_valid(c); database_cursor_next(c))
		count++;
	CHECK_INT(count, want);
	database_cursor_free(c);
	database_close(d);
}

TEST(what_leveldb_has_written_is_whole)
{
	static const size_t *const sizes[] = {small, large};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct written w;
		size_t whole;

		write_log(&w, sizes[i]);
		CHECK_INT(database_log_check_bytes(buf_span(&w.log), &whole), 0);
		CHECK_INT(whole, w.log.len);
		buf_release(&w.log);
	}
}

/* Wherever it was interrupted, and whatever is there instead: less, zeros, or other bytes. */
TEST(an_interrupted_last_write_is_torn)
{
	struct written w;
	size_t whole;

	write_log(&w, large);
	for (size_t at = w.ends[WRITES - 2]; at < w.log.len; at += 13) {
		uint8_t kept = w.log.ptr[at];

		CHECK_INT(database_log_check_bytes(span_of(w.log.ptr, at), &whole), 0);
		w.log.ptr[at] ^= 1;
		CHECK_INT(database_log_check_bytes(buf_span(&w.log), &whole), 0);
		CHECK(whole < w.log.len && whole >= w.ends[WRITES - 2]);
		w.log.ptr[at] = kept;
	}
	memset(w.log.ptr + w.ends[WRITES - 2], 0, KIB(4));
	CHECK_INT(database_log_check_bytes(buf_span(&w.log), &whole), 0);
	CHECK_INT(whole, w.ends[WRITES - 2]);
	put_log(&w, buf_span(&w.log));
	check_count(&w, WRITES - 1);
	check_count(&w, WRITES - 1);
	buf_release(&w.log);
}

/* LevelDB itself would pass over zeros at the beginning of a record. */
TEST(damage_before_another_write_is_refused)
{
	struct written w;
	struct database *d;
	size_t whole;

	write_log(&w, small);
	for (size_t at = 0; at < w.ends[WRITES - 2]; at++) {
		uint8_t kept = w.log.ptr[at];

		w.log.ptr[at] ^= (uint8_t)(1 + at % 255);
		CHECK_INT(database_log_check_bytes(buf_span(&w.log), &whole), -EUCLEAN);
		w.log.ptr[at] = kept;
	}
	for (size_t i = 0; i < WRITES - 1; i++) {
		size_t start = i == 0 ? 0 : w.ends[i - 1];
		struct buf copy;

		buf_init(&copy, MIB(1));
		buf_append(&copy, buf_span(&w.log));
		memset(copy.ptr + start, 0, w.ends[i] - start);
		put_log(&w, buf_span(&copy));
		CHECK_INT(database_open(w.folder, MIB(1), MIB(1), &d), -EUCLEAN);
		CHECK(strstr(database_error(NULL), ".log is damaged at byte") != NULL);
		buf_release(&copy);
	}
	put_log(&w, buf_span(&w.log));
	check_count(&w, WRITES);
	buf_release(&w.log);
}

static void put_newer_log(const struct written *w, struct span log)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%.200s/999999.log", w->folder);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK_INT(write(fd, log.ptr, log.len), log.len);
	close(fd);
}

/* What was written before a newer log was begun is not the last write. One that LevelDB has made,
 * and not come to write to, is none. */
TEST(only_the_newest_log_with_anything_in_it_may_be_torn)
{
	struct written w;
	char reason[512];
	size_t whole;

	write_log(&w, small);
	put_log(&w, span_of(w.log.ptr, w.log.len - 1));
	put_newer_log(&w, span_of(w.log.ptr, w.ends[0]));
	CHECK_INT(database_log_mend(w.folder, reason, sizeof(reason)), -EUCLEAN);
	CHECK(strstr(reason, ".log has no end") != NULL);
	put_newer_log(&w, SPAN_EMPTY);
	check_count(&w, WRITES - 1);
	CHECK_INT(database_log_check_bytes(span_of(w.log.ptr, w.log.len - 1), &whole), 0);
	CHECK_INT(whole, w.ends[WRITES - 2]);
	buf_release(&w.log);
}

/* An account's owner chooses bytes of its record: a fragment among them is no record of the log. */
TEST(what_looks_like_a_record_within_a_torn_one_is_none)
{
	static const uint8_t fragment[] = {0x05, 0x2b, 0x28, 0x43, 0, 0, 1};
	struct database_batch *b = database_batch_new();
	struct database *d = NULL;
	struct written w;
	uint8_t value[200];

	write_log(&w, small);
	memset(value, 'x', sizeof(value));
	memcpy(value + 100, fragment, sizeof(fragment));
	CHECK_INT(database_open(w.folder, MIB(1), MIB(1), &d), 0);
	find_log(&w);
	database_batch_put(b, span_str("planted"), span_of(value, sizeof(value)));
	CHECK_INT(database_write(d, b, true), 0);
	database_batch_free(b);
	database_close(d);
	buf_release(&w.log);
	test_read_file(w.path, &w.log);
	put_log(&w, span_of(w.log.ptr, w.log.len - 1));
	check_count(&w, WRITES);
	buf_release(&w.log);
}

/* What seems torn may be a write under way. */
TEST(a_database_in_use_is_not_mended)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[400], reason[512];
	struct written w;
	struct buf now;
	pid_t pid;
	int fd, status;

	write_log(&w, small);
	put_log(&w, span_of(w.log.ptr, w.log.len - 1));
	snprintf(path, sizeof(path), "%.200s/LOCK", w.folder);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK_INT(fcntl(fd, F_SETLK, &whole), 0);
	pid = fork();
	if (pid == 0)
		_exit(database_log_mend(w.folder, reason, sizeof(reason)) == -EAGAIN ? 0 : 1);
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	test_read_file(w.path, &now);
	CHECK_INT(now.len, w.log.len - 1);
	close(fd);
	check_count(&w, WRITES - 1);
	buf_release(&now);
	buf_release(&w.log);
}

TEST(no_folder)
{
	char reason[512];

	CHECK_INT(database_log_mend("/nonexistent", reason, sizeof(reason)), 0);
}
