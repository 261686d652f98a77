/*
 * How soon the stream goes on after a stage was killed, and what a resolve that is away for long
 * holds up. FAULT_AWAY_SECONDS=n: how long it is away (8).
 */
#include <signal.h>
#include <stdlib.h>

#include "tests/faults/scene.h"
#include "tests/test.h"

#define PER_SEC      700
#define BEGIN_SEC    10  /* before resolve goes away */
#define REST_SEC     12  /* after it is back */
#define LOOKUPS_RATE 150 /* a second, of resolve; the bucket holds as many */

enum { INGEST, RESOLVE, STORE, VALIDATE }; /* members by place */

static uint64_t received(const struct scene *s)
{
	return judge_reader_count(s->clients[SCENE_STAYS].judged);
}

static bool has_some(const struct scene *s)
{
	return received(s) > PER_SEC;
}

/* The successor of a member, and how many events had come when it was there. */
struct successor {
	struct scene *scene;
	const char *member;
	pid_t old;
};

static bool has_successor(void *arg)
{
	const struct successor *s = arg;
	pid_t pid = group_pid(s->scene->group, s->member);

	return pid > 0 && pid != s->old;
}

struct more {
	const struct scene *scene;
	uint64_t wanted;
};

static bool have_come(void *arg)
{
	const struct more *m = arg;

	return received(m->scene) >= m->wanted;
}

/* From the start of the new process until events come again that were not on their way. */
static void kill_and_time(struct scene *s, unsigned place)
{
	struct successor next = {.scene = s, .member = group_member_name(s->group, place)};
	struct more more = {.scene = s};
	uint64_t since;

	next.old = group_pid(s->group, next.member);
	CHECK_INT(scene_signal(s, 1u << place, SIGKILL), 1);
	wait_until(s->loop, has_successor, &next, "a killed stage has a successor");
	since = loop_now_usec(s->loop);
	more.wanted = received(s) + 100;
	wait_until(s->loop, have_come, &more, "events come again");
	printf("# %s killed: events again %" PRIu64 " ms after its restart\n", next.member,
	       (loop_now_usec(s->loop) - since) / 1000);
	CHECK(loop_now_usec(s->loop) - since < SCENE_STALL_USEC);
	CHECK_INT(s->clients[SCENE_STAYS].connections, 1);
}

TEST(the_stream_resumes_after_a_kill)
{
	const struct scene_settings settings = {.seed = 1,
						.events = 60 * PER_SEC,
						.per_sec = PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.commits_only = true};
	static const unsigned places[] = {VALIDATE, STORE, INGEST, VALIDATE, STORE, INGEST};
	struct scene s;

	scene_open(&s, &settings);
	player_start(s.player);
	CHECK(scene_wait(&s, has_some));
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		kill_and_time(&s, places[i]);
	player_set_rate(s.player, 0);
	scene_check_whole(&s);
}

/* A resolve that is away. */

static uint64_t away_usec(void)
{
	const char *text = getenv("FAULT_AWAY_SECONDS");
	uint64_t seconds = 8;

	if (text && sscanf(text, "%" SCNu64, &seconds) != 1)
		seconds = 8;
	return seconds * USEC_PER_SEC;
}

static bool has_begun(const struct scene *s)
{
	return player_sent(s->player) > BEGIN_SEC * PER_SEC;
}

/* Whatever is late on its way, never more than the bucket and the rate since the start give. */
static void check_rate(struct scene *s, uint64_t since, uint64_t before)
{
	uint64_t usec = loop_now_usec(s->loop) - since;
	uint64_t most = LOOKUPS_RATE + LOOKUPS_RATE * (usec + USEC_PER_SEC) / USEC_PER_SEC;

	if (scene_documents(s) - before > most)
		test_fail(__FILE__, __LINE__, "%" PRIu64 " requests within %" PRIu64 " ms",
			  scene_documents(s) - before, usec / 1000);
}

/* For as long as it takes to play what is due in that time. */
static void be_away(struct scene *s)
{
	struct client *stays = &s->clients[SCENE_STAYS];
	uint64_t until = loop_now_usec(s->loop) + away_usec() + WAIT_USEC;
	uint64_t begin = received(s), sent = player_sent(s->player);
	uint64_t due = away_usec() / USEC_PER_SEC * PER_SEC;

	CHECK_INT(scene_signal(s, 1u << RESOLVE, SIGSTOP), 1);
	stays->silence_usec = 0;
	while (player_sent(s->player) - sent < due && loop_now_usec(s->loop) < until)
		scene_pass(s, 100 * USEC_PER_MSEC);
	printf("# %" PRIu64 " events in %" PRIu64 " s without resolve, the longest silence %" PRIu64
	       " ms; %" PRId64 " events wait\n",
	       received(s) - begin, away_usec() / USEC_PER_SEC, stays->silence_usec / 1000,
	       group_metric(s->group, "validate-0", "relay_events_waiting", ""));
	/* The last moments count too. */
	CHECK(loop_now_usec(s->loop) - stays->last_usec < SCENE_STALL_USEC);
	CHECK(stays->silence_usec < SCENE_STALL_USEC);
	CHECK(received(s) - begin > due / 4);
	CHECK(group_metric(s->group, "validate-0", "relay_events_waiting", "") > 0);
}

TEST(resolve_is_away_for_long)
{
	const struct scene_settings settings = {
		.seed = 2,
		.events = (BEGIN_SEC + REST_SEC + away_usec() / USEC_PER_SEC) * PER_SEC,
		.per_sec = PER_SEC,
		.lanes = 1,
		.replicas = 1,
		.accounts = 4000,
		.no_changes = true,
		.window_bytes = MIB(128),
		.lookups_per_sec = LOOKUPS_RATE,
	};
	uint64_t before, known, since, begin;
	struct scene s;

	scene_open(&s, &settings);
	player_start(s.player);
	CHECK(scene_wait(&s, has_begun));
	be_away(&s);
	known = before = scene_documents(&s);
	begin = received(&s);
	/* Its successor has only what is on the disk. */
	CHECK_INT(scene_signal(&s, 1u << RESOLVE, SIGKILL), 1);
	since = loop_now_usec(s.loop);
	while (!scene_is_done(&s) && loop_now_usec(s.loop) - since < 3 * WAIT_USEC) {
		scene_pass(&s, 50 * USEC_PER_MSEC);
		check_rate(&s, since, before);
	}
	printf("# %" PRIu64 " identities known, %" PRIu64 " asked for after the restart; %" PRIu64
	       " events came within %" PRIu64 " ms\n",
	       known, scene_documents(&s) - before, received(&s) - begin,
	       (loop_now_usec(s.loop) - since) / 1000);
	scene_check_whole(&s);
}
