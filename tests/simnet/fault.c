#include "tests/simnet/fault.h"

#include <assert.h>
#include <stdlib.h>

#include "common/cbor.h"
#include "common/limits.h"
#include "common/loop.h"
#include "tests/lib/edit.h"
#include "tests/lib/frame.h"
#include "tests/simnet/spoil.h"

/* First bytes of WebSocket frames [RFC 6455, section 5.2]. */
#define BINARY          0x82
#define BINARY_BEGIN    0x02
#define CONTINUATION    0x00
#define LAST_PART       0x80
#define TEXT            0x81
#define CLOSE           0x88
#define RESERVED_BIT    0xc2
#define GOING_AWAY      "\x03\xe9" /* 1001 */
#define FRAGMENT        KIB(64)
#define EMPTY_FRAGMENTS 1000
#define PINGS           1000
#define HOUR_USEC       (3600 * USEC_PER_SEC)

/* A commit that was right but for what is spoilt in it. */

static void put_spoilt(const struct fault *f, struct fault_scene *s, uint64_t seq, struct buf *out)
{
	struct repo_commit c;
	struct buf frame;

	fault_scene_stage(s);
	repo_commit(&s->repo, clock_usec(), &c);
	if (f->spoil)
		f->spoil(s, &c);
	buf_init(&frame, MIB(8));
	frame_put_commit(&frame, seq, &c);
	if (f->edit)
		f->edit(buf_span(&frame), out);
	else
		buf_append(out, buf_span(&frame));
	buf_release(&frame);
	repo_commit_release(&c);
}

static void do_commit(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	put_spoilt(f, s, ++s->seq, frame);
	fault_scene_send(s, CORPUS_COMMIT, s->account, s->seq, buf_span(frame), f->verdict);
}

/* A frame that ingest takes no further, although it has a number. */
static void do_skipped(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	put_spoilt(f, s, ++s->seq, frame);
	fault_scene_send(s, CORPUS_COMMIT, s->account, s->seq, buf_span(frame),
			 VERDICT_UNKNOWN_KIND);
}

/* Of which nothing is left when the host is asked again. */
static void do_raw(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	put_spoilt(f, s, ++s->seq, frame);
	fault_scene_send_raw(s, buf_span(frame));
}

/* Several in a row, which come again each time the host is asked. */
static void do_poison(const struct fault *f, struct fault_scene *s)
{
	for (unsigned i = 0; i < f->number; i++) {
		struct buf *frame = fault_scene_frame(s);

		put_spoilt(f, s, ++s->seq, frame);
		network_send(s->network, &(struct corpus_record){.type = CORPUS_EVENT,
								 .account = s->account,
								 .kind = CORPUS_COMMIT,
								 .host = s->host,
								 .seq = s->seq,
								 .verdict = VERDICT_FRAME_BAD_CBOR,
								 .frame = buf_span(frame)});
	}
}

static void send_commit(struct fault_scene *s, const struct repo_commit *c, enum verdict v)
{
	struct buf *frame = fault_scene_frame(s);

	frame_put_commit(frame, ++s->seq, c);
	fault_scene_send(s, CORPUS_COMMIT, s->account, s->seq, buf_span(frame), v);
}

static void do_tree(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;
	struct forge forge;

	forge_init(&forge);
	f->tree(&forge);
	forge_commit(&forge, &s->repo, clock_usec(), &c);
	send_commit(s, &c, f->verdict);
	repo_commit_release(&c);
	forge_release(&forge);
}

static void do_future_rev(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;
	struct forge forge;

	forge_init(&forge);
	forge_node(&forge, NULL, NULL, 0);
	forge_commit(&forge, &s->repo, clock_usec() + HOUR_USEC, &c);
	send_commit(s, &c, f->verdict);
	repo_commit_release(&c);
	forge_release(&forge);
}

/* A commit that is told after the one that follows it. */
static void do_old_rev(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;

	fault_scene_stage(s);
	repo_commit(&s->repo, clock_usec(), &c);
	fault_scene_speak(s);
	send_commit(s, &c, f->verdict);
	repo_commit_release(&c);
}

static void do_large_record(const struct fault *f, struct fault_scene *s)
{
	uint8_t *record = xcalloc(1, LIMIT_RECORD + 1);
	struct repo_commit c;

	repo_put(&s->repo, "com.example.record/large", span_of(record, LIMIT_RECORD + 1));
	repo_commit(&s->repo, clock_usec(), &c);
	send_commit(s, &c, f->verdict);
	repo_commit_release(&c);
	free(record);
}

/* #sync. */

static void send_sync(struct fault_scene *s, const struct repo_commit *c, enum verdict v)
{
	struct buf *frame = fault_scene_frame(s);

	frame_put_sync(frame, ++s->seq, c);
	fault_scene_send(s, CORPUS_SYNC, s->account, s->seq, buf_span(frame), v);
}

