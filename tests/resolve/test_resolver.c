#include "resolve/resolver.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resolve/fetches.h"
#include "tests/lib/capture.h"
#include "tests/resolve/fixture.h"

#define KEY "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"

/* What one asker was answered. */
struct asker {
	unsigned count;
	unsigned at;          /* the number of its last answer among all that were given */
	struct identity last; /* without its spans */
	char pds[LIMIT_HOST + 1];
	char handle[LIMIT_HANDLE + 1];
};

struct bench {
	struct fixture f;
	struct http_server *server;
	struct cache *cache;
	struct names *names;
	struct directories *directories;
	struct resolver *resolver;
	const char *more_urls;   /* of directories, after the server's */
	const char *name_server; /* NULL: the system's */
	struct asker asker;      /* of bench_ask */
	/* of a wait that runs */
	const struct asker *awaited;
	unsigned awaited_count;
};

static void take(void *arg, const struct identity *identity)
{
	static unsigned given;
	struct asker *a = arg;

	a->count++;
	a->at = ++given;
	a->last = *identity;
	CHECK_INT(span_to_str(identity->pds, a->pds, sizeof(a->pds)), 0);
	CHECK_INT(span_to_str(identity->handle, a->handle, sizeof(a->handle)), 0);
}

/* What may change between two openings of the same cache. */
static void bench_start(struct bench *b, const char *path, const char *const *sets)
{
	const char *all[20] = {"network.plain_hosts=localhost:*", "resolve.refresh_interval=0s"};
	struct resolver_options o;
	char url[256], bad[64];
	size_t n = 2;

	while (*sets)
		all[n++] = *sets++;
	fixture_open(&b->f, all);
	CHECK_INT(cache_open(path, b->f.config, &b->cache), 0);
	b->names = names_new(b->f.loop, b->name_server);
	o = (struct resolver_options){
		.config = b->f.config,
		.loop = b->f.loop,
		.metrics = b->f.metrics,
		.memory = b->f.memory,
		.policy = b->f.policy,
		.cache = b->cache,
		.http = b->f.http,
		.names = b->names,
		.answer = take,
	};
	snprintf(url, sizeof(url), "resolve.plc_url=http://localhost:%u%s",
		 http_server_port(b->server), b->more_urls);
	fixture_set(&b->f, url);
	CHECK_INT(directories_new(b->f.config, b->f.policy, bad, sizeof(bad), &b->directories), 0);
	o.directories = b->directories;
	b->resolver = resolver_new(&o);
}

static void bench_stop(struct bench *b)
{
	fixture_close_http(&b->f);
	names_free(b->names);
	resolver_free(b->resolver);
	directories_free(b->directories);
	cache_close(b->cache);
	fixture_close(&b->f);
}

static void bench_open(struct bench *b, const char *const *sets)
{
	*b = (struct bench){.server = http_server_new(NULL), .more_urls = ""};
	bench_start(b, test_folder(), sets);
}

static void bench_close(struct bench *b)
{
	bench_stop(b);
	http_server_free(b->server);
}

/* DIDs of the directory, by number. Valid until the fourth call after. */
static const char *plc(unsigned n)
{
	static char dids[4][64];
	static unsigned at;
	char *did = dids[at++ % 4];
	int len = snprintf(did, 64, "did:plc:");

	for (unsigned i = 0; i < 24; i++, n /= 32)
		did[len++] = "abcdefghijklmnopqrstuvwxyz234567"[n % 32];
	did[len] = '\0';
	return did;
}

static void put_at(struct bench *b, const char *path, const char *did, const char *pds,
		   const char *handle)
{
	char json[2048];

	snprintf(json, sizeof(json),
		 "{\"id\":\"%s\",\"alsoKnownAs\":[\"at://"
		 "%s\"],\"verificationMethod\":[{\"id\":\"%s#atproto\","
		 "\"type\":\"Multikey\",\"controller\":\"%s\",\"publicKeyMultibase\":\"" KEY "\"}],"
		 "\"service\":[{\"id\":\"#atproto_pds\",\"type\":\"AtprotoPersonalDataServer\","
		 "\"serviceEndpoint\":\"%s\"}]}",
		 did, handle, did, did, pds);
	http_server_put(b->server, path, &(struct http_server_answer){.status = 200, .body = json});
}

/* A document in the directory. */
static void put_document(struct bench *b, const char *did, const char *pds, const char *handle)
{
	char path[128];

	snprintf(path, sizeof(path), "/%s", did);
	put_at(b, path, did, pds, handle);
}

static void put_answer(struct bench *b, const char *did, const struct http_server_answer *a)
{
	char path[128];

	snprintf(path, sizeof(path), "/%s", did);
	http_server_put(b->server, path, a);
}

static unsigned requests_for(struct bench *b, const char *did)
{
	char path[128];

	snprintf(path, sizeof(path), "/%s", did);
	return http_server_requests(b->server, path);
}

static void ask_for(struct bench *b, uint64_t host_id, const char *did, uint64_t newer_than,
		    struct asker *asker)
{
	const struct lookup l = {
		.newer_than_usec = newer_than, .host_id = host_id, .did = span_str(did)};

	resolver_lookup(b->resolver, &l, asker);
}

static void ask(struct bench *b, const char *did, uint64_t newer_than, struct asker *asker)
{
	ask_for(b, 0, did, newer_than, asker);
}

static bool has_answers(void *arg)
{
	const struct bench *b = arg;

	return b->awaited->count >= b->awaited_count;
}

static void wait_for(struct bench *b, const struct asker *asker, unsigned count)
{
	b->awaited = asker;
	b->awaited_count = count;
	CHECK(fixture_wait(&b->f, has_answers, b));
	CHECK_INT(asker->count, count);
}

static bool always(void *arg)
{
	(void)arg;
	return true;
}

