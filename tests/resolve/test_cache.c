#include "resolve/cache.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "common/log.h"
#include "common/loop.h"
#include "tests/lib/damage.h"
#include "tests/test.h"

#define MINUTE (60 * USEC_PER_SEC)
#define HOUR   (60 * MINUTE)

static const struct span did = SPAN_LITERAL("did:plc:ewvi7nxzyoun6zhxrhs64oiz");

static struct cache_entry make_entry(enum identity_status status, uint64_t fetched_usec)
{
	struct cache_entry e = {.status = status, .fetched_usec = fetched_usec};

	if (status != IDENTITY_FOUND)
		return e;
	e.key.curve = CURVE_P256;
	memset(e.key.point, 3, sizeof(e.key.point));
	snprintf(e.pds, sizeof(e.pds), "pds.example.com:8443");
	snprintf(e.handle, sizeof(e.handle), "alice.test");
	return e;
}

static struct config *make_config(void)
{
	struct config *c = config_new();
	char error[256];

	CHECK_INT(config_set(c, "resolve.ttl_found=10h", error, sizeof(error)), 0);
	CHECK_INT(config_set(c, "resolve.ttl_missing=1h", error, sizeof(error)), 0);
	return c;
}

static struct cache *open_cache(const char *path)
{
	struct config *config = make_config();
	struct cache *c = NULL;

	CHECK_INT(cache_open(path, config, &c), 0);
	config_free(config);
	return c;
}

static void check_entry(const struct cache_entry *got, const struct cache_entry *want)
{
	CHECK_INT(got->status, want->status);
	CHECK_INT(got->fetched_usec, want->fetched_usec);
	CHECK_INT(got->key.curve, want->key.curve);
	CHECK(memcmp(got->key.point, want->key.point, PUBLIC_KEY_SIZE) == 0);
	CHECK_STR(got->pds, want->pds);
	CHECK_STR(got->handle, want->handle);
}

TEST(entries_come_back_after_a_restart)
{
	const char *path = test_folder();
	struct cache *c = open_cache(path);
	struct cache_entry e, got;

	for (enum identity_status s = IDENTITY_FOUND; s <= IDENTITY_UNUSABLE; s++) {
		e = make_entry(s, 42 + s);
		CHECK_INT(cache_get(c, SPAN_LITERAL("did:web:nobody.example.com"), &got), -ENOENT);
		CHECK_INT(cache_put(c, did, &e), 0);
		CHECK_INT(cache_get(c, did, &got), 0);
		check_entry(&got, &e);
		cache_close(c);
		c = open_cache(path);
		CHECK_INT(cache_get(c, did, &got), 0);
		check_entry(&got, &e);
	}
	CHECK(cache_memory_bytes(c) >= 0);
	cache_close(c);
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	signal(SIGXFSZ, SIG_IGN);
	CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A limit on the size of files stands for a disk that is full. */
TEST(a_full_disk_passes)
{
	struct cache *c = open_cache(test_folder());
	struct cache_entry e = make_entry(IDENTITY_FOUND, 42), got;

	CHECK_INT(cache_put(c, did, &e), 0);
	limit_files(1);
	for (unsigned i = 0; i < 3; i++)
		CHECK(cache_put(c, did, &e) < 0);
	limit_files(RLIM_INFINITY);
	e.fetched_usec = 43;
	(void)!cache_put(c, did, &e); /* opens it anew */
	CHECK_INT(cache_put(c, did, &e), 0);
	CHECK_INT(cache_get(c, did, &got), 0);
	check_entry(&got, &e);
	cache_close(c);
}

TEST(a_cache_has_one_owner)
{
	const char *path = test_folder();
	struct config *config = make_config();
	struct cache *c = open_cache(path), *second = NULL;

	CHECK(cache_open(path, config, &second) < 0);
	CHECK(cache_error(NULL)[0] != '\0');
	cache_close(c);
	config_free(config);
}

TEST(entries_are_fresh_for_their_time)
{
	static const struct {
		const char *name;
		enum identity_status status;
		uint64_t age;
		bool fresh, usable;
	} cases[] = {
		{"found, new", IDENTITY_FOUND, 0, true, true},
		{"found, last moment", IDENTITY_FOUND, 10 * HOUR - MINUTE, true, true},
		{"found, stale", IDENTITY_FOUND, 10 * HOUR, false, true},
		{"found, stale, last moment", IDENTITY_FOUND, 20 * HOUR - MINUTE, false, true},
		{"found, too old", IDENTITY_FOUND, 20 * HOUR, false, false},
		{"found, from the future", IDENTITY_FOUND, 0 - MINUTE, false, false},
		{"missing, last moment", IDENTITY_NOT_FOUND, HOUR - MINUTE, true, false},
		{"missing, stale", IDENTITY_NOT_FOUND, HOUR, false, false},
		{"tombstoned, stale", IDENTITY_TOMBSTONED, HOUR, false, false},
		{"unusable, stale", IDENTITY_UNUSABLE, HOUR, false, false},
	};
	struct cache *c = open_cache(test_folder());

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cache_entry e = make_entry(cases[i].status, clock_usec() - cases[i].age);

		if (cache_is_fresh(c, &e) != cases[i].fresh ||
		    cache_is_stale_but_usable(c, &e) != cases[i].usable)
			test_fail(__FILE__, __LINE__, "%s", cases[i].name);
	}
	cache_close(c);
}

