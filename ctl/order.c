#include "ctl/order.h"

#include "common/limits.h"
#include "common/loop.h"
#include "common/stage.h"
#include "ctl/ask.h"

#define SECONDS_MAX 86400 /* a day */

/* Prints what a member said, with its name before if there are more of them. */
static int print_answer(const struct answer *a, bool with_name)
{
	struct reader r = reader_of(buf_span(&a->body));
	uint8_t ok = 0;

	if (!a->answered || reader_get_u8(&r, &ok) < 0) {
		fprintf(stderr, "%s does not answer\n", a->member->name);
		return 1;
	}
	if (!ok) {
		fprintf(stderr, "%s: %.*s\n", a->member->name, (int)r.left, (const char *)r.ptr);
		return 1;
	}
	if (with_name && r.left > 0)
		printf("%s:\n", a->member->name);
	printf("%.*s", (int)r.left, (const char *)r.ptr);
	return 0;
}

static int send_order(struct ask *ask, struct span message, bool with_names)
{
	int result = 0;

	ask_all(ask, message, MESSAGE_TOLD);
	for (size_t i = 0; i < ask_count(ask); i++)
		if (print_answer(ask_answer(ask, i), with_names) != 0)
			result = 1;
	return result;
}

static int open_named(const struct group *g, const struct config *config, const char *name,
		      struct ask **ret)
{
	if (ask_open(g, config, name, ret) == 0)
		return 0;
	fprintf(stderr, "standpipe: no such process: %s\n", name ? name : "");
	return 1;
}

int order_setting(const struct group *g, const struct config *config, const char *key,
		  const char *value)
{
	char stage[64];
	struct buf message;
	struct ask *ask;
	int result;

	snprintf(stage, sizeof(stage), "%.*s", (int)strcspn(key, "."), key);
	if (open_named(g, config, stage, &ask) != 0)
		return 1;
	buf_init(&message, LIMIT_MESSAGE);
	message_put_type(&message, MESSAGE_SETTING);
	buf_append_str(&message, key);
	if (value) {
		buf_put_u8(&message, '=');
		buf_append_str(&message, value);
	}
	result = send_order(ask, buf_span(&message), false);
	buf_release(&message);
	ask_close(ask);
	return result;
}

int order_settings(const struct group *g, const struct config *config)
{
	struct buf message;
	struct ask *ask;
	int result;

	if (open_named(g, config, NULL, &ask) != 0)
		return 1;
	buf_init(&message, 16);
	message_put_type(&message, MESSAGE_SETTING);
	result = send_order(ask, buf_span(&message), false);
	buf_release(&message);
	ask_close(ask);
	return result;
}

static int send_heap(struct ask *ask, enum heap_order order)
{
	struct buf message;
	int result;

	buf_init(&message, 16);
	message_put_type(&message, MESSAGE_HEAP);
	buf_put_u8(&message, (uint8_t)order);
	result = send_order(ask, buf_span(&message), ask_count(ask) > 1);
	buf_release(&message);
	return result;
}

static bool parse_seconds(const char *text, uint64_t *ret)
{
	char unit = 's', rest;
	unsigned n;
	int found = sscanf(text, "%5u%c%c", &n, &unit, &rest);

	if (found < 1 || found > 2 || strchr("sm", unit) == NULL)
		return false;
	*ret = n * (unit == 'm' ? UINT64_C(60) : 1);
	return *ret > 0 && *ret <= SECONDS_MAX;
}

static int profile_for(struct ask *ask, uint64_t seconds)
{
	int result = send_heap(ask, HEAP_START);

	if (result == 0) {
		(void)ask_pause(ask, seconds * USEC_PER_SEC);
		result = send_heap(ask, HEAP_REPORT);
	}
	if (send_heap(ask, HEAP_STOP) != 0)
		result = 1;
	return result;
}

int order_heap(const struct group *g, const struct config *config, const char *name,
	       const char *what)
{
	static const struct {
		const char *name;
		enum heap_order order;
	} orders[] = {{"start", HEAP_START},
		      {"mark", HEAP_MARK},
		      {"report", HEAP_REPORT},
		      {"stop", HEAP_STOP}};
	enum heap_order order = 0;
	uint64_t seconds = 0;
	struct ask *ask;
	int result;

	for (size_t i = 0; i < ARRAY_SIZE(orders); i++)
		if (strcmp(orders[i].name, what) == 0)
			order = orders[i].order;
	if (order == 0 && !parse_seconds(what, &seconds)) {
		fprintf(stderr,
			"standpipe: heap %s: start, mark, report, stop or a time is "
			"needed: %s\n",
			name, what);
		return STAGE_EXIT_USAGE;
	}
	if (open_named(g, config, name, &ask) != 0)
		return 1;
	result = seconds > 0 ? profile_for(ask, seconds) : send_heap(ask, order);
	ask_close(ask);
	return result;
}
