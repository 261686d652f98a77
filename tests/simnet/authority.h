/*
 * Who vouches for the simulated hosts: an authority made on the fly, a certificate by it for every
 * name of the world, and the two that a client must refuse. One TLS context each, shared by all
 * connections: TLS 1.2 at least, buffers released between records, session tickets.
 */
#pragma once

#include <openssl/ssl.h>

enum credential {
	CREDENTIAL_GOOD,
	CREDENTIAL_OTHER_NAME, /* signed by the authority, for a name that is nobody's here */
	CREDENTIAL_UNTRUSTED,  /* the right names, signed by another authority */
	CREDENTIAL_COUNT
};

struct authority;

struct authority *authority_new(void);
void authority_free(struct authority *a);
/* What a client has to trust, as PEM. */
void authority_write(const struct authority *a, const char *path);
/* Borrowed until authority_free. */
SSL_CTX *authority_context(const struct authority *a, enum credential c);
