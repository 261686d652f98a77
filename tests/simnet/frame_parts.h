/*
 * Where `seq` stands in a frame, and what a frame is without its `handle`: the few steps through
 * CBOR that the judge needs, made without a line of the relay's own reader, so that no mistake is
 * made by both.
 */
#pragma once

#include "common/bytes.h"

struct frame_parts {
	struct span before, after; /* of the value of `seq`; they borrow from the frame */
	uint64_t seq;
};

/* -EBADMSG: not two whole items of which the second is a map with an unsigned `seq`. */
int frame_parts_of(struct span frame, struct frame_parts *ret) MUST_CHECK;
/* Appends the frame without the field `handle` of its body. -EBADMSG as above, -ENOENT if there is
 * none. */
int frame_parts_without_handle(struct span frame, struct buf *out) MUST_CHECK;