/* Asks in a turn of the loop after the last, waits, and gives the answer. */
static const struct asker *look_up(struct bench *b, const char *did, uint64_t newer_than)
{
	b->asker = (struct asker){0};
	CHECK(fixture_wait(&b->f, always, NULL));
	ask(b, did, newer_than, &b->asker);
	wait_for(b, &b->asker, 1);
	return &b->asker;
}

static int64_t lookups(struct bench *b, const char *result)
{
	char sample[128];

	snprintf(sample, sizeof(sample), "relay_lookups_total{stage=\"resolve\",result=\"%s\"}",
		 result);
	return fixture_metric(&b->f, sample);
}

static bool server_waits(void *arg)
{
	struct bench *b = arg;

	return http_server_waiting(b->server) == b->awaited_count;
}

static void wait_for_server(struct bench *b, unsigned waiting)
{
	b->awaited_count = waiting;
	CHECK(fixture_wait(&b->f, server_waits, b));
}

static const char *const defaults[] = {NULL};

TEST(an_identity_is_fetched_once_and_kept)
{
	const char *path = test_folder();
	const struct asker *a;
	uint64_t before = uptime_usec(), fetched;
	struct bench b = {.server = http_server_new(NULL), .more_urls = ""};

	bench_start(&b, path, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	a = look_up(&b, plc(1), 0);
	CHECK_INT(a->last.status, IDENTITY_FOUND);
	CHECK_STR(a->pds, "pds.example.com");
	CHECK_STR(a->handle, "alice.test");
	CHECK_INT(a->last.key.curve, CURVE_K256);
	fetched = a->last.fetched_usec;
	CHECK(fetched >= before && fetched <= uptime_usec());
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_FOUND);
	CHECK_INT(lookups(&b, "fetched"), 1);
	CHECK_INT(lookups(&b, "cache"), 1);
	/* The cache outlives the process. */
	bench_stop(&b);
	bench_start(&b, path, defaults);
	a = look_up(&b, plc(1), 0);
	CHECK_STR(a->pds, "pds.example.com");
	CHECK_INT(a->last.fetched_usec, fetched);
	CHECK_INT(requests_for(&b, plc(1)), 1);
	bench_close(&b);
}

static const struct {
	const char *name;
	struct http_server_answer answer;
	enum identity_status status;
	bool cached; /* the next lookup makes no request, even one that a failure would not stop */
} answers[] = {
	{"404", {.status = 404}, IDENTITY_NOT_FOUND, true},
	{"410", {.status = 410}, IDENTITY_TOMBSTONED, true},
	/* What stands before the directory says so, not the directory. */
	{"not JSON", {.status = 200, .body = "<html>"}, IDENTITY_UNAVAILABLE, false},
	{"no document", {.status = 200, .body = "{}"}, IDENTITY_UNUSABLE, true},
	{"endless", {.status = 200, .kind = HTTP_SERVER_ENDLESS}, IDENTITY_UNAVAILABLE, false},
	{"endless 404", {.status = 404, .kind = HTTP_SERVER_ENDLESS}, IDENTITY_UNAVAILABLE, false},
	{"endless head", {.kind = HTTP_SERVER_ENDLESS_HEAD}, IDENTITY_UNAVAILABLE, false},
	{"no HTTP", {.body = "no HTTP", .kind = HTTP_SERVER_NO_HTTP}, IDENTITY_UNAVAILABLE, false},
	{"cut",
	 {.status = 200, .body = "{}", .kind = HTTP_SERVER_CUT},
	 IDENTITY_UNAVAILABLE,
	 false},
	{"500", {.status = 500}, IDENTITY_UNAVAILABLE, false},
	{"503", {.status = 503}, IDENTITY_UNAVAILABLE, false},
	{"403", {.status = 403}, IDENTITY_UNAVAILABLE, false},
	{"redirect", {.status = 301, .headers = "Location: /x\r\n"}, IDENTITY_UNAVAILABLE, false},
	{"silent", {.kind = HTTP_SERVER_SILENT}, IDENTITY_UNAVAILABLE, false},
	{"slow", {.status = 200, .kind = HTTP_SERVER_DRIP}, IDENTITY_UNAVAILABLE, false},
};

TEST(every_answer_of_the_directory_has_its_meaning)
{
	static const char *const sets[] = {"resolve.timeout=200ms", "resolve.ttl_failed=1us", NULL};
	struct bench b;

	bench_open(&b, sets);
	for (unsigned i = 0; i < ARRAY_SIZE(answers); i++) {
		enum identity_status got;

		/* It is well, whatever it answered the last time. */
		look_up(&b, plc(1000 + i), 0);
		put_answer(&b, plc(i), &answers[i].answer);
		got = look_up(&b, plc(i), 0)->last.status;
		if (got != answers[i].status)
			test_fail(__FILE__, __LINE__, "%s: %d", answers[i].name, (int)got);
		look_up(&b, plc(i), 0);
		if (requests_for(&b, plc(i)) != (answers[i].cached ? 1 : 2))
			test_fail(__FILE__, __LINE__, "%s: %u requests", answers[i].name,
				  requests_for(&b, plc(i)));
	}
	bench_close(&b);
}

TEST(a_failure_is_not_tried_again_at_once)
{
	struct bench b;

	bench_open(&b, defaults);
	put_answer(&b, plc(1), &(struct http_server_answer){.status = 500});
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(1), uptime_usec())->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(requests_for(&b, plc(1)), 1);
	CHECK_INT(lookups(&b, "refused"), 2);
	bench_close(&b);
}

