#include "common/stage.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <systemd/sd-daemon.h>

#include "common/endpoint.h"
#include "common/host.h"
#include "common/log.h"

#define SETS_MAX     64   /* --set arguments; more belong into a file */
#define INSTANCE_MAX 63   /* group.lanes and group.replicas go up to 64 */
#define ERROR_SIZE   1024 /* a reason of config.c or host.c */

/* Other stages' users are in this one's group: they connect to its sockets; its files say
 * themselves what the group may. */
#define UMASK 0007
#define FOLDER_SHARED                                                                              \
	0770 /* group.data_dir and group.run_dir, where every stage makes its own entries */
#define FOLDER_OWN 0750

/* From the end of the loop to the end of the process: databases are closed. */
#define STOP_MARGIN_USEC (5 * USEC_PER_SEC)

#define LEAKS_SHOWN    40
#define LEAK_LG_SAMPLE 12 /* a block of some bytes in a thousand leaks is met all the same */

struct arguments {
	const char *config;
	const char *sets[SETS_MAX];
	size_t set_count;
	bool check;
};

static void print_usage(const char *name, enum stage_kind kind, FILE *out)
{
	fprintf(out,
		"usage: standpipe-%s [--config FILE] [--set section.key=value]... "
		"%s[--check-config]\n"
		"       standpipe-%s --version | --help\n",
		name, kind == STAGE_INSTANCES ? "[--instance N] " : "", name);
}

static bool parse_instance(const char *text, unsigned *ret)
{
	char end;

	if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 2)
		return false;
	return sscanf(text, "%u%c", ret, &end) == 1 && *ret <= INSTANCE_MAX;
}

/* STAGE_GO, or the exit status. */
static int parse_arguments(struct stage *s, enum stage_kind kind, int argc, char **argv,
			   struct arguments *a)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"set", required_argument, NULL, 's'},
						{"instance", required_argument, NULL, 'i'},
						{"check-config", no_argument, NULL, 'k'},
						{"version", no_argument, NULL, 'v'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	bool ok = true;
	int option;

	optind = 1;
	while (ok && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			a->config = optarg;
			break;
		case 's':
			ok = a->set_count < SETS_MAX;
			if (ok)
				a->sets[a->set_count++] = optarg;
			break;
		case 'i':
			ok = kind == STAGE_INSTANCES && parse_instance(optarg, &s->instance);
			break;
		case 'k':
			a->check = true;
			break;
		case 'v':
			printf("standpipe-%s %s\n", s->name, STAGE_VERSION);
			return 0;
		case 'h':
			print_usage(s->name, kind, stdout);
			return 0;
		default:
			ok = false;
		}
	}
	if (ok && optind == argc)
		return STAGE_GO;
	print_usage(s->name, kind, stderr);
	return STAGE_EXIT_USAGE;
}

static void set_log_level(const struct config *c)
{
	static const struct {
		const char *name;
		enum log_level level;
	} levels[] = {
		{"error", LOG_LEVEL_ERROR},   {"warning", LOG_LEVEL_WARNING},
		{"notice", LOG_LEVEL_NOTICE}, {"info", LOG_LEVEL_INFO},
		{"debug", LOG_LEVEL_DEBUG},
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
		if (strcmp(config_text(c, "group.log_level"), levels[i].name) == 0)
			log_set_level(levels[i].level);
}

/* How many instances of this stage the group has. */
static unsigned instance_count(const struct stage *s, enum stage_kind kind)
{
	if (kind == STAGE_SINGLE)
		return 1;
	return (unsigned)config_number(
		s->config, strcmp(s->name, "validate") == 0 ? "group.lanes" : "group.replicas");
}

static uint64_t metrics_port(const struct stage *s)
{
	char key[64];
	uint64_t port;

	snprintf(key, sizeof(key), "%s.metrics_port", s->name);
	port = config_number(s->config, key);
	return port ? port + s->instance : 0;
}

/* What no single value is wrong about. */
static int check_together(struct stage *s, enum stage_kind kind, char *ret_error, size_t size)
{
	struct host_policy *policy;
	int error;

	error = config_check(s->config, ret_error, size);
	if (error)
		return error;
	error = host_policy_new(s->config, ret_error, size, &policy);
	if (error)
		return error;
	host_policy_free(policy);
	if (s->instance >= instance_count(s, kind)) {
		snprintf(ret_error, size,
			 "there is no instance %u of %s: they are numbered from 0 to %u",
			 s->instance, s->name, instance_count(s, kind) - 1);
		return -EINVAL;
	}
	return 0;
}

/* What was changed while the stage ran, and is still in force. */
static int read_settings(struct stage *s, char *ret_error, size_t size)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s/settings",
			 config_text(s->config, "group.data_dir"), s->name);

	assert(n > 0 && (size_t)n < sizeof(path));
	s->settings = settings_new(s->config, s->name);
	return settings_open(s->settings, path, ret_error, size);
}

