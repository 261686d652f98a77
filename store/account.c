#include "store/account.h"

#include <assert.h>
#include <errno.h>

#define VERSION     1
#define FLAG_ACTIVE 1
#define FLAG_COMMIT 2

void account_init(struct account *a)
{
	*a = (struct account){.active = true, .status = ACCOUNT_ACTIVE};
}

static bool changes_repo(const struct verified *v)
{
	return v->kind == EVENT_COMMIT || v->kind == EVENT_SYNC;
}

/* Epochs rise, and an account's events of one host come in order: once one of a later epoch was
 * applied, there is nothing of the epochs before that was not. Should ingest's epochs ever go back
 * (a clock that was ahead, a restored database), nothing of a repository may be lost by that: its
 * rev says better whether it is new. */
static bool covers(const struct account_applied *p, const struct verified *v)
{
	if (p->host_id != v->host_id)
		return false;
	return (v->host_epoch < p->host_epoch && !changes_repo(v)) ||
	       (v->host_epoch == p->host_epoch && v->host_seq <= p->host_seq);
}

/* TIDs sort as text [TID]. */
static bool is_stale(const struct account *a, const struct verified *v)
{
	return a->has_commit && memcmp(v->rev, a->rev, TID_SIZE) <= 0;
}

static enum verdict decide(const struct account *a, const struct verified *v)
{
	if (covers(&a->here, v) || covers(&a->elsewhere, v))
		return VERDICT_DUPLICATE;
	if (changes_repo(v) && is_stale(a, v))
		return VERDICT_STALE_REV;
	if (changes_repo(v) && !a->active)
		return VERDICT_ACCOUNT_INACTIVE;
	return VERDICT_ACCEPTED;
}

/* The first commit seen of an account has nothing that it could break. A missing prevData (old
 * hosts) says nothing. */
static bool is_discontinuous(const struct account *a, const struct verified *v)
{
	if (v->kind != EVENT_COMMIT || !a->has_commit)
		return false;
	if (!v->has_since || memcmp(v->since, a->rev, TID_SIZE) != 0)
		return true;
	return v->has_prev_data && memcmp(v->prev_data, a->data, SHA256_SIZE) != 0;
}

static void remember(struct account *a, const struct verified *v)
{
	struct account_applied now = {
		.host_id = v->host_id, .host_epoch = v->host_epoch, .host_seq = v->host_seq};

	if (a->here.host_id == v->host_id) {
		a->here = now;
	} else if (v->kind == EVENT_IDENTITY) {
		a->elsewhere = now;
	} else {
		if (a->here.host_id != 0)
			a->elsewhere = a->here;
		a->here = now;
	}
}

static void adopt(struct account *a, const struct verified *v)
{
	if (v->kind == EVENT_ACCOUNT) {
		a->active = v->active;
		a->status = v->status;
	} else if (changes_repo(v)) {
		a->has_commit = true;
		memcpy(a->rev, v->rev, TID_SIZE);
		memcpy(a->commit, v->commit, SHA256_SIZE);
		memcpy(a->data, v->data, SHA256_SIZE);
	}
}

void account_restore(struct account *a, const struct verified *v)
{
	if (v->host_id != 0)
		remember(a, v);
	adopt(a, v);
}

enum verdict account_apply(struct account *a, const struct verified *v, bool *ret_discontinuous)
{
	enum verdict verdict = decide(a, v);

	*ret_discontinuous = false;
	if (verdict != VERDICT_ACCEPTED)
		return verdict;
	*ret_discontinuous = is_discontinuous(a, v);
	remember(a, v);
	adopt(a, v);
	return VERDICT_ACCEPTED;
}

uint64_t account_counts_for(const struct account *a)
{
	return a->active || a->status != ACCOUNT_DELETED ? a->here.host_id : 0;
}

static void put_applied(struct buf *b, const struct account_applied *p)
{
	buf_put_u64(b, p->host_id);
	buf_put_u32(b, p->host_epoch);
	buf_put_u64(b, p->host_seq);
}

/* Read by account_decode. */
void account_encode(const struct account *a, uint8_t ret[static ACCOUNT_SIZE])
{
	struct buf b;

	buf_init(&b, ACCOUNT_SIZE);
	buf_put_u8(&b, VERSION);
	buf_put_u8(&b,
		   (uint8_t)((a->active ? FLAG_ACTIVE : 0) | (a->has_commit ? FLAG_COMMIT : 0)));
	buf_put_u8(&b, (uint8_t)a->status);
	put_applied(&b, &a->here);
	put_applied(&b, &a->elsewhere);
	buf_append(&b, span_of(a->rev, TID_SIZE));
	buf_append(&b, span_of(a->commit, SHA256_SIZE));
	buf_append(&b, span_of(a->data, SHA256_SIZE));
	assert(b.len == ACCOUNT_SIZE);
	memcpy(ret, b.ptr, ACCOUNT_SIZE);
	buf_release(&b);
}

static int get_applied(struct reader *r, struct account_applied *ret)
{
	if (reader_get_u64(r, &ret->host_id) < 0 || reader_get_u32(r, &ret->host_epoch) < 0 ||
	    reader_get_u64(r, &ret->host_seq) < 0)
		return -EBADMSG;
	return 0;
}

static int get_bytes(struct reader *r, uint8_t *ret, size_t len)
{
	struct span s;

	if (reader_get_span(r, len, &s) < 0)
		return -EBADMSG;
	memcpy(ret, s.ptr, len);
	return 0;
}

/* Without a commit its fields are zeros, so that an account has one encoding only. */
static bool commit_is_right(const struct account *a)
{
	static const uint8_t zeros[SHA256_SIZE];

	if (a->has_commit)
		return tid_is_valid(span_of(a->rev, TID_SIZE));
	return memcmp(a->rev, zeros, TID_SIZE) == 0 && memcmp(a->commit, zeros, SHA256_SIZE) == 0 &&
	       memcmp(a->data, zeros, SHA256_SIZE) == 0;
}

/* Written by account_encode. */
int account_decode(struct span s, struct account *ret)
{
	struct reader r = reader_of(s);
	struct account a = {0};
	uint8_t version, flags, status;

	if (s.len != ACCOUNT_SIZE || reader_get_u8(&r, &version) < 0 || version != VERSION ||
	    reader_get_u8(&r, &flags) < 0 || flags > (FLAG_ACTIVE | FLAG_COMMIT) ||
	    reader_get_u8(&r, &status) < 0 || status > ACCOUNT_THROTTLED ||
	    get_applied(&r, &a.here) < 0 || get_applied(&r, &a.elsewhere) < 0 ||
	    get_bytes(&r, a.rev, TID_SIZE) < 0 || get_bytes(&r, a.commit, SHA256_SIZE) < 0 ||
	    get_bytes(&r, a.data, SHA256_SIZE) < 0)
		return -EBADMSG;
	a.active = flags & FLAG_ACTIVE;
	a.has_commit = flags & FLAG_COMMIT;
	a.status = (enum account_status)status;
	if (!commit_is_right(&a))
		return -EBADMSG;
	*ret = a;
	return 0;
}
