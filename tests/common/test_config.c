#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/config.h"

static const char *write_file(const char *text, size_t len)
{
	static char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/standpipe.conf", test_folder());
	f = fopen(path, "we");
	fwrite(text, 1, len, f);
	fclose(f);
	return path;
}

/* Reads text as a file. The reason, without the path before it, in ret_error. */
static int read_bytes(struct config *c, const char *text, size_t len, char ret_error[static 1024])
{
	const char *path = write_file(text, len);
	char reason[1024] = "";
	size_t path_len = strlen(path);
	int error = config_read_file(c, path, reason, sizeof(reason));

	if (error)
		CHECK(strncmp(reason, path, path_len) == 0);
	snprintf(ret_error, 1024, "%s", error ? reason + path_len : "");
	return error;
}

static int read_text(struct config *c, const char *text, char ret_error[static 1024])
{
	return read_bytes(c, text, strlen(text), ret_error);
}

TEST(defaults)
{
	struct config *c = config_new();

	CHECK_STR(config_text(c, "group.data_dir"), "/var/lib/standpipe");
	CHECK_STR(config_text(c, "group.log_level"), "info");
	CHECK_STR(config_text(c, "ingest.bootstrap"), "");
	CHECK_STR(config_text(c, "fanout.address"), "[::]");
	CHECK_INT(config_number(c, "group.lanes"), 1);
	CHECK_INT(config_number(c, "fanout.port"), 2470);
	CHECK_INT(config_size(c, "ingest.window"), MIB(64));
	CHECK_INT(config_size(c, "store.retention_bytes"), 0);
	CHECK_INT(config_time(c, "resolve.ttl_failed"), 5000000);
	CHECK_INT(config_time(c, "store.retention_age"), INT64_C(72) * 3600 * 1000000);
	CHECK(config_flag(c, "resolve.keep_alive"));
	config_free(c);
	config_free(NULL);
}

TEST(a_file_sets_values)
{
	struct config *c = config_new();
	char error[1024];

	CHECK_INT(read_text(c,
			    "\xef\xbb\xbf# a comment\n; another\n\n[group]\r\nlanes = 4\n"
			    "data_dir=/srv/a;b ; c\n[ingest]\n  window   =   128M   \nhosts = "
			    "a.example, b.example\n"
			    "backoff_max: 2h\nbootstrap =\n[group]\nreplicas = "
			    "64\n[resolve]\nkeep_alive = false",
			    error),
		  0);
	CHECK_STR(error, "");
	CHECK_INT(config_number(c, "group.lanes"), 4);
	CHECK_INT(config_number(c, "group.replicas"), 64);
	CHECK_STR(config_text(c, "group.data_dir"), "/srv/a;b ; c");
	CHECK_STR(config_text(c, "ingest.hosts"), "a.example, b.example");
	CHECK_STR(config_text(c, "ingest.bootstrap"), "");
	CHECK_INT(config_size(c, "ingest.window"), MIB(128));
	CHECK_INT(config_time(c, "ingest.backoff_max"), INT64_C(7200) * 1000000);
	CHECK(!config_flag(c, "resolve.keep_alive"));
	/* Another file may give the same keys again. */
	CHECK_INT(read_text(c, "[group]\nlanes = 5\n", error), 0);
	CHECK_INT(config_number(c, "group.lanes"), 5);
	config_free(c);
}

/* A file, and what is said of it. */
struct refusal {
	const char *text, *error;
};

static void check_refusals(const struct refusal *cases, size_t count)
{
	char error[1024];

	for (size_t i = 0; i < count; i++) {
		struct config *c = config_new();

		CHECK_INT(read_text(c, cases[i].text, error), -EINVAL);
		CHECK_STR(error, cases[i].error);
		config_free(c);
	}
}

TEST(lines_that_are_refused)
{
	static const struct refusal cases[] = {
		{"[ingest]\nwindw = 1M\n", ":2: [ingest] windw: unknown key"},
		{"# x\n\n[ingst]\nwindow = 1M\n", ":4: [ingst] window: unknown section"},
		{"window = 1M\n", ":1: [] window: stands before any section"},
		{"[ingest]\nwindow = 1M\nwindow = 2M\n", ":3: [ingest] window: given twice"},
		{"[ingest]\nwindow = 1M\n[group]\n[ingest]\nwindow = 1M\n",
		 ":5: [ingest] window: given twice"},
		{"[ingest]\nwindow\n", ":2: neither a [section], nor key = value, nor a comment"},
		{"[ingest\nwindow = 1M\n",
		 ":1: neither a [section], nor key = value, nor a comment"},
		{"[group]\nlanes = 2\n  3\n",
		 ":3: neither a [section], nor key = value, nor a comment"},
	};

	check_refusals(cases, ARRAY_SIZE(cases));
}

