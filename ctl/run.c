#include "ctl/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop.h"
#include "common/stage.h"
#include "ctl/programs.h"

#define DELAY_MIN_USEC (100 * USEC_PER_MSEC)
#define DELAY_MAX_USEC (5 * USEC_PER_SEC)
#define OLD_AGE_USEC                                                                               \
	(10 *                                                                                      \
	 USEC_PER_SEC) /* a child that lived this long is started again at once               \
			     */
#define KILL_USEC                                                                                  \
	(STAGE_STOP_USEC + 2 * USEC_PER_SEC) /* for a stage that does not say how long it takes */
#define LINE_MAX_BYTES 4096                  /* longer lines are cut in two */
#define STOP_ORDER     5

struct run;

struct child {
	struct run *run;
	const struct member *member;
	pid_t pid; /* 0: not running */
	bool ready;
	bool stopping;
	uint64_t started_usec;
	uint64_t delay_usec; /* before it is started again */
	uint64_t stop_usec;  /* in which it stops, as it says itself */
	struct loop_io exited;
	struct loop_io output;
	struct loop_timer timer; /* starts it again, or kills it */
	struct buf line;
};

struct run {
	struct loop *loop;
	const struct config *config;
	char *const *arguments;
	char directory[PROGRAMS_DIR_SIZE]; /* of the stages' programs */
	char notify_path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	struct loop_io notify;
	size_t count;
	struct child children[GROUP_MAX];
	bool announced;
	bool stopping;
	int status;
};

static void say(const char *format, ...) PRINTF(1, 2);

static void say(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "%-10s | %s\n", "standpipe", line);
}

/* The level mark of a log line is for the journal; people read the name instead. */
static void pass_on_line(const struct child *c, struct span line)
{
	if (line.len > 3 && line.ptr[0] == '<' && line.ptr[2] == '>')
		line = span_of(line.ptr + 3, line.len - 3);
	fprintf(stderr, "%-10s | %.*s\n", c->member->name, (int)line.len, (const char *)line.ptr);
}

static void pass_on_lines(struct child *c, bool all)
{
	for (;;) {
		struct span text = buf_span(&c->line);
		const uint8_t *end = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
		size_t len = end ? (size_t)(end - text.ptr) : text.len;

		if (!end && len < LINE_MAX_BYTES && !(all && len > 0))
			return;
		pass_on_line(c, span_of(text.ptr, len));
		buf_consume(&c->line, len + (end ? 1 : 0));
	}
}

static void close_output(struct child *c)
{
	int fd = c->output.fd;

	if (fd < 0)
		return;
	pass_on_lines(c, true);
	loop_io_remove(c->run->loop, &c->output);
	close(fd);
}

static void output_ready(void *arg, uint32_t events)
{
	struct child *c = arg;
	uint8_t block[LINE_MAX_BYTES];
	ssize_t n = read(c->output.fd, block, sizeof(block));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		close_output(c);
		return;
	}
	buf_append(&c->line, span_of(block, (size_t)n));
	pass_on_lines(c, false);
}

/* In the child: never returns. */
static _Noreturn void become_stage(const struct child *c, int output, pid_t parent)
{
	static char instance_option[] = "--instance";
	char program[PROGRAMS_DIR_SIZE + 32], instance[16];
	char *args[128];
	size_t n = 0;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(STAGE_EXIT_AGAIN);
	setpgid(0, 0); /* Ctrl-C is for the parent, which stops us in order */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	setenv("NOTIFY_SOCKET", c->run->notify_path, 1);
	unsetenv("WATCHDOG_USEC");
	snprintf(program, sizeof(program), "%s/standpipe-%s", c->run->directory, c->member->stage);
	args[n++] = program;
	if (c->member->has_instance) {
		snprintf(instance, sizeof(instance), "%u", c->member->instance);
		args[n++] = instance_option;
		args[n++] = instance;
	}
	for (size_t i = 0; c->run->arguments[i] && n + 1 < ARRAY_SIZE(args); i++)
		args[n++] = c->run->arguments[i];
	args[n] = NULL;
	execv(program, args);
	fprintf(stderr, "%s: %s\n", program, strerror(errno));
	_exit(STAGE_EXIT_USAGE);
}

