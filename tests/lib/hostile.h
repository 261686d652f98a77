/*
 * Events made to cost as much as they can: within every limit on size, or just past it, and signed
 * by an account of their sender's own, since whatever does not verify is dropped early. For tests
 * that they get the right verdict, and for the bench that says what each costs.
 */
#pragma once

#include "common/verdict.h"
#include "tests/lib/repo.h"

struct hostile {
	const char *name;
	enum verdict want;
	struct public_key key; /* of the account */
	struct buf frame;
};

/* Of every rev and commit in them. */
#define HOSTILE_USEC UINT64_C(1767323045678000)

/* False past the last one. Free with hostile_release. */
bool hostile_make(size_t number, struct hostile *ret);
void hostile_release(struct hostile *h);
