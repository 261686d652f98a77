/*
 * The recorded scenarios: what a host once sent, and which of it a relay has to pass on. They hold
 * no raw frames: these are made again from the JSON form of their parts, and held against the sizes
 * and digests that are known of them. Only public keys are known, so nothing in them can be
 * altered.
 *
 * Needs test_vectors().
 */
#pragma once

#include "common/multikey.h"

#define SCENARIO_MESSAGES_MAX 16

struct scenario_message {
	struct span frame;
	uint64_t seq;
	bool drop; /* nothing may come out for it */
};

/* Of one account, on one host. */
struct scenario {
	bool is_lenient; /* a missing prevData is to be tolerated */
	char did[64];
	char handle[256];
	struct public_key key;
	size_t count;
	struct scenario_message messages[SCENARIO_MESSAGES_MAX];
	struct buf bytes; /* of the frames */
};

/* name: "legacy". Free with scenario_release. */
void scenario_read(const char *name, struct scenario *ret);
void scenario_release(struct scenario *s);
