/*
 * Asking the members of a group on their control pipes: all at once, with one wait for all.
 * Connections stay for the next question.
 */
#pragma once

#include "common/message.h"
#include "ctl/group.h"

#define ASK_USEC 2000000 /* a member that takes longer does not answer */

struct ask;

struct answer {
	const struct member *member;
	bool answered;
	struct buf body; /* what follows the type */
};

/* Borrows both until ask_close. name: of a member ("validate-0") or of a stage, which is all its
 * members; NULL: all. -ENOENT: there is none of that name. */
int ask_open(const struct group *g, const struct config *config, const char *name,
	     struct ask **ret) MUST_CHECK;
void ask_close(struct ask *a);
/* Sends the message, and returns when all have answered with this type, or have not in time. */
void ask_all(struct ask *a, struct span message, enum message_type want);
/* Their metrics. */
void ask_metrics(struct ask *a);
size_t ask_count(const struct ask *a);
/* Of the last question. */
const struct answer *ask_answer(const struct ask *a, size_t i);
/* Waits. true: in vain, for so long; false: it is time to stop (SIGINT, SIGTERM). */
bool ask_pause(struct ask *a, uint64_t usec);
