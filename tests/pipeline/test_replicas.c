/* Replicas of fanout in a whole group: restarted one after another, on ports of their own, and on a
 * socket that is passed to them. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/message.h"
#include "tests/lib/frame.h"
#include "tests/lib/group.h"
#include "tests/lib/network.h"
#include "tests/lib/repo.h"
#include "tests/lib/stream_client.h"
#include "tests/test.h"

/* An order is not told the group's settings. */
#define ORDER "--set group.replicas=3 restart "

#define FOLLOWERS  8
#define LOAD_USEC  (2 * USEC_PER_MSEC) /* between two events */
#define LOOK_USEC  (5 * USEC_PER_MSEC)
#define EVENTS_MIN 200

/* A consumer that comes back with its cursor, whenever it is told to go. */
struct follower {
	struct group_test *group;
	struct consumer consumer;
	size_t taken; /* of this connection */
	uint64_t last_seq;
	unsigned returns;
	struct buf frames; /* of all connections */
};

struct scene {
	struct loop *loop;
	struct fake_host *host;
	struct fake_directory *directory;
	struct group_test *group;
	struct repo repo;
	struct loop_timer load, look;
	bool under_load;
	uint64_t sent;
	struct buf frame;
	struct follower followers[FOLLOWERS];
};

static void send_event(struct scene *s)
{
	struct repo_commit commit;
	char path[64];

	snprintf(path, sizeof(path), "com.example.record/number-%03u", (unsigned)(s->sent % 500));
	repo_put_number(&s->repo, path, s->sent);
	repo_commit(&s->repo, clock_usec(), &commit);
	buf_clear(&s->frame);
	frame_put_commit(&s->frame, ++s->sent, &commit);
	fake_host_send(s->host, s->sent, buf_span(&s->frame));
	repo_commit_release(&commit);
}

static void on_load(void *arg)
{
	struct scene *s = arg;

	if (!s->under_load)
		return;
	send_event(s);
	loop_timer_set(s->loop, &s->load, LOAD_USEC);
}

/* Contiguous, over its connections too. */
static void take_frames(struct follower *f)
{
	for (; f->taken < f->consumer.count; f->taken++) {
		uint64_t seq = f->consumer.list[f->taken].seq;

		if (seq != f->last_seq + 1)
			test_fail(__FILE__, __LINE__, "event %" PRIu64 " after %" PRIu64, seq,
				  f->last_seq);
		f->last_seq = seq;
		buf_append(&f->frames, consumer_frame(&f->consumer, f->taken));
	}
	CHECK(!f->consumer.bad);
}

static void come_back(struct follower *f)
{
	CHECK(f->consumer.told_to_go);
	consumer_close(&f->consumer);
	f->taken = 0;
	f->returns++;
	/* Only a connection that is made just when a socket closes is refused. */
	for (unsigned i = 0; i < 3; i++) {
		if (consumer_try(&f->consumer, f->group, (int64_t)f->last_seq))
			return;
		consumer_close(&f->consumer);
	}
	test_fail(__FILE__, __LINE__, "refused three times");
}

static void on_look(void *arg)
{
	struct scene *s = arg;

	for (size_t i = 0; i < FOLLOWERS && !test_has_failed(); i++) {
		take_frames(&s->followers[i]);
		if (s->followers[i].consumer.closed)
			come_back(&s->followers[i]);
	}
	loop_timer_set(s->loop, &s->look, LOOK_USEC);
}

static void scene_open(struct scene *s)
{
	char hosts[64], plc[64];

	*s = (struct scene){.loop = loop_new()};
	buf_init(&s->frame, LIMIT_FRAME);
	loop_timer_init(&s->load, on_load, s);
	loop_timer_init(&s->look, on_look, s);
	s->host = fake_host_new(s->loop, free_port());
	s->directory = fake_directory_new(s->loop, free_port());
	snprintf(hosts, sizeof(hosts), "ingest.hosts=%s", fake_host_name(s->host));
	snprintf(plc, sizeof(plc), "resolve.plc_url=%s", fake_directory_url(s->directory));
	repo_init(&s->repo, CURVE_K256, "an account");
	fake_directory_put(s->directory, s->repo.did, &s->repo.key.public, fake_host_url(s->host),
			   "a.test");
	s->group = group_new(s->loop, (const char *const[]){hosts, plc, "group.replicas=3", NULL});
	group_start(s->group);
	for (size_t i = 0; i < FOLLOWERS; i++) {
		s->followers[i].group = s->group;
		buf_init(&s->followers[i].frames, MIB(256));
		consumer_open(&s->followers[i].consumer, s->group, 0);
	}
	on_look(s);
}

