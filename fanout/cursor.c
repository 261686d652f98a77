#include "fanout/cursor.h"

#include <errno.h>

int cursor_parse(struct span text, struct cursor *ret)
{
	uint64_t seq = 0;

	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9' ||
		    __builtin_mul_overflow(seq, 10, &seq) ||
		    __builtin_add_overflow(seq, (uint64_t)(text.ptr[i] - '0'), &seq) ||
		    seq > INT64_MAX)
			return -EINVAL;
	}
	*ret = (struct cursor){.given = true, .seq = seq};
	return 0;
}

enum cursor_place cursor_find(const struct cursor *c, const struct head *head, uint64_t *ret_seq)
{
	*ret_seq = head->next_seq;
	if (!c->given)
		return CURSOR_LIVE;
	if (c->seq >= head->next_seq && c->seq > 0)
		return CURSOR_FUTURE;
	*ret_seq = head->first_seq;
	if (c->seq == 0)
		return CURSOR_OLDEST;
	if (c->seq + 1 < head->first_seq)
		return CURSOR_OUTDATED;
	*ret_seq = c->seq + 1;
	return CURSOR_WINDOW;
}
