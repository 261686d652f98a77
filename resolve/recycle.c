#include "resolve/recycle.h"

#include <inttypes.h>

#include "common/log.h"

#define WATCH_USEC USEC_PER_SEC
#define DRAIN_POLL (10 * USEC_PER_MSEC)

static void on_watch(void *arg)
{
	struct recycle *r = arg;
	int64_t bytes = memory_anonymous_bytes();
	uint64_t age = loop_now_usec(r->stage->loop) - r->started_usec;

	if (r->limit_bytes > 0 && age >= RECYCLE_AGE_USEC && bytes > (int64_t)r->limit_bytes) {
		log_notice("memory passes resolve.recycle_memory: ends to be started again "
			   "bytes=%" PRId64 " limit=%" PRIu64 " age_seconds=%" PRIu64,
			   bytes, r->limit_bytes, age / USEC_PER_SEC);
		stage_stop(r->stage);
		return;
	}
	loop_timer_set(r->stage->loop, &r->watch, WATCH_USEC);
}

static void on_drain(void *arg)
{
	struct recycle *r = arg;
	size_t left = resolver_in_hand(r->resolver) + calls_under_way(r->calls);

	if (left > 0 && loop_now_usec(r->stage->loop) < r->drain_end_usec) {
		loop_timer_set(r->stage->loop, &r->drain, DRAIN_POLL);
		return;
	}
	if (left > 0)
		log_info("what is left is for the next process: requests=%zu", left);
	loop_quit(r->stage->loop, 0);
}

void recycle_init(struct recycle *r, struct stage *stage, struct resolver *resolver,
		  struct lanes *lanes, struct calls *calls)
{
	*r = (struct recycle){.stage = stage, .resolver = resolver, .lanes = lanes, .calls = calls};
	r->started_usec = loop_now_usec(stage->loop);
	loop_timer_init(&r->watch, on_watch, r);
	loop_timer_init(&r->drain, on_drain, r);
	recycle_configure(r, stage->config);
	loop_timer_set(stage->loop, &r->watch, WATCH_USEC);
}

void recycle_configure(struct recycle *r, const struct config *config)
{
	r->limit_bytes = config_size(config, "resolve.recycle_memory");
}

void recycle_release(struct recycle *r)
{
	if (!r->stage)
		return;
	loop_timer_cancel(r->stage->loop, &r->watch);
	loop_timer_cancel(r->stage->loop, &r->drain);
}

void recycle_drain(struct recycle *r)
{
	lanes_stop(r->lanes);
	loop_timer_cancel(r->stage->loop, &r->watch);
	r->drain_end_usec = loop_now_usec(r->stage->loop) + RECYCLE_USEC;
	on_drain(r);
}
