/*
 * The `standpipe` command: runs the group in the foreground, asks a running group how it is, gives
 * it orders, and checks recorded frames. It trusts its configuration and the stages, reads nothing
 * from the network, and talks to stages through their control pipes only.
 */
#include <getopt.h>
#include <stdlib.h>

#include "common/stage.h"
#include "ctl/check.h"
#include "ctl/consumers.h"
#include "ctl/group.h"
#include "ctl/memory_table.h"
#include "ctl/order.h"
#include "ctl/rebuild.h"
#include "ctl/restart.h"
#include "ctl/run.h"
#include "ctl/status.h"
#include "ctl/top.h"

#define ARGUMENTS_MAX 96 /* passed on to the stages */
#define ERROR_SIZE    512

static const char usage[] =
	"usage: standpipe [--config FILE] [--set SECTION.KEY=VALUE]... COMMAND\n"
	"\n"
	"  run       start the whole group in the foreground; Ctrl-C stops it in order\n"
	"  status    each process of a running group: pid, uptime, memory, main counters\n"
	"  consumers       who reads the stream: address, events, how far behind\n"
	"  restart STAGE   restart its processes one after another, or one alone: fanout-1\n"
	"  config    print the configuration, every key explained\n"
	"  check     check recorded frames as a running relay would; see check --help\n"
	"  rebuild   make the lost state of store anew from its log; no relay may be running\n"
	"\n"
	"  top                  the group live: memory, what of it no account explains, how fast\n"
	"                       that grows, events, queues; --once: one table\n"
	"  memory STAGE         where a stage's memory is, row by row\n"
	"  heap STAGE TIME      profile its heap for so long (60s, 5m): which call sites grew\n"
	"  heap STAGE start | mark | report | stop\n"
	"  set KEY VALUE        change a setting of a running stage: resolve.keep_alive false\n"
	"  unset KEY            back to what the configuration says\n"
	"  settings             the settings that can be changed so, and their values\n"
	"\n"
	"  --check-config   check the configuration and exit\n"
	"  --version        print the version and exit\n"
	"  --help           print this and exit\n";

struct arguments {
	struct config *config;
	const char *file;
	const char *sets[ARGUMENTS_MAX];
	size_t set_count;
	char *passed_on[2 * ARGUMENTS_MAX + 4];
	size_t passed_count;
	bool check;
	bool once; /* of top */
};

static void pass_on(struct arguments *a, const char *option, char *value)
{
	a->passed_on[a->passed_count++] = (char *)(uintptr_t)option;
	a->passed_on[a->passed_count++] = value;
	a->passed_on[a->passed_count] = NULL;
}

/* STAGE_GO, or the exit status. */
static int read_options(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"set", required_argument, NULL, 's'},
		{"check-config", no_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{"once", no_argument, NULL, 'o'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			if (a->file) {
				fprintf(stderr, "standpipe: more than one --config\n");
				return STAGE_EXIT_USAGE;
			}
			a->file = optarg;
			pass_on(a, "--config", optarg);
			break;
		case 's':
			if (a->set_count == ARGUMENTS_MAX) {
				fprintf(stderr, "standpipe: more than %d --set\n", ARGUMENTS_MAX);
				return STAGE_EXIT_USAGE;
			}
			a->sets[a->set_count++] = optarg;
			pass_on(a, "--set", optarg);
			break;
		case 'o':
			a->once = true;
			break;
		case 'k':
			a->check = true;
			break;
		case 'v':
			printf("standpipe %s\n", STAGE_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return STAGE_EXIT_USAGE;
		}
	}
	return STAGE_GO;
}

/* File, then environment, then --set: the later wins. */
static int read_config(struct arguments *a)
{
	char error[ERROR_SIZE];
	int result = 0;

	if (a->file)
		result = config_read_file(a->config, a->file, error, sizeof(error));
	if (result == 0)
		result = config_read_environment(a->config, error, sizeof(error));
	for (size_t i = 0; result == 0 && i < a->set_count; i++)
		result = config_set(a->config, a->sets[i], error, sizeof(error));
	if (result == 0)
		result = config_check(a->config, error, sizeof(error));
	if (result == 0)
		return STAGE_GO;
	fprintf(stderr, "standpipe: %s\n", error);
	return STAGE_EXIT_CONFIG;
}

static int do_run(struct arguments *a, const struct group *g, char **args)
{
	(void)args;
	return run_group(g, a->config, a->passed_on);
}

static int do_status(struct arguments *a, const struct group *g, char **args)
{
	(void)args;
	return status_print(g, a->config);
}

static int do_top(struct arguments *a, const struct group *g, char **args)
{
	(void)args;
	return top_run(g, a->config, a->once);
}

static int do_memory(struct arguments *a, const struct group *g, char **args)
{
	return memory_print(g, a->config, args[0]);
}

static int do_heap(struct arguments *a, const struct group *g, char **args)
{
	return order_heap(g, a->config, args[0], args[1]);
}

static int do_set(struct arguments *a, const struct group *g, char **args)
{
	return order_setting(g, a->config, args[0], args[1]);
}

static int do_unset(struct arguments *a, const struct group *g, char **args)
{
	return order_setting(g, a->config, args[0], NULL);
}

static int do_settings(struct arguments *a, const struct group *g, char **args)
{
	(void)args;
	return order_settings(g, a->config);
}

static int do_consumers(struct arguments *a, const struct group *g, char **args)
{
	(void)args;
	return consumers_print(g, a->config);
}

static int do_restart(struct arguments *a, const struct group *g, char **args)
{
	return restart_members(g, a->config, args[0]);
}

static int do_rebuild(struct arguments *a, const struct group *g, char **args)
{
	(void)g;
	(void)args;
	return rebuild_state(a->passed_on);
}

static int do_config(struct arguments *a, const struct group *g, char **args)
{
	(void)g;
	(void)args;
	config_print(a->config, stdout);
	return 0;
}

static const struct {
	const char *name;
	int words; /* that follow it */
	int (*run)(struct arguments *a, const struct group *g, char **args);
} commands[] = {
	{"run", 0, do_run},         {"status", 0, do_status},     {"top", 0, do_top},
	{"memory", 1, do_memory},   {"heap", 2, do_heap},         {"set", 2, do_set},
	{"unset", 1, do_unset},     {"settings", 0, do_settings}, {"config", 0, do_config},
	{"rebuild", 0, do_rebuild}, {"restart", 1, do_restart},   {"consumers", 0, do_consumers},
};

static int run_command(struct arguments *a, char **words, int count)
{
	struct group group;

	if (count == 0) {
		fputs(usage, stderr);
		return STAGE_EXIT_USAGE;
	}
	group_init(&group, a->config);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, words[0]) != 0)
			continue;
		if (commands[i].words == count - 1)
			return commands[i].run(a, &group, words + 1);
		fputs(usage, stderr);
		return STAGE_EXIT_USAGE;
	}
	fprintf(stderr, "standpipe: no such command: %s\n%s", words[0], usage);
	return STAGE_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct arguments a;
	int status;

	/* It has options of its own, and needs no configuration. */
	if (argc > 1 && strcmp(argv[1], "check") == 0)
		return check_frames(argc - 1, argv + 1);
	a = (struct arguments){.config = config_new()};
	status = read_options(&a, argc, argv);
	if (status == STAGE_GO)
		status = read_config(&a);
	if (status == STAGE_GO && a.check) {
		printf("configuration ok\n");
		status = 0;
	}
	if (status == STAGE_GO)
		status = run_command(&a, argv + optind, argc - optind);
	config_free(a.config);
	return status;
}
