#include "tests/lib/certificate.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#define DAY_SEC (24 * 3600)

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert(e && X509_add_ext(x, e, -1) == 1);
	X509_EXTENSION_free(e);
}

/* Two certificates of one issuer must not share a number, nor may two issuers of one name be taken
 * for each other. */
static void set_serial(X509 *x)
{
	uint32_t number;
	int r = RAND_bytes((unsigned char *)&number, sizeof(number));

	assert(r == 1);
	ASN1_INTEGER_set(X509_get_serialNumber(x), (long)(number | 1));
}

static void make(struct certificate *c, const struct certificate *issuer, const char *name,
		 const char *names)
{
	X509_NAME *subject;

	c->key = EVP_EC_gen("P-256");
	c->x509 = X509_new();
	assert(c->key && c->x509);
	if (!issuer)
		issuer = c;
	subject = X509_get_subject_name(c->x509);
	X509_set_version(c->x509, X509_VERSION_3);
	set_serial(c->x509);
	X509_gmtime_adj(X509_getm_notBefore(c->x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(c->x509), DAY_SEC);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(c->x509, X509_get_subject_name(issuer->x509));
	X509_set_pubkey(c->x509, c->key);
	if (issuer == c)
		add_extension(c->x509, c->x509, NID_basic_constraints, "critical,CA:TRUE");
	if (names)
		add_extension(c->x509, issuer->x509, NID_subject_alt_name, names);
	X509_sign(c->x509, issuer->key, EVP_sha256());
}

void certificate_init_authority(struct certificate *c, const char *name, const char *names)
{
	make(c, NULL, name, names);
}

void certificate_init(struct certificate *c, const struct certificate *issuer, const char *name,
		      const char *names)
{
	make(c, issuer, name, names);
}

void certificate_release(struct certificate *c)
{
	X509_free(c->x509);
	EVP_PKEY_free(c->key);
	*c = (struct certificate){NULL, NULL};
}

static FILE *create(const char *path)
{
	FILE *f = fopen(path, "we");

	assert(f);
	return f;
}

void certificate_write(const struct certificate *c, const char *path)
{
	FILE *f = create(path);
	int r = PEM_write_X509(f, c->x509);

	assert(r == 1);
	fclose(f);
}

void certificate_write_key(const struct certificate *c, const char *path)
{
	FILE *f = create(path);
	int r = PEM_write_PrivateKey(f, c->key, NULL, NULL, 0, NULL, NULL);

	assert(r == 1);
	fclose(f);
}
