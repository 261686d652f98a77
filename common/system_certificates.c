#include "common/system_certificates.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#define HASH_DIGITS 8
#define BEGIN       "-----BEGIN " /* a certificate, "TRUSTED" or not */
#define LINE_SIZE   256

/* "5ed36f99.0": the first certificate whose name has that hash. */
static bool is_hash(const char *name)
{
	const char *number = name + HASH_DIGITS + 1;

	return strspn(name, "0123456789abcdef") == HASH_DIGITS && name[HASH_DIGITS] == '.' &&
	       *number && strspn(number, "0123456789") == strlen(number);
}

static size_t count_hashes(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	size_t count = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		count += is_hash(entry->d_name);
	closedir(dir);
	return count;
}

static size_t count_certificates(const char *file)
{
	FILE *f = fopen(file, "re");
	char line[LINE_SIZE];
	size_t count = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f))
		count += strncmp(line, BEGIN, sizeof(BEGIN) - 1) == 0;
	fclose(f);
	return count;
}

bool system_certificates_are_hashed(const char *folder, const char *file)
{
	size_t hashes = count_hashes(folder);

	return hashes > 0 && hashes >= count_certificates(file);
}

static bool is_folder_enough(void)
{
	return !getenv(X509_get_default_cert_file_env()) &&
	       !getenv(X509_get_default_cert_dir_env()) &&
	       system_certificates_are_hashed(X509_get_default_cert_dir(),
					      X509_get_default_cert_file());
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