static void do_sync(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;

	repo_sync(&s->repo, clock_usec(), &c);
	f->spoil(s, &c);
	send_sync(s, &c, f->verdict);
	repo_commit_release(&c);
}

static void do_old_sync(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;

	repo_sync(&s->repo, clock_usec(), &c);
	fault_scene_speak(s);
	send_sync(s, &c, f->verdict);
	repo_commit_release(&c);
}

static void do_large_sync(const struct fault *f, struct fault_scene *s)
{
	struct repo_commit c;

	repo_sync(&s->repo, clock_usec(), &c);
	while (c.blocks.len <= LIMIT_SYNC_BLOCKS)
		spoil_extra_block(s, &c);
	send_sync(s, &c, f->verdict);
	repo_commit_release(&c);
}

/* #account. */

static void send_account(struct fault_scene *s, bool active, const char *status)
{
	struct buf *frame = fault_scene_frame(s);

	frame_put_account(frame, ++s->seq, s->repo.did, active, status);
	fault_scene_send(s, CORPUS_ACCOUNT, s->account, s->seq, buf_span(frame), VERDICT_ACCEPTED);
}

/* A right commit of an account that the host has called inactive. */
static void do_inactive(const struct fault *f, struct fault_scene *s)
{
	network_set_status(s->network, s->account, "deactivated");
	send_account(s, false, "deactivated");
	do_commit(f, s);
	network_set_status(s->network, s->account, NULL);
	send_account(s, true, NULL);
}

/* Whose account it is. */

/* A commit that the neighbour's account has made, and that its own host keeps to itself. */
static void do_wrong_host(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);
	struct repo_commit c;

	fault_scene_stage(s->neighbour);
	repo_commit(&s->neighbour->repo, clock_usec(), &c);
	frame_put_commit(frame, ++s->seq, &c);
	repo_commit_release(&c);
	fault_scene_send(s, CORPUS_COMMIT, s->neighbour->account, s->seq, buf_span(frame),
			 f->verdict);
}

static void do_wrong_host_sync(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);
	struct repo_commit c;

	repo_sync(&s->neighbour->repo, clock_usec(), &c);
	frame_put_sync(frame, ++s->seq, &c);
	repo_commit_release(&c);
	fault_scene_send(s, CORPUS_SYNC, s->neighbour->account, s->seq, buf_span(frame),
			 f->verdict);
}

static void do_wrong_host_account(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	frame_put_account(frame, ++s->seq, s->neighbour->repo.did, false, "deleted");
	fault_scene_send(s, CORPUS_ACCOUNT, s->neighbour->account, s->seq, buf_span(frame),
			 f->verdict);
}

static void do_wrong_host_identity(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	frame_put_identity(frame, ++s->seq, s->neighbour->repo.did, "thief.sim.test");
	fault_scene_send(s, CORPUS_IDENTITY_EVENT, s->neighbour->account, s->seq, buf_span(frame),
			 f->verdict);
}

/* A right commit of an account whose document is not. f->number: how. */
static void do_newcomer(const struct fault *f, struct fault_scene *s)
{
	struct world_identity i;
	struct repo_commit c;
	struct buf *frame = fault_scene_frame(s);
	struct repo repo;

	fault_scene_make_repo(s->world, s->newcomer, &repo);
	world_identity(s->world, s->newcomer, &i);
	i.state = (enum world_identity_state)f->number;
	world_change(s->world, s->newcomer, &i);
	repo_put_number(&repo, "com.example.record/first", 1);
	repo_commit(&repo, clock_usec(), &c);
	frame_put_commit(frame, ++s->seq, &c);
	repo_commit_release(&c);
	repo_release(&repo);
	fault_scene_send(s, CORPUS_COMMIT, s->newcomer, s->seq, buf_span(frame), f->verdict);
}

/* Numbers. */

/* A commit under a number that was used before. */
static void do_old_number(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	put_spoilt(f, s, s->seq - f->number, frame);
	fault_scene_send_raw(s, buf_span(frame));
}

/* The host loses what it knew, and says so when it is asked. */
static void do_reset(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_reset(s->network, s->host);
	s->seq = 0;
	network_cut(s->network, s->host);
}

/* It does not say so: what it sends next has low numbers. */
static void do_silent_reset(const struct fault *f, struct fault_scene *s)
{
	network_reset(s->network, s->host);
	s->seq = 0;
	for (unsigned i = 0; i < f->number; i++)
		fault_scene_speak(s);
}

/* Other frames, and what is below them. */

static void do_error_frame(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	(void)f;
	frame_put_error(frame, "ConsumerTooSlow", "too slow");
	fault_scene_send_raw(s, buf_span(frame));
}

