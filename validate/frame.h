/*
 * An event stream frame: a header {op, t} and a body, two DAG-CBOR maps and nothing after them
 * [event stream: framing]. Decoded strictly: the canonical form everywhere, also in fields that
 * nobody knows; every required field of the kind, with its type and syntax [subscribeRepos].
 * Unknown fields pass. `blobs`, `rebase` and `tooBig` have no meaning any more and are not looked
 * at, whatever they hold.
 *
 * A decoded frame borrows from the bytes that it was decoded from.
 */
#pragma once

#include "common/limits.h"
#include "common/message.h"

enum op_action { OP_CREATE, OP_UPDATE, OP_DELETE };

/* CIDs are in binary and as they came: the tree holds them byte for byte. */
struct op {
	enum op_action action;
	struct span path;
	struct span cid;  /* empty: null */
	struct span prev; /* empty: absent */
};

struct frame {
	struct span bytes;
	enum event_kind kind;
	struct span did; /* `repo` of a #commit */
	uint64_t seq;
	uint32_t seq_offset; /* where the CBOR integer of `seq` stands in bytes, */
	uint8_t seq_size;    /* and its length */
	/* #commit, #sync */
	struct span rev;
	struct span blocks;
	/* #commit */
	struct span since; /* empty: null */
	struct cid commit;
	bool has_prev_data;
	struct cid prev_data;
	/* #identity */
	struct span handle;       /* empty: absent */
	struct span handle_field; /* the key and the value, as they stand in bytes */
	struct span body;
	size_t body_count; /* its fields */
	/* #account */
	bool active;
	struct span status; /* empty: absent */
	/* for frame.c */
	size_t unknown_count; /* of its fields that are small */
	bool is_doubtful;     /* whether it keeps the limits on CBOR is not known */
	/* #commit; last, and not cleared for each frame */
	size_t op_count;
	struct op ops[LIMIT_OPS];
};

/* What was decoded before something was found wrong stays in ret, for the log. */
enum verdict frame_decode(struct span bytes, struct frame *ret) MUST_CHECK;
/* Puts the frame without its handle into out, which is cleared first. */
void frame_remove_handle(const struct frame *f, struct buf *out);
/* "commit", "sync", ...: "event" before the kind is known. */
const char *frame_kind_name(const struct frame *f);
