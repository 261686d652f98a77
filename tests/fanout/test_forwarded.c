#include "fanout/forwarded.h"

#include "tests/test.h"

TEST(the_rightmost_address_that_is_not_trusted)
{
	static const struct {
		const char *peer, *list, *want;
	} cases[] = {
		{"203.0.113.5", "", "203.0.113.5"},
		/* Whoever is no proxy may write what he likes. */
		{"203.0.113.5", "192.0.2.1", "203.0.113.5"},
		{"10.0.0.1", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1", "198.51.100.1, 192.0.2.1", "192.0.2.1"},
		{"10.0.0.1", "198.51.100.1,192.0.2.1 , 10.0.0.2", "192.0.2.1"},
		{"10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"10.0.0.1", "2001:db8::7", "2001:db8::7"},
		{"10.0.0.1", "[2001:db8::7]:4000", "2001:db8::7"},
		{"::1", "192.0.2.1:4000", "192.0.2.1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"10.0.0.1", "unknown", "10.0.0.1"},
		{"10.0.0.1", "192.0.2.1, unknown", "10.0.0.1"},
		{"10.0.0.1", "192.0.2.1, unknown, 10.0.0.2", "10.0.0.2"},
		{"10.0.0.1", "192.0.2.1,", "10.0.0.1"},
		{"10.0.0.1", ",", "10.0.0.1"},
		{"10.0.0.1", "  ", "10.0.0.1"},
	};
	struct networks *trusted;

	CHECK_INT(networks_new("10.0.0.0/8 ::1", &trusted), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address peer, got;
		char text[ADDRESS_SIZE];

		CHECK_INT(address_parse(span_str(cases[i].peer), &peer), 0);
		got = forwarded_client(trusted, &peer, span_str(cases[i].list));
		address_format(&got, text);
		if (strcmp(text, cases[i].want) != 0)
			test_fail(__FILE__, __LINE__, "%s, \"%s\": %s, not %s", cases[i].peer,
				  cases[i].list, text, cases[i].want);
	}
	networks_free(trusted);
}
