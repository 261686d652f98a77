#include "common/did_document.h"

#include <errno.h>
#include <jansson.h>

#include "common/syntax.h"

#define KEY_FRAGMENT "#atproto"
#define PDS_FRAGMENT "#atproto_pds"
#define PDS_TYPE     "AtprotoPersonalDataServer"

/* A member that is a string; an empty span if it is absent or something else. Borrows from the JSON
 * tree. */
static struct span text_member(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	return json_is_string(value) ? span_of(json_string_value(value), json_string_length(value))
				     : SPAN_EMPTY;
}

/* An id in a document is relative ("#atproto") or absolute (the DID, then the same). */
static bool id_is(struct span id, struct span did, const char *fragment)
{
	if (span_starts_with(id, did)) {
		id.ptr += did.len;
		id.len -= did.len;
	}
	return span_is(id, fragment);
}

/* The first object of an array member with this id; NULL if there is none. */
static const json_t *find_entry(const json_t *document, const char *member, struct span did,
				const char *fragment)
{
	const json_t *array = json_object_get(document, member), *entry;
	size_t i;

	json_array_foreach(array, i,
			   entry) if (id_is(text_member(entry, "id"), did, fragment)) return entry;
	return NULL;
}

static int parse_key(const json_t *method, struct public_key *ret)
{
	struct span type = text_member(method, "type");
	struct span text = text_member(method, "publicKeyMultibase");

	if (span_is(type, "Multikey"))
		return multikey_parse(text, ret);
	if (span_is(type, "EcdsaSecp256k1VerificationKey2019"))
		return legacy_key_parse(CURVE_K256, text, ret);
	if (span_is(type, "EcdsaSecp256r1VerificationKey2019"))
		return legacy_key_parse(CURVE_P256, text, ret);
	return -EBADMSG;
}

static enum did_document_fault get_key(const json_t *document, struct span did,
				       struct public_key *ret)
{
	const json_t *method = find_entry(document, "verificationMethod", did, KEY_FRAGMENT);

	if (!method)
		return DID_DOCUMENT_NO_KEY;
	/* A method under another's control says nothing about this account [DID: signing keys]. */
	if (!span_equal(text_member(method, "controller"), did))
		return DID_DOCUMENT_BAD_KEY;
	return parse_key(method, ret) < 0 ? DID_DOCUMENT_BAD_KEY : DID_DOCUMENT_OK;
}

static enum did_document_fault get_pds(const json_t *document, struct span did, struct host *ret,
				       bool *ret_plain)
{
	const json_t *service = find_entry(document, "service", did, PDS_FRAGMENT);

	if (!service)
		return DID_DOCUMENT_NO_PDS;
	if (!span_is(text_member(service, "type"), PDS_TYPE))
		return DID_DOCUMENT_BAD_PDS;
	if (host_parse_url(text_member(service, "serviceEndpoint"), ret, ret_plain) < 0)
		return DID_DOCUMENT_BAD_PDS;
	return DID_DOCUMENT_OK;
}

/* The first valid one counts; entries of other kinds are passed over [DID: handles]. */
static void get_handle(const json_t *document, char ret[static LIMIT_HANDLE + 1])
{
	const json_t *names = json_object_get(document, "alsoKnownAs"), *name;
	struct span scheme = SPAN_LITERAL("at://");
	size_t i;

	ret[0] = '\0';
	json_array_foreach(names, i, name)
	{
		struct span s = json_is_string(name)
					? span_of(json_string_value(name), json_string_length(name))
					: SPAN_EMPTY;

		if (!span_starts_with(s, scheme))
			continue;
		s = span_of(s.ptr + scheme.len, s.len - scheme.len);
		if (handle_is_valid(s) && span_to_str(s, ret, LIMIT_HANDLE + 1) == 0)
			return;
	}
}

static enum did_document_fault parse_tree(const json_t *document, struct span did,
					  struct did_document *ret)
{
	enum did_document_fault fault;
	struct did_document parsed = {0};

	if (!json_is_object(document))
		return DID_DOCUMENT_NOT_JSON;
	if (!span_equal(text_member(document, "id"), did))
		return DID_DOCUMENT_WRONG_ID;
	fault = get_key(document, did, &parsed.key);
	if (fault == DID_DOCUMENT_OK)
		fault = get_pds(document, did, &parsed.pds, &parsed.pds_is_plain);
	if (fault != DID_DOCUMENT_OK)
		return fault;
	get_handle(document, parsed.handle);
	*ret = parsed;
	return DID_DOCUMENT_OK;
}

enum did_document_fault did_document_parse(struct span json, struct span did,
					   struct did_document *ret)
{
	/* Two members of one name would mean different things to different readers. */
	json_t *document = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES,
				      NULL);
	enum did_document_fault fault = parse_tree(document, did, ret);

	json_decref(document);
	return fault;
}

int did_document_subject(struct span json, struct buf *out)
{
	json_t *document = json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES,
				      NULL);
	struct span did = text_member(document, "id");
	bool is_did = did_is_valid(did);

	if (is_did)
		buf_append(out, did);
	json_decref(document);
	return is_did ? 0 : -EBADMSG;
}

const char *did_document_fault_name(enum did_document_fault fault)
{
	static const char *const names[DID_DOCUMENT_FAULTS] = {
		[DID_DOCUMENT_OK] = "ok",
		[DID_DOCUMENT_NOT_JSON] = "not_json",
		[DID_DOCUMENT_WRONG_ID] = "wrong_id",
		[DID_DOCUMENT_NO_KEY] = "no_key",
		[DID_DOCUMENT_BAD_KEY] = "bad_key",
		[DID_DOCUMENT_NO_PDS] = "no_pds",
		[DID_DOCUMENT_BAD_PDS] = "bad_pds",
	};

	return fault < DID_DOCUMENT_FAULTS ? names[fault] : "unknown";
}
