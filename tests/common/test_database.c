#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/database.h"
#include "common/leveldb_memory.h"
#include "tests/lib/damage.h"

static struct database *open_at(const char *path)
{
	struct database *d = NULL;

	CHECK_INT(database_open(path, MIB(1), MIB(1), &d), 0);
	return d;
}

static void put(struct database *d, const char *key, const char *value)
{
	struct database_batch *b = database_batch_new();

	database_batch_put(b, span_str(key), span_str(value));
	CHECK_INT(database_write(d, b, false), 0);
	database_batch_free(b);
}

static void check_value(struct database *d, const char *key, const char *want)
{
	struct buf out;
	int error;

	buf_init(&out, 1000);
	buf_append_str(&out, "what was there before");
	error = database_get(d, span_str(key), &out);
	CHECK_INT(error, want ? 0 : -ENOENT);
	CHECK_SPAN(buf_span(&out), span_str(want ? want : ""));
	buf_release(&out);
}

/* A path in a fresh folder, kept. */
static const char *fresh_path(char ret[static 128])
{
	snprintf(ret, 128, "%s/db", test_folder());
	return ret;
}

TEST(put_get_delete)
{
	char path[128];
	struct database *d = open_at(fresh_path(path));
	struct database_batch *b = database_batch_new();

	put(d, "a", "1");
	put(d, "empty", "");
	check_value(d, "a", "1");
	check_value(d, "empty", "");
	check_value(d, "b", NULL);
	database_batch_put(b, span_str("b"), span_str("2"));
	database_batch_delete(b, span_str("a"));
	check_value(d, "a", "1");
	CHECK_INT(database_write(d, b, true), 0);
	check_value(d, "a", NULL);
	check_value(d, "b", "2");
	/* The batch is empty again. */
	put(d, "b", "3");
	CHECK_INT(database_write(d, b, true), 0);
	check_value(d, "b", "3");
	CHECK_STR(database_error(d), "");
	database_batch_free(b);
	database_batch_free(NULL);
	database_close(d);
	database_close(NULL);
}

TEST(contents_stay)
{
	char path[128];
	struct database *d = open_at(fresh_path(path));

	put(d, "a", "1");
	database_close(d);
	d = open_at(path);
	check_value(d, "a", "1");
	CHECK(database_memory_bytes(d) > 0);
	database_close(d);
}

TEST(what_leveldb_holds_is_counted)
{
	char path[128], value[1000];
	struct database *d = open_at(fresh_path(path));
	int64_t before;

	/* What it keeps for the process is there after the first. */
	database_close(d);
	before = leveldb_memory_bytes();
	if (before == -1)
		SKIP("AddressSanitizer has operators of its own");
	d = open_at(path);
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (char key[] = "a"; key[0] <= 'z'; key[0]++)
		put(d, key, value);
	CHECK(leveldb_memory_bytes() >= before + 26000);
	CHECK_INT(database_memory_bytes(d), leveldb_memory_bytes());
	database_close(d);
	CHECK_INT(leveldb_memory_bytes(), before);
}

TEST(cursor_walks_upward)
{
	char path[128];
	struct database *d = open_at(fresh_path(path));
	struct database_cursor *c;
	char keys[16] = "";

	put(d, "c", "3");
	put(d, "a", "1");
	put(d, "e", "5");
	c = database_seek(d, span_str("b"));
	put(d, "d", "not seen");
	for (; database_cursor_is_valid(c); database_cursor_next(c)) {
		size_t len = strlen(keys);

		snprintf(keys + len, sizeof(keys) - len, "%.*s%.*s ",
			 (int)database_cursor_key(c).len, (const char *)database_cursor_key(c).ptr,
			 (int)database_cursor_value(c).len,
			 (const char *)database_cursor_value(c).ptr);
	}
	CHECK_STR(keys, "c3 e5 ");
	CHECK_INT(database_cursor_error(c), 0);
	database_cursor_free(c);
	c = database_seek(d, SPAN_EMPTY);
	CHECK(database_cursor_is_valid(c));
	CHECK_SPAN(database_cursor_key(c), span_str("a"));
	database_cursor_free(c);
	c = database_seek(d, span_str("f"));
	CHECK(!database_cursor_is_valid(c));
	database_cursor_free(c);
	database_cursor_free(NULL);
	database_close(d);
}

