#include "common/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#define MAPPED_BYTES 12 /* of ::ffff:0:0/96, before an IPv4 address */
#define SEPARATORS   " ,"

static const uint8_t mapped[MAPPED_BYTES] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const struct address *a)
{
	return memcmp(a->bytes, mapped, MAPPED_BYTES) == 0;
}

static struct address from_v4(const void *bytes)
{
	struct address a;

	memcpy(a.bytes, mapped, MAPPED_BYTES);
	memcpy(a.bytes + MAPPED_BYTES, bytes, 4);
	return a;
}

bool address_of(const struct sockaddr *sa, struct address *ret)
{
	if (sa->sa_family == AF_INET)
		*ret = from_v4(&((const struct sockaddr_in *)(const void *)sa)->sin_addr);
	else if (sa->sa_family == AF_INET6)
		memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
	else
		return false;
	return true;
}

/* Of one family or the other, and nothing else. */
static int parse_bare(const char *text, struct address *ret)
{
	uint8_t v4[4];

	if (inet_pton(AF_INET, text, v4) == 1)
		*ret = from_v4(v4);
	else if (inet_pton(AF_INET6, text, ret->bytes) != 1)
		return -EINVAL;
	return 0;
}

static bool is_port(const char *text)
{
	size_t digits = strspn(text, "0123456789");

	return digits >= 1 && digits <= 5 && text[digits] == '\0';
}

int address_parse(struct span text, struct address *ret)
{
	char copy[ADDRESS_SIZE + 8];
	char *start = copy, *colon, *bracket;
	struct address a;

	if (span_to_str(text, copy, sizeof(copy)) < 0)
		return -EINVAL;
	bracket = copy[0] == '[' ? strchr(copy, ']') : NULL;
	colon = strchr(copy, ':');
	if (bracket) {
		if (bracket[1] != '\0' && (bracket[1] != ':' || !is_port(bracket + 2)))
			return -EINVAL;
		*bracket = '\0';
		start++;
	} else if (colon && strchr(colon + 1, ':') == NULL) {
		if (!is_port(colon + 1))
			return -EINVAL;
		*colon = '\0';
	}
	/* IPv4 does not stand in brackets. */
	if ((bracket && !strchr(start, ':')) || parse_bare(start, &a) < 0)
		return -EINVAL;
	*ret = a;
	return 0;
}

const char *address_format(const struct address *a, char ret[static ADDRESS_SIZE])
{
	bool v4 = is_v4(a);

	inet_ntop(v4 ? AF_INET : AF_INET6, a->bytes + (v4 ? MAPPED_BYTES : 0), ret, ADDRESS_SIZE);
	return ret;
}

uint64_t address_client(const struct address *a)
{
	uint64_t n = 0;

	/* The mapped ones have no network of their own in IPv6: all of them are in ::/64. */
	for (size_t i = is_v4(a) ? 8 : 0, end = i + 8; i < end; i++)
		n = n << 8 | a->bytes[i];
	return n;
}

/* ---- lists ---- */

struct network {
	struct address address;
	unsigned bits;
};

struct networks {
	size_t count;
	struct network networks[];
};

static bool network_has(const struct network *n, const struct address *a)
{
	size_t whole = n->bits / 8;
	unsigned rest = n->bits % 8;
	uint8_t mask = (uint8_t)(0xff00u >> rest);

	if (memcmp(n->address.bytes, a->bytes, whole) != 0)
		return false;
	return rest == 0 || ((n->address.bytes[whole] ^ a->bytes[whole]) & mask) == 0;
}

static int parse_network(struct span text, struct network *ret)
{
	char copy[ADDRESS_SIZE + 4], end;
	unsigned bits = 0, most;
	char *slash;

	if (span_to_str(text, copy, sizeof(copy)) < 0)
		return -EINVAL;
	slash = strchr(copy, '/');
	if (slash) {
		*slash++ = '\0';
		if (strlen(slash) > 3 || strspn(slash, "0123456789") != strlen(slash) ||
		    sscanf(slash, "%3u%c", &bits, &end) != 1)
			return -EINVAL;
	}
	if (parse_bare(copy, &ret->address) < 0)
		return -EINVAL;
	most = strchr(copy, ':') ? 128 : 32;
	if (bits > most)
		return -EINVAL;
	ret->bits = 128 - most + (slash ? bits : most);
	return 0;
}

int networks_new(const char *text, struct networks **ret)
{
	/* One takes two characters and a separator at least. */
	struct networks *n = xcalloc(1,
				     sizeof(*n) + (strlen(text) / 2 + 1) * sizeof(struct network));

	for (const char *p = text + strspn(text, SEPARATORS); *p; p += strspn(p, SEPARATORS)) {
		size_t len = strcspn(p, SEPARATORS);

		if (parse_network(span_of(p, len), &n->networks[n->count++]) < 0) {
			free(n);
			return -EINVAL;
		}
		p += len;
	}
	*ret = n;
	return 0;
}

void networks_free(struct networks *n)
{
	free(n);
}

bool networks_has(const struct networks *n, const struct address *a)
{
	for (size_t i = 0; i < n->count; i++)
		if (network_has(&n->networks[i], a))
			return true;
	return false;
}
