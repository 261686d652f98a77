#include "resolve/directories.h"

#include <errno.h>

#include "common/loop.h"
#include "tests/test.h"

struct stand {
	struct config *config;
	struct host_policy *policy;
	struct directories *directories;
	uint64_t now_usec;
};

static int open_stand(struct stand *s, const char *urls, const char *rate)
{
	char set[512], error[512], bad[64] = "";
	int r;

	*s = (struct stand){.config = config_new(), .now_usec = 1000 * USEC_PER_SEC};
	snprintf(set, sizeof(set), "resolve.plc_url=%s", urls);
	CHECK_INT(config_set(s->config, set, error, sizeof(error)), 0);
	snprintf(set, sizeof(set), "resolve.directory_rate=%s", rate);
	CHECK_INT(config_set(s->config, set, error, sizeof(error)), 0);
	CHECK_INT(host_policy_new(s->config, error, sizeof(error), &s->policy), 0);
	r = directories_new(s->config, s->policy, bad, sizeof(bad), &s->directories);
	CHECK(r == 0 || bad[0] != '\0');
	return r;
}

static void close_stand(struct stand *s)
{
	directories_free(s->directories);
	host_policy_free(s->policy);
	config_free(s->config);
}

/* The number of the one to ask; -1: none, and ret_wait says when. */
static int pick(struct stand *s, struct directory **ret, uint64_t *ret_wait)
{
	uint64_t wait = 0;
	struct directory *d = directories_pick(s->directories, 0, s->now_usec, &wait);

	if (ret)
		*ret = d;
	if (ret_wait)
		*ret_wait = wait;
	return d ? (int)directory_number(d) : -1;
}

static void ask(struct stand *s, int want, enum directory_outcome outcome, uint64_t rest_usec)
{
	struct directory *d;

	CHECK_INT(pick(s, &d, NULL), want);
	if (d)
		directory_done(d, outcome, rest_usec, s->now_usec);
}

TEST(the_first_serves_while_it_is_well)
{
	struct stand s;

	CHECK_INT(open_stand(&s, "https://a.example.com, https://b.example.com", "0"), 0);
	CHECK_STR(directories_first(s.directories)->host.name, "a.example.com");
	for (unsigned i = 0; i < 100; i++)
		ask(&s, 0, DIRECTORY_WELL, 0);
	/* Failures that do not follow one another are nothing. */
	for (unsigned i = 0; i < 100; i++) {
		for (unsigned n = 1; n < DIRECTORIES_FAILURES; n++)
			ask(&s, 0, DIRECTORY_FAILED, 0);
		ask(&s, 0, DIRECTORY_WELL, 0);
	}
	close_stand(&s);
}

TEST(one_that_fails_rests_longer_each_time)
{
	struct stand s;
	struct directory *probe;

	CHECK_INT(open_stand(&s, "https://a.example.com https://b.example.com", "0"), 0);
	for (unsigned n = 0; n < DIRECTORIES_FAILURES; n++)
		ask(&s, 0, DIRECTORY_FAILED, 0);
	for (uint64_t rest = 1; rest <= 64; rest *= 2) {
		uint64_t sec = rest < 60 ? rest : 60;

		ask(&s, 1, DIRECTORY_WELL, 0);
		s.now_usec += sec * USEC_PER_SEC - 1;
		ask(&s, 1, DIRECTORY_WELL, 0);
		s.now_usec += 1;
		/* One request shows how it is; meanwhile the others go on to the next. */
		CHECK_INT(pick(&s, &probe, NULL), 0);
		ask(&s, 1, DIRECTORY_WELL, 0);
		directory_done(probe, DIRECTORY_FAILED, 0, s.now_usec);
	}
	s.now_usec += 60 * USEC_PER_SEC;
	ask(&s, 0, DIRECTORY_WELL, 0);
	ask(&s, 0, DIRECTORY_FAILED, 0);
	ask(&s, 0, DIRECTORY_WELL, 0);
	close_stand(&s);
}

TEST(one_that_wants_rest_gets_it)
{
	struct stand s;
	uint64_t wait;

	CHECK_INT(open_stand(&s, "https://a.example.com", "0"), 0);
	CHECK(!directories_rest(s.directories, s.now_usec));
	ask(&s, 0, DIRECTORY_BUSY, 5 * USEC_PER_SEC);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(wait, 5 * USEC_PER_SEC);
	CHECK(directories_rest(s.directories, s.now_usec));
	s.now_usec += 5 * USEC_PER_SEC;
	CHECK(!directories_rest(s.directories, s.now_usec));
	/* Within limits. */
	ask(&s, 0, DIRECTORY_BUSY, 3600 * USEC_PER_SEC);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(wait, DIRECTORIES_REST_MAX_USEC);
	s.now_usec += DIRECTORIES_REST_MAX_USEC;
	ask(&s, 0, DIRECTORY_BUSY, 1);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(wait, DIRECTORIES_REST_MIN_USEC);
	close_stand(&s);
}

