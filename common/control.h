/*
 * The control pipe of a stage: what the standpipe command asks of it. Metrics, settings that are
 * changed while it runs, heap profiles, its end; and what is of one stage alone, which it answers
 * itself.
 *
 * Whoever reaches the socket is obeyed: it is open to the group's users only.
 */
#pragma once

#include "common/heap.h"
#include "common/message.h"
#include "common/metrics.h"
#include "common/pipe.h"
#include "common/settings.h"

struct control;

/* Borrows all of it until control_close. stop: ends the stage as SIGTERM does. Errors of
 * pipe_listen_rep. */
int control_open(struct loop *loop, const char *url, struct metrics *metrics,
		 struct settings *settings, struct heap *heap, void (*stop)(void *arg), void *arg,
		 struct control **ret) MUST_CHECK;
/* A type of message that this stage alone is asked; r: what follows the type. */
void control_on_request(struct control *c, enum message_type type,
			void (*request)(void *arg, struct call *call, struct reader *r), void *arg);
void control_close(struct control *c);
