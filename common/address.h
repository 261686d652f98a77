/*
 * Network addresses of clients, and lists of networks. An IPv4 address is kept as IPv6 maps it
 * (::ffff:a.b.c.d), so that it is one address however it came.
 *
 * A list of networks is a text: addresses with or without a prefix length ("192.0.2.0/24",
 * "2001:db8::/32", "::1"), separated by spaces or commas.
 */
#pragma once

#include <sys/socket.h>

#include "common/bytes.h"

struct address {
	uint8_t bytes[16];
};

/* false: neither IPv4 nor IPv6. */
bool address_of(const struct sockaddr *sa, struct address *ret);
/* As it stands in a list of proxies: IPv4 or IPv6, the latter in brackets or not, either with a
 * port or not. -EINVAL. */
int address_parse(struct span text, struct address *ret) MUST_CHECK;
#define ADDRESS_SIZE 46
/* "192.0.2.1", "2001:db8::1"; returns ret. */
const char *address_format(const struct address *a, char ret[static ADDRESS_SIZE]);
/* What one client has: an IPv4 address, or the /64 of an IPv6 address, which its provider gives it
 * whole. Two addresses of one client give the same number, two of different clients do not. */
uint64_t address_client(const struct address *a);

struct networks;

/* -EINVAL: the text is no list. */
int networks_new(const char *text, struct networks **ret) MUST_CHECK;
/* Takes NULL. */
void networks_free(struct networks *n);
bool networks_has(const struct networks *n, const struct address *a);