TEST(one_that_does_not_say_for_how_long_rests_longer_each_time)
{
	static const uint64_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct directory *d;
	struct stand s;
	uint64_t wait;

	CHECK_INT(open_stand(&s, "https://a.example.com", "0"), 0);
	for (unsigned times = 0; times < 2; times++) {
		for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
			CHECK_INT(pick(&s, &d, NULL), 0);
			CHECK_INT(directory_done(d, DIRECTORY_BUSY, 0, s.now_usec),
				  seconds[i] * USEC_PER_SEC);
			CHECK_INT(pick(&s, NULL, &wait), -1);
			CHECK_INT(wait, seconds[i] * USEC_PER_SEC);
			s.now_usec += wait;
		}
		/* What it says goes before. */
		ask(&s, 0, DIRECTORY_BUSY, 3 * USEC_PER_SEC);
		CHECK_INT(pick(&s, NULL, &wait), -1);
		CHECK_INT(wait, 3 * USEC_PER_SEC);
		s.now_usec += wait;
		/* One that fails after its rest rests again at once, longer. */
		ask(&s, 0, DIRECTORY_FAILED, 0);
		CHECK_INT(pick(&s, NULL, &wait), -1);
		CHECK_INT(wait, 6 * USEC_PER_SEC);
		s.now_usec += wait;
		/* Then it is well, and all begins anew. */
		ask(&s, 0, DIRECTORY_WELL, 0);
	}
	close_stand(&s);
}

/* Answers to what was asked before the rest make it neither longer, unless they say so, nor
 * shorter. */
TEST(what_was_under_way_says_nothing_about_a_rest)
{
	struct directory *asked[5], *probe;
	struct stand s;
	uint64_t wait;

	CHECK_INT(open_stand(&s, "https://a.example.com", "0"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		CHECK_INT(pick(&s, &asked[i], NULL), 0);
	CHECK_INT(directory_done(asked[0], DIRECTORY_BUSY, 0, s.now_usec), USEC_PER_SEC);
	CHECK_INT(directory_done(asked[1], DIRECTORY_BUSY, 0, s.now_usec), 0);
	CHECK_INT(directory_done(asked[2], DIRECTORY_WELL, 0, s.now_usec), 0);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(wait, USEC_PER_SEC);
	CHECK_INT(directory_done(asked[3], DIRECTORY_BUSY, 5 * USEC_PER_SEC, s.now_usec), 0);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(wait, 5 * USEC_PER_SEC);
	s.now_usec += wait;
	/* One at a time, until one shows that it is well. */
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK(directories_rest(s.directories, s.now_usec));
	CHECK_INT(directory_done(asked[4], DIRECTORY_FAILED, 0, s.now_usec), 2 * USEC_PER_SEC);
	s.now_usec += 2 * USEC_PER_SEC;
	CHECK_INT(pick(&s, &probe, NULL), 0);
	CHECK_INT(pick(&s, NULL, &wait), -1);
	CHECK_INT(directory_done(probe, DIRECTORY_WELL, 0, s.now_usec), 0);
	CHECK_INT(pick(&s, NULL, NULL), 0);
	CHECK_INT(pick(&s, NULL, NULL), 0);
	close_stand(&s);
}

TEST(each_is_asked_at_its_rate)
{
	struct stand s;
	uint64_t wait;
	unsigned asked = 0;

	CHECK_INT(open_stand(&s, "https://a.example.com https://b.example.com", "10"), 0);
	/* A second's worth at once, then one each tenth of a second. The other is not for the
	 * overflow. */
	while (asked < 100 && pick(&s, NULL, &wait) == 0)
		asked++;
	CHECK_INT(asked, 11);
	CHECK_INT(wait, USEC_PER_SEC / 10);
	CHECK(!directories_rest(s.directories, s.now_usec));
	for (unsigned i = 0; i < 50; i++) {
		s.now_usec += USEC_PER_SEC / 10;
		CHECK_INT(pick(&s, NULL, NULL), 0);
		CHECK_INT(pick(&s, NULL, NULL), -1);
	}
	close_stand(&s);
}

TEST(one_that_was_tried_is_not_asked_again)
{
	struct directory *d;
	uint64_t wait;
	struct stand s;

	CHECK_INT(open_stand(&s, "https://a.example.com https://b.example.com", "0"), 0);
	d = directories_pick(s.directories, 1, s.now_usec, &wait);
	CHECK(d && directory_number(d) == 1);
	CHECK(!directories_pick(s.directories, 3, s.now_usec, &wait));
	close_stand(&s);
}

TEST(urls_that_may_not_be_used_are_refused)
{
	/* More of them than there may be. */
	static const char nine[] = "https://a https://a https://a https://a https://a https://a "
				   "https://a https://a https://a";
	static const char *const urls[] = {
		"http://a.example.com",
		"https://a.example.com https://b.example.com/path",
		nine,
		" , ",
	};

	for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
		struct stand s;

		if (open_stand(&s, urls[i], "0") != -EINVAL)
			test_fail(__FILE__, __LINE__, "%s", urls[i]);
		close_stand(&s);
	}
}
