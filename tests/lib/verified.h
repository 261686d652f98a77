/*
 * Verified events as validate sends them to store, with small frames: the header of their kind, and
 * a payload with `did`, `pad` (any number of bytes) and `seq`.
 */
#pragma once

#include "common/message.h"

struct event_spec {
	enum event_kind kind;
	const char *did;
	uint64_t host_id;
	uint32_t host_epoch;
	uint64_t host_seq;
	unsigned rev;   /* #commit, #sync: rev, commit and data are made of this number, not 0 */
	unsigned since; /* #commit: the number of the one before, or 0: since and prevData are made
			   of it */
	bool is_legacy; /* #commit: without prevData */
	bool inactive;  /* #account */
	enum account_status status;
	size_t pad;
};

/* frame: emptied, and filled; ret borrows from it. The ticket is the host's number. */
void verified_make(const struct event_spec *spec, struct buf *frame, struct verified *ret);
/* What verified_make makes of a number. */
void verified_rev(unsigned number, uint8_t ret[static TID_SIZE]);
void verified_digest(unsigned number, uint8_t ret[static SHA256_SIZE]);
