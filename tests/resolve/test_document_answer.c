#include "resolve/document_answer.h"

#include "tests/test.h"

#define KEY "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
#define PLC "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
#define WEB "did:web:alice.example.com"

#define DOCUMENT(did, endpoint)                                                                    \
	"{\"id\":\"" did "\",\"verificationMethod\":[{\"id\":\"" did "#atproto\","                 \
	"\"type\":\"Multikey\",\"controller\":\"" did "\",\"publicKeyMultibase\":\"" KEY "\"}],"   \
	"\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","            \
	"\"serviceEndpoint\":\"" endpoint "\"}]}"

#define PASSES 0 /* in place of a status */
#define NAME   99

/* What each answer means, of a directory and of an account's own server. */
static const struct {
	const char *name;
	struct http_answer answer; /* the body as text, in reason */
	int plc, web;              /* enum identity_status */
	enum directory_outcome directory;
	uint64_t rest_sec;
} rules[] = {
	{"404", {.status = 404}, IDENTITY_NOT_FOUND, IDENTITY_NOT_FOUND, DIRECTORY_WELL, 0},
	{"410", {.status = 410}, IDENTITY_TOMBSTONED, IDENTITY_NOT_FOUND, DIRECTORY_WELL, 0},
	{"301", {.status = 301}, PASSES, IDENTITY_UNUSABLE, DIRECTORY_WELL, 0},
	{"302", {.status = 302}, PASSES, IDENTITY_UNUSABLE, DIRECTORY_WELL, 0},
	{"308", {.status = 308}, PASSES, IDENTITY_UNUSABLE, DIRECTORY_WELL, 0},
	{"204", {.status = 204}, PASSES, PASSES, DIRECTORY_WELL, 0},
	{"400", {.status = 400}, PASSES, PASSES, DIRECTORY_WELL, 0},
	{"403", {.status = 403}, PASSES, PASSES, DIRECTORY_WELL, 0},
	{"429", {.status = 429}, PASSES, PASSES, DIRECTORY_BUSY, 0},
	{"429, 7 s", {.status = 429, .retry_after_sec = 7}, PASSES, PASSES, DIRECTORY_BUSY, 7},
	{"429, an hour",
	 {.status = 429, .retry_after_sec = 3600},
	 PASSES,
	 PASSES,
	 DIRECTORY_BUSY,
	 60},
	{"500", {.status = 500}, PASSES, PASSES, DIRECTORY_FAILED, 0},
	{"503, 9 s", {.status = 503, .retry_after_sec = 9}, PASSES, PASSES, DIRECTORY_BUSY, 9},
	{"a page",
	 {.status = 200, .reason = "<html>"},
	 PASSES,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_FAILED,
	 0},
	{"nothing", {.status = 200}, PASSES, IDENTITY_UNUSABLE, DIRECTORY_FAILED, 0},
	{"no document",
	 {.status = 200, .reason = "{}"},
	 IDENTITY_UNUSABLE,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_WELL,
	 0},
	{"another's",
	 {.status = 200, .reason = DOCUMENT("did:web:bob.example.com", "https://a.example.com")},
	 IDENTITY_UNUSABLE,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_WELL,
	 0},
	{"of a PLC account",
	 {.status = 200, .reason = DOCUMENT(PLC, "https://a.example.com")},
	 IDENTITY_FOUND,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_WELL,
	 0},
	{"of a web account",
	 {.status = 200, .reason = DOCUMENT(WEB, "https://a.example.com")},
	 IDENTITY_UNUSABLE,
	 IDENTITY_FOUND,
	 DIRECTORY_WELL,
	 0},
	{"a PDS by http",
	 {.status = 200, .reason = DOCUMENT(WEB, "http://a.example.com")},
	 IDENTITY_UNUSABLE,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_WELL,
	 0},
	{"too large",
	 {.outcome = HTTP_TOO_LARGE, .status = 200},
	 PASSES,
	 IDENTITY_UNUSABLE,
	 DIRECTORY_FAILED,
	 0},
	{"too large, 404",
	 {.outcome = HTTP_TOO_LARGE, .status = 404},
	 PASSES,
	 IDENTITY_NOT_FOUND,
	 DIRECTORY_FAILED,
	 0},
	{"too large, 500",
	 {.outcome = HTTP_TOO_LARGE, .status = 500},
	 PASSES,
	 PASSES,
	 DIRECTORY_FAILED,
	 0},
	{"no name", {.outcome = HTTP_NO_NAME}, PASSES, NAME, DIRECTORY_FAILED, 0},
	{"forbidden", {.outcome = HTTP_FORBIDDEN}, PASSES, IDENTITY_UNUSABLE, DIRECTORY_FAILED, 0},
	{"refused", {.outcome = HTTP_NO_CONNECTION}, PASSES, PASSES, DIRECTORY_FAILED, 0},
	{"no trust", {.outcome = HTTP_NO_TRUST}, PASSES, PASSES, DIRECTORY_FAILED, 0},
	{"slow", {.outcome = HTTP_TIMEOUT}, PASSES, PASSES, DIRECTORY_FAILED, 0},
	{"cut", {.outcome = HTTP_BROKEN}, PASSES, PASSES, DIRECTORY_FAILED, 0},
};

static void check_rule(size_t i, enum did_method method, const struct host_policy *policy)
{
	bool plc = method == DID_METHOD_PLC;
	int want = plc ? rules[i].plc : rules[i].web, got;
	struct http_answer a = rules[i].answer;
	struct document_answer d;

	if (a.status == 200 && a.outcome == HTTP_ANSWERED && a.reason)
		a.body = span_str(a.reason);
	a.reason = "HTTP";
	document_answer_read(method, span_str(plc ? PLC : WEB), policy, &a, &d);
	got = d.outcome == DOCUMENT_KNOWN  ? (int)d.entry.status
	      : d.outcome == DOCUMENT_NAME ? NAME
					   : PASSES;
	if (got != want)
		test_fail(__FILE__, __LINE__, "%s of %s: %d, not %d", rules[i].name,
			  did_method_name(method), got, want);
	if (d.outcome != DOCUMENT_KNOWN)
		CHECK(d.reason && d.reason[0]);
	if (plc && d.directory != rules[i].directory)
		test_fail(__FILE__, __LINE__, "%s: %d", rules[i].name, (int)d.directory);
	if (want == PASSES && rules[i].rest_sec * USEC_PER_SEC != d.rest_usec)
		test_fail(__FILE__, __LINE__, "%s: %d us", rules[i].name, (int)d.rest_usec);
	if (want == IDENTITY_FOUND) {
		CHECK_STR(d.entry.pds, "a.example.com");
		CHECK_INT(d.entry.key.curve, CURVE_K256);
	}
}

TEST(every_answer_has_its_meaning)
{
	struct config *config = config_new();
	struct host_policy *policy;
	char error[256];

	CHECK_INT(host_policy_new(config, error, sizeof(error), &policy), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		for (enum did_method m = 0; m < DID_METHODS; m++)
			check_rule(i, m, policy);
	host_policy_free(policy);
	config_free(config);
}
