/*
 * What a consumer is told in the stream itself besides events: complete WebSocket messages, each a
 * DRISL-CBOR header and payload [event stream: Framing]. They carry no number and are never logged.
 */
#pragma once

#include "common/bytes.h"

/* Appends {op: 1, t: "#info"} {name, message}. */
void notice_put_info(struct buf *b, const char *name, const char *message);
/* Appends {op: -1} {error, message}. The stream ends with it. */
void notice_put_error(struct buf *b, const char *name, const char *message);
