#include "common/did_document.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/test.h"

#define DID      "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
#define OTHER    "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
/* One key in three forms; the first two are the pair that the DID specification gives as its
 * example. */
#define MULTIKEY "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
#define LEGACY_KEY                                                                                 \
	"zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9G" \
	"R"
#define LEGACY_P256_KEY                                                                            \
	"zQTCdVukNGwHLzBuHmyEciaDwJyG7y9ud7sYMQYDF5e62rrU7yGiSUBTmkd8SCQRQGw4buMXBkw9iiGhSPixcPbk" \
	"y"
#define P256_KEY "zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo"

#define KEY_OF(id, type, controller, key)                                                          \
	"{\"id\":\"" id "\",\"type\":\"" type "\",\"controller\":\"" controller                    \
	"\",\"publicKeyMultibase\":\"" key "\"}"
#define PDS_OF(id, type, endpoint)                                                                 \
	"{\"id\":\"" id "\",\"type\":\"" type "\",\"serviceEndpoint\":\"" endpoint "\"}"
#define DOCUMENT(id, names, keys, services)                                                        \
	"{\"@context\":[\"https://www.w3.org/ns/did/v1\"],\"id\":\"" id                            \
	"\",\"alsoKnownAs\":" names ",\"verificationMethod\":" keys ",\"service\":" services "}"

#define NAMES    "[\"at://alice.test\"]"
#define GOOD_KEY KEY_OF(DID "#atproto", "Multikey", DID, MULTIKEY)
#define GOOD_PDS PDS_OF("#atproto_pds", "AtprotoPersonalDataServer", "https://pds.example.com")
#define KEYS     "[" GOOD_KEY "]"
#define SERVICES "[" GOOD_PDS "]"

#define WITH_KEY(key)      DOCUMENT(DID, NAMES, "[" key "]", SERVICES)
#define WITH_PDS(pds)      DOCUMENT(DID, NAMES, KEYS, "[" pds "]")
#define WITH_NAMES(names)  DOCUMENT(DID, names, KEYS, SERVICES)
#define WITH_ENDPOINT(url) WITH_PDS(PDS_OF("#atproto_pds", "AtprotoPersonalDataServer", url))

