/*
 * One field of a DAG-CBOR map changed: for inputs that break one rule and keep all others.
 */
#pragma once

#include "common/bytes.h"

/* Appends the map with this value (one encoded item) under the key, at the place that the order of
 * keys gives it. An empty value leaves the key out. */
void edit_map(struct span map, const char *key, struct span value, struct buf *out);
/* The same with the body of an event stream frame. */
void edit_frame(struct span frame, const char *key, struct span value, struct buf *out);
/* The encoded value under a key; empty if there is none. Borrows. */
struct span edit_get(struct span map, const char *key);
/* The body of a frame. */
struct span edit_body(struct span frame);
