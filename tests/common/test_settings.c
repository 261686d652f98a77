#include "common/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/test.h"

/* The C library's, which tells what it was given: the file, and then its folder. */
static unsigned synced_files, synced_folders;
static bool sync_folder_fails;

int fsync(int fd)
{
	struct stat st;

	CHECK_INT(fstat(fd, &st), 0);
	if (!S_ISDIR(st.st_mode)) {
		synced_files++;
	} else if (sync_folder_fails) {
		errno = EIO;
		return -1;
	} else {
		synced_folders += synced_files == synced_folders + 1;
	}
	return (int)syscall(SYS_fsync, fd);
}

struct stand {
	struct config *config;
	struct settings *settings;
	char path[256];
	unsigned changes; /* that the stage was told of */
	char last[64];
};

static void note(void *arg, const char *key)
{
	struct stand *s = arg;

	s->changes++;
	snprintf(s->last, sizeof(s->last), "%s", key);
}

/* As a stage that starts with this setting on its command line. */
static void stand_start(struct stand *s, const char *set)
{
	char reason[512] = "";

	s->config = config_new();
	if (set)
		CHECK_INT(config_set(s->config, set, reason, sizeof(reason)), 0);
	s->settings = settings_new(s->config, "resolve");
	CHECK_INT(settings_open(s->settings, s->path, reason, sizeof(reason)), 0);
	CHECK_STR(reason, "");
	settings_on_change(s->settings, note, s);
	s->changes = 0;
}

static void stand_stop(struct stand *s)
{
	settings_free(s->settings);
	config_free(s->config);
}

static void stand_open(struct stand *s)
{
	*s = (struct stand){0};
	snprintf(s->path, sizeof(s->path), "%s/settings", test_folder());
	stand_start(s, NULL);
}

static void check_list(struct stand *s, const char *line, bool want)
{
	struct buf list;

	buf_init(&list, KIB(64));
	settings_list(s->settings, false, &list);
	if (test_contains(buf_span(&list), line) != want)
		test_fail(__FILE__, __LINE__, "%s in %.*s", line, (int)list.len,
			  (const char *)list.ptr);
	buf_release(&list);
}

TEST(a_change_is_in_force_and_survives)
{
	struct stand s;
	char reason[512];

	stand_open(&s);
	CHECK_INT(settings_change(s.settings, "resolve.keep_alive=false", reason, sizeof(reason)),
		  0);
	CHECK(!config_flag(s.config, "resolve.keep_alive"));
	CHECK_INT(s.changes, 1);
	CHECK_STR(s.last, "resolve.keep_alive");
	check_list(&s, "resolve.keep_alive = false (configured: true)\n", true);
	check_list(&s, "resolve.concurrency = 64\n", true);
	stand_stop(&s);
	/* It goes before what the command line says. */
	stand_start(&s, "resolve.keep_alive=true");
	CHECK(!config_flag(s.config, "resolve.keep_alive"));
	CHECK_INT(s.changes, 0);
	CHECK_INT(settings_change(s.settings, "resolve.keep_alive", reason, sizeof(reason)), 0);
	CHECK(config_flag(s.config, "resolve.keep_alive"));
	CHECK_INT(s.changes, 1);
	check_list(&s, "(configured:", false);
	stand_stop(&s);
	stand_start(&s, "resolve.keep_alive=false");
	CHECK(!config_flag(s.config, "resolve.keep_alive"));
	stand_stop(&s);
}

TEST(several_changes_are_kept_side_by_side)
{
	static const char *const changes[] = {"resolve.concurrency=0", "resolve.ttl_found=1h",
					      "resolve.cache=1M", "resolve.concurrency=7",
					      "resolve.ttl_found"};
	struct stand s;
	char reason[512];

	stand_open(&s);
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
		CHECK_INT(settings_change(s.settings, changes[i], reason, sizeof(reason)), 0);
	stand_stop(&s);
	stand_start(&s, NULL);
	CHECK_INT(config_number(s.config, "resolve.concurrency"), 7);
	CHECK_INT(config_size(s.config, "resolve.cache"), 1 << 20);
	CHECK_INT(config_time(s.config, "resolve.ttl_found"), 86400000000);
	check_list(&s, "resolve.ttl_found = 24h\n", true);
	stand_stop(&s);
}

/* Every key that can be changed while resolve runs: a value that is kept over a restart, and one
 * that is refused. */
static const struct {
	const char *key, *value, *bad;
} live[] = {
	{"resolve.concurrency", "0", "4097"},       {"resolve.directory_rate", "7", "100001"},
	{"resolve.refresh_interval", "3s", "2d"},   {"resolve.identities_max", "1000", "999"},
	{"resolve.keep_alive", "false", "no"},      {"resolve.recycle_interval", "1000", "-1"},
	{"resolve.recycle_memory", "256M", "256Q"}, {"resolve.timeout", "2s", "9ms"},
	{"resolve.ttl_found", "0s", "366d"},        {"resolve.ttl_missing", "1m", "1"},
	{"resolve.ttl_failed", "1m", ""},           {"resolve.cache", "1M", "1K"},
};

