#include "resolve/document_place.h"

#include <errno.h>
#include <stdio.h>

#include "common/config.h"
#include "tests/test.h"

static struct host_policy *make_policy(const char *plain, const char *private)
{
	struct config *c = config_new();
	char text[256], error[256];
	struct host_policy *p;

	snprintf(text, sizeof(text), "network.plain_hosts=%s", plain);
	CHECK_INT(config_set(c, text, error, sizeof(error)), 0);
	snprintf(text, sizeof(text), "network.private_hosts=%s", private);
	CHECK_INT(config_set(c, text, error, sizeof(error)), 0);
	CHECK_INT(host_policy_new(c, error, sizeof(error), &p), 0);
	config_free(c);
	return p;
}

/* "https://host/path", or the error. */
static void find(const char *did, const struct host_policy *policy, char *ret, size_t size)
{
	struct document_place directory, place;
	char host[LIMIT_HOST + 1];
	int r;

	CHECK_INT(document_place_directory("https://plc.directory", policy, &directory), 0);
	r = document_place_find(span_str(did), &directory, policy, &place);
	if (r < 0)
		snprintf(ret, size, "%s", r == -ENOTSUP ? "none" : "error");
	else
		snprintf(ret, size, "%s %s://%s%s", did_method_name(place.method),
			 place.plain ? "http" : "https", host_format(&place.host, host),
			 place.path);
}

TEST(documents_are_where_their_method_says)
{
	static const struct {
		const char *did, *place;
	} cases[] = {
		{"did:plc:ewvi7nxzyoun6zhxrhs64oiz",
		 "plc https://plc.directory/did:plc:ewvi7nxzyoun6zhxrhs64oiz"},
		{"did:web:example.com", "web https://example.com/.well-known/did.json"},
		{"did:web:plain.example.com", "web http://plain.example.com/.well-known/did.json"},
		{"did:web:localhost%3A8080", "web http://localhost:8080/.well-known/did.json"},
		{"did:web:private.test", "web https://private.test/.well-known/did.json"},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oi", "none"},
		{"did:plc:EWVI7NXZYOUN6ZHXRHS64OIZ", "none"},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oi1", "none"},
		{"did:web:example.com:path", "none"},
		{"did:web:example.com%3A8080", "none"},
		{"did:web:localhost%3A9090", "none"},
		{"did:web:127.0.0.1", "none"},
		{"did:web:10.0.0.1", "none"},
		{"did:web:com", "none"},
		{"did:web:", "none"},
		{"did:web:host.alt", "none"},
		{"did:web:host.arpa", "none"},
		{"did:web:host.example", "none"},
		{"did:web:host.internal", "none"},
		{"did:web:host.invalid", "none"},
		{"did:web:host.local", "none"},
		{"did:web:host.localhost", "none"},
		{"did:web:host.onion", "none"},
		{"did:web:host.test", "none"},
		{"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF", "none"},
		{"did:example:123", "none"},
		{"", "none"},
	};
	struct host_policy *policy = make_policy("plain.example.com localhost:8080",
						 "private.test");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char got[512];

		find(cases[i].did, policy, got, sizeof(got));
		if (strcmp(got, cases[i].place) != 0)
			test_fail(__FILE__, __LINE__, "%s: %s, not %s", cases[i].did, got,
				  cases[i].place);
	}
	host_policy_free(policy);
}

TEST(the_directory_keeps_to_the_policy)
{
	static const struct {
		const char *url;
		int result;
	} cases[] = {
		{"https://plc.directory", 0},         {"https://plc.directory/", 0},
		{"http://localhost:2582", 0},         {"https://localhost:2582", 0},
		{"http://plc.directory", -EINVAL},    {"plc.directory", -EINVAL},
		{"https://plc.directory/x", -EINVAL}, {"", -EINVAL},
	};
	struct host_policy *policy = make_policy("localhost:2582", "");

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct document_place place;

		CHECK_INT(document_place_directory(cases[i].url, policy, &place), cases[i].result);
	}
	host_policy_free(policy);
}
