#include "validate/judge.h"

#include "common/host.h"
#include "common/loop.h"

struct judge {
	struct checker *checker;
	struct identity_cache *cache;
	const char *legacy_hosts; /* patterns, host.h */
	uint64_t rev_drift_usec;
	uint64_t refresh_usec;
	struct check_rules rules; /* for the event read last */
	struct frame frame;
	struct buf spliced; /* a frame without its handle */
};

const char *lookup_reason_name(enum lookup_reason r)
{
	static const char *const names[LOOKUP_REASONS] = {
		[LOOKUP_MISSING] = "missing",         [LOOKUP_STALE] = "stale",
		[LOOKUP_HOST] = "refresh_host",       [LOOKUP_SIGNATURE] = "refresh_signature",
		[LOOKUP_IDENTITY] = "identity_event",
	};

	return names[r];
}

struct judge *judge_new(const struct config *config, struct checker *checker,
			struct identity_cache *cache)
{
	struct judge *j = xcalloc(1, sizeof(*j));

	j->checker = checker;
	j->cache = cache;
	j->legacy_hosts = config_text(config, "validate.legacy_hosts");
	j->rev_drift_usec = config_time(config, "validate.rev_drift");
	j->refresh_usec = config_time(config, "validate.refresh_interval");
	buf_init(&j->spliced, LIMIT_FRAME);
	return j;
}

void judge_free(struct judge *j)
{
	if (!j)
		return;
	buf_release(&j->spliced);
	free(j);
}

const struct frame *judge_frame(const struct judge *j)
{
	return &j->frame;
}

const struct check_rules *judge_rules(const struct judge *j)
{
	return &j->rules;
}

/* Whatever stands behind "did:" and is neither of these has no document that could be asked for. */
static bool is_supported(struct span did)
{
	return did_is_plc(did) || did_is_web(did);
}

/* Tolerated by the operator. Store knows which of them have no need of it any more. */
static bool is_legacy(const struct judge *j, struct span host)
{
	struct host h;

	return j->legacy_hosts[0] != '\0' && host_parse(host, &h) == 0 &&
	       host_matches(j->legacy_hosts, &h);
}

enum verdict judge_read(struct judge *j, const struct event *e)
{
	enum verdict v = frame_decode(e->frame, &j->frame);

	if (v != VERDICT_ACCEPTED)
		return v;
	j->rules = (struct check_rules){
		.received_usec = e->received_usec,
		.rev_drift_usec = j->rev_drift_usec,
		.is_legacy = j->frame.kind == EVENT_COMMIT && is_legacy(j, e->host),
	};
	v = check_fields(&j->frame, &j->rules);
	if (v == VERDICT_ACCEPTED && !is_supported(j->frame.did))
		v = VERDICT_IDENTITY_NOT_FOUND;
	return v;
}

static void refuse(struct judgement *ret, enum verdict v)
{
	ret->outcome = OUTCOME_REFUSED;
	ret->verdict = v;
}

static void wait_for(struct judgement *ret, enum lookup_reason reason, uint64_t newer_than_usec)
{
	ret->outcome = OUTCOME_WAITS;
	ret->reason = reason;
	ret->newer_than_usec = newer_than_usec;
}

static void pass(struct judge *j, const struct event *e, struct judgement *ret)
{
	struct verified *v = &ret->verified;

	ret->outcome = OUTCOME_PASSED;
	ret->verdict = VERDICT_ACCEPTED;
	v->ticket = e->ticket;
	v->host_id = e->host_id;
	v->host_epoch = e->host_epoch;
	v->host_seq = e->host_seq;
	v->received_usec = e->received_usec;
	v->kind = j->frame.kind;
	v->seq_offset = j->frame.seq_offset;
	v->seq_size = j->frame.seq_size;
	v->did = j->frame.did;
	v->frame = j->frame.bytes;
}

/* Why an account without a usable identity has no say. */
static enum verdict verdict_of(const struct known_identity *k)
{
	switch ((enum identity_status)k->status) {
	case IDENTITY_NOT_FOUND:
		return VERDICT_IDENTITY_NOT_FOUND;
	case IDENTITY_TOMBSTONED:
		return VERDICT_IDENTITY_TOMBSTONED;
	case IDENTITY_UNUSABLE:
		return VERDICT_IDENTITY_UNUSABLE;
	default:
		return VERDICT_WRONG_HOST;
	}
}

/* Whether what we learnt at that time we learnt after the event was sent. */
static bool is_since(uint64_t usec, const struct event *e)
{
	return usec >= e->received_uptime_usec;
}

/*
 * Before an event is refused because of what is known of its account, the identity is asked for
 * once more, unless the answer is newer than the event, or was asked for within the refresh
 * interval: a host must not be able to make us ask at its own pace. While such an answer is still
 * to come, later events wait for it too.
 */
