/*
 * standpipe-store: the sole owner of sequence numbers, the log and the state of accounts. It trusts
 * what validate sends, and has no network.
 */
#include "store/store.h"

int main(int argc, char **argv)
{
	struct stage stage;
	struct store *store;
	int status = stage_init(&stage, "store", STAGE_SINGLE, argc, argv);

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
