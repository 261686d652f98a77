#include "validate/identity_cache.h"

#include "common/loop.h"
#include "tests/lib/key.h"
#include "tests/test.h"

#define TTL_FOUND   (100 * USEC_PER_SEC)
#define TTL_MISSING (10 * USEC_PER_SEC)
#define NOW         (1000000 * USEC_PER_SEC)

struct bench {
	struct signatures *signatures;
	struct identity_cache *cache;
	struct test_key key, key2;
};

static void bench_open(struct bench *b, size_t bytes)
{
	b->signatures = signatures_new();
	b->cache = identity_cache_new(bytes, TTL_FOUND, TTL_MISSING, b->signatures);
	test_key_make(CURVE_K256, "one", &b->key);
	test_key_make(CURVE_P256, "two", &b->key2);
}

static void bench_close(struct bench *b)
{
	identity_cache_free(b->cache);
	signatures_free(b->signatures);
}

static struct identity found(const struct bench *b, const char *did, uint64_t fetched)
{
	return (struct identity){
		.status = IDENTITY_FOUND,
		.fetched_usec = fetched,
		.did = span_str(did),
		.key = b->key.public,
		.pds = SPAN_LITERAL("pds.example.com"),
		.handle = SPAN_LITERAL("alice.example.com"),
	};
}

TEST(what_is_put_is_found)
{
	struct known_identity *k;
	struct signature_key key;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	CHECK(!identity_cache_find(b.cache, SPAN_LITERAL("did:web:a.example")));
	i = found(&b, "did:web:a.example", NOW);
	identity_cache_put(b.cache, &i, NOW);
	CHECK(!identity_cache_find(b.cache, SPAN_LITERAL("did:web:b.example")));
	k = identity_cache_find(b.cache, i.did);
	CHECK(k && k->status == IDENTITY_FOUND);
	CHECK_INT(signatures_parse_key(b.signatures, &b.key.public, &key), 0);
	CHECK_INT(memcmp(&k->key, &key, sizeof(key)), 0);
	CHECK(identity_cache_is_pds(b.cache, k, SPAN_LITERAL("pds.example.com")));
	CHECK(!identity_cache_is_pds(b.cache, k, SPAN_LITERAL("pds.example.com:8443")));
	CHECK(!identity_cache_is_pds(b.cache, k, SPAN_EMPTY));
	CHECK(identity_cache_is_handle(b.cache, k, SPAN_LITERAL("alice.example.com")));
	CHECK(identity_cache_is_handle(b.cache, k, SPAN_LITERAL("Alice.Example.COM")));
	CHECK(!identity_cache_is_handle(b.cache, k, SPAN_LITERAL("bob.example.com")));
	CHECK(!identity_cache_is_handle(b.cache, k, SPAN_EMPTY));
	CHECK_INT(k->fetched_usec, NOW);
	CHECK_INT(k->changed_usec, 0);
	CHECK_INT(k->expires_usec, NOW + TTL_FOUND);
	CHECK_INT(identity_cache_count(b.cache), 1);
	bench_close(&b);
}

TEST(a_document_without_handle_has_none)
{
	struct known_identity *k;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = found(&b, "did:web:a.example", NOW);
	i.handle = SPAN_EMPTY;
	identity_cache_put(b.cache, &i, NOW);
	k = identity_cache_find(b.cache, i.did);
	CHECK(!identity_cache_is_handle(b.cache, k, SPAN_EMPTY));
	CHECK(!identity_cache_is_handle(b.cache, k, SPAN_LITERAL("a.example")));
	bench_close(&b);
}

TEST(every_change_is_noticed)
{
	static const char *const what[] = {"nothing", "key", "pds", "handle", "status", "back"};
	struct known_identity *k;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = found(&b, "did:web:a.example", NOW);
	identity_cache_put(b.cache, &i, NOW);
	for (size_t n = 0; n < ARRAY_SIZE(what); n++) {
		i.fetched_usec = NOW + 1 + n;
		if (n == 1)
			i.key = b.key2.public;
		else if (n == 2)
			i.pds = SPAN_LITERAL("new.example.com");
		else if (n == 3)
			i.handle = SPAN_LITERAL("bob.example.com");
		else if (n == 4)
			i.status = IDENTITY_TOMBSTONED;
		else if (n == 5)
			i.status = IDENTITY_FOUND;
		identity_cache_put(b.cache, &i, NOW);
		k = identity_cache_find(b.cache, i.did);
		CHECK_INT(k->fetched_usec, NOW + 1 + n);
		if (k->changed_usec != (n == 0 ? 0 : NOW + 1 + n))
			test_fail(__FILE__, __LINE__, "%s", what[n]);
	}
	bench_close(&b);
}