static void start_child(struct child *c);

static void restart_later(struct child *c)
{
	uint64_t lived = loop_now_usec(c->run->loop) - c->started_usec, next;

	if (lived >= OLD_AGE_USEC)
		c->delay_usec = 0;
	loop_timer_set(c->run->loop, &c->timer, c->delay_usec);
	next = c->delay_usec > 0 ? 2 * c->delay_usec : DELAY_MIN_USEC;
	c->delay_usec = next < DELAY_MAX_USEC ? next : DELAY_MAX_USEC;
}

/* Stages by the flow of events: each gets to finish what the one before it sent. fanout is last, so
 * that consumers get the end. */
static const char *const stop_order[STOP_ORDER] = {"ingest", "validate", "resolve", "store",
						   "fanout"};

/* Stops the first stages in that order that still run; comes again whenever a child has ended. */
static void stop_next(struct run *r)
{
	for (size_t s = 0; s < STOP_ORDER; s++) {
		bool running = false;

		for (size_t i = 0; i < r->count; i++) {
			struct child *c = &r->children[i];

			if (c->pid == 0 || strcmp(c->member->stage, stop_order[s]) != 0)
				continue;
			running = true;
			if (!c->stopping) {
				c->stopping = true;
				kill(c->pid, SIGTERM);
				loop_timer_set(r->loop, &c->timer, c->stop_usec);
			}
		}
		if (running)
			return;
	}
	loop_quit(r->loop, r->status);
}

static void stop_group(struct run *r, int status)
{
	if (r->stopping)
		return;
	r->stopping = true;
	r->status = status;
	for (size_t i = 0; i < r->count; i++)
		loop_timer_cancel(r->loop, &r->children[i].timer);
	stop_next(r);
}

static void describe_end(const struct child *c, int status)
{
	if (WIFSIGNALED(status))
		say("%s (pid %d) was killed by signal %d", c->member->name, (int)c->pid,
		    WTERMSIG(status));
	else if (!c->stopping || WEXITSTATUS(status) != 0)
		say("%s (pid %d) ended with status %d", c->member->name, (int)c->pid,
		    WEXITSTATUS(status));
}

static void child_exited(void *arg, uint32_t events)
{
	struct child *c = arg;
	int fd = c->exited.fd, status;

	(void)events;
	if (waitpid(c->pid, &status, WNOHANG) != c->pid)
		return;
	loop_io_remove(c->run->loop, &c->exited);
	close(fd);
	loop_timer_cancel(c->run->loop, &c->timer);
	describe_end(c, status);
	c->pid = 0;
	c->ready = false;
	if (c->run->stopping) {
		stop_next(c->run);
	} else if (WIFEXITED(status) && (WEXITSTATUS(status) == STAGE_EXIT_USAGE ||
					 WEXITSTATUS(status) == STAGE_EXIT_CONFIG)) {
		say("%s cannot run with these settings; stopping", c->member->name);
		stop_group(c->run, WEXITSTATUS(status));
	} else {
		/* It was asked to end, or ends to be started again. */
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			c->delay_usec = DELAY_MIN_USEC;
		restart_later(c);
	}
}

static void timer_fired(void *arg)
{
	struct child *c = arg;

	if (!c->stopping) {
		start_child(c);
	} else if (c->pid) {
		say("%s (pid %d) does not stop; killing it", c->member->name, (int)c->pid);
		kill(c->pid, SIGKILL);
	}
}

static void start_child(struct child *c)
{
	int output[2], pidfd;
	pid_t parent = getpid();

	close_output(c);
	if (pipe2(output, O_CLOEXEC) < 0) {
		say("cannot start %s: %s", c->member->name, strerror(errno));
		restart_later(c);
		return;
	}
	fcntl(output[0], F_SETFL, O_NONBLOCK);
	c->started_usec = loop_now_usec(c->run->loop);
	c->stop_usec = KILL_USEC;
	c->pid = fork();
	if (c->pid == 0)
		become_stage(c, output[1], parent);
	close(output[1]);
	pidfd = c->pid > 0 ? (int)syscall(SYS_pidfd_open, c->pid, 0) : -1;
	if (pidfd < 0) {
		say("cannot start %s: %s", c->member->name, strerror(errno));
		if (c->pid > 0) {
			kill(c->pid, SIGKILL);
			waitpid(c->pid, NULL, 0);
		}
		c->pid = 0;
		close(output[0]);
		restart_later(c);
		return;
	}
	fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	loop_io_add(c->run->loop, &c->output, output[0], EPOLLIN);
	loop_io_add(c->run->loop, &c->exited, pidfd, EPOLLIN);
}

