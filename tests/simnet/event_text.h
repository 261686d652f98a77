/*
 * An event in a line, for people:
 *
 *	   1042  #commit    did:plc:...  create app.bsky.feed.like/3lft..., delete ...
 */
#pragma once

#include "common/bytes.h"

/* Appends, without a line end. What is no frame of an event stream is said to be none. */
void event_put_text(struct span frame, struct buf *line);