/* The clock may have been set since. */
TEST(what_the_machine_learnt_since_its_start_has_the_age_it_has)
{
	struct cache *c = open_cache(test_folder());
	struct cache_entry e = make_entry(IDENTITY_FOUND, clock_usec() - 30 * HOUR);

	e.fetched_uptime_usec = uptime_usec() - USEC_PER_SEC;
	CHECK(cache_is_fresh(c, &e));
	e.fetched_usec = clock_usec() + HOUR;
	CHECK(cache_is_fresh(c, &e));
	CHECK(cache_age_usec(&e) >= USEC_PER_SEC && cache_age_usec(&e) < MINUTE);
	cache_close(c);
}

static void put_of_another_start(const char *path, const struct cache_entry *e)
{
	struct database *d;
	struct buf key, value;

	buf_init(&key, KIB(1));
	buf_init(&value, KIB(1));
	buf_append_str(&key, "i");
	buf_append(&key, did);
	cache_entry_encode(&value, e);
	CHECK_INT(database_open(path, KIB(64), KIB(64), &d), 0);
	struct database_batch *b = database_batch_new();
	database_batch_put(b, buf_span(&key), buf_span(&value));
	CHECK_INT(database_write(d, b, false), 0);
	database_batch_free(b);
	database_close(d);
	buf_release(&key);
	buf_release(&value);
}

TEST(the_time_since_a_start_is_of_that_start_only)
{
	const char *path = test_folder();
	struct cache_entry e = make_entry(IDENTITY_FOUND, clock_usec() - HOUR), got;
	struct cache *c = open_cache(path);

	e.fetched_uptime_usec = uptime_usec();
	CHECK_INT(cache_put(c, did, &e), 0);
	cache_close(c);
	c = open_cache(path);
	CHECK_INT(cache_get(c, did, &got), 0);
	CHECK_INT(got.fetched_uptime_usec, e.fetched_uptime_usec);
	cache_close(c);
	e.boot = got.boot ^ 1;
	put_of_another_start(path, &e);
	c = open_cache(path);
	CHECK_INT(cache_get(c, did, &got), 0);
	CHECK_INT(got.fetched_uptime_usec, 0);
	CHECK(cache_age_usec(&got) >= HOUR);
	cache_close(c);
}

TEST(settings_change_while_it_is_open)
{
	struct config *config = make_config();
	struct cache *c = open_cache(test_folder());
	struct cache_entry e = make_entry(IDENTITY_FOUND, clock_usec() - HOUR), got;
	char error[256];

	CHECK_INT(cache_put(c, did, &e), 0);
	CHECK(cache_is_fresh(c, &e));
	CHECK_INT(config_set(config, "resolve.ttl_found=30m", error, sizeof(error)), 0);
	CHECK_INT(config_set(config, "resolve.cache=1M", error, sizeof(error)), 0);
	CHECK_INT(cache_configure(c, config), 0);
	CHECK(!cache_is_fresh(c, &e));
	CHECK_INT(cache_get(c, did, &got), 0);
	check_entry(&got, &e);
	CHECK_INT(cache_put(c, did, &e), 0);
	cache_close(c);
	config_free(config);
}

#define MAX 1000

static struct span numbered(unsigned n)
{
	static char text[64];