static void announce(struct run *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (!r->children[i].ready)
			return;
	if (!r->announced)
		say("ready on http://localhost:%" PRIu64, config_number(r->config, "fanout.port"));
	r->announced = true;
}

static void take_notice(struct child *c, const char *text)
{
	const char *limit = strstr(text, "EXTEND_TIMEOUT_USEC=");
	uint64_t usec;

	if (strstr(text, "READY=1"))
		c->ready = true;
	if (!limit || sscanf(limit, "EXTEND_TIMEOUT_USEC=%" SCNu64, &usec) != 1)
		return;
	c->stop_usec = usec;
	if (c->stopping)
		loop_timer_set(c->run->loop, &c->timer, usec);
}

/* sd_notify messages of the children: that one is ready, and how long it takes to stop. */
static void notified(void *arg, uint32_t events)
{
	struct run *r = arg;
	char text[1024], control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(r->notify.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	struct ucred sender;

	(void)events;
	if (!head || head->cmsg_type != SCM_CREDENTIALS)
		return;
	memcpy(&sender, CMSG_DATA(head), sizeof(sender));
	text[n] = '\0';
	for (size_t i = 0; i < r->count; i++)
		if (r->children[i].pid == sender.pid)
			take_notice(&r->children[i], text);
	announce(r);
}

static int open_notify(struct run *r)
{
	const char *directory = config_text(r->config, "group.run_dir");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd, on = 1;

	(void)mkdir(directory, 0750);
	if (snprintf(r->notify_path, sizeof(r->notify_path), "%s/notify", directory) >=
	    (int)sizeof(r->notify_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, r->notify_path, sizeof(r->notify_path));
	unlink(r->notify_path);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	loop_io_init(&r->notify, notified, r);
	loop_io_add(r->loop, &r->notify, fd, EPOLLIN);
	return 0;
}

static void stop_asked(void *arg)
{
	say("stopping");
	stop_group(arg, 0);
}

/* The stages count their starts from here on. */
static void forget_starts(const struct run *r, const struct member *m)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/starts-%s", config_text(r->config, "group.run_dir"),
		 m->name);
	(void)unlink(path);
}

static void init_children(struct run *r, const struct group *g)
{
	r->count = g->count;
	for (size_t i = 0; i < g->count; i++) {
		struct child *c = &r->children[i];

		c->run = r;
		c->member = &g->members[i];
		forget_starts(r, c->member);
		c->delay_usec = DELAY_MIN_USEC;
		loop_io_init(&c->exited, child_exited, c);
		loop_io_init(&c->output, output_ready, c);
		loop_timer_init(&c->timer, timer_fired, c);
		buf_init(&c->line, 3 * LINE_MAX_BYTES);
	}
}

int run_group(const struct group *g, const struct config *config, char *const *arguments)
{
	struct run *r = xcalloc(1, sizeof(*r));
	int error, status = STAGE_EXIT_AGAIN;

	r->loop = loop_new();
	r->config = config;
	r->arguments = arguments;
	error = programs_find(r->directory);
	if (error) {
		say("cannot find the stages' programs: %s", strerror(-error));
		goto out;
	}
	error = open_notify(r);
	if (error) {
		say("cannot make %s/notify: %s", config_text(config, "group.run_dir"),
		    strerror(-error));
		goto out;
	}
	init_children(r, g);
	loop_on_stop(r->loop, stop_asked, r);
	for (size_t i = 0; i < r->count; i++)
		start_child(&r->children[i]);
	status = loop_run(r->loop);
	for (size_t i = 0; i < r->count; i++) {
		close_output(&r->children[i]);
		buf_release(&r->children[i].line);
	}
	close(r->notify.fd);
	unlink(r->notify_path);
out:
	loop_free(r->loop);
	free(r);
	return status;
}
