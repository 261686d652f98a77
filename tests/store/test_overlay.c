#include "store/overlay.h"

#include "tests/test.h"

TEST(last_value_of_a_key)
{
	struct overlay *o = overlay_new();
	struct span key, value;

	CHECK(!overlay_get(o, SPAN_LITERAL("a"), &value));
	overlay_put(o, SPAN_LITERAL("a"), SPAN_LITERAL("one"));
	overlay_put(o, SPAN_LITERAL("b"), SPAN_LITERAL("other"));
	overlay_put(o, SPAN_LITERAL("a"), SPAN_LITERAL("two"));
	CHECK_INT(overlay_count(o), 2);
	CHECK(overlay_get(o, SPAN_LITERAL("a"), &value) && span_is(value, "two"));
	overlay_at(o, 1, &key, &value);
	CHECK(span_is(key, "b") && span_is(value, "other"));
	overlay_clear(o);
	CHECK_INT(overlay_count(o), 0);
	CHECK(!overlay_get(o, SPAN_LITERAL("a"), &value));
	overlay_free(o);
}

/* More keys than buckets, so that some share one. */
TEST(many_keys)
{
	struct overlay *o = overlay_new();
	struct span value;

	for (uint32_t round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 5000; i++) {
			uint32_t v = i + round;

			overlay_put(o, span_of(&i, sizeof(i)), span_of(&v, sizeof(v)));
		}
	CHECK_INT(overlay_count(o), 5000);
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t v = i + 1;

		CHECK(overlay_get(o, span_of(&i, sizeof(i)), &value));
		CHECK_SPAN(value, span_of(&v, sizeof(v)));
	}
	CHECK(overlay_bytes(o) >= 5000 * 8);
	overlay_free(o);
}
