#include "common/system_certificates.h"

#include <dirent.h>
#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

#include "tests/lib/certificate.h"
#include "tests/test.h"

static void put(const char *folder, const char *name, const char *text)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	CHECK(f && fputs(text, f) >= 0);
	if (f)
		fclose(f);
}

TEST(hashes_in_a_folder)
{
	static const struct {
		const char *name;
		bool want;
	} files[] = {
		{"ca-certificates.crt", false}, {"5ed36f99.r0", false}, {"5ed36f9.0", false},
		{"5ed36f99a.0", false},         {"5ED36F99.0", false},  {"5ed36f99.0.pem", false},
		{"5ed36f99.", false},           {"5ed36f99.0", true},
	};
	const char *folder = test_folder();

	CHECK(!system_certificates_are_hashed("/nowhere", "/nowhere"));
	CHECK(!system_certificates_are_hashed(folder, "/nowhere"));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		put(folder, files[i].name, "");
		if (system_certificates_are_hashed(folder, "/nowhere") != files[i].want)
			test_fail(__FILE__, __LINE__, "%s", files[i].name);
	}
}

/* Somebody's own authority beside a file with all the others: the file has to be read. */
TEST(a_folder_with_fewer_than_the_file_is_not_enough)
{
	const char *folder = test_folder();
	char file[4096];

	put(folder, "all.pem",
	    "# the first\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
	    "# and another\n-----BEGIN TRUSTED CERTIFICATE-----\nMIIB\n"
	    "-----END TRUSTED CERTIFICATE-----\n");
	snprintf(file, sizeof(file), "%s/all.pem", folder);
	put(folder, "5ed36f99.0", "");
	CHECK(!system_certificates_are_hashed(folder, file));
	put(folder, "5ed36f99.1", "");
	CHECK(system_certificates_are_hashed(folder, file));
}

static int held(X509_STORE *store)
{
	return sk_X509_OBJECT_num(X509_STORE_get0_objects(store));
}

static bool finds(X509_STORE *store, const X509 *wanted)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509_OBJECT *found = X509_OBJECT_new();
	bool ok = X509_STORE_CTX_init(context, store, NULL, NULL) == 1 &&
		  X509_STORE_CTX_get_by_subject(context, X509_LU_X509,
						X509_get_subject_name(wanted), found) == 1;

	X509_OBJECT_free(found);
	X509_STORE_CTX_free(context);
	return ok;
}

/* Any of the system's, by its hash. */
static X509 *any_certificate(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	X509 *x = NULL;
	char path[4096];

	while (dir && !x && (entry = readdir(dir))) {
		FILE *f;

		if (!strstr(entry->d_name, ".0"))
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		f = fopen(path, "r");
		x = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return x;
}

/* Nothing is read before it is asked for, and what is asked for is there. */
TEST(the_folder_is_read_when_it_is_asked)
{
	const char *folder = X509_get_default_cert_dir();
	X509_STORE *store = X509_STORE_new();
	X509 *x;

	unsetenv(X509_get_default_cert_file_env());
	unsetenv(X509_get_default_cert_dir_env());
	CHECK_INT(system_certificates_add(store), 0);
	x = any_certificate(folder);
	if (!x || !system_certificates_are_hashed(folder, X509_get_default_cert_file())) {
		test_skip("%s has no certificates under their hashes", folder);
	} else {
		CHECK_INT(held(store), 0);
		CHECK(finds(store, x));
		CHECK_INT(held(store), 1);
	}
	X509_free(x);
	X509_STORE_free(store);
}

/* Another file that the environment names is read whole. */
TEST(the_environment_wins)
{
	const char *name = X509_get_default_cert_file_env();
	X509_STORE *store = X509_STORE_new();
	struct certificate authority;
	char path[4096];

	certificate_init_authority(&authority, "an authority", NULL);
	snprintf(path, sizeof(path), "%s/authority.pem", test_folder());
	certificate_write(&authority, path);
	setenv(name, path, 1);
	CHECK_INT(system_certificates_add(store), 0);
	unsetenv(name);
	CHECK_INT(held(store), 1);
	CHECK(finds(store, authority.x509));
	certificate_release(&authority);
	X509_STORE_free(store);
}
