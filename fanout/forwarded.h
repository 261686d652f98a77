/*
 * Who is behind proxies: each appends the address that it was called from to X-Forwarded-For. Only
 * what trusted proxies have written can be believed, so the header is read from its end, until an
 * address that is no trusted proxy.
 */
#pragma once

#include "common/address.h"

/* peer: the other end of the connection. list: the header, all its lines joined by commas; may be
 * empty. The rightmost address that is not trusted; the leftmost if all are; where something else
 * stands, what was found before it. */
struct address forwarded_client(const struct networks *trusted, const struct address *peer,
				struct span list);
