/*
 * The control pipe of a stage: what the standpipe command asks of it. Metrics, settings that are
 * changed while it runs, heap profiles.
 *
 * Whoever reaches the socket is obeyed: it is open to the group's users only.
 */
#pragma once

#include "common/heap.h"
#include "common/metrics.h"
#include "common/settings.h"

struct control;

/* Borrows all of it until control_close. Errors of pipe_listen_rep. */
int control_open(struct loop *loop, const char *url, struct metrics *metrics,
		 struct settings *settings, struct heap *heap, struct control **ret) MUST_CHECK;
void control_close(struct control *c);
