#include "common/syntax.h"

#include "common/cid.h"
#include "common/limits.h"
#include "tests/test.h"

/* Lines as they are: blanks at their ends are part of the case. Comments and empty lines are passed
 * over. */
static void check_lines(const char *file, bool (*is_valid)(struct span), bool want, unsigned lines)
{
	char path[4200];
	struct buf b;
	unsigned count = 0;

	snprintf(path, sizeof(path), "%s/interop/syntax/%s.txt", test_vectors(), file);
	test_read_file(path, &b);
	for (struct span rest = buf_span(&b), line; rest.len > 0;) {
		const uint8_t *end = memchr(rest.ptr, '\n', rest.len);

		line = span_of(rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len);
		rest = end ? span_of(end + 1, rest.len - line.len - 1) : SPAN_EMPTY;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		count++;
		if (is_valid(line) != want)
			test_fail(__FILE__, __LINE__, "%s: \"%.*s\"", file, (int)line.len,
				  (const char *)line.ptr);
	}
	CHECK_INT(count, lines);
	buf_release(&b);
}

TEST(interop_dids)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("did_syntax_valid", did_is_valid, true, 24);
	check_lines("did_syntax_invalid", did_is_valid, false, 18);
}

TEST(interop_nsids)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("nsid_syntax_valid", nsid_is_valid, true, 25);
	check_lines("nsid_syntax_invalid", nsid_is_valid, false, 27);
}

TEST(interop_record_keys)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("recordkey_syntax_valid", record_key_is_valid, true, 16);
	check_lines("recordkey_syntax_invalid", record_key_is_valid, false, 11);
}

TEST(interop_tids)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("tid_syntax_valid", tid_is_valid, true, 4);
	check_lines("tid_syntax_invalid", tid_is_valid, false, 9);
}

TEST(interop_handles)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("handle_syntax_valid", handle_is_valid, true, 71);
	check_lines("handle_syntax_invalid", handle_is_valid, false, 48);
}

static bool at_identifier_is_valid(struct span s)
{
	return did_is_valid(s) || handle_is_valid(s);
}

static bool blessed_cid_is_valid(struct span s)
{
	struct cid cid;

	return cid_parse(s, &cid) == 0;
}

/* No stage takes an AT-URI; its parts are taken everywhere. */
static bool at_uri_is_valid(struct span s)
{
	const struct span scheme = SPAN_LITERAL("at://");
	const uint8_t *slash;
	struct span path;

	if (!span_starts_with(s, scheme))
		return false;
	s = span_of(s.ptr + scheme.len, s.len - scheme.len);
	slash = memchr(s.ptr, '/', s.len);
	if (!slash)
		return at_identifier_is_valid(s);
	path = span_of(slash + 1, s.len - (size_t)(slash + 1 - s.ptr));
	return at_identifier_is_valid(span_of(s.ptr, (size_t)(slash - s.ptr))) &&
	       (nsid_is_valid(path) || repo_path_is_valid(path, NULL));
}

TEST(interop_identifiers_of_accounts_and_records)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("atidentifier_syntax_valid", at_identifier_is_valid, true, 11);
	check_lines("atidentifier_syntax_invalid", at_identifier_is_valid, false, 22);
	check_lines("aturi_syntax_valid", at_uri_is_valid, true, 23);
	check_lines("aturi_syntax_invalid", at_uri_is_valid, false, 72);
}

/* The list of valid ones is for text that may be a CID of any kind. The one form that links and
 * blocks have is not among them. */
TEST(interop_cids)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("cid_syntax_invalid", blessed_cid_is_valid, false, 10);
	check_lines("cid_syntax_valid", blessed_cid_is_valid, false, 8);
}

TEST(interop_datetimes)
{
	if (!test_vectors())
		SKIP("no test vectors");
	check_lines("datetime_syntax_valid", datetime_is_valid, true, 35);
	check_lines("datetime_syntax_invalid", datetime_is_valid, false, 45);
	check_lines("datetime_parse_invalid", datetime_is_valid, false, 7);
}

struct text_case {
	const char *text;
	bool valid;
};

static void check_texts(const struct text_case *cases, size_t count, bool (*is_valid)(struct span))
{
	for (size_t i = 0; i < count; i++)
		if (is_valid(span_str(cases[i].text)) != cases[i].valid)
			test_fail(__FILE__, __LINE__, "\"%s\"", cases[i].text);
	CHECK(!is_valid(SPAN_EMPTY));
	CHECK(!is_valid(SPAN_LITERAL("")));
	CHECK(!is_valid(SPAN_LITERAL("\0")));
}