TEST(another_directory_answers_while_the_first_fails)
{
	struct http_server *second = http_server_new(NULL);
	struct bench b = {.server = http_server_new(NULL)}, other;
	char urls[64];

	snprintf(urls, sizeof(urls), ",http://localhost:%u", http_server_port(second));
	b.more_urls = urls;
	bench_start(&b, test_folder(), defaults);
	for (unsigned i = 0; i < 3; i++)
		put_answer(&b, plc(i), &(struct http_server_answer){.status = 500});
	put_answer(&b, plc(3), &(struct http_server_answer){.status = 404});
	put_answer(&b, plc(4), &(struct http_server_answer){.status = 403});
	other.server = second;
	for (unsigned i = 0; i < 5; i++)
		put_document(&other, plc(i), "https://pds.example.com", "alice.test");
	for (unsigned i = 0; i < 3; i++)
		CHECK_INT(look_up(&b, plc(i), 0)->last.status, IDENTITY_FOUND);
	CHECK_INT(http_server_requests(b.server, NULL), 3);
	CHECK_INT(http_server_requests(second, NULL), 3);
	/* A final answer is one. */
	CHECK_INT(look_up(&b, plc(3), 0)->last.status, IDENTITY_NOT_FOUND);
	CHECK_INT(http_server_requests(second, NULL), 3);
	CHECK_INT(look_up(&b, plc(4), 0)->last.status, IDENTITY_FOUND);
	/* When both fail, that is all. */
	put_answer(&other, plc(0), &(struct http_server_answer){.status = 500});
	CHECK_INT(look_up(&b, plc(0), uptime_usec())->last.status, IDENTITY_UNAVAILABLE);
	bench_close(&b);
	http_server_free(second);
}

/* News of one DID, however often they are asked for, is fetched no more often than once in the
 * interval; who waits gets news from after asking all the same. */
TEST(refreshes_of_one_did_keep_their_interval)
{
	static const char *const sets[] = {"resolve.refresh_interval=300ms", NULL};
	const struct asker *a;
	uint64_t asked, first;
	struct bench b;

	bench_open(&b, sets);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	put_document(&b, plc(2), "https://pds.example.com", "bob.test");
	first = look_up(&b, plc(1), 0)->last.fetched_usec;
	for (unsigned i = 0; i < 3; i++) {
		asked = uptime_usec();
		a = look_up(&b, plc(1), asked);
		CHECK_INT(a->last.status, IDENTITY_FOUND);
		CHECK(a->last.fetched_usec >= asked);
		CHECK(a->last.fetched_usec >= first + 295 * USEC_PER_MSEC);
		first = a->last.fetched_usec;
		/* Others do not wait for it. */
		CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	}
	CHECK_INT(requests_for(&b, plc(1)), 4);
	bench_close(&b);
}

/* validate asks again when an answer takes long. */
TEST(one_that_asks_again_is_answered_once)
{
	struct asker same = {0}, other = {0};
	struct bench b;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < 5; i++) {
		ask(&b, plc(1), 0, &same);
		ask(&b, plc(1), 0, &other);
	}
	wait_for_server(&b, 1);
	/* And once more for the next fetch. */
	for (unsigned i = 0; i < 5; i++)
		ask(&b, plc(1), uptime_usec() + 1000, &same);
	http_server_hold(b.server, false);
	wait_for(&b, &same, 2);
	CHECK_INT(other.count, 1);
	CHECK_INT(requests_for(&b, plc(1)), 2);
	bench_close(&b);
}

/* Who does not ask for news does not wait for a directory that rests. */
TEST(a_stale_identity_serves_while_the_directory_rests)
{
	struct cache_entry e = {.status = IDENTITY_FOUND,
				.fetched_usec = clock_usec() - 90 * 60 * USEC_PER_SEC,
				.key = {.curve = CURVE_K256, .point = {2}},
				.pds = "pds.example.com"};
	static const char *const sets[] = {"resolve.ttl_found=1h", NULL};
	struct asker news = {0};
	struct bench b;

	bench_open(&b, sets);
	CHECK_INT(cache_put(b.cache, span_str(plc(2)), &e), 0);
	put_answer(&b, plc(1),
		   &(struct http_server_answer){.status = 429, .headers = "Retry-After: 50\r\n"});
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	CHECK_INT(lookups(&b, "stale"), 1);
	ask(&b, plc(2), uptime_usec(), &news);
	CHECK_INT(news.count, 0);
	bench_close(&b);
}

/* Nor does he who waited already when it began to rest. */
TEST(who_waits_is_given_a_stale_identity_when_the_directory_rests)
{
	struct cache_entry e = {.status = IDENTITY_FOUND,
				.fetched_usec = clock_usec() - 90 * 60 * USEC_PER_SEC,
				.key = {.curve = CURVE_K256, .point = {2}},
				.pds = "pds.example.com"};
	static const char *const sets[] = {"resolve.ttl_found=1h", "resolve.concurrency=1", NULL};
	struct asker first = {0}, stale = {0}, joined = {0}, news = {0}, unknown = {0};
	struct bench b;

	bench_open(&b, sets);
	for (unsigned i = 2; i <= 4; i++)
		CHECK_INT(cache_put(b.cache, span_str(plc(i)), &e), 0);
	put_answer(&b, plc(1),
		   &(struct http_server_answer){.status = 429, .headers = "Retry-After: 50\r\n"});
	http_server_hold(b.server, true);
	ask(&b, plc(1), 0, &first);
	wait_for_server(&b, 1);
	ask(&b, plc(2), 0, &stale);
	ask(&b, plc(3), uptime_usec(), &news);
	ask(&b, plc(3), 0, &joined);
	ask(&b, plc(4), uptime_usec(), &news);
	ask(&b, plc(5), 0, &unknown);
	CHECK_INT(resolver_in_hand(b.resolver), 5);
	http_server_hold(b.server, false);
	wait_for(&b, &first, 1);
	CHECK_INT(stale.count, 1);
	CHECK_INT(stale.last.status, IDENTITY_FOUND);
	CHECK(stale.last.age_usec >= 90 * 60 * USEC_PER_SEC);
	CHECK_INT(joined.count, 1);
	CHECK_INT(joined.last.status, IDENTITY_FOUND);
	CHECK_INT(lookups(&b, "stale"), 2);
	/* News, and what nobody knows, are waited for. */
	CHECK_INT(news.count, 0);
	CHECK_INT(unknown.count, 0);
	CHECK_INT(resolver_in_hand(b.resolver), 3);
	bench_close(&b);
}

