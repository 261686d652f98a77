#include "ctl/exposition.h"

#include <errno.h>
#include <stdlib.h>

/* The value of a line "NAME 1" or "NAME{...} 1"; label values of ours hold no braces. */
static bool sample_of(struct span line, struct span name, struct exposition_sample *ret)
{
	struct exposition_sample sample = {0};
	char value[64];
	size_t at = name.len;

	if (!span_starts_with(line, name) || line.len == at)
		return false;
	if (line.ptr[at] == '{') {
		const uint8_t *end = memchr(line.ptr + at, '}', line.len - at);

		if (!end)
			return false;
		sample.labels = span_of(line.ptr + at, (size_t)(end - line.ptr) + 1 - at);
		at += sample.labels.len;
	}
	if (at >= line.len || line.ptr[at] != ' ')
		return false;
	if (span_to_str(span_of(line.ptr + at + 1, line.len - at - 1), value, sizeof(value)) != 0)
		return false;
	sample.value = strtod(value, NULL);
	*ret = sample;
	return true;
}

bool exposition_next(struct span *text, const char *name, struct exposition_sample *ret)
{
	while (text->len > 0) {
		const uint8_t *end = memchr(text->ptr, '\n', text->len);
		size_t len = end ? (size_t)(end - text->ptr) : text->len;
		struct span line = span_of(text->ptr, len);

		len += end ? 1 : 0;
		*text = span_of(text->ptr + len, text->len - len);
		if (sample_of(line, span_str(name), ret))
			return true;
	}
	return false;
}

int exposition_sum(struct span text, const char *name, double *ret)
{
	struct exposition_sample sample;
	double sum = 0;
	bool found = false;

	while (exposition_next(&text, name, &sample)) {
		sum += sample.value;
		found = true;
	}
	if (!found)
		return -ENOENT;
	*ret = sum;
	return 0;
}

int exposition_find(struct span text, const char *name, const char *label, double *ret)
{
	struct exposition_sample sample;

	while (exposition_next(&text, name, &sample)) {
		if (*label && (sample.labels.len == 0 ||
			       !memmem(sample.labels.ptr, sample.labels.len, label, strlen(label))))
			continue;
		*ret = sample.value;
		return 0;
	}
	return -ENOENT;
}

struct span exposition_label(struct span labels, const char *name)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s=\"", name);
	const uint8_t *at = memmem(labels.ptr, labels.len, text, (size_t)n), *end;

	if (!at)
		return SPAN_EMPTY;
	at += n;
	end = memchr(at, '"', labels.len - (size_t)(at - labels.ptr));
	return end ? span_of(at, (size_t)(end - at)) : SPAN_EMPTY;
}