static int read_config(struct stage *s, enum stage_kind kind, const struct arguments *a)
{
	char reason[ERROR_SIZE];
	int error = 0;

	s->config = config_new();
	if (a->config)
		error = config_read_file(s->config, a->config, reason, sizeof(reason));
	if (!error)
		error = config_read_environment(s->config, reason, sizeof(reason));
	for (size_t i = 0; i < a->set_count && !error; i++)
		error = config_set(s->config, a->sets[i], reason, sizeof(reason));
	if (!error)
		error = read_settings(s, reason, sizeof(reason));
	if (!error)
		error = check_together(s, kind, reason, sizeof(reason));
	if (error)
		log_error("configuration: %s", reason);
	return error;
}

/* A stage has thousands of connections; the soft limit is for programs that use select(). */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Makes a folder and those above it. */
static int make_folder(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	struct stat st;

	for (size_t i = 1;; i++) {
		if (i >= sizeof(part))
			return -ENAMETOOLONG;
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		if (path[i] == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int stage_data_dir(struct stage *s, const char *name, char *ret)
{
	const char *dir = config_text(s->config, "group.data_dir");
	int error, n;

	error = make_folder(dir, FOLDER_SHARED);
	n = snprintf(ret, PATH_MAX, "%s/%s", dir, name);
	assert(n > 0 && n < PATH_MAX);
	if (!error)
		error = make_folder(ret, FOLDER_OWN);
	if (error)
		log_error("the data folder cannot be made: %s: %s", ret, strerror(-error));
	return error;
}

const char *stage_pipe_url(const struct stage *s, const char *name, const char *stage,
			   unsigned lane, char *ret)
{
	return config_pipe_url(s->config, name, stage, lane, ret);
}

/* Metrics that every process has. */

static uint64_t cpu_usec(void *arg)
{
	struct timespec ts;

	(void)arg;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * USEC_PER_SEC + (uint64_t)ts.tv_nsec / 1000;
}

static int64_t open_descriptors(void *arg)
{
	DIR *dir = opendir("/proc/self/fd");
	int64_t count = -3; /* ".", "..", and the folder's own */

	(void)arg;
	if (!dir)
		return 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void register_metrics(struct stage *s)
{
	struct metrics *m = s->metrics;
	char label[64];

	snprintf(label, sizeof(label), "version=\"%s\",allocator=\"%s\"", STAGE_VERSION,
		 memory_allocator());
	*metrics_gauge(m, "relay_build_info", "1, with what the program is as labels.", label) = 1;
	*metrics_gauge(m, "relay_process_pid", "Process number.", NULL) = getpid();
	*metrics_gauge(m, "relay_process_start_time_seconds",
		       "When the process was started, since 1970.",
		       NULL) = (int64_t)(clock_usec() / USEC_PER_SEC);
	s->ready = metrics_gauge(m, "relay_process_ready",
				 "1 from when it is ready until it is asked to end.", NULL);
	metrics_seconds_call(m, "relay_process_cpu_seconds_total", "Processor time of all threads.",
			     NULL, cpu_usec, NULL);
	metrics_gauge_call(m, "relay_process_open_fds", "Open descriptors.", NULL, open_descriptors,
			   NULL);
}

/* How often this member of the group was started since the folder of the sockets was made, or since
 * `standpipe run` began: beside the control pipe, because it has to outlive the process. Every
 * stage can write to that folder, so that only a plain file of one name is taken for it. */
static void count_start(struct stage *s, const char *name)
{
	char path[PATH_MAX], text[24] = "";
	unsigned long starts = 0;
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/starts-%s", config_text(s->config, "group.run_dir"), name);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0640);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1) {
		if (pread(fd, text, sizeof(text) - 1, 0) < 0 || sscanf(text, "%9lu", &starts) != 1)
			starts = 0;
		snprintf(text, sizeof(text), "%lu\n", ++starts);
		if (pwrite(fd, text, strlen(text), 0) < 0)
			log_warning("cannot write %s: %s", path, strerror(errno));
	} else {
		log_warning("cannot count starts path=%s", path);
	}
	if (fd >= 0)
		close(fd);
	*metrics_gauge(s->metrics, "relay_process_starts",
		       "How often it was started since the folder of the sockets was made.",
		       NULL) = (int64_t)starts;
}

/* Stopping. */

static void give_up(void *arg)
{
	struct stage *s = arg;

	log_error("the stage did not stop in time, and is ended");
	loop_quit(s->loop, STAGE_EXIT_AGAIN);
}

static void begin_stop(void *arg)
{
	struct stage *s = arg;

	if (s->stopping)
		return;
	s->stopping = true;
	*s->ready = 0;
	log_info("stopping");
	sd_notifyf(0, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64, s->stop_usec + STOP_MARGIN_USEC);
	loop_timer_set(s->loop, &s->stop_limit, s->stop_usec);
	s->stop(s->stop_arg);
}

/* The control pipe. */

static int open_control(struct stage *s, enum stage_kind kind)
{
	const char *run_dir = config_text(s->config, "group.run_dir");
	char name[64], url[CONFIG_URL_SIZE];
	int error;

	error = make_folder(run_dir, FOLDER_SHARED);
	if (error) {
		log_error("the folder of the sockets cannot be made: %s: %s", run_dir,
			  strerror(-error));
		return error;
	}
	if (kind == STAGE_INSTANCES)
		snprintf(name, sizeof(name), "%s-%u", s->name, s->instance);
	else
		snprintf(name, sizeof(name), "%s", s->name);
	stage_pipe_url(s, "control", name, 0, url);
	error = control_open(s->loop, url, s->metrics, s->settings, s->heap, begin_stop, s,
			     &s->control);
	if (error)
		log_error("the control pipe cannot be opened: %s: %s", url, strerror(-error));
	else
		count_start(s, name);
	return error;
}

static int open_metrics(struct stage *s, enum stage_kind kind)
{
	uint64_t port = metrics_port(s);
	int error;

	s->metrics = metrics_new(s->name, kind == STAGE_INSTANCES ? (int)s->instance : -1);
	s->memory = memory_new(s->metrics);
	memory_watch(s->memory, s->loop);
	memory_register(s->memory, "pipes", endpoint_memory_bytes, NULL);
	register_metrics(s);
	if (port == 0)
		return 0;
	error = metrics_server_new(s->metrics, s->loop, (uint16_t)port, &s->metrics_server);
	if (error) {
		log_error("the metrics cannot be served on 127.0.0.1:%u: %s", (unsigned)port,
			  strerror(-error));
		return error;
	}
	memory_register(s->memory, "metrics", metrics_server_bytes, s->metrics_server);
	return 0;
}

/* What was never freed. */

static void log_leak(void *arg, const struct heap_site *site)
{
	(void)arg;
	log_notice("never freed: bytes=%" PRId64 " blocks=%" PRId64 " by=%s", site->bytes,
		   site->blocks, site->stack);
}

static void report_leaks(struct stage *s)
{
	struct heap_totals totals;
	int error;

	heap_stop(s->heap); /* whoever looked at it may have left a mark */
	error = heap_growth(s->heap, LEAKS_SHOWN, log_leak, NULL, &totals);
	if (error)
		log_error("what was never freed is not known: %s", strerror(-error));
	else
		log_notice("never freed, in all: bytes=%" PRId64 " blocks=%" PRId64 " sites=%zu",
			   totals.bytes, totals.blocks, totals.sites);
}

/* From the very beginning: what was allocated before is in no profile. */
static void watch_leaks(struct stage *s)
{
	int error = heap_keep_on(s->heap, LEAK_LG_SAMPLE);

	s->leak_report = error == 0;
	if (error)
		log_warning("group.leak_report has no effect: this build's allocator takes no "
			    "profiles");
}

/* What goes before the configuration is told, so that nobody looks for it there. */
static void log_settings(const struct stage *s)
{
	struct buf list;

	buf_init(&list, KIB(256));
	settings_list(s->settings, true, &list);
	for (size_t from = 0; from < list.len;) {
		const uint8_t *end = memchr(list.ptr + from, '\n', list.len - from);
		size_t len = (size_t)(end - list.ptr) - from;

		log_notice("set while it ran: %.*s", (int)len, (const char *)list.ptr + from);
		from += len + 1;
	}
	buf_release(&list);
}

int stage_init(struct stage *s, const char *name, enum stage_kind kind, int argc, char **argv)
{
	struct arguments arguments = {0};
	int status;

	*s = (struct stage){.name = name, .stop_usec = STAGE_STOP_USEC};
	status = parse_arguments(s, kind, argc, argv, &arguments);
	if (status != STAGE_GO)
		return status;
	umask(UMASK);
	memory_init_libraries();
	raise_descriptor_limit();
	if (read_config(s, kind, &arguments) < 0) {
		status = STAGE_EXIT_CONFIG;
	} else if (arguments.check) {
		puts("configuration ok");
		status = 0;
	} else {
		set_log_level(s->config);
		log_settings(s);
		s->heap = heap_new();
		if (config_flag(s->config, "group.leak_report"))
			watch_leaks(s);
		/* Signals are blocked here, before nng and others start threads that would take
		 * them. */
		s->loop = loop_new();
		if (open_metrics(s, kind) < 0 || open_control(s, kind) < 0)
			status = STAGE_EXIT_AGAIN;
	}
	if (status != STAGE_GO)
		stage_release(s);
	return status;
}

/* Running. */

static void feed_watchdog(void *arg)
{
	struct stage *s = arg;

	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(s->loop, &s->watchdog, s->watchdog_usec / 2);
}

void stage_stop(struct stage *s)
{
	begin_stop(s);
}

int stage_run(struct stage *s, void (*stop)(void *arg), void *arg)
{
	int status;

	s->stop = stop;
	s->stop_arg = arg;
	loop_timer_init(&s->stop_limit, give_up, s);
	loop_timer_init(&s->watchdog, feed_watchdog, s);
	loop_on_stop(s->loop, begin_stop, s);
	if (sd_watchdog_enabled(0, &s->watchdog_usec) > 0)
		feed_watchdog(s);
	log_info("ready");
	sd_notify(0, "READY=1");
	*s->ready = 1;
	status = loop_run(s->loop);
	loop_timer_cancel(s->loop, &s->stop_limit);
	loop_timer_cancel(s->loop, &s->watchdog);
	return status;
}

void stage_release(struct stage *s)
{
	control_close(s->control);
	metrics_server_free(s->metrics_server);
	memory_free(s->memory);
	metrics_free(s->metrics);
	loop_free(s->loop);
	settings_free(s->settings);
	config_free(s->config);
	if (s->leak_report)
		report_leaks(s);
	heap_free(s->heap);
	*s = (struct stage){0};
}

unsigned stage_lane_of(struct span did, unsigned lanes)
{
	return (unsigned)(span_hash(did) % lanes);
}