TEST(the_log_names_the_server_that_failed)
{
	struct http_server *second = http_server_new(NULL);
	struct bench b = {.server = http_server_new(NULL)}, other = {.server = second};
	char text[256];
	struct capture log;

	snprintf(text, sizeof(text), ",http://localhost:%u", http_server_port(second));
	b.more_urls = text;
	bench_start(&b, test_folder(), defaults);
	put_answer(&b, plc(1), &(struct http_server_answer){.status = 403});
	put_answer(&other, plc(1), &(struct http_server_answer){.status = 500});
	capture_begin(&log);
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	snprintf(text, sizeof(text),
		 "identity not available: \"HTTP 500\" did=%s server=localhost:%u ", plc(1),
		 http_server_port(second));
	CHECK(capture_end_has(&log, text));
	/* One that begins to rest, while the other one answers. */
	put_answer(&b, plc(2), &(struct http_server_answer){.status = 429});
	put_document(&other, plc(2), "https://pds.example.com", "alice.test");
	capture_begin(&log);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	snprintf(text, sizeof(text), "directory rests: \"HTTP 429\" server=localhost:%u seconds=1 ",
		 http_server_port(b.server));
	CHECK(capture_end_has(&log, text));
	/* The first one rests: the second alone is asked, and named. */
	put_answer(&other, plc(3), &(struct http_server_answer){.status = 500});
	capture_begin(&log);
	CHECK_INT(look_up(&b, plc(3), 0)->last.status, IDENTITY_UNAVAILABLE);
	snprintf(text, sizeof(text), "did=%s server=localhost:%u ", plc(3),
		 http_server_port(second));
	CHECK(capture_end_has(&log, text));
	bench_close(&b);
	http_server_free(second);
}

TEST(a_pds_by_http_needs_the_configuration)
{
	struct bench b;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "http://localhost:2583", "alice.test");
	put_document(&b, plc(2), "http://pds.example.com", "alice.test");
	CHECK_STR(look_up(&b, plc(1), 0)->pds, "localhost:2583");
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_UNUSABLE);
	bench_close(&b);
}

TEST(lookups_of_one_did_share_a_fetch)
{
	struct asker askers[20] = {0};
	struct bench b;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	http_server_hold(b.server, true);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++)
		ask(&b, plc(1), 0, &askers[i]);
	wait_for_server(&b, 1);
	http_server_hold(b.server, false);
	for (size_t i = 0; i < ARRAY_SIZE(askers); i++) {
		wait_for(&b, &askers[i], 1);
		CHECK_INT(askers[i].last.status, IDENTITY_FOUND);
	}
	CHECK_INT(requests_for(&b, plc(1)), 1);
	CHECK_INT(lookups(&b, "coalesced"), 19);
	bench_close(&b);
}

TEST(an_answer_is_as_new_as_was_asked)
{
	struct asker early = {0}, late = {0};
	struct bench b;
	uint64_t asked;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "https://old.example.com", "alice.test");
	CHECK_STR(look_up(&b, plc(1), 0)->pds, "old.example.com");
	/* The cache is not new enough. */
	put_document(&b, plc(1), "https://new.example.com", "alice.test");
	CHECK_STR(look_up(&b, plc(1), 0)->pds, "old.example.com");
	CHECK_STR(look_up(&b, plc(1), uptime_usec())->pds, "new.example.com");
	/* Nor is a fetch that is under way: it is done again, for the one who needs it. */
	http_server_hold(b.server, true);
	ask(&b, plc(1), uptime_usec(), &early);
	wait_for_server(&b, 1);
	asked = uptime_usec();
	ask(&b, plc(1), asked, &late);
	http_server_hold(b.server, false);
	wait_for(&b, &late, 1);
	CHECK_INT(early.count, 1);
	CHECK(early.last.fetched_usec < asked);
	CHECK(late.last.fetched_usec >= asked);
	CHECK_INT(requests_for(&b, plc(1)), 4);
	bench_close(&b);
}

TEST(a_time_to_come_takes_one_fetch)
{
	struct bench b;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	CHECK_INT(look_up(&b, plc(1), uptime_usec() + 3600 * USEC_PER_SEC)->last.status,
		  IDENTITY_FOUND);
	CHECK_INT(requests_for(&b, plc(1)), 1);
	bench_close(&b);
}

TEST(fetches_under_way_are_bounded)
{
	static const char *const sets[] = {"resolve.concurrency=4", NULL};
	struct asker a = {0};
	struct bench b;

	bench_open(&b, sets);
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < 40; i++) {
		put_document(&b, plc(i), "https://pds.example.com", "alice.test");
		ask(&b, plc(i), 0, &a);
	}
	wait_for_server(&b, 4);
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_queue{stage=\"resolve\"}"), 36);
	CHECK(fixture_metric(&b.f, "relay_accounted_bytes{stage=\"resolve\",what=\"queue\"}") >
	      40 * 32);
	http_server_hold(b.server, false);
	wait_for(&b, &a, 40);
	CHECK_INT(http_server_most_waiting(b.server), 4);
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_queue{stage=\"resolve\"}"), 0);
	bench_close(&b);
}

static bool all_bodies_are_there(void *arg)
{
	struct bench *b = arg;

	return fixture_metric(&b->f, FIXTURE_HELD("http")) >=
	       (int64_t)b->awaited_count * (LIMIT_DID_DOCUMENT - 1);
}

