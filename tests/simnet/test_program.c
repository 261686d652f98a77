/* The program simnet, as its user meets it: each command from its start to Ctrl-C. */
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

#define MARK "TEST_PROGRAM_MARK"

struct program {
	struct loop *loop;
	struct loop_io output;
	struct buf text;
	char mark[64]; /* in the environment of every process of it */
	pid_t pid;
	int status;
};

static void take_output(void *arg, uint32_t events)
{
	struct program *p = arg;
	uint8_t block[4096];
	ssize_t n = read(p->output.fd, block, sizeof(block));

	(void)events;
	if (n > 0) {
		buf_append(&p->text, span_of(block, (size_t)n));
		return;
	}
	int fd = p->output.fd;

	loop_io_remove(p->loop, &p->output);
	close(fd);
}

/* As from a terminal: in a process group that gets the signals of its keys. */
static _Noreturn void become_program(const struct program *p, int output, char *const *args)
{
	char program[PATH_MAX];
	sigset_t none;

	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(program, sizeof(program), "%s/tests/simnet/simnet", test_programs());
	setenv(MARK, p->mark, 1);
	dup2(output, STDOUT_FILENO);
	execv(program, args);
	_exit(127);
}

/* args: with the program's name before them, and NULL behind. */
static void program_start(struct program *p, char *const *args)
{
	int ends[2];

	*p = (struct program){.loop = loop_new(), .status = -1};
	snprintf(p->mark, sizeof(p->mark), "%jx", (uintmax_t)test_random());
	buf_init(&p->text, MIB(16));
	loop_io_init(&p->output, take_output, p);
	if (pipe2(ends, O_CLOEXEC) < 0)
		abort();
	p->pid = fork();
	if (p->pid == 0)
		become_program(p, ends[1], args);
	setpgid(p->pid, p->pid);
	close(ends[1]);
	loop_io_add(p->loop, &p->output, ends[0], EPOLLIN);
}

static bool has_ended(void *arg)
{
	struct program *p = arg;

	if (p->pid && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
		p->pid = 0;
	return p->pid == 0 && p->output.fd < 0;
}

static bool says(const struct program *p, const char *text)
{
	return test_contains(buf_span(&p->text), text);
}

static bool has_shown(void *arg)
{
	struct program *p = arg;

	return (says(p, "  #commit    did:plc:") && says(p, "  #identity  did:plc:") &&
		says(p, "  #account   did:plc:") && says(p, "create app.bsky.feed.like/") &&
		says(p, "\n      50  #")) ||
	       has_ended(p);
}

/* Processes with the mark in their environment. */
static unsigned count_left(const struct program *p)
{
	char path[300], want[128];
	DIR *all = opendir("/proc");
	struct dirent *entry;
	unsigned count = 0;

	snprintf(want, sizeof(want), MARK "=%s", p->mark);
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

static void program_stop(struct program *p)
{
	if (!wait_until(p->loop, has_ended, p, "the program ends") && p->pid) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, &p->status, 0);
	}
	CHECK_INT(p->status, 0);
	CHECK_INT(count_left(p), 0);
	if (test_has_failed())
		printf("# it said: %.*s\n", (int)p->text.len, (const char *)p->text.ptr);
	buf_release(&p->text);
	loop_free(p->loop);
}

#define PROGRAM(...)                                                                               \
	(char *const[])                                                                            \
	{                                                                                          \
		(char[]){"simnet"}, __VA_ARGS__, NULL                                              \
	}

static void press_ctrl_c(const struct program *p)
{
	CHECK(p->pid > 0);
	if (p->pid > 0)
		kill(-p->pid, SIGINT);
}

TEST(the_demonstration_shows_events_until_ctrl_c)
{
	struct program p;

	program_start(&p, PROGRAM((char[]){"demo"}, (char[]){"rate=200"}));
	wait_until(p.loop, has_shown, &p, "events are shown");
	/* The network with its reader, standpipe, and five stages. */
	CHECK_INT(count_left(&p), 7);
	press_ctrl_c(&p);
	program_stop(&p);
}

static bool has_relay(void *arg)
{
	return count_left(arg) > 1;
}

TEST(ctrl_c_while_the_demonstration_starts)
{
	struct program p;

	program_start(&p, PROGRAM((char[]){"demo"}));
	wait_until(p.loop, has_relay, &p, "the relay is started");
	CHECK(!says(&p, "#commit"));
	press_ctrl_c(&p);
	program_stop(&p);
}

static bool is_ready(void *arg)
{
	return says(arg, "\nready\n") || has_ended(arg);
}

static bool has_event(void *arg)
{
	return says(arg, "  #commit    did:plc:") || has_ended(arg);
}

static bool has_counts(void *arg)
{
	return says(arg, " events/s, ") || has_ended(arg);
}

static void read_from(uint16_t port, char *counts, bool (*has_read)(void *arg))
{
	struct program p;
	char address[32];

	snprintf(address, sizeof(address), "127.77.0.1:%u/0", port);
	program_start(&p, PROGRAM((char[]){"read"}, address, counts));
	wait_until(p.loop, has_read, &p, "something is read");
	press_ctrl_c(&p);
	program_stop(&p);
}

TEST(what_is_served_can_be_read)
{
	uint16_t port = free_port();
	char folder[PATH_MAX], number[32];
	struct program p;

	snprintf(folder, sizeof(folder), "%s/network", test_folder());
	snprintf(number, sizeof(number), "port=%u", port);
	program_start(&p, PROGRAM((char[]){"serve"}, folder, number, (char[]){"rate=1000"},
				  (char[]){"plain=1"}, (char[]){"hosts=3"}, (char[]){"accounts=50"},
				  (char[]){"events=500"}));
	wait_until(p.loop, is_ready, &p, "it serves");
	CHECK(says(&p, "network.plain_hosts=*.sim.test\n"));
	CHECK(says(&p, "ingest.bootstrap=http://h00000.sim.test:"));
	/* The reader has a loop of its own: what is served goes on in the other process. */
	read_from(port, NULL, has_event);
	read_from(port, (char[]){"counts"}, has_counts);
	press_ctrl_c(&p);
	program_stop(&p);
}
