/* The standpipe command as its user meets it: what it refuses, and with what status. */
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/test.h"

/* The exit status; out gets both outputs. */
static int run(const char *arguments, struct buf *out)
{
	char command[4096], block[1024];
	FILE *f;
	size_t n;

	snprintf(command, sizeof(command), "%s/standpipe %s 2>&1", test_programs(), arguments);
	buf_clear(out);
	f = popen(command, "re");
	if (!f)
		return -1;
	while ((n = fread(block, 1, sizeof(block), f)) > 0)
		buf_append(out, span_of(block, n));
	int status = pclose(f);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(wrong_uses_end_with_their_status_and_reason)
{
	static const struct {
		const char *arguments;
		int status;
		const char *says;
	} cases[] = {
		{"", 64, "usage:"},
		{"nonsense", 64, "no such command: nonsense"},
		{"run status", 64, "usage:"},
		{"--nonsense run", 64, "usage:"},
		{"--config a --config b run", 64, "more than one --config"},
		{"--config /nonexistent run", 78, "/nonexistent"},
		{"--set ingest.nonsense=1 run", 78, "nonsense"},
		{"--set ingest.window=many run", 78, "ingest"},
		{"--version", 0, "standpipe "},
		{"--help", 0, "usage:"},
		{"--check-config", 0, "configuration ok"},
		{"config", 0, "[ingest]"},
	};
	struct buf out;

	buf_init(&out, MIB(1));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int status = run(cases[i].arguments, &out);

		if (status != cases[i].status || !test_contains(buf_span(&out), cases[i].says))
			test_fail(__FILE__, __LINE__, "%s: %d %.*s", cases[i].arguments, status,
				  (int)out.len, (const char *)out.ptr);
	}
	buf_release(&out);
}

TEST(a_bad_line_is_refused_with_file_line_and_reason)
{
	char path[512], arguments[600];
	struct buf out;
	FILE *f;

	snprintf(path, sizeof(path), "%s/conf", test_folder());
	f = fopen(path, "we");
	fputs("[group]\nlanes = 2\n\n[fanout]\nport = 70000\n", f);
	fclose(f);
	buf_init(&out, MIB(1));
	snprintf(arguments, sizeof(arguments), "--config %s run", path);
	CHECK_INT(run(arguments, &out), 78);
	snprintf(arguments, sizeof(arguments), "%s:5: [fanout] port", path);
	CHECK(test_contains(buf_span(&out), arguments));
	buf_release(&out);
}

/* What a group that is not there looks like: every process named, none answering, status 1. */
TEST(status_of_no_group)
{
	char arguments[600];
	struct buf out;

	buf_init(&out, MIB(1));
	snprintf(arguments, sizeof(arguments), "--set group.run_dir=%s status", test_folder());
	CHECK_INT(run(arguments, &out), 1);
	CHECK(test_contains(buf_span(&out), "validate-0   does not answer"));
	buf_release(&out);
}
