/*
 * Host names, URLs and patterns from outside. What host_parse takes, host_format writes, and
 * host_parse takes again as the same.
 */
#include <assert.h>
#include <stdlib.h>

#include "common/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct host *h)
{
	char text[LIMIT_HOST + 1];
	struct host again;
	int error = host_parse(span_str(host_format(h, text)), &again);

	assert(!error);
	assert(strcmp(h->name, again.name) == 0 && h->port == again.port);
	assert(host_matches(text, h));
	assert(host_matches("*", h));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct host some = {.name = "pds.example.com", .port = 8443};
	struct span input = span_of(data, size);
	struct host h;
	bool plain;
	char *text;

	if (host_parse(input, &h) == 0)
		check_same(&h);
	if (host_parse_url(input, &h, &plain) == 0)
		check_same(&h);
	text = xmalloc(size + 1);
	if (span_to_str(input, text, size + 1) == 0)
		(void)host_matches(text, &some);
	free(text);
	return 0;
}
