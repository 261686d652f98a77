/*
 * Certificates for tests, made on the fly: EC keys, valid for a day. Nothing here is fit for
 * anything else.
 */
#pragma once

#include <openssl/x509.h>

struct certificate {
	X509 *x509;
	EVP_PKEY *key;
};

/* One that signs itself, and may sign others. names: its alternative names, as OpenSSL writes them
 * ("DNS:pds.test,DNS:localhost"); NULL: none. */
void certificate_init_authority(struct certificate *c, const char *name, const char *names);
/* One that the issuer signs. */
void certificate_init(struct certificate *c, const struct certificate *issuer, const char *name,
		      const char *names);
void certificate_release(struct certificate *c);
/* As PEM. A file that cannot be written is the end of the test. */
void certificate_write(const struct certificate *c, const char *path);
void certificate_write_key(const struct certificate *c, const char *path);
