#include "resolve/trust.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/system_certificates.h"

struct trust {
	X509_STORE *store;
};

int trust_new(const char *ca_file, struct trust **ret)
{
	X509_STORE *store = X509_STORE_new();
	struct trust *t;

	assert(store);
	if (system_certificates_add(store) < 0 ||
	    (ca_file[0] && !X509_STORE_load_file(store, ca_file))) {
		X509_STORE_free(store);
		ERR_clear_error();
		return -EINVAL;
	}
	t = xcalloc(1, sizeof(*t));
	t->store = store;
	*ret = t;
	return 0;
}

void trust_free(struct trust *t)
{
	if (!t)
		return;
	X509_STORE_free(t->store);
	free(t);
}

void trust_apply(struct trust *t, void *ssl_ctx)
{
	SSL_CTX_set1_cert_store(ssl_ctx, t->store);
}
