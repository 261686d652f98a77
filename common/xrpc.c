#include "common/xrpc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"

static void reply(struct call *call, uint16_t status, struct span body)
{
	const struct xrpc_reply r = {.status = status, .body = body};
	struct buf message;

	buf_init(&message, LIMIT_MESSAGE);
	message_put_type(&message, MESSAGE_XRPC_REPLY);
	xrpc_reply_encode(&message, &r);
	call_reply(call, buf_span(&message));
	buf_release(&message);
}

bool xrpc_refuse_foreign(struct call *call, struct span message)
{
	unsigned version;
	struct buf b;

	if (!message_is_foreign(message, &version))
		return false;
	buf_init(&b, 2);
	message_put_type(&b, MESSAGE_REFUSED);
	call_reply(call, buf_span(&b));
	buf_release(&b);
	return true;
}

void xrpc_answer(struct call *call, uint16_t status, json_t *body)
{
	char *text = NULL;

	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		json_decref(body);
		if (!text) {
			xrpc_error(call, 500, "InternalServerError",
				   "the answer cannot be written");
			return;
		}
	}
	reply(call, status, text ? span_str(text) : SPAN_EMPTY);
	free(text);
}

void xrpc_error(struct call *call, uint16_t status, const char *name, const char *message)
{
	xrpc_answer(call, status,
		    json_pack("{s:o, s:o}", "error", xrpc_text(span_str(name)), "message",
			      xrpc_text(span_str(message))));
}

int xrpc_limit(const struct xrpc_request *q, unsigned max, unsigned fallback, unsigned *ret)
{
	struct span text = xrpc_param(q, "limit");
	unsigned n = 0;

	if (text.len == 0) {
		*ret = fallback;
		return 0;
	}
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9' || __builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (unsigned)(text.ptr[i] - '0'), &n))
			return -EINVAL;
	}
	if (n < 1 || n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

json_t *xrpc_text(struct span s)
{
	json_t *text = json_stringn((const char *)s.ptr, s.len);

	return text ? text : json_string("");
}

void xrpc_dispatch(const struct xrpc_method *rows, void *arg, struct call *call,
		   struct reader request)
{
	struct xrpc_request q;

	/* What fanout sends is well-formed: this is another program. */
	if (xrpc_request_decode(&request, &q) < 0) {
		call_drop(call);
		return;
	}
	for (; rows->nsid; rows++) {
		if (span_is(q.method, rows->nsid)) {
			rows->answer(arg, call, &q);
			return;
		}
	}
	xrpc_error(call, 501, "MethodNotImplemented", "this relay has no such method");
}
