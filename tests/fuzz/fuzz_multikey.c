/* A Multikey has one text; legacy keys are points that a Multikey can hold; and what was taken as a
 * key can be used as one. */
#include <assert.h>

#include "common/multikey.h"
#include "validate/signature.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_use(const struct public_key *key)
{
	static const uint8_t zeros[64];
	struct signatures *s = signatures_new();
	struct signature_key parsed;
	int error = signatures_parse_key(s, key, &parsed);

	assert(!error);
	assert(!signatures_verify(s, &parsed, SPAN_LITERAL("message"), span_of(zeros, 64)));
	signatures_free(s);
}

/* The Multikey of this key, parsed, is this key. */
static void check_format(const struct public_key *key, struct buf *out)
{
	struct public_key again;

	buf_clear(out);
	multikey_format(key, out);
	assert(multikey_parse(buf_span(out), &again) == 0);
	assert(again.curve == key->curve && memcmp(again.point, key->point, PUBLIC_KEY_SIZE) == 0);
	check_use(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = span_of(data, size);
	struct public_key key;
	struct buf out;

	buf_init(&out, 64);
	if (multikey_parse(text, &key) == 0) {
		check_format(&key, &out);
		assert(span_equal(buf_span(&out), text));
	}
	if (did_key_parse(text, &key) == 0)
		check_format(&key, &out);
	if (legacy_key_parse(CURVE_K256, text, &key) == 0)
		check_format(&key, &out);
	if (legacy_key_parse(CURVE_P256, text, &key) == 0)
		check_format(&key, &out);
	buf_release(&out);
	return 0;
}
