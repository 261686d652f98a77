#include "fanout/gateway.h"

#include <errno.h>

#include "common/log.h"
#include "common/message.h"

#include "fanout/fanout.h"
#include "fanout/request.h"
#include "fanout/routes.h"

#define REMOTE_SIZE 64

/* A full request: the parameters, each with its name, the body, and the rest. */
#define REQUEST_MAX (XRPC_PARAMS_MAX * (XRPC_PARAM_MAX + 64) + LIMIT_XRPC_BODY + 1024)

static const char *const stage_names[GATEWAY_STAGES] = {
	[GATEWAY_STORE] = "store",
	[GATEWAY_INGEST] = "ingest",
};

int gateway_open(struct gateway *g, struct loop *l, const char *const urls[static GATEWAY_STAGES])
{
	*g = (struct gateway){0};
	for (size_t i = 0; i < GATEWAY_STAGES; i++) {
		int error = pipe_dial_req(l, urls[i], &g->pipes[i]);
		if (error < 0) {
			gateway_close(g);
			return error;
		}
	}
	return 0;
}

void gateway_close(struct gateway *g)
{
	for (size_t i = 0; i < GATEWAY_STAGES; i++) {
		struct pipe *p = g->pipes[i];
		g->pipes[i] = NULL;
		if (p)
			pipe_close(p);
	}
}

static void answer_failure(struct request *q, int error)
{
	const char *stage = stage_names[q->route->stage];
	char message[64];

	if (error == -ENOBUFS) {
		request_answer_error(q, 503, "NotEnoughResources", "Too many calls are under way.");
		return;
	}
	snprintf(message, sizeof(message), "%s does not answer.", stage);
	request_answer_error(q, 503, "UpstreamTimeout", message);
}

/* Written by xrpc_answer of the stage. */
static int decode_reply(struct span message, struct xrpc_reply *ret)
{
	struct reader r = reader_of(message);
	enum message_type type;

	if (message_get_type(&r, &type) < 0 || type != MESSAGE_XRPC_REPLY ||
	    xrpc_reply_decode(&r, ret) < 0 || r.left > 0 || ret->status < 200 || ret->status > 599)
		return -EBADMSG;
	return 0;
}

/* While stages are replaced by those of another version. */
static void answer_foreign(struct request *q, unsigned version)
{
	char text[64];

	snprintf(text, sizeof(text), "%s speaks another version (%u).",
		 stage_names[q->route->stage], version);
	request_answer_error(q, 503, "UpstreamFailure", text);
}

static void on_reply(void *arg, int error, struct span message)
{
	struct request *q = arg;
	struct xrpc_reply reply;
	unsigned version;

	request_resume(q);
	if (error < 0) {
		answer_failure(q, error);
	} else if (message_is_foreign(message, &version)) {
		answer_foreign(q, version);
	} else if (decode_reply(message, &reply) < 0) {
		log_error("reply of %s to %s does not decode", stage_names[q->route->stage],
			  q->route->path);
		request_answer_error(q, 500, "InternalServerError", "The answer makes no sense.");
	} else {
		request_answer(q, reply.status, "application/json", reply.body);
	}
}

void gateway_answer(struct request *q)
{
	char remote[ADDRESS_SIZE];
	struct visitor visitor;
	struct xrpc_request call = {
		.method = span_str(q->route->path + strlen("/xrpc/")),
		.body = buf_span(&q->body),
	};
	struct buf message;

	if (request_params(q, q->route->params, call.params, &call.param_count) < 0) {
		request_answer_error(q, 400, "InvalidRequest",
				     "A parameter is given twice, or is too long.");
		return;
	}
	request_visitor(q, &visitor);
	address_format(&visitor.address, remote);
	call.remote = span_str(remote);
	buf_init(&message, REQUEST_MAX);
	message_put_type(&message, MESSAGE_XRPC);
	xrpc_request_encode(&message, &call);
	request_wait(q);
	pipe_call(q->fanout->gateway.pipes[q->route->stage], buf_span(&message),
		  q->route->timeout_usec, on_reply, q);
	buf_release(&message);
}
