#include "store/calls.h"

#include <errno.h>

#include "common/log.h"
#include "common/xrpc.h"

struct calls {
	struct storage *const *storage;
	struct pipe *pipe;
};

static void answer_failure(struct call *call)
{
	xrpc_error(call, 500, "InternalServerError", "the account cannot be read");
}

static void answer_not_found(struct call *call)
{
	xrpc_error(call, 404, "RepoNotFound", "no event of this repo was seen here");
}

/* Parameter `did` and its account. If there is no account, the call is answered and the result
 * negative. */
static int find_account(struct calls *c, struct call *call, const struct xrpc_request *q,
			struct account *ret)
{
	struct span did = xrpc_param(q, "did");
	int r;

	if (!did_is_valid(did)) {
		xrpc_error(call, 400, "InvalidRequest",
			   did.len ? "did is not a DID" : "did is missing");
		return -EINVAL;
	}
	if (!*c->storage) {
		xrpc_error(call, 503, "ServiceUnavailable", "the relay waits for its disk");
		return -EAGAIN;
	}
	r = storage_get_account(*c->storage, did, ret);
	if (r == -ENOENT)
		answer_not_found(call);
	else if (r < 0)
		answer_failure(call);
	return r;
}

static json_t *text_of(const uint8_t *bytes, size_t len)
{
	return xrpc_text(span_of(bytes, len));
}

static void get_repo_status(void *arg, struct call *call, const struct xrpc_request *q)
{
	struct account a;
	const char *status;
	json_t *body;

	if (find_account(arg, call, q, &a) < 0)
		return;
	body = json_pack("{s:o, s:b}", "did", xrpc_text(xrpc_param(q, "did")), "active", a.active);
	status = account_status_name(a.status);
	if (status)
		json_object_set_new(body, "status", json_string(status));
	if (a.active && a.has_commit)
		json_object_set_new(body, "rev", text_of(a.rev, TID_SIZE));
	xrpc_answer(call, 200, body);
}

/* The errors that the lexicon names, by status. A deleted repo is one that is not there. */
static const struct refusal {
	uint16_t http;
	const char *name;
	const char *message;
} refusals[] = {
	[ACCOUNT_INACTIVE] = {403, "RepoDeactivated", "the account is not active"},
	[ACCOUNT_DEACTIVATED] = {403, "RepoDeactivated", "the account is deactivated"},
	[ACCOUNT_SUSPENDED] = {403, "RepoSuspended", "the account is suspended"},
	[ACCOUNT_TAKENDOWN] = {403, "RepoTakendown", "the account is taken down"},
	[ACCOUNT_DELETED] = {404, "RepoNotFound", "the account is deleted"},
	[ACCOUNT_DESYNCHRONIZED] = {403, "RepoDeactivated", "the account is not active"},
	[ACCOUNT_THROTTLED] = {403, "RepoDeactivated", "the account is not active"},
};

static void get_latest_commit(void *arg, struct call *call, const struct xrpc_request *q)
{
	struct account a;
	struct cid cid = {.codec = CID_DAG_CBOR};
	char text[CID_TEXT_SIZE];

	if (find_account(arg, call, q, &a) < 0)
		return;
	if (!a.active) {
		const struct refusal *r = &refusals[a.status];

		xrpc_error(call, r->http, r->name, r->message);
		return;
	}
	if (!a.has_commit) {
		xrpc_error(call, 404, "RepoNotFound", "no commit of this repo was seen here yet");
		return;
	}
	memcpy(cid.digest, a.commit, SHA256_SIZE);
	xrpc_answer(call, 200,
		    json_pack("{s:s, s:o}", "cid", cid_format(&cid, text), "rev",
			      text_of(a.rev, TID_SIZE)));
}

static const struct xrpc_method methods[] = {
	{"com.atproto.sync.getRepoStatus", get_repo_status},
	{"com.atproto.sync.getLatestCommit", get_latest_commit},
	{NULL, NULL},
};

/* u32 count, u64 host ids; answered with u32 count, u64 counts. A call that is dropped is asked
 * again. */
static void count_accounts(struct calls *c, struct call *call, struct reader r)
{
	struct buf reply;
	uint32_t count;
	uint64_t host_id, accounts;

	if (!*c->storage || reader_get_u32(&r, &count) < 0 || r.left != count * sizeof(uint64_t)) {
		call_drop(call);
		return;
	}
	buf_init(&reply, LIMIT_MESSAGE);
	message_put_type(&reply, MESSAGE_ACCOUNTS_COUNTED);
	buf_put_u32(&reply, count);
	while (reader_get_u64(&r, &host_id) == 0) {
		if (storage_get_host_accounts(*c->storage, host_id, &accounts) < 0)
			break;
		buf_put_u64(&reply, accounts);
	}
	if (reply.len == 2 + sizeof(uint32_t) + count * sizeof(uint64_t))
		call_reply(call, buf_span(&reply));
	else
		call_drop(call);
	buf_release(&reply);
}

static void request(void *arg, struct call *call, struct span message)
{
	struct calls *c = arg;
	struct reader r = reader_of(message);
	enum message_type type;

	if (xrpc_refuse_foreign(call, message))
		return;
	if (message_get_type(&r, &type) < 0)
		call_drop(call);
	else if (type == MESSAGE_XRPC)
		xrpc_dispatch(methods, c, call, r);
	else if (type == MESSAGE_ACCOUNT_COUNTS)
		count_accounts(c, call, r);
	else
		call_drop(call);
}

int calls_new(struct loop *l, const char *url, struct storage *const *storage, struct calls **ret)
{
	struct calls *c = xcalloc(1, sizeof(*c));
	struct pipe_handler handler = {.request = request, .arg = c};
	int r;

	c->storage = storage;
	r = pipe_listen_rep(l, url, &handler, &c->pipe);
	if (r < 0) {
		log_error("cannot listen for calls: %s url=%s", strerror(-r), url);
		free(c);
		return r;
	}
	*ret = c;
	return 0;
}

void calls_free(struct calls *c)
{
	if (!c)
		return;
	pipe_close(c->pipe);
	free(c);
}
