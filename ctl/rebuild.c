#include "ctl/rebuild.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/stage.h"
#include "ctl/programs.h"

#define ARGUMENTS_MAX 256

/* The child: argv with these two as standard input and output. Never returns. */
static _Noreturn void become(char *const *argv, int in, int out)
{
	dup2(in, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	execv(argv[0], argv);
	fprintf(stderr, "standpipe: %s: %s\n", argv[0], strerror(errno));
	_exit(STAGE_EXIT_AGAIN);
}

static pid_t start(char *const *argv, int in, int out)
{
	pid_t pid = fork();

	if (pid == 0)
		become(argv, in, out);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return STAGE_EXIT_AGAIN;
	return WEXITSTATUS(status);
}

int rebuild_state(char *const *arguments)
{
	static char rebuild[] = "--rebuild", facts[] = "--facts";
	char directory[PROGRAMS_DIR_SIZE];
	char store[PROGRAMS_DIR_SIZE + 32], validate[PROGRAMS_DIR_SIZE + 32];
	char *store_args[ARGUMENTS_MAX] = {store, rebuild},
	     *validate_args[] = {validate, facts, NULL};
	int questions[2], answers[2], status, error = programs_find(directory);
	pid_t pids[2];

	if (error == 0 && (pipe2(questions, O_CLOEXEC) < 0 || pipe2(answers, O_CLOEXEC) < 0))
		error = -errno;
	if (error < 0) {
		fprintf(stderr, "standpipe: the stages' programs: %s\n", strerror(-error));
		return STAGE_EXIT_AGAIN;
	}
	snprintf(store, sizeof(store), "%s/standpipe-store", directory);
	snprintf(validate, sizeof(validate), "%s/standpipe-validate", directory);
	for (size_t i = 0; arguments[i] && i + 3 < ARGUMENTS_MAX; i++)
		store_args[i + 2] = arguments[i];
	fflush(NULL);
	pids[0] = start(validate_args, questions[0], answers[1]);
	pids[1] = start(store_args, answers[0], questions[1]);
	/* Each sees the end of the other. */
	close(questions[0]);
	close(questions[1]);
	close(answers[0]);
	close(answers[1]);
	status = wait_for(pids[1]);
	error = wait_for(pids[0]);
	return status != 0 ? status : error;
}
