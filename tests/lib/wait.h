/*
 * Waiting in a test: for a condition, never for a time, with everything on the test's loop going
 * on.
 */
#pragma once

#include "common/loop.h"
#include "tests/test.h"

#define WAIT_USEC (60 * USEC_PER_SEC) /* after which a test gives up */

/* Runs the loop until condition holds; false (and a failed check) if it does not within WAIT_USEC.
 */
bool wait_until(struct loop *l, bool (*condition)(void *arg), void *arg, const char *what);
/* Quits the loop once, after a time; then loop_run returns although nothing has come. */
struct guard {
	struct loop *loop;
	struct loop_timer timer;
	bool has_fired;
};
void guard_set(struct guard *g, struct loop *l, uint64_t usec);
void guard_cancel(struct guard *g);
/* For a test whose callbacks all quit the loop: runs it until cond, which is looked at each
 * time. */
#define RUN_UNTIL(l, cond)                                                                         \
	do {                                                                                       \
		struct guard guard_;                                                               \
		guard_set(&guard_, (l), WAIT_USEC);                                                \
		while (!(cond) && !guard_.has_fired)                                               \
			loop_run(l);                                                               \
		guard_cancel(&guard_);                                                             \
		CHECK(cond);                                                                       \
	} while (0)

/* A port of 127.0.0.1 that nobody has at the moment. */
uint16_t free_port(void);
bool port_is_free(uint16_t port);
