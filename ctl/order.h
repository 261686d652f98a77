/* Orders to running stages: settings (`set`, `unset`, `settings`) and heap profiles (`heap`). What
 * a stage says is printed; 0 if all did as told, 1 if not. */
#pragma once

#include "ctl/group.h"

/* key: "section.key", which goes to all processes of that section's stage. value: NULL for what the
 * configuration says. */
int order_setting(const struct group *g, const struct config *config, const char *key,
		  const char *value);
/* Of all stages. */
int order_settings(const struct group *g, const struct config *config);
/* name: of a stage or a process. what: "start", "mark", "report", "stop"; or a time in seconds,
 * which starts, waits, reports and stops. 64: another word. */
int order_heap(const struct group *g, const struct config *config, const char *name,
	       const char *what);
