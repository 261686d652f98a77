/*
 * Changes of state that are not written yet: keys with their new values, so that the events of one
 * group see what those before them have done. All values of one key have the same length.
 *
 * At most OVERLAY_BYTES of keys and values; whoever fills it keeps within that (storage.h).
 */
#pragma once

#include "common/bytes.h"

#define OVERLAY_BYTES MIB(4)

struct overlay;

struct overlay *overlay_new(void);
void overlay_free(struct overlay *o);
void overlay_clear(struct overlay *o);

/* ret_value borrows until the next change. */
bool overlay_get(const struct overlay *o, struct span key, struct span *ret_value);
/* Copies. */
void overlay_put(struct overlay *o, struct span key, struct span value);

size_t overlay_count(const struct overlay *o);
/* In the order of the keys' first puts. Borrows until the next change. */
void overlay_at(const struct overlay *o, size_t place, struct span *ret_key,
		struct span *ret_value);
/* Memory it holds. */
size_t overlay_bytes(const struct overlay *o);
