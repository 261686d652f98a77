/* Events that are made to cost much get the verdict that they deserve; what they cost is for
 * tests/bench/bench_hostile.c. */
#include <pthread.h>

#include "tests/lib/hostile.h"
#include "tests/test.h"
#include "validate/check.h"

static enum verdict check(struct checker *c, const struct hostile *h)
{
	const struct check_rules rules = {.received_usec = HOSTILE_USEC};
	static struct frame frame;
	struct signature_key key;
	struct verified verified;
	enum verdict v = frame_decode(buf_span(&h->frame), &frame);

	CHECK_INT(signatures_parse_key(checker_signatures(c), &h->key, &key), 0);
	if (v == VERDICT_ACCEPTED)
		v = check_fields(&frame, &rules);
	if (v == VERDICT_ACCEPTED)
		v = check_blocks(c, &frame, &key, &rules, &verified);
	return v;
}

static void *check_all(void *arg)
{
	struct checker *c = checker_new();
	struct hostile h;

	for (size_t i = 0; hostile_make(i, &h); i++) {
		enum verdict v = check(c, &h);

		if (v != h.want)
			test_fail(__FILE__, __LINE__, "%s (%zu bytes): %s, not %s", h.name,
				  h.frame.len, verdict_info(v)->name, verdict_info(h.want)->name);
		hostile_release(&h);
	}
	checker_free(c);
	return arg;
}

/* On a small stack: nothing recurses as deep as an event says. */
TEST(hostile_events)
{
	pthread_attr_t attributes;
	pthread_t thread;

	CHECK_INT(pthread_attr_init(&attributes), 0);
	CHECK_INT(pthread_attr_setstacksize(&attributes, KIB(512)), 0);
	CHECK_INT(pthread_create(&thread, &attributes, check_all, NULL), 0);
	CHECK_INT(pthread_join(thread, NULL), 0);
	pthread_attr_destroy(&attributes);
}
