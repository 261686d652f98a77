/*
 * LevelDB's share of the heap: block cache, memtables, tables' indexes and filters, and whatever
 * else. LevelDB has no allocation hooks, and its own figure leaves the tables out; but it is the
 * only C++ in the process, so what C++'s operator new gives is its memory (and that of snappy,
 * which it calls). This file's operators take the place of the library's in every program that is
 * linked with it, as C++ provides for.
 */
#pragma once

#include "common/bytes.h"

/* Of all databases of the process. -1: not known, in a build with AddressSanitizer, which has
 * operators of its own. */
int64_t leveldb_memory_bytes(void);
