#include "validate/legacy.h"

#include "common/host.h"

void legacy_init(struct legacy *l, const char *patterns)
{
	*l = (struct legacy){.patterns = patterns};
}

bool legacy_has(const struct legacy *l, struct span host)
{
	size_t count = l->outgrown_count;
	struct host h;
	uint64_t id;

	if (l->patterns[0] == '\0' || host_parse(host, &h) < 0 || !host_matches(l->patterns, &h))
		return false;
	id = host_id(host);
	for (size_t i = 0; i < count && i < LEGACY_OUTGROWN; i++)
		if (l->outgrown[i] == id)
			return false;
	return true;
}

void legacy_outgrown(struct legacy *l, struct span host)
{
	if (legacy_has(l, host))
		l->outgrown[l->outgrown_count++ % LEGACY_OUTGROWN] = host_id(host);
}
