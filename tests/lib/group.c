#include "tests/lib/group.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "common/stage.h"
#include "ctl/exposition.h"
#include "tests/lib/wait.h"
#include "tests/test.h"

#define SETTINGS_MAX    64
#define ENVIRONMENT_MAX 8
#define FRAMES_MAX      MIB(1024)
/* Below those that the system gives to clients: one of them would have the port of a stage that is
 * away for a moment. */
#define PORT_FIRST      20000
#define PORT_COUNT      12000

static const struct {
	const char *name;
	const char *count; /* the key that says how many there are; NULL: one, without a number */
} stages[] = {
	{"ingest", NULL},
	{"resolve", NULL},
	{"store", NULL},
	{"validate", "group.lanes="},
	{"fanout", "group.replicas="},
};

struct member {
	char name[24];
	char program[32]; /* as the system shows it: argv[0] without its folder */
	unsigned instance;
	bool has_instance;
	uint16_t metrics_port;
	unsigned kills, terms; /* that the test sent to it, of this run of the group */
};

struct group_test {
	struct loop *loop;
	pid_t pid;
	char program[PATH_MAX];
	char data[PATH_MAX];
	const char *log;
	uint16_t port;
	uint16_t next_port; /* none of this or above is taken yet */
	struct member members[GROUP_TEST_MEMBERS_MAX];
	size_t member_count;
	char *settings[SETTINGS_MAX + 1]; /* NULL at the end */
	size_t setting_count;
	char *environment[ENVIRONMENT_MAX][2];
	size_t environment_count;
	bool may_fail; /* members, with STAGE_EXIT_AGAIN */
};

static struct member *find_member(struct group_test *g, const char *name)
{
	for (size_t i = 0; i < g->member_count; i++)
		if (strcmp(g->members[i].name, name) == 0)
			return &g->members[i];
	return NULL;
}

/* One HTTP request with the loop going on meanwhile: a stage may need the test's own fakes for its
 * answer. */
struct transfer {
	CURLM *multi;
	int running;
};

static bool transfer_is_done(void *arg)
{
	struct transfer *t = arg;

	curl_multi_perform(t->multi, &t->running);
	return t->running == 0;
}

static size_t take(char *data, size_t size, size_t count, void *arg)
{
	buf_append(arg, span_of(data, size * count));
	return size * count;
}

static int request(struct group_test *g, const char *url, const char *json, struct buf *body)
{
	struct transfer t = {curl_multi_init(), 0};
	CURL *easy = curl_easy_init();
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	long status = -1;

	buf_clear(body);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, body);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
	if (json) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, json);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	}
	curl_multi_add_handle(t.multi, easy);
	wait_until(g->loop, transfer_is_done, &t, url);
	curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
	curl_multi_remove_handle(t.multi, easy);
	curl_easy_cleanup(easy);
	curl_multi_cleanup(t.multi);
	curl_slist_free_all(headers);
	return status > 0 ? (int)status : -1;
}

int group_get(struct group_test *g, const char *path, struct buf *body)
{
	char url[4096];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", g->port, path);
	return request(g, url, NULL, body);
}

int group_post(struct group_test *g, const char *path, const char *json, struct buf *body)
{
	char url[4096];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", g->port, path);
	return request(g, url, json, body);
}

/* Appends the lines of an exposition that contain labels. */
static void keep_lines(struct span text, const char *labels, struct buf *kept)
{
	size_t start = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] != '\n')
			continue;
		if (memmem(text.ptr + start, i - start, labels, strlen(labels)))
			buf_append(kept, span_of(text.ptr + start, i + 1 - start));
		start = i + 1;
	}
}

void group_metrics(struct group_test *g, const char *member, struct buf *ret)
{
	const struct member *m = find_member(g, member);
	char url[64];

	buf_clear(ret);
	if (!m) {
		test_fail(__FILE__, __LINE__, "there is no %s", member);
		return;
	}
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/metrics", m->metrics_port);
	if (request(g, url, NULL, ret) != 200)
		buf_clear(ret);
}

int64_t group_metric_in(struct span metrics, const char *name, const char *labels)
{
	double sum = -1;
	struct buf kept;

	buf_init(&kept, LIMIT_MESSAGE);
	keep_lines(metrics, labels, &kept);
	if (exposition_sum(buf_span(&kept), name, &sum) != 0)
		sum = -1;
	buf_release(&kept);
	return (int64_t)sum;
}

