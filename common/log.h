/*
 * One line on standard error per thing that happened, with the level before it as the journal reads
 * it: "<6>ready". A stage logs where it decides; common/ never does, but for stage.c. Text from
 * outside goes through log_text, which escapes and cuts it.
 *
 *	log_warning("commit refused: %s did=%s host=%s seq=%" PRIu64 " [%s]", ...);
 */
#pragma once

#include "common/bytes.h"

enum log_level {
	LOG_LEVEL_ERROR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7
};

void log_set_level(enum log_level level);
bool log_is_on(enum log_level level);
void log_write(enum log_level level, const char *format, ...) PRINTF(2, 3);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_write(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Escaped and cut to fit, and in quotes if it is empty or could be taken for more than one word
 * ("reason=a host=b"); valid until the eighth call after this one. */
const char *log_text(struct span s);

/* For lines that hostile input could repeat: at most burst lines per period; the next line that
 * passes says how many were left out. One struct a place, zeroed but for its limits. */
struct log_limit {
	unsigned burst;
	uint64_t period_usec;
	uint64_t since_usec;
	unsigned written;
	unsigned left_out;
};
/* Whether to write now. ret_left_out: how many were left out before. */
bool log_limit_pass(struct log_limit *l, unsigned *ret_left_out);
