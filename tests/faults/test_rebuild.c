/* A relay that has lost the state of store, and gets it back from the log. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/database.h"
#include "tests/faults/scene.h"
#include "tests/lib/damage.h"
#include "tests/test.h"

#define EVENTS 6000

static const char *state_path(const struct scene *s)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/store/state", group_data_folder(s->group));
	return path;
}

/* All keys and values of the state. */
static size_t read_state(const struct scene *s, struct buf *ret)
{
	struct database *d = NULL;
	struct database_cursor *c;
	size_t count = 0;

	buf_init(ret, MIB(64));
	CHECK_INT(database_open(state_path(s), MIB(1), MIB(1), &d), 0);
	if (!d)
		return 0;
	c = database_seek(d, SPAN_EMPTY);
	for (; database_cursor_is_valid(c); database_cursor_next(c), count++) {
		buf_append(ret, database_cursor_key(c));
		buf_append(ret, database_cursor_value(c));
	}
	CHECK_INT(database_cursor_error(c), 0);
	database_cursor_free(c);
	database_close(d);
	return count;
}

/* A state without a marker, as a start leaves it that has no state. */
static void leave_half_a_state(const char *path)
{
	struct database_batch *b = database_batch_new();
	struct database *d = NULL;

	CHECK_INT(database_open(path, MIB(1), MIB(1), &d), 0);
	database_batch_put(b, SPAN_LITERAL("adid:web:half.example"), SPAN_LITERAL("a record"));
	CHECK_INT(database_write(d, b, true), 0);
	database_batch_free(b);
	database_close(d);
}

/* What a rebuild leaves that is killed while it removes what another one has left. */
static void leave_less_than_half(const struct scene *s)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s.half", state_path(s));
	leave_half_a_state(path);
	damage_file(path, "CURRENT", -1);
}

static bool has_half_a_state(const struct scene *s)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s.half", state_path(s));
	return access(path, F_OK) == 0;
}

/* The file of the log that is written to, opened. */
static int open_newest(const struct scene *s)
{
	char folder[PATH_MAX], path[2 * PATH_MAX], newest[NAME_MAX + 1] = "";
	struct dirent *e;
	DIR *dir;
	int fd;

	snprintf(folder, sizeof(folder), "%s/store/log", group_data_folder(s->group));
	dir = opendir(folder);
	while ((e = readdir(dir)))
		if (strstr(e->d_name, ".ws") && strcmp(e->d_name, newest) > 0)
			snprintf(newest, sizeof(newest), "%s", e->d_name);
	closedir(dir);
	snprintf(path, sizeof(path), "%s/%s", folder, newest);
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

/* One bit of the last event, the one that is told from what was never real with most trouble. */
static void flip_last_bit(const struct scene *s)
{
	int fd = open_newest(s);
	off_t last = lseek(fd, 0, SEEK_END) - 1;
	uint8_t byte = 0;

	CHECK_INT(pread(fd, &byte, 1, last), 1);
	byte ^= 1;
	CHECK_INT(pwrite(fd, &byte, 1, last), 1);
	close(fd);
}

/* Behind the last event, part of one that never became real. */
static void leave_half_a_message(const struct scene *s)
{
	static const uint8_t bytes[] = {0x82, 0x7e, 0x10, 0x00, 0xa2, 0x61};
	int fd = open_newest(s);

	lseek(fd, 0, SEEK_END);
	CHECK_INT(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	close(fd);
}

static bool has_half(const struct scene *s)
{
	return judge_reader_count(s->clients[SCENE_STAYS].judged) >= EVENTS / 2;
}

/* Not while the relay runs, which goes on. In its own run_dir already the sockets are taken. */
static void check_busy(const struct scene *s)
{
	char words[PATH_MAX + 256];
	struct buf said;

	buf_init(&said, KIB(64));
	snprintf(words, sizeof(words), "--set group.data_dir=%s --set group.run_dir=%s rebuild",
		 group_data_folder(s->group), test_folder());
	CHECK(group_order(s->group, words, &said) != 0);
	CHECK(test_contains(buf_span(&said), "store, or another rebuild, is at work"));
	buf_release(&said);
}

TEST(a_lost_state_is_made_anew)
{
	const struct scene_settings settings = {
		.seed = 1, .events = EVENTS, .per_sec = 2000, .lanes = 2, .replicas = 1};
	struct buf before, after;
	struct scene s;
	size_t count;
	uint64_t usec;

	scene_open(&s, &settings);
	player_start(s.player);
	CHECK(scene_wait(&s, has_half));
	check_busy(&s);
	group_stop(s.group);
	count = read_state(&s, &before);
	CHECK(count > 400);
	/* A state that is there stays as it is. */
	CHECK(group_command(s.group, "rebuild") != 0);
	CHECK_INT(database_destroy(state_path(&s)), 0);
	flip_last_bit(&s);
	CHECK(group_command(s.group, "rebuild") != 0);
	flip_last_bit(&s);
	leave_half_a_state(state_path(&s));
	leave_less_than_half(&s);
	leave_half_a_message(&s);
	CHECK_INT(group_command(s.group, "rebuild"), 0);
	CHECK(!has_half_a_state(&s));
	CHECK_INT(read_state(&s, &after), count);
	CHECK_SPAN(buf_span(&after), buf_span(&before));
	group_start(s.group);
	CHECK(scene_finish(&s, &usec));
	buf_release(&before);
	buf_release(&after);
	scene_close(&s);
}