/* One frame with this first byte. */
static void do_websocket_frame(const struct fault *f, struct fault_scene *s)
{
	struct buf *frame = fault_scene_frame(s);

	put_spoilt(f, s, ++s->seq, frame);
	network_send_raw(s->network, s->host, (uint8_t)f->number, buf_span(frame));
}

static void do_close_frame(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_send_raw(s->network, s->host, CLOSE, SPAN_LITERAL(GOING_AWAY));
}

static void do_oversize(const struct fault *f, struct fault_scene *s)
{
	struct buf *message = fault_scene_frame(s);

	(void)f;
	memset(buf_extend(message, LIMIT_FRAME + 1), 0, LIMIT_FRAME + 1);
	fault_scene_send_raw(s, buf_span(message));
}

static void do_fragments(const struct fault *f, struct fault_scene *s)
{
	struct buf *part = fault_scene_frame(s);

	(void)f;
	memset(buf_extend(part, FRAGMENT), 0, FRAGMENT);
	network_send_raw(s->network, s->host, BINARY_BEGIN, buf_span(part));
	for (size_t sent = FRAGMENT; sent <= LIMIT_FRAME; sent += FRAGMENT)
		network_send_raw(s->network, s->host, CONTINUATION, buf_span(part));
}

/* A message that grows no more and does not end, on a stream that is alive. */
static void do_empty_fragments(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_send_raw(s->network, s->host, BINARY_BEGIN, SPAN_LITERAL("\xa2"));
	for (unsigned i = 0; i < EMPTY_FRAGMENTS; i++)
		network_send_raw(s->network, s->host, CONTINUATION, SPAN_EMPTY);
}

static void put_half_frame(struct fault_scene *s)
{
	struct buf *bytes = fault_scene_frame(s);

	buf_append(bytes, SPAN_LITERAL("\x82\x7e\x10\x00"));
	memset(buf_extend(bytes, 0x800), 0, 0x800);
	network_send_bytes(s->network, s->host, buf_span(bytes));
}

static void do_truncated_frame(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	put_half_frame(s);
	/* This sends what is there. */
	network_misbehave(s->network, s->host, BEHAVE);
	network_cut(s->network, s->host);
}

static void do_unfinished_frame(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	put_half_frame(s);
}

static void do_masked_frame(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_send_bytes(s->network, s->host, SPAN_LITERAL("\x82\x82\x01\x02\x03\x04\xa1\xa2"));
}

static void do_long_control_frame(const struct fault *f, struct fault_scene *s)
{
	struct buf *bytes = fault_scene_frame(s);

	(void)f;
	buf_append(bytes, SPAN_LITERAL("\x89\x7e\x00\x80"));
	memset(buf_extend(bytes, 128), 0, 128);
	network_send_bytes(s->network, s->host, buf_span(bytes));
}

static void do_ping_flood(const struct fault *f, struct fault_scene *s)
{
	struct buf *bytes = fault_scene_frame(s);

	(void)f;
	for (unsigned i = 0; i < PINGS; i++)
		buf_append(bytes, SPAN_LITERAL("\x89\x00"));
	network_send_bytes(s->network, s->host, buf_span(bytes));
}

/* Manners of the host, f->number, from the next connection on. */
static void do_manner(const struct fault *f, struct fault_scene *s)
{
	network_misbehave(s->network, s->host, (enum misbehaviour)f->number);
	network_cut(s->network, s->host);
}

/* On the connection that there is. */
static void do_manner_at_once(const struct fault *f, struct fault_scene *s)
{
	network_misbehave(s->network, s->host, (enum misbehaviour)f->number);
}

static void do_slow(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_misbehave(s->network, s->host, SLOW);
	fault_scene_speak(s);
}

/* At a byte a millisecond, a minute. */
static void do_slow_large(const struct fault *f, struct fault_scene *s)
{
	uint8_t *record = xcalloc(1, 65536);
	struct repo_commit c;

	(void)f;
	network_misbehave(s->network, s->host, SLOW);
	repo_put(&s->repo, "com.example.record/slow", span_of(record, 65536));
	repo_commit(&s->repo, clock_usec(), &c);
	send_commit(s, &c, VERDICT_ACCEPTED);
	repo_commit_release(&c);
	free(record);
}

/* The table. */

#define RESETS "relay_host_resets_total"

/* An event that validate or store refuses, on a connection that stays. */
#define REFUSED(name_, verdict_)                                                                   \
	.counter = COUNT_ACKNOWLEDGED, .labels = "\"" name_ "\"", .count = 1,                      \
	.verdict = (verdict_), .end = CONNECTION_KEPT
