/* What holds between the kinds of identifiers. */
#include <assert.h>

#include "common/limits.h"
#include "common/syntax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_printable_ascii(struct span s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
			return false;
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span s = span_of(data, size), collection;
	bool did = did_is_valid(s), handle = handle_is_valid(s), host = hostname_is_valid(s);
	bool path = repo_path_is_valid(s, &collection), key = record_key_is_valid(s);

	if (did || handle || host || path || key || nsid_is_valid(s) || datetime_is_valid(s))
		assert(is_printable_ascii(s) && s.len > 0 && s.len <= LIMIT_DID);
	if (did_is_plc(s) || did_is_web(s))
		assert(did);
	if (path)
		assert(nsid_is_valid(collection) && s.ptr[collection.len] == '/' && !key);
	if (nsid_is_valid(s))
		assert(key && !did);
	if (tid_is_valid(s)) {
		uint8_t tid[TID_SIZE];

		/* All but the clock's two characters, unless the top bit is set, which no time
		 * needs. */
		tid_format(tid_usec(s), 0, tid);
		assert(key && tid_is_valid(span_of(tid, TID_SIZE)));
		assert(s.ptr[0] > 'b' || memcmp(tid, s.ptr, TID_SIZE - 2) == 0);
	}
	return 0;
}
