#include "fanout/notice.h"

#include "common/cbor.h"

#include "fanout/websocket.h"

#define NOTICE_MAX 512 /* bytes; names and messages are our own literals */

static void put_text(struct buf *b, const char *s)
{
	cbor_put_text(b, span_str(s));
}

static void put_message(struct buf *b, const struct buf *frame)
{
	websocket_put_head(b, WEBSOCKET_BINARY, frame->len);
	buf_append(b, buf_span(frame));
}

void notice_put_info(struct buf *b, const char *name, const char *message)
{
	struct buf frame;

	buf_init(&frame, NOTICE_MAX);
	cbor_put_map(&frame, 2);
	put_text(&frame, "t");
	put_text(&frame, "#info");
	put_text(&frame, "op");
	cbor_put_integer(&frame, 1);
	cbor_put_map(&frame, 2);
	put_text(&frame, "name");
	put_text(&frame, name);
	put_text(&frame, "message");
	put_text(&frame, message);
	put_message(b, &frame);
	buf_release(&frame);
}

void notice_put_error(struct buf *b, const char *name, const char *message)
{
	struct buf frame;

	buf_init(&frame, NOTICE_MAX);
	cbor_put_map(&frame, 1);
	put_text(&frame, "op");
	cbor_put_integer(&frame, -1);
	cbor_put_map(&frame, 2);
	put_text(&frame, "error");
	put_text(&frame, name);
	put_text(&frame, "message");
	put_text(&frame, message);
	put_message(b, &frame);
	buf_release(&frame);
}