int64_t group_metric(struct group_test *g, const char *member, const char *name, const char *labels)
{
	struct buf text;
	int64_t sum;

	buf_init(&text, LIMIT_MESSAGE);
	group_metrics(g, member, &text);
	sum = group_metric_in(buf_span(&text), name, labels);
	buf_release(&text);
	return sum;
}

/* A loop of short waits, each ended by its own request: what is asked through the loop cannot be
 * asked from inside a condition. */
bool group_wait_metric(struct group_test *g, const char *member, const char *name,
		       const char *labels, int64_t wanted)
{
	uint64_t until = loop_now_usec(g->loop) + 2 * WAIT_USEC;
	int64_t got;

	while ((got = group_metric(g, member, name, labels)) < wanted) {
		if (loop_now_usec(g->loop) > until) {
			test_fail(__FILE__, __LINE__, "%s{%s} of %s is %" PRId64 ", not %" PRId64,
				  name, labels, member, got, wanted);
			return false;
		}
	}
	return true;
}

static void set(struct group_test *g, const char *format, ...) PRINTF(2, 3);

static void set(struct group_test *g, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (g->setting_count == SETTINGS_MAX ||
	    vasprintf(&g->settings[g->setting_count], format, args) < 0)
		abort();
	va_end(args);
	g->setting_count++;
}

/* How many of a stage the settings ask for. */
static unsigned count_of(const char *const *settings, const char *key)
{
	unsigned count = 1;

	for (; key && *settings; settings++)
		if (strncmp(*settings, key, strlen(key)) == 0 &&
		    sscanf(*settings + strlen(key), "%u", &count) != 1)
			abort();
	return count;
}

/* Instance N has the port N above that of instance 0, so it takes some in a row that are free;
 * above those that the group has taken before. */
static uint16_t free_ports(struct group_test *g, unsigned count)
{
	unsigned found = 0;

	while (found < count)
		found = port_is_free(g->next_port++) ? found + 1 : 0;
	return (uint16_t)(g->next_port - count);
}

/* Not by test_random: who repeats a seed shall not meet whoever else does. */
static uint16_t draw_port(void)
{
	uint32_t random = 0;

	(void)!getrandom(&random, sizeof(random), 0);
	return (uint16_t)(PORT_FIRST + random % PORT_COUNT);
}

static void add_members(struct group_test *g, const char *const *settings)
{
	for (size_t s = 0; s < ARRAY_SIZE(stages); s++) {
		unsigned count = count_of(settings, stages[s].count);
		uint16_t port = free_ports(g, count);

		set(g, "%s.metrics_port=%u", stages[s].name, port);
		for (unsigned i = 0; i < count; i++) {
			struct member *m = &g->members[g->member_count++];

			if (g->member_count > GROUP_TEST_MEMBERS_MAX)
				abort();
			m->instance = i;
			m->has_instance = stages[s].count != NULL;
			m->metrics_port = (uint16_t)(port + i);
			snprintf(m->program, sizeof(m->program), "standpipe-%s", stages[s].name);
			if (m->has_instance)
				snprintf(m->name, sizeof(m->name), "%s-%u", stages[s].name, i);
			else
				snprintf(m->name, sizeof(m->name), "%s", stages[s].name);
		}
	}
}

struct group_test *group_new(struct loop *l, const char *const *settings)
{
	struct group_test *g = xcalloc(1, sizeof(*g));

	g->loop = l;
	snprintf(g->program, sizeof(g->program), "%s/standpipe", test_programs());
	g->log = xstrdup(test_folder());
	g->next_port = draw_port();
	g->port = free_ports(g, count_of(settings, "group.replicas="));
	snprintf(g->data, sizeof(g->data), "%s/data", g->log);
	set(g, "group.data_dir=%s", g->data);
	set(g, "group.run_dir=%s/run", g->log);
	set(g, "fanout.port=%u", g->port);
	set(g, "fanout.address=127.0.0.1");
	set(g, "network.plain_hosts=localhost:*");
	set(g, "ingest.backfill=true");
	set(g, "ingest.backoff_min=20ms");
	set(g, "ingest.backoff_max=100ms");
	add_members(g, settings);
	for (; *settings; settings++)
		set(g, "%s", *settings);
	return g;
}

void group_set_environment(struct group_test *g, const char *name, const char *value)
{
	if (g->environment_count == ENVIRONMENT_MAX)
		abort();
	g->environment[g->environment_count][0] = xstrdup(name);
	g->environment[g->environment_count++][1] = xstrdup(value);
}

