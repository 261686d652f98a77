#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "common/config.h"
#include "common/host.h"

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define NAME_253                                                                                   \
	LABEL_63 "." LABEL_63 "." LABEL_63 "."                                                     \
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char *format(const struct host *h)
{
	static char text[LIMIT_HOST + 1];

	return host_format(h, text);
}

TEST(parse)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} cases[] = {
		{"pds.example.com", "pds.example.com"},
		{"PDS.Example.COM", "pds.example.com"},
		{"pds.example.com:8443", "pds.example.com:8443"},
		{"pds.example.com:443", "pds.example.com"},
		{"pds.example.com:80", "pds.example.com:80"},
		{"pds.example.com:65535", "pds.example.com:65535"},
		{"localhost", "localhost"},
		{"localhost:2583", "localhost:2583"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1.example", "1.example"},
		{"127.0.0.1", "127.0.0.1"},
		{"127.0.0.1:80", "127.0.0.1:80"},
		{"127.9.8.7:1", "127.9.8.7:1"},
		{LABEL_63 ".example", LABEL_63 ".example"},
		{NAME_253, NAME_253},
		{NAME_253 ":65535", NAME_253 ":65535"},
		{"", NULL},
		{":80", NULL},
		{"a.example:", NULL},
		{"a.example:0", NULL},
		{"a.example:080", NULL},
		{"a.example:65536", NULL},
		{"a.example:123456", NULL},
		{"a.example:+1", NULL},
		{"a.example:8x", NULL},
		{"a.example:1:2", NULL},
		{"a.example.", NULL},
		{".example", NULL},
		{"a..example", NULL},
		{"-a.example", NULL},
		{"a-.example", NULL},
		{"a_b.example", NULL},
		{"a b.example", NULL},
		{"b\xc3\xbc.example", NULL},
		{"a.example/", NULL},
		{"user@a.example", NULL},
		{"a" LABEL_63 ".example", NULL},
		{"a" NAME_253, NULL},
		{"10.0.0.1", NULL},
		{"8.8.8.8", NULL},
		{"128.0.0.1", NULL},
		{"127.1", NULL},
		{"127.0.0.1.2", NULL},
		{"127.0.0.01", NULL},
		{"127.0.0.256", NULL},
		{"2130706433", NULL},
		{"0x7f.0.0.0x1", NULL},
		{"[::1]", NULL},
		{"[::1]:80", NULL},
		{"::1", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host h = {.name = "untouched", .port = 7};
		int error = host_parse(span_str(cases[i].text), &h);

		CHECK_INT(error, cases[i].want ? 0 : -EINVAL);
		CHECK_STR(format(&h), cases[i].want ? cases[i].want : "untouched:7");
	}
	CHECK_INT(host_parse(span_of("a\0.example", 10), &(struct host){.port = 0}), -EINVAL);
}

TEST(parse_url)
{
	static const struct {
		const char *text, *want;
		bool plain;
	} cases[] = {
		{"https://pds.example.com", "pds.example.com", false},
		{"HTTPS://PDS.example.com/", "pds.example.com", false},
		{"https://pds.example.com:443", "pds.example.com", false},
		{"https://pds.example.com:80", "pds.example.com:80", false},
		{"http://pds.example.com", "pds.example.com", true},
		{"http://pds.example.com:80/", "pds.example.com", true},
		{"http://127.0.0.1:2583", "127.0.0.1:2583", true},
		{"http://pds.example.com:443", NULL, false},
		{"https://pds.example.com//", NULL, false},
		{"https://pds.example.com/x", NULL, false},
		{"https://pds.example.com?x", NULL, false},
		{"https://pds.example.com/#", NULL, false},
		{"https://a@pds.example.com", NULL, false},
		{"https://a:b@pds.example.com", NULL, false},
		{"https://8.8.8.8", NULL, false},
		{"https://", NULL, false},
		{"https:///", NULL, false},
		{"https:/a.example", NULL, false},
		{"wss://a.example", NULL, false},
		{"a.example", NULL, false},
		{" https://a.example", NULL, false},
		{"", NULL, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host h = {.name = "untouched"};
		bool plain = false;
		int error = host_parse_url(span_str(cases[i].text), &h, &plain);

		CHECK_INT(error, cases[i].want ? 0 : -EINVAL);
		CHECK_STR(format(&h), cases[i].want ? cases[i].want : "untouched");
		CHECK_INT(plain, cases[i].plain);
		CHECK_INT(host_parse_url(span_str(cases[i].text), &h, NULL), error);
	}
}

TEST(ids)
{
	/* SHA-256 of "abc" begins with ba7816bf 8f01cfea; the first byte is the lowest. */
	CHECK(host_id(span_str("abc")) == UINT64_C(0xeacf018fbf1678ba));
	CHECK(host_id(span_str("a.example")) != host_id(span_str("a.example:80")));
}

TEST(patterns)
{
	static const struct {
		const char *patterns, *host;
		bool want;
	} cases[] = {
		{"", "a.example", false},
		{"*", "a.example:1", true},
		{"a.example", "a.example", true},
		{"a.example", "a.example:1", false},
		{"A.Example", "a.example", true},
		{"a.example", "b.a.example", false},
		{"a.example:1", "a.example:1", true},
		{"a.example:1", "a.example:2", false},
		{"a.example:1", "a.example", false},
		{"a.example:443", "a.example", true},
		{"a.example:*", "a.example", true},
		{"a.example:*", "a.example:1", true},
		{"a.example:*", "b.example:1", false},
		{"*.example", "a.example", true},
		{"*.example", "b.a.example:1", true},
		{"*.EXAMPLE", "a.example", true},
		{"*.example", "example", false},
		{"*.example", "aexample", false},
		{"*.a.example", "ba.example", false},
		{"*.a.example", "bba.example", false},
		{"127.0.0.1:*", "127.0.0.1:4444", true},
		{"localhost:*", "localhost:4444", true},
		{"b.example, c.example\ta.example", "a.example", true},
		{",, ,a.example,,", "a.example", true},
		{"b.example,c.example", "a.example", false},
		{"_bad_ a.example", "a.example", true},
		{"*a.example", "a.example", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct host h;

		CHECK_INT(host_parse(span_str(cases[i].host), &h), 0);
		CHECK_INT(host_matches(cases[i].patterns, &h), cases[i].want);
	}
}

/* ret: in the form that sockets use. */
static void address_of(const char *text, struct sockaddr_storage *ret)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
		memcpy(ret, &v4, sizeof(v4));
	} else {
		CHECK_INT(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
		memcpy(ret, &v6, sizeof(v6));
	}
}

/* By the IANA special-purpose registries: the edges of each range. */
static const struct {
	const char *address;
	bool want;
} public_cases[] = {
	{"8.8.8.8", true},
	{"1.1.1.1", true},
	{"0.0.0.0", false},
	{"0.255.255.255", false},
	{"1.0.0.0", true},
	{"9.255.255.255", true},
	{"10.0.0.0", false},
	{"10.255.255.255", false},
	{"11.0.0.0", true},
	{"100.63.255.255", true},
	{"100.64.0.0", false},
	{"100.127.255.255", false},
	{"100.128.0.0", true},
	{"126.255.255.255", true},
	{"127.0.0.1", false},
	{"127.255.255.255", false},
	{"128.0.0.0", true},
	{"169.253.255.255", true},
	{"169.254.0.0", false},
	{"169.254.169.254", false},
	{"169.255.0.0", true},
	{"172.15.255.255", true},
	{"172.16.0.0", false},
	{"172.31.255.255", false},
	{"172.32.0.0", true},
	{"192.0.0.0", false},
	{"192.0.1.0", true},
	{"192.0.2.1", false},
	{"192.0.3.0", true},
	{"192.88.99.1", false},
	{"192.167.255.255", true},
	{"192.168.0.0", false},
	{"192.168.255.255", false},
	{"192.169.0.0", true},
	{"198.17.255.255", true},
	{"198.18.0.0", false},
	{"198.19.255.255", false},
	{"198.20.0.0", true},
	{"198.51.100.7", false},
	{"198.51.101.0", true},
	{"203.0.113.7", false},
	{"203.0.114.0", true},
	{"223.255.255.255", true},
	{"224.0.0.1", false},
	{"239.255.255.255", false},
	{"240.0.0.0", false},
	{"255.255.255.255", false},
	{"2606:4700::1111", true},
	{"2a00:1450::1", true},
	{"2001:200::1", true},
	{"::", false},
	{"::1", false},
	{"::8.8.8.8", false},
	{"::ffff:8.8.8.8", true},
	{"::ffff:127.0.0.1", false},
	{"::ffff:10.1.2.3", false},
	{"::ffff:169.254.169.254", false},
	{"::ffff:0:8.8.8.8", false},
	{"::ffff:0:10.0.0.1", false},
	{"64:ff9b::8.8.8.8", true},
	{"64:ff9b::10.0.0.1", false},
	{"64:ff9b:1::1", false},
	{"100::1", false},
	{"2001::1", false},
	{"2001:0:53aa::1", false},
	{"2001:2::1", false},
	{"2001:10::1", false},
	{"2001:20::1", false},
	{"2001:1ff:ffff::", false},
	{"2001:db8::1", false},
	{"2001:db7::1", true},
	{"2001:db9::1", true},
	{"2002:808:808::1", true},
	{"2002:a00:1::1", false},
	{"2002:7f00:1::", false},
	{"2002:c0a8:1::", false},
	{"3ffe::1", true},
	{"3fff::1", false},
	{"3fff:fff::1", false},
	{"3fff:1000::1", true},
	{"4000::1", false},
	{"5f00::1", false},
	{"1fff::1", false},
	{"fc00::1", false},
	{"fdff::1", false},
	{"fe80::1", false},
	{"febf::1", false},
	{"fec0::1", false},
	{"ff02::1", false},
};

TEST(public_addresses)
{
	struct sockaddr_storage address;
	struct sockaddr_un local = {.sun_family = AF_UNIX};

	for (size_t i = 0; i < ARRAY_SIZE(public_cases); i++) {
		address_of(public_cases[i].address, &address);
		if (address_is_public((const struct sockaddr *)&address) != public_cases[i].want)
			test_fail(__FILE__, __LINE__, "%s", public_cases[i].address);
	}
	CHECK(!address_is_public((const struct sockaddr *)&local));
}

/* A policy from assignments "section.key=value", NULL at their end. Its error in ret_error. */
static struct host_policy *policy_of(const char *const *assignments, char ret_error[static 512])
{
	struct config *c = config_new();
	struct host_policy *p = NULL;

	ret_error[0] = '\0';
	for (; *assignments; assignments++)
		CHECK_INT(config_set(c, *assignments, ret_error, 512), 0);
	CHECK_INT(host_policy_new(c, ret_error, 512, &p), *ret_error ? -EINVAL : 0);
	config_free(c);
	return p;
}

static bool allows(const struct host_policy *p, const char *host, const char *address)
{
	struct sockaddr_storage storage;
	struct host h;

	CHECK_INT(host_parse(span_str(host), &h), 0);
	address_of(address, &storage);
	return host_policy_allows(p, &h, (const struct sockaddr *)&storage);
}

static bool is_plain(const struct host_policy *p, const char *host)
{
	struct host h;

	CHECK_INT(host_parse(span_str(host), &h), 0);
	return host_policy_is_plain(p, &h);
}

TEST(policy_lists)
{
	static const char *const lists[] = {"network.plain_hosts=localhost:*, *.test",
					    "network.private_hosts=pds.lan 127.0.0.1:*", NULL};
	static const char *const nothing[] = {NULL};
	char error[512];
	struct host_policy *p = policy_of(nothing, error);

	CHECK(!is_plain(p, "localhost:1"));
	CHECK(allows(p, "a.example", "8.8.8.8"));
	CHECK(!allows(p, "a.example", "127.0.0.1"));
	CHECK(!allows(p, "localhost", "127.0.0.1"));
	host_policy_free(p);
	p = policy_of(lists, error);
	CHECK(is_plain(p, "localhost:1"));
	CHECK(is_plain(p, "a.test"));
	CHECK(!is_plain(p, "pds.lan"));
	CHECK(!is_plain(p, "a.example"));
	CHECK(allows(p, "localhost:1", "::1"));
	CHECK(allows(p, "a.b.test", "10.0.0.1"));
	CHECK(allows(p, "pds.lan", "10.0.0.1"));
	CHECK(!allows(p, "pds.lan:1", "10.0.0.1"));
	CHECK(allows(p, "pds.lan:1", "8.8.8.8"));
	CHECK(allows(p, "127.0.0.1:99", "127.0.0.1"));
	CHECK(!allows(p, "a.example", "10.0.0.1"));
	host_policy_free(p);
	host_policy_free(NULL);
}

TEST(policy_refuses_what_is_no_pattern)
{
	static const struct {
		const char *assignment, *error;
	} cases[] = {
		{"network.plain_hosts=a.example https://b.example",
		 "network.plain_hosts: \"https://b.example\" is no pattern of hosts"},
		{"network.private_hosts=*a.example",
		 "network.private_hosts: \"*a.example\" is no pattern of hosts"},
		{"network.private_hosts=10.0.0.1",
		 "network.private_hosts: \"10.0.0.1\" is no pattern of hosts"},
		{"network.private_hosts=*.",
		 "network.private_hosts: \"*.\" is no pattern of hosts"},
		{"network.private_hosts=:*",
		 "network.private_hosts: \":*\" is no pattern of hosts"},
		{"network.private_hosts=a.example;b.example",
		 "network.private_hosts: \"a.example;b.example\" is no pattern of hosts"},
		{"network.hosts_file=/nonexistent/hosts",
		 "network.hosts_file: /nonexistent/hosts: No such file or directory"},
		{"network.hosts_file=/", "network.hosts_file: /: Is a directory"},
	};
	char error[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *assignments[] = {cases[i].assignment, NULL};
		struct config *c = config_new();
		struct host_policy *p = NULL;

		CHECK_INT(config_set(c, assignments[0], error, sizeof(error)), 0);
		CHECK_INT(host_policy_new(c, error, sizeof(error), &p), -EINVAL);
		CHECK_STR(error, cases[i].error);
		CHECK(p == NULL);
		config_free(c);
	}
}

/* A policy with a hosts file of this text; NULL and the reason (without the path) in ret_error if
 * it is refused. */
static struct host_policy *policy_of_file(const char *text, char ret_error[static 512])
{
	char path[128], assignment[160], reason[512] = "";
	struct config *c = config_new();
	struct host_policy *p = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	f = fopen(path, "we");
	fputs(text, f);
	fclose(f);
	snprintf(assignment, sizeof(assignment), "network.hosts_file=%s", path);
	CHECK_INT(config_set(c, assignment, reason, sizeof(reason)), 0);
	CHECK_INT(host_policy_new(c, reason, sizeof(reason), &p), *reason ? -EINVAL : 0);
	snprintf(ret_error, 512, "%s", *reason ? reason + strlen(path) : "");
	config_free(c);
	return p;
}

/* "ADDRESS PORT", or "" if the file has no such name. */
static const char *lookup(const struct host_policy *p, const char *name, uint16_t port)
{
	static char text[INET6_ADDRSTRLEN + 8];
	char address[INET6_ADDRSTRLEN];
	struct sockaddr_storage storage;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct host h;
	socklen_t len = 0;

	CHECK_INT(host_parse(span_str(name), &h), 0);
	if (host_policy_address(p, &h, port, &storage, &len) == -ENOENT)
		return "";
	if (storage.ss_family == AF_INET) {
		memcpy(&v4, &storage, sizeof(v4));
		CHECK_INT(len, sizeof(v4));
		inet_ntop(AF_INET, &v4.sin_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "%s %u", address, ntohs(v4.sin_port));
	} else {
		memcpy(&v6, &storage, sizeof(v6));
		CHECK_INT(len, sizeof(v6));
		inet_ntop(AF_INET6, &v6.sin6_addr, address, sizeof(address));
		snprintf(text, sizeof(text), "%s %u", address, ntohs(v6.sin6_port));
	}
	return text;
}

TEST(hosts_file)
{
	char error[512];
	struct host_policy *p = policy_of_file("# comment\n"
					       "127.0.0.1 localhost PDS.test # more\n"
					       "\n"
					       "  ::1\tsix.test   alias.test\r\n"
					       "10.0.0.9 pds.test # too late\n"
					       "10.0.0.8",
					       error);

	CHECK_STR(error, "");
	CHECK_STR(lookup(p, "pds.test", 80), "127.0.0.1 80");
	CHECK_STR(lookup(p, "pds.test:8080", 8080), "127.0.0.1 8080");
	CHECK_STR(lookup(p, "localhost", 1), "127.0.0.1 1");
	CHECK_STR(lookup(p, "six.test", 443), "::1 443");
	CHECK_STR(lookup(p, "alias.test", 443), "::1 443");
	CHECK_STR(lookup(p, "other.test", 443), "");
	CHECK_STR(lookup(p, "a.pds.test", 443), "");
	host_policy_free(p);
	p = policy_of_file("", error);
	CHECK_STR(lookup(p, "pds.test", 443), "");
	host_policy_free(p);
}

TEST(hosts_file_is_refused)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"127.0.0.1 a.test\nlocalhost 127.0.0.1\n", ":2: no address at the beginning"},
		{"127.0.0.1 a.test\n127.0.0.1.2 b.test\n", ":2: no address at the beginning"},
		{"fe80::1%lo a.test\n", ":1: no address at the beginning"},
		{"127.0.0.1 a.test b_.test\n", ":1: a name is no host name"},
		{"127.0.0.1 a.test:80\n", ":1: a name is no host name"},
	};
	char error[512];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK(policy_of_file(cases[i].text, error) == NULL);
		CHECK_STR(error, cases[i].error);
	}
}

TEST(thousands_of_hosts)
{
	char error[512], name[64], want[64];
	struct host_policy *p;
	struct buf text;

	buf_init(&text, MIB(4));
	for (unsigned i = 0; i < 20000; i++)
		buf_printf(&text, "10.%u.%u.%u host-%u.test\n", i >> 16, i >> 8 & 255, i & 255, i);
	buf_put_u8(&text, '\0');
	p = policy_of_file((const char *)text.ptr, error);
	for (unsigned i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "host-%u.test", i);
		snprintf(want, sizeof(want), "10.%u.%u.%u 443", i >> 16, i >> 8 & 255, i & 255);
		CHECK_STR(lookup(p, name, 443), want);
	}
	CHECK_STR(lookup(p, "host-20000.test", 443), "");
	buf_release(&text);
	host_policy_free(p);
}
