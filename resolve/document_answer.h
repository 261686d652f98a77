/*
 * What the answer to a request for a DID document says about the account, and about the server that
 * gave it: the rules of each method, and nothing that is remembered.
 *
 * Final about the account are 200, 404 and 410, and of did:web, whose server is the account's own,
 * a redirect (which is not followed), an address that is not allowed, and a document that is too
 * large. Everything else may be different in a moment, an answer of the directory included that is
 * too large, or no JSON: that is the directory's failure.
 */
#pragma once

#include "resolve/cache.h"
#include "resolve/directories.h"
#include "resolve/http.h"

enum document_outcome {
	DOCUMENT_KNOWN,  /* entry is what is known now, for the time to live of its kind */
	DOCUMENT_PASSES, /* a passing failure: reason, directory and rest_usec say more */
	DOCUMENT_NAME,   /* the name did not resolve: names.h knows whether there is none */
};

struct document_answer {
	enum document_outcome outcome;
	struct cache_entry entry;         /* if known; without the time */
	const char *reason;               /* if it passes, or is known to be unusable; static, or
					     borrowed from the HTTP answer */
	enum directory_outcome directory; /* how a directory is that answers so */
	uint64_t rest_usec;               /* that the server wants to be left alone; 0: not said */
};

void document_answer_read(enum did_method method, struct span did, const struct host_policy *policy,
			  const struct http_answer *a, struct document_answer *ret);