static void refresh_or_refuse(struct judge *j, const struct event *e, uint64_t now_usec,
			      const struct known_identity *k, uint64_t *last_usec,
			      enum lookup_reason reason, enum verdict v, struct judgement *ret)
{
	bool is_due = *last_usec == 0 || now_usec - *last_usec >= j->refresh_usec;

	if (is_since(k->fetched_usec, e) || (!is_due && k->fetched_usec >= *last_usec)) {
		refuse(ret, v);
		return;
	}
	if (is_due)
		*last_usec = now_usec;
	wait_for(ret, reason, *last_usec);
}

static bool is_from_pds(const struct judge *j, const struct event *e,
			const struct known_identity *k)
{
	return k->status == IDENTITY_FOUND && identity_cache_is_pds(j->cache, k, e->host);
}

static void decide_commit(struct judge *j, const struct event *e, uint64_t now_usec,
			  struct known_identity *k, struct judgement *ret)
{
	enum verdict v;

	if (!is_from_pds(j, e, k)) {
		refresh_or_refuse(j, e, now_usec, k, identity_cache_host_usec(j->cache, k, e->host),
				  LOOKUP_HOST, verdict_of(k), ret);
		return;
	}
	v = check_blocks(j->checker, &j->frame, &k->key, &j->rules, &ret->verified);
	if (v == VERDICT_BAD_SIGNATURE) {
		refresh_or_refuse(j, e, now_usec, k, &k->signature_usec, LOOKUP_SIGNATURE, v, ret);
		return;
	}
	if (v != VERDICT_ACCEPTED) {
		refuse(ret, v);
		return;
	}
	pass(j, e, ret);
}

/*
 * An account whose identity is gone can still be said to be gone. A PDS tombstones the DID and says
 * #account in either order, and the second must not be lost because of the first: it is taken from
 * the last PDS that is known. Where none is known, a tombstone alone proves that the account is
 * deleted, whoever says so.
 */
static bool is_farewell(const struct judge *j, const struct event *e,
			const struct known_identity *k)
{
	if (k->status == IDENTITY_FOUND || j->frame.active)
		return false;
	if (k->has_pds)
		return identity_cache_is_pds(j->cache, k, e->host);
	return k->status == IDENTITY_TOMBSTONED && span_is(j->frame.status, "deleted");
}

static void decide_account(struct judge *j, const struct event *e, uint64_t now_usec,
			   struct known_identity *k, struct judgement *ret)
{
	if (!is_from_pds(j, e, k) && !is_farewell(j, e, k)) {
		refresh_or_refuse(j, e, now_usec, k, identity_cache_host_usec(j->cache, k, e->host),
				  LOOKUP_HOST, verdict_of(k), ret);
		return;
	}
	ret->verified.active = j->frame.active;
	ret->verified.status = account_status_parse(j->frame.active, j->frame.status);
	pass(j, e, ret);
}

static void pass_without_handle(struct judge *j, const struct event *e, struct judgement *ret)
{
	enum verdict v = VERDICT_ACCEPTED;

	if (j->frame.handle.len > 0) {
		frame_remove_handle(&j->frame, &j->spliced);
		v = frame_decode(buf_span(&j->spliced), &j->frame);
	}
	if (v == VERDICT_ACCEPTED)
		pass(j, e, ret);
	else
		refuse(ret, v);
}

/* The identity is newer than the event by now. From the account's own host the event goes on, with
 * the handle if the document says the same; from any other only if the document has changed. */
static void decide_identity(struct judge *j, const struct event *e, const struct known_identity *k,
			    struct judgement *ret)
{
	bool is_own = is_from_pds(j, e, k);

	if (is_own && identity_cache_is_handle(j->cache, k, j->frame.handle))
		pass(j, e, ret);
	else if (is_own || is_since(k->changed_usec, e))
		pass_without_handle(j, e, ret);
	else
		refuse(ret,
		       k->status == IDENTITY_FOUND ? VERDICT_IDENTITY_UNCHANGED : verdict_of(k));
}

void judge_decide(struct judge *j, const struct event *e, uint64_t now_usec, struct judgement *ret)
{
	struct known_identity *k = identity_cache_find(j->cache, j->frame.did);

	*ret = (struct judgement){0};
	if (!k)
		wait_for(ret, LOOKUP_MISSING, 0);
	else if (j->frame.kind == EVENT_IDENTITY && !is_since(k->fetched_usec, e))
		wait_for(ret, LOOKUP_IDENTITY, e->received_uptime_usec);
	else if (j->frame.kind == EVENT_IDENTITY)
		decide_identity(j, e, k, ret);
	else if (k->expires_usec <= now_usec)
		wait_for(ret, LOOKUP_STALE, 0);
	else if (j->frame.kind == EVENT_ACCOUNT)
		decide_account(j, e, now_usec, k, ret);
	else
		decide_commit(j, e, now_usec, k, ret);
}
