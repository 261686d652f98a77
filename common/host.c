#include "common/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/config.h"
#include "common/sha256.h"
#include "common/syntax.h"

#define PORT_HTTP      80
#define PORT_HTTPS     443
#define HOSTS_FILE_MAX 1000000 /* names; as many as ingest.max_hosts can be */

/* Names. */

/* 1 to 65535, without zeros before it. */
static int parse_port(struct span text, uint16_t *ret)
{
	unsigned port = 0;

	if (text.len == 0 || text.len > 5 || text.ptr[0] == '0')
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -EINVAL;
		port = port * 10 + (unsigned)(text.ptr[i] - '0');
	}
	if (port > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

/* 127.x.y.z, in the one way to write it. */
static bool is_loopback(const char *name)
{
	struct in_addr address;

	return inet_pton(AF_INET, name, &address) == 1 &&
	       ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* ret: LIMIT_HOSTNAME + 1 bytes. */
static int parse_name(struct span text, char *ret)
{
	char name[LIMIT_HOSTNAME + 1];

	if (span_to_str(text, name, sizeof(name)) < 0)
		return -EINVAL;
	for (char *p = name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	if (!hostname_is_valid(span_str(name)) && !is_loopback(name))
		return -EINVAL;
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

static int parse_with_default(struct span text, uint16_t default_port, struct host *ret)
{
	const uint8_t *colon = text.len ? memchr(text.ptr, ':', text.len) : NULL;
	struct host h = {.port = 0};
	struct span name = text;

	if (colon) {
		name.len = (size_t)(colon - text.ptr);
		if (parse_port(span_of(colon + 1, text.len - name.len - 1), &h.port) < 0)
			return -EINVAL;
	}
	if (parse_name(name, h.name) < 0)
		return -EINVAL;
	if (h.port == default_port)
		h.port = 0;
	*ret = h;
	return 0;
}

int host_parse(struct span text, struct host *ret)
{
	return parse_with_default(text, PORT_HTTPS, ret);
}

/* Schemes are of any case. */
static bool take_prefix(struct span *s, const char *prefix)
{
	size_t len = strlen(prefix);

	if (s->len < len || strncasecmp((const char *)s->ptr, prefix, len) != 0)
		return false;
	*s = span_of(s->ptr + len, s->len - len);
	return true;
}

int host_parse_url(struct span url, struct host *ret, bool *ret_plain)
{
	struct span rest = url;
	struct host h;
	bool plain = false;

	if (!take_prefix(&rest, "https://")) {
		plain = take_prefix(&rest, "http://");
		if (!plain)
			return -EINVAL;
	}
	if (rest.len > 0 && rest.ptr[rest.len - 1] == '/')
		rest.len--;
	if (parse_with_default(rest, plain ? PORT_HTTP : PORT_HTTPS, &h) < 0)
		return -EINVAL;
	/* "name:443" names the same host as "name": http there could not be told from https. */
	if (plain && h.port == PORT_HTTPS)
		return -EINVAL;
	*ret = h;
	if (ret_plain)
		*ret_plain = plain;
	return 0;
}

const char *host_format(const struct host *h, char ret[static LIMIT_HOST + 1])
{
	if (h->port)
		snprintf(ret, LIMIT_HOST + 1, "%s:%u", h->name, h->port);
	else
		snprintf(ret, LIMIT_HOST + 1, "%s", h->name);
	return ret;
}

uint64_t host_id(struct span formatted)
{
	uint8_t digest[SHA256_SIZE];
	uint64_t id = 0;

	sha256(formatted, digest);
	for (int i = 7; i >= 0; i--)
		id = id << 8 | digest[i];
	return id;
}

/* Patterns. */

struct pattern {
	enum { PATTERN_ALL, PATTERN_SUFFIX, PATTERN_ANY_PORT, PATTERN_HOST } kind;
	struct host host; /* suffix: its name is what follows "*." */
};

static int pattern_parse(struct span text, struct pattern *ret)
{
	struct pattern p = {.kind = PATTERN_HOST};
	int error;

	if (span_is(text, "*")) {
		p.kind = PATTERN_ALL;
		error = 0;
	} else if (span_starts_with(text, SPAN_LITERAL("*."))) {
		p.kind = PATTERN_SUFFIX;
		error = parse_name(span_of(text.ptr + 2, text.len - 2), p.host.name);
	} else if (text.len > 2 && memcmp(text.ptr + text.len - 2, ":*", 2) == 0) {
		p.kind = PATTERN_ANY_PORT;
		error = parse_name(span_of(text.ptr, text.len - 2), p.host.name);
	} else {
		error = host_parse(text, &p.host);
	}
	if (!error)
		*ret = p;
	return error;
}

static bool pattern_matches(const struct pattern *p, const struct host *h)
{
	size_t len = strlen(h->name), suffix = strlen(p->host.name);

	switch (p->kind) {
	case PATTERN_ALL:
		return true;
	case PATTERN_SUFFIX:
		return len > suffix + 1 && h->name[len - suffix - 1] == '.' &&
		       strcmp(h->name + len - suffix, p->host.name) == 0;
	case PATTERN_ANY_PORT:
		return strcmp(h->name, p->host.name) == 0;
	case PATTERN_HOST:
		return strcmp(h->name, p->host.name) == 0 && h->port == p->host.port;
	}
	return false;
}

/* The next word of a list; false at its end. */
static bool next_word(const char **list, const char *separators, struct span *ret)
{
	*list += strspn(*list, separators);
	*ret = span_of(*list, strcspn(*list, separators));
	*list += ret->len;
	return ret->len > 0;
}

#define LIST_SEPARATORS " ,\t"
#define LINE_SEPARATORS " \t\r\n"

bool host_matches(const char *patterns, const struct host *h)
{
	struct pattern p;
	struct span word;

	while (next_word(&patterns, LIST_SEPARATORS, &word))
		if (pattern_parse(word, &p) == 0 && pattern_matches(&p, h))
			return true;
	return false;
}

/* Addresses. */

struct prefix4 {
	uint32_t address;
	unsigned bits;
};

#define V4(a, b, c, d)                                                                             \
	((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

/* IANA IPv4 Special-Purpose Address Registry: what is not globally reachable; and multicast. */
static const struct prefix4 special4[] = {
	{V4(0, 0, 0, 0), 8},       /* this network */
	{V4(10, 0, 0, 0), 8},      /* private */
	{V4(100, 64, 0, 0), 10},   /* shared, behind carriers' NAT */
	{V4(127, 0, 0, 0), 8},     /* loopback */
	{V4(169, 254, 0, 0), 16},  /* link-local; cloud metadata */
	{V4(172, 16, 0, 0), 12},   /* private */
	{V4(192, 0, 0, 0), 24},    /* IETF protocol assignments */
	{V4(192, 0, 2, 0), 24},    /* documentation */
	{V4(192, 88, 99, 0), 24},  /* 6to4 relays, deprecated */
	{V4(192, 168, 0, 0), 16},  /* private */
	{V4(198, 18, 0, 0), 15},   /* benchmarks */
	{V4(198, 51, 100, 0), 24}, /* documentation */
	{V4(203, 0, 113, 0), 24},  /* documentation */
	{V4(224, 0, 0, 0), 4},     /* multicast */
	{V4(240, 0, 0, 0), 4},     /* reserved, broadcast */
};

static bool is_public4(uint32_t address)
{
	for (size_t i = 0; i < ARRAY_SIZE(special4); i++)
		if ((address ^ special4[i].address) >> (32 - special4[i].bits) == 0)
			return false;
	return true;
}

struct prefix6 {
	uint8_t bytes[16];
	unsigned bits;
};

/* IANA IPv6 Special-Purpose Address Registry, within 2000::/3: the rest is no global unicast. */
static const struct prefix6 special6[] = {
	{{0x20, 0x01, 0x00}, 23},       /* IETF protocol assignments, Teredo, benchmarks, ORCHID */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
	{{0x3f, 0xff, 0x00}, 20},       /* documentation */
};

/* Prefixes after which an IPv4 address stands: what is reached is that. */
static const struct prefix6 embedding6[] = {
	{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}, /* mapped */
	{{0x00, 0x64, 0xff, 0x9b}, 96},                   /* NAT64 */
	{{0x20, 0x02}, 16},                               /* 6to4 */
};

static bool prefix6_has(const struct prefix6 *p, const uint8_t address[static 16])
{
	unsigned bytes = p->bits / 8, bits = p->bits % 8;

	return memcmp(p->bytes, address, bytes) == 0 &&
	       (bits == 0 || (p->bytes[bytes] ^ address[bytes]) >> (8 - bits) == 0);
}

static bool is_public6(const uint8_t address[static 16])
{
	for (size_t i = 0; i < ARRAY_SIZE(embedding6); i++) {
		const uint8_t *v4 = address + embedding6[i].bits / 8;

		if (prefix6_has(&embedding6[i], address))
			return is_public4(V4(v4[0], v4[1], v4[2], v4[3]));
	}
	if (address[0] >> 5 != 1)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(special6); i++)
		if (prefix6_has(&special6[i], address))
			return false;
	return true;
}

bool address_is_public(const struct sockaddr *address)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;

	switch (address->sa_family) {
	case AF_INET:
		memcpy(&v4, address, sizeof(v4));
		return is_public4(ntohl(v4.sin_addr.s_addr));
	case AF_INET6:
		memcpy(&v6, address, sizeof(v6));
		return is_public6(v6.sin6_addr.s6_addr);
	default:
		return false;
	}
}

/* The policy. */

struct pattern_list {
	struct pattern *patterns;
	size_t count;
};

struct entry {
	char *name;
	size_t order; /* in the file: the first address of a name is taken */
	int family;
	struct in6_addr address; /* AF_INET: its first four bytes */
};

struct host_policy {
	struct pattern_list plain, private;
	struct entry *entries; /* sorted by name */
	size_t entry_count;
};

static int read_list(const struct config *c, const char *key, struct pattern_list *list,
		     char *ret_error, size_t size)
{
	const char *text = config_text(c, key);
	struct span word;

	/* At most half as many words as the text has bytes. */
	while (next_word(&text, LIST_SEPARATORS, &word)) {
		list->patterns = xrealloc(list->patterns,
					  (list->count + 1) * sizeof(*list->patterns));
		if (pattern_parse(word, &list->patterns[list->count]) < 0)
			return config_fail(ret_error, size, "%s: \"%.*s\" is no pattern of hosts",
					   key, (int)word.len, (const char *)word.ptr);
		list->count++;
	}
	return 0;
}

static int parse_address(struct span text, struct entry *ret)
{
	char address[INET6_ADDRSTRLEN];

	if (span_to_str(text, address, sizeof(address)) < 0)
		return -EINVAL;
	ret->family = AF_INET;
	if (inet_pton(AF_INET, address, &ret->address) == 1)
		return 0;
	ret->family = AF_INET6;
	return inet_pton(AF_INET6, address, &ret->address) == 1 ? 0 : -EINVAL;
}

static void add_entry(struct host_policy *p, const struct entry *address, const char *name)
{
	size_t n = p->entry_count;

	/* Room for the next power of two. */
	if ((n & (n - 1)) == 0)
		p->entries = xrealloc(p->entries, (n ? n * 2 : 1) * sizeof(*p->entries));
	p->entries[n] = *address;
	p->entries[n].name = xstrdup(name);
	p->entries[n].order = n;
	p->entry_count++;
}

/* NULL, or what is wrong with the line. */
static const char *read_hosts_line(struct host_policy *p, char *line)
{
	const char *rest = line;
	struct entry address = {0};
	char name[LIMIT_HOSTNAME + 1];
	struct span word;

	line[strcspn(line, "#")] = '\0';
	if (!next_word(&rest, LINE_SEPARATORS, &word))
		return NULL;
	if (parse_address(word, &address) < 0)
		return "no address at the beginning";
	while (next_word(&rest, LINE_SEPARATORS, &word)) {
		if (parse_name(word, name) < 0)
			return "a name is no host name";
		if (p->entry_count >= HOSTS_FILE_MAX)
			return "too many names";
		add_entry(p, &address, name);
	}
	return NULL;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int read_hosts_file(struct host_policy *p, const char *path, char *ret_error, size_t size)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	const char *wrong = NULL;
	size_t line_size = 0;
	unsigned number = 0;
	int error = 0;

	if (!f)
		return config_fail(ret_error, size, "network.hosts_file: %s: %s", path,
				   strerror(errno));
	for (errno = 0; !wrong && getline(&line, &line_size, f) >= 0; number++)
		wrong = read_hosts_line(p, line);
	if (wrong)
		error = config_fail(ret_error, size, "%s:%u: %s", path, number, wrong);
	else if (ferror(f))
		error = config_fail(ret_error, size, "network.hosts_file: %s: %s", path,
				    strerror(errno));
	free(line);
	fclose(f);
	if (p->entry_count)
		qsort(p->entries, p->entry_count, sizeof(*p->entries), compare_entries);
	return error;
}

int host_policy_new(const struct config *config, char *ret_error, size_t size,
		    struct host_policy **ret)
{
	struct host_policy *p = xcalloc(1, sizeof(*p));
	const char *path = config_text(config, "network.hosts_file");
	int error;

	error = read_list(config, "network.plain_hosts", &p->plain, ret_error, size);
	if (!error)
		error = read_list(config, "network.private_hosts", &p->private, ret_error, size);
	if (!error && *path)
		error = read_hosts_file(p, path, ret_error, size);
	if (error) {
		host_policy_free(p);
		return error;
	}
	*ret = p;
	return 0;
}

void host_policy_free(struct host_policy *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->entry_count; i++)
		free(p->entries[i].name);
	free(p->entries);
	free(p->plain.patterns);
	free(p->private.patterns);
	free(p);
}

static bool list_has(const struct pattern_list *list, const struct host *h)
{
	for (size_t i = 0; i < list->count; i++)
		if (pattern_matches(&list->patterns[i], h))
			return true;
	return false;
}

bool host_policy_is_plain(const struct host_policy *p, const struct host *h)
{
	return list_has(&p->plain, h);
}

bool host_policy_allows(const struct host_policy *p, const struct host *h,
			const struct sockaddr *address)
{
	return address_is_public(address) || list_has(&p->plain, h) || list_has(&p->private, h);
}

/* The first entry of this name, or NULL. */
static const struct entry *find_entry(const struct host_policy *p, const char *name)
{
	size_t low = 0, high = p->entry_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(p->entries[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < p->entry_count && strcmp(p->entries[low].name, name) == 0 ? &p->entries[low]
									       : NULL;
}

int host_policy_address(const struct host_policy *p, const struct host *h, uint16_t port,
			struct sockaddr_storage *ret, socklen_t *ret_len)
{
	const struct entry *e = find_entry(p, h->name);
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (!e)
		return -ENOENT;
	memset(ret, 0, sizeof(*ret));
	if (e->family == AF_INET) {
		memcpy(&v4.sin_addr, &e->address, sizeof(v4.sin_addr));
		memcpy(ret, &v4, sizeof(v4));
		*ret_len = sizeof(v4);
	} else {
		v6.sin6_addr = e->address;
		memcpy(ret, &v6, sizeof(v6));
		*ret_len = sizeof(v6);
	}
	return 0;
}
