/*
 * What cannot go on makes what comes before it wait, up to the hosts' sockets: a full disk, a stage
 * that stands still, a directory or resolver that is away. Nothing grows beyond its bound, and
 * nothing is lost.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/faults/scene.h"
#include "tests/lib/disk.h"
#include "tests/test.h"

#define PER_SEC 1000

/* Asked through the loop, so not inside a condition: again and again, with everything going on. */
#define WAIT_FOR(s, cond)                                                                          \
	do {                                                                                       \
		uint64_t until_ = loop_now_usec((s)->loop) + WAIT_USEC;                            \
		bool held_;                                                                        \
		while (!(held_ = (cond)) && loop_now_usec((s)->loop) < until_)                     \
			scene_pass(s, 20 * USEC_PER_MSEC);                                         \
		if (!held_)                                                                        \
			test_fail(__FILE__, __LINE__, "waited too long: %s", #cond);               \
	} while (0)

static void open_and_play(struct scene *s, const struct scene_settings *settings)
{
	scene_open(s, settings);
	player_start(s->player);
}

static bool has_some(const struct scene *s)
{
	return judge_reader_count(s->clients[SCENE_STAYS].judged) > 100;
}

static int64_t metric(struct scene *s, const char *member, const char *name)
{
	return group_metric(s->group, member, name, "");
}

/* Bytes of a row of a member's account. */
static int64_t row(struct scene *s, const char *member, const char *what)
{
	char label[64];

	snprintf(label, sizeof(label), ",what=\"%s\"", what);
	return group_metric(s->group, member, "relay_accounted_bytes", label);
}

/* The largest frame of each host. */
static void largest_frames(const struct scene *s, size_t ret_bytes[static SCENE_HOSTS])
{
	struct corpus corpus = s->corpus;
	struct corpus_record record;

	memset(ret_bytes, 0, SCENE_HOSTS * sizeof(ret_bytes[0]));
	corpus_rewind(&corpus);
	while (corpus_next(&corpus, &record) == 1)
		if (record.type == CORPUS_EVENT && record.frame.len > ret_bytes[record.host])
			ret_bytes[record.host] = record.frame.len;
}

/* Beside a message: of each connection, and of all of them together. */
#define CONNECTION_BYTES KIB(24)
#define POOL_BYTES       KIB(64)

/* Each connection holds one message; buffers double as they grow. */
static int64_t connections_limit(const struct scene *s)
{
	size_t frames[SCENE_HOSTS], sum = POOL_BYTES;

	largest_frames(s, frames);
	for (unsigned i = 0; i < SCENE_HOSTS; i++)
		sum += CONNECTION_BYTES + 2 * frames[i];
	return (int64_t)sum;
}

/* The largest message of a lane: a full batch, and then one more frame. */
static int64_t largest_message(const struct scene *s)
{
	size_t frames[SCENE_HOSTS], most = 0;

	largest_frames(s, frames);
	for (unsigned i = 0; i < SCENE_HOSTS; i++)
		most = frames[i] > most ? frames[i] : most;
	return (int64_t)(LIMIT_BATCH_BYTES + KIB(16) + most);
}

#define ACK_BYTES 9

/* What a validate keeps of one message to it, and acknowledgements for all of the window. */
static int64_t buffers_limit(struct scene *s)
{
	return 2 * (largest_message(s) + ACK_BYTES * metric(s, "ingest", "relay_window_events")) +
	       (int64_t)KIB(16);
}

/* Of ends of pipes: what each reads ahead, and two queues, doubled as buffers grow, or a message
 * for each of the three. Over those that are idle little goes, such as a page of metrics. */
static int64_t pipes_limit(const struct scene *s, int64_t busy, int64_t idle)
{
	int64_t end = (int64_t)(KIB(128) + 2 * KIB(512)), messages = 3 * largest_message(s);

	return busy * (end > messages ? end : messages) + idle * (int64_t)KIB(256) +
	       (busy + idle) * (int64_t)KIB(4);
}

/* A host waits when its next event does not fit, so nearly all of the window is taken. */
static void check_ingest_is_full(struct scene *s)
{
	int64_t window = metric(s, "ingest", "relay_window_bytes");

	CHECK(window > (int64_t)SCENE_WINDOW_BYTES / 4 * 3);
	CHECK(window <= (int64_t)SCENE_WINDOW_BYTES);
	CHECK(row(s, "ingest", "window") >= window);
	CHECK(row(s, "ingest", "window") <= (int64_t)SCENE_WINDOW_BYTES * 3 / 2);
	CHECK(row(s, "ingest", "connections") <= connections_limit(s));
	/* A lane; calls to store and resolve, calls of fanout, control. */
	CHECK(row(s, "ingest", "pipes") <= pipes_limit(s, 1, 4));
}

/* What waits in a validate. */
static void check_validate_is_bounded(struct scene *s)
{
	int64_t waiting = row(s, "validate-0", "waiting");

	CHECK(waiting >= 0);
	CHECK(waiting <= (int64_t)SCENE_WINDOW_BYTES * 3);
	CHECK(row(s, "validate-0", "buffers") <= buffers_limit(s));
	/* The lane's two ends, identities; control. */
	CHECK(row(s, "validate-0", "pipes") <= pipes_limit(s, 3, 1));
}

static int health(struct scene *s, struct buf *body)
{
	return group_get(s->group, "/_health", body);
}

TEST(a_full_disk)
{
	char *disk = disk_new("size=40m");
	const struct scene_settings settings = {.seed = 1,
						.events = 16 * PER_SEC,
						.per_sec = 4 * PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.commits_only = true,
						.data_folder = disk};
	struct client late;
	struct scene s;
	struct buf body;

	if (!disk)
		SKIP("no filesystem can be mounted");
	buf_init(&body, KIB(64));
	open_and_play(&s, &settings);
	WAIT_FOR(&s, health(&s, &body) == 503);
	CHECK(test_contains(buf_span(&body), "store: no room on the disk"));
	/* No host is read any more, and what is in the window stays bounded. */
	WAIT_FOR(&s, metric(&s, "ingest", "relay_hosts_paused") == SCENE_HOSTS);
	check_ingest_is_full(&s);
	check_validate_is_bounded(&s);
	/* What there is is served. */
	client_open(&late, s.loop, group_port(s.group), 0, s.judge, "late");
	WAIT_FOR(&s, client_last_seq(&late) >= client_last_seq(&s.clients[SCENE_STAYS]));
	CHECK(client_last_seq(&late) > 0);
	/* A store that is killed now does not find room either, and says so. */
	scene_signal(&s, 1u << 2, SIGKILL);
	WAIT_FOR(&s, health(&s, &body) == 503 &&
			     test_contains(buf_span(&body), "store: no room on the disk"));
	client_close(&late);
	/* With less than what its state needs to open, and a fanout that has heard of no log. */
	disk_fill(disk);
	scene_signal(&s, 1u << 2 | 1u << 4, SIGKILL);
	WAIT_FOR(&s, health(&s, &body) == 503 &&
			     test_contains(buf_span(&body), "store: no room on the disk"));
	client_open(&late, s.loop, group_port(s.group), 0, s.judge, "later");
	WAIT_FOR(&s, client_last_seq(&late) >= client_last_seq(&s.clients[SCENE_STAYS]));
	disk_resize(disk, "size=400m");
	WAIT_FOR(&s, health(&s, &body) == 200);
	client_close(&late);
	buf_release(&body);
	scene_check_whole(&s);
	disk_free(disk);
}

/* Of a process, as the system counts it. */
static uint64_t resident_bytes(pid_t pid)
{
	unsigned long pages = 0, resident = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	f = fopen(path, "re");
	if (f) {
		CHECK_INT(fscanf(f, "%lu %lu", &pages, &resident), 2);
		fclose(f);
	}
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Whether a second passes in which ingest takes no frame of any host. */
static bool takes_nothing(struct scene *s)
{
	int64_t frames = metric(s, "ingest", "relay_frames_received_total");

	scene_pass(s, USEC_PER_SEC);
	return metric(s, "ingest", "relay_hosts_paused") == SCENE_HOSTS &&
	       metric(s, "ingest", "relay_frames_received_total") == frames;
}

/* The members by place: ingest, resolve, store, validate, fanout. */
static void stand_still(unsigned place, const char *member)
{
	const struct scene_settings settings = {.seed = 1,
						.events = 8 * PER_SEC,
						.per_sec = 4 * PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.commits_only = true};
	uint64_t before, sent;
	struct scene s;

	open_and_play(&s, &settings);
	CHECK(scene_wait(&s, has_some));
	before = resident_bytes(group_pid(s.group, "ingest"));
	CHECK_INT(scene_signal(&s, 1u << place, SIGSTOP), 1);
	/* What it answered before it stood still makes room, until it has been read. */
	WAIT_FOR(&s, takes_nothing(&s));
	CHECK(metric(&s, "ingest", "relay_frames_received_total") < (int64_t)settings.events);
	sent = player_sent(s.player);
	check_ingest_is_full(&s);
	if (strcmp(member, "store") == 0)
		check_validate_is_bounded(&s);
	CHECK(metric(&s, "ingest", "relay_window_age_seconds") >= 1);
	/* The window, and for each host a message that is held and what its socket gave before. */
	CHECK(resident_bytes(group_pid(s.group, "ingest")) <
	      before + 2 * SCENE_WINDOW_BYTES + (uint64_t)connections_limit(&s));
	printf("# %s stood still: ingest had %" PRIu64 " KB, then %" PRIu64 " KB; %" PRIu64
	       " events sent\n",
	       member, before / 1024, resident_bytes(group_pid(s.group, "ingest")) / 1024, sent);
	CHECK_INT(scene_signal(&s, 1u << place, SIGCONT), 1);
	scene_check_whole(&s);
}

TEST(a_store_that_stands_still)
{
	stand_still(2, "store");
}

TEST(a_validate_that_stands_still)
{
	stand_still(3, "validate");
}

/* Accounts that are known go on without resolve; the others wait for it. */
TEST(resolve_is_away)
{
	const struct scene_settings settings = {.seed = 2,
						.events = 12 * PER_SEC,
						.per_sec = PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.accounts = 4000};
	struct client *stays;
	struct scene s;
	uint64_t count;

	open_and_play(&s, &settings);
	stays = &s.clients[SCENE_STAYS];
	WAIT_FOR(&s, player_sent(s.player) > 4 * PER_SEC);
	CHECK_INT(scene_signal(&s, 1u << 1, SIGSTOP), 1);
	WAIT_FOR(&s, metric(&s, "validate-0", "relay_events_waiting") > 0);
	count = judge_reader_count(stays->judged);
	stays->silence_usec = 0;
	/* Until what waits has filled the windows. */
	WAIT_FOR(&s, judge_reader_count(stays->judged) > count + PER_SEC / 2);
	CHECK(stays->silence_usec < SCENE_STALL_USEC);
	WAIT_FOR(&s, metric(&s, "ingest", "relay_hosts_paused") == SCENE_HOSTS);
	check_ingest_is_full(&s);
	check_validate_is_bounded(&s);
	CHECK(row(&s, "validate-0", "waiting") > (int64_t)SCENE_WINDOW_BYTES / 2);
	printf("# %" PRIu64 " events without resolve, the longest silence %" PRIu64 " ms\n",
	       judge_reader_count(stays->judged) - count, stays->silence_usec / 1000);
	CHECK_INT(scene_signal(&s, 1u << 1, SIGCONT), 1);
	scene_check_whole(&s);
}

static bool has_half(const struct scene *s)
{
	return judge_reader_count(s->clients[SCENE_STAYS].judged) >= 3 * PER_SEC;
}

/* Every account is asked for once, however often who asks is killed. */
TEST(restarts_are_no_burst_on_the_directory)
{
	const struct scene_settings settings = {.seed = 3,
						.events = 8 * PER_SEC,
						.per_sec = PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.commits_only = true};
	const unsigned members = 1u << 1 | 1u << 3;
	struct scene s;
	uint64_t usec;

	open_and_play(&s, &settings);
	CHECK(scene_wait(&s, has_half));
	CHECK_INT(scene_documents(&s), 400);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_INT(scene_signal(&s, members, SIGKILL), 2);
		scene_pass(&s, 500 * USEC_PER_MSEC);
		WAIT_FOR(&s, scene_running(&s, members) == 2);
	}
	CHECK(scene_finish(&s, &usec));
	CHECK_INT(scene_documents(&s), 400);
	scene_close(&s);
}

struct ending {
	struct group_test *group;
	const char *member;
	pid_t pid;
};

static bool has_ended(void *arg)
{
	const struct ending *e = arg;

	return group_pid(e->group, e->member) != e->pid;
}

/* How long a member takes to end when it is asked. */
static uint64_t end_usec(struct scene *s, unsigned place)
{
	struct ending e = {.group = s->group, .member = group_member_name(s->group, place)};
	uint64_t since = loop_now_usec(s->loop), usec;

	e.pid = group_pid(s->group, e.member);
	CHECK_INT(scene_signal(s, 1u << place, SIGTERM), 1);
	wait_until(s->loop, has_ended, &e, "a stage ends when it is asked");
	usec = loop_now_usec(s->loop) - since;
	printf("# %s ended after %" PRIu64 " ms\n", e.member, usec / 1000);
	return usec;
}

/* ingest waits up to 5 s for what is on its way, fanout up to 6 s for its consumers to take the
 * end; the others finish what is in hand. */
TEST(stages_end_in_time)
{
	static const uint64_t limits[] = {5, 1, 1, 1, 6};
	const struct scene_settings settings = {.seed = 1,
						.events = 60 * PER_SEC,
						.per_sec = PER_SEC,
						.lanes = 1,
						.replicas = 1,
						.commits_only = true};
	struct scene s;

	open_and_play(&s, &settings);
	CHECK(scene_wait(&s, has_some));
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++)
		CHECK(end_usec(&s, i) < limits[i] * USEC_PER_SEC + SCENE_STALL_USEC);
	/* What is on its way to a stage that stands still is not waited for any longer. */
	WAIT_FOR(&s, scene_running(&s, 1u << 2) == 1);
	WAIT_FOR(&s, metric(&s, "ingest", "relay_window_events") > 0);
	CHECK_INT(scene_signal(&s, 1u << 2, SIGSTOP), 1);
	WAIT_FOR(&s, metric(&s, "ingest", "relay_window_age_seconds") >= 1);
	CHECK(end_usec(&s, 0) < limits[0] * USEC_PER_SEC + SCENE_STALL_USEC);
	CHECK_INT(scene_signal(&s, 1u << 2, SIGCONT), 1);
	player_set_rate(s.player, 0);
	scene_check_whole(&s);
}
