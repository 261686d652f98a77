#include "resolve/host_check.h"

#include <stdlib.h>

#include <jansson.h>

#include "common/syntax.h"

#define DESCRIBE_SERVER "/xrpc/com.atproto.server.describeServer"

struct check {
	void (*done)(void *arg, const struct host_check *check);
	void *arg;
};

static bool describes_server(struct span body)
{
	json_t *object = json_loadb((const char *)body.ptr, body.len, 0, NULL);
	const json_t *did = json_object_get(object, "did");
	bool good = json_is_string(did) &&
		    did_is_valid(span_of(json_string_value(did), json_string_length(did)));

	json_decref(object);
	return good;
}

static struct host_check check_of(enum host_check_result result, const char *reason)
{
	return (struct host_check){result, span_str(reason)};
}

struct host_check host_check_judge(const struct http_answer *a)
{
	if (a->is_relay)
		return check_of(HOST_IS_RELAY, "its Server header says atproto-relay");
	switch (a->outcome) {
	case HTTP_ANSWERED:
		break;
	case HTTP_FORBIDDEN:
		return check_of(HOST_FORBIDDEN, a->reason);
	case HTTP_TOO_LARGE:
		return check_of(HOST_NOT_PDS, a->reason);
	default:
		return check_of(HOST_UNREACHABLE, a->reason);
	}
	/* 5xx and 429 come from what stands before a server that is down or busy. */
	if (a->status / 100 == 5 || a->status == 429)
		return check_of(HOST_UNREACHABLE, a->reason);
	if (a->status != 200)
		return check_of(HOST_NOT_PDS, a->reason);
	if (!describes_server(a->body))
		return check_of(HOST_NOT_PDS, "describeServer does not answer with a DID");
	return check_of(HOST_IS_PDS, "");
}

static void take_answer(void *arg, const struct http_answer *answer)
{
	struct check *c = arg;
	struct host_check result = host_check_judge(answer);

	c->done(c->arg, &result);
	free(c);
}

void host_check_start(struct http *http, const struct host_policy *policy, const struct host *host,
		      void (*done)(void *arg, const struct host_check *check), void *arg)
{
	struct check *c = xcalloc(1, sizeof(*c));
	struct http_request request = {
		.purpose = HTTP_HOST_CHECK,
		.host = *host,
		.plain = host_policy_is_plain(policy, host),
		.path = DESCRIBE_SERVER,
		.max_bytes = HOST_CHECK_BODY_MAX,
		.timeout_usec = HOST_CHECK_USEC,
		.done = take_answer,
		.arg = c,
	};

	c->done = done;
	c->arg = arg;
	http_get(http, &request);
}
