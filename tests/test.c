#include "tests/test.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/random.h"

/* nng 1.5.2 loses a few objects of a connection that is closed while it is being made. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libnng";
}

static struct {
	struct test *first, **last;
	const char *file; /* of the program */
	const char *name; /* of the test that runs */
	pid_t pid;
	unsigned failures; /* of its checks */
	char skipped[256];
	char folder[64];
	struct random random;
	bool seeded;
} state;

void test_register(struct test *t)
{
	if (!state.last)
		state.last = &state.first;
	*state.last = t;
	state.last = &t->next;
}

void test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	state.failures++;
	printf("# %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

const char *test_name(void)
{
	return state.name;
}

bool test_has_failed(void)
{
	return state.failures > 0;
}

void test_skip(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(state.skipped, sizeof(state.skipped), format, args);
	va_end(args);
}

const char *test_vectors(void)
{
	static char path[4096];
	const char *given = getenv("STANDPIPE_VECTORS");
	struct stat st;

	snprintf(path, sizeof(path), "%s", given ? given : "../shared/vectors");
	return stat(path, &st) == 0 ? path : NULL;
}

void test_read_file(const char *path, struct buf *ret)
{
	FILE *f = fopen(path, "re");
	size_t n;

	if (!f) {
		printf("Bail out! %s: %s\n", path, strerror(errno));
		exit(1);
	}
	buf_init(ret, MIB(256));
	do {
		uint8_t block[65536];

		n = fread(block, 1, sizeof(block), f);
		buf_append(ret, span_of(block, n));
	} while (n > 0);
	fclose(f);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_folder(void)
{
	nftw(state.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_folder(void)
{
	static unsigned count;
	static char path[96];

	if (!state.folder[0]) {
		snprintf(state.folder, sizeof(state.folder), "/tmp/standpipe-test-XXXXXX");
		if (!mkdtemp(state.folder)) {
			printf("Bail out! %s: %s\n", state.folder, strerror(errno));
			exit(1);
		}
		atexit(remove_folder);
	}
	snprintf(path, sizeof(path), "%s/%u", state.folder, count++);
	mkdir(path, 0700);
	return path;
}

/* build/tests/pipeline/test_x stands two folders below the programs. */
const char *test_programs(void)
{
	static char self[PATH_MAX];
	const char *given = getenv("STANDPIPE_BUILD");
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (given)
		return given;
	self[n > 0 ? n : 0] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		char *slash = strrchr(self, '/');

		if (slash)
			*slash = '\0';
	}
	return self;
}

uint64_t test_random(void)
{
	if (!state.seeded) {
		const char *given = getenv("TEST_SEED");

		if (!given || sscanf(given, "%" SCNu64, &state.random.state) != 1)
			(void)!getrandom(&state.random, sizeof(state.random), 0);
		printf("# TEST_SEED=%" PRIu64 "\n", state.random.state);
		state.seeded = true;
	}
	return random_next(&state.random);
}

bool test_contains(struct span s, const char *text)
{
	return !*text || (s.len > 0 && memmem(s.ptr, s.len, text, strlen(text)) != NULL);
}

void test_hex(const char *hex, struct buf *out)
{
	unsigned digits = 0, byte = 0;

	for (; *hex; hex++) {
		const char *all = "0123456789abcdef", *at = strchr(all, *hex);

		if (!at)
			continue;
		byte = byte << 4 | (unsigned)(at - all);
		if (++digits % 2 == 0)
			buf_put_u8(out, (uint8_t)byte);
	}
}

/* Arguments: names of tests to run; none: all. */
static bool is_chosen(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc < 2;
}

static void put(const char *text)
{
	(void)!write(STDOUT_FILENO, text, strlen(text));
}

/* A test that crashes says so, and ends the process as it would have ended. Those that it has
 * forked say nothing. */
static void on_crash(int number)
{
	if (getpid() == state.pid && state.name) {
		put("# crashed\nnot ok ");
		put(state.file);
		put(": ");
		put(state.name);
		put("\n");
	}
	signal(number, SIG_DFL);
	raise(number);
}

/* A sanitizer that has its own way to report a crash keeps it. */
static void catch_crashes(void)
{
	static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	const struct sigaction action = {.sa_handler = on_crash};
	struct sigaction old;

	state.pid = getpid();
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(numbers[i], &action, NULL);
}

/* Weak: a program that uses the rest of this brings its own. */
__attribute__((weak)) int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *file = slash ? slash + 1 : argv[0];
	unsigned failed = 0;

	state.file = file;
	setvbuf(stdout, NULL, _IOLBF, 0);
	catch_crashes();
	for (struct test *t = state.first; t; t = t->next) {
		if (!is_chosen(t->name, argc, argv))
			continue;
		state.name = t->name;
		state.failures = 0;
		state.skipped[0] = '\0';
		t->run();
		if (state.failures)
			printf("not ok %s: %s\n", file, t->name);
		else if (state.skipped[0])
			printf("skip %s: %s: %s\n", file, t->name, state.skipped);
		else
			printf("ok %s: %s\n", file, t->name);
		failed += state.failures > 0;
	}
	return failed > 0;
}