static bool is_ready(void *arg)
{
	struct group_test *g = arg;
	char path[PATH_MAX];
	struct buf text;
	bool found;

	if (waitpid(g->pid, NULL, WNOHANG) != 0) {
		g->pid = 0;
		test_fail(__FILE__, __LINE__, "the group ended at its start");
		return true;
	}
	snprintf(path, sizeof(path), "%s/log", g->log);
	test_read_file(path, &text);
	found = test_contains(buf_span(&text), "ready on");
	buf_release(&text);
	return found;
}

/* fanout answers 503 until it has heard from store. */
static void wait_healthy(struct group_test *g)
{
	uint64_t until_usec = loop_now_usec(g->loop) + WAIT_USEC;
	struct buf body;

	buf_init(&body, KIB(64));
	while (group_get(g, "/_health", &body) != 200) {
		if (loop_now_usec(g->loop) > until_usec) {
			test_fail(__FILE__, __LINE__, "waited too long: the group is healthy");
			break;
		}
	}
	buf_release(&body);
}

/* `standpipe COMMAND` in a child, with its lines in the log. */
static pid_t start_command(struct group_test *g, const char *command)
{
	char path[PATH_MAX];
	char *args[2 * SETTINGS_MAX + 4];
	size_t n = 0;
	pid_t pid;
	int fd;

	snprintf(path, sizeof(path), "%s/log", g->log);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	args[n++] = g->program;
	for (size_t i = 0; i < g->setting_count; i++) {
		args[n++] = (char *)(uintptr_t) "--set";
		args[n++] = g->settings[i];
	}
	args[n++] = (char *)(uintptr_t)command;
	args[n] = NULL;
	pid = fork();
	if (pid == 0) {
		sigset_t none;

		/* Ctrl-C is for the parent, which stops it, also one that came just now; and it
		 * stops if there is no parent. */
		setpgid(0, 0);
		signal(SIGINT, SIG_IGN);
		signal(SIGINT, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		/* As a service has it: with them each stage reads all the system's
		 * certificates when it starts. */
		unsetenv("SSL_CERT_FILE");
		unsetenv("SSL_CERT_DIR");
		for (size_t i = 0; i < g->environment_count; i++)
			setenv(g->environment[i][0], g->environment[i][1], 1);
		execv(g->program, args);
		_exit(127);
	}
	close(fd);
	return pid;
}

/* Of a line in which `standpipe run` tells the end of a member: whose it was, and what was wrong
 * with it; NULL: nothing. stopping: the group was asked to end, and one that it has started just
 * before can die of the order that it is not yet able to take. */
static const char *judge_end(struct group_test *g, const char *line, bool stopping,
			     struct member **ret)
{
	char name[24];
	unsigned number;
	int pid;

	if (sscanf(line, "standpipe | %23s (pid %d) was killed by signal %u", name, &pid,
		   &number) == 3) {
		*ret = find_member(g, name);
		if (*ret && number == SIGKILL && (*ret)->kills > 0)
			(*ret)->kills--;
		else if (*ret && number == SIGTERM && (*ret)->terms > 0)
			(*ret)->terms--;
		else if (*ret && !(number == SIGTERM && stopping))
			return "was killed, and not by the test";
	} else if (sscanf(line, "standpipe | %23s (pid %d) ended with status %u", name, &pid,
			  &number) == 3) {
		*ret = find_member(g, name);
		/* EXIT_FAILURE: it was asked twice to end. */
		if (*ret && number != 0 &&
		    !((number == STAGE_EXIT_AGAIN || number == EXIT_FAILURE) && g->may_fail))
			return "ended with a status that the test does not expect";
	}
	return NULL;
}

/* A stage that crashed is started again, and nobody else would notice. text ends with a newline. */
static void check_ends(struct group_test *g, struct span text)
{
	char line[160];
	size_t start = 0;
	bool stopping = false;

	for (size_t i = 0; i < text.len; i++) {
		struct member *m = NULL;
		const char *wrong;

		if (text.ptr[i] != '\n')
			continue;
		snprintf(line, sizeof(line), "%.*s", (int)(i - start),
			 (const char *)text.ptr + start);
		stopping |= strcmp(line, "standpipe  | stopping") == 0;
		wrong = judge_end(g, line, stopping, &m);
		if (wrong)
			test_fail(__FILE__, __LINE__, "%s %s: %s", m->name, wrong, line);
		start = i + 1;
	}
	for (size_t i = 0; i < g->member_count; i++)
		g->members[i].kills = g->members[i].terms = 0;
}

/* A stage that a sanitizer ended is started again too. */
static void check_log(struct group_test *g)
{
	static const char *const signs[] = {"Sanitizer", "runtime error:"};
	char path[PATH_MAX];
	struct buf text, found;

	snprintf(path, sizeof(path), "%s/log", g->log);
	/* At the end of the process the test's folder may have gone before. */
	if (access(path, F_OK) < 0)
		return;
	test_read_file(path, &text);
	buf_append_str(&text, "\n");
	buf_init(&found, SIZE_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(signs); i++)
		keep_lines(buf_span(&text), signs[i], &found);
	if (found.len > 0)
		test_fail(__FILE__, __LINE__, "a sanitizer in the group's log:\n%.*s",
			  (int)found.len, (const char *)found.ptr);
	check_ends(g, buf_span(&text));
	buf_release(&found);
	buf_release(&text);
}

void group_start(struct group_test *g)
{
	g->pid = start_command(g, "run");
	if (wait_until(g->loop, is_ready, g, "the group is ready") && g->pid)
		wait_healthy(g);
}

struct ending {
	pid_t pid;
	int status;
};

static bool has_ended(void *arg)
{
	struct ending *e = arg;

	return waitpid(e->pid, &e->status, WNOHANG) == e->pid;
}

int group_command(struct group_test *g, const char *command)
{
	struct ending e = {start_command(g, command), -1};

	wait_until(g->loop, has_ended, &e, command);
	check_log(g);
	return WIFEXITED(e.status) ? WEXITSTATUS(e.status) : -1;
}

struct order {
	int fd;
	struct buf *said;
};

static bool has_said_all(void *arg)
{
	struct order *o = arg;
	uint8_t block[4096];
	ssize_t n;

	while ((n = read(o->fd, block, sizeof(block))) > 0)
		buf_append(o->said, span_of(block, (size_t)n));
	return n == 0 || errno != EAGAIN;
}

/* What it says can be read from the pipe. */
static pid_t start_order(struct group_test *g, const char *words, int *ret_fd)
{
	char command[2 * PATH_MAX];
	int ends[2];
	pid_t pid;

	snprintf(command, sizeof(command), "exec %s --set group.run_dir=%s/run %s", g->program,
		 g->log, words);
	if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(127);
	}
	close(ends[1]);
	if (pid < 0)
		abort();
	*ret_fd = ends[0];
	return pid;
}

