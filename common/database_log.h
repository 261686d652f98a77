/*
 * The logs that LevelDB writes ahead, NNNNNN.log in its folder, checked before LevelDB reads them:
 * it passes over zeros without a word, and with them over the records after them in their block.
 *
 * A log is a run of blocks, of which a fragment never crosses the end:
 *
 *	u32	masked CRC-32C of type and bytes
 *	u16	length
 *	u8	type: 1 a whole record; 2, 3, 4 the first, a middle, the last fragment of one
 *	bytes
 *
 * A write that a kill or a power cut has interrupted is the last thing in the newest log that has
 * anything, and was not acknowledged. So a log may be damaged from some byte on if no record begins
 * after that, and is cut off there. What has another record after it was finished before, and may
 * not be damaged: every write of whoever cannot do without what was written is synced
 * [LevelDB: log_format].
 */
#pragma once

#include "common/bytes.h"

/* Looks at every log in the folder, and cuts off an interrupted write. -EUCLEAN: a log is damaged
 * otherwise; -EAGAIN: torn, and somebody has the database open; -EIO, -EACCES. ret_reason says
 * which. No folder is as good as an empty one. Not while this process has the database open. */
int database_log_mend(const char *folder, char *ret_reason, size_t reason_size) MUST_CHECK;
/* Of one log's bytes: how many are whole. -EUCLEAN: there is a record after them. */
int database_log_check_bytes(struct span log, size_t *ret_whole_bytes) MUST_CHECK;
