/*
 * standpipe-validate: parses what hosts send, and it is the only stage that does. Every byte of an
 * event is hostile until it is proven; so this process opens no file and no network connection, and
 * talks to nobody but ingest, resolve and store over their pipes. It keeps nothing: killed at any
 * time, it costs the time that its lane needs to be sent again.
 *
 * Asked to, it is a tool instead: one that checks files (replay.h), or that tells store what is in
 * events (facts.h), by the same code.
 */
#include <string.h>

#include "validate/facts.h"
#include "validate/replay.h"
#include "validate/validator.h"

int main(int argc, char **argv)
{
	struct stage stage;
	struct validator *validator;
	int status;

	if (argc > 1 && strcmp(argv[1], REPLAY_OPTION) == 0)
		return replay_main(argc - 1, argv + 1);
	if (argc == 2 && strcmp(argv[1], FACTS_OPTION) == 0)
		return facts_main();
	status = stage_init(&stage, "validate", STAGE_INSTANCES, argc, argv);
	if (status != STAGE_GO)
		return status;
	if (validator_new(&stage, &validator) < 0) {
		stage_release(&stage);
		return STAGE_EXIT_AGAIN;
	}
	status = stage_run(&stage, validator_stop, validator);
	validator_free(validator);
	stage_release(&stage);
	return status;
}
