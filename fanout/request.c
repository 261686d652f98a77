#include "fanout/request.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include "common/log.h"
#include "common/stage.h"

#include "fanout/fanout.h"
#include "fanout/forwarded.h"
#include "fanout/routes.h"
#include "fanout/websocket.h"

#define BODY_DISCARDED_MAX                                                                         \
	KIB(64) /* read past LIMIT_XRPC_BODY, so that the client gets to read the refusal */
#define PREFLIGHT_SECONDS "86400"

/* ---- answers ---- */

static void count_answer(const struct request *q, unsigned status)
{
	char labels[128];

	snprintf(labels, sizeof(labels), "path=\"%s\",code=\"%u\"",
		 q->route ? q->route->path : "other", status);
	++*metrics_counter(q->fanout->metrics, "relay_http_requests_total",
			   "Requests on the public port, by path and status.", labels);
}

static void add_headers(const struct request *q, struct MHD_Response *r)
{
	static const struct {
		const char *name, *value;
	} headers[] = {
		{"Server", "standpipe/" STAGE_VERSION " (atproto-relay)"},
		{"Access-Control-Allow-Origin", "*"},
		{"Access-Control-Allow-Methods", "GET, HEAD, POST, OPTIONS"},
		{"Access-Control-Allow-Headers", "Accept, Authorization, Content-Type, Origin, *"},
		{"Access-Control-Max-Age", PREFLIGHT_SECONDS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
		MHD_add_response_header(r, headers[i].name, headers[i].value);
	/* A proxy that keeps its connections goes elsewhere with what it asks next. */
	if (!port_is_open(q->fanout->port))
		MHD_add_response_header(r, "Connection", "close");
	if (q->extra_name)
		MHD_add_response_header(r, q->extra_name, q->extra_value);
}

/* Takes the response. If it cannot be queued, libmicrohttpd ends the connection. */
static void queue(struct request *q, unsigned status, struct MHD_Response *r)
{
	assert(!q->answered && !q->waiting);
	q->answered = true;
	count_answer(q, status);
	MHD_queue_response(q->connection, status, r);
	MHD_destroy_response(r);
}

/* libmicrohttpd gives NULL only when memory has run out. */
static struct MHD_Response *must(struct MHD_Response *r)
{
	if (!r)
		abort();
	return r;
}

static bool has_room_for(const struct request *q, size_t bytes)
{
	size_t held = q->fanout->answer_bytes;

	return bytes <= REQUEST_SMALL_BYTES ||
	       (held < REQUEST_ANSWERS_BYTES && bytes <= REQUEST_ANSWERS_BYTES - held);
}

void request_answer(struct request *q, unsigned status, const char *type, struct span body)
{
	if (!has_room_for(q, body.len)) {
		request_answer_error(q, 503, "NotEnoughResources",
				     "Too many answers are not read yet.");
		return;
	}
	q->answer_bytes = body.len;
	q->fanout->answer_bytes += body.len;
	/* It copies, and takes a pointer to what it may change only for the sake of its other
	 * modes. */
	struct MHD_Response *r = must(MHD_create_response_from_buffer(
		body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_MUST_COPY));

	add_headers(q, r);
	if (body.len > 0)
		MHD_add_response_header(r, "Content-Type", type);
	queue(q, status, r);
}

void request_answer_json(struct request *q, unsigned status, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);

	json_decref(body);
	request_answer(q, status, "application/json", text ? span_str(text) : SPAN_EMPTY);
	free(text);
}

void request_answer_error(struct request *q, unsigned status, const char *name, const char *message)
{
	request_answer_json(q, status, json_pack("{s:s, s:s}", "error", name, "message", message));
}

static void on_upgrade(void *cls, struct MHD_Connection *connection, void *con_cls,
		       const char *extra, size_t extra_len, MHD_socket fd,
		       struct MHD_UpgradeResponseHandle *handle)
{
	struct request *q = cls;

	(void)connection;
	(void)con_cls;
	q->taken(q, fd, span_of(extra, extra_len));
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	port_wake(q->fanout->port);
}

void request_upgrade(struct request *q, const char *accept,
		     void (*taken)(struct request *q, int fd, struct span extra))
{
	struct MHD_Response *r = must(MHD_create_response_for_upgrade(on_upgrade, q));

	q->taken = taken;
	add_headers(q, r);
	MHD_add_response_header(r, "Upgrade", "websocket");
	MHD_add_response_header(r, "Sec-WebSocket-Accept", accept);
	queue(q, MHD_HTTP_SWITCHING_PROTOCOLS, r);
}

/* ---- what came ---- */

const char *request_header(const struct request *q, const char *name)
{
	return MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name);
}

