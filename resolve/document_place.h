/*
 * Where the document of a DID is to be had.
 *
 *	did:plc:ID	https://DIRECTORY/did:plc:ID		[did:plc]
 *	did:web:HOST	https://HOST/.well-known/did.json	[DID: did:web]
 *
 * Other methods, did:web with a path or an address, and names under a reserved top-level domain
 * have no place. The reserved ones are the exception that a private network needs: they have one
 * where the configuration lists the host in network.plain_hosts or network.private_hosts.
 */
#pragma once

#include "common/host.h"

enum did_method { DID_METHOD_PLC, DID_METHOD_WEB, DID_METHODS };

struct document_place {
	enum did_method method;
	struct host host;
	bool plain; /* http: */
	char path[64];
};

/* The PLC directory, from its URL. -EINVAL for what is no URL of a host, or http: where the policy
 * has no plain host. */
int document_place_directory(const char *url, const struct host_policy *policy,
			     struct document_place *ret) MUST_CHECK;
/* -ENOTSUP: the DID has no place. directory: from document_place_directory. */
int document_place_find(struct span did, const struct document_place *directory,
			const struct host_policy *policy, struct document_place *ret) MUST_CHECK;
/* "plc", "web" */
const char *did_method_name(enum did_method method);
