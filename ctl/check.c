#include "ctl/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/stage.h"
#include "ctl/programs.h"

int check_frames(int argc, char **argv)
{
	static char option[] = "--check-frames";
	char directory[PROGRAMS_DIR_SIZE], program[PROGRAMS_DIR_SIZE + 32];
	char **args = xcalloc((size_t)argc + 2, sizeof(*args));
	int error = programs_find(directory);

	if (!error) {
		snprintf(program, sizeof(program), "%s/standpipe-validate", directory);
		args[0] = program;
		args[1] = option;
		for (int i = 1; i < argc; i++)
			args[i + 1] = argv[i];
		execv(program, args);
		error = -errno;
	}
	fprintf(stderr, "standpipe: standpipe-validate: %s\n", strerror(-error));
	free(args);
	return STAGE_EXIT_AGAIN;
}
