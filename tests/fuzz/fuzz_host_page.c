/* Another relay's list of hosts, and what a host says of itself. Every host of a page is one that
 * host_parse takes. */
#include <assert.h>

#include "resolve/host_check.h"
#include "resolve/host_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(void *arg, const struct host_list *list)
{
	struct host host;

	(void)arg;
	assert(list->count <= HOST_LIST_MAX && list->cursor.len <= XRPC_PARAM_MAX);
	for (size_t i = 0; i < list->count; i++) {
		int error = host_parse(list->hosts[i], &host);

		assert(!error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span body = span_of(data, size);
	const struct http_answer answer = {
		.outcome = HTTP_ANSWERED, .status = 200, .body = body, .reason = "HTTP 200"};

	if (size > HOST_PAGE_BODY_MAX)
		return 0;
	host_page_parse(body, take, NULL);
	(void)host_check_judge(&answer);
	return 0;
}