TEST(numbers_sizes_and_times_that_are_refused)
{
	static const struct refusal cases[] = {
		{"[group]\nlanes = 0\n", ":2: [group] lanes: \"0\" is not within 1 to 64"},
		{"[group]\nlanes = 65\n", ":2: [group] lanes: \"65\" is not within 1 to 64"},
		{"[group]\nlanes = -1\n", ":2: [group] lanes: \"-1\" is no number"},
		{"[group]\nlanes = 1K\n", ":2: [group] lanes: \"1K\" is no number"},
		{"[group]\nlanes = 2 # two\n", ":2: [group] lanes: \"2 # two\" is no number"},
		{"[group]\nlanes =\n", ":2: [group] lanes: \"\" is no number"},
		{"[group]\nlanes = 18446744073709551617\n",
		 ":2: [group] lanes: \"18446744073709551617\" is no number"},
		{"[group]\nlanes = 18446744073709551620\n",
		 ":2: [group] lanes: \"18446744073709551620\" is no number"},
		{"[ingest]\nwindow = 64MB\n",
		 ":2: [ingest] window: \"64MB\" is no size: digits, and K, M or G or nothing"},
		{"[ingest]\nwindow = 99999999999G\n", ":2: [ingest] window: \"99999999999G\" is no "
						      "size: digits, and K, M or G or nothing"},
		{"[ingest]\nwindow = 1\n", ":2: [ingest] window: \"1\" is not within 64K to 64G"},
		{"[ingest]\nbackoff_min = 5\n",
		 ":2: [ingest] backoff_min: \"5\" is no time: digits, and us, ms, s, m, h or d"},
		{"[ingest]\nbackoff_min = 5 s\n",
		 ":2: [ingest] backoff_min: \"5 s\" is no time: digits, and us, ms, s, m, h or d"},
		{"[ingest]\nbackoff_min = 2d\n",
		 ":2: [ingest] backoff_min: \"2d\" is not within 1ms to 1d"},
	};

	check_refusals(cases, ARRAY_SIZE(cases));
}

TEST(words_and_addresses_that_are_refused)
{
	static const struct refusal cases[] = {
		{"[resolve]\nkeep_alive = yes\n",
		 ":2: [resolve] keep_alive: \"yes\" is neither true nor false"},
		{"[fanout]\ntrusted_proxies = 10.0.0.0/8 proxy\n",
		 ":2: [fanout] trusted_proxies: \"10.0.0.0/8 proxy\" is no list of addresses and "
		 "networks (192.0.2.1, 2001:db8::/32)"},
		{"[group]\nlog_level = loud\n",
		 ":2: [group] log_level: \"loud\" is none of error, warning, notice, info, debug"},
		{"[group]\ndata_dir =\n",
		 ":2: [group] data_dir: a text of 1 to 1024 bytes is needed, not of 0"},
		{"[group]\ndata_dir = /a\tb\n",
		 ":2: [group] data_dir: the value has a control character"},
		{"[fanout]\naddress = ::\n", ":2: [fanout] address: \"::\" is no IPv4 address, and "
					     "no IPv6 address in brackets"},
		{"[fanout]\naddress = [1.2.3.4]\n",
		 ":2: [fanout] address: \"[1.2.3.4]\" is no IPv4 address, and no IPv6 address in "
		 "brackets"},
		{"[fanout]\naddress = [\n",
		 ":2: [fanout] address: \"[\" is no IPv4 address, and no IPv6 address in brackets"},
	};

	check_refusals(cases, ARRAY_SIZE(cases));
}

