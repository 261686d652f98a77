/* Header values of a WebSocket handshake: keys that are taken can be answered, and tokens are found
 * only where the text has them. */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "fanout/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = xmalloc(size + 1);
	char accept[WEBSOCKET_ACCEPT_SIZE];

	memcpy(text, data, size);
	text[size] = '\0';
	if (websocket_key_is_valid(text)) {
		websocket_accept(text, accept);
		assert(strlen(accept) == WEBSOCKET_ACCEPT_SIZE - 1);
	}
	if (websocket_has_token(text, "upgrade"))
		assert(strcasestr(text, "upgrade"));
	free(text);
	return 0;
}
