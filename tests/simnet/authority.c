#include "tests/simnet/authority.h"

#include <assert.h>
#include <stdlib.h>

#include "common/bytes.h"
#include "tests/lib/certificate.h"

#define NAMES       "DNS:*.sim.test"
#define OTHER_NAMES "DNS:elsewhere.test"

struct authority {
	struct certificate root;
	SSL_CTX *contexts[CREDENTIAL_COUNT];
};

static SSL_CTX *make_context(const struct certificate *c)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	int r;

	assert(context);
	r = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) &&
	    SSL_CTX_use_certificate(context, c->x509) && SSL_CTX_use_PrivateKey(context, c->key) &&
	    SSL_CTX_set_session_id_context(context, (const unsigned char *)"simnet", 6) &&
	    SSL_CTX_set_num_tickets(context, 1);
	assert(r == 1);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
	return context;
}

static SSL_CTX *make_signed(const struct certificate *issuer, const char *name, const char *names)
{
	struct certificate c;
	SSL_CTX *context;

	certificate_init(&c, issuer, name, names);
	context = make_context(&c);
	certificate_release(&c);
	return context;
}

struct authority *authority_new(void)
{
	struct authority *a = xcalloc(1, sizeof(*a));
	struct certificate other;

	certificate_init_authority(&a->root, "Simulated Authority", NULL);
	certificate_init_authority(&other, "Another Authority", NULL);
	a->contexts[CREDENTIAL_GOOD] = make_signed(&a->root, "sim.test", NAMES);
	a->contexts[CREDENTIAL_OTHER_NAME] = make_signed(&a->root, "elsewhere.test", OTHER_NAMES);
	a->contexts[CREDENTIAL_UNTRUSTED] = make_signed(&other, "sim.test", NAMES);
	certificate_release(&other);
	return a;
}

void authority_free(struct authority *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < CREDENTIAL_COUNT; i++)
		SSL_CTX_free(a->contexts[i]);
	certificate_release(&a->root);
	free(a);
}

void authority_write(const struct authority *a, const char *path)
{
	certificate_write(&a->root, path);
}

SSL_CTX *authority_context(const struct authority *a, enum credential c)
{
	return a->contexts[c];
}