TEST(urls_that_are_refused)
{
	static const struct refusal cases[] = {
		{"[pipes]\nevents = ipc:///run/x\n",
		 ":2: [pipes] events: \"ipc:///run/x\" lacks {lane}"},
		{"[pipes]\nevents = tcp://h:{lane}\n",
		 ":2: [pipes] events: \"tcp://h:{lane}\" does not begin with ipc://: both ends are "
		 "on one machine"},
		{"[pipes]\ncalls = tcp://h:1\n", ":2: [pipes] calls: \"tcp://h:1\" lacks {stage}"},
		{"[pipes]\nhead = ipc://{run}/{lane}\n",
		 ":2: [pipes] head: \"ipc://{run}/{lane}\" has a {place} that has no meaning here"},
		{"[pipes]\nhead = ipc://{run}{run}\n",
		 ":2: [pipes] head: \"ipc://{run}{run}\" has a {place} that has no meaning here"},
		{"[pipes]\nevents = ipc://{lane}{lane}\n",
		 ":2: [pipes] events: \"ipc://{lane}{lane}\" has a {place} that has no meaning "
		 "here"},
		{"[pipes]\nhead = udp://1.2.3.4:5\n",
		 ":2: [pipes] head: \"udp://1.2.3.4:5\" does not begin with ipc:// or tcp://"},
		{"[ingest]\nbootstrap = relay.example\n",
		 ":2: [ingest] bootstrap: \"relay.example\" does not begin with http:// or "
		 "https://"},
	};

	check_refusals(cases, ARRAY_SIZE(cases));
}

TEST(lines_are_bounded)
{
	static const char head[] = "[ingest]\nhosts = ";
	char text[40000], error[1024];
	struct config *c = config_new();

	memcpy(text, head, sizeof(head) - 1);
	memset(text + sizeof(head) - 1, 'a', sizeof(text) - (sizeof(head) - 1));
	CHECK_INT(read_bytes(c, text, sizeof(text) - 100, error), -EINVAL);
	CHECK_STR(error, ":2: the line is too long");
	CHECK_INT(read_bytes(c, text, sizeof(head) - 1 + 16385, error), -EINVAL);
	CHECK_STR(error, ":2: [ingest] hosts: a text of 0 to 16384 bytes is needed, not of 16385");
	CHECK_INT(read_bytes(c, text, sizeof(head) - 1 + 16384, error), 0);
	CHECK_INT(strlen(config_text(c, "ingest.hosts")), 16384);
	CHECK_INT(read_bytes(c, "[group]\nlanes = 2\0\n", 19, error), -EINVAL);
	CHECK_STR(error, ":2: the line has a NUL byte");
	config_free(c);
}

TEST(a_file_that_cannot_be_read)
{
	struct config *c = config_new();
	char error[1024];

	CHECK_INT(config_read_file(c, "/nonexistent/x.conf", error, sizeof(error)), -ENOENT);
	CHECK_STR(error, "/nonexistent/x.conf: No such file or directory");
	CHECK_INT(config_read_file(c, "/", error, sizeof(error)), -EIO);
	CHECK_STR(error, "/: cannot be read");
	config_free(c);
}

TEST(assignments)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"ingest.window=128M", NULL},
		{"ingest.hosts=a=b", NULL},
		{"ingest.hosts=", NULL},
		{"ingest.windw=1M", "ingest.windw: unknown key"},
		{"ingst.window=1M", "ingst.window: unknown section"},
		{"ingest.window=1X",
		 "ingest.window: \"1X\" is no size: digits, and K, M or G or nothing"},
		{"ingest.=1X", "ingest.: unknown key"},
		{".window=1X", ".window: unknown section"},
		{"ingest.window", "ingest.window: not of the form section.key=value"},
		{"window=1.5", "window=1.5: not of the form section.key=value"},
		{"", ": not of the form section.key=value"},
		{"group.data_dir=/a\nb", "group.data_dir: the value has a control character"},
		{"ingest."
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaa=1",
		 "ingest."
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaa: "
		 "unknown key"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = config_new();
		char error[1024] = "";

		CHECK_INT(config_set(c, cases[i].text, error, sizeof(error)),
			  cases[i].error ? -EINVAL : 0);
		CHECK_STR(error, cases[i].error ? cases[i].error : "");
		config_free(c);
	}
}

TEST(units)
{
	static const struct {
		const char *text;
		uint64_t usec;
	} cases[] = {
		{"store.retention_age=2000000us", 2000000},
		{"store.retention_age=1500ms", 1500000},
		{"store.retention_age=7s", 7000000},
		{"store.retention_age=3m", 180000000},
		{"store.retention_age=1h", 3600000000},
		{"store.retention_age=3650d", 315360000000000},
	};
	struct config *c = config_new();
	char error[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CHECK_INT(config_set(c, cases[i].text, error, sizeof(error)), 0);
		CHECK_INT(config_time(c, "store.retention_age"), cases[i].usec);
	}
	CHECK_INT(config_set(c, "store.retention_bytes=100", error, sizeof(error)), 0);
	CHECK_INT(config_size(c, "store.retention_bytes"), 100);
	CHECK_INT(config_set(c, "store.retention_bytes=3K", error, sizeof(error)), 0);
	CHECK_INT(config_size(c, "store.retention_bytes"), 3072);
	CHECK_INT(config_set(c, "store.retention_bytes=1048576G", error, sizeof(error)), 0);
	CHECK_INT(config_size(c, "store.retention_bytes"), INT64_C(1) << 50);
	config_free(c);
}

