#include "tests/faults/scene.h"

#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include "tests/simnet/traffic.h"
#include "tests/test.h"

#define ARREARS_USEC  (10 * USEC_PER_SEC)
#define ACCOUNTS      400
#define FIRST_SEQ     1000
#define JOIN_USEC     (3 * USEC_PER_SEC) /* after the first events, and when it is asked again */
/* Without one event more for so long, with nothing broken any more, what is missing is lost. */
#define PATIENCE_USEC (90 * USEC_PER_SEC)

static void add_line(struct scene *s, size_t *count, const char *format, ...) PRINTF(3, 4);

static void add_line(struct scene *s, size_t *count, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->lines[*count], sizeof(s->lines[0]), format, args);
	va_end(args);
	s->line_list[*count] = s->lines[*count];
	++*count;
}

/* Small windows and files, so that their ends are met. */
static const char *const *make_settings(struct scene *s)
{
	const char *const *of_network = network_relay_settings(s->network, test_folder());
	size_t count = 0;

	add_line(s, &count, "group.lanes=%u", s->settings.lanes);
	add_line(s, &count, "group.replicas=%u", s->settings.replicas);
	if (s->settings.window_bytes > 0) {
		add_line(s, &count, "ingest.window=%u", s->settings.window_bytes);
		add_line(s, &count, "ingest.host_window=%u", s->settings.window_bytes / 10);
	} else {
		add_line(s, &count, "ingest.window=%u", (unsigned)SCENE_WINDOW_BYTES);
		add_line(s, &count, "ingest.host_window=512K");
	}
	if (s->settings.lookups_per_sec > 0)
		add_line(s, &count, "resolve.directory_rate=%u", s->settings.lookups_per_sec);
	add_line(s, &count, "store.file_size=8M");
	add_line(s, &count, "store.first_seq=%u", FIRST_SEQ);
	add_line(s, &count, "resolve.ttl_failed=200ms");
	if (s->settings.forgets)
		add_line(s, &count, "resolve.ttl_found=3s");
	if (s->settings.data_folder)
		add_line(s, &count, "group.data_dir=%s", s->settings.data_folder);
	for (; *of_network && count < ARRAY_SIZE(s->line_list) - 2; of_network++)
		s->line_list[count++] = *of_network;
	/* A list of hosts would bring back those that were lost. */
	s->line_list[count++] = "ingest.bootstrap=";
	s->line_list[count] = NULL;
	return s->line_list;
}

static void open_corpus(struct scene *s)
{
	struct world_settings world = {
		.seed = s->settings.seed,
		.hosts = SCENE_HOSTS,
		.accounts = s->settings.accounts,
		.port = 1,
		.plain = true,
		.p256_percent = 10,
	};
	struct traffic_settings traffic;

	traffic_defaults(s->settings.events, &traffic);
	traffic.active = s->settings.accounts;
	if (s->settings.commits_only)
		traffic.commits_only = traffic.all_first = true;
	if (s->settings.commits_only || s->settings.no_changes)
		traffic.changes = 0;
	if (corpus_open(traffic_corpus(&world, &traffic), &s->corpus) < 0) {
		printf("Bail out! the corpus cannot be opened\n");
		exit(1);
	}
	/* Without did:web accounts the port stands in no frame. */
	world.port = free_port();
	s->world = world_new(&world);
}

static void open_group(struct scene *s)
{
	char path[PATH_MAX];

	s->group = group_new(s->loop, make_settings(s));
	group_expect_failures(s->group);
	s->control = control_new(test_folder(),
				 s->settings.data_folder ? s->settings.data_folder
							 : group_data_folder(s->group),
				 path, sizeof(path));
	group_set_environment(s->group, CONTROL_ENVIRONMENT, path);
	group_set_environment(s->group, "LD_PRELOAD", control_library());
	/* The sanitizers' own library need not come first. */
	group_set_environment(s->group, "ASAN_OPTIONS", "verify_asan_link_order=0");
	group_start(s->group);
}

static bool has_hosts(void *arg)
{
	const struct scene *s = arg;

	for (uint32_t i = 0; i < SCENE_HOSTS; i++)
		if (network_subscribers(s->network, i) == 0)
			return false;
	return true;
}

const char *scene_client_name(enum scene_client c)
{
	static const char *const names[SCENE_CLIENTS] = {
		[SCENE_STAYS] = "stays",     [SCENE_LEAVES] = "leaves",
		[SCENE_PAUSES] = "pauses",   [SCENE_LIVE] = "live",
		[SCENE_REPLAYS] = "replays", [SCENE_FROM_CURSOR] = "from_cursor",
	};

	return names[c];
}