/* Documents of the largest size that never end, for more lookups than may be under way. */
TEST(what_documents_under_way_take_is_bounded)
{
	static const char *const sets[] = {"resolve.concurrency=32", NULL};
	char *body = xcalloc(1, LIMIT_DID_DOCUMENT), path[64];
	struct asker a = {0};
	struct bench b;

	bench_open(&b, sets);
	memset(body, ' ', LIMIT_DID_DOCUMENT - 1);
	for (unsigned i = 0; i < 64; i++) {
		snprintf(path, sizeof(path), "/%s", plc(i));
		http_server_put(b.server, path,
				&(struct http_server_answer){.status = 200,
							     .body = body,
							     .kind = HTTP_SERVER_UNFINISHED});
		ask(&b, plc(i), 0, &a);
	}
	b.awaited_count = 32;
	CHECK(fixture_wait(&b.f, all_bodies_are_there, &b));
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_queue{stage=\"resolve\"}"), 32);
	CHECK_INT(http_server_requests(b.server, NULL), 32);
	CHECK(fixture_metric(&b.f, FIXTURE_HELD("http")) <=
	      32 * (int64_t)(LIMIT_DID_DOCUMENT + KIB(1)));
	CHECK(fixture_metric(&b.f, FIXTURE_HELD("curl")) <= 32 * (int64_t)HTTP_CURL_BYTES);
	CHECK_INT(a.count, 0);
	bench_close(&b);
	free(body);
}

/* 100 DIDs that one host names are in hand; then others ask. */
TEST(a_host_that_names_many_dids_delays_its_own)
{
	static const char *const sets[] = {"resolve.concurrency=1", NULL};
	struct asker many = {0}, shared = {0}, one = {0}, another = {0};
	unsigned first;
	struct bench b;

	bench_open(&b, sets);
	for (unsigned i = 0; i < 103; i++)
		put_document(&b, plc(i), "https://pds.example.com", "alice.test");
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < 100; i++)
		ask_for(&b, 1, plc(i), 0, i == 0 ? &one : &many);
	wait_for_server(&b, 1);
	ask_for(&b, 2, plc(100), 0, &another);
	/* One that stands far behind in the line of the first is theirs as well. */
	ask_for(&b, 2, plc(99), 0, &shared);
	http_server_hold(b.server, false);
	wait_for(&b, &one, 1);
	first = one.at;
	wait_for(&b, &another, 1);
	wait_for(&b, &shared, 1);
	CHECK(another.at <= first + 2);
	CHECK(shared.at <= first + 5);
	wait_for(&b, &many, 99);
	/* And nobody else is there: then it has all. */
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_queue{stage=\"resolve\"}"), 0);
	bench_close(&b);
}

/* Where all that may be in hand is one host's, it gives up one for each of the others'. */
TEST(a_host_that_has_all_places_gives_them_up)
{
	static const char *const sets[] = {"resolve.concurrency=1", "resolve.timeout=1m", NULL};
	struct asker many = {0}, others = {0};
	struct bench b;

	bench_open(&b, sets);
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < FETCHES_MAX; i++)
		ask_for(&b, 1, plc(i), 0, &many);
	CHECK_INT(many.count, 0);
	for (unsigned i = 0; i < 100; i++)
		ask_for(&b, 2 + i % 2, plc(FETCHES_MAX + i), 0, &others);
	CHECK_INT(others.count, 0);
	CHECK_INT(many.count, 100);
	CHECK_INT(many.last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(fixture_metric(&b.f, "relay_lookups_crowded_out_total{stage=\"resolve\"}"), 100);
	CHECK_INT(lookups(&b, "refused"), 0);
	/* But none for its own, */
	ask_for(&b, 1, plc(FETCHES_MAX + 200), 0, &many);
	CHECK_INT(many.count, 101);
	CHECK_INT(lookups(&b, "refused"), 1);
	/* nor did the last one go that is asked for again: it is in nobody's place. */
	ask_for(&b, 2, plc(1), 0, &others);
	CHECK_INT(others.count, 0);
	bench_close(&b);
}

TEST(did_web_leaves_room_for_the_directory)
{
	static const char *const sets[] = {"resolve.concurrency=4", NULL};
	struct http_server *slow[4];
	struct asker web = {0}, directory = {0};
	struct bench b;

	bench_open(&b, sets);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++) {
		char did[64];

		slow[i] = http_server_new(NULL);
		http_server_hold(slow[i], true);
		snprintf(did, sizeof(did), "did:web:localhost%%3A%u", http_server_port(slow[i]));
		ask(&b, did, 0, &web);
	}
	/* All four would be taken; two wait, and the directory answers. */
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_FOUND);
	CHECK_INT(fixture_metric(&b.f, "relay_lookup_queue{stage=\"resolve\"}"), 2);
	/* Both together are bounded too. */
	http_server_hold(b.server, true);
	for (unsigned i = 2; i < 10; i++) {
		put_document(&b, plc(i), "https://pds.example.com", "alice.test");
		ask(&b, plc(i), 0, &directory);
	}
	wait_for_server(&b, 2);
	CHECK_INT(fixture_metric(&b.f, "relay_http_requests_active{stage=\"resolve\"}"), 4);
	http_server_hold(b.server, false);
	wait_for(&b, &directory, 8);
	CHECK_INT(http_server_most_waiting(b.server), 2);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		http_server_hold(slow[i], false);
	wait_for(&b, &web, 4);
	bench_close(&b);
	for (size_t i = 0; i < ARRAY_SIZE(slow); i++)
		http_server_free(slow[i]);
}

