/*
 * The group: which processes a configuration asks for, in the order in which data flows backwards
 * (a stage is started before the one that sends to it).
 */
#pragma once

#include "common/config.h"

#define GROUP_NAME_SIZE 32
#define GROUP_MAX                                                                                  \
	(3 + 64 +                                                                                  \
	 64) /* three single stages, and group.lanes and group.replicas at their largest  \
		       */

struct member {
	const char *stage; /* "validate" */
	bool has_instance;
	unsigned instance;
	char name[GROUP_NAME_SIZE]; /* "validate-0", "store": what it is called on its control pipe
				       and in the log */
};

struct group {
	size_t count;
	struct member members[GROUP_MAX];
};

void group_init(struct group *g, const struct config *config);
