#include "resolve/directories.h"

#include <errno.h>
#include <stdlib.h>

#include "common/loop.h"

#define SEPARATORS " ,\t"

struct directory {
	const struct directories *all;
	struct document_place place;
	unsigned failures; /* in a row */
	unsigned under_way;
	bool on_trial;      /* since it rested, no request has shown that it is well */
	uint64_t rest_usec; /* the last one */
	uint64_t rests_until_usec;
	uint64_t paid_until_usec; /* each request moves it on by its share of a second */
};

struct directories {
	uint64_t share_usec; /* of a second, for one request; 0: no limit */
	size_t count;
	struct directory list[DIRECTORIES_MAX];
};

static int add(struct directories *d, const struct host_policy *policy, const char *url)
{
	struct directory *one = &d->list[d->count];

	if (d->count == DIRECTORIES_MAX)
		return -EINVAL;
	one->all = d;
	d->count++;
	return document_place_directory(url, policy, &one->place);
}

int directories_new(const struct config *config, const struct host_policy *policy, char *ret_bad,
		    size_t size, struct directories **ret)
{
	struct directories *d = xcalloc(1, sizeof(*d));
	char *list = xstrdup(config_text(config, "resolve.plc_url")), *rest = NULL;
	int error = 0;

	for (char *url = strtok_r(list, SEPARATORS, &rest); url && !error;
	     url = strtok_r(NULL, SEPARATORS, &rest)) {
		error = add(d, policy, url);
		if (error)
			snprintf(ret_bad, size, "%s", url);
	}
	if (!error && d->count == 0) {
		error = -EINVAL;
		snprintf(ret_bad, size, "(none)");
	}
	free(list);
	if (error) {
		free(d);
		return error;
	}
	directories_configure(d, config);
	*ret = d;
	return 0;
}

void directories_free(struct directories *d)
{
	free(d);
}

void directories_configure(struct directories *d, const struct config *config)
{
	uint64_t rate = config_number(config, "resolve.directory_rate");

	d->share_usec = rate > 0 ? (USEC_PER_SEC + rate - 1) / rate : 0;
}

/* Until it may be asked: 0, or UINT64_MAX while the one request that is to show how it is has no
 * answer. */
static uint64_t wait_for(const struct directory *d, uint64_t now_usec)
{
	uint64_t wait = 0;

	if (d->rests_until_usec > now_usec)
		wait = d->rests_until_usec - now_usec;
	else if (d->on_trial && d->under_way > 0)
		return UINT64_MAX;
	if (d->all->share_usec > 0 && d->paid_until_usec > now_usec + USEC_PER_SEC &&
	    d->paid_until_usec - now_usec - USEC_PER_SEC > wait)
		wait = d->paid_until_usec - now_usec - USEC_PER_SEC;
	return wait;
}

/* One that is asked as often as it may be is well: the next one is not for its overflow. */
static bool is_resting(const struct directory *d, uint64_t now_usec)
{
	return d->rests_until_usec > now_usec || (d->on_trial && d->under_way > 0);
}

struct directory *directories_pick(struct directories *d, unsigned tried, uint64_t now_usec,
				   uint64_t *ret_wait_usec)
{
	uint64_t least = UINT64_MAX;

	for (size_t i = 0; i < d->count; i++) {
		struct directory *one = &d->list[i];
		uint64_t wait = wait_for(one, now_usec);

		if (tried & 1u << i)
			continue;
		if (wait == 0) {
			if (one->paid_until_usec < now_usec)
				one->paid_until_usec = now_usec;
			one->paid_until_usec += d->share_usec;
			one->under_way++;
			return one;
		}
		least = wait < least ? wait : least;
		if (!is_resting(one, now_usec))
			break;
	}
	*ret_wait_usec = least;
	return NULL;
}

bool directories_rest(const struct directories *d, uint64_t now_usec)
{
	for (size_t i = 0; i < d->count; i++)
		if (!is_resting(&d->list[i], now_usec))
			return false;
	return true;
}

const struct document_place *directories_first(const struct directories *d)
{
	return &d->list[0].place;
}

unsigned directory_number(const struct directory *d)
{
	return (unsigned)(d - d->all->list);
}

const struct document_place *directory_place(const struct directory *d)
{
	return &d->place;
}

static uint64_t within_limits(uint64_t rest_usec)
{
	if (rest_usec < DIRECTORIES_REST_MIN_USEC)
		return DIRECTORIES_REST_MIN_USEC;
	return rest_usec < DIRECTORIES_REST_MAX_USEC ? rest_usec : DIRECTORIES_REST_MAX_USEC;
}

/* told_usec: 0 if it did not say for how long. Twice as long as the last time if it has not been
 * well since. */
static uint64_t begin_rest(struct directory *d, uint64_t told_usec, uint64_t now_usec)
{
	uint64_t rest_usec = told_usec;

	if (told_usec == 0 && d->on_trial)
		rest_usec = 2 * d->rest_usec;
	d->rest_usec = within_limits(rest_usec);
	d->rests_until_usec = now_usec + d->rest_usec;
	d->on_trial = true;
	return d->rest_usec;
}

/* Requests that were under way when it began to rest say nothing new, but for how long. */
static void done_while_resting(struct directory *d, uint64_t told_usec, uint64_t now_usec)
{
	uint64_t until_usec = now_usec + within_limits(told_usec);

	if (told_usec > 0 && d->rests_until_usec < until_usec)
		d->rests_until_usec = until_usec;
}

uint64_t directory_done(struct directory *d, enum directory_outcome outcome, uint64_t rest_usec,
			uint64_t now_usec)
{
	d->under_way--;
	if (d->rests_until_usec > now_usec) {
		done_while_resting(d, outcome == DIRECTORY_BUSY ? rest_usec : 0, now_usec);
		return 0;
	}
	switch (outcome) {
	case DIRECTORY_WELL:
		d->failures = 0;
		d->on_trial = false;
		break;
	case DIRECTORY_BUSY:
		return begin_rest(d, rest_usec, now_usec);
	case DIRECTORY_FAILED:
		if (++d->failures >= DIRECTORIES_FAILURES || d->on_trial)
			return begin_rest(d, 0, now_usec);
		break;
	}
	return 0;
}
