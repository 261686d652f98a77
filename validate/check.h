/*
 * Whether an event is what the protocol says, as far as its own bytes and its account's key can
 * tell: no identities, no state of the account, no clock but the one given. Whatever judges events
 * (the stage, tests, tools) asks here, in this order:
 *
 *	frame_decode	frame.h
 *	check_fields	rules on the fields, before anything is looked up
 *	check_blocks	#commit and #sync: archive, commit object, signature, tree, ops, inversion
 *
 * A checker's memory is used again for each event.
 */
#pragma once

#include "common/message.h"
#include "validate/frame.h"
#include "validate/signature.h"

struct checker;

struct check_rules {
	uint64_t received_usec;  /* since 1970 */
	uint64_t rev_drift_usec; /* how far a rev may be ahead of that */
	bool is_legacy;          /* prevData and an op's prev may be missing */
};

struct checker *checker_new(void);
void checker_free(struct checker *c);
struct signatures *checker_signatures(struct checker *c);
int64_t checker_memory_bytes(void *checker);

enum verdict check_fields(const struct frame *f, const struct check_rules *rules) MUST_CHECK;
/* Sets what a commit says in ret (rev to prev_data), and that only if it is accepted. */
enum verdict check_blocks(struct checker *c, const struct frame *f, const struct signature_key *key,
			  const struct check_rules *rules, struct verified *ret) MUST_CHECK;
/* The same but for the signature: for tools that have no key. Proves nothing about who made the
 * event. */
enum verdict check_unsigned_blocks(struct checker *c, const struct frame *f,
				   const struct check_rules *rules,
				   struct verified *ret) MUST_CHECK;
