/*
 * A DID document, as far as a relay needs it: the account's signing key, its PDS, and the handle it
 * claims [DID: DID documents].
 *
 * Parsing is a pure function of bytes. Whether the scheme of the PDS's address may be used is the
 * caller's to decide, as is the size of the document (LIMIT_DID_DOCUMENT). The struct copies what
 * it keeps.
 */
#pragma once

#include "common/bytes.h"
#include "common/host.h"
#include "common/limits.h"
#include "common/multikey.h"

enum did_document_fault {
	DID_DOCUMENT_OK = 0,
	DID_DOCUMENT_NOT_JSON, /* no JSON object, or one with a member twice */
	DID_DOCUMENT_WRONG_ID, /* `id` is not the DID that was asked for */
	DID_DOCUMENT_NO_KEY,   /* no verification method #atproto */
	DID_DOCUMENT_BAD_KEY,  /* another controller, an unknown type, or no valid key in it */
	DID_DOCUMENT_NO_PDS,   /* no service #atproto_pds */
	DID_DOCUMENT_BAD_PDS,  /* another type, or an endpoint that is not http[s]://host[:port] */
	DID_DOCUMENT_FAULTS,
};

struct did_document {
	struct public_key key;
	struct host pds;
	bool pds_is_plain;             /* http: rather than https: */
	char handle[LIMIT_HANDLE + 1]; /* as the document writes it; "" if it names none */
};

/* The document of this DID. ret is set when the answer is DID_DOCUMENT_OK, and untouched else. */
enum did_document_fault did_document_parse(struct span json, struct span did,
					   struct did_document *ret);
/* The DID that a document says it is of. -EBADMSG if it says none. Appends. */
int did_document_subject(struct span json, struct buf *out) MUST_CHECK;
/* "wrong_id", ... */
const char *did_document_fault_name(enum did_document_fault fault);