/* prefix, then `fill` up to so many bytes, then suffix. */
static bool is_valid_at(bool (*is_valid)(struct span), const char *prefix, char fill,
			const char *suffix, size_t size)
{
	struct buf b;
	bool valid;

	buf_init(&b, KIB(8));
	buf_append_str(&b, prefix);
	while (b.len < size - strlen(suffix))
		buf_put_u8(&b, (uint8_t)fill);
	buf_append_str(&b, suffix);
	valid = is_valid(buf_span(&b));
	buf_release(&b);
	return valid;
}

TEST(dids)
{
	static const struct text_case cases[] = {
		{"did:plc:asdf", true},   {"did:a:b", true},         {"did:method:a:b:c", true},
		{"did:method:%", false},  {"did:method:a%", false},  {"did:method:%a", true},
		{"did:method:a:", false}, {"did:method::::a", true}, {"did:method:", false},
		{"did:method", false},    {"did:", false},           {"did::a", false},
		{"DID:plc:a", false},     {"did:PLC:a", false},      {"did:m1:a", false},
		{"did:m:a/b", false},     {"did:m:a#b", false},      {"did:m:a?b", false},
		{" did:m:a", false},      {"did:m:a\n", false},      {"did:m:\xc3\xa9", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), did_is_valid);
	CHECK(is_valid_at(did_is_valid, "did:m:", 'x', "", LIMIT_DID));
	CHECK(!is_valid_at(did_is_valid, "did:m:", 'x', "", LIMIT_DID + 1));
}

TEST(plc_dids)
{
	static const struct text_case cases[] = {
		{"did:plc:ewvi7nxzyoun6zhxrhs64oiz", true},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oi", false},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oizz", false},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oi1", false},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oi8", false},
		{"did:plc:Ewvi7nxzyoun6zhxrhs64oiz", false},
		{"did:web:ewvi7nxzyoun6zhxrhs64oiz", false},
		{"did:plc:ewvi7nxzyoun6zhxrhs64o/z", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), did_is_plc);
}

TEST(web_dids)
{
	static const struct text_case cases[] = {
		{"did:web:example.com", true},
		{"did:web:pds.example.com", true},
		{"did:web:localhost", true},
		{"did:web:localhost%3A1234", true},
		{"did:web:localhost.example.com", true},
		{"did:web:localhost%3A65535", true},
		{"did:web:localhost%3A65536", false},
		{"did:web:localhost%3A0", false},
		{"did:web:localhost%3A01", false},
		{"did:web:localhost%3A", false},
		{"did:web:localhost:1234", false},
		{"did:web:localhostess", false},
		{"did:web:pds.test%3A1234", true},
		{"did:web:a.b.test%3A65535", true},
		{"did:web:pds.test", true},
		{"did:web:pds.test%3A65536", false},
		{"did:web:pds.test%3A1%3A2", false},
		{"did:web:.test%3A1234", false},
		{"did:web:test%3A1234", false},
		{"did:web:pdstest%3A1234", false},
		{"did:web:pds.test.com%3A1234", false},
		{"did:web:example.com%3A1234", false},
		{"did:web:example.com:user:alice", false},
		{"did:web:Example.com", false},
		{"did:web:example.com.", false},
		{"did:web:com", false},
		{"did:web:", false},
		{"did:web:127.0.0.1", false},
		{"did:web:0x7f.1", false},
		{"did:web:exa%6Dple.com", false},
		{"did:web:user@example.com", false},
		{"did:web:example.com/x", false},
		{"did:plc:example.com", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), did_is_web);
}

TEST(tids)
{
	static const struct text_case cases[] = {
		{"3jzfcijpj2z2a", true},     {"2222222222222", true},  {"jzzzzzzzzzzzz", true},
		{"kzzzzzzzzzzzz", false},    {"3jzfcijpj2z2", false},  {"3jzfcijpj2z2aa", false},
		{"3jzfcijpj2z21", false},    {"3jzfcijpj2z28", false}, {"3jzfcijpj2z2A", false},
		{"3jzf-cij-pj2z-2a", false}, {"222222d7n7i22", true},
	};

	check_texts(cases, ARRAY_SIZE(cases), tid_is_valid);
}