TEST(switched_off_means_the_cache_alone)
{
	static const char *const off[] = {"resolve.concurrency=0", NULL};
	const char *path = test_folder();
	struct bench b = {.server = http_server_new(NULL), .more_urls = ""};

	bench_start(&b, path, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	put_document(&b, plc(2), "https://pds.example.com", "bob.test");
	look_up(&b, plc(1), 0);
	bench_stop(&b);
	bench_start(&b, path, off);
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_FOUND);
	CHECK_INT(look_up(&b, plc(1), uptime_usec())->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(requests_for(&b, plc(2)), 0);
	bench_close(&b);
}

TEST(it_is_switched_off_and_on_while_it_runs)
{
	struct asker waiting = {0}, under_way = {0};
	static const char *const sets[] = {"resolve.concurrency=1", NULL};
	struct bench b;

	bench_open(&b, sets);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	put_document(&b, plc(2), "https://pds.example.com", "bob.test");
	http_server_hold(b.server, true);
	ask(&b, plc(1), 0, &under_way);
	ask(&b, plc(2), 0, &waiting);
	wait_for_server(&b, 1);
	fixture_set(&b.f, "resolve.concurrency=0");
	resolver_configure(b.resolver, b.f.config);
	/* What waits is told so, what is under way goes on. */
	CHECK_INT(waiting.count, 1);
	CHECK_INT(waiting.last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(resolver_in_hand(b.resolver), 1);
	http_server_hold(b.server, false);
	wait_for(&b, &under_way, 1);
	CHECK_INT(under_way.last.status, IDENTITY_FOUND);
	CHECK_INT(resolver_in_hand(b.resolver), 0);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_UNAVAILABLE);
	fixture_set(&b.f, "resolve.concurrency=2");
	resolver_configure(b.resolver, b.f.config);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	bench_close(&b);
}

/* What is left when it is switched off is not left for ever. */
TEST(nothing_waits_for_what_is_switched_off)
{
	static const char *const sets[] = {"resolve.concurrency=2", "resolve.refresh_interval=1h",
					   NULL};
	struct asker early = {0}, next = {0}, under_way = {0};
	struct bench b;

	bench_open(&b, sets);
	for (unsigned i = 1; i <= 3; i++)
		put_document(&b, plc(i), "https://pds.example.com", "alice.test");
	look_up(&b, plc(1), 0);
	ask(&b, plc(1), uptime_usec(), &early); /* not before an hour has passed */
	http_server_hold(b.server, true);
	ask(&b, plc(2), 0, &under_way);
	wait_for_server(&b, 1);
	ask(&b, plc(2), uptime_usec() + 1, &next);
	CHECK_INT(early.count, 0);
	fixture_set(&b.f, "resolve.concurrency=0");
	resolver_configure(b.resolver, b.f.config);
	CHECK_INT(early.count, 1);
	CHECK_INT(early.last.status, IDENTITY_UNAVAILABLE);
	http_server_hold(b.server, false);
	wait_for(&b, &under_way, 1);
	CHECK_INT(under_way.last.status, IDENTITY_FOUND);
	wait_for(&b, &next, 1);
	CHECK_INT(next.last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(resolver_in_hand(b.resolver), 0);
	/* On again, all is as before. */
	fixture_set(&b.f, "resolve.concurrency=2");
	resolver_configure(b.resolver, b.f.config);
	CHECK_INT(look_up(&b, plc(3), 0)->last.status, IDENTITY_FOUND);
	bench_close(&b);
}

static void set(struct bench *b, const char *assignment)
{
	fixture_set(&b->f, assignment);
	directories_configure(b->directories, b->f.config);
	resolver_configure(b->resolver, b->f.config);
	CHECK_INT(cache_configure(b->cache, b->f.config), 0);
}

/* Each of them, from what makes the test wait for an hour to what does not, or back. */
TEST(settings_take_effect_while_it_runs)
{
	static const char *const sets[] = {
		"resolve.timeout=5m",          "resolve.ttl_failed=1h",
		"resolve.ttl_found=24h",       "resolve.ttl_missing=1h",
		"resolve.refresh_interval=1h", "resolve.directory_rate=1",
		"resolve.concurrency=1",       NULL};
	struct asker limited = {0}, more = {0};
	struct bench b;

	bench_open(&b, sets);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	put_answer(&b, plc(2), &(struct http_server_answer){.kind = HTTP_SERVER_SILENT});
	put_answer(&b, plc(3), &(struct http_server_answer){.status = 404});
	look_up(&b, plc(1), 0);
	set(&b, "resolve.timeout=50ms");
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_UNAVAILABLE);
	set(&b, "resolve.timeout=5m");
	/* Two requests within a second were its share: this one waits. */
	ask(&b, plc(3), 0, &limited);
	CHECK_INT(resolver_in_hand(b.resolver), 1);
	set(&b, "resolve.directory_rate=0");
	wait_for(&b, &limited, 1);
	CHECK_INT(limited.last.status, IDENTITY_NOT_FOUND);
	/* It failed within the hour. */
	put_document(&b, plc(2), "https://pds.example.com", "bob.test");
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(requests_for(&b, plc(2)), 1);
	/* From now on failures are forgotten at once, */
	set(&b, "resolve.ttl_failed=0s");
	put_answer(&b, plc(4), &(struct http_server_answer){.status = 500});
	look_up(&b, plc(4), 0);
	look_up(&b, plc(4), 0);
	CHECK_INT(requests_for(&b, plc(4)), 2);
	/* and so is what was found, */
	look_up(&b, plc(1), 0);
	CHECK_INT(requests_for(&b, plc(1)), 1);
	set(&b, "resolve.refresh_interval=0s");
	set(&b, "resolve.ttl_found=0s");
	look_up(&b, plc(1), 0);
	CHECK_INT(requests_for(&b, plc(1)), 2);
	/* and what was not. */
	look_up(&b, plc(3), 0);
	CHECK_INT(requests_for(&b, plc(3)), 1);
	set(&b, "resolve.ttl_missing=0s");
	look_up(&b, plc(3), 0);
	CHECK_INT(requests_for(&b, plc(3)), 2);
	/* More at once. */
	http_server_hold(b.server, true);
	for (unsigned i = 10; i < 20; i++)
		ask(&b, plc(i), 0, &more);
	wait_for_server(&b, 1);
	set(&b, "resolve.concurrency=7");
	wait_for_server(&b, 7);
	http_server_hold(b.server, false);
	wait_for(&b, &more, 10);
	CHECK_INT(http_server_most_waiting(b.server), 7);
	bench_close(&b);
}

/* News of what was found just now is not waited for any longer than is set, when it is asked
 * for. */
TEST(the_interval_of_refreshes_is_set_while_it_runs)
{
	static const char *const sets[] = {"resolve.refresh_interval=1h", NULL};
	struct asker waits = {0};
	struct bench b;

	bench_open(&b, sets);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	put_document(&b, plc(2), "https://pds.example.com", "alice.test");
	look_up(&b, plc(1), 0);
	look_up(&b, plc(2), 0);
	ask(&b, plc(1), uptime_usec(), &waits);
	CHECK_INT(resolver_in_hand(b.resolver), 1);
	set(&b, "resolve.refresh_interval=0s");
	CHECK_INT(look_up(&b, plc(2), uptime_usec())->last.status, IDENTITY_FOUND);
	CHECK_INT(requests_for(&b, plc(2)), 2);
	CHECK_INT(waits.count, 0);
	bench_close(&b);
}

TEST(a_stale_identity_serves_when_nothing_newer_is_to_be_had)
{
	static const char *const sets[] = {"resolve.ttl_found=1h", "resolve.ttl_failed=1us", NULL};
	static const struct {
		uint64_t age_minutes;
		bool asks_for_news;
		enum identity_status status;
	} cases[] = {
		{90, false, IDENTITY_FOUND},
		{90, true, IDENTITY_UNAVAILABLE},
		{121, false, IDENTITY_UNAVAILABLE},
	};
	struct bench b;

	bench_open(&b, sets);
	put_answer(&b, plc(1), &(struct http_server_answer){.status = 500});
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t age = cases[i].age_minutes * 60 * USEC_PER_SEC;
		struct cache_entry e = {.status = IDENTITY_FOUND,
					.fetched_usec = clock_usec() - age,
					.key = {.curve = CURVE_K256, .point = {2}},
					.pds = "pds.example.com"};

		CHECK_INT(cache_put(b.cache, span_str(plc(1)), &e), 0);
		CHECK_INT(look_up(&b, plc(1), cases[i].asks_for_news ? 1 : 0)->last.status,
			  cases[i].status);
	}
	CHECK_INT(requests_for(&b, plc(1)), 3);
	CHECK_INT(lookups(&b, "stale"), 1);
	bench_close(&b);
}

