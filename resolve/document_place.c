#include "resolve/document_place.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "common/syntax.h"

#define WEB_PREFIX "did:web:"

int document_place_directory(const char *url, const struct host_policy *policy,
			     struct document_place *ret)
{
	struct document_place place = {.method = DID_METHOD_PLC};

	if (host_parse_url(span_str(url), &place.host, &place.plain) < 0)
		return -EINVAL;
	if (place.plain && !host_policy_is_plain(policy, &place.host))
		return -EINVAL;
	*ret = place;
	return 0;
}

/* Whether a host is in one of the two lists of network.*, by which alone loopback can be
 * reached. */
static bool is_listed(const struct host_policy *policy, const struct host *host)
{
	struct sockaddr_in loopback = {.sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return host_policy_allows(policy, host, (const struct sockaddr *)&loopback);
}

/* Top-level domains under which no handle and no did:web lives [handle: additional non-syntax
 * restrictions]. An all-numeric one belongs to an address. */
static bool is_reserved(const struct host *host)
{
	static const char *const reserved[] = {"alt",       "arpa",    "example",
					       "internal",  "invalid", "local",
					       "localhost", "onion",   "test"};
	const char *dot = strrchr(host->name, '.'), *top = dot ? dot + 1 : host->name;

	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (strcmp(top, reserved[i]) == 0)
			return true;
	return top[0] >= '0' && top[0] <= '9';
}

/* The host of a valid did:web, its port (%3A) decoded. */
static int parse_web(struct span did, struct host *ret)
{
	struct span prefix = SPAN_LITERAL(WEB_PREFIX);
	char text[LIMIT_HOST + 3], *colon;

	if (span_to_str(span_of(did.ptr + prefix.len, did.len - prefix.len), text, sizeof(text)) <
	    0)
		return -EINVAL;
	colon = strchr(text, '%');
	if (colon) {
		*colon = ':';
		memmove(colon + 1, colon + 3, strlen(colon + 3) + 1);
	}
	return host_parse(span_str(text), ret);
}

int document_place_find(struct span did, const struct document_place *directory,
			const struct host_policy *policy, struct document_place *ret)
{
	struct document_place place = {.method = DID_METHOD_WEB};

	if (did_is_plc(did)) {
		place = *directory;
		snprintf(place.path, sizeof(place.path), "/%.*s", (int)did.len,
			 (const char *)did.ptr);
		*ret = place;
		return 0;
	}
	if (!did_is_web(did) || parse_web(did, &place.host) < 0)
		return -ENOTSUP;
	if (is_reserved(&place.host) && !is_listed(policy, &place.host))
		return -ENOTSUP;
	place.plain = host_policy_is_plain(policy, &place.host);
	snprintf(place.path, sizeof(place.path), "/.well-known/did.json");
	*ret = place;
	return 0;
}

const char *did_method_name(enum did_method method)
{
	static const char *const names[DID_METHODS] = {
		[DID_METHOD_PLC] = "plc",
		[DID_METHOD_WEB] = "web",
	};

	return method < DID_METHODS ? names[method] : "unknown";
}
