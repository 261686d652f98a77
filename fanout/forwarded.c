#include "fanout/forwarded.h"

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

/* Takes the last element off, without the spaces around it. */
static struct span take_last(struct span *list)
{
	size_t end = list->len, start;

	for (start = end; start > 0 && list->ptr[start - 1] != ',';)
		start--;
	list->len = start > 0 ? start - 1 : 0;
	while (start < end && is_space(list->ptr[start]))
		start++;
	while (start < end && is_space(list->ptr[end - 1]))
		end--;
	return span_of(list->ptr + start, end - start);
}

struct address forwarded_client(const struct networks *trusted, const struct address *peer,
				struct span list)
{
	struct address client = *peer, next;

	while (list.len > 0 && networks_has(trusted, &client)) {
		if (address_parse(take_last(&list), &next) < 0)
			break;
		client = next;
	}
	return client;
}
