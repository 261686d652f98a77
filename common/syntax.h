/*
 * Identifier syntax of AT Protocol, each after its specification (DID, TID, NSID, record key,
 * repository path, handle, datetime). The functions look at every byte, allocate nothing, and never
 * change case.
 */
#pragma once

#include "common/bytes.h"

#define TID_SIZE 13

bool did_is_valid(struct span s);
/* did:plc: and 24 characters of base32 (did:plc specification). */
bool did_is_plc(struct span s);
/* did:web: and one host name; a port (%3A) only in development (DID specification): with localhost
 * and names under .test. */
bool did_is_web(struct span s);

bool tid_is_valid(struct span s);
/* Microseconds since 1970. The TID must be valid. */
uint64_t tid_usec(struct span s);
/* clock_id: 10 bits. */
void tid_format(uint64_t usec, unsigned clock_id, uint8_t ret[static TID_SIZE]);

bool nsid_is_valid(struct span s);
bool record_key_is_valid(struct span s);
/* collection/record-key, exactly one slash. ret_collection may be NULL. */
bool repo_path_is_valid(struct span s, struct span *ret_collection);
bool handle_is_valid(struct span s);
bool datetime_is_valid(struct span s);
/* A DNS name of at least one label, lower case, as hosts are named here; see host.h for names with
 * ports. */
bool hostname_is_valid(struct span s);
