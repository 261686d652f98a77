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
 * A write that a kill or a power cut has interrupted is the last thing in the newest log, and was
 * not acknowledged. So a log may be damaged from some byte on if no record begins after that. What
 * has another record after it was finished before, and may not be damaged [LevelDB: log_format].
 */
#pragma once

#include "common/bytes.h"

/* Every log in the folder. ret_is_torn: the newest ends in an interrupted write. -EUCLEAN: a log is
 * damaged otherwise; -EIO. ret_reason says which. No folder is as good as an empty one. */
int database_log_check(const char *folder, bool *ret_is_torn, char *ret_reason,
		       size_t reason_size) MUST_CHECK;
/* Of one log's bytes. -EUCLEAN, then ret_at has the place of the damage. */
int database_log_check_bytes(struct span log, bool *ret_is_torn, size_t *ret_at) MUST_CHECK;
