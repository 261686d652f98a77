/*
 * Questions and answers between two programs over their standard input and output, one at a time:
 * u32 length, then so many bytes, each way. For tools; stages talk through pipes (pipe.h).
 */
#pragma once

#include "common/bytes.h"

/* 1: a message, in out, which is cleared first; 0: the other end has closed. -EBADMSG (longer than
 * LIMIT_MESSAGE, or cut short), or what read says. */
int exchange_read(int fd, struct buf *out) MUST_CHECK;
int exchange_write(int fd, struct span message) MUST_CHECK;
