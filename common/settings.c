#include "common/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS_MAX 32
#define TEXT_MAX KIB(64) /* bytes of the file */

struct setting {
	const char *key;
	char *configured; /* without the change */
	bool changed;
};

struct settings {
	struct config *config;
	size_t count;
	struct setting keys[KEYS_MAX]; /* live ones of this section */
	char path[PATH_MAX];           /* empty without a file */
	void (*on_change)(void *arg, const char *key);
	void *arg;
};

struct settings *settings_new(struct config *config, const char *section)
{
	struct settings *s = xcalloc(1, sizeof(*s));
	size_t len = strlen(section);
	const char *key;

	s->config = config;
	for (size_t i = 0; (key = config_live_key(i)) && s->count < KEYS_MAX; i++)
		if (strncmp(key, section, len) == 0 && key[len] == '.')
			s->keys[s->count++] = (struct setting){
				key, xstrdup(config_value(config, key)), false};
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->keys[i].configured);
	free(s);
}

int settings_open(struct settings *s, const char *path, char *ret_error, size_t size)
{
	int error;

	if (s->count == 0) /* nothing can be changed, and there may be no folder */
		return 0;
	snprintf(s->path, sizeof(s->path), "%s", path);
	if (access(path, F_OK) < 0 && errno == ENOENT)
		return 0;
	error = config_read_file(s->config, path, ret_error, size);
	for (size_t i = 0; i < s->count && !error; i++)
		s->keys[i].changed = config_was_in_file(s->config, s->keys[i].key);
	return error;
}

void settings_on_change(struct settings *s, void (*changed)(void *arg, const char *key), void *arg)
{
	s->on_change = changed;
	s->arg = arg;
}

static struct setting *find_setting(struct settings *s, const char *text)
{
	size_t len = strcspn(text, "=");

	for (size_t i = 0; i < s->count; i++)
		if (strlen(s->keys[i].key) == len && memcmp(s->keys[i].key, text, len) == 0)
			return &s->keys[i];
	return NULL;
}

static void put_file(const struct settings *s, struct buf *out)
{
	const char *section = s->keys[0].key;

	buf_append_str(out, "# What was set while the stage ran; it goes before all other "
			    "configuration.\n");
	buf_printf(out, "[%.*s]\n", (int)strcspn(section, "."), section);
	for (size_t i = 0; i < s->count; i++)
		if (s->keys[i].changed)
			buf_printf(out, "%s = %s\n", strchr(s->keys[i].key, '.') + 1,
				   config_value(s->config, s->keys[i].key));
}

static int write_whole(const char *path, struct span text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), error = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text.ptr, text.len);
	if (n < 0 || (size_t)n < text.len || fsync(fd) < 0)
		error = n >= 0 && (size_t)n < text.len ? -ENOSPC : -errno;
	close(fd);
	return error;
}

/* A rename is on disk only when its folder is. */
static int sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];
	int fd, error = 0;

	snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) + 1 : 1,
		 slash ? path : ".");
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		error = -errno;
	close(fd);
	return error;
}

/* The old file or the new one, whatever happens; the new one once this has returned 0. */
static int write_file(const struct settings *s)
{
	char path[PATH_MAX + 8];
	struct buf text;
	int error;

	if (!s->path[0])
		return -ENOENT;
	snprintf(path, sizeof(path), "%s.new", s->path);
	buf_init(&text, TEXT_MAX);
	put_file(s, &text);
	error = write_whole(path, buf_span(&text));
	buf_release(&text);
	if (!error && rename(path, s->path) < 0)
		error = -errno;
	if (error)
		(void)unlink(path);
	else
		error = sync_folder(s->path);
	return error;
}

/* Sets the value without a word; the reason if it cannot be. */
static int set_value(struct settings *s, const struct setting *k, const char *value,
		     char *ret_error, size_t size)
{
	struct buf text;
	int error;

	buf_init(&text, KIB(32));
	buf_printf(&text, "%s=%s", k->key, value);
	buf_put_u8(&text, '\0');
	error = config_set(s->config, (const char *)text.ptr, ret_error, size);
	if (!error)
		error = config_check(s->config, ret_error, size);
	buf_release(&text);
	return error;
}

static void restore(struct settings *s, struct setting *k, const char *value, bool changed)
{
	char reason[256];

	k->changed = changed;
	(void)!set_value(s, k, value, reason, sizeof(reason));
}

int settings_change(struct settings *s, const char *text, char *ret_error, size_t size)
{
	const char *equals = strchr(text, '=');
	struct setting *k = find_setting(s, text);
	char *before;
	bool was_changed;
	int error, unkept = 0;

	if (!k)
		return config_fail(ret_error, size, "%.*s cannot be changed while the stage runs",
				   (int)strcspn(text, "="), text);
	if (equals && strlen(equals) > KIB(16))
		return config_fail(ret_error, size, "%s: the value is too long", k->key);
	before = xstrdup(config_value(s->config, k->key));
	was_changed = k->changed;
	error = set_value(s, k, equals ? equals + 1 : k->configured, ret_error, size);
	k->changed = equals != NULL;
	if (!error) {
		error = unkept = write_file(s);
		if (error)
			config_fail(ret_error, size, "%s cannot be kept: %s: %s", k->key, s->path,
				    strerror(-error));
	}
	if (error)
		restore(s, k, before, was_changed);
	if (unkept)
		(void)!write_file(s); /* the file may be the new one all the same */
	else if (!error && s->on_change)
		s->on_change(s->arg, k->key);
	free(before);
	return error;
}

void settings_list(const struct settings *s, bool changed_only, struct buf *out)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct setting *k = &s->keys[i];

		if (changed_only && !k->changed)
			continue;
		buf_printf(out, "%s = %s", k->key, config_value(s->config, k->key));
		if (k->changed)
			buf_printf(out, " (configured: %s)", k->configured);
		buf_put_u8(out, '\n');
	}
}