TEST(the_directory_rests_when_it_says_so)
{
	uint64_t before;
	struct bench b;

	bench_open(&b, defaults);
	put_answer(&b, plc(1),
		   &(struct http_server_answer){.status = 429, .headers = "Retry-After: 1\r\n"});
	put_document(&b, plc(2), "https://pds.example.com", "alice.test");
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	before = clock_usec();
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	CHECK(clock_usec() - before > 900 * USEC_PER_MSEC);
	bench_close(&b);
}

TEST(did_web_is_asked_at_its_host)
{
	static const struct {
		const char *name;
		struct http_server_answer answer;
		enum identity_status status;
	} cases[] = {
		{"404", {.status = 404}, IDENTITY_NOT_FOUND},
		{"410", {.status = 410}, IDENTITY_NOT_FOUND},
		{"redirect", {.status = 301, .headers = "Location: /x\r\n"}, IDENTITY_UNUSABLE},
		{"endless", {.status = 200, .kind = HTTP_SERVER_ENDLESS}, IDENTITY_UNUSABLE},
		{"404 without end",
		 {.status = 404, .kind = HTTP_SERVER_ENDLESS},
		 IDENTITY_NOT_FOUND},
		{"500 without end",
		 {.status = 500, .kind = HTTP_SERVER_ENDLESS},
		 IDENTITY_UNAVAILABLE},
	};
	struct bench b;
	char did[64];

	bench_open(&b, defaults);
	snprintf(did, sizeof(did), "did:web:localhost%%3A%u", http_server_port(b.server));
	put_at(&b, "/.well-known/did.json", did, "https://pds.example.com", "alice.test");
	CHECK_STR(look_up(&b, did, 0)->pds, "pds.example.com");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum identity_status got;

		http_server_put(b.server, "/.well-known/did.json", &cases[i].answer);
		got = look_up(&b, did, uptime_usec())->last.status;
		if (got != cases[i].status)
			test_fail(__FILE__, __LINE__, "%s: %d", cases[i].name, (int)got);
	}
	bench_close(&b);
}

/* A DNS server on the test's loop: every question has this answer, and no address. */
struct name_server {
	struct loop_io io;
	char address[64];
	uint8_t rcode;
};

static void answer_question(void *arg, uint32_t events)
{
	struct name_server *s = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t m[512];
	ssize_t n = recvfrom(s->io.fd, m, sizeof(m), 0, (struct sockaddr *)&from, &len);
	size_t end = 12;

	(void)events;
	if (n < 17)
		return;
	while (end < (size_t)n && m[end] != 0)
		end += m[end] + 1u;
	m[2] = 0x81;
	m[3] = 0x80 | s->rcode;
	memset(m + 6, 0, 6);
	sendto(s->io.fd, m, end + 5, 0, (struct sockaddr *)&from, len);
}

/* Gives its descriptor, for the loop. */
static int name_server_open(struct name_server *s)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(address);

	*s = (struct name_server){0};
	loop_io_init(&s->io, answer_question, s);
	CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	getsockname(fd, (struct sockaddr *)&address, &len);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(address.sin_port));
	return fd;
}

/* That there is no such name is known of the account; that DNS does not say is not. */
TEST(did_web_without_a_name_is_not_found)
{
	static const char *const sets[] = {"network.plain_hosts=*", "resolve.ttl_failed=1us", NULL};
	struct bench b = {.server = http_server_new(NULL), .more_urls = ""};
	struct name_server s;
	int fd = name_server_open(&s);

	b.name_server = s.address;
	bench_start(&b, test_folder(), sets);
	loop_io_add(b.f.loop, &s.io, fd, EPOLLIN);
	s.rcode = 2; /* SERVFAIL */
	CHECK_INT(look_up(&b, "did:web:name.invalid", 0)->last.status, IDENTITY_UNAVAILABLE);
	s.rcode = 3; /* NXDOMAIN */
	CHECK_INT(look_up(&b, "did:web:name.invalid", 0)->last.status, IDENTITY_NOT_FOUND);
	CHECK_INT(look_up(&b, "did:web:name.invalid", 0)->last.status, IDENTITY_NOT_FOUND);
	CHECK_INT(lookups(&b, "cache"), 1);
	loop_io_remove(b.f.loop, &s.io);
	close(fd);
	bench_close(&b);
}