TEST(an_older_answer_changes_nothing)
{
	struct known_identity *k;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = found(&b, "did:web:a.example", NOW);
	identity_cache_put(b.cache, &i, NOW);
	i.fetched_usec--;
	i.pds = SPAN_LITERAL("old.example.com");
	identity_cache_put(b.cache, &i, NOW);
	k = identity_cache_find(b.cache, i.did);
	CHECK(identity_cache_is_pds(b.cache, k, SPAN_LITERAL("pds.example.com")));
	CHECK_INT(k->fetched_usec, NOW);
	bench_close(&b);
}

TEST(the_last_pds_is_remembered)
{
	static const enum identity_status gone[] = {IDENTITY_TOMBSTONED, IDENTITY_NOT_FOUND,
						    IDENTITY_UNUSABLE};
	struct known_identity *k;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = found(&b, "did:web:a.example", NOW);
	identity_cache_put(b.cache, &i, NOW);
	for (size_t n = 0; n < ARRAY_SIZE(gone); n++) {
		i = (struct identity){.status = gone[n], .fetched_usec = NOW + n, .did = i.did};
		identity_cache_put(b.cache, &i, NOW);
		k = identity_cache_find(b.cache, i.did);
		CHECK_INT(k->status, gone[n]);
		CHECK(identity_cache_is_pds(b.cache, k, SPAN_LITERAL("pds.example.com")));
		CHECK(!identity_cache_is_handle(b.cache, k, SPAN_LITERAL("alice.example.com")));
		CHECK_INT(k->expires_usec, NOW + TTL_MISSING);
	}
	i.did = SPAN_LITERAL("did:web:b.example");
	identity_cache_put(b.cache, &i, NOW);
	k = identity_cache_find(b.cache, i.did);
	CHECK(!identity_cache_is_pds(b.cache, k, SPAN_LITERAL("pds.example.com")));
	bench_close(&b);
}

TEST(an_old_answer_can_be_used_for_a_moment)
{
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = found(&b, "did:web:a.example", NOW - 2 * TTL_FOUND);
	identity_cache_put(b.cache, &i, NOW);
	CHECK(identity_cache_find(b.cache, i.did)->expires_usec > NOW);
	bench_close(&b);
}

TEST(an_answer_is_as_old_as_resolve_says)
{
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = (struct identity){
		.status = IDENTITY_NOT_FOUND,
		.age_usec = TTL_MISSING - 5 * USEC_PER_SEC,
		.did = SPAN_LITERAL("did:web:a.example"),
	};
	identity_cache_put(b.cache, &i, NOW);
	CHECK_INT(identity_cache_find(b.cache, i.did)->expires_usec, NOW + 5 * USEC_PER_SEC);
	i.age_usec = UINT64_MAX;
	identity_cache_put(b.cache, &i, NOW);
	CHECK(identity_cache_find(b.cache, i.did)->expires_usec <= NOW + USEC_PER_SEC);
	bench_close(&b);
}

/* Resolve may not know any more what it answered last: its cache was not written. */
TEST(an_older_answer_ends_the_wait_as_well)
{
	struct known_identity *k;
	struct identity i;
	struct bench b;

	bench_open(&b, KIB(64));
	i = (struct identity){
		.status = IDENTITY_NOT_FOUND,
		.fetched_usec = NOW - TTL_MISSING,
		.did = SPAN_LITERAL("did:web:a.example"),
	};
	identity_cache_put(b.cache, &i, NOW - TTL_MISSING);
	CHECK(identity_cache_find(b.cache, i.did)->expires_usec <= NOW);
	i = found(&b, "did:web:a.example", NOW - TTL_MISSING - 1);
	identity_cache_put(b.cache, &i, NOW);
	k = identity_cache_find(b.cache, i.did);
	CHECK_INT(k->status, IDENTITY_NOT_FOUND);
	CHECK(k->expires_usec > NOW);
	bench_close(&b);
}

TEST(memory_is_bounded_and_what_is_used_stays)
{
	enum { COUNT = 5000 };
	struct identity i;
	char did[64];
	struct bench b;
	size_t kept = 0, lost = 0;

	bench_open(&b, KIB(64));
	/* What the allocator gives is up to a quarter more than what was asked for. */
	CHECK(identity_cache_memory_bytes(b.cache) < (int64_t)(KIB(64) * 5 / 4 + KIB(1)));
	for (unsigned n = 0; n < COUNT; n++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", n);
		i = found(&b, did, NOW);
		identity_cache_put(b.cache, &i, NOW);
		/* always in use */
		lost += !identity_cache_find(b.cache, SPAN_LITERAL("did:web:h0.example"));
		if (n % 7 == 0)
			lost += !identity_cache_find(b.cache, i.did);
	}
	for (unsigned n = 0; n < COUNT; n++) {
		snprintf(did, sizeof(did), "did:web:h%u.example", n);
		kept += identity_cache_find(b.cache, span_str(did)) != NULL;
	}
	CHECK_INT(lost, 0);
	CHECK_INT(kept, identity_cache_count(b.cache));
	CHECK(kept > 200 && kept < 500);
	bench_close(&b);
}
