/*
 * Waiting in a test: for a condition, never for a time, with everything on the test's loop going
 * on.
 */
#pragma once

#include "common/loop.h"

#define WAIT_USEC (60 * USEC_PER_SEC) /* after which a test gives up */

/* Runs the loop until condition holds; false (and a failed check) if it does not within WAIT_USEC.
 */
bool wait_until(struct loop *l, bool (*condition)(void *arg), void *arg, const char *what);
/* A port of 127.0.0.1 that nobody has at the moment. */
uint16_t free_port(void);
bool port_is_free(uint16_t port);
