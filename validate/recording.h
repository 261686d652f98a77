/*
 * Frames as somebody has recorded them, in one file or on standard input: one after another, as
 * hosts send them, or as the messages of the log (.ws), or both mixed. A message says how long it
 * is; a bare frame ends where its two maps do, so that what follows one that is no CBOR cannot be
 * told apart from it. Such a frame is told from one that is not yet whole only where the recording
 * ends, or as many bytes have come as a largest message has.
 *
 * Memory is bounded, whatever the length of the file.
 */
#pragma once

#include "common/bytes.h"

struct recording {
	int fd;
	bool is_at_end; /* of the file, not of what is in memory */
	bool is_lost;   /* what follows cannot be told apart */
	struct buf bytes;
	size_t done;
};

/* "-": standard input. Negative errno. */
int recording_open(struct recording *r, const char *path) MUST_CHECK;
/*
 * 1 with the next frame, which borrows until the next call; 0 at the end; negative errno if the
 * file cannot be read. -EBADMSG: there is more, but where its next frame begins cannot be told; the
 * frame before it was all there was.
 */
int recording_next(struct recording *r, struct span *ret_frame) MUST_CHECK;
void recording_close(struct recording *r);