static void scene_close(struct scene *s)
{
	loop_timer_cancel(s->loop, &s->load);
	loop_timer_cancel(s->loop, &s->look);
	for (size_t i = 0; i < FOLLOWERS; i++) {
		consumer_close(&s->followers[i].consumer);
		buf_release(&s->followers[i].frames);
	}
	group_free(s->group);
	repo_release(&s->repo);
	fake_host_free(s->host);
	fake_directory_free(s->directory);
	buf_release(&s->frame);
	loop_free(s->loop);
}

static bool all_have_all(void *arg)
{
	const struct scene *s = arg;

	for (size_t i = 0; i < FOLLOWERS; i++)
		if (s->followers[i].last_seq < s->sent)
			return test_has_failed();
	return true;
}

static bool some_have_come(void *arg)
{
	const struct scene *s = arg;

	return s->followers[0].last_seq >= EVENTS_MIN || test_has_failed();
}

struct replay {
	struct consumer consumer;
	uint64_t wanted;
};

static bool replay_is_whole(void *arg)
{
	const struct replay *r = arg;

	return r->consumer.count >= r->wanted || r->consumer.closed;
}

/* What a replay gives is what the others got. */
static void check_frames(struct scene *s)
{
	struct replay r = {.wanted = s->sent};
	struct span all;

	consumer_open(&r.consumer, s->group, 0);
	wait_until(s->loop, replay_is_whole, &r, "a replay");
	all = buf_span(&r.consumer.frames);
	CHECK_INT(r.consumer.count, s->sent);
	for (size_t i = 0; i < FOLLOWERS; i++) {
		CHECK_INT(s->followers[i].frames.len, all.len);
		CHECK_SPAN(buf_span(&s->followers[i].frames), all);
	}
	consumer_close(&r.consumer);
}

