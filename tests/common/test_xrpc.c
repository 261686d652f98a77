#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>

#include "common/limits.h"
#include "common/xrpc.h"

/* A server and a caller on one loop; the reply ends the loop. */
struct fixture {
	struct loop *loop;
	struct pipe *server, *client;
	int error;
	uint16_t status;
	struct buf body;
	unsigned answered;
};

static void answer_did(void *arg, struct call *call, const struct xrpc_request *q)
{
	struct fixture *f = arg;

	f->answered++;
	xrpc_answer(call, 200,
		    json_pack("{s:o, s:i}", "did", xrpc_text(xrpc_param(q, "did")), "n", 7));
}

static void answer_nothing(void *arg, struct call *call, const struct xrpc_request *q)
{
	(void)arg;
	(void)q;
	xrpc_answer(call, 200, NULL);
}

static void answer_error(void *arg, struct call *call, const struct xrpc_request *q)
{
	(void)arg;
	(void)q;
	xrpc_error(call, 400, "RepoNotFound", "no \"repo\"\nof this name");
}

static const struct xrpc_method methods[] = {
	{"com.example.did", answer_did},
	{"com.example.nothing", answer_nothing},
	{"com.example.error", answer_error},
	{NULL, NULL},
};

static void on_request(void *arg, struct call *call, struct span message)
{
	struct reader r = reader_of(message);
	enum message_type type;

	CHECK_INT(message_get_type(&r, &type), 0);
	CHECK_INT(type, MESSAGE_XRPC);
	xrpc_dispatch(methods, arg, call, r);
}

static void on_reply(void *arg, int error, struct span message)
{
	struct fixture *f = arg;
	struct reader r = reader_of(message);
	struct xrpc_reply p = {.status = 0};
	enum message_type type;

	f->error = error;
	if (!error) {
		CHECK_INT(message_get_type(&r, &type), 0);
		CHECK_INT(type, MESSAGE_XRPC_REPLY);
		CHECK_INT(xrpc_reply_decode(&r, &p), 0);
		CHECK_INT(r.left, 0);
	}
	f->status = p.status;
	buf_clear(&f->body);
	buf_append(&f->body, p.body);
	buf_put_u8(&f->body, '\0');
	loop_quit(f->loop, 0);
}

static void fixture_init(struct fixture *f)
{
	const struct pipe_handler handler = {.request = on_request, .arg = f};
	char url[128];

	*f = (struct fixture){.loop = loop_new()};
	buf_init(&f->body, MIB(1));
	snprintf(url, sizeof(url), "ipc://%s/calls", test_folder());
	CHECK_INT(pipe_listen_rep(f->loop, url, &handler, &f->server), 0);
	CHECK_INT(pipe_dial_req(f->loop, url, &f->client), 0);
}

static void fixture_release(struct fixture *f)
{
	pipe_close(f->client);
	pipe_close(f->server);
	buf_release(&f->body);
	loop_free(f->loop);
}

static void call_bytes(struct fixture *f, struct span message, uint64_t timeout_usec)
{
	pipe_call(f->client, message, timeout_usec, on_reply, f);
	loop_run(f->loop);
}

static void call(struct fixture *f, const char *method, const char *did)
{
	struct xrpc_request q = {.method = span_str(method)};
	struct buf message;

	if (did) {
		q.param_count = 1;
		q.params[0] = (struct xrpc_param){.name = span_str("did"), .value = span_str(did)};
	}
	buf_init(&message, KIB(8));
	message_put_type(&message, MESSAGE_XRPC);
	xrpc_request_encode(&message, &q);
	call_bytes(f, buf_span(&message), 10 * USEC_PER_SEC);
	buf_release(&message);
}

TEST(calls_and_answers)
{
	static const struct {
		const char *method, *did;
		uint16_t status;
		const char *body;
	} cases[] = {
		{"com.example.did", "did:plc:a", 200, "{\"did\":\"did:plc:a\",\"n\":7}"},
		{"com.example.did", NULL, 200, "{\"did\":\"\",\"n\":7}"},
		{"com.example.did", "\xff\xfe", 200, "{\"did\":\"\",\"n\":7}"},
		{"com.example.nothing", NULL, 200, ""},
		{"com.example.error", NULL, 400,
		 "{\"error\":\"RepoNotFound\",\"message\":\"no \\\"repo\\\"\\nof this name\"}"},
		{"com.example.other", NULL, 501,
		 "{\"error\":\"MethodNotImplemented\",\"message\":\"this relay has no such "
		 "method\"}"},
		{"com.example.di", NULL, 501,
		 "{\"error\":\"MethodNotImplemented\",\"message\":\"this relay has no such "
		 "method\"}"},
	};
	struct fixture f;

	fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		call(&f, cases[i].method, cases[i].did);
		CHECK_INT(f.error, 0);
		CHECK_INT(f.status, cases[i].status);
		CHECK_STR((const char *)f.body.ptr, cases[i].body);
	}
	CHECK_INT(f.answered, 3);
	fixture_release(&f);
}

/* What does not decode is dropped, and the next call is answered all the same. */
TEST(what_is_no_request_is_dropped)
{
	struct fixture f;
	struct buf message;

	fixture_init(&f);
	buf_init(&message, KIB(8));
	message_put_type(&message, MESSAGE_XRPC);
	buf_put_u16(&message, 9);
	call_bytes(&f, buf_span(&message), 100 * USEC_PER_MSEC);
	CHECK_INT(f.error, -ETIMEDOUT);
	call(&f, "com.example.did", "x");
	CHECK_INT(f.error, 0);
	CHECK_INT(f.answered, 1);
	buf_release(&message);
	fixture_release(&f);
}

TEST(limits)
{
	static const struct {
		const char *text; /* NULL: no such parameter */
		int error;
		unsigned want;
	} cases[] = {
		{NULL, 0, 500},
		{"", 0, 500},
		{"1", 0, 1},
		{"1000", 0, 1000},
		{"007", 0, 7},
		{"0", -EINVAL, 99},
		{"1001", -EINVAL, 99},
		{"-1", -EINVAL, 99},
		{"1x", -EINVAL, 99},
		{" 1", -EINVAL, 99},
		{"1.5", -EINVAL, 99},
		{"4294967297", -EINVAL, 99},
		{"4294967300", -EINVAL, 99},
		{"99999999999999999999", -EINVAL, 99},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct xrpc_request q = {.param_count = cases[i].text != NULL};
		unsigned n = 99;

		if (cases[i].text)
			q.params[0] = (struct xrpc_param){span_str("limit"),
							  span_str(cases[i].text)};
		CHECK_INT(xrpc_limit(&q, 1000, 500, &n), cases[i].error);
		CHECK_INT(n, cases[i].want);
	}
}