TEST(tids_have_a_time)
{
	uint8_t tid[TID_SIZE], later[TID_SIZE];

	CHECK_INT(tid_usec(SPAN_LITERAL("2222222222222")), 0);
	/* 1023 is "zz" in the last two places: the clock's ten bits. */
	CHECK_INT(tid_usec(SPAN_LITERAL("22222222222zz")), 0);
	CHECK_INT(tid_usec(SPAN_LITERAL("2222222222322")), 1);
	tid_format(1700000000000000, 5, tid);
	CHECK(tid_is_valid(span_of(tid, sizeof(tid))));
	CHECK_INT(tid_usec(span_of(tid, sizeof(tid))), 1700000000000000);
	CHECK_SPAN(span_of(tid + 11, 2), SPAN_LITERAL("27"));
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t usec = test_random() >> 12;

		tid_format(usec, (unsigned)test_random() & 1023, tid);
		tid_format(usec + 1, (unsigned)test_random() & 1023, later);
		CHECK(tid_is_valid(span_of(tid, sizeof(tid))));
		CHECK(tid_usec(span_of(tid, sizeof(tid))) == usec);
		CHECK(span_compare(span_of(tid, sizeof(tid)), span_of(later, sizeof(later))) < 0);
	}
	tid_format(UINT64_MAX, UINT32_MAX, tid);
	CHECK(tid_is_valid(span_of(tid, sizeof(tid))));
}

TEST(nsids)
{
	static const struct text_case cases[] = {
		{"com.example.fooBar", true},
		{"a.b.c", true},
		{"a-0.b-1.c", true},
		{"a.0.c", true},
		{"a.b.c9", true},
		{"a.b", false},
		{"a.b.9c", false},
		{"a.b.c-d", false},
		{"0.b.c", false},
		{"a-.b.c", false},
		{"a.-b.c", false},
		{"a..c", false},
		{".a.b.c", false},
		{"a.b.c.", false},
		{"a.b.*", false},
		{"a.b.c#d", false},
		{"a.b.c_d", false},
		{"a.b.c d", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), nsid_is_valid);
	CHECK(is_valid_at(nsid_is_valid, "a.b.", 'c', "", 4 + 63));
	CHECK(!is_valid_at(nsid_is_valid, "a.b.", 'c', "", 4 + 64));
	CHECK(!is_valid_at(nsid_is_valid, "a.", 'b', ".c", 2 + 64 + 2));
}

TEST(nsid_length_has_a_limit)
{
	for (size_t size = LIMIT_NSID; size <= LIMIT_NSID + 1; size++) {
		struct buf b;

		buf_init(&b, KIB(1));
		while (b.len + 3 < size)
			buf_append_str(&b, "a.");
		buf_append_str(&b, b.len + 3 == size ? "a.b" : "ab");
		CHECK_INT(b.len, size);
		CHECK_INT(nsid_is_valid(buf_span(&b)), size <= LIMIT_NSID);
		buf_release(&b);
	}
}

TEST(record_keys)
{
	static const struct text_case cases[] = {
		{"self", true}, {"3jzfcijpj2z2a", true}, {"example.com", true}, {"~1.2-3_", true},
		{"a:b", true},  {"...", true},           {".a", true},          {".", false},
		{"..", false},  {"a/b", false},          {"a b", false},        {"a#b", false},
		{"a@b", false}, {"a%b", false},          {"a+b", false},        {"\xc3\xa9", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), record_key_is_valid);
	CHECK(is_valid_at(record_key_is_valid, "", 'x', "", LIMIT_RECORD_KEY));
	CHECK(!is_valid_at(record_key_is_valid, "", 'x', "", LIMIT_RECORD_KEY + 1));
}

static bool path_is_valid(struct span s)
{
	return repo_path_is_valid(s, NULL);
}

