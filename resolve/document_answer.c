#include "resolve/document_answer.h"

#include "common/did_document.h"

static void known_without_document(struct document_answer *d, enum identity_status status)
{
	d->outcome = DOCUMENT_KNOWN;
	d->entry = (struct cache_entry){.status = status};
}

static void unusable(struct document_answer *d, const char *reason)
{
	known_without_document(d, IDENTITY_UNUSABLE);
	d->reason = reason;
}

static void passes(struct document_answer *d, const char *reason, enum directory_outcome directory)
{
	d->outcome = DOCUMENT_PASSES;
	d->reason = reason;
	d->directory = directory;
}

static void read_document(enum did_method method, struct span did, const struct host_policy *policy,
			  struct span body, struct document_answer *d)
{
	struct did_document doc;
	enum did_document_fault fault = did_document_parse(body, did, &doc);

	if (fault == DID_DOCUMENT_NOT_JSON && method == DID_METHOD_PLC) {
		/* What stands before a directory that is not well answers for it: a page for
		 * people. */
		passes(d, "the answer is no document", DIRECTORY_FAILED);
	} else if (fault != DID_DOCUMENT_OK) {
		unusable(d, did_document_fault_name(fault));
	} else if (doc.pds_is_plain && !host_policy_is_plain(policy, &doc.pds)) {
		unusable(d, "the PDS is reached by http: only");
	} else {
		d->outcome = DOCUMENT_KNOWN;
		d->entry = (struct cache_entry){.status = IDENTITY_FOUND, .key = doc.key};
		host_format(&doc.pds, d->entry.pds);
		memcpy(d->entry.handle, doc.handle, sizeof(d->entry.handle));
	}
}

/* Too many requests, or a server that is not well. */
static void read_refusal(const struct http_answer *a, struct document_answer *d)
{
	uint64_t rest = a->retry_after_sec * USEC_PER_SEC;

	passes(d, a->reason, a->status == 429 || rest > 0 ? DIRECTORY_BUSY : DIRECTORY_FAILED);
	d->rest_usec = rest < DIRECTORIES_REST_MAX_USEC ? rest : DIRECTORIES_REST_MAX_USEC;
}

static void read_status(enum did_method method, struct span did, const struct host_policy *policy,
			const struct http_answer *a, struct document_answer *d)
{
	bool web = method == DID_METHOD_WEB;

	if (a->status == 200)
		read_document(method, did, policy, a->body, d);
	else if (a->status == 404)
		known_without_document(d, IDENTITY_NOT_FOUND);
	else if (a->status == 410)
		/* Only a directory keeps tombstones [did:plc]. */
		known_without_document(d, web ? IDENTITY_NOT_FOUND : IDENTITY_TOMBSTONED);
	else if (a->status / 100 == 3 && web)
		unusable(d, "a redirect");
	else if (a->status == 429 || a->status / 100 == 5)
		read_refusal(a, d);
	else
		passes(d, a->reason, DIRECTORY_WELL);
}

/* No document of a directory is near the limit: a page of what stands before it is. The server of a
 * did:web is the account's own, and so is what it gives for a document; but the page with which it
 * says that it is not well may have any size. */
static void read_too_large(enum did_method method, struct span did,
			   const struct host_policy *policy, const struct http_answer *a,
			   struct document_answer *d)
{
	if (method != DID_METHOD_WEB)
		passes(d, a->reason, DIRECTORY_FAILED);
	else if (a->status == 200)
		unusable(d, a->reason);
	else
		read_status(method, did, policy, a, d);
}

void document_answer_read(enum did_method method, struct span did, const struct host_policy *policy,
			  const struct http_answer *a, struct document_answer *ret)
{
	bool web = method == DID_METHOD_WEB;

	*ret = (struct document_answer){.directory = DIRECTORY_WELL};
	switch (a->outcome) {
	case HTTP_ANSWERED:
		read_status(method, did, policy, a, ret);
		break;
	case HTTP_NO_NAME:
		passes(ret, a->reason, DIRECTORY_FAILED);
		if (web)
			ret->outcome = DOCUMENT_NAME;
		break;
	case HTTP_FORBIDDEN:
		/* Of the directory it is our configuration that is wrong, not the account. */
		if (web)
			unusable(ret, a->reason);
		else
			passes(ret, a->reason, DIRECTORY_FAILED);
		break;
	case HTTP_TOO_LARGE:
		read_too_large(method, did, policy, a, ret);
		break;
	default:
		passes(ret, a->reason, DIRECTORY_FAILED);
	}
}