struct token_search {
	const char *name, *token;
	bool found;
};

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *name,
				 const char *value)
{
	struct token_search *s = cls;

	(void)kind;
	if (strcasecmp(name, s->name) == 0 && websocket_has_token(value, s->token))
		s->found = true;
	return MHD_YES;
}

bool request_has_token(const struct request *q, const char *name, const char *token)
{
	struct token_search s = {.name = name, .token = token};

	MHD_get_connection_values(q->connection, MHD_HEADER_KIND, on_header, &s);
	return s.found;
}

struct params {
	const char *const *names;
	struct xrpc_param *params;
	size_t count;
	int error;
};

static enum MHD_Result on_param(void *cls, enum MHD_ValueKind kind, const char *name,
				size_t name_len, const char *value, size_t value_len)
{
	struct params *p = cls;
	struct span key = span_of(name, name_len);
	size_t i = 0;

	(void)kind;
	while (p->names[i] && !span_is(key, p->names[i]))
		i++;
	if (!p->names[i])
		return MHD_YES;
	for (size_t k = 0; k < p->count; k++)
		p->error = span_equal(p->params[k].name, key) ? -EINVAL : p->error;
	if (value_len > XRPC_PARAM_MAX)
		p->error = -EINVAL;
	if (p->error < 0)
		return MHD_NO;
	p->params[p->count++] = (struct xrpc_param){key, span_of(value, value ? value_len : 0)};
	return MHD_YES;
}

int request_params(const struct request *q, const char *const *names, struct xrpc_param *ret,
		   size_t *ret_count)
{
	struct params p = {.names = names, .params = ret};

	MHD_get_connection_values_n(q->connection, MHD_GET_ARGUMENT_KIND, on_param, &p);
	if (p.error == 0)
		*ret_count = p.count;
	return p.error;
}

/* All lines of the header, as one list. Their sum is bounded by PORT_CONNECTION_BYTES. */
static enum MHD_Result on_forwarded(void *cls, enum MHD_ValueKind kind, const char *name,
				    const char *value)
{
	struct buf *list = cls;

	(void)kind;
	if (strcasecmp(name, "X-Forwarded-For") == 0 && value) {
		if (list->len > 0)
			buf_put_u8(list, ',');
		buf_append_str(list, value);
	}
	return MHD_YES;
}

/* It is shown on terminals. */
static void set_agent(const struct request *q, struct visitor *v)
{
	const char *agent = request_header(q, "User-Agent");
	size_t i = 0;

	for (; agent && agent[i] && i < CONSUMER_AGENT_MAX; i++)
		v->agent[i] = agent[i] >= ' ' && agent[i] <= '~' ? agent[i] : '?';
	v->agent[i] = '\0';
}

void request_visitor(const struct request *q, struct visitor *ret)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(
		q->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	const struct networks *trusted = port_trusted(q->fanout->port);
	struct address peer = {0};
	struct buf list;

	*ret = (struct visitor){0};
	if (info && info->client_addr)
		(void)address_of(info->client_addr, &peer);
	ret->address = peer;
	if (networks_has(trusted, &peer)) {
		buf_init(&list, 2 * PORT_CONNECTION_BYTES);
		MHD_get_connection_values(q->connection, MHD_HEADER_KIND, on_forwarded, &list);
		ret->address = forwarded_client(trusted, &peer, buf_span(&list));
		buf_release(&list);
	}
	ret->is_counted = !networks_has(trusted, &ret->address);
	if (memcmp(&peer, &ret->address, sizeof(peer)) == 0 && info && info->client_addr)
		ret->port = ntohs(
			((const struct sockaddr_in *)(const void *)info->client_addr)->sin_port);
	set_agent(q, ret);
}

