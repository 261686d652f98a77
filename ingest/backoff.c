#include "ingest/backoff.h"

#include <limits.h>
#include <sys/random.h>

static uint64_t random_below(uint64_t limit)
{
	uint64_t v = 0;

	/* Without entropy, which is only so at boot, there is no jitter. */
	if (limit == 0 || getrandom(&v, sizeof(v), 0) != (ssize_t)sizeof(v))
		return 0;
	return v % limit;
}

/* min doubled for every failure after the first, but not past max. */
static uint64_t step(const struct backoff *b)
{
	uint64_t wait = b->min_usec;

	for (unsigned i = 1; i < b->failures && wait < b->max_usec; i++)
		wait = wait > b->max_usec / 2 ? b->max_usec : 2 * wait;
	return wait < b->max_usec ? wait : b->max_usec;
}

uint64_t backoff_next(struct backoff *b, uint64_t session_usec)
{
	uint64_t wait;

	if (session_usec >= BACKOFF_GOOD_SESSION_USEC)
		b->failures = 0;
	if (b->failures < UINT_MAX)
		b->failures++;
	wait = step(b);
	return wait / 2 + random_below(wait - wait / 2 + 1);
}

bool backoff_is_offline(const struct backoff *b)
{
	return b->failures >= BACKOFF_OFFLINE;
}