/* A frame that ingest itself drops; the connection ends of it or not. */
#define DROPS(reason_) .counter = COUNT_DROPPED, .labels = "\"" reason_ "\"", .count = 1, .drops = 1
#define FAILS(reason_) .counter = COUNT_FAILED, .labels = "\"" reason_ "\"", .count = 1
#define ENDS           .end = CONNECTION_ENDED, .dials = 1
/* So many attempts are to be seen, further and further apart. */
#define KEEPS_AWAY(n)  .end = CONNECTION_REFUSED, .dials = (n)

#define STREAM     "event stream: Framing"
#define LEXICON    "subscribeRepos lexicon"
#define VALIDATION "sync: Validation"
#define OBJECTS    "repository: Commit Objects"
#define CAR        "repository: CAR File Serialization"
#define MST        "repository: MST Structure"
#define CRYPTO     "cryptography: ECDSA Signature Malleability"
#define AUTHORITY  "sync: Authority"
#define WEBSOCKET  "RFC 6455"

const struct fault faults[] = {
	/* signatures */
	{"wrong_signature", "a signature with one bit flipped", OBJECTS,
	 REFUSED("bad_signature", VERDICT_BAD_SIGNATURE), .act = do_commit,
	 .spoil = spoil_signature},
	{"wrong_key", "signed by a key that is not the account's", OBJECTS,
	 REFUSED("bad_signature", VERDICT_BAD_SIGNATURE), .act = do_commit, .spoil = spoil_key},
	{"high_s_k256", "the other signature of the same, with s in the upper half", CRYPTO,
	 REFUSED("bad_signature", VERDICT_BAD_SIGNATURE), .act = do_commit, .spoil = spoil_high_s,
	 .curve = ON_K256},
	{"high_s_p256", "the same on P-256", CRYPTO,
	 REFUSED("bad_signature", VERDICT_BAD_SIGNATURE), .act = do_commit, .spoil = spoil_high_s,
	 .curve = ON_P256},
	{"der_signature", "a right signature in DER", CRYPTO,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_der},
	{"short_signature", "a signature of 63 bytes", CRYPTO,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_short_signature},
	{"unsigned_commit", "a commit object without sig", OBJECTS,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_no_signature},

	/* the commit object */
	{"commit_version", "version 2", OBJECTS,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_version},
	{"commit_missing_field", "no prev in the commit object", OBJECTS,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_no_prev},
	{"commit_null_data", "data is null", OBJECTS,
	 REFUSED("commit_bad_object", VERDICT_COMMIT_BAD_OBJECT), .act = do_commit,
	 .spoil = spoil_data_link},
	{"commit_did_mismatch", "the commit is another account's than the frame says", VALIDATION,
	 REFUSED("commit_mismatch", VERDICT_COMMIT_MISMATCH), .act = do_commit, .spoil = spoil_did},
	{"commit_rev_mismatch", "the frame says another rev than the commit", VALIDATION,
	 REFUSED("commit_mismatch", VERDICT_COMMIT_MISMATCH), .act = do_commit, .spoil = spoil_rev},
	{"commit_root_mismatch", "the frame says another commit than the archive's root",
	 VALIDATION, REFUSED("commit_mismatch", VERDICT_COMMIT_MISMATCH), .act = do_commit,
	 .spoil = spoil_commit_link},
	{"old_rev", "a commit with a rev below the account's last", VALIDATION,
	 REFUSED("stale_rev", VERDICT_STALE_REV), .act = do_old_rev},
	{"future_rev", "a rev of the next hour", OBJECTS,
	 REFUSED("rev_in_future", VERDICT_REV_IN_FUTURE), .act = do_future_rev},

	/* blocks */
	{"bad_car", "an archive with its last byte cut off", CAR,
	 REFUSED("bad_car", VERDICT_BAD_CAR), .act = do_commit, .spoil = spoil_archive_cut},
	{"bad_car_root", "an archive whose header has no roots", CAR,
	 REFUSED("bad_car", VERDICT_BAD_CAR), .act = do_commit, .spoil = spoil_archive_header},
	{"empty_car", "blocks of no bytes", CAR, REFUSED("bad_car", VERDICT_BAD_CAR),
	 .act = do_commit, .spoil = spoil_archive_empty},
	{"missing_node", "the tree's root is not among the blocks", VALIDATION,
	 REFUSED("block_missing", VERDICT_BLOCK_MISSING), .act = do_commit, .spoil = spoil_no_node},
	{"missing_record", "a record is not among the blocks", VALIDATION,
	 REFUSED("block_missing", VERDICT_BLOCK_MISSING), .act = do_commit,
	 .spoil = spoil_no_record},
	{"node_hash", "a node with one bit flipped", CAR, REFUSED("block_hash", VERDICT_BLOCK_HASH),
	 .act = do_commit, .spoil = spoil_node_hash},
	{"record_hash", "a record with one bit flipped", CAR,
	 REFUSED("block_hash", VERDICT_BLOCK_HASH), .act = do_commit, .spoil = spoil_record_hash},
	{"blocks_too_large", "more than 2,000,000 bytes of blocks", LEXICON,
	 REFUSED("blocks_too_large", VERDICT_BLOCKS_TOO_LARGE), .act = do_commit,
	 .spoil = spoil_blocks_size},
	{"record_too_large", "a record of a MiB and one byte", "sync: Firehose",
	 REFUSED("record_too_large", VERDICT_RECORD_TOO_LARGE), .act = do_large_record},

	/* ops */
	{"too_many_ops", "201 ops", LEXICON, REFUSED("too_many_ops", VERDICT_TOO_MANY_OPS),
	 .act = do_commit, .spoil = spoil_op_count},
	{"op_path", "a path that is none", VALIDATION, REFUSED("bad_op", VERDICT_BAD_OP),
	 .act = do_commit, .spoil = spoil_op_path},
	{"op_twice", "two ops for one path", VALIDATION, REFUSED("bad_op", VERDICT_BAD_OP),
	 .act = do_commit, .spoil = spoil_op_twice},
	{"op_value", "an op with another value than the tree", VALIDATION,
	 REFUSED("op_mismatch", VERDICT_OP_MISMATCH), .act = do_commit, .spoil = spoil_op_value},
	{"op_elsewhere", "an op for a path that the tree has not", VALIDATION,
	 REFUSED("op_mismatch", VERDICT_OP_MISMATCH), .act = do_commit,
	 .spoil = spoil_op_elsewhere},
	{"op_false_delete", "the delete of a record that is still there", VALIDATION,
	 REFUSED("op_mismatch", VERDICT_OP_MISMATCH), .act = do_commit, .spoil = spoil_op_delete},
	{"op_untold", "a new record that no op tells of", VALIDATION,
	 REFUSED("inversion_failed", VERDICT_INVERSION_FAILED), .act = do_commit,
	 .spoil = spoil_op_untold},
	{"op_action", "an update that is told as a create", VALIDATION,
	 REFUSED("inversion_failed", VERDICT_INVERSION_FAILED), .act = do_commit,
	 .spoil = spoil_op_action},
	{"wrong_prev_data", "prevData of another tree", VALIDATION,
	 REFUSED("inversion_failed", VERDICT_INVERSION_FAILED), .act = do_commit,
	 .spoil = spoil_prev_data},
	{"missing_prev_data", "a later commit without prevData", VALIDATION,
	 REFUSED("prev_data_missing", VERDICT_PREV_DATA_MISSING), .act = do_commit,
	 .spoil = spoil_no_prev_data},

	/* trees, correctly signed */
	{"mst_of_another", "a right tree that no op tells of", VALIDATION,
	 REFUSED("inversion_failed", VERDICT_INVERSION_FAILED), .act = do_tree, .tree = spoil_tree},
	{"mst_heights", "keys of two heights in one node", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree, .tree = spoil_tree_heights},
	{"mst_order", "keys that descend", MST, REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE),
	 .act = do_tree, .tree = spoil_tree_order},
	{"mst_same_key", "one key twice", MST, REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE),
	 .act = do_tree, .tree = spoil_tree_same_key},
	{"mst_prefix_too_long", "a prefix longer than the key before", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_prefix_too_long},
	{"mst_prefix_too_short", "a prefix that could be longer", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_prefix_too_short},
	{"mst_empty_node", "a node with nothing in it, below a root", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_empty_node},
	{"mst_root_without_key", "a root that only leads down", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_root_without_key},
	{"mst_shared_subtree", "one node below two keys", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree, .tree = spoil_tree_shared},
	{"mst_skipped_height", "a child two heights below its parent", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_skipped_height},
	{"mst_below_the_bottom", "a link below a node of height 0", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_below_the_bottom},
	{"mst_order_of_nodes", "a left child with keys right of its parent's", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_order_of_nodes},
	{"mst_unknown_field", "a node with a field that no node has", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_unknown_field},
	{"mst_missing_link", "a node without l", MST, REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE),
	 .act = do_tree, .tree = spoil_tree_no_link},
	{"mst_raw_link", "a link to what is no node by its codec", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_raw_link},
	{"mst_long_integer", "a node that is not in its one form", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree,
	 .tree = spoil_tree_long_integer},
	{"mst_no_map", "a node that is an array", MST,
	 REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE), .act = do_tree, .tree = spoil_tree_no_map},
	{"mst_long_key", "a key of 1,025 bytes", MST, REFUSED("mst_bad_node", VERDICT_MST_BAD_NODE),
	 .act = do_tree, .tree = spoil_tree_long_key},

	/* #sync */
	{"old_sync", "a #sync with a rev below the account's last", VALIDATION,
	 REFUSED("stale_rev", VERDICT_STALE_REV), .act = do_old_sync},
	{"sync_extra_block", "a #sync with more than the commit", VALIDATION,
	 REFUSED("bad_car", VERDICT_BAD_CAR), .act = do_sync, .spoil = spoil_extra_block},
	{"sync_too_large", "a #sync with more than 10,000 bytes of blocks", LEXICON,
	 REFUSED("blocks_too_large", VERDICT_BLOCKS_TOO_LARGE), .act = do_large_sync},
	{"sync_wrong_signature", "a #sync with one bit of its signature flipped", OBJECTS,
	 REFUSED("bad_signature", VERDICT_BAD_SIGNATURE), .act = do_sync, .spoil = spoil_signature},

	/* #account */
	{"account_inactive", "a commit of an account that the host has called deactivated",
	 "account: Hosting Status", REFUSED("account_inactive", VERDICT_ACCOUNT_INACTIVE),
	 .act = do_inactive},

	/* whose account it is */
	{"wrong_host", "a right commit from a host that is not the account's", AUTHORITY,
	 REFUSED("wrong_host", VERDICT_WRONG_HOST), .act = do_wrong_host},
	{"wrong_host_sync", "a right #sync from a host that is not the account's", AUTHORITY,
	 REFUSED("wrong_host", VERDICT_WRONG_HOST), .act = do_wrong_host_sync},
	{"wrong_host_account", "a host calls another host's account deleted", AUTHORITY,
	 REFUSED("wrong_host", VERDICT_WRONG_HOST), .act = do_wrong_host_account},
	{"wrong_host_identity", "a host names a handle for another host's account",
	 "sync: Identity", REFUSED("identity_unchanged", VERDICT_IDENTITY_UNCHANGED),
	 .act = do_wrong_host_identity},
	{"identity_missing", "a commit of a DID that is not registered", "DID: Resolution",
	 REFUSED("identity_not_found", VERDICT_IDENTITY_NOT_FOUND), .act = do_newcomer,
	 .number = WORLD_IDENTITY_MISSING},
	{"identity_tombstoned", "a commit of a DID that was given up", "did:plc: Deactivation",
	 REFUSED("identity_tombstoned", VERDICT_IDENTITY_TOMBSTONED), .act = do_newcomer,
	 .number = WORLD_IDENTITY_TOMBSTONED},
	{"identity_without_key", "a commit of a DID whose document has no key",
	 "DID: Representation", REFUSED("identity_unusable", VERDICT_IDENTITY_UNUSABLE),
	 .act = do_newcomer, .number = WORLD_IDENTITY_NO_KEY},
	{"identity_without_pds", "a commit of a DID whose document has no PDS",
	 "DID: Representation", REFUSED("identity_unusable", VERDICT_IDENTITY_UNUSABLE),
	 .act = do_newcomer, .number = WORLD_IDENTITY_NO_PDS},
	{"identity_unavailable", "a commit of a DID of which the directory cannot tell",
	 "DID: Resolution", REFUSED("identity_unavailable", VERDICT_IDENTITY_UNAVAILABLE),
	 .act = do_newcomer, .number = WORLD_IDENTITY_UNKNOWN},
	{"bad_did", "a DID that is none", "DID: Syntax", REFUSED("bad_did", VERDICT_BAD_DID),
	 .act = do_commit, .edit = spoil_frame_did},
	{"did_method", "a DID of a method that is not supported", "DID: Resolution",
	 REFUSED("identity_not_found", VERDICT_IDENTITY_NOT_FOUND), .act = do_commit,
	 .edit = spoil_frame_did_method},

	/* fields */
	{"missing_time", "no time", LEXICON, REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS),
	 .act = do_commit, .edit = spoil_frame_no_time},
	{"bad_time", "a time that is none", LEXICON,
	 REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS), .act = do_commit,
	 .edit = spoil_frame_time},
	{"bad_since", "a since that is no TID", LEXICON,
	 REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS), .act = do_commit,
	 .edit = spoil_frame_since},
	{"missing_blocks", "no blocks", LEXICON,
	 REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS), .act = do_commit,
	 .edit = spoil_frame_no_blocks},
	{"null_op", "null among the ops", LEXICON,
	 REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS), .act = do_commit,
	 .edit = spoil_frame_null_op},
	{"null_prev_data", "prevData is null", LEXICON,
	 REFUSED("frame_bad_fields", VERDICT_FRAME_BAD_FIELDS), .act = do_commit,
	 .edit = spoil_frame_null_prev_data},

	/* frames that are skipped */
	{"unknown_op", "op 5", STREAM, DROPS("unknown_kind"), .act = do_skipped,
	 .edit = spoil_frame_op},
	{"unknown_kind", "t #evil", STREAM, DROPS("unknown_kind"), .act = do_skipped,
	 .edit = spoil_frame_kind},
	{"missing_op", "a header without op", STREAM, DROPS("bad_fields"), .act = do_skipped,
	 .edit = spoil_frame_no_op},
	{"missing_repo", "a commit of nobody", LEXICON, DROPS("bad_fields"), .act = do_skipped,
	 .edit = spoil_frame_no_repo},
	{"missing_seq", "no number", "event stream: Sequence Numbers", DROPS("bad_fields"),
	 .act = do_raw, .edit = spoil_frame_no_seq},
	{"huge_seq", "a number of 2^53", "event stream: Sequence Numbers", DROPS("bad_fields"),
	 .act = do_raw, .edit = spoil_frame_huge_seq},
	{"sequence_repeated", "a number that was there before", "event stream: Sequence Numbers",
	 DROPS("sequence_not_rising"), .act = do_old_number},
	{"sequence_going_back", "a number below one that was there before",
	 "event stream: Sequence Numbers", DROPS("sequence_not_rising"), .act = do_old_number,
	 .number = 1},

	/* frames that end the stream */
	{"bad_cbor", "a frame with its last byte cut off", STREAM, DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_cut},
	{"trailing_byte", "a frame with a byte too many", STREAM, DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_longer},
	{"cbor_long_integer", "an integer in a longer form than it needs", "data model: DRISL",
	 DROPS("bad_cbor"), ENDS, .act = do_raw, .edit = spoil_frame_long_integer},
	{"cbor_float", "a float", "data model: DRISL", DROPS("bad_cbor"), ENDS, .act = do_raw,
	 .edit = spoil_frame_float},
	{"cbor_nested", "64 arrays in one another", "data validation", DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_nested},
	{"cbor_endless_array", "an array of 2^64 - 1", "data model: DRISL", DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_endless_array},
	{"cbor_tag", "a tag that is not 42", "data model: DRISL", DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_tag},
	{"cbor_map_order", "a map with its keys out of order", "data model: DRISL",
	 DROPS("bad_cbor"), ENDS, .act = do_raw, .edit = spoil_frame_unsorted},
	{"cbor_same_key", "a map with one key twice", "data model: DRISL", DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_same_key},
	{"cbor_number_key", "a map with a number for a key", "data model: DRISL", DROPS("bad_cbor"),
	 ENDS, .act = do_raw, .edit = spoil_frame_number_key},
	{"cbor_open_array", "an array that does not say its length", "data model: DRISL",
	 DROPS("bad_cbor"), ENDS, .act = do_raw, .edit = spoil_frame_open_array},
	{"cbor_text", "a text that is not UTF-8", "data model: DRISL", DROPS("bad_cbor"), ENDS,
	 .act = do_raw, .edit = spoil_frame_text},
	/* 1, then 1 and 2, then all of them are found; the fourth stream skips all. */
	{"poison_frames", "three broken frames that come again with every stream", STREAM,
	 .counter = COUNT_DROPPED, .labels = "\"bad_cbor\"", .count = 1 + 2 + 3 + 3,
	 .drops = 1 + 2 + 3 + 3, .end = CONNECTION_ENDED, .dials = 3, .act = do_poison,
	 .edit = spoil_frame_cut, .number = 3},
	{"error_frame", "an error", STREAM, FAILS("stream_refused"), ENDS, .act = do_error_frame},
	{"close_frame", "the host goes away, and says so", WEBSOCKET, FAILS("closed"), ENDS,
	 .act = do_close_frame},
	{"text_frame", "a text message", STREAM, DROPS("text_frame"), ENDS,
	 .act = do_websocket_frame, .number = TEXT},
	{"oversize", "a message of 5,000,001 bytes", "sync: Firehose", DROPS("oversize"), ENDS,
	 .act = do_oversize},
	{"endless_fragments", "a message in parts that add up to too much", "sync: Firehose",
	 DROPS("oversize"), ENDS, .act = do_fragments},
	{"empty_fragments", "a message in empty parts without end", WEBSOCKET, FAILS("silent"),
	 ENDS, .act = do_empty_fragments},
	{"truncated_frame", "half a frame, and the end of the connection", WEBSOCKET, FAILS("lost"),
	 ENDS, .act = do_truncated_frame},
	{"unfinished_frame", "half a frame, and nothing more", WEBSOCKET, FAILS("silent"), ENDS,
	 .act = do_unfinished_frame},
	{"reserved_bit", "a frame with a reserved bit", WEBSOCKET, DROPS("framing"), ENDS,
	 .act = do_websocket_frame, .number = RESERVED_BIT},
	{"continuation_of_nothing", "the last part of a message that did not begin", WEBSOCKET,
	 DROPS("framing"), ENDS, .act = do_websocket_frame, .number = LAST_PART},
	{"masked_frame", "a masked frame from a server", WEBSOCKET, DROPS("framing"), ENDS,
	 .act = do_masked_frame},
	{"long_control_frame", "a ping of 128 bytes", WEBSOCKET, DROPS("framing"), ENDS,
	 .act = do_long_control_frame},
	{"ping_flood", "1,000 pings in one piece", WEBSOCKET, FAILS("ping_flood"), ENDS,
	 .act = do_ping_flood},

	/* numbers that begin anew */
	{"sequence_reset", "numbers begin anew, and the host says so",
	 "event stream: Sequence Numbers", .counter = RESETS, .labels = "", .count = 1,
	 .end = CONNECTION_ENDED, .dials = 2, .act = do_reset},
	{"sequence_reset_untold", "numbers begin anew, and the host does not say so",
	 "event stream: Sequence Numbers", .counter = RESETS, .labels = "", .count = 1, .drops = 3,
	 ENDS, .act = do_silent_reset, .number = 3},

	/* manners */
	{"no_pong", "no answer to pings", WEBSOCKET, FAILS("silent"), ENDS,
	 .act = do_manner_at_once, .number = NO_PONG},
	{"no_read", "nothing of what the relay says is read", WEBSOCKET, FAILS("silent"), ENDS,
	 .act = do_manner_at_once, .number = NO_READ},
	{"slow", "a byte each millisecond", "", .end = CONNECTION_KEPT, .act = do_slow},
	{"slow_large", "a message that takes longer than a host may be silent", "", FAILS("silent"),
	 ENDS, .act = do_slow_large},
	{"accept_and_close", "each connection is closed at once", "", FAILS("tls"), KEEPS_AWAY(5),
	 .act = do_manner, .number = ACCEPT_AND_CLOSE},
	{"close_after_handshake", "each WebSocket is closed at once", WEBSOCKET, FAILS("lost"),
	 KEEPS_AWAY(5), .act = do_manner, .number = CLOSE_AFTER_HANDSHAKE},
	{"redirect", "another host is named instead of a WebSocket", "event stream: Connection",
	 FAILS("redirect"), KEEPS_AWAY(5), .act = do_manner, .number = REDIRECT},
	{"bad_tls", "a certificate for another name", "RFC 6125", FAILS("tls"), KEEPS_AWAY(5),
	 .act = do_manner, .number = BAD_TLS},
	{"untrusted_tls", "a certificate of nobody known", "RFC 5280", FAILS("tls"), KEEPS_AWAY(5),
	 .act = do_manner, .number = UNTRUSTED_TLS},
	{"future_cursor", "every cursor is called a future one", "event stream: Sequence Numbers",
	 .counter = RESETS, .labels = "", .count = 1, .end = CONNECTION_ENDED, .dials = 2,
	 .act = do_manner, .number = FUTURE_CURSOR},
	/* What comes again is passed over without a word; the end is the cut before it. */
	{"ignored_cursor", "each stream begins with the host's first event",
	 "event stream: Sequence Numbers", FAILS("lost"), ENDS, .act = do_manner,
	 .number = IGNORE_CURSOR},
	{"wrong_accept", "the handshake is answered as if it were another's", WEBSOCKET,
	 FAILS("bad_handshake"), KEEPS_AWAY(5), .act = do_manner, .number = WRONG_ACCEPT},
	{"no_stream", "404 for the stream", "event stream: Connection", FAILS("http_status"),
	 KEEPS_AWAY(5), .act = do_manner, .number = NO_STREAM},
	{"silent_server", "connections are taken, and nothing is ever said", "",
	 FAILS("connect_timeout"), KEEPS_AWAY(2), .act = do_manner, .number = SILENT},
	{"refusing", "503 for everything", "event stream: Connection", FAILS("rate_limited"),
	 KEEPS_AWAY(5), .act = do_manner, .number = REFUSE},
	{"vanished", "no connection is taken", "", FAILS("tls"), KEEPS_AWAY(5), .act = do_manner,
	 .number = VANISH},
};
const size_t fault_count = ARRAY_SIZE(faults);

const struct fault *fault_find(const char *name)
{
	for (size_t i = 0; i < fault_count; i++)
		if (strcmp(faults[i].name, name) == 0)
			return &faults[i];
	return NULL;
}

void fault_do(const struct fault *f, struct fault_scene *s)
{
	f->act(f, s);
}

void fault_undo(const struct fault *f, struct fault_scene *s)
{
	(void)f;
	network_misbehave(s->network, s->host, BEHAVE);
}