int group_order(struct group_test *g, const char *words, struct buf *ret)
{
	struct order o = {.said = ret};
	pid_t pid = start_order(g, words, &o.fd);
	int status;

	buf_clear(ret);
	if (!wait_until(g->loop, has_said_all, &o, words))
		kill(pid, SIGKILL);
	close(o.fd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void group_stop(struct group_test *g)
{
	struct ending e = {g->pid, -1};

	if (!g->pid)
		return;
	kill(g->pid, SIGTERM);
	if (!wait_until(g->loop, has_ended, &e, "the group stops")) {
		kill(g->pid, SIGKILL);
		waitpid(g->pid, NULL, 0);
	}
	CHECK_INT(e.status, 0);
	g->pid = 0;
	check_log(g);
}

/* The log of a group whose test failed is worth reading. */
static void show_log(const struct group_test *g)
{
	char path[PATH_MAX];
	struct buf text;
	size_t from;

	snprintf(path, sizeof(path), "%s/log", g->log);
	if (access(path, F_OK) < 0)
		return;
	test_read_file(path, &text);
	from = text.len > 8192 ? text.len - 8192 : 0;
	printf("# end of the group's log:\n%.*s\n", (int)(text.len - from),
	       (const char *)text.ptr + from);
	buf_release(&text);
}

void group_free(struct group_test *g)
{
	group_stop(g);
	if (test_has_failed())
		show_log(g);
	for (size_t i = 0; i < g->setting_count; i++)
		free(g->settings[i]);
	for (size_t i = 0; i < g->environment_count; i++) {
		free(g->environment[i][0]);
		free(g->environment[i][1]);
	}
	free((char *)(uintptr_t)g->log);
	free(g);
}

struct successor {
	struct group_test *group;
	const char *member;
	int64_t old_pid;
};

static bool has_successor(void *arg)
{
	struct successor *s = arg;
	int64_t pid;

	/* Not through request: this already runs inside a wait. */
	struct buf text;
	char url[64];
	CURL *easy = curl_easy_init();
	double value;

	buf_init(&text, LIMIT_MESSAGE);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/metrics",
		 find_member(s->group, s->member)->metrics_port);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, &text);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT, 1L);
	pid = curl_easy_perform(easy) == CURLE_OK &&
			      exposition_sum(buf_span(&text), "relay_process_pid", &value) == 0
		      ? (int64_t)value
		      : -1;
	curl_easy_cleanup(easy);
	buf_release(&text);
	return pid > 0 && pid != s->old_pid;
}