/* ---- life ---- */

static bool is_xrpc(const char *path)
{
	return strncmp(path, "/xrpc/", 6) == 0;
}

static void answer_unknown(struct request *q, const char *path)
{
	if (is_xrpc(path))
		request_answer_error(q, MHD_HTTP_NOT_IMPLEMENTED, "MethodNotImplemented",
				     "This server has no such method.");
	else
		request_answer_error(q, MHD_HTTP_NOT_FOUND, "NotFound", "There is nothing here.");
}

static bool method_fits(const struct route *r, const char *method)
{
	return strcmp(method, r->http_method) == 0 ||
	       (r->has_head && strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
}

static bool body_is_too_long(const struct request *q)
{
	const char *length = request_header(q, "Content-Length");
	uint64_t n = 0;

	for (; length && *length >= '0' && *length <= '9'; length++) {
		n = n * 10 + (uint64_t)(*length - '0');
		if (n > LIMIT_XRPC_BODY)
			return true;
	}
	return q->body_bytes > LIMIT_XRPC_BODY;
}

static void refuse_body(struct request *q)
{
	request_answer_error(q, MHD_HTTP_CONTENT_TOO_LARGE, "PayloadTooLarge",
			     "The request's body is too long.");
}

/* The whole request is there. */
static void answer(struct request *q, const char *path, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0) {
		request_answer(q, MHD_HTTP_NO_CONTENT, NULL, SPAN_EMPTY);
	} else if (!q->route) {
		answer_unknown(q, path);
	} else if (!method_fits(q->route, method)) {
		q->extra_name = "Allow";
		q->extra_value = q->route->http_method;
		request_answer_error(q, MHD_HTTP_METHOD_NOT_ALLOWED, "InvalidRequest",
				     "The HTTP method does not fit.");
	} else if (body_is_too_long(q)) {
		refuse_body(q);
	} else {
		q->route->answer(q);
	}
}

static void begin(struct fanout *f, struct MHD_Connection *connection, const char *path,
		  struct request **ret)
{
	struct request *q = xcalloc(1, sizeof(*q));

	q->fanout = f;
	q->connection = connection;
	q->route = routes_find(path);
	buf_init(&q->body, LIMIT_XRPC_BODY);
	*ret = q;
	/* An announced body that is too long need not be sent at all. */
	if (body_is_too_long(q))
		refuse_body(q);
}

static int take_body(struct request *q, struct span piece)
{
	q->body_bytes += piece.len;
	if (q->body_bytes <= LIMIT_XRPC_BODY)
		buf_append(&q->body, piece);
	return q->body_bytes > BODY_DISCARDED_MAX ? -EPIPE : 0;
}

int request_take(struct fanout *f, struct MHD_Connection *connection, const char *path,
		 const char *method, struct span piece, struct request **q)
{
	if (!*q) {
		begin(f, connection, path, q);
		return 0;
	}
	if (piece.len > 0)
		return take_body(*q, piece);
	if (!(*q)->answered && !(*q)->waiting)
		answer(*q, path, method);
	return 0;
}

void request_free(struct request *q)
{
	if (!q)
		return;
	assert(!q->waiting);
	if (q->has_place)
		consumers_give_back(&q->fanout->consumers, &q->visitor);
	q->fanout->answer_bytes -= q->answer_bytes;
	buf_release(&q->body);
	free(q);
}

void request_wait(struct request *q)
{
	q->waiting = true;
	MHD_suspend_connection(q->connection);
}

/* The answer may be queued while the connection is still suspended: it is sent when libmicrohttpd
 * runs next. */
void request_resume(struct request *q)
{
	assert(q->waiting);
	q->waiting = false;
	MHD_resume_connection(q->connection);
	port_wake(q->fanout->port);
}
