/*
 * The other end of a lane, of a version that nobody speaks yet: it opens as upstream, or refuses as
 * downstream. In a header, because only tests that link with a stage use it.
 */
#pragma once

#include "common/metrics.h"
#include "common/pipe.h"
#include "tests/lib/capture.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define FOREIGN_TIMES 20
#define FOREIGN_LINES 10 /* in a minute */

struct foreign {
	struct pipe *pipe;
	bool is_upstream;
	unsigned refusals; /* that it was told */
	const uint64_t *count;
	unsigned want;
};

static inline void foreign_up(void *arg)
{
	struct foreign *f = arg;

	if (f->is_upstream)
		CHECK_INT(pipe_send(f->pipe, SPAN_LITERAL("\x02\x01")), 0);
}

static inline void foreign_nothing(void *arg)
{
	(void)arg;
}

static inline void foreign_message(void *arg, struct span message)
{
	struct foreign *f = arg;

	if (f->is_upstream) {
		CHECK_SPAN(message, SPAN_LITERAL("\x01\x09"));
		f->refusals++;
	} else {
		CHECK_SPAN(span_of(message.ptr, 2), SPAN_LITERAL("\x01\x01"));
		CHECK_INT(pipe_send(f->pipe, SPAN_LITERAL("\x02\x09")), 0);
	}
}

static inline bool foreign_is_known(void *arg)
{
	struct foreign *f = arg;

	return *f->count >= f->want && (!f->is_upstream || f->refusals >= f->want);
}

/* One after another on the lane at url: each is told if it is upstream, and counted as of this
 * peer; the log has a few such lines. */
static inline void foreign_check(struct loop *l, struct metrics *m, const char *url,
				 bool is_upstream, const char *peer, const char *line)
{
	struct foreign f = {.is_upstream = is_upstream};
	const struct pipe_handler h = {.up = foreign_up,
				       .down = foreign_nothing,
				       .message = foreign_message,
				       .writable = foreign_nothing,
				       .arg = &f};
	struct capture log;

	f.count = metrics_counter(m, "relay_foreign_connections_total", "", peer);
	CHECK_INT(*f.count, 0);
	capture_begin(&log);
	if (is_upstream)
		CHECK_INT(pipe_dial_pair(l, url, &h, &f.pipe), 0);
	else
		CHECK_INT(pipe_listen_pair(l, url, &h, &f.pipe), 0);
	while (f.want++ < FOREIGN_TIMES && wait_until(l, foreign_is_known, &f, peer))
		pipe_break(f.pipe);
	CHECK_INT(*f.count, FOREIGN_TIMES);
	CHECK_INT(f.refusals, is_upstream ? FOREIGN_TIMES : 0);
	CHECK_INT(capture_count(&log, line), FOREIGN_LINES);
	capture_end(&log);
	pipe_close(f.pipe);
}