void group_kill(struct group_test *g, const char *member)
{
	struct successor s = {g, member, group_metric(g, member, "relay_process_pid", "")};

	if (s.old_pid <= 0) {
		test_fail(__FILE__, __LINE__, "%s does not say its pid", member);
		return;
	}
	find_member(g, member)->kills++;
	kill((pid_t)s.old_pid, SIGKILL);
	wait_until(g->loop, has_successor, &s, "a killed stage has a successor");
}

bool group_signal(struct group_test *g, const char *member, int number)
{
	struct member *m = find_member(g, member);
	pid_t pid = group_pid(g, member);

	if (pid <= 0 || kill(pid, number) < 0)
		return false;
	m->kills += number == SIGKILL;
	m->terms += number == SIGTERM;
	return true;
}

void group_expect_kill(struct group_test *g, const char *member)
{
	find_member(g, member)->kills++;
}

void group_expect_failures(struct group_test *g)
{
	g->may_fail = true;
}

const char *group_member_name(const struct group_test *g, size_t i)
{
	return i < g->member_count ? g->members[i].name : NULL;
}

const char *const *group_settings(const struct group_test *g)
{
	return (const char *const *)g->settings;
}

const char *group_data_folder(const struct group_test *g)
{
	return g->data;
}

uint16_t group_port(const struct group_test *g)
{
	return g->port;
}

/* A file of /proc, which has no size. Empty if it is gone. */
static void read_whole(const char *path, struct buf *ret)
{
	uint8_t block[4096];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf_init(ret, MIB(1));
	while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
		buf_append(ret, span_of(block, (size_t)n));
	if (fd >= 0)
		close(fd);
}

/* Whether the process runs this member: its arguments, each ended by a NUL. */
static bool runs_member(pid_t pid, const struct member *m)
{
	char path[64], instance[48];
	struct buf arguments;
	bool found;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	read_whole(path, &arguments);
	buf_put_u8(&arguments, '\0');
	const char *name = strrchr((const char *)arguments.ptr, '/');

	found = name && strcmp(name + 1, m->program) == 0;
	if (found && m->has_instance) {
		int n = snprintf(instance, sizeof(instance), "--instance%c%u%c", '\0', m->instance,
				 '\0');

		found = memmem(arguments.ptr, arguments.len, instance, (size_t)n) != NULL;
	}
	buf_release(&arguments);
	return found;
}

pid_t group_pid(struct group_test *g, const char *member)
{
	const struct member *m = find_member(g, member);
	struct buf children;
	pid_t found = 0;
	char path[96];
	int pid, n;

	if (!g->pid || !m)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)g->pid, (int)g->pid);
	read_whole(path, &children);
	buf_put_u8(&children, '\0');
	for (const char *at = (const char *)children.ptr; sscanf(at, "%d%n", &pid, &n) == 1;
	     at += n)
		if (runs_member(pid, m))
			found = pid;
	buf_release(&children);
	return found;
}

/* Stopped first, the parent starts none again while they are killed one after another. Then they
 * are our children, and waited for: their locks and ports are free when this returns. */
void group_crash(struct group_test *g)
{
	pid_t pids[GROUP_TEST_MEMBERS_MAX];

	if (!g->pid)
		return;
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	kill(g->pid, SIGSTOP);
	for (size_t i = 0; i < g->member_count; i++) {
		g->members[i].kills++;
		pids[i] = group_pid(g, g->members[i].name);
		if (pids[i] > 0)
			kill(pids[i], SIGKILL);
	}
	kill(g->pid, SIGKILL);
	waitpid(g->pid, NULL, 0);
	for (size_t i = 0; i < g->member_count; i++)
		if (pids[i] > 0)
			waitpid(pids[i], NULL, 0);
	g->pid = 0;
	check_log(g);
}

/* The consumer. */

