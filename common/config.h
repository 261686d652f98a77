/*
 * Configuration: one INI file for the whole group, a section a stage; every key also as
 * STANDPIPE_<SECTION>_<KEY> in the environment and as --set section.key=value, which win in this
 * order. All keys stand in one table in config.c with their type, range, default and meaning; an
 * unknown section or key, or a value out of its range, is refused with file, line and reason.
 *
 * Sizes take K, M, G (powers of 1024); times take us, ms, s, m, h, d and must have a unit; flags
 * are true or false. Texts have no control characters. Getters assert that the key exists and has
 * the type: a wrong name is our mistake, not the user's.
 */
#pragma once

#include <stdio.h>

#include "common/bytes.h"

struct config;

enum config_type { CONFIG_TEXT, CONFIG_NUMBER, CONFIG_SIZE, CONFIG_TIME, CONFIG_FLAG };

/* With every default. */
struct config *config_new(void);
void config_free(struct config *c);

/* -EINVAL (or what open says), and the reason in ret_error: "FILE:LINE: [ingest] windw_bytes:
 * unknown key". */
int config_read_file(struct config *c, const char *path, char *ret_error, size_t size) MUST_CHECK;
/* The process's STANDPIPE_* variables; unknown ones are refused too. */
int config_read_environment(struct config *c, char *ret_error, size_t size) MUST_CHECK;
/* "section.key=value" */
int config_set(struct config *c, const char *assignment, char *ret_error, size_t size) MUST_CHECK;
/* What the values say together: a shortest time is not above its longest, no two processes need the
 * same port, network.ca_file can be read. -EINVAL, and the reason with file and line if the value
 * stands in the file. */
int config_check(const struct config *c, char *ret_error, size_t size) MUST_CHECK;

/* Writes the reason why something in the configuration is refused, and gives -EINVAL. */
int config_fail(char *ret_error, size_t size, const char *format, ...) PRINTF(3, 4);

/* The same for the value of this key, with the file and line that gave it in front, then the
 * key. */
int config_fail_key(const struct config *c, const char *key, char *ret_error, size_t size,
		    const char *format, ...) PRINTF(5, 6);

/* key: "ingest.window". */
const char *config_text(const struct config *c, const char *key);
uint64_t config_number(const struct config *c, const char *key);
uint64_t config_size(const struct config *c, const char *key); /* bytes */
uint64_t config_time(const struct config *c, const char *key); /* microseconds */
bool config_flag(const struct config *c, const char *key);

/* Any value as text; NULL if there is no such key. */
const char *config_value(const struct config *c, const char *key);
/* Whether the file that was read last had it. */
bool config_was_in_file(const struct config *c, const char *key);
/* The keys that can be changed while the stage of their section runs (settings.h), by number; NULL
 * after the last. */
const char *config_live_key(size_t i);

/* pipes.NAME with {run}, {lane} and {stage} put in. ret: at least CONFIG_URL_SIZE bytes; returns
 * it. */
#define CONFIG_URL_SIZE 256
const char *config_pipe_url(const struct config *c, const char *name, const char *stage,
			    unsigned lane, char *ret);

/* fanout.port, or with fanout.own_ports that of this instance. */
uint16_t config_public_port(const struct config *c, unsigned instance);

/* Every key with its meaning, default and present value, as a configuration file. */
void config_print(const struct config *c, FILE *out);
