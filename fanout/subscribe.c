#include "fanout/subscribe.h"

#include "fanout/fanout.h"
#include "fanout/websocket.h"

static void refuse(struct request *q, unsigned status, const char *name, const char *message)
{
	request_answer_error(q, status, name, message);
}

static bool take_cursor(struct request *q)
{
	static const char *const names[] = {"cursor", NULL};
	struct xrpc_param param[1];
	size_t count = 0;

	if (request_params(q, names, param, &count) < 0 ||
	    (count == 1 && cursor_parse(param[0].value, &q->cursor) < 0)) {
		refuse(q, 400, "InvalidRequest", "cursor: one integer, 0 or more");
		return false;
	}
	return true;
}

/* [RFC 6455, 4.2.1] */
static bool check_handshake(struct request *q)
{
	const char *version = request_header(q, "Sec-WebSocket-Version");

	if (!request_has_token(q, "Upgrade", "websocket") ||
	    !request_has_token(q, "Connection", "upgrade")) {
		q->extra_name = "Upgrade";
		q->extra_value = "websocket";
		refuse(q, 426, "InvalidRequest", "This is a WebSocket stream.");
		return false;
	}
	if (!version || strcmp(version, "13") != 0) {
		q->extra_name = "Sec-WebSocket-Version";
		q->extra_value = "13";
		refuse(q, 400, "InvalidRequest", "Sec-WebSocket-Version: 13");
		return false;
	}
	if (!websocket_key_is_valid(request_header(q, "Sec-WebSocket-Key"))) {
		refuse(q, 400, "InvalidRequest", "Sec-WebSocket-Key: 16 bytes in base64");
		return false;
	}
	return true;
}

static const struct {
	unsigned status;
	const char *name, *retry_after, *message;
} refusals[ROOM_COUNT] = {
	[ROOM_STOPPING] = {503, "NotEnoughResources", "1", "This server restarts; try again."},
	[ROOM_UNKNOWN] = {503, "NotEnoughResources", "5",
			  "The stream is not known yet; try again soon."},
	[ROOM_FULL] = {503, "NotEnoughResources", "5", "There is no room for more consumers."},
	[ROOM_CLIENT_FULL] = {429, "RateLimitExceeded", "30",
			      "This address has as many consumers as one may have."},
};

static bool take_place(struct request *q)
{
	enum room room;

	request_visitor(q, &q->visitor);
	room = consumers_take_place(&q->fanout->consumers, &q->visitor, &q->cursor);
	q->has_place = room == ROOM_FREE;
	if (q->has_place)
		return true;
	q->extra_name = "Retry-After";
	q->extra_value = refusals[room].retry_after;
	refuse(q, refusals[room].status, refusals[room].name, refusals[room].message);
	return false;
}

static void on_taken(struct request *q, int fd, struct span extra)
{
	const struct newcomer who = {q->visitor, q->cursor};

	q->has_place = false;
	port_hand_over(q->fanout->port, q->connection, fd, &who, extra);
}

void subscribe_answer(struct request *q)
{
	char accept[WEBSOCKET_ACCEPT_SIZE];

	if (!check_handshake(q) || !take_cursor(q) || !take_place(q))
		return;
	websocket_accept(request_header(q, "Sec-WebSocket-Key"), accept);
	request_upgrade(q, accept, on_taken);
}