/* -EBADMSG, or the seq of the frame. */
static int frame_seq(struct span frame, uint64_t *ret)
{
	struct reader r = reader_of(frame);
	struct cbor_map map;
	struct span key;
	int error = cbor_skip(&r, NULL);

	if (!error)
		error = cbor_map_open(&r, &map);
	while (!error && cbor_map_more(&map)) {
		int64_t seq;

		error = cbor_map_key(&r, &map, &key);
		if (!error && span_is(key, "seq")) {
			error = cbor_get_integer(&r, &seq);
			*ret = error ? 0 : (uint64_t)seq;
			return error;
		}
		if (!error)
			error = cbor_skip(&r, NULL);
	}
	return -EBADMSG;
}

static void keep_frame(struct consumer *c, struct span frame)
{
	struct consumer_frame f = {0, c->frames.len, frame.len};

	if (frame_seq(frame, &f.seq) != 0) {
		c->bad = true;
		return;
	}
	if (c->count == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 256;
		c->list = xrealloc(c->list, c->cap * sizeof(*c->list));
	}
	c->list[c->count++] = f;
	buf_append(&c->frames, frame);
}

/* Takes one whole WebSocket message off the input; false if there is none. */
static bool next_message(struct consumer *c)
{
	struct span in = buf_span(&c->in);
	uint64_t size;
	size_t head = 2;

	if (in.len < 2)
		return false;
	size = in.ptr[1];
	if (size == 126 || size == 127) {
		head = size == 126 ? 4 : 10;
		if (in.len < head)
			return false;
		size = 0;
		for (size_t i = 2; i < head; i++)
			size = size << 8 | in.ptr[i];
	}
	if (size > LIMIT_FRAME || in.len - head < size) {
		c->bad = c->bad || size > LIMIT_FRAME;
		return false;
	}
	if (in.ptr[0] == 0x82)
		keep_frame(c, span_of(in.ptr + head, (size_t)size));
	else if (in.ptr[0] == 0x88)
		c->told_to_go = true;
	else if (in.ptr[0] != 0x89)
		c->bad = true;
	buf_consume(&c->in, head + (size_t)size);
	return true;
}

static void consumer_ready(void *arg, uint32_t events)
{
	struct consumer *c = arg;
	uint8_t block[65536];
	ssize_t n = recv(c->io.fd, block, sizeof(block), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		buf_append(&c->in, span_of(block, (size_t)n));
	while (next_message(c))
		;
	if (n <= 0 || c->told_to_go) {
		int fd = c->io.fd;

		c->closed = true;
		loop_io_remove(c->loop, &c->io);
		close(fd);
	}
}

/* The answer's head, byte by byte so that nothing of the stream is taken. */
static bool read_head(int fd)
{
	char head[4096];
	size_t n = 0;

	while (n < sizeof(head) - 1 && recv(fd, head + n, 1, 0) == 1) {
		head[++n] = '\0';
		if (n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0)
			return strncmp(head, "HTTP/1.1 101", 12) == 0;
	}
	return false;
}

bool consumer_try(struct consumer *c, struct group_test *g, int64_t cursor)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(g->port),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {30, 0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct buf head;

	*c = (struct consumer){.loop = g->loop};
	buf_init(&c->in, LIMIT_FRAME + 131072);
	buf_init(&c->frames, FRAMES_MAX);
	loop_io_init(&c->io, consumer_ready, c);
	buf_init(&head, 1024);
	buf_append_str(&head, "GET /xrpc/com.atproto.sync.subscribeRepos");
	if (cursor >= 0)
		buf_printf(&head, "?cursor=%" PRId64, cursor);
	buf_append_str(
		&head,
		" HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    send(fd, head.ptr, head.len, MSG_NOSIGNAL) != (ssize_t)head.len || !read_head(fd)) {
		close(fd);
		c->closed = true;
	} else {
		loop_io_add(c->loop, &c->io, fd, EPOLLIN);
	}
	buf_release(&head);
	return !c->closed;
}

void consumer_open(struct consumer *c, struct group_test *g, int64_t cursor)
{
	if (!consumer_try(c, g, cursor))
		test_fail(__FILE__, __LINE__, "cannot subscribe: %s", strerror(errno));
}

void consumer_close(struct consumer *c)
{
	int fd = c->io.fd;

	if (!c->closed) {
		loop_io_remove(c->loop, &c->io);
		close(fd);
	}
	buf_release(&c->in);
	buf_release(&c->frames);
	free(c->list);
}

struct span consumer_frame(const struct consumer *c, size_t i)
{
	return span_of(c->frames.ptr + c->list[i].offset, c->list[i].size);
}