	/* In an order that is not that of their numbers. */
	snprintf(text, sizeof(text), "did:web:h%08x.example.com", n * 2654435761u);
	return span_str(text);
}

static unsigned count_kept(struct cache *c, unsigned from, unsigned to)
{
	struct cache_entry got;
	unsigned kept = 0;

	for (unsigned i = from; i < to; i++)
		kept += cache_get(c, numbered(i), &got) == 0;
	return kept;
}

TEST(a_full_cache_makes_room_for_what_is_new)
{
	struct config *config = make_config();
	const char *path = test_folder();
	struct cache *c;
	struct cache_entry e = make_entry(IDENTITY_FOUND, clock_usec()), got;
	char error[256];

	CHECK_INT(config_set(config, "resolve.identities_max=1000", error, sizeof(error)), 0);
	CHECK_INT(cache_open(path, config, &c), 0);
	for (unsigned i = 0; i < 3 * MAX; i++) {
		e.fetched_usec = clock_usec();
		CHECK_INT(cache_put(c, numbered(i), &e), 0);
		CHECK_INT(cache_get(c, numbered(i), &got), 0);
		CHECK(cache_count(c) <= MAX);
		/* What is written again takes no room. */
		CHECK_INT(cache_put(c, numbered(i), &e), 0);
	}
	CHECK_INT(cache_count(c), MAX);
	CHECK_INT(count_kept(c, 0, 3 * MAX), MAX);
	/* The newer ones rather than the older. */
	CHECK(count_kept(c, 2 * MAX, 3 * MAX) > count_kept(c, 0, 2 * MAX));
	/* The count survives, and is made anew where it is not there. */
	cache_close(c);
	CHECK_INT(cache_open(path, config, &c), 0);
	CHECK_INT(cache_count(c), MAX);
	cache_close(c);
	{
		struct database *d;
		struct database_batch *b = database_batch_new();

		CHECK_INT(database_open(path, MIB(1), MIB(1), &d), 0);
		database_batch_delete(b, SPAN_LITERAL("n"));
		CHECK_INT(database_write(d, b, true), 0);
		database_batch_free(b);
		database_close(d);
	}
	CHECK_INT(cache_open(path, config, &c), 0);
	CHECK_INT(cache_count(c), MAX);
	cache_close(c);
	config_free(config);
}

TEST(what_is_of_no_use_makes_room_first)
{
	struct config *config = make_config();
	struct cache_entry old = make_entry(IDENTITY_NOT_FOUND, 1), e;
	struct cache *c;
	char error[256];

	CHECK_INT(config_set(config, "resolve.identities_max=1000", error, sizeof(error)), 0);
	CHECK_INT(cache_open(test_folder(), config, &c), 0);
	e = make_entry(IDENTITY_FOUND, clock_usec());
	for (unsigned i = 0; i < MAX; i++)
		CHECK_INT(cache_put(c, numbered(i), i % 2 ? &e : &old), 0);
	for (unsigned i = MAX; i < MAX + 400; i++) {
		e.fetched_usec = clock_usec();
		CHECK_INT(cache_put(c, numbered(i), &e), 0);
	}
	/* All that were of use are there still, and the new ones. */
	CHECK_INT(count_kept(c, MAX, MAX + 400), 400);
	for (unsigned i = 1; i < MAX; i += 2)
		CHECK_INT(count_kept(c, i, i + 1), 1);
	cache_close(c);
	config_free(config);
}

TEST(a_value_decodes_to_what_was_encoded)
{
	struct cache_entry e = make_entry(IDENTITY_FOUND, 7), got;
	struct buf first, second;

	buf_init(&first, KIB(4));
	buf_init(&second, KIB(4));
	cache_entry_encode(&first, &e);
	CHECK_INT(cache_entry_decode(buf_span(&first), &got), 0);
	check_entry(&got, &e);
	cache_entry_encode(&second, &got);
	CHECK_SPAN(buf_span(&second), buf_span(&first));
	for (size_t n = 0; n < first.len; n++)
		CHECK_INT(cache_entry_decode(span_of(first.ptr, n), &got), -EBADMSG);
	buf_put_u8(&first, 0);
	CHECK_INT(cache_entry_decode(buf_span(&first), &got), -EBADMSG);
	buf_release(&first);
	buf_release(&second);
}

