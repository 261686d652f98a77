/* `standpipe memory STAGE`: where a stage's memory is, row by row. */
#pragma once

#include "ctl/group.h"

/* 0 if all processes of that name answered, 1 if not, or if there is none (said on standard
 * error). */
int memory_print(const struct group *g, const struct config *config, const char *name);
