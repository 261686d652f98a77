#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "tests/simnet/command.h"

struct settings {
	struct world_settings w;
	struct traffic_settings t;
};

#define FIELD(field) offsetof(struct settings, field), sizeof(((struct settings *)NULL)->field)

static const struct option {
	const char *name;
	size_t offset, size;
	uint64_t max;
} options[] = {
	{"seed", FIELD(w.seed), UINT64_MAX},
	{"hosts", FIELD(w.hosts), 60000},
	{"accounts", FIELD(w.accounts), 1u << 30},
	{"port", FIELD(w.port), UINT16_MAX},
	{"plain", FIELD(w.plain), 1},
	{"big_hosts", FIELD(w.big_hosts), 60000},
	{"p256_percent", FIELD(w.p256_percent), 100},
	{"web_percent", FIELD(w.web_percent), 100},
	{"legacy_percent", FIELD(w.legacy_percent), 100},
	{"events", FIELD(t.events), UINT64_MAX},
	{"active", FIELD(t.active), 1u << 30},
	{"all_first", FIELD(t.all_first), 1},
	{"records", FIELD(t.records), 1000000},
	{"changes", FIELD(t.changes), 100000},
	{"commits_only", FIELD(t.commits_only), 1},
};

/* field: of an unsigned type of this size, or bool. */
static void set_field(void *field, size_t size, uint64_t n)
{
	switch (size) {
	case 1:
		*(bool *)field = n != 0;
		break;
	case 2:
		*(uint16_t *)field = (uint16_t)n;
		break;
	case 4:
		*(uint32_t *)field = (uint32_t)n;
		break;
	default:
		assert(size == 8);
		*(uint64_t *)field = n;
	}
}

int option_parse(const char *text, struct world_settings *w, struct traffic_settings *t)
{
	struct settings s = {*w, *t};
	char name[32];
	uint64_t n;
	int end = 0;

	if (sscanf(text, "%31[a-z0-9_]=%" SCNu64 "%n", name, &n, &end) != 2 || text[end] != '\0')
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(options[i].name, name) != 0)
			continue;
		if (n > options[i].max)
			return -EINVAL;
		set_field((uint8_t *)&s + options[i].offset, options[i].size, n);
		*w = s.w;
		*t = s.t;
		return 0;
	}
	return -EINVAL;
}

static void parse_all(char **texts, size_t count, struct world_settings *w,
		      struct traffic_settings *t)
{
	for (size_t i = 0; i < count; i++) {
		if (option_parse(texts[i], w, t) == 0)
			continue;
		fprintf(stderr, "%s: no such option, or too large a number\n", texts[i]);
		exit(EXIT_USAGE);
	}
}

void options_parse(char **texts, size_t count, struct world_settings *ret_w,
		   struct traffic_settings *ret_t)
{
	struct traffic_settings first = {.events = 10000};

	*ret_w = (struct world_settings){
		.seed = 1,
		.hosts = 100,
		.accounts = 20000,
		.port = 2700,
		.big_hosts = 10,
		.p256_percent = 5,
		.web_percent = 2,
		.legacy_percent = 10,
	};
	/* The number of events decides what else is usual. */
	parse_all(texts, count, ret_w, &first);
	traffic_defaults(first.events, ret_t);
	parse_all(texts, count, ret_w, ret_t);
}
