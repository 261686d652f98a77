/* The demonstration, from its start to Ctrl-C. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/wait.h"
#include "tests/test.h"

#define MARK "TEST_DEMO_MARK"

struct demo {
	struct loop *loop;
	struct loop_io output;
	struct buf text;
	char mark[64]; /* in the environment of every process of it */
	pid_t pid;
	int status;
};

static void take_output(void *arg, uint32_t events)
{
	struct demo *d = arg;
	uint8_t block[4096];
	ssize_t n = read(d->output.fd, block, sizeof(block));

	(void)events;
	if (n > 0) {
		buf_append(&d->text, span_of(block, (size_t)n));
		return;
	}
	int fd = d->output.fd;

	loop_io_remove(d->loop, &d->output);
	close(fd);
}

/* As from a terminal: in a process group that gets the signals of its keys. */
static _Noreturn void become_demo(const struct demo *d, int output)
{
	char program[PATH_MAX];
	const char *build = getenv("STANDPIPE_BUILD");
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(program, sizeof(program), "%s/tests/simnet/simnet", build ? build : "build");
	setenv(MARK, d->mark, 1);
	dup2(output, STDOUT_FILENO);
	execl(program, program, "demo", "rate=200", (char *)NULL);
	_exit(127);
}

static void demo_start(struct demo *d)
{
	int ends[2];

	*d = (struct demo){.loop = loop_new(), .status = -1};
	snprintf(d->mark, sizeof(d->mark), "%jx", (uintmax_t)test_random());
	buf_init(&d->text, MIB(16));
	loop_io_init(&d->output, take_output, d);
	if (pipe2(ends, O_CLOEXEC) < 0)
		abort();
	d->pid = fork();
	if (d->pid == 0)
		become_demo(d, ends[1]);
	setpgid(d->pid, d->pid);
	close(ends[1]);
	loop_io_add(d->loop, &d->output, ends[0], EPOLLIN);
}

static bool has_ended(void *arg)
{
	struct demo *d = arg;

	if (d->pid && waitpid(d->pid, &d->status, WNOHANG) == d->pid)
		d->pid = 0;
	return d->pid == 0 && d->output.fd < 0;
}

static bool says(const struct demo *d, const char *text)
{
	return test_contains(buf_span(&d->text), text);
}

static bool has_shown(void *arg)
{
	struct demo *d = arg;

	return (says(d, "  #commit    did:plc:") && says(d, "  #identity  did:plc:") &&
		says(d, "  #account   did:plc:") && says(d, "create app.bsky.feed.like/") &&
		says(d, "\n      50  #")) ||
	       has_ended(d);
}

/* Processes with the mark in their environment. */
static unsigned count_left(const struct demo *d)
{
	char path[300], want[128];
	DIR *all = opendir("/proc");
	struct dirent *entry;
	unsigned count = 0;

	snprintf(want, sizeof(want), MARK "=%s", d->mark);
	while (all && (entry = readdir(all))) {
		struct buf text;

		snprintf(path, sizeof(path), "/proc/%s/environ", entry->d_name);
		if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || access(path, R_OK) < 0)
			continue;
		buf_init(&text, MIB(1));
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		uint8_t block[4096];
		ssize_t n;

		while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
			buf_append(&text, span_of(block, (size_t)n));
		if (fd >= 0)
			close(fd);
		count += test_contains(buf_span(&text), want);
		buf_release(&text);
	}
	if (all)
		closedir(all);
	return count;
}

static void demo_stop(struct demo *d)
{
	if (!wait_until(d->loop, has_ended, d, "the demonstration ends") && d->pid) {
		kill(d->pid, SIGKILL);
		waitpid(d->pid, &d->status, 0);
	}
	CHECK_INT(d->status, 0);
	CHECK_INT(count_left(d), 0);
	if (test_has_failed())
		printf("# it said: %.*s\n", (int)d->text.len, (const char *)d->text.ptr);
	buf_release(&d->text);
	loop_free(d->loop);
}

TEST(events_are_shown_until_ctrl_c)
{
	struct demo d;

	demo_start(&d);
	wait_until(d.loop, has_shown, &d, "events are shown");
	/* The network with its reader, standpipe, and five stages. */
	CHECK_INT(count_left(&d), 7);
	CHECK(d.pid > 0);
	if (d.pid > 0)
		kill(-d.pid, SIGINT);
	demo_stop(&d);
}

static bool has_relay(void *arg)
{
	return count_left(arg) > 1;
}

TEST(ctrl_c_while_it_starts)
{
	struct demo d;

	demo_start(&d);
	wait_until(d.loop, has_relay, &d, "the relay is started");
	CHECK(!says(&d, "#commit"));
	if (d.pid > 0)
		kill(-d.pid, SIGINT);
	demo_stop(&d);
}