TEST(replicas_are_restarted_one_after_another_and_nobody_notices)
{
	static const char *const names[] = {"fanout-0", "fanout-1", "fanout-2"};
	struct scene s;
	struct buf said;
	unsigned returns = 0;
	pid_t before[ARRAY_SIZE(names)];

	scene_open(&s);
	buf_init(&said, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		before[i] = group_pid(s.group, names[i]);
	s.under_load = true;
	on_load(&s);
	wait_until(s.loop, some_have_come, &s, "events");
	CHECK_INT(group_order(s.group, ORDER "fanout", &said), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK(test_contains(buf_span(&said), names[i]));
		CHECK(group_pid(s.group, names[i]) != before[i]);
		CHECK_INT(group_metric(s.group, names[i], "relay_process_starts", ""), 2);
	}
	CHECK(s.sent > EVENTS_MIN);
	s.under_load = false;
	wait_until(s.loop, all_have_all, &s, "all events");
	for (size_t i = 0; i < FOLLOWERS; i++)
		returns += s.followers[i].returns;
	/* Each of them was with some replica, and all were restarted. */
	CHECK(returns >= FOLLOWERS);
	check_frames(&s);
	printf("# %" PRIu64 " events, %u returns\n%.*s", s.sent, returns, (int)said.len,
	       (const char *)said.ptr);
	buf_release(&said);
	scene_close(&s);
}

/* Each stage of a group that runs, while it runs. */
TEST(every_stage_is_restarted_by_an_order)
{
	static const char *const stages[] = {"ingest", "resolve", "validate", "store", "fanout-1"};
	struct scene s;
	struct buf said;

	scene_open(&s);
	buf_init(&said, MIB(1));
	s.under_load = true;
	on_load(&s);
	for (size_t i = 0; i < ARRAY_SIZE(stages); i++) {
		char words[64];

		snprintf(words, sizeof(words), ORDER "%s", stages[i]);
		CHECK_INT(group_order(s.group, words, &said), 0);
		CHECK(test_contains(buf_span(&said), "pid "));
	}
	CHECK_INT(group_metric(s.group, "fanout-1", "relay_process_starts", ""), 2);
	CHECK_INT(group_metric(s.group, "fanout-0", "relay_process_starts", ""), 1);
	CHECK_INT(group_metric(s.group, "store", "relay_process_starts", ""), 2);
	CHECK_INT(group_order(s.group, ORDER "nothing", &said), 1);
	CHECK(test_contains(buf_span(&said), "no such process: nothing"));
	s.under_load = false;
	wait_until(s.loop, all_have_all, &s, "all events");
	check_frames(&s);
	buf_release(&said);
	scene_close(&s);
}

/* More than a page of them, over two replicas; each is shown once, the newest first. */
TEST(consumers_are_listed_over_all_replicas)
{
	static struct stream_client clients[CONSUMERS_LISTED + 50];
	struct loop *l = loop_new();
	unsigned shown = 0, of_replica[2] = {0}, last_id[2] = {UINT_MAX, UINT_MAX};
	struct group_test *g;
	struct rlimit limit;
	struct buf said;
	char *line;

	CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
	buf_init(&said, MIB(4));
	g = group_new(l, (const char *const[]){"group.replicas=2", "fanout.own_ports=true", NULL});
	group_start(g);
	/* All but some at one of them. */
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		CHECK(stream_open(&clients[i], (uint16_t)(group_port(g) + (i < 3 ? 1 : 0)), "",
				  i == 0 ? "User-Agent: an\x1b agent\r\n"
					   "X-Forwarded-For: 2001:db8::7\r\n"
					 : ""));
	CHECK_INT(group_order(g, "--set group.replicas=2 consumers", &said), 0);
	buf_put_u8(&said, '\0');
	line = strchr((char *)said.ptr, '\n') + 1;
	for (char *next; *line; line = next) {
		unsigned replica, id;
		char remote[64];

		next = strchr(line, '\n') + 1;
		CHECK_INT(sscanf(line, "fanout-%u %u %63s", &replica, &id, remote), 3);
		CHECK(replica < 2 && id < last_id[replica % 2]);
		last_id[replica % 2] = id;
		of_replica[replica % 2]++;
		shown++;
	}
	CHECK_INT(shown, ARRAY_SIZE(clients));
	CHECK_INT(of_replica[1], 3);
	CHECK(strstr((char *)said.ptr, " [2001:db8::7] "));
	CHECK(strstr((char *)said.ptr, "  an? agent\n"));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		stream_close(&clients[i]);
	buf_release(&said);
	group_free(g);
	loop_free(l);
}

/* ---- where they listen ---- */

TEST(replicas_can_have_ports_of_their_own)
{
	struct loop *l = loop_new();
	struct group_test *g;
	struct buf answer;

	buf_init(&answer, MIB(1));
	g = group_new(l, (const char *const[]){"group.replicas=2", "fanout.own_ports=true", NULL});
	group_start(g);
	for (unsigned i = 0; i < 2; i++) {
		uint16_t at = (uint16_t)(group_port(g) + i);

		CHECK_INT(http_ask(at, "GET", "/", "", "", &answer), 200);
		CHECK(group_metric(g, i ? "fanout-1" : "fanout-0", "relay_http_requests_total",
				   "path=\"/\"") == 1);
	}
	buf_release(&answer);
	group_free(g);
	loop_free(l);
}

/* As systemd starts it, with so many sockets. */
static pid_t start_with_sockets(const int *fds, unsigned count)
{
	char program[4096], data[256], run[256], number[32];
	const char *folder = test_folder();
	int high[2];
	pid_t pid;

	snprintf(program, sizeof(program), "%s/standpipe-fanout", test_programs());
	snprintf(data, sizeof(data), "group.data_dir=%s/data", folder);
	snprintf(run, sizeof(run), "group.run_dir=%s/run", folder);
	pid = fork();
	if (pid == 0) {
		/* Away from where they go; and dup2 makes them stay open. */
		for (unsigned i = 0; i < count; i++)
			high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 100);
		for (unsigned i = 0; i < count; i++)
			dup2(high[i], 3 + (int)i);
		snprintf(number, sizeof(number), "%u", count);
		setenv("LISTEN_FDS", number, 1);
		snprintf(number, sizeof(number), "%d", (int)getpid());
		setenv("LISTEN_PID", number, 1);
		execl(program, program, "--set", data, "--set", run, "--set",
		      "fanout.metrics_port=0", NULL);
		_exit(127);
	}
	return pid;
}

static int open_socket(uint16_t port, bool listens)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	if (listens)
		CHECK_INT(listen(fd, 16), 0);
	return fd;
}

static int wait_status(pid_t pid)
{
	int status = -1;

	CHECK_INT(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(a_passed_socket_is_served)
{
	uint16_t port = free_port();
	struct buf answer;
	int fd;
	pid_t pid;

	buf_init(&answer, MIB(1));
	fd = open_socket(port, true);
	pid = start_with_sockets(&fd, 1);
	CHECK_INT(http_ask(port, "GET", "/", "", "", &answer), 200);
	kill(pid, SIGTERM);
	CHECK_INT(wait_status(pid), 0);
	close(fd);
	buf_release(&answer);
}

TEST(sockets_that_do_not_fit_are_refused)
{
	int fds[2];

	fds[0] = open_socket(free_port(), true);
	fds[1] = open_socket(free_port(), true);
	CHECK_INT(wait_status(start_with_sockets(fds, 2)), 78);
	close(fds[1]);
	fds[1] = open_socket(free_port(), false);
	CHECK_INT(wait_status(start_with_sockets(fds + 1, 1)), 78);
	close(fds[0]);
	close(fds[1]);
}
