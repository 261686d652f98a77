#include "ctl/exposition.h"

#include <errno.h>
#include <stdlib.h>

/* The value of a line "NAME 1" or "NAME{...} 1"; label values of ours hold no braces. */
static bool sample_of(struct span line, struct span name, double *ret)
{
	char value[64];
	size_t at = name.len;

	if (!span_starts_with(line, name) || line.len == at)
		return false;
	if (line.ptr[at] == '{') {
		const uint8_t *end = memchr(line.ptr + at, '}', line.len - at);

		if (!end)
			return false;
		at = (size_t)(end - line.ptr) + 1;
	}
	if (at >= line.len || line.ptr[at] != ' ')
		return false;
	if (span_to_str(span_of(line.ptr + at + 1, line.len - at - 1), value, sizeof(value)) != 0)
		return false;
	*ret = strtod(value, NULL);
	return true;
}

int exposition_sum(struct span text, const char *name, double *ret)
{
	double sum = 0, value;
	bool found = false;

	while (text.len > 0) {
		const uint8_t *end = memchr(text.ptr, '\n', text.len);
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		if (sample_of(span_of(text.ptr, len), span_str(name), &value)) {
			sum += value;
			found = true;
		}
		len += end ? 1 : 0;
		text = span_of(text.ptr + len, text.len - len);
	}
	if (!found)
		return -ENOENT;
	*ret = sum;
	return 0;
}
