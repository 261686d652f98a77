#include "ctl/group.h"

#include "tests/test.h"

TEST(members_come_downstream_first)
{
	static const char *const want[] = {"store",  "resolve",  "validate-0", "validate-1",
					   "ingest", "fanout-0", "fanout-1",   "fanout-2"};
	struct config *config = config_new();
	struct group group;
	char error[256];

	CHECK_INT(config_set(config, "group.lanes=2", error, sizeof(error)), 0);
	CHECK_INT(config_set(config, "group.replicas=3", error, sizeof(error)), 0);
	group_init(&group, config);
	CHECK_INT(group.count, ARRAY_SIZE(want));
	for (size_t i = 0; i < group.count && i < ARRAY_SIZE(want); i++)
		CHECK_STR(group.members[i].name, want[i]);
	config_free(config);
}
