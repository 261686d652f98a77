#include "common/system_certificates.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#define HASH_DIGITS 8

/* "5ed36f99.0": the first certificate of a hash. */
static bool is_hash(const char *name)
{
	return strspn(name, "0123456789abcdef") == HASH_DIGITS &&
	       strcmp(name + HASH_DIGITS, ".0") == 0;
}

bool system_certificates_has_hashes(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = is_hash(entry->d_name);
	closedir(dir);
	return found;
}

static bool is_folder_enough(void)
{
	return !getenv(X509_get_default_cert_file_env()) &&
	       !getenv(X509_get_default_cert_dir_env()) &&
	       system_certificates_has_hashes(X509_get_default_cert_dir());
}

static int add_folder(X509_STORE *store)
{
	X509_LOOKUP *lookup = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());

	return lookup && X509_LOOKUP_add_dir(lookup, NULL, X509_FILETYPE_DEFAULT) == 1;
}

int system_certificates_add(X509_STORE *store)
{
	int ok = is_folder_enough() ? add_folder(store) : X509_STORE_set_default_paths(store);

	ERR_clear_error(); /* a file that is not there leaves a complaint */
	return ok == 1 ? 0 : -EINVAL;
}
