#include "tests/simnet/world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "common/syntax.h"
#include "common/did_document.h"
#include "tests/test.h"

static struct world_settings settings(void)
{
	return (struct world_settings){
		.seed = test_random(),
		.hosts = 100,
		.accounts = 1u << 30,
		.port = 2471,
		.big_hosts = 7,
		.p256_percent = 30,
		.web_percent = 20,
		.legacy_percent = 25,
	};
}

TEST(a_did_holds_its_account)
{
	struct world_settings s = settings(), other = settings();
	struct world *w = world_new(&s), *strange = world_new(&other);
	unsigned web = 0;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t account = i < 1000 ? i : (uint32_t)(test_random() % s.accounts), found;
		char did[LIMIT_DID + 1];
		struct span text = span_str(world_did(w, account, did));
		bool is_web = did_is_web(text);

		web += is_web;
		CHECK(is_web || did_is_plc(text));
		CHECK_INT(world_find(w, text, &found), 0);
		CHECK_INT(found, account);
		/* A did:web says its number openly. */
		if (is_web)
			continue;
		CHECK_INT(world_find(strange, text, &found), -ENOENT);
		did[8 + test_random() % 24] ^= 1;
		CHECK_INT(world_find(w, text, &found), -ENOENT);
	}
	CHECK(web > 300 && web < 500);
	world_free(strange);
	world_free(w);
}

TEST(nobody_has_these_dids)
{
	struct world_settings s = settings();
	struct world *w;
	char did[LIMIT_DID + 1];
	static const char *const texts[] = {
		"",
		"did:plc:",
		"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
		"did:web:w",
		"did:web:w0000001.sim.test",
		"did:web:w1.sim.test%3A2471",
		"did:web:w0000001.sim.test%3A2472",
		"did:web:w4294967299.sim.test%3A2471",
		"did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF",
	};
	uint32_t found;

	s.accounts = 1000;
	s.web_percent = 100;
	w = world_new(&s);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		CHECK_INT(world_find(w, span_str(texts[i]), &found), -ENOENT);
	CHECK_INT(world_find(w, SPAN_LITERAL("did:web:w0000999.sim.test%3A2471"), &found), 0);
	CHECK_INT(world_find(w, SPAN_LITERAL("did:web:w0001000.sim.test%3A2471"), &found), -ENOENT);
	world_free(w);
	s.web_percent = 0;
	w = world_new(&s);
	CHECK_INT(world_find(w, SPAN_LITERAL("did:web:w0000001.sim.test%3A2471"), &found), -ENOENT);
	s.accounts = 1001;
	struct world *larger = world_new(&s);

	CHECK_INT(world_find(w, span_str(world_did(larger, 1000, did)), &found), -ENOENT);
	world_free(larger);
	world_free(w);
}

TEST(hosts_have_names_and_addresses)
{
	struct world_settings s = settings();
	struct world *w;
	char name[LIMIT_HOST + 1];
	struct host h;
	uint32_t found;

	s.hosts = 60000;
	w = world_new(&s);
	CHECK_STR(world_host_name(w, 12, name), "h00012.sim.test:2471");
	CHECK_INT(host_parse(span_str(name), &h), 0);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h00012.sim.test"), &found), 0);
	CHECK_INT(found, 12);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h59999.sim.test"), &found), 0);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h60000.sim.test"), &found), -ENOENT);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h12.sim.test"), &found), -ENOENT);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h00012.sim.tests"), &found), -ENOENT);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("h00012.sim.test:2471"), &found), -ENOENT);
	CHECK_INT(world_find_host(w, SPAN_LITERAL("plc.sim.test"), &found), -ENOENT);
	CHECK_STR(world_directory_name(w, name), "plc.sim.test:2471");
	CHECK_STR(inet_ntoa(world_address(w, 0)), "127.77.0.1");
	CHECK_STR(inet_ntoa(world_address(w, 59999)), "127.77.234.96");
	CHECK_STR(inet_ntoa(world_directory_address(w)), "127.77.255.254");
	world_free(w);
}

static uint32_t host_of(const struct world *w, uint32_t account)
{
	struct world_identity i;

	world_identity(w, account, &i);
	CHECK_INT(i.state, WORLD_IDENTITY_PRESENT);
	return i.host;
}

TEST(big_hosts_have_most_accounts)
{
	struct world_settings s = settings();
	struct world *w = world_new(&s);
	unsigned counts[100] = {0}, big = 0;

	for (uint32_t i = 0; i < 10000; i++)
		counts[host_of(w, i)]++;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		CHECK(counts[i] > 0);
		big += i < s.big_hosts ? counts[i] : 0;
	}
	CHECK_INT(big, 9000);
	world_free(w);
	s.big_hosts = 0;
	w = world_new(&s);
	for (uint32_t i = 0; i < 200; i++)
		CHECK_INT(host_of(w, i), i % 100);
	world_free(w);
}