TEST(environment)
{
	static const struct {
		const char *name, *value, *error;
	} cases[] = {
		{"STANDPIPE_INGEST_WINDOW", "1M", NULL},
		{"STANDPIPE_VALIDATE_REFRESH_INTERVAL", "1s", NULL},
		{"STANDPIPE_VECTORS", "/somewhere", NULL},
		{"STANDPIPE_BUILD", "build/asan", NULL},
		{"STANDPIP_INGEST_WINDW", "1M", NULL},
		{"STANDPIPE_INGEST_WINDW", "1M", "STANDPIPE_INGEST_WINDW: unknown key"},
		{"STANDPIPE_ingest_window", "1M", "STANDPIPE_ingest_window: unknown key"},
		{"STANDPIPE_", "1M", "STANDPIPE_: unknown key"},
		{"STANDPIPE_INGEST_WINDOW", "1",
		 "STANDPIPE_INGEST_WINDOW: \"1\" is not within 64K to 64G"},
	};

	unsetenv("STANDPIPE_VECTORS");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = config_new();
		char error[1024] = "";

		setenv(cases[i].name, cases[i].value, 1);
		CHECK_INT(config_read_environment(c, error, sizeof(error)),
			  cases[i].error ? -EINVAL : 0);
		CHECK_STR(error, cases[i].error ? cases[i].error : "");
		unsetenv(cases[i].name);
		config_free(c);
	}
}

TEST(precedence)
{
	struct config *c = config_new();
	char error[1024];

	setenv("STANDPIPE_GROUP_LANES", "3", 1);
	setenv("STANDPIPE_GROUP_REPLICAS", "3", 1);
	CHECK_INT(read_text(c, "[group]\nlanes = 2\nreplicas = 2\nlog_level = error\n", error), 0);
	CHECK_INT(config_read_environment(c, error, sizeof(error)), 0);
	CHECK_INT(config_set(c, "group.replicas=4", error, sizeof(error)), 0);
	CHECK_STR(config_text(c, "group.log_level"), "error");
	CHECK_INT(config_number(c, "group.lanes"), 3);
	CHECK_INT(config_number(c, "group.replicas"), 4);
	unsetenv("STANDPIPE_GROUP_LANES");
	unsetenv("STANDPIPE_GROUP_REPLICAS");
	config_free(c);
}

TEST(a_refused_value_changes_nothing)
{
	struct config *c = config_new();
	char error[1024];

	CHECK_INT(config_set(c, "group.lanes=65", error, sizeof(error)), -EINVAL);
	CHECK_INT(config_set(c, "group.log_level=loud", error, sizeof(error)), -EINVAL);
	CHECK_INT(config_number(c, "group.lanes"), 1);
	CHECK_STR(config_text(c, "group.log_level"), "info");
	config_free(c);
}

TEST(values_must_go_together)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"ingest.backoff_min=1h", "ingest.backoff_min is longer than ingest.backoff_max"},
		{"ingest.ping_interval=91s",
		 "ingest.ping_interval is longer than ingest.read_timeout"},
		{"network.ca_file=/nonexistent/ca.pem",
		 "network.ca_file: /nonexistent/ca.pem: No such file or directory"},
		{"fanout.port=2472",
		 "fanout.port takes a port that resolve.metrics_port takes: 2472 to 2472, and 2472 "
		 "to 2472"},
		{"store.metrics_port=2500",
		 "store.metrics_port takes a port that validate.metrics_port takes: 2500 to 2500, "
		 "and 2500 to 2500"},
		{"fanout.metrics_port=2470",
		 "fanout.port takes a port that fanout.metrics_port takes: 2470 to 2470, and 2470 "
		 "to 2470"},
	};
	char error[1024];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = config_new();

		CHECK_INT(config_check(c, error, sizeof(error)), 0);
		CHECK_INT(config_set(c, cases[i].text, error, sizeof(error)), 0);
		CHECK_INT(config_check(c, error, sizeof(error)), -EINVAL);
		CHECK_STR(error, cases[i].error);
		config_free(c);
	}
}

