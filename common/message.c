#include "common/message.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"

static bool type_is_known(uint8_t type)
{
	switch ((enum message_type)type) {
	case MESSAGE_OPEN:
	case MESSAGE_READY:
	case MESSAGE_EVENTS:
	case MESSAGE_VERIFIED:
	case MESSAGE_ACKS:
	case MESSAGE_LOOKUP:
	case MESSAGE_IDENTITY:
	case MESSAGE_HEAD:
	case MESSAGE_REFUSED:
	case MESSAGE_XRPC:
	case MESSAGE_XRPC_REPLY:
	case MESSAGE_CHECK_HOST:
	case MESSAGE_HOST_CHECKED:
	case MESSAGE_LIST_HOSTS:
	case MESSAGE_HOSTS_LISTED:
	case MESSAGE_ACCOUNT_COUNTS:
	case MESSAGE_ACCOUNTS_COUNTED:
	case MESSAGE_METRICS:
	case MESSAGE_METRICS_REPLY:
	case MESSAGE_SETTING:
	case MESSAGE_HEAP:
	case MESSAGE_TOLD:
	case MESSAGE_STOP:
	case MESSAGE_CONSUMERS:
	case MESSAGE_CONSUMERS_LISTED:
		return true;
	}
	return false;
}

void message_put_type(struct buf *b, enum message_type type)
{
	buf_put_u8(b, MESSAGE_VERSION);
	buf_put_u8(b, (uint8_t)type);
}

int message_get_type(struct reader *r, enum message_type *ret)
{
	struct reader in = *r;
	uint8_t version, type;

	if (reader_get_u8(&in, &version) < 0 || reader_get_u8(&in, &type) < 0 ||
	    version != MESSAGE_VERSION || !type_is_known(type))
		return -EBADMSG;
	*r = in;
	*ret = (enum message_type)type;
	return 0;
}

bool message_is_foreign(struct span message, unsigned *ret_version)
{
	if (message.len == 0 || message.ptr[0] == MESSAGE_VERSION)
		return false;
	*ret_version = message.ptr[0];
	return true;
}

void message_put_text(struct buf *b, struct span s)
{
	assert(s.len <= UINT16_MAX);
	buf_put_u16(b, (uint16_t)s.len);
	buf_append(b, s);
}

int message_get_text(struct reader *r, size_t max, struct span *ret)
{
	struct reader in = *r;
	uint16_t len;

	if (reader_get_u16(&in, &len) < 0 || len > max || reader_get_span(&in, len, ret) < 0)
		return -EBADMSG;
	*r = in;
	return 0;
}

/* The same with a u32 length, for frames and bodies. */
static void put_bytes(struct buf *b, struct span s)
{
	assert(s.len <= LIMIT_MESSAGE);
	buf_put_u32(b, (uint32_t)s.len);
	buf_append(b, s);
}

static int get_bytes(struct reader *r, size_t max, struct span *ret)
{
	uint32_t len;

	if (reader_get_u32(r, &len) < 0 || len > max)
		return -EBADMSG;
	return reader_get_span(r, len, ret);
}