/* The document as resolve reads it. */
static void check_document(const struct world *w, uint32_t account)
{
	char did[LIMIT_DID + 1], host[LIMIT_HOST + 1], handle[LIMIT_HANDLE + 1];
	struct world_identity i;
	struct did_document doc;
	struct test_key key;
	char name[LIMIT_HOST + 1];
	struct buf b;

	buf_init(&b, LIMIT_DID_DOCUMENT);
	world_document(w, account, &b);
	world_identity(w, account, &i);
	world_key(w, account, i.key, &key);
	CHECK_INT(did_document_parse(buf_span(&b), span_str(world_did(w, account, did)), &doc),
		  DID_DOCUMENT_OK);
	CHECK_INT(doc.key.curve, world_curve(w, account));
	CHECK(memcmp(&doc.key, &key.public, sizeof(key.public)) == 0);
	CHECK_STR(doc.handle, world_handle(w, account, i.handle, handle));
	CHECK_STR(host_format(&doc.pds, host), world_host_name(w, i.host, name));
	CHECK(doc.pds_is_plain == world_settings(w)->plain);
	buf_release(&b);
}

static bool is_legacy(const struct world *w, uint32_t account)
{
	struct buf b;
	bool found;

	buf_init(&b, LIMIT_DID_DOCUMENT);
	world_document(w, account, &b);
	found = test_contains(buf_span(&b), "VerificationKey2019");
	buf_release(&b);
	return found;
}

TEST(documents_are_right_in_both_forms_and_on_both_curves)
{
	struct world_settings s = settings();
	unsigned forms[2][2] = {{0}};
	struct world *w;

	s.plain = test_random() % 2;
	w = world_new(&s);
	for (uint32_t i = 0; i < 200; i++) {
		check_document(w, i);
		forms[world_curve(w, i) == CURVE_P256][is_legacy(w, i)]++;
	}
	for (size_t i = 0; i < 4; i++)
		CHECK(forms[i / 2][i % 2] > 0);
	world_free(w);
}

TEST(documents_follow_changes)
{
	struct world_settings s = settings();
	struct world *w = world_new(&s);
	struct test_key before, after;

	for (uint32_t i = 0; i < 1000; i++)
		world_change(w, i * 1013,
			     &(struct world_identity){i % 100, i + 1, i % 3,
						      i % 7 ? WORLD_IDENTITY_PRESENT
							    : WORLD_IDENTITY_MISSING});
	for (uint32_t i = 0; i < 1000; i++) {
		struct world_identity got;

		world_identity(w, i * 1013, &got);
		CHECK_INT(got.host, i % 100);
		CHECK_INT(got.key, i + 1);
		CHECK_INT(got.handle, i % 3);
		CHECK_INT(got.state, i % 7 ? WORLD_IDENTITY_PRESENT : WORLD_IDENTITY_MISSING);
		world_identity(w, i * 1013 + 1, &got);
		CHECK_INT(got.key, 0);
		if (i < 50)
			check_document(w, i * 1013);
	}
	world_key(w, 5, 0, &before);
	world_key(w, 5, 1, &after);
	CHECK(memcmp(&before.public, &after.public, sizeof(before.public)) != 0);
	world_free(w);
}

TEST(the_hosts_file_names_everybody_once)
{
	struct world_settings s = settings();
	struct world *w;
	char line[LIMIT_HOSTNAME + 32];
	size_t lines = 0, web = 0;
	struct buf b;

	s.accounts = 500;
	w = world_new(&s);
	buf_init(&b, MIB(1));
	world_hosts_file(w, &b);
	for (size_t i = 0; i < b.len; i++)
		lines += b.ptr[i] == '\n';
	CHECK(test_contains(buf_span(&b), "127.77.255.254 plc.sim.test\n"));
	CHECK(test_contains(buf_span(&b), "127.77.0.100 h00099.sim.test\n"));
	for (uint32_t i = 0; i < s.accounts; i++) {
		char did[LIMIT_DID + 1];

		if (!did_is_web(span_str(world_did(w, i, did))))
			continue;
		web++;
		*strchr(did, '%') = '\0';
		snprintf(line, sizeof(line), "%s %.*s\n",
			 inet_ntoa(world_address(w, host_of(w, i))), 64, did + 8);
		CHECK(test_contains(buf_span(&b), line));
	}
	CHECK_INT(lines, 1 + s.hosts + web);
	buf_release(&b);
	world_free(w);
}
