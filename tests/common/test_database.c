#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/database.h"

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

/* Writes over the middle of every table. */
static void corrupt_tables(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *e;
	char name[512];
	uint8_t junk[256];

	memset(junk, 0xa5, sizeof(junk));
	while ((e = readdir(dir))) {
		size_t len = strlen(e->d_name);
		int fd;

		if (len < 4 || strcmp(e->d_name + len - 4, ".ldb") != 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		fd = open(name, O_WRONLY | O_CLOEXEC);
		CHECK_INT(pwrite(fd, junk, sizeof(junk), 1000), sizeof(junk));
		close(fd);
	}
	closedir(dir);
}

TEST(corruption_is_seen)
{
	char path[128], key[32];
	struct database *d = open_at(fresh_path(path));
	struct database_cursor *c;
	struct database_batch *b = database_batch_new();
	struct buf out;
	int wrong = 0;

	/* More than the memtable holds, so that it lands in tables. */
	for (unsigned i = 0; i < 40000; i++) {
		uint64_t value[8];

		for (size_t j = 0; j < ARRAY_SIZE(value); j++)
			value[j] = test_random();
		snprintf(key, sizeof(key), "key-%08u", i);
		database_batch_put(b, span_str(key), span_of(value, sizeof(value)));
		if (i % 100 == 99)
			CHECK_INT(database_write(d, b, false), 0);
	}
	database_batch_free(b);
	database_close(d);
	corrupt_tables(path);
	d = open_at(path);
	buf_init(&out, 1000);
	for (unsigned i = 0; i < 40000; i++) {
		snprintf(key, sizeof(key), "key-%08u", i);
		wrong += database_get(d, span_str(key), &out) == -EIO;
	}
	buf_release(&out);
	CHECK(wrong > 0);
	CHECK(strstr(database_error(d), "orruption") != NULL);
	for (c = database_seek(d, SPAN_EMPTY); database_cursor_is_valid(c);)
		database_cursor_next(c);
	CHECK_INT(database_cursor_error(c), -EIO);
	database_cursor_free(c);
	database_close(d);
}
