/*
 * What we think of an event. Bad data is not an error of ours: it is a verdict, with a name (for
 * logs, metrics and /rejects) and the section of the specification that it rests on. The numbers go
 * over pipes and never change their meaning.
 */
#pragma once

#include "common/bytes.h"

enum verdict {
	VERDICT_ACCEPTED = 0,
	/* the frame [event stream; sync] */
	VERDICT_FRAME_TOO_LARGE = 1,
	VERDICT_FRAME_BAD_CBOR = 2,
	VERDICT_FRAME_BAD_FIELDS = 3, /* a field is missing, or of the wrong type or syntax */
	VERDICT_BLOCKS_TOO_LARGE = 4,
	VERDICT_TOO_MANY_OPS = 5,
	VERDICT_RECORD_TOO_LARGE = 6,
	VERDICT_REV_IN_FUTURE = 7,
	VERDICT_UNKNOWN_KIND = 8, /* unknown op or t: skipped [ES] */
	/* identity [DID; sync, authority] */
	VERDICT_BAD_DID = 16,
	VERDICT_IDENTITY_NOT_FOUND = 17,   /* 404 */
	VERDICT_IDENTITY_TOMBSTONED = 18,  /* 410 */
	VERDICT_IDENTITY_UNUSABLE = 19,    /* no atproto key, or no PDS */
	VERDICT_IDENTITY_UNAVAILABLE = 20, /* waited as long as configured */
	VERDICT_WRONG_HOST = 21,           /* not the account's PDS */
	VERDICT_IDENTITY_UNCHANGED = 22,   /* #identity from another host, document unchanged */
	/* blocks and commit object [repository] */
	VERDICT_BAD_CAR = 32,
	VERDICT_BLOCK_MISSING = 33,
	VERDICT_BLOCK_HASH = 34,
	VERDICT_COMMIT_BAD_OBJECT = 35,
	VERDICT_COMMIT_MISMATCH = 36, /* did, rev or CID differ from the frame's */
	VERDICT_BAD_SIGNATURE = 37,
	/* MST, ops, inversion [repository; sync] */
	VERDICT_MST_BAD_NODE = 48,
	VERDICT_BAD_OP = 49,
	VERDICT_OP_MISMATCH = 50, /* the tree does not hold what the op says */
	VERDICT_INVERSION_FAILED = 51,
	VERDICT_PREV_DATA_MISSING = 52,
	/* store */
	VERDICT_DUPLICATE = 64, /* this host's event was applied before */
	VERDICT_STALE_REV = 65,
	VERDICT_ACCOUNT_INACTIVE = 66,
	VERDICT_MAX = 96,
};

struct verdict_info {
	const char *name;    /* "bad_signature"; NULL for numbers not in use */
	const char *section; /* "repository: Commit Objects" */
	const char *text;    /* one sentence for people */
};

/* Never NULL; numbers not in use give one named "unknown". */
const struct verdict_info *verdict_info(enum verdict v);
/* Duplicate and stale events are what replays bring: counted, not held against a host. */
bool verdict_is_replay(enum verdict v);
