/*
 * standpipe-store: the sole owner of sequence numbers, the log and the state of accounts. It trusts
 * what validate sends, and has no network. Asked to (rebuild.h), it makes a lost state anew and
 * ends.
 */
#include "store/rebuild.h"
#include "store/store.h"

int main(int argc, char **argv)
{
	struct stage stage;
	struct store *store;
	int status;

	if (argc > 1 && strcmp(argv[1], REBUILD_OPTION) == 0)
		return rebuild_main(argc - 1, argv + 1);
	status = stage_init(&stage, "store", STAGE_SINGLE, argc, argv);
	if (status != STAGE_GO)
		return status;
	status = STAGE_EXIT_AGAIN;
	if (store_new(&stage, &store) == 0) {
		status = stage_run(&stage, store_stop, store);
		store_free(store);
	}
	stage_release(&stage);
	return status;
}