/* With a cursor, the first number too is known. */
static void open_client(struct scene *s, enum scene_client which, int64_t cursor)
{
	struct client *c = &s->clients[which];

	client_open(c, s->loop, group_port(s->group), cursor, s->judge, scene_client_name(which));
	if (cursor >= 0)
		judge_reader_resume(c->judged, cursor > 0 ? (uint64_t)cursor : FIRST_SEQ - 1);
}

static void join(void *arg)
{
	struct scene *s = arg;
	uint64_t last = client_last_seq(&s->clients[SCENE_STAYS]);

	if (last == 0) {
		loop_timer_set(s->loop, &s->join, JOIN_USEC);
		return;
	}
	open_client(s, SCENE_LIVE, -1);
	open_client(s, SCENE_FROM_CURSOR, (int64_t)(FIRST_SEQ + (last - FIRST_SEQ) / 2));
}

static void open_clients(struct scene *s)
{
	open_client(s, SCENE_STAYS, 0);
	open_client(s, SCENE_LEAVES, 0);
	open_client(s, SCENE_PAUSES, 0);
	client_leaves(&s->clients[SCENE_LEAVES], 700 * USEC_PER_MSEC);
	client_pauses(&s->clients[SCENE_PAUSES], 1300 * USEC_PER_MSEC);
	loop_timer_init(&s->join, join, s);
	loop_timer_set(s->loop, &s->join, JOIN_USEC);
}

static void ask_for_hosts(struct scene *s)
{
	struct buf body;
	char name[LIMIT_HOST + 1], json[LIMIT_HOST + 32];

	buf_init(&body, KIB(64));
	for (uint32_t i = 0; i < SCENE_HOSTS; i++) {
		snprintf(json, sizeof(json), "{\"hostname\":\"%s\"}",
			 world_host_name(s->world, i, name));
		CHECK_INT(group_post(s->group, "/xrpc/com.atproto.sync.requestCrawl", json, &body),
			  200);
	}
	buf_release(&body);
	wait_until(s->loop, has_hosts, s, "all hosts are subscribed to");
}

void scene_open(struct scene *s, const struct scene_settings *settings)
{
	*s = (struct scene){.settings = *settings, .loop = loop_new()};
	if (s->settings.accounts == 0)
		s->settings.accounts = ACCOUNTS;
	open_corpus(s);
	s->network = network_new(s->loop, s->world);
	s->judge = judge_open();
	open_group(s);
	open_clients(s);
	ask_for_hosts(s);
	s->player = player_new(s->loop, &s->corpus, s->world, s->network, s->judge,
			       s->settings.per_sec);
	if (s->settings.makes_up_waits)
		player_make_up(s->player, ARREARS_USEC);
}

void scene_close(struct scene *s)
{
	loop_timer_cancel(s->loop, &s->join);
	for (size_t i = 0; i < SCENE_CLIENTS; i++)
		if (s->clients[i].loop)
			client_close(&s->clients[i]);
	group_free(s->group);
	player_free(s->player);
	network_free(s->network);
	world_free(s->world);
	judge_close(s->judge);
	corpus_close(&s->corpus);
	control_free(s->control);
	loop_free(s->loop);
}

/* What happens in it. */

/* Of a member: "validate-1" is one of validate's. */
static unsigned *signals_of(struct scene *s, const char *member)
{
	static const char *const stages[CONTROL_STAGES] = {
		[CONTROL_INGEST] = "ingest",     [CONTROL_RESOLVE] = "resolve",
		[CONTROL_VALIDATE] = "validate", [CONTROL_STORE] = "store",
		[CONTROL_FANOUT] = "fanout",
	};
	size_t i = 0;

	while (strncmp(member, stages[i], strlen(stages[i])) != 0)
		i++;
	return s->signals[i];
}

static void count_signal(struct scene *s, const char *member, int number)
{
	if (number == SIGKILL)
		signals_of(s, member)[SCENE_KILL]++;
	else if (number == SIGTERM)
		signals_of(s, member)[SCENE_TERM]++;
	else if (number == SIGSTOP)
		signals_of(s, member)[SCENE_STOP]++;
}

unsigned scene_signal(struct scene *s, unsigned members, int number)
{
	unsigned count = 0;
	const char *name;

	for (unsigned i = 0; (name = group_member_name(s->group, i)); i++) {
		if (!(members >> i & 1) || !group_signal(s->group, name, number))
			continue;
		count_signal(s, name, number);
		count++;
	}
	return count;
}

/* As the system shows it: "PID (NAME) T ...". */
static bool is_stopped(pid_t pid)
{
	char path[64], state = '?';
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = pid > 0 ? fopen(path, "re") : NULL;
	if (!f)
		return false;
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	fclose(f);
	return state == 'T';
}

