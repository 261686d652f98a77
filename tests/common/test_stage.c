/*
 * A stage is a process: most tests here start this very program again with TEST_STAGE in its
 * environment, which makes it a tiny stage of that name before the harness has a say. It tells that
 * it is ready as any stage does, through NOTIFY_SOCKET.
 */
#include "tests/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/message.h"
#include "common/stage.h"

/* The tiny stage. */

static void stop_tiny(void *arg)
{
	struct stage *s = arg;

	if (!getenv("TEST_STAGE_HANGS"))
		loop_quit(s->loop, 0);
}

static void *volatile left_behind;

static __attribute__((noinline)) void leave_a_block_behind(void)
{
	left_behind = xmalloc(MIB(1));
}

static int run_tiny(const char *name, int argc, char **argv)
{
	bool has_instances = strcmp(name, "validate") == 0 || strcmp(name, "fanout") == 0;
	char data[PATH_MAX];
	struct rlimit limit;
	struct stage s;
	int status;

	status = stage_init(&s, name, has_instances ? STAGE_INSTANCES : STAGE_SINGLE, argc, argv);
	if (status != STAGE_GO)
		return status;
	if (stage_data_dir(&s, name, data) < 0) {
		stage_release(&s);
		return STAGE_EXIT_AGAIN;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	printf("data %s descriptors %s\n", data, limit.rlim_cur == limit.rlim_max ? "all" : "few");
	fflush(stdout);
	if (getenv("TEST_STAGE_LEAKS"))
		leave_a_block_behind();
	if (getenv("TEST_STAGE_HANGS"))
		s.stop_usec = 50 * USEC_PER_MSEC;
	status = stage_run(&s, stop_tiny, &s);
	stage_release(&s);
	return status;
}

__attribute__((constructor)) static void become_stage(int argc, char **argv)
{
	const char *name = getenv("TEST_STAGE");

	if (name)
		exit(run_tiny(name, argc, argv));
}

/* Its parent. */

struct child {
	pid_t pid;
	char out[256], err[256]; /* files */
};

#define ARGUMENTS_MAX 16
#define PATIENCE                                                                                   \
	60 /* seconds until a stage that should have ended, or said something, is a failure */

/* Starts a tiny stage with these arguments (NULL at their end) and the present environment. */
static void child_start(struct child *c, const char *name, const char *const *arguments)
{
	const char *argv[ARGUMENTS_MAX] = {"standpipe-test"}, *folder = test_folder();
	struct rlimit few = {.rlim_cur = 100};

	for (size_t i = 1; *arguments; i++)
		argv[i] = *arguments++;
	snprintf(c->out, sizeof(c->out), "%s/out", folder);
	snprintf(c->err, sizeof(c->err), "%s/err", folder);
	setenv("TEST_STAGE", name, 1);
	c->pid = fork();
	if (c->pid == 0) {
		int out = open(c->out, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		int err = open(c->err, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		struct rlimit now;

		getrlimit(RLIMIT_NOFILE, &now);
		few.rlim_max = now.rlim_max;
		setrlimit(RLIMIT_NOFILE, &few);
		alarm(PATIENCE);
		dup2(out, STDOUT_FILENO);
		dup2(err, STDERR_FILENO);
		execv("/proc/self/exe", (char *const *)argv);
		_exit(127);
	}
	unsetenv("TEST_STAGE");
}

/* Its exit status, or minus the signal that ended it. */
static int child_wait(struct child *c)
{
	int status;

	CHECK_INT(waitpid(c->pid, &status, 0), c->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A file as a C string, valid until the next call. */
static const char *file_text(const char *path)
{
	static char text[4096];
	struct buf b;

	test_read_file(path, &b);
	snprintf(text, sizeof(text), "%.*s", (int)b.len, b.ptr ? (const char *)b.ptr : "");
	buf_release(&b);
	return text;
}

/* Runs one to its end, and checks how that was. The texts must begin what it writes. */
static void check_end(const char *name, const char *const *arguments, int status, const char *out,
		      const char *err)
{
	struct child c;
	int got;

	child_start(&c, name, arguments);
	got = child_wait(&c);
	if (got != status)
		test_fail(__FILE__, __LINE__, "exit status %d, not %d: %s", got, status,
			  file_text(c.err));
	if (strncmp(file_text(c.out), out, strlen(out)) != 0)
		test_fail(__FILE__, __LINE__, "stdout is \"%s\", not \"%s\"", file_text(c.out),
			  out);
	if (strncmp(file_text(c.err), err, strlen(err)) != 0)
		test_fail(__FILE__, __LINE__, "stderr is \"%s\", not \"%s\"", file_text(c.err),
			  err);
}

/* The service manager's end of NOTIFY_SOCKET. */
static int notify_open(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval patience = {.tv_sec = PATIENCE};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", test_folder());
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	CHECK_INT(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	setenv("NOTIFY_SOCKET", address.sun_path, 1);
	return fd;
}

static void notify_close(int fd)
{
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

static void notify_expect(int fd, const char *want)
{
	char text[256] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

	/* Another line says how long it may take. */
	text[strcspn(text, "\n")] = '\0';
	CHECK(n > 0);
	CHECK_STR(text, want);
}

/* Folders and options of a stage that runs. */
struct place {
	char data[128], run[128], data_set[160], run_set[160];
};

static void place_init(struct place *p)
{
	const char *folder = test_folder();

	snprintf(p->data, sizeof(p->data), "%s/d/ata", folder);
	snprintf(p->run, sizeof(p->run), "%s/r/un", folder);
	snprintf(p->data_set, sizeof(p->data_set), "group.data_dir=%s", p->data);
	snprintf(p->run_set, sizeof(p->run_set), "group.run_dir=%s", p->run);
}

#define PLACE(p) "--set", (p).data_set, "--set", (p).run_set

TEST(arguments)
{
	static const struct {
		const char *name, *arguments[4];
		int status;
		const char *out, *err;
	} cases[] = {
		{"store", {"--version"}, 0, "standpipe-store " STAGE_VERSION "\n", ""},
		{"store",
		 {"--help"},
		 0,
		 "usage: standpipe-store [--config FILE] [--set section.key=value]... "
		 "[--check-config]\n",
		 ""},
		{"fanout",
		 {"--help"},
		 0,
		 "usage: standpipe-fanout [--config FILE] [--set section.key=value]... [--instance "
		 "N] ",
		 ""},
		{"store", {"x"}, 64, "", "usage: "},
		{"store", {"--sett"}, 64, "", "standpipe-test: "},
		{"store", {"--config"}, 64, "", "standpipe-test: "},
		{"store", {"--instance", "0"}, 64, "", "usage: "},
		{"fanout", {"--instance", "64"}, 64, "", "usage: "},
		{"fanout", {"--instance", "-1"}, 64, "", "usage: "},
		{"fanout", {"--instance", "1x"}, 64, "", "usage: "},
		{"fanout", {"--instance", ""}, 64, "", "usage: "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_end(cases[i].name, cases[i].arguments, cases[i].status, cases[i].out,
			  cases[i].err);
}

TEST(check_config)
{
	static const struct {
		const char *name, *arguments[8];
		int status;
		const char *out, *err;
	} cases[] = {
		{"store", {"--check-config"}, 0, "configuration ok\n", ""},
		{"store",
		 {"--check-config", "--set", "store.cache=1M"},
		 0,
		 "configuration ok\n",
		 ""},
		{"store",
		 {"--set", "store.cache=1M", "--check-config"},
		 0,
		 "configuration ok\n",
		 ""},
		{"fanout",
		 {"--check-config", "--instance", "1", "--set", "group.replicas=2"},
		 0,
		 "configuration ok\n",
		 ""},
		{"store",
		 {"--check-config", "--set", "store.cash=1M"},
		 78,
		 "",
		 "<3>configuration: store.cash: unknown key\n"},
		{"store",
		 {"--check-config", "--config", "/nonexistent/x"},
		 78,
		 "",
		 "<3>configuration: /nonexistent/x: No such file or directory\n"},
		{"store",
		 {"--check-config", "--set", "network.hosts_file=/nonexistent/x"},
		 78,
		 "",
		 "<3>configuration: network.hosts_file: /nonexistent/x: No such file or "
		 "directory\n"},
		{"store",
		 {"--check-config", "--set", "network.ca_file=/nonexistent/x"},
		 78,
		 "",
		 "<3>configuration: network.ca_file: /nonexistent/x: No such file or directory\n"},
		{"store",
		 {"--check-config", "--set", "network.plain_hosts=http://x"},
		 78,
		 "",
		 "<3>configuration: network.plain_hosts: \"http://x\" is no pattern of hosts\n"},
		{"validate",
		 {"--check-config", "--instance", "1"},
		 78,
		 "",
		 "<3>configuration: there is no instance 1 of validate: they are numbered from 0 "
		 "to 0\n"},
		{"fanout",
		 {"--check-config", "--instance", "1", "--set", "group.lanes=2"},
		 78,
		 "",
		 "<3>configuration: there is no instance 1 of fanout: they are numbered from 0 to "
		 "0\n"},
		{"fanout",
		 {"--check-config", "--instance", "1", "--set", "group.replicas=2", "--set",
		  "fanout.metrics_port=65535"},
		 78,
		 "",
		 "<3>configuration: fanout.metrics_port is too high for 2 instances\n"},
		{"store",
		 {"--set", "group.log_level=x"},
		 78,
		 "",
		 "<3>configuration: group.log_level: \"x\" is none of "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_end(cases[i].name, cases[i].arguments, cases[i].status, cases[i].out,
			  cases[i].err);
}

TEST(file_environment_arguments)
{
	char path[128];
	const char *const file_only[] = {"--check-config", "--config", path, NULL};
	const char *const with_set[] = {
		"--set", "store.cache=64M", "--check-config", "--config", path, NULL};
	FILE *f;

	snprintf(path, sizeof(path), "%s/x.conf", test_folder());
	f = fopen(path, "we");
	fputs("[group]\nlanes = 2\n", f);
	fclose(f);
	check_end("store", file_only, 0, "configuration ok\n", "");
	setenv("STANDPIPE_STORE_CACHE", "1", 1);
	check_end("store", file_only, 78, "",
		  "<3>configuration: STANDPIPE_STORE_CACHE: \"1\" is not within 64K to 64G\n");
	setenv("STANDPIPE_STORE_CACHE", "1M", 1);
	check_end("store", with_set, 0, "configuration ok\n", "");
	unsetenv("STANDPIPE_STORE_CACHE");
}

static unsigned mode_of(const char *folder, const char *name)
{
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	if (stat(path, &st) < 0)
		return 0;
	return (unsigned)st.st_mode & 07777;
}

TEST(life_of_a_stage)
{
	struct place p;
	struct child c;
	char want[512];
	int notify = notify_open();

	place_init(&p);
	{
		const char *const arguments[] = {PLACE(p), "--set", "store.metrics_port=0", NULL};

		child_start(&c, "store", arguments);
	}
	notify_expect(notify, "READY=1");
	CHECK_INT(mode_of(p.data, ""), 0770);
	CHECK_INT(mode_of(p.data, "store"), 0750);
	CHECK_INT(mode_of(p.run, ""), 0770);
	/* The group may connect, nobody else. */
	CHECK_INT(mode_of(p.run, "control-store") & 0066, 0060);
	kill(c.pid, SIGTERM);
	notify_expect(notify, "STOPPING=1");
	CHECK_INT(child_wait(&c), 0);
	snprintf(want, sizeof(want), "data %s/store descriptors all\n", p.data);
	CHECK_STR(file_text(c.out), want);
	CHECK_STR(file_text(c.err), "<6>ready\n<6>stopping\n");
	notify_close(notify);
}

static void start_and_stop(const struct place *p)
{
	const char *const arguments[] = {PLACE(*p), "--set", "store.metrics_port=0", NULL};
	struct child c;
	int notify = notify_open();

	child_start(&c, "store", arguments);
	notify_expect(notify, "READY=1");
	kill(c.pid, SIGTERM);
	CHECK_INT(child_wait(&c), 0);
	notify_close(notify);
}

/* Every stage can write to the folder of the sockets; none may write to another's files by it. */
TEST(starts_are_counted_in_a_plain_file_only)
{
	struct place p;
	char count[160], victim[160];
	FILE *f;

	place_init(&p);
	start_and_stop(&p);
	start_and_stop(&p);
	snprintf(count, sizeof(count), "%s/starts-store", p.run);
	CHECK_STR(file_text(count), "2\n");
	snprintf(victim, sizeof(victim), "%s/victim", p.data);
	f = fopen(victim, "we");
	fputs("precious\n", f);
	fclose(f);
	CHECK_INT(unlink(count), 0);
	CHECK_INT(symlink(victim, count), 0);
	start_and_stop(&p);
	CHECK_STR(file_text(victim), "precious\n");
	CHECK_INT(unlink(count), 0);
	CHECK_INT(link(victim, count), 0);
	start_and_stop(&p);
	CHECK_STR(file_text(victim), "precious\n");
	CHECK_INT(unlink(count), 0);
	CHECK_INT(mkfifo(count, 0600), 0);
	start_and_stop(&p);
}

TEST(log_level_is_set)
{
	struct place p;
	struct child c;
	int notify = notify_open();

	place_init(&p);
	{
		const char *const arguments[] = {PLACE(p),
						 "--set",
						 "store.metrics_port=0",
						 "--set",
						 "group.log_level=notice",
						 NULL};

		child_start(&c, "store", arguments);
	}
	notify_expect(notify, "READY=1");
	kill(c.pid, SIGINT);
	CHECK_INT(child_wait(&c), 0);
	CHECK_STR(file_text(c.err), "");
	notify_close(notify);
}

TEST(watchdog_is_fed)
{
	struct place p;
	struct child c;
	int notify = notify_open();

	place_init(&p);
	setenv("WATCHDOG_USEC", "20000", 1);
	{
		const char *const arguments[] = {PLACE(p), "--set", "store.metrics_port=0", NULL};

		child_start(&c, "store", arguments);
	}
	unsetenv("WATCHDOG_USEC");
	notify_expect(notify, "WATCHDOG=1");
	notify_expect(notify, "READY=1");
	for (unsigned i = 0; i < 3; i++)
		notify_expect(notify, "WATCHDOG=1");
	kill(c.pid, SIGKILL);
	CHECK_INT(child_wait(&c), -SIGKILL);
	notify_close(notify);
}

TEST(a_stage_that_does_not_stop_is_ended)
{
	struct place p;
	struct child c;
	int notify = notify_open();

	place_init(&p);
	setenv("TEST_STAGE_HANGS", "1", 1);
	{
		const char *const arguments[] = {PLACE(p), "--set", "store.metrics_port=0", NULL};

		child_start(&c, "store", arguments);
	}
	unsetenv("TEST_STAGE_HANGS");
	notify_expect(notify, "READY=1");
	kill(c.pid, SIGTERM);
	notify_expect(notify, "STOPPING=1");
	CHECK_INT(child_wait(&c), STAGE_EXIT_AGAIN);
	CHECK(strstr(file_text(c.err), "<3>the stage did not stop in time, and is ended\n") !=
	      NULL);
	notify_close(notify);
}

TEST(what_is_in_use_is_try_again)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), notify = notify_open();
	char port_set[64], want[512];
	struct place p;
	struct child c;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK_INT(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_INT(listen(fd, 1), 0);
	getsockname(fd, (struct sockaddr *)&address, &len);
	place_init(&p);
	snprintf(port_set, sizeof(port_set), "store.metrics_port=%u", ntohs(address.sin_port));
	snprintf(want, sizeof(want),
		 "<3>the metrics cannot be served on 127.0.0.1:%u: Address already in use\n",
		 ntohs(address.sin_port));
	{
		const char *const in_use[] = {PLACE(p), "--set", port_set, NULL};
		const char *const none[] = {PLACE(p), "--set", "store.metrics_port=0", NULL};

		check_end("store", in_use, STAGE_EXIT_AGAIN, "", want);
		child_start(&c, "store", none);
		notify_expect(notify, "READY=1");
		snprintf(want, sizeof(want),
			 "<3>the control pipe cannot be opened: ipc://%s/control-store: Address "
			 "already in use\n",
			 p.run);
		check_end("store", none, STAGE_EXIT_AGAIN, "", want);
	}
	kill(c.pid, SIGTERM);
	CHECK_INT(child_wait(&c), 0);
	notify_close(notify);
	close(fd);
}

/* Folders that cannot be made: a file is in their place. */
TEST(folders_that_cannot_be_made)
{
	struct place p, bad;
	char want[512];
	FILE *f;

	place_init(&p);
	place_init(&bad);
	snprintf(bad.data, sizeof(bad.data), "%s/file", test_folder());
	f = fopen(bad.data, "we");
	fclose(f);
	snprintf(bad.data_set, sizeof(bad.data_set), "group.data_dir=%s", bad.data);
	snprintf(bad.run_set, sizeof(bad.run_set), "group.run_dir=%s/x", bad.data);
	{
		const char *const data[] = {"--set", bad.data_set,           "--set", p.run_set,
					    "--set", "store.metrics_port=0", NULL};
		const char *const run[] = {"--set",     p.data_set, "--set",
					   bad.run_set, "--set",    "store.metrics_port=0",
					   NULL};

		snprintf(want, sizeof(want),
			 "<3>the data folder cannot be made: %s/store: Not a directory\n",
			 bad.data);
		check_end("store", data, STAGE_EXIT_AGAIN, "", want);
		snprintf(want, sizeof(want),
			 "<3>the folder of the sockets cannot be made: %s/x: Not a directory\n",
			 bad.data);
		check_end("store", run, STAGE_EXIT_AGAIN, "", want);
	}
}

/* The control pipe. */

struct control_reply {
	struct loop *loop;
	int error;
	struct buf text;
};

static void on_reply(void *arg, int error, struct span message)
{
	struct control_reply *r = arg;

	r->error = error;
	buf_append(&r->text, message);
	buf_put_u8(&r->text, '\0');
	loop_quit(r->loop, 0);
}

static void call_control(const char *run, const char *name, struct span message,
			 uint64_t timeout_usec, struct control_reply *ret)
{
	struct pipe *client = NULL;
	char url[256];

	*ret = (struct control_reply){.loop = loop_new()};
	buf_init(&ret->text, MIB(1));
	snprintf(url, sizeof(url), "ipc://%s/control-%s", run, name);
	CHECK_INT(pipe_dial_req(ret->loop, url, &client), 0);
	pipe_call(client, message, timeout_usec, on_reply, ret);
	loop_run(ret->loop);
	pipe_close(client);
	loop_free(ret->loop);
}

static void check_metrics(const char *run)
{
	static const char *const wanted[] = {
		"\nrelay_build_info{stage=\"validate\",instance=\"1\",version=\"" STAGE_VERSION
		"\",allocator=",
		"\nrelay_process_start_time_seconds{stage=\"validate\",instance=\"1\"} 1",
		"\nrelay_process_cpu_seconds_total{stage=\"validate\",instance=\"1\"} ",
		"\nrelay_process_open_fds{stage=\"validate\",instance=\"1\"} ",
		"\nrelay_process_rss_bytes{stage=\"validate\",instance=\"1\"} ",
	};
	const uint8_t question[] = {MESSAGE_VERSION, MESSAGE_METRICS};
	struct control_reply r;

	call_control(run, "validate-1", span_of(question, sizeof(question)), 10 * USEC_PER_SEC, &r);
	CHECK_INT(r.error, 0);
	CHECK(r.text.len > 2 && r.text.ptr[0] == MESSAGE_VERSION &&
	      r.text.ptr[1] == MESSAGE_METRICS_REPLY);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!strstr((const char *)r.text.ptr + 2, wanted[i]))
			test_fail(__FILE__, __LINE__, "no %s", wanted[i]);
	if (access("/usr/bin/promtool", X_OK) == 0) {
		FILE *promtool = popen("/usr/bin/promtool check metrics", "we");

		fwrite(r.text.ptr + 2, 1, r.text.len - 3, promtool);
		CHECK_INT(pclose(promtool), 0);
	}
	buf_release(&r.text);
}

TEST(control_pipe)
{
	const uint8_t other[] = {MESSAGE_VERSION, MESSAGE_XRPC},
		      more[] = {MESSAGE_VERSION, MESSAGE_METRICS, 0};
	struct control_reply r;
	struct place p;
	struct child c;
	int notify = notify_open();

	place_init(&p);
	{
		const char *const arguments[] = {PLACE(p),
						 "--set",
						 "validate.metrics_port=0",
						 "--set",
						 "group.lanes=2",
						 "--instance",
						 "1",
						 NULL};

		child_start(&c, "validate", arguments);
	}
	notify_expect(notify, "READY=1");
	check_metrics(p.run);
	call_control(p.run, "validate-1", span_of(other, sizeof(other)), 50 * USEC_PER_MSEC, &r);
	CHECK_INT(r.error, -ETIMEDOUT);
	buf_release(&r.text);
	call_control(p.run, "validate-1", span_of(more, sizeof(more)), 50 * USEC_PER_MSEC, &r);
	CHECK_INT(r.error, -ETIMEDOUT);
	buf_release(&r.text);
	check_metrics(p.run);
	kill(c.pid, SIGTERM);
	CHECK_INT(child_wait(&c), 0);
	notify_close(notify);
}

static void order_stop(const char *run, pid_t pid, bool done)
{
	struct control_reply r;
	struct buf question;

	buf_init(&question, 16);
	message_put_type(&question, MESSAGE_STOP);
	buf_put_u64(&question, (uint64_t)pid);
	call_control(run, "store", buf_span(&question), 10 * USEC_PER_SEC, &r);
	CHECK_INT(r.error, 0);
	CHECK(r.text.len > 3 && r.text.ptr[1] == MESSAGE_TOLD && r.text.ptr[2] == done);
	buf_release(&r.text);
	buf_release(&question);
}

/* An order that is sent again, because its answer was lost, reaches the successor: it stays. */
TEST(a_process_ends_by_an_order_that_names_it)
{
	struct place p;
	struct child c;
	int notify = notify_open();

	place_init(&p);
	{
		const char *const arguments[] = {PLACE(p), "--set", "store.metrics_port=0", NULL};

		child_start(&c, "store", arguments);
	}
	notify_expect(notify, "READY=1");
	order_stop(p.run, c.pid - 1, false);
	order_stop(p.run, c.pid, true);
	CHECK_INT(child_wait(&c), 0);
	notify_expect(notify, "STOPPING=1");
	notify_close(notify);
}

static void order_heap(const char *run, uint8_t order)
{
	const uint8_t question[] = {MESSAGE_VERSION, MESSAGE_HEAP, order};
	struct control_reply r;

	call_control(run, "store", span_of(question, sizeof(question)), 10 * USEC_PER_SEC, &r);
	CHECK_INT(r.error, 0);
	CHECK(r.text.len > 3 && r.text.ptr[1] == MESSAGE_TOLD && r.text.ptr[2] == true);
	buf_release(&r.text);
}

/* The tiny stage leaves a block behind when it is asked to. That somebody profiles its heap
 * meanwhile does not hide it. */
TEST(what_was_never_freed_is_told)
{
	struct heap *heap = heap_new();
	struct place p;
	struct child c;
	int notify;

	if (heap_start(heap) == -ENOTSUP) {
		heap_free(heap);
		SKIP("this build's allocator takes no profiles");
	}
	heap_free(heap);
	notify = notify_open();
	place_init(&p);
	setenv("TEST_STAGE_LEAKS", "1", 1);
	{
		const char *const arguments[] = {PLACE(p),
						 "--set",
						 "store.metrics_port=0",
						 "--set",
						 "group.leak_report=true",
						 NULL};

		child_start(&c, "store", arguments);
	}
	unsetenv("TEST_STAGE_LEAKS");
	notify_expect(notify, "READY=1");
	for (uint8_t order = HEAP_START; order <= HEAP_STOP; order++)
		order_heap(p.run, order);
	order_heap(p.run, HEAP_MARK);
	kill(c.pid, SIGTERM);
	CHECK_INT(child_wait(&c), 0);
	CHECK(strstr(file_text(c.err), " by=leave_a_block_behind < "));
	CHECK(strstr(file_text(c.err), "never freed, in all: bytes="));
	notify_close(notify);
}

TEST(lanes)
{
	unsigned counts[4] = {0};
	char did[64];

	for (unsigned i = 0; i < 4000; i++) {
		unsigned lane;

		snprintf(did, sizeof(did), "did:plc:%024u", i);
		lane = stage_lane_of(span_str(did), 4);
		CHECK(lane < 4);
		CHECK_INT(lane, stage_lane_of(span_str(did), 4));
		CHECK_INT(stage_lane_of(span_str(did), 1), 0);
		counts[lane % 4]++;
	}
	for (unsigned i = 0; i < 4; i++)
		CHECK(counts[i] > 800 && counts[i] < 1200);
}
