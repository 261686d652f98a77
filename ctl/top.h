/* `standpipe top`: a table of the group's processes, what each holds in memory, what of it no
 * account explains, and how fast that grows; written anew every two seconds. */
#pragma once

#include "ctl/group.h"

/* once: one table, after a second over which rates are taken. 0 if every process answered, 1 if
 * not. */
int top_run(const struct group *g, const struct config *config, bool once);