TEST(repo_paths)
{
	static const struct text_case cases[] = {
		{"app.bsky.feed.post/3jzfcijpj2z2a", true},
		{"app.bsky.actor.profile/self", true},
		{"a.b.c/x:y", true},
		{"a.b.c/", false},
		{"a.b.c", false},
		{"/a.b.c/x", false},
		{"a.b.c/x/", false},
		{"a.b.c//x", false},
		{"a.b.c/x/y", false},
		{"a.b.c/.", false},
		{"a.b.c/..", false},
		{"a.b/x", false},
		{"/", false},
		{"/x", false},
	};
	struct span collection = SPAN_LITERAL("old");

	check_texts(cases, ARRAY_SIZE(cases), path_is_valid);
	CHECK(!repo_path_is_valid(SPAN_LITERAL("a.b.c/x/y"), &collection));
	CHECK(span_is(collection, "old"));
	CHECK(repo_path_is_valid(SPAN_LITERAL("a.b.c/x"), &collection));
	CHECK(span_is(collection, "a.b.c"));
}

TEST(handles)
{
	static const struct text_case cases[] = {
		{"alice.example.com", true},
		{"A.B", true},
		{"8.cn", true},
		{"alice", false},
		{"alice.8", false},
		{"alice.example.", false},
		{".a.b", false},
		{"a..b", false},
		{"-a.b", false},
		{"a-.b", false},
		{"a_b.c", false},
		{"a.b ", false},
		{"a.b/c", false},
		{"127.0.0.1", false},
		{"@a.b", false},
		{"handle.invalid", true},
		{"a.c-d", true},
	};

	check_texts(cases, ARRAY_SIZE(cases), handle_is_valid);
	CHECK(is_valid_at(handle_is_valid, "", 'a', ".com", 63 + 4));
	CHECK(!is_valid_at(handle_is_valid, "", 'a', ".com", 64 + 4));
}

TEST(names_of_dots_have_a_limit)
{
	for (size_t size = 253; size <= 255; size += 2) {
		struct buf b;

		buf_init(&b, KIB(1));
		while (b.len + 1 < size)
			buf_append_str(&b, "a.");
		buf_append_str(&b, "a");
		CHECK_INT(b.len, size);
		CHECK_INT(handle_is_valid(buf_span(&b)), size <= LIMIT_HANDLE);
		CHECK_INT(hostname_is_valid(buf_span(&b)), size <= LIMIT_HOSTNAME);
		buf_release(&b);
	}
}

TEST(datetimes)
{
	static const struct text_case cases[] = {
		{"2024-02-29T23:59:59Z", true},       {"2023-02-29T23:59:59Z", false},
		{"2000-02-29T00:00:00Z", true},       {"1900-02-29T00:00:00Z", false},
		{"2024-04-31T00:00:00Z", false},      {"2024-01-01T24:00:00Z", false},
		{"2024-01-01T23:59:60Z", false},      {"2024-01-01T00:00:00+23:59", true},
		{"2024-01-01T00:00:00+24:00", false}, {"2024-01-01T00:00:00+00:60", false},
		{"2024-01-01T00:00:00-00:01", true},  {"2024-01-01T00:00:00-00:00", false},
		{"0000-01-01T01:00:00+01:00", true},  {"0000-01-01T00:59:00+01:00", false},
		{"0000-01-01T00:00:00-01:00", true},  {"0000-01-02T00:00:00+23:00", true},
		{"2024-01-01T00:00:00.Z", false},     {"2024-01-01T00:00:00,5Z", false},
		{"2024-01-01T00:00:00ZZ", false},     {"2024-01-01T00:00:00Z\n", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), datetime_is_valid);
	CHECK(is_valid_at(datetime_is_valid, "2024-01-01T00:00:00.", '1', "Z", LIMIT_DATETIME));
	CHECK(!is_valid_at(datetime_is_valid, "2024-01-01T00:00:00.", '1', "Z",
			   LIMIT_DATETIME + 1));
}

TEST(hostnames)
{
	static const struct text_case cases[] = {
		{"example.com", true},
		{"localhost", true},
		{"pds-1.example.com", true},
		{"xn--bcher-kva.example", true},
		{"1.example", true},
		{"example.c0m", true},
		{"Example.com", false},
		{"example.com.", false},
		{".example.com", false},
		{"a..b", false},
		{"-a.com", false},
		{"a-.com", false},
		{"a_b.com", false},
		{"a.com:80", false},
		{"127.0.0.1", false},
		{"1", false},
		{"0x7f000001", false},
		{"a.0x1f", false},
		{"a.0x", false},
		{"a.0xzz", true},
		{"[::1]", false},
		{"a b", false},
		{"\xc3\xa9.com", false},
	};

	check_texts(cases, ARRAY_SIZE(cases), hostname_is_valid);
}
