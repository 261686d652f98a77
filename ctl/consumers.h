/* `standpipe consumers`: who reads the stream, over all replicas. */
#pragma once

#include "ctl/group.h"

/* 0, or 1 if a replica does not answer. */
int consumers_print(const struct group *g, const struct config *config);