TEST(open_twice_is_try_again)
{
	char path[128];
	struct database *d = open_at(fresh_path(path)), *other = NULL;

	CHECK_INT(database_open(path, MIB(1), MIB(1), &other), -EAGAIN);
	CHECK(other == NULL);
	CHECK(strstr(database_error(NULL), "LOCK") != NULL);
	database_close(d);
	other = open_at(path);
	database_close(other);
}

/* Opens the database in another process, which then lives until it is killed. */
static pid_t hold_in_child(const char *path)
{
	int ready[2];
	uint8_t c = 0;
	pid_t pid;

	CHECK_INT(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		struct database *d = open_at(path);
		struct database_batch *b = database_batch_new();

		database_batch_put(b, span_str("synced"), span_str("yes"));
		if (database_write(d, b, true) == 0)
			(void)!write(ready[1], "r", 1);
		for (;;)
			pause();
	}
	close(ready[1]);
	CHECK_INT(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return pid;
}

TEST(another_process_and_its_death)
{
	char path[128];
	pid_t pid = hold_in_child(fresh_path(path));
	struct database *d = NULL;

	CHECK_INT(database_open(path, MIB(1), MIB(1), &d), -EAGAIN);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	d = open_at(path);
	check_value(d, "synced", "yes");
	database_close(d);
}

TEST(errors_are_translated)
{
	char path[256];
	struct database *d = NULL;
	int fd;

	CHECK_INT(database_open("/nonexistent/a/b", MIB(1), MIB(1), &d), -EIO);
	CHECK_STR(database_error(NULL), "/nonexistent/a/b: No such file or directory");
	/* A file where the folder should be. */
	snprintf(path, sizeof(path), "%s/file", test_folder());
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	CHECK_INT(database_open(path, MIB(1), MIB(1), &d), -EIO);
	CHECK(*database_error(NULL) != '\0');
	CHECK(d == NULL);
	if (geteuid() == 0)
		return;
	snprintf(path, sizeof(path), "%s", test_folder());
	chmod(path, 0500);
	CHECK_INT(database_open(path, MIB(1), MIB(1), &d), -EACCES);
	chmod(path, 0700);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &limit);
}

static int put_bytes(struct database *d, const char *key, size_t bytes)
{
	struct database_batch *b = database_batch_new();
	uint8_t *value = xcalloc(1, bytes);
	int r;

	database_batch_put(b, span_str(key), span_of(value, bytes));
	r = database_write(d, b, true);
	database_batch_free(b);
	free(value);
	return r;
}

/* A write that the disk took in part, and what was written once there was room again, by a process
 * that is then killed. The children end with 0 if all was as it should be. */
static int fail_and_go_on(const char *path)
{
	struct database *d = open_at(path);
	struct buf out;

	buf_init(&out, 1000);
	if (put_bytes(d, "before", 100) != 0)
		return 1;
	limit_files(20000);
	if (put_bytes(d, "failed", 100000) != -EFBIG)
		return 2;
	/* There is still no room, not even to open it anew. */
	limit_files(10);
	if (put_bytes(d, "failed", 100000) != -EFBIG || *database_error(d) == '\0')
		return 3;
	if (database_get(d, span_str("before"), &out) != -EIO)
		return 4;
	limit_files(RLIM_INFINITY);
	return put_bytes(d, "after", 100) == 0 ? 0 : 5;
}

TEST(what_is_written_after_a_failed_write_is_there_after_a_kill)
{
	char path[128];
	struct database *d;
	struct buf out;
	int status = -1;
	pid_t pid;

	fresh_path(path);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		_exit(fail_and_go_on(path));
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(WEXITSTATUS(status), 0);
	d = open_at(path);
	buf_init(&out, 1000);
	CHECK_INT(database_get(d, span_str("before"), &out), 0);
	CHECK_INT(database_get(d, span_str("after"), &out), 0);
	CHECK_INT(out.len, 100);
	buf_release(&out);
	database_close(d);
}

