/*
 * The cursor of a consumer, and where it makes the stream begin [event stream: Sequence Numbers]. A
 * cursor is exclusive: it is the number of the last event that the consumer has, and events after
 * it follow.
 */
#pragma once

#include "common/message.h"

struct cursor {
	bool given;
	uint64_t seq;
};

/* A decimal integer from 0 within int64, nothing else. -EINVAL. */
int cursor_parse(struct span text, struct cursor *ret) MUST_CHECK;

enum cursor_place {
	CURSOR_LIVE,     /* none was given: what comes from now on */
	CURSOR_WINDOW,   /* what is kept after it, then live */
	CURSOR_OLDEST,   /* 0: everything that is kept, then live */
	CURSOR_OUTDATED, /* #info first, then everything that is kept, then live */
	CURSOR_FUTURE,   /* an error frame, and the end */
};

/* ret_seq: the number of the first event to send; head->next_seq if it is not there yet. */
enum cursor_place cursor_find(const struct cursor *c, const struct head *head, uint64_t *ret_seq);
