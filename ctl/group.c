#include "ctl/group.h"

#include <assert.h>

static void add(struct group *g, const char *stage, bool has_instance, unsigned instance)
{
	assert(g->count < GROUP_MAX);
	struct member *m = &g->members[g->count++];

	m->stage = stage;
	m->has_instance = has_instance;
	m->instance = instance;
	if (has_instance)
		snprintf(m->name, sizeof(m->name), "%s-%u", stage, instance);
	else
		snprintf(m->name, sizeof(m->name), "%s", stage);
}

void group_init(struct group *g, const struct config *config)
{
	uint64_t lanes = config_number(config, "group.lanes");
	uint64_t replicas = config_number(config, "group.replicas");

	g->count = 0;
	add(g, "store", false, 0);
	add(g, "resolve", false, 0);
	for (unsigned i = 0; i < lanes; i++)
		add(g, "validate", true, i);
	add(g, "ingest", false, 0);
	for (unsigned i = 0; i < replicas; i++)
		add(g, "fanout", true, i);
}