static const struct {
	const char *name;
	const char *json;
	enum did_document_fault fault;
} documents[] = {
	{"modern", DOCUMENT(DID, NAMES, KEYS, SERVICES), DID_DOCUMENT_OK},
	{"relative key id", WITH_KEY(KEY_OF("#atproto", "Multikey", DID, MULTIKEY)),
	 DID_DOCUMENT_OK},
	{"absolute service id",
	 WITH_PDS(PDS_OF(DID "#atproto_pds", "AtprotoPersonalDataServer",
			 "https://pds.example.com")),
	 DID_DOCUMENT_OK},
	{"legacy k256",
	 WITH_KEY(KEY_OF("#atproto", "EcdsaSecp256k1VerificationKey2019", DID, LEGACY_KEY)),
	 DID_DOCUMENT_OK},
	{"legacy p256",
	 WITH_KEY(KEY_OF("#atproto", "EcdsaSecp256r1VerificationKey2019", DID, LEGACY_P256_KEY)),
	 DID_DOCUMENT_OK},
	{"other entries before",
	 DOCUMENT(DID, NAMES,
		  "[" KEY_OF("#other", "Multikey", OTHER, "z") ",1,null,{}," GOOD_KEY "]",
		  "[" PDS_OF("#labeler", "AtprotoLabeler", "https://x.example.com") "," GOOD_PDS
										    "]"),
	 DID_DOCUMENT_OK},
	{"second of one id is not looked at",
	 DOCUMENT(DID, NAMES, "[" GOOD_KEY "," KEY_OF("#atproto", "Multikey", OTHER, "z") "]",
		  "[" GOOD_PDS "," PDS_OF("#atproto_pds", "x", "x") "]"),
	 DID_DOCUMENT_OK},
	{"no names",
	 "{\"id\":\"" DID "\",\"verificationMethod\":" KEYS ",\"service\":" SERVICES "}",
	 DID_DOCUMENT_OK},
	{"empty", "", DID_DOCUMENT_NOT_JSON},
	{"not JSON", "<html>", DID_DOCUMENT_NOT_JSON},
	{"cut", "{\"id\":\"" DID "\"", DID_DOCUMENT_NOT_JSON},
	{"two values", "{}{}", DID_DOCUMENT_NOT_JSON},
	{"array", "[]", DID_DOCUMENT_NOT_JSON},
	{"member twice",
	 "{\"id\":\"" DID "\",\"id\":\"" DID "\",\"verificationMethod\":" KEYS
	 ",\"service\":" SERVICES "}",
	 DID_DOCUMENT_NOT_JSON},
	{"no id", "{}", DID_DOCUMENT_WRONG_ID},
	{"another id", DOCUMENT(OTHER, NAMES, KEYS, SERVICES), DID_DOCUMENT_WRONG_ID},
	{"id in another case", DOCUMENT("did:plc:EWVI7nxzyoun6zhxrhs64oiz", NAMES, KEYS, SERVICES),
	 DID_DOCUMENT_WRONG_ID},
	{"id is a number", "{\"id\":1}", DID_DOCUMENT_WRONG_ID},
	{"no key", DOCUMENT(DID, NAMES, "[]", SERVICES), DID_DOCUMENT_NO_KEY},
	{"keys are no array", DOCUMENT(DID, NAMES, "{}", SERVICES), DID_DOCUMENT_NO_KEY},
	{"key of another id", WITH_KEY(KEY_OF("#atproto2", "Multikey", DID, MULTIKEY)),
	 DID_DOCUMENT_NO_KEY},
	{"key id of another DID", WITH_KEY(KEY_OF(OTHER "#atproto", "Multikey", DID, MULTIKEY)),
	 DID_DOCUMENT_NO_KEY},
	{"another controller", WITH_KEY(KEY_OF("#atproto", "Multikey", OTHER, MULTIKEY)),
	 DID_DOCUMENT_BAD_KEY},
	{"no controller",
	 WITH_KEY("{\"id\":\"#atproto\",\"type\":\"Multikey\",\"publicKeyMultibase\":\"" MULTIKEY
		  "\"}"),
	 DID_DOCUMENT_BAD_KEY},
	{"another key type", WITH_KEY(KEY_OF("#atproto", "JsonWebKey2020", DID, MULTIKEY)),
	 DID_DOCUMENT_BAD_KEY},
	{"no key text",
	 WITH_KEY("{\"id\":\"#atproto\",\"type\":\"Multikey\",\"controller\":\"" DID "\"}"),
	 DID_DOCUMENT_BAD_KEY},
	{"another base", WITH_KEY(KEY_OF("#atproto", "Multikey", DID, "m" MULTIKEY)),
	 DID_DOCUMENT_BAD_KEY},
	{"bare point in a Multikey", WITH_KEY(KEY_OF("#atproto", "Multikey", DID, LEGACY_KEY)),
	 DID_DOCUMENT_BAD_KEY},
	{"point of the other curve",
	 WITH_KEY(KEY_OF("#atproto", "EcdsaSecp256r1VerificationKey2019", DID, LEGACY_KEY)),
	 DID_DOCUMENT_BAD_KEY},
	{"no service", DOCUMENT(DID, NAMES, KEYS, "[]"), DID_DOCUMENT_NO_PDS},
	{"service of another id",
	 WITH_PDS(PDS_OF("#pds", "AtprotoPersonalDataServer", "https://pds.example.com")),
	 DID_DOCUMENT_NO_PDS},
	{"service id of another DID",
	 WITH_PDS(PDS_OF(OTHER "#atproto_pds", "AtprotoPersonalDataServer",
			 "https://pds.example.com")),
	 DID_DOCUMENT_NO_PDS},
	{"another service type",
	 WITH_PDS(PDS_OF("#atproto_pds", "AtprotoLabeler", "https://pds.example.com")),
	 DID_DOCUMENT_BAD_PDS},
	{"endpoint is an object",
	 WITH_PDS("{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
		  "\"serviceEndpoint\":{}}"),
	 DID_DOCUMENT_BAD_PDS},
	{"endpoint with a path", WITH_ENDPOINT("https://pds.example.com/x"), DID_DOCUMENT_BAD_PDS},
	{"endpoint with a user", WITH_ENDPOINT("https://u@pds.example.com"), DID_DOCUMENT_BAD_PDS},
	{"endpoint with a query", WITH_ENDPOINT("https://pds.example.com?x"), DID_DOCUMENT_BAD_PDS},
	{"endpoint of another scheme", WITH_ENDPOINT("ftp://pds.example.com"),
	 DID_DOCUMENT_BAD_PDS},
	{"endpoint is an address", WITH_ENDPOINT("https://10.0.0.1"), DID_DOCUMENT_BAD_PDS},
	{"endpoint without scheme", WITH_ENDPOINT("pds.example.com"), DID_DOCUMENT_BAD_PDS},
};