/* A field of fixed size. */
static int get_array(struct reader *r, uint8_t *ret, size_t size)
{
	struct span s;

	if (reader_get_span(r, size, &s) < 0)
		return -EBADMSG;
	memcpy(ret, s.ptr, size);
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* A field of fixed size that is all zeros when it is absent. */
static void put_optional(struct buf *b, bool present, const uint8_t *bytes, size_t size)
{
	uint8_t *at = buf_extend(b, size);

	if (present)
		memcpy(at, bytes, size);
	else
		memset(at, 0, size);
}

void event_encode(struct buf *b, const struct event *e)
{
	buf_put_u64(b, e->ticket);
	buf_put_u64(b, e->host_id);
	buf_put_u32(b, e->host_epoch);
	buf_put_u64(b, e->host_seq);
	buf_put_u64(b, e->received_usec);
	buf_put_u64(b, e->received_uptime_usec);
	message_put_text(b, e->host);
	put_bytes(b, e->frame);
}

int event_decode(struct reader *r, struct event *ret)
{
	struct reader in = *r;
	struct event e;

	if (reader_get_u64(&in, &e.ticket) < 0 || reader_get_u64(&in, &e.host_id) < 0 ||
	    reader_get_u32(&in, &e.host_epoch) < 0 || reader_get_u64(&in, &e.host_seq) < 0 ||
	    reader_get_u64(&in, &e.received_usec) < 0 ||
	    reader_get_u64(&in, &e.received_uptime_usec) < 0 ||
	    message_get_text(&in, LIMIT_HOST, &e.host) < 0 ||
	    get_bytes(&in, LIMIT_FRAME, &e.frame) < 0)
		return -EBADMSG;
	if (e.host_seq >= (uint64_t)LIMIT_SEQ)
		return -EBADMSG;
	*r = in;
	*ret = e;
	return 0;
}

const char *event_kind_name(enum event_kind k)
{
	switch (k) {
	case EVENT_COMMIT:
		return "#commit";
	case EVENT_SYNC:
		return "#sync";
	case EVENT_IDENTITY:
		return "#identity";
	case EVENT_ACCOUNT:
		return "#account";
	}
	return NULL;
}

const char *account_status_name(enum account_status s)
{
	switch (s) {
	case ACCOUNT_ACTIVE:
	case ACCOUNT_INACTIVE:
		return NULL;
	case ACCOUNT_DEACTIVATED:
		return "deactivated";
	case ACCOUNT_SUSPENDED:
		return "suspended";
	case ACCOUNT_TAKENDOWN:
		return "takendown";
	case ACCOUNT_DELETED:
		return "deleted";
	case ACCOUNT_DESYNCHRONIZED:
		return "desynchronized";
	case ACCOUNT_THROTTLED:
		return "throttled";
	}
	return NULL;
}

/* `active` has the last word: beside true, only what may stand beside it counts [account: hosting
 * status]. */
enum account_status account_status_parse(bool active, struct span status)
{
	for (unsigned i = active ? ACCOUNT_DESYNCHRONIZED : ACCOUNT_DEACTIVATED;
	     i <= ACCOUNT_THROTTLED; i++)
		if (span_is(status, account_status_name((enum account_status)i)))
			return (enum account_status)i;
	return active ? ACCOUNT_ACTIVE : ACCOUNT_INACTIVE;
}

enum verified_flag {
	VERIFIED_SINCE = 1 << 0,
	VERIFIED_PREV_DATA = 1 << 1,
	VERIFIED_ACTIVE = 1 << 2,
	VERIFIED_LEGACY = 1 << 3,
};

static bool has_commit(enum event_kind k)
{
	return k == EVENT_COMMIT || k == EVENT_SYNC;
}

void verified_encode(struct buf *b, const struct verified *v)
{
	unsigned flags = 0;

	if (has_commit(v->kind))
		flags = (v->has_since ? VERIFIED_SINCE : 0u) |
			(v->has_prev_data ? VERIFIED_PREV_DATA : 0u) |
			(v->is_legacy ? VERIFIED_LEGACY : 0u);
	else if (v->kind == EVENT_ACCOUNT && v->active)
		flags = VERIFIED_ACTIVE;
	buf_put_u64(b, v->ticket);
	buf_put_u64(b, v->host_id);
	buf_put_u32(b, v->host_epoch);
	buf_put_u64(b, v->host_seq);
	buf_put_u64(b, v->received_usec);
	buf_put_u8(b, (uint8_t)v->kind);
	buf_put_u8(b, (uint8_t)flags);
	buf_put_u32(b, v->seq_offset);
	buf_put_u8(b, v->seq_size);
	message_put_text(b, v->did);
	put_bytes(b, v->frame);
	if (has_commit(v->kind)) {
		buf_append(b, span_of(v->rev, TID_SIZE));
		put_optional(b, v->has_since, v->since, TID_SIZE);
		buf_append(b, span_of(v->commit, SHA256_SIZE));
		buf_append(b, span_of(v->data, SHA256_SIZE));
		put_optional(b, v->has_prev_data, v->prev_data, SHA256_SIZE);
	} else if (v->kind == EVENT_ACCOUNT) {
		buf_put_u8(b, (uint8_t)v->status);
	}
}

/* What every kind has, up to the frame. */
static int verified_decode_head(struct reader *r, struct verified *ret, uint8_t *ret_flags)
{
	uint8_t kind;

	if (reader_get_u64(r, &ret->ticket) < 0 || reader_get_u64(r, &ret->host_id) < 0 ||
	    reader_get_u32(r, &ret->host_epoch) < 0 || reader_get_u64(r, &ret->host_seq) < 0 ||
	    reader_get_u64(r, &ret->received_usec) < 0 || reader_get_u8(r, &kind) < 0 ||
	    reader_get_u8(r, ret_flags) < 0 || reader_get_u32(r, &ret->seq_offset) < 0 ||
	    reader_get_u8(r, &ret->seq_size) < 0 || message_get_text(r, LIMIT_DID, &ret->did) < 0 ||
	    get_bytes(r, LIMIT_FRAME, &ret->frame) < 0)
		return -EBADMSG;
	ret->kind = (enum event_kind)kind;
	return 0;
}

/* The head of a CBOR integer, all of it inside the frame. */
static bool seq_is_in_frame(const struct verified *v)
{
	bool is_head = v->seq_size == 1 || v->seq_size == 2 || v->seq_size == 3 ||
		       v->seq_size == 5 || v->seq_size == 9;

	return is_head && v->seq_size <= v->frame.len &&
	       v->seq_offset <= v->frame.len - v->seq_size;
}

static int verified_decode_commit(struct reader *r, struct verified *ret)
{
	if (get_array(r, ret->rev, TID_SIZE) < 0 || get_array(r, ret->since, TID_SIZE) < 0 ||
	    get_array(r, ret->commit, SHA256_SIZE) < 0 ||
	    get_array(r, ret->data, SHA256_SIZE) < 0 ||
	    get_array(r, ret->prev_data, SHA256_SIZE) < 0)
		return -EBADMSG;
	if (!tid_is_valid(span_of(ret->rev, TID_SIZE)))
		return -EBADMSG;
	if (ret->has_since ? !tid_is_valid(span_of(ret->since, TID_SIZE))
			   : !is_zero(ret->since, TID_SIZE))
		return -EBADMSG;
	return ret->has_prev_data || is_zero(ret->prev_data, SHA256_SIZE) ? 0 : -EBADMSG;
}

static int verified_decode_account(struct reader *r, struct verified *ret)
{
	uint8_t status;

	if (reader_get_u8(r, &status) < 0 || status > ACCOUNT_THROTTLED)
		return -EBADMSG;
	ret->status = (enum account_status)status;
	return 0;
}

int verified_decode(struct reader *r, struct verified *ret)
{
	struct reader in = *r;
	struct verified v = {0};
	uint8_t flags, known = 0;
	int error = 0;

	if (verified_decode_head(&in, &v, &flags) < 0 || !event_kind_name(v.kind) ||
	    v.host_seq >= (uint64_t)LIMIT_SEQ || !seq_is_in_frame(&v) || !did_is_valid(v.did))
		return -EBADMSG;
	v.has_since = flags & VERIFIED_SINCE;
	v.has_prev_data = flags & VERIFIED_PREV_DATA;
	v.active = flags & VERIFIED_ACTIVE;
	v.is_legacy = flags & VERIFIED_LEGACY;
	if (has_commit(v.kind)) {
		known = VERIFIED_SINCE | VERIFIED_PREV_DATA;
		if (v.kind == EVENT_COMMIT)
			known |= VERIFIED_LEGACY;
		error = verified_decode_commit(&in, &v);
	} else if (v.kind == EVENT_ACCOUNT) {
		known = VERIFIED_ACTIVE;
		error = verified_decode_account(&in, &v);
	}
	if (error < 0 || (flags & ~known) != 0)
		return -EBADMSG;
	*r = in;
	*ret = v;
	return 0;
}

void ack_encode(struct buf *b, const struct ack *a)
{
	buf_put_u64(b, a->ticket);
	buf_put_u8(b, (uint8_t)a->verdict);
}

int ack_decode(struct reader *r, struct ack *ret)
{
	struct reader in = *r;
	uint64_t ticket;
	uint8_t verdict;

	if (reader_get_u64(&in, &ticket) < 0 || reader_get_u8(&in, &verdict) < 0 ||
	    verdict >= VERDICT_MAX)
		return -EBADMSG;
	*r = in;
	*ret = (struct ack){ticket, (enum verdict)verdict};
	return 0;
}

void lookup_encode(struct buf *b, const struct lookup *l)
{
	buf_put_u64(b, l->newer_than_usec);
	buf_put_u64(b, l->host_id);
	message_put_text(b, l->did);
}

int lookup_decode(struct reader *r, struct lookup *ret)
{
	struct reader in = *r;
	struct lookup l;

	if (reader_get_u64(&in, &l.newer_than_usec) < 0 || reader_get_u64(&in, &l.host_id) < 0 ||
	    message_get_text(&in, LIMIT_DID, &l.did) < 0 || !did_is_valid(l.did) || in.left > 0)
		return -EBADMSG;
	*r = in;
	*ret = l;
	return 0;
}

void identity_encode(struct buf *b, const struct identity *i)
{
	bool found = i->status == IDENTITY_FOUND;

	buf_put_u8(b, (uint8_t)i->status);
	buf_put_u64(b, i->fetched_usec);
	buf_put_u64(b, i->age_usec);
	message_put_text(b, i->did);
	buf_put_u8(b, found ? (uint8_t)i->key.curve : 0);
	put_optional(b, found, i->key.point, PUBLIC_KEY_SIZE);
	message_put_text(b, found ? i->pds : SPAN_EMPTY);
	message_put_text(b, i->handle);
}

/* Key and PDS are both there, or, when the identity was not found, neither. */
static bool identity_is_whole(const struct identity *i)
{
	const struct public_key *k = &i->key;

	if (i->status != IDENTITY_FOUND)
		return k->curve == 0 && is_zero(k->point, PUBLIC_KEY_SIZE) && i->pds.len == 0;
	return (k->curve == CURVE_K256 || k->curve == CURVE_P256) &&
	       (k->point[0] == 0x02 || k->point[0] == 0x03) && i->pds.len > 0;
}

int identity_decode(struct reader *r, struct identity *ret)
{
	struct reader in = *r;
	struct identity i;
	uint8_t status, curve;

	if (reader_get_u8(&in, &status) < 0 || reader_get_u64(&in, &i.fetched_usec) < 0 ||
	    reader_get_u64(&in, &i.age_usec) < 0 || message_get_text(&in, LIMIT_DID, &i.did) < 0 ||
	    reader_get_u8(&in, &curve) < 0 || get_array(&in, i.key.point, PUBLIC_KEY_SIZE) < 0 ||
	    message_get_text(&in, LIMIT_HOST, &i.pds) < 0 ||
	    message_get_text(&in, LIMIT_HANDLE, &i.handle) < 0)
		return -EBADMSG;
	i.status = (enum identity_status)status;
	i.key.curve = (enum curve)curve;
	if (status < IDENTITY_FOUND || status > IDENTITY_UNAVAILABLE || !did_is_valid(i.did) ||
	    !identity_is_whole(&i) || in.left > 0)
		return -EBADMSG;
	*r = in;
	*ret = i;
	return 0;
}

void head_encode(struct buf *b, const struct head *h)
{
	buf_put_u64(b, h->first_seq);
	buf_put_u64(b, h->next_seq);
	buf_put_u64(b, h->file_first_seq);
	buf_put_u64(b, h->file_end_bytes);
	buf_put_u64(b, h->usec);
	buf_put_u64(b, h->received_usec);
	buf_put_u8(b, (uint8_t)h->state);
}

int head_decode(struct reader *r, struct head *ret)
{
	struct reader in = *r;
	struct head h;
	uint8_t state;

	if (reader_get_u64(&in, &h.first_seq) < 0 || reader_get_u64(&in, &h.next_seq) < 0 ||
	    reader_get_u64(&in, &h.file_first_seq) < 0 ||
	    reader_get_u64(&in, &h.file_end_bytes) < 0 || reader_get_u64(&in, &h.usec) < 0 ||
	    reader_get_u64(&in, &h.received_usec) < 0 || reader_get_u8(&in, &state) < 0)
		return -EBADMSG;
	if (h.first_seq > h.next_seq || h.file_first_seq > h.next_seq ||
	    h.next_seq > (uint64_t)LIMIT_SEQ || state < HEAD_TAKING || state > HEAD_NO_STATE ||
	    in.left > 0)
		return -EBADMSG;
	h.state = (enum head_state)state;
	*r = in;
	*ret = h;
	return 0;
}

void xrpc_request_encode(struct buf *b, const struct xrpc_request *q)
{
	assert(q->param_count <= XRPC_PARAMS_MAX);
	message_put_text(b, q->method);
	buf_put_u8(b, (uint8_t)q->param_count);
	for (size_t i = 0; i < q->param_count; i++) {
		message_put_text(b, q->params[i].name);
		message_put_text(b, q->params[i].value);
	}
	message_put_text(b, q->body);
	message_put_text(b, q->remote);
}

int xrpc_request_decode(struct reader *r, struct xrpc_request *ret)
{
	struct reader in = *r;
	struct xrpc_request q = {0};
	uint8_t count;

	if (message_get_text(&in, LIMIT_NSID, &q.method) < 0 || reader_get_u8(&in, &count) < 0 ||
	    count > XRPC_PARAMS_MAX)
		return -EBADMSG;
	for (q.param_count = 0; q.param_count < count; q.param_count++) {
		struct xrpc_param *p = &q.params[q.param_count];

		if (message_get_text(&in, XRPC_PARAM_MAX, &p->name) < 0 ||
		    message_get_text(&in, XRPC_PARAM_MAX, &p->value) < 0)
			return -EBADMSG;
	}
	if (message_get_text(&in, LIMIT_XRPC_BODY, &q.body) < 0 ||
	    message_get_text(&in, LIMIT_REMOTE, &q.remote) < 0 || in.left > 0)
		return -EBADMSG;
	*r = in;
	*ret = q;
	return 0;
}

struct span xrpc_param(const struct xrpc_request *q, const char *name)
{
	for (size_t i = 0; i < q->param_count; i++)
		if (span_is(q->params[i].name, name))
			return q->params[i].value;
	return SPAN_EMPTY;
}

void xrpc_reply_encode(struct buf *b, const struct xrpc_reply *p)
{
	buf_put_u16(b, p->status);
	put_bytes(b, p->body);
}

int xrpc_reply_decode(struct reader *r, struct xrpc_reply *ret)
{
	struct reader in = *r;
	struct xrpc_reply p;

	if (reader_get_u16(&in, &p.status) < 0 || p.status < 100 || p.status > 599 ||
	    get_bytes(&in, LIMIT_MESSAGE, &p.body) < 0 || in.left > 0)
		return -EBADMSG;
	*r = in;
	*ret = p;
	return 0;
}

void host_check_encode(struct buf *b, const struct host_check *c)
{
	buf_put_u8(b, (uint8_t)c->result);
	message_put_text(b, c->reason);
}

int host_check_decode(struct reader *r, struct host_check *ret)
{
	struct reader in = *r;
	struct span reason;
	uint8_t result;

	if (reader_get_u8(&in, &result) < 0 || result < HOST_IS_PDS || result > HOST_FORBIDDEN ||
	    message_get_text(&in, LIMIT_REASON, &reason) < 0 || in.left > 0)
		return -EBADMSG;
	*r = in;
	*ret = (struct host_check){(enum host_check_result)result, reason};
	return 0;
}

void consumer_info_encode(struct buf *b, const struct consumer_info *c)
{
	buf_put_u64(b, c->id);
	buf_put_u64(b, c->connected_usec);
	buf_put_u64(b, c->events);
	buf_put_u64(b, c->bytes);
	buf_put_u64(b, c->lag);
	message_put_text(b, c->remote);
	message_put_text(b, c->agent);
}

int consumer_info_decode(struct reader *r, struct consumer_info *ret)
{
	struct reader in = *r;
	struct consumer_info c;

	if (reader_get_u64(&in, &c.id) < 0 || reader_get_u64(&in, &c.connected_usec) < 0 ||
	    reader_get_u64(&in, &c.events) < 0 || reader_get_u64(&in, &c.bytes) < 0 ||
	    reader_get_u64(&in, &c.lag) < 0 || message_get_text(&in, LIMIT_REMOTE, &c.remote) < 0 ||
	    message_get_text(&in, CONSUMER_AGENT_MAX, &c.agent) < 0)
		return -EBADMSG;
	*r = in;
	*ret = c;
	return 0;
}

void host_list_encode(struct buf *b, const struct host_list *h)
{
	assert(h->count <= HOST_LIST_MAX);
	buf_put_u8(b, h->ok);
	message_put_text(b, h->cursor);
	buf_put_u32(b, (uint32_t)h->count);
	for (size_t i = 0; i < h->count; i++)
		message_put_text(b, h->hosts[i]);
}

static int get_hosts(struct reader *r, struct span *ret, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (message_get_text(r, LIMIT_HOST, &ret[i]) < 0)
			return -EBADMSG;
	return r->left > 0 ? -EBADMSG : 0;
}

int host_list_decode(struct reader *r, struct host_list *ret)
{
	struct reader in = *r;
	struct span cursor, *hosts;
	uint8_t ok;
	uint32_t count;

	if (reader_get_u8(&in, &ok) < 0 || ok > 1 ||
	    message_get_text(&in, XRPC_PARAM_MAX, &cursor) < 0 || reader_get_u32(&in, &count) < 0 ||
	    count > HOST_LIST_MAX)
		return -EBADMSG;
	hosts = xcalloc(count, sizeof(*hosts));
	if (get_hosts(&in, hosts, count) < 0) {
		free(hosts);
		return -EBADMSG;
	}
	*r = in;
	*ret = (struct host_list){ok, cursor, count, hosts};
	return 0;
}