static void check_live(struct stand *s, size_t i)
{
	char text[128], reason[512] = "";

	snprintf(text, sizeof(text), "%s=%s", live[i].key, live[i].value);
	CHECK_INT(settings_change(s->settings, text, reason, sizeof(reason)), 0);
	snprintf(text, sizeof(text), "%s=%s", live[i].key, live[i].bad);
	if (settings_change(s->settings, text, reason, sizeof(reason)) != -EINVAL ||
	    !strstr(reason, live[i].key))
		test_fail(__FILE__, __LINE__, "%s: %s", text, reason);
}

TEST(every_live_key_is_checked_and_survives)
{
	struct stand s;
	size_t count = 0;

	while (config_live_key(count))
		count++;
	CHECK_INT(count, ARRAY_SIZE(live));
	stand_open(&s);
	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		check_live(&s, i);
	CHECK_INT(s.changes, ARRAY_SIZE(live));
	stand_stop(&s);
	stand_start(&s, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		CHECK_STR(config_value(s.config, live[i].key), live[i].value);
	stand_stop(&s);
}

TEST(what_may_not_be_changes_nothing)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"resolve.keep_alive=maybe", "neither true nor false"},
		{"resolve.concurrency=5000", "not within"},
		{"resolve.ttl_found=1", "is no time"},
		{"resolve.plc_url=http://x", "cannot be changed while"},
		{"resolve.nonsense=1", "cannot be changed while"},
		{"store.cache=1M", "cannot be changed while"},
		{"=", "cannot be changed while"},
		{"resolve.keep_alive=\n[group]", "control character"},
	};
	struct stand s;
	char reason[512];

	stand_open(&s);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		reason[0] = '\0';
		CHECK_INT(settings_change(s.settings, cases[i].text, reason, sizeof(reason)),
			  -EINVAL);
		if (!strstr(reason, cases[i].says))
			test_fail(__FILE__, __LINE__, "%s: %s", cases[i].text, reason);
	}
	CHECK_INT(s.changes, 0);
	CHECK(config_flag(s.config, "resolve.keep_alive"));
	CHECK_INT(access(s.path, F_OK), -1);
	stand_stop(&s);
}

TEST(a_change_is_on_disk_with_its_name)
{
	struct stand s;
	char reason[512];

	synced_files = synced_folders = 0;
	stand_open(&s);
	CHECK_INT(settings_change(s.settings, "resolve.concurrency=7", reason, sizeof(reason)), 0);
	CHECK_INT(synced_files, 1);
	CHECK_INT(synced_folders, 1);
	CHECK_INT(settings_change(s.settings, "resolve.concurrency=8", reason, sizeof(reason)), 0);
	CHECK_INT(synced_folders, 2);
	/* Whether it is there after a power cut is not known: then it is not in force. */
	sync_folder_fails = true;
	CHECK_INT(settings_change(s.settings, "resolve.concurrency=9", reason, sizeof(reason)),
		  -EIO);
	sync_folder_fails = false;
	CHECK(strstr(reason, "cannot be kept"));
	CHECK_INT(config_number(s.config, "resolve.concurrency"), 8);
	stand_stop(&s);
	stand_start(&s, NULL);
	CHECK_INT(config_number(s.config, "resolve.concurrency"), 8);
	stand_stop(&s);
}

TEST(what_cannot_be_kept_is_not_done)
{
	struct stand s;
	char reason[512] = "";

	stand_open(&s);
	stand_stop(&s);
	snprintf(s.path, sizeof(s.path), "%s/nowhere/settings", test_folder());
	stand_start(&s, NULL);
	CHECK_INT(settings_change(s.settings, "resolve.concurrency=1", reason, sizeof(reason)),
		  -ENOENT);
	CHECK(strstr(reason, "resolve.concurrency cannot be kept: "));
	CHECK_INT(config_number(s.config, "resolve.concurrency"), 64);
	CHECK_INT(s.changes, 0);
	check_list(&s, "(configured:", false);
	stand_stop(&s);
}

TEST(a_file_that_is_wrong_is_refused_with_its_line)
{
	struct stand s = {0};
	char reason[512] = "";
	FILE *f;

	snprintf(s.path, sizeof(s.path), "%s/settings", test_folder());
	f = fopen(s.path, "we");
	fputs("[resolve]\nconcurrency = many\n", f);
	fclose(f);
	s.config = config_new();
	s.settings = settings_new(s.config, "resolve");
	CHECK_INT(settings_open(s.settings, s.path, reason, sizeof(reason)), -EINVAL);
	CHECK(strstr(reason, "/settings:2: [resolve] concurrency: "));
	stand_stop(&s);
	/* A stage of which nothing can be changed has no such file, and does not look for one. */
	s.config = config_new();
	s.settings = settings_new(s.config, "validate");
	CHECK_INT(settings_open(s.settings, s.path, reason, sizeof(reason)), 0);
	CHECK_INT(settings_change(s.settings, "validate.key_cache=1M", reason, sizeof(reason)),
		  -EINVAL);
	stand_stop(&s);
}
