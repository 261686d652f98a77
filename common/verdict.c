#include "common/verdict.h"

static const struct verdict_info infos[VERDICT_MAX] = {
	[VERDICT_ACCEPTED] = {"accepted", "sync: Firehose", "The event was verified and accepted."},

	[VERDICT_FRAME_TOO_LARGE] = {"frame_too_large", "sync: Firehose",
				     "The frame has more than 5,000,000 bytes."},
	[VERDICT_FRAME_BAD_CBOR] = {"frame_bad_cbor", "event stream: Framing",
				    "The frame is not two maps in deterministic DAG-CBOR."},
	[VERDICT_FRAME_BAD_FIELDS] =
		{"frame_bad_fields", "subscribeRepos lexicon",
		 "A required field is missing, or has the wrong type or syntax."},
	[VERDICT_BLOCKS_TOO_LARGE] =
		{"blocks_too_large", "subscribeRepos lexicon",
		 "The blocks have more bytes than an event of this kind may have."},
	[VERDICT_TOO_MANY_OPS] = {"too_many_ops", "subscribeRepos lexicon",
				  "The commit has more than 200 operations."},
	[VERDICT_RECORD_TOO_LARGE] = {"record_too_large", "sync: Firehose",
				      "A record has more than 1,048,576 bytes."},
	[VERDICT_REV_IN_FUTURE] =
		{"rev_in_future", "repository: Commit Objects",
		 "The revision lies further in the future than clocks may differ."},
	[VERDICT_UNKNOWN_KIND] =
		{"unknown_kind", "event stream: Framing",
		 "The frame is of a kind that is not known here, and was skipped."},

	[VERDICT_BAD_DID] = {"bad_did", "DID: Syntax", "The account's DID has the wrong syntax."},
	[VERDICT_IDENTITY_NOT_FOUND] =
		{"identity_not_found", "DID: Resolution",
		 "The account's DID is not registered, or its method is not supported."},
	[VERDICT_IDENTITY_TOMBSTONED] = {"identity_tombstoned", "did:plc: Deactivation",
					 "The account's DID was given up for good."},
	[VERDICT_IDENTITY_UNUSABLE] =
		{"identity_unusable", "DID: Representation",
		 "The DID document names no signing key or no PDS, or is malformed."},
	[VERDICT_IDENTITY_UNAVAILABLE] =
		{"identity_unavailable", "DID: Resolution",
		 "The DID document could not be had for as long as events wait for it."},
	[VERDICT_WRONG_HOST] = {"wrong_host", "sync: Authority",
				"The host is not the one that the account's DID document names."},
	[VERDICT_IDENTITY_UNCHANGED] =
		{"identity_unchanged", "sync: Identity",
		 "The event came from another host, and the DID document had not changed."},

	[VERDICT_BAD_CAR] = {"bad_car", "repository: CAR File Serialization",
			     "The blocks are not an archive in the CAR v1 format."},
	[VERDICT_BLOCK_MISSING] = {"block_missing", "sync: Validation",
				   "A block that the event needs is not among its blocks."},
	[VERDICT_BLOCK_HASH] = {"block_hash", "repository: CAR File Serialization",
				"The bytes of a block do not have the hash that its CID states."},
	[VERDICT_COMMIT_BAD_OBJECT] = {"commit_bad_object", "repository: Commit Objects",
				       "The commit object has a missing or malformed field."},
	[VERDICT_COMMIT_MISMATCH] =
		{"commit_mismatch", "sync: Validation",
		 "DID, revision or CID of the commit object differ from the event's."},
	[VERDICT_BAD_SIGNATURE] = {"bad_signature", "repository: Commit Objects",
				   "The signature does not verify with the account's current key."},

	[VERDICT_MST_BAD_NODE] = {"mst_bad_node", "repository: MST Structure",
				  "A node of the tree is malformed or not where it must be."},
	[VERDICT_BAD_OP] = {"bad_op", "sync: Validation",
			    "An operation is malformed, or there are two for one path."},
	[VERDICT_OP_MISMATCH] = {"op_mismatch", "sync: Validation",
				 "The tree does not hold what an operation says."},
	[VERDICT_INVERSION_FAILED] =
		{"inversion_failed", "sync: Validation",
		 "Undoing the operations does not lead to the tree before them."},
	[VERDICT_PREV_DATA_MISSING] = {"prev_data_missing", "sync: Validation",
				       "The event does not say which tree it follows."},

	[VERDICT_DUPLICATE] = {"duplicate", "event stream: Sequence Numbers",
			       "This event of this host was applied before."},
	[VERDICT_STALE_REV] = {"stale_rev", "sync: Validation",
			       "The revision is not newer than the newest one known."},
	[VERDICT_ACCOUNT_INACTIVE] =
		{"account_inactive", "account: Hosting Status",
		 "The account is not active, so that its repository is not passed on."},
};

static const struct verdict_info unknown = {"unknown", "", "A verdict that is not known here."};

const struct verdict_info *verdict_info(enum verdict v)
{
	if ((unsigned)v >= VERDICT_MAX || !infos[v].name)
		return &unknown;
	return &infos[v];
}

bool verdict_is_replay(enum verdict v)
{
	return v == VERDICT_DUPLICATE || v == VERDICT_STALE_REV;
}
