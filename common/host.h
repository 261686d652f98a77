/*
 * Hosts as they are named between the stages: "name" or "name:port", lower case, the port left out
 * where it is the default of the scheme. Here too: which of them may be reached without TLS or at
 * private addresses, and where the configuration says they are.
 *
 * network.plain_hosts	 patterns of hosts reached by http: and ws: (private addresses included)
 * network.private_hosts patterns of hosts reached by TLS, also at private addresses
 * network.hosts_file	 addresses by name, in the form of hosts(5), asked before DNS
 * A pattern is "name" (the default port), "name:port", "*.suffix" (any port; not the suffix
 * itself), "name:*" or "*"; separated by spaces or commas.
 */
#pragma once

#include <sys/socket.h>

#include "common/bytes.h"
#include "common/limits.h"

struct config;

struct host {
	char name[LIMIT_HOSTNAME + 1]; /* without port or brackets */
	uint16_t port;                 /* 0: the default of the scheme */
};

/* "name[:port]", any case; port 443 is dropped. A name has labels of letters, digits and hyphens
 * (RFC 1123). A last label that is a number makes an address of it, and addresses are refused, but
 * for 127.x.y.z: for tests; host_policy decides. -EINVAL. */
int host_parse(struct span text, struct host *ret) MUST_CHECK;
/* "http[s]://name[:port]" without user, path, query or fragment (a single trailing slash is
 * tolerated); a default port is dropped. ret_plain (may be NULL): the scheme was http. -EINVAL;
 * also for http at port 443, which would be named as https is. */
int host_parse_url(struct span url, struct host *ret, bool *ret_plain) MUST_CHECK;
/* "name[:port]"; returns ret. */
const char *host_format(const struct host *h, char ret[static LIMIT_HOST + 1]);
/* The host's number in messages, in the log's index and in databases: the first 8 bytes of SHA-256
 * of its formatted name. It needs no table, and is the same after any loss of state. */
uint64_t host_id(struct span formatted);

/* What network.* says; made once, asked often. */
struct host_policy;
/* -EINVAL with a reason in ret_error (size bytes) if a list or the hosts file is not right. */
int host_policy_new(const struct config *config, char *ret_error, size_t size,
		    struct host_policy **ret) MUST_CHECK;
void host_policy_free(struct host_policy *p);
bool host_policy_is_plain(const struct host_policy *p, const struct host *h);
/* Whether a connection to this address may be made for this host: public addresses always, others
 * (loopback, private, link-local, unique local, multicast, mapped forms of these, ...) only if the
 * host is in one of the two lists. */
bool host_policy_allows(const struct host_policy *p, const struct host *h,
			const struct sockaddr *address);
/* The address in network.hosts_file, its port set. -ENOENT. */
int host_policy_address(const struct host_policy *p, const struct host *h, uint16_t port,
			struct sockaddr_storage *ret, socklen_t *ret_len) MUST_CHECK;
/* Whether a formatted host matches a list of patterns. */
bool host_matches(const char *patterns, const struct host *h);
/* Globally reachable unicast, by the IANA special-purpose registries. */
bool address_is_public(const struct sockaddr *address);