/* Three replicas: whether each has a port of its own makes a difference. */
TEST(ports_of_all_instances_go_together)
{
	static const struct {
		const char *port, *own, *error;
	} cases[] = {
		{"2469", "false", NULL},
		{"2469", "true",
		 "%s:5: fanout.port takes a port that ingest.metrics_port takes: "
		 "2469 to 2471, and 2471 to 2471"},
		{"2468", "true", NULL},
		{"65534", "false", NULL},
		{"65534", "true", "%s:5: fanout.port is too high for 3 instances"},
		{"65533", "true", NULL},
	};
	char path[256], error[1024], want[1024];

	snprintf(path, sizeof(path), "%s/conf", test_folder());
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = config_new();
		FILE *f = fopen(path, "we");

		fprintf(f, "[group]\nreplicas = 3\n[fanout]\nown_ports = %s\nport = %s\n",
			cases[i].own, cases[i].port);
		fclose(f);
		CHECK_INT(config_read_file(c, path, error, sizeof(error)), 0);
		CHECK_INT(config_check(c, error, sizeof(error)), cases[i].error ? -EINVAL : 0);
		if (cases[i].error) {
			snprintf(want, sizeof(want), "%s%s", path, cases[i].error + 2);
			CHECK_STR(error, want);
		} else
			CHECK_INT(config_public_port(c, 2) - config_public_port(c, 0),
				  strcmp(cases[i].own, "true") == 0 ? 2 : 0);
		/* What is given besides the file has no line in it. */
		CHECK_INT(config_set(c, "fanout.port=2471", error, sizeof(error)), 0);
		CHECK_INT(config_check(c, error, sizeof(error)), -EINVAL);
		CHECK(strncmp(error, "fanout.port takes", 17) == 0);
		config_free(c);
	}
}

TEST(pipe_urls)
{
	struct config *c = config_new();
	char url[CONFIG_URL_SIZE], error[1024], long_name[256];

	CHECK_STR(config_pipe_url(c, "events", "", 7, url), "ipc:///run/standpipe/events-7");
	CHECK_STR(config_pipe_url(c, "calls", "store", 0, url), "ipc:///run/standpipe/calls-store");
	CHECK_STR(config_pipe_url(c, "control", "validate-3", 0, url),
		  "ipc:///run/standpipe/control-validate-3");
	CHECK_STR(config_pipe_url(c, "head", "", 0, url), "ipc:///run/standpipe/head");
	CHECK_INT(config_set(c, "pipes.verified=tcp://10.0.0.1:90{lane}", error, sizeof(error)), 0);
	CHECK_STR(config_pipe_url(c, "verified", "", 12, url), "tcp://10.0.0.1:9012");
	/* The longest there is. */
	snprintf(long_name, sizeof(long_name), "group.run_dir=%.80s",
		 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaa");
	CHECK_INT(config_set(c, long_name, error, sizeof(error)), 0);
	snprintf(long_name, sizeof(long_name), "pipes.control=ipc://{run}/{stage}%.109s",
		 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
		 "b");
	CHECK_INT(config_set(c, long_name, error, sizeof(error)), 0);
	CHECK(strlen(config_pipe_url(c, "control", "validate-63", 0, url)) < CONFIG_URL_SIZE);
	config_free(c);
}

/* What config_print writes, read again, is the same configuration. */
TEST(print_and_read_again)
{
	static const char *const values[] = {"group.lanes=7",
					     "ingest.hosts=a.example b.example:8443",
					     "resolve.keep_alive=false", "store.retention_age=90m"};
	char *first = NULL, *second = NULL, error[1024];
	struct config *a = config_new(), *b = config_new();
	size_t len;
	FILE *f;

	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		CHECK_INT(config_set(a, values[i], error, sizeof(error)), 0);
	f = open_memstream(&first, &len);
	config_print(a, f);
	fclose(f);
	CHECK_INT(read_bytes(b, first, len, error), 0);
	CHECK_STR(error, "");
	f = open_memstream(&second, &len);
	config_print(b, f);
	fclose(f);
	CHECK_STR(second, first);
	CHECK_INT(config_number(b, "group.lanes"), 7);
	CHECK(strstr(first, "# A time, 1s to 3650d; default 72h\nretention_age = 90m\n") != NULL);
	CHECK(strstr(first, "\n[store]\n") != NULL);
	for (const char *line = first; *line; line += strcspn(line, "\n") + 1)
		CHECK(strcspn(line, "\n") <= 100);
	free(first);
	free(second);
	config_free(a);
	config_free(b);
}
