/* simnet: the simulated network as a program. */
#include <stdio.h>

#include "tests/simnet/command.h"

static const struct {
	const char *name, *arguments;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"write", "CORPUS [NAME=VALUE ...]", command_write},
	{"show", "CORPUS", command_show},
	{"records", "CORPUS", command_records},
	{"export", "CORPUS FILE", command_export},
	{"serve", "FOLDER [rate=EVENTS_A_SECOND] [corpus=CORPUS | NAME=VALUE ...]", command_serve},
	{"read", "HOST:PORT[/CURSOR] [counts]", command_read},
	{"demo", "[rate=EVENTS_A_SECOND]", command_demo},
};

static int usage(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(stderr, "%s simnet %s %s\n", i == 0 ? "usage:" : "      ", commands[i].name,
			commands[i].arguments);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(commands); i++) {
		int status;

		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		status = commands[i].run(argc - 1, argv + 1);
		return status == EXIT_USAGE ? usage() : status;
	}
	return usage();
}
