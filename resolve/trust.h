/*
 * The certificates that TLS servers are checked against: the system's, and those of network.ca_file
 * beside them.
 *
 * One store for all connections. Its certificates are read once: curl by itself reads all of them
 * again for every connection.
 */
#pragma once

#include "common/bytes.h"

struct trust;

/* ca_file: PEM, "" for none. -EINVAL if it cannot be read or holds no certificate; *ret is
 * untouched then. */
int trust_new(const char *ca_file, struct trust **ret) MUST_CHECK;
void trust_free(struct trust *t);
/* ssl_ctx: an SSL_CTX of OpenSSL, which shares the store from now on. */
void trust_apply(struct trust *t, void *ssl_ctx);
