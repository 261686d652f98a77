#include "tests/bench/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "common/log.h"
#include "common/memory.h"

#define NSEC_PER_SEC 1000000000u

static struct {
	const char *part;
	json_t *machine, *settings, *figures;
} state;

/* Reading /proc. */

/* The first line of the file that begins with key; what follows the colon. */
static bool read_line(const char *path, const char *key, char *ret, size_t size)
{
	char line[512];
	FILE *f = fopen(path, "re");
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		const char *value = strchr(line, ':');

		found = value && strncmp(line, key, strlen(key)) == 0;
		if (found)
			snprintf(ret, size, "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
	}
	if (f)
		fclose(f);
	return found;
}

static uint64_t read_kib(const char *path, const char *key)
{
	char text[64];
	uint64_t kib = 0;

	if (!read_line(path, key, text, sizeof(text)) || sscanf(text, "%" SCNu64, &kib) != 1)
		return 0;
	return kib * 1024;
}

void bench_memory_of(pid_t pid, struct bench_memory *ret)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	*ret = (struct bench_memory){
		.rss = read_kib(path, "Rss"),
		.pss = read_kib(path, "Pss:"),
		.anonymous = read_kib(path, "Anonymous"),
	};
}

/* Clocks. */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec ts = {0};

	if (clock_gettime(clock, &ts) < 0)
		return 0;
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t bench_thread_nsec(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_process_nsec(void)
{
	return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t bench_other_nsec(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) == 0 ? read_clock(clock) : 0;
}

uint64_t bench_wall_nsec(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

/* Reporting. */

static void put_text(json_t *object, const char *name, const char *text)
{
	json_object_set_new(object, name, json_string(text));
}

static void describe_machine(void)
{
	char cpu[256] = "unknown";
	struct utsname kernel;
	double load[3] = {0};
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t memory = read_kib("/proc/meminfo", "MemTotal");

	read_line("/proc/cpuinfo", "model name", cpu, sizeof(cpu));
	uname(&kernel);
	(void)!getloadavg(load, 3);
	bench_say("machine: %s, %ld CPUs, %.1f GiB, Linux %s %s, load %.1f", cpu, cpus,
		  (double)memory / (double)MIB(1024), kernel.release, kernel.machine, load[0]);
	bench_say("build: gcc-compatible %s, %s, %s", __VERSION__, memory_allocator(),
		  OpenSSL_version(OPENSSL_VERSION));
	put_text(state.machine, "cpu", cpu);
	put_text(state.machine, "kernel", kernel.release);
	put_text(state.machine, "compiler", __VERSION__);
	put_text(state.machine, "allocator", memory_allocator());
	json_object_set_new(state.machine, "cpus", json_integer(cpus));
	json_object_set_new(state.machine, "memory_bytes", json_integer((json_int_t)memory));
	json_object_set_new(state.machine, "load", json_real(load[0]));
}

void bench_begin(const char *part)
{
	log_set_level(LOG_LEVEL_WARNING);
	state.part = part;
	state.machine = json_object();
	state.settings = json_object();
	state.figures = json_object();
	describe_machine();
}

void bench_setting(const char *name, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (json_object_size(state.figures) > 0)
		test_fail(__FILE__, __LINE__, "%s is told behind a figure", name);
	bench_say("%s: %s", name, text);
	put_text(state.settings, name, text);
}

void bench_settings(const char *const *lines)
{
	char key[64];

	for (; *lines; lines++) {
		const char *equals = strchr(*lines, '=');

		snprintf(key, sizeof(key), "%.*s", (int)(equals - *lines), *lines);
		bench_setting(key, "%s", equals + 1);
	}
}

void bench_say(const char *format, ...)
{
	va_list args;

	printf("# ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Four digits that mean something, and no exponent. */
static const char *number(double v, char ret[static 32])
{
	int decimals = v >= 1000 || v <= -1000 ? 0 : v >= 100 ? 1 : v >= 10 ? 2 : 3;

	snprintf(ret, 32, "%.*f", decimals, v);
	return ret;
}

void bench_figure(const char *name, const char *unit, const double *runs, size_t count)
{
	double sorted[BENCH_RUNS_MAX], median;
	json_t *figure = json_object(), *list = json_array();
	char text[32];

	if (count == 0 || count > BENCH_RUNS_MAX)
		abort();
	memcpy(sorted, runs, count * sizeof(*runs));
	qsort(sorted, count, sizeof(*sorted), compare);
	median = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
	printf("# %s:", name);
	for (size_t i = 0; i < count; i++) {
		printf(" %s", number(sorted[i], text));
		json_array_append_new(list, json_real(sorted[i]));
	}
	printf("\nBENCH %s %s %s\n", name, number(median, text), unit);
	put_text(figure, "unit", unit);
	json_object_set_new(figure, "median", json_real(median));
	json_object_set_new(figure, "runs", list);
	json_object_set_new(state.figures, name, figure);
	/* A figure that could not be taken is a failure, not a number. */
	if (!isfinite(median) || median < 0)
		test_fail(__FILE__, __LINE__, "%s is %f", name, median);
}

static json_t *load(const char *path)
{
	json_t *all = json_load_file(path, 0, NULL);

	return json_is_object(all) ? all : json_object();
}

/* Other parts' figures stay, and the last good ones of a part that failed. */
void bench_end(void)
{
	char path[PATH_MAX], temporary[PATH_MAX + 8];
	json_t *all, *part;

	if (test_has_failed())
		return;
	part = json_object();
	snprintf(path, sizeof(path), "%s/bench.json", test_programs());
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	json_object_set_new(part, "machine", state.machine);
	json_object_set_new(part, "settings", state.settings);
	json_object_set_new(part, "figures", state.figures);
	all = load(path);
	json_object_set_new(all, state.part, part);
	if (json_dump_file(all, temporary, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) < 0 ||
	    rename(temporary, path) < 0)
		test_fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	json_decref(all);
}