#define ENTRIES 40000 /* more than the memtable holds, so that they land in tables */

/* A key, and a value that does not compress. */
static struct span make_entry(unsigned i, char key[static 32], uint64_t value[static 8])
{
	uint64_t n = i + 1;

	snprintf(key, 32, "key-%08u", i);
	for (unsigned j = 0; j < 8; j++) {
		n = n * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		value[j] = n ^ n >> 29;
	}
	return span_of(value, 64);
}

static void fill(struct database *d)
{
	struct database_batch *b = database_batch_new();
	uint64_t value[8];
	char key[32];

	for (unsigned i = 0; i < ENTRIES; i++) {
		struct span v = make_entry(i, key, value);

		database_batch_put(b, span_str(key), v);
		if (i % 100 == 99)
			CHECK_INT(database_write(d, b, false), 0);
	}
	database_batch_free(b);
}

/* What was damaged on the disk is an error, and never another value. */
TEST(corruption_is_seen)
{
	char path[128], key[32];
	struct database *d = open_at(fresh_path(path));
	struct database_cursor *c;
	uint64_t value[8];
	struct buf out;
	unsigned failed = 0, other = 0;

	fill(d);
	database_close(d);
	damage_tables(path);
	d = open_at(path);
	buf_init(&out, 1000);
	for (unsigned i = 0; i < ENTRIES; i++) {
		struct span want = make_entry(i, key, value);
		int error = database_get(d, span_str(key), &out);

		failed += error == -EUCLEAN;
		other += error != -EUCLEAN && !span_equal(buf_span(&out), want);
	}
	buf_release(&out);
	CHECK(failed > 0);
	CHECK_INT(other, 0);
	CHECK(strstr(database_error(d), "orruption") != NULL);
	c = database_seek(d, SPAN_EMPTY);
	while (database_cursor_is_valid(c))
		database_cursor_next(c);
	CHECK_INT(database_cursor_error(c), -EUCLEAN);
	database_cursor_free(c);
	database_close(d);
}

/* What is not whole is not opened, and nothing of it is lost by trying. A LOCK that is left over
 * does not matter. */
TEST(a_database_that_is_not_whole_is_refused)
{
	static const struct {
		const char *file;
		long bytes;
	} cases[] = {{"CURRENT", 5}, {"CURRENT", -1}, {"MANIFEST", 5}, {"MANIFEST", -1}};
	char path[128], file[512];
	struct database *d;
	FILE *lock;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		d = open_at(fresh_path(path));
		fill(d);
		database_close(d);
		damage_file(path, cases[i].file, cases[i].bytes);
		d = NULL;
		for (unsigned again = 0; again < 2; again++) {
			CHECK_INT(database_open(path, MIB(1), MIB(1), &d), -EUCLEAN);
			CHECK(strstr(database_error(NULL), "orruption") != NULL);
		}
		CHECK_INT(database_destroy(path), 0);
		CHECK_INT(mkdir(path, 0700), 0);
		snprintf(file, sizeof(file), "%s/LOCK", path);
		lock = fopen(file, "we");
		CHECK(lock && fputs("1", lock) > 0 && fclose(lock) == 0);
		d = open_at(path);
		check_value(d, "key-00000000", NULL);
		database_close(d);
	}
}

TEST(a_damaged_database_can_be_cleared)
{
	char path[128];
	struct database *d = open_at(fresh_path(path));

	fill(d);
	database_close(d);
	damage_tables(path);
	d = open_at(path);
	CHECK_INT(database_clear(d), 0);
	check_value(d, "key-00000000", NULL);
	put(d, "a", "1");
	database_close(d);
	d = open_at(path);
	check_value(d, "a", "1");
	database_close(d);
}
