/*
 * Damage to a LevelDB database that is not open, as a disk does it.
 */
#pragma once

#include "common/bytes.h"

/* Flips a bit in every block of the first half of every table. A table is there when the database
 * was opened again after something was written. */
void damage_tables(const char *folder);
/* Zeros for the head of the first record of every log that LevelDB writes ahead, which LevelDB
 * itself would pass over without a word. A log has what was written since the database was
 * opened. */
void damage_logs(const char *folder);
/* Cuts the file whose name begins so to these bytes; below 0: it is gone. */
void damage_file(const char *folder, const char *start, long bytes);
