#include "validate/legacy.h"

#include "tests/test.h"

TEST(a_host_is_legacy_until_it_has_outgrown_it)
{
	struct legacy l;

	legacy_init(&l, "old.example.com *.bridge.example");
	CHECK(legacy_has(&l, SPAN_LITERAL("old.example.com")));
	CHECK(legacy_has(&l, SPAN_LITERAL("a.bridge.example")));
	CHECK(!legacy_has(&l, SPAN_LITERAL("new.example.com")));
	legacy_outgrown(&l, SPAN_LITERAL("a.bridge.example"));
	legacy_outgrown(&l, SPAN_LITERAL("new.example.com"));
	CHECK(legacy_has(&l, SPAN_LITERAL("old.example.com")));
	CHECK(!legacy_has(&l, SPAN_LITERAL("a.bridge.example")));
	CHECK(legacy_has(&l, SPAN_LITERAL("b.bridge.example")));
	CHECK_INT(l.outgrown_count, 1);
}

TEST(the_list_of_those_who_have_is_bounded)
{
	struct legacy l;
	char host[64];

	legacy_init(&l, "*.bridge.example");
	for (unsigned i = 0; i < LEGACY_OUTGROWN + 5; i++) {
		snprintf(host, sizeof(host), "h%u.bridge.example", i);
		legacy_outgrown(&l, span_str(host));
	}
	CHECK(!legacy_has(&l, SPAN_LITERAL("h1000.bridge.example")));
	CHECK(!legacy_has(&l, SPAN_LITERAL("h5.bridge.example")));
	CHECK(legacy_has(&l, SPAN_LITERAL("h4.bridge.example")));
}

TEST(without_patterns_no_host_is)
{
	struct legacy l;

	legacy_init(&l, "");
	CHECK(!legacy_has(&l, SPAN_LITERAL("old.example.com")));
}
