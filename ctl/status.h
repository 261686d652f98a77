/* `standpipe status`: one line a process of the group, from what each says of itself on its control
 * pipe. */
#pragma once

#include "ctl/group.h"

/* Asks all at once and prints when all have answered, or have not within two seconds. 0 if every
 * process answered, 1 if not. */
int status_print(const struct group *g, const struct config *config);