TEST(what_has_no_place_is_not_asked_for)
{
	static const char *const dids[] = {"did:key:zQ3sh", "did:web:127.0.0.1",
					   "did:web:host.local", "did:example:1", "no did"};
	struct bench b;

	bench_open(&b, defaults);
	for (size_t i = 0; i < ARRAY_SIZE(dids); i++)
		CHECK_INT(look_up(&b, dids[i], 0)->last.status, IDENTITY_NOT_FOUND);
	CHECK_INT(lookups(&b, "unsupported"), (int)ARRAY_SIZE(dids));
	CHECK_INT(http_server_requests(b.server, NULL), 0);
	bench_close(&b);
}

TEST(did_web_at_a_private_address_is_unusable)
{
	char set[256], path[200];
	const char *sets[] = {set, NULL};
	struct bench b;
	FILE *out;

	snprintf(path, sizeof(path), "%s/hosts", test_folder());
	out = fopen(path, "we");
	fprintf(out, "127.0.0.1 inside.example.com\n");
	fclose(out);
	snprintf(set, sizeof(set), "network.hosts_file=%s", path);
	bench_open(&b, sets);
	CHECK_INT(look_up(&b, "did:web:inside.example.com", 0)->last.status, IDENTITY_UNUSABLE);
	CHECK(fixture_metric(&b.f, "relay_address_refused_total{stage=\"resolve\"}") >= 1);
	bench_close(&b);
}

TEST(what_is_in_hand_is_bounded)
{
	static const char *const sets[] = {"resolve.concurrency=1", "resolve.timeout=1m", NULL};
	struct asker a = {0}, more[FETCHES_WAITERS_MAX / FETCHES_MAX - 1] = {0};
	struct bench b;

	bench_open(&b, sets);
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < FETCHES_MAX; i++)
		ask(&b, plc(i), 0, &a);
	CHECK_INT(a.count, 0);
	/* Another DID is refused at once; another lookup of one in hand is not, */
	CHECK_INT(look_up(&b, plc(FETCHES_MAX), 0)->last.status, IDENTITY_UNAVAILABLE);
	for (size_t n = 0; n < ARRAY_SIZE(more); n++) {
		for (unsigned i = 0; i < FETCHES_MAX; i++)
			ask(&b, plc(i), 0, &more[n]);
		CHECK_INT(more[n].count, 0);
	}
	/* until there are too many of them. */
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_UNAVAILABLE);
	CHECK(fixture_metric(&b.f, "relay_accounted_bytes{stage=\"resolve\",what=\"queue\"}") <
	      (int64_t)MIB(16));
	/* All of them can be forgotten, and there is room again. */
	resolver_forget(b.resolver, &more[0]);
	ask(&b, plc(1), 0, &more[0]);
	CHECK_INT(more[0].count, 0);
	bench_close(&b);
}

TEST(did_web_cannot_fill_what_is_in_hand)
{
	static const char *const sets[] = {"resolve.concurrency=2", "resolve.timeout=1m", NULL};
	struct http_server *slow = http_server_new(NULL);
	struct asker web = {0}, more[FETCHES_WAITERS_MAX / FETCHES_MAX] = {0};
	unsigned last = ARRAY_SIZE(more) - 1;
	struct bench b;
	char did[64], first[64];

	bench_open(&b, sets);
	for (unsigned i = 1; i <= 2; i++)
		put_document(&b, plc(i), "https://pds.example.com", "alice.test");
	http_server_hold(slow, true);
	snprintf(first, sizeof(first), "did:web:localhost%%3A%u", http_server_port(slow));
	ask(&b, first, 0, &web);
	/* The others stand behind it. */
	for (unsigned i = 0; i < FETCHES_MAX; i++) {
		snprintf(did, sizeof(did), "did:web:localhost%%3A%u", 1024 + i);
		ask(&b, did, 0, &web);
	}
	CHECK(web.count >= FETCHES_MAX / 2);
	CHECK_INT(web.last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(1), 0)->last.status, IDENTITY_FOUND);
	for (unsigned i = 0; i < ARRAY_SIZE(more) * FETCHES_MAX / 2; i++) {
		snprintf(did, sizeof(did), "did:web:localhost%%3A%u",
			 1024 + i % (FETCHES_MAX / 2 - 1));
		ask(&b, did, 0, &more[i / (FETCHES_MAX / 2)]);
	}
	CHECK_INT(more[last].last.status, IDENTITY_UNAVAILABLE);
	CHECK_INT(look_up(&b, plc(2), 0)->last.status, IDENTITY_FOUND);
	/* Who is forgotten leaves room. */
	resolver_forget(b.resolver, &more[0]);
	more[last] = (struct asker){0};
	ask(&b, first, 0, &more[last]);
	CHECK_INT(more[last].count, 0);
	bench_close(&b);
	http_server_free(slow);
}

TEST(who_is_forgotten_is_not_answered)
{
	struct asker gone = {0}, here = {0};
	struct bench b;

	bench_open(&b, defaults);
	put_document(&b, plc(1), "https://pds.example.com", "alice.test");
	http_server_hold(b.server, true);
	ask(&b, plc(1), 0, &gone);
	ask(&b, plc(1), 0, &here);
	ask(&b, plc(1), 0, &gone);
	wait_for_server(&b, 1);
	resolver_forget(b.resolver, &gone);
	http_server_hold(b.server, false);
	wait_for(&b, &here, 1);
	CHECK_INT(gone.count, 0);
	bench_close(&b);
}

TEST(the_end_comes_at_any_time)
{
	static const char *const sets[] = {"resolve.concurrency=2", NULL};
	struct asker a = {0};
	struct bench b;

	bench_open(&b, sets);
	http_server_hold(b.server, true);
	for (unsigned i = 0; i < 10; i++)
		ask(&b, plc(i), 0, &a);
	wait_for_server(&b, 2);
	bench_close(&b);
	CHECK_INT(a.count, 0);
}