unsigned scene_running(struct scene *s, unsigned members)
{
	unsigned count = 0;
	const char *name;

	for (unsigned i = 0; (name = group_member_name(s->group, i)); i++)
		count += members >> i & 1 && group_pid(s->group, name) > 0;
	return count;
}

unsigned scene_stopped(struct scene *s, unsigned members)
{
	unsigned count = 0;
	const char *name;

	for (unsigned i = 0; (name = group_member_name(s->group, i)); i++)
		count += members >> i & 1 && is_stopped(group_pid(s->group, name));
	return count;
}

unsigned scene_crash(struct scene *s)
{
	unsigned count = 0;
	const char *name;

	for (unsigned i = 0; (name = group_member_name(s->group, i)); i++) {
		if (group_pid(s->group, name) <= 0)
			continue;
		count_signal(s, name, SIGKILL);
		count++;
	}
	group_crash(s->group);
	return count;
}

void scene_tear(struct scene *s, uint64_t bytes)
{
	group_expect_kill(s->group, "store");
	s->control->stages[CONTROL_STORE].torn_bytes = bytes;
}

void scene_heal(struct scene *s)
{
	const struct directory_manners well = {0};

	for (unsigned i = 0; i < CONTROL_STAGES; i++) {
		struct control_of *of = &s->control->stages[i];

		of->write_error = of->sync_error = 0;
		of->sync_usec = of->torn_bytes = 0;
	}
	s->control->clock_usec = 0;
	network_directory(s->network, &well);
	for (uint32_t i = 0; i < SCENE_HOSTS; i++)
		network_misbehave(s->network, i, BEHAVE);
	scene_signal(s, ~0u, SIGCONT);
}

static void run_out(void *arg)
{
	struct loop *l = arg;

	loop_quit(l, 0);
}

void scene_pass(struct scene *s, uint64_t usec)
{
	struct loop_timer timer;

	loop_timer_init(&timer, run_out, s->loop);
	loop_timer_set(s->loop, &timer, usec);
	loop_run(s->loop);
}

/* The end. */

static uint64_t total_received(const struct scene *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < SCENE_CLIENTS; i++)
		if (s->clients[i].loop)
			sum += judge_reader_count(s->clients[i].judged);
	return sum;
}

bool scene_is_done(const struct scene *s)
{
	return player_is_done(s->player) && judge_is_complete(s->judge);
}

/* A live one that joined when all was over has nothing to get. */
static bool has_caught_up(const struct scene *s, enum scene_client which, uint64_t last)
{
	const struct client *c = &s->clients[which];

	return !c->loop || client_last_seq(c) == last ||
	       (which == SCENE_LIVE && client_last_seq(c) == 0);
}

static bool have_caught_up(const struct scene *s)
{
	uint64_t last = 0;

	for (size_t i = 0; i < SCENE_CLIENTS; i++)
		if (s->clients[i].loop && client_last_seq(&s->clients[i]) > last)
			last = client_last_seq(&s->clients[i]);
	for (enum scene_client i = 0; i < SCENE_CLIENTS; i++)
		if (!has_caught_up(s, i, last))
			return false;
	return true;
}

bool scene_wait(struct scene *s, bool (*condition)(const struct scene *s))
{
	uint64_t received = total_received(s), since = loop_now_usec(s->loop);

	while (!condition(s)) {
		scene_pass(s, 20 * USEC_PER_MSEC);
		if (total_received(s) != received) {
			received = total_received(s);
			since = loop_now_usec(s->loop);
		} else if (loop_now_usec(s->loop) - since > PATIENCE_USEC) {
			return false;
		}
	}
	return true;
}

bool scene_finish(struct scene *s, uint64_t *ret_usec)
{
	uint64_t begin = loop_now_usec(s->loop);
	bool ok;

	scene_heal(s);
	loop_timer_cancel(s->loop, &s->join);
	for (size_t i = 0; i < SCENE_REPLAYS; i++)
		if (s->clients[i].loop)
			client_behaves(&s->clients[i]);
	ok = scene_wait(s, scene_is_done);
	*ret_usec = loop_now_usec(s->loop) - begin;
	open_client(s, SCENE_REPLAYS, 0);
	if (!scene_wait(s, have_caught_up)) {
		printf("# not all consumers have come to the end\n");
		ok = false;
	}
	return judge_verdict(s->judge) && ok;
}

void scene_check_whole(struct scene *s)
{
	uint64_t usec;

	CHECK(scene_finish(s, &usec));
	scene_close(s);
}

uint64_t scene_documents(const struct scene *s)
{
	struct network_counts counts;

	network_counts(s->network, &counts);
	return counts.documents;
}