TEST(every_rule_of_a_document_is_kept)
{
	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		struct did_document d;
		enum did_document_fault got = did_document_parse(span_str(documents[i].json),
								 SPAN_LITERAL(DID), &d);

		if (got != documents[i].fault)
			test_fail(__FILE__, __LINE__, "%s: %s, not %s", documents[i].name,
				  did_document_fault_name(got),
				  did_document_fault_name(documents[i].fault));
	}
}

TEST(all_forms_of_one_key_are_one_key)
{
	static const char *const forms[] = {
		WITH_KEY(KEY_OF("#atproto", "Multikey", DID, MULTIKEY)),
		WITH_KEY(KEY_OF("#atproto", "EcdsaSecp256k1VerificationKey2019", DID, LEGACY_KEY)),
	};
	struct public_key want;

	CHECK_INT(multikey_parse(SPAN_LITERAL(MULTIKEY), &want), 0);
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		struct did_document d;

		CHECK_INT(did_document_parse(span_str(forms[i]), SPAN_LITERAL(DID), &d),
			  DID_DOCUMENT_OK);
		CHECK_INT(d.key.curve, CURVE_K256);
		CHECK(memcmp(d.key.point, want.point, PUBLIC_KEY_SIZE) == 0);
	}
}

TEST(both_curves_are_known)
{
	struct did_document d;

	CHECK_INT(did_document_parse(
			  SPAN_LITERAL(WITH_KEY(KEY_OF("#atproto", "Multikey", DID, P256_KEY))),
			  SPAN_LITERAL(DID), &d),
		  DID_DOCUMENT_OK);
	CHECK_INT(d.key.curve, CURVE_P256);
}

TEST(the_pds_is_named_as_hosts_are)
{
	static const struct {
		const char *json, *host;
		bool plain;
	} cases[] = {
		{WITH_ENDPOINT("https://PDS.Example.com"), "pds.example.com", false},
		{WITH_ENDPOINT("https://pds.example.com:443/"), "pds.example.com", false},
		{WITH_ENDPOINT("https://pds.example.com:8443"), "pds.example.com:8443", false},
		{WITH_ENDPOINT("http://localhost:2583"), "localhost:2583", true},
		{WITH_ENDPOINT("http://pds.test:80"), "pds.test", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char host[LIMIT_HOST + 1];
		struct did_document d;

		CHECK_INT(did_document_parse(span_str(cases[i].json), SPAN_LITERAL(DID), &d),
			  DID_DOCUMENT_OK);
		CHECK_STR(host_format(&d.pds, host), cases[i].host);
		CHECK_INT(d.pds_is_plain, cases[i].plain);
	}
}

TEST(the_first_valid_handle_counts)
{
	static const struct {
		const char *json, *handle;
	} cases[] = {
		{WITH_NAMES("[\"at://alice.test\",\"at://bob.test\"]"), "alice.test"},
		{WITH_NAMES("[\"https://alice.test\",\"at://bob.test\"]"), "bob.test"},
		{WITH_NAMES("[\"at://not_a_handle\",1,\"at://bob.test\"]"), "bob.test"},
		{WITH_NAMES("[\"at://Bob.Test\"]"), "Bob.Test"},
		{WITH_NAMES("[\"at://bob.test/x\",\"at://\"]"), ""},
		{WITH_NAMES("[]"), ""},
		{WITH_NAMES("null"), ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct did_document d;

		CHECK_INT(did_document_parse(span_str(cases[i].json), SPAN_LITERAL(DID), &d),
			  DID_DOCUMENT_OK);
		CHECK_STR(d.handle, cases[i].handle);
	}
}

TEST(a_cut_document_is_refused)
{
	static const char json[] = DOCUMENT(DID, NAMES, KEYS, SERVICES);

	for (size_t n = 0; n < sizeof(json) - 1; n++) {
		struct did_document d;
		/* A copy of the very size, so that a read beyond it is seen. */
		char *cut = xmalloc(n + 1);

		memcpy(cut, json, n);
		CHECK(did_document_parse(span_of(cut, n), SPAN_LITERAL(DID), &d) !=
		      DID_DOCUMENT_OK);
		free(cut);
	}
}

TEST(deep_nesting_ends)
{
	struct did_document d;
	struct buf b;

	buf_init(&b, LIMIT_DID_DOCUMENT);
	while (b.len < LIMIT_DID_DOCUMENT)
		buf_put_u8(&b, '[');
	CHECK_INT(did_document_parse(buf_span(&b), SPAN_LITERAL(DID), &d), DID_DOCUMENT_NOT_JSON);
	buf_release(&b);
}
