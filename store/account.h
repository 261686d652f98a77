/*
 * What store knows of an account, and what an event makes of it. Pure: no database, no clock, so
 * that every decision can be put in a table.
 *
 * An event is a replay if it was applied before: per account, the last one applied is remembered by
 * its host, that host's epoch and its number there, and whatever is at or below it from the same
 * host and epoch, or of an epoch before, has been decided. Two such places are kept. One is of the
 * host that the account counts for, which is the one whose #commit, #sync and #account it takes:
 * validate lets only the account's PDS send these. The other is of the host before that one, or of
 * a host that sent an #identity only, which any host may do.
 */
#pragma once

#include "common/message.h"

struct account_applied {
	uint64_t host_id; /* 0: none */
	uint32_t host_epoch;
	uint64_t host_seq;
};

struct account {
	bool active; /* as its host says */
	enum account_status status;
	struct account_applied here;
	struct account_applied elsewhere;
	bool has_commit; /* the rest is zeros without */
	uint8_t rev[TID_SIZE];
	uint8_t commit[SHA256_SIZE]; /* digests of dag-cbor CIDs */
	uint8_t data[SHA256_SIZE];
};

#define ACCOUNT_SIZE 120 /* encoded */

/* An account that no event was seen of: active, on no host, without a commit. */
void account_init(struct account *a);

/*
 * Decides on an event and, if VERDICT_ACCEPTED, applies it; else a is untouched.
 *
 *	VERDICT_DUPLICATE		applied before
 *	VERDICT_STALE_REV		#commit, #sync: rev is not after the last [sync: Validation]
 *	VERDICT_ACCOUNT_INACTIVE	#commit, #sync: its host said that the account is not active
 *					[account: Hosting Status]
 *
 * ret_discontinuous: an accepted #commit that does not follow the last state known (by `since` or
 * `prevData`). It is passed on, and its state adopted: consumers detect it as well, and a relay
 * does not fetch repositories.
 */
enum verdict account_apply(struct account *a, const struct verified *v, bool *ret_discontinuous);

/* An event of the log, which was accepted when it came. Host 0: it is not known any more. */
void account_restore(struct account *a, const struct verified *v);

/* The host in whose count the account is, or 0: no host yet, or deleted. */
uint64_t account_counts_for(const struct account *a);

/* u8 version, u8 flags (1 active, 2 has a commit), u8 status, twice (u64 host id, u32 epoch, u64
 * seq), 13 rev, 32 commit, 32 data */
void account_encode(const struct account *a, uint8_t ret[static ACCOUNT_SIZE]);
/* -EBADMSG */
int account_decode(struct span s, struct account *ret) MUST_CHECK;
