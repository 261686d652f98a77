/*
 * The certificates that the system trusts, for a store of OpenSSL's.
 *
 * A system has them twice: in one file, and in a folder under the hashes of their names. All of the
 * file is read at once, which takes 60 ms of processor time and 2 MB, at every start of a process;
 * from the folder comes what is asked for, once. So the file is read only where it has more
 * certificates than the folder has such names, or the environment names another place
 * (SSL_CERT_FILE, SSL_CERT_DIR).
 */
#pragma once

#include <openssl/types.h>

#include "common/bytes.h"

/* -EINVAL: OpenSSL cannot. A system without certificates is no error. */
int system_certificates_add(X509_STORE *store) MUST_CHECK;
/* Whether a folder has certificates under the hashes of their names, and no fewer than the file. */
bool system_certificates_are_hashed(const char *folder, const char *file);