TEST(a_damaged_value_is_refused)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t byte;
	} cases[] = {
		{"version", 0, 1},
		{"status 0", 1, 0},
		{"status unavailable", 1, 5},
		{"curve", 26, 0},
		{"point", 27, 4},
		{"host length", 60, 255},
		{"host is no name", 62, '!'},
		{"NUL in the host", 63, 0},
	};
	struct cache_entry e = make_entry(IDENTITY_FOUND, 7), got;
	struct buf b;

	buf_init(&b, KIB(4));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_clear(&b);
		cache_entry_encode(&b, &e);
		b.ptr[cases[i].at] = cases[i].byte;
		if (cache_entry_decode(buf_span(&b), &got) != -EBADMSG)
			test_fail(__FILE__, __LINE__, "%s", cases[i].name);
	}
	buf_release(&b);
}

TEST(a_damaged_entry_is_an_absent_one)
{
	const char *path = test_folder();
	struct database_batch *batch = database_batch_new();
	struct database *d;
	struct cache_entry got;
	struct cache *c;

	CHECK_INT(database_open(path, KIB(64), KIB(64), &d), 0);
	database_batch_put(batch, SPAN_LITERAL("idid:plc:ewvi7nxzyoun6zhxrhs64oiz"),
			   SPAN_LITERAL("nonsense"));
	CHECK_INT(database_write(d, batch, false), 0);
	database_batch_free(batch);
	database_close(d);
	c = open_cache(path);
	CHECK_INT(cache_get(c, did, &got), -ENOENT);
	cache_close(c);
}

/* It is only a cache: it begins anew, whether the damage is seen at the start, by a read, or by a
 * write. */
TEST(a_damaged_cache_begins_anew)
{
	static const struct {
		const char *file; /* NULL: the tables */
		long bytes;
		bool write;
	} cases[] = {{"CURRENT", 3, false},  {"CURRENT", -1, false}, {"MANIFEST", 3, false},
		     {"MANIFEST", -1, true}, {NULL, 0, false},       {NULL, 0, true}};
	struct cache_entry e = make_entry(IDENTITY_FOUND, 42), got;

	log_set_level(LOG_LEVEL_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *path = test_folder();
		struct cache *c = open_cache(path);

		CHECK_INT(cache_put(c, did, &e), 0);
		cache_close(c);
		c = open_cache(path); /* what was written is in a table now */
		cache_close(c);
		if (cases[i].file)
			damage_file(path, cases[i].file, cases[i].bytes);
		else
			damage_tables(path);
		c = open_cache(path);
		if (!c)
			continue;
		if (!cases[i].write)
			CHECK_INT(cache_get(c, did, &got), -ENOENT);
		CHECK_INT(cache_put(c, did, &e), 0);
		CHECK_INT(cache_count(c), 1);
		cache_close(c);
		c = open_cache(path);
		if (!c)
			continue;
		CHECK_INT(cache_get(c, did, &got), 0);
		check_entry(&got, &e);
		cache_close(c);
	}
}

/* With all that it has, the undamaged included: whether an entry is the last of its account cannot
 * be known any more. */
TEST(a_cache_with_a_damaged_log_begins_anew)
{
	static const struct span dids[] = {SPAN_LITERAL("did:web:table.example"),
					   SPAN_LITERAL("did:web:damaged.example"),
					   SPAN_LITERAL("did:web:after.example")};
	struct cache_entry e = make_entry(IDENTITY_FOUND, 42), got;
	const char *path = test_folder();
	struct cache *c = NULL;

	log_set_level(LOG_LEVEL_ERROR);
	for (size_t i = 0; i < ARRAY_SIZE(dids); i++) {
		/* What was written before an opening is in a table after it. */
		if (i <= 1) {
			cache_close(c);
			c = open_cache(path);
		}
		CHECK_INT(cache_put(c, dids[i], &e), 0);
	}
	CHECK_INT(cache_count(c), ARRAY_SIZE(dids));
	cache_close(c);
	damage_logs(path);
	for (unsigned opened = 0; opened < 2; opened++) {
		c = open_cache(path);
		if (!c)
			return;
		CHECK_INT(cache_count(c), opened);
		for (size_t i = 0; i < ARRAY_SIZE(dids); i++)
			CHECK_INT(cache_get(c, dids[i], &got), i == 0 && opened ? 0 : -ENOENT);
		CHECK_INT(cache_put(c, dids[0], &e), 0);
		cache_close(c);
	}
}
