#include "common/address.h"

#include <arpa/inet.h>
#include <errno.h>

#include "tests/test.h"

TEST(addresses_as_proxies_write_them)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1:80", "192.0.2.1"},
		{"192.0.2.1:65535", "192.0.2.1"},
		{"2001:DB8::1", "2001:db8::1"},
		{"[2001:db8::1]", "2001:db8::1"},
		{"[2001:db8::1]:443", "2001:db8::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"[::ffff:c000:201]:1", "192.0.2.1"},
		{"::", "::"},
		{"::1", "::1"},
		{"", NULL},
		{"unknown", NULL},
		{"_hidden", NULL},
		{"192.0.2", NULL},
		{"192.0.2.256", NULL},
		{"192.0.2.1:", NULL},
		{"192.0.2.1:x", NULL},
		{"192.0.2.1:123456", NULL},
		{"[192.0.2.1]", NULL},
		{"[2001:db8::1", NULL},
		{"[2001:db8::1]x", NULL},
		{"[2001:db8::1]:", NULL},
		{"[2001:db8::1]:1x", NULL},
		{"2001:db8::1%eth0", NULL},
		{"2001:db8::1:2:3:4:5:6:7:8", NULL},
		{" 192.0.2.1", NULL},
		{"192.0.2.1 ", NULL},
		{"0000000000000000000000000000000000000000000000000000000000000001", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address a = {.bytes = {1, 2, 3}}, before = a;
		char text[ADDRESS_SIZE];
		int error = address_parse(span_str(cases[i].text), &a);

		if (error != (cases[i].want ? 0 : -EINVAL))
			test_fail(__FILE__, __LINE__, "\"%s\": %d", cases[i].text, error);
		else if (cases[i].want)
			CHECK_STR(address_format(&a, text), cases[i].want);
		else
			CHECK(memcmp(&a, &before, sizeof(a)) == 0);
	}
	CHECK_INT(address_parse(SPAN_LITERAL("192.0.2.1\0"), &(struct address){0}), -EINVAL);
}

TEST(a_socket_address_of_either_family)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct sockaddr other = {.sa_family = AF_UNIX};
	struct address a, b;
	char text[ADDRESS_SIZE];

	inet_pton(AF_INET, "192.0.2.7", &in.sin_addr);
	inet_pton(AF_INET6, "::ffff:192.0.2.7", &in6.sin6_addr);
	CHECK(address_of((struct sockaddr *)&in, &a));
	CHECK(address_of((struct sockaddr *)&in6, &b));
	CHECK_STR(address_format(&a, text), "192.0.2.7");
	CHECK(memcmp(&a, &b, sizeof(a)) == 0);
	CHECK(!address_of(&other, &a));
}

static uint64_t client_of(const char *text)
{
	struct address a = {0};

	CHECK_INT(address_parse(span_str(text), &a), 0);
	return address_client(&a);
}

TEST(a_client_is_an_ipv4_address_or_a_64)
{
	CHECK(client_of("192.0.2.1") == client_of("::ffff:192.0.2.1"));
	CHECK(client_of("192.0.2.1") != client_of("192.0.2.2"));
	CHECK(client_of("192.0.2.1") != client_of("193.0.2.1"));
	CHECK(client_of("2001:db8:1:2::1") == client_of("2001:db8:1:2:ffff:ffff:ffff:ffff"));
	CHECK(client_of("2001:db8:1:2::1") != client_of("2001:db8:1:3::1"));
	CHECK(client_of("2001:db8:1:2::1") != client_of("2002:db8:1:2::1"));
	CHECK(client_of("::1") != client_of("0.0.0.1"));
}

TEST(lists_of_networks)
{
	static const struct {
		const char *list, *address;
		bool has;
	} cases[] = {
		{"", "192.0.2.1", false},
		{" , ", "192.0.2.1", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"10.0.0.0/8", "10.255.1.2", true},
		{"10.0.0.0/8", "11.0.0.0", false},
		{"192.0.2.128/25", "192.0.2.127", false},
		{"192.0.2.128/25", "192.0.2.128", true},
		{"192.0.2.77/25", "192.0.2.1", true},
		{"0.0.0.0/0", "203.0.113.9", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "203.0.113.9", true},
		{"2001:db8::/33", "2001:db8:7fff::1", true},
		{"2001:db8::/33", "2001:db8:8000::1", false},
		{"::1", "::1", true},
		{"127.0.0.0/8, ::1,10.1.2.3", "10.1.2.3", true},
		{"127.0.0.0/8, ::1,10.1.2.3", "::1", true},
	};
	static const char *const refused[] = {"x",
					      "192.0.2.1/33",
					      "192.0.2.1/",
					      "::1/129",
					      "192.0.2.1/-1",
					      "192.0.2.1/8x",
					      "192.0.2.1/ 8",
					      "10.0.0.1;::1",
					      "[::1]",
					      "192.0.2.1:80",
					      "localhost",
					      "10/8"};
	struct networks *n;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address a;

		CHECK_INT(address_parse(span_str(cases[i].address), &a), 0);
		CHECK_INT(networks_new(cases[i].list, &n), 0);
		if (networks_has(n, &a) != cases[i].has)
			test_fail(__FILE__, __LINE__, "%s in \"%s\"", cases[i].address,
				  cases[i].list);
		networks_free(n);
	}
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
		if (networks_new(refused[i], &n) != -EINVAL)
			test_fail(__FILE__, __LINE__, "\"%s\" is taken", refused[i]);
}
