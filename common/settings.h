/*
 * Settings that are changed while the stage runs: the keys of its section that config_is_live
 * names. A change is checked as any other value is, takes effect at once, and goes before file,
 * environment and --set until it is taken back: it is kept in a file of the stage's data folder,
 * which has the form of a configuration file, is written whole or not at all, and is on disk, name
 * and all, before the change is in force.
 */
#pragma once

#include "common/config.h"

struct settings;

/* Borrows the configuration, as it is without the changes, and keeps the values it has now. */
struct settings *settings_new(struct config *config, const char *section);
void settings_free(struct settings *s);
/* Where changes are kept; those that are there are made, without a word to the stage. -EINVAL and
 * the like with the reason, as config_read_file has it; no file is no error. */
int settings_open(struct settings *s, const char *path, char *ret_error, size_t size) MUST_CHECK;
/* changed is called after the configuration has the new value. */
void settings_on_change(struct settings *s, void (*changed)(void *arg, const char *key), void *arg);

/* "section.key=value"; or "section.key", for what the configuration says. Negative errno, and the
 * reason: nothing has changed then. */
int settings_change(struct settings *s, const char *text, char *ret_error, size_t size) MUST_CHECK;
/* A line for each live key, or for those that were changed: "section.key = value", and what is
 * configured if that is not in force. Appends. */
void settings_list(const struct settings *s, bool changed_only, struct buf *out);
