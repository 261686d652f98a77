/*
 * A consumer: a socket and a place in the log. Nothing is queued for it: ranges go from the log's
 * files to the socket by sendfile, and what has to be said in between (pong, ping, close, #info, an
 * error) goes out where a range has ended.
 *
 *	     range                range             range
 *	[m m m m m m m m] pong [m m m m m m] ping [m m m ...
 *	                 boundary           boundary
 *
 * It is served one range a turn of the loop, so that none starves the others, and is written to
 * only when its socket takes something. What keeps it alive is progress: bytes that its end
 * acknowledged, or anything that it sends. It ends in order, by a close frame at the next boundary
 * and a limited wait for the answer; if it does not take that, by a reset.
 *
 * It is too slow (ConsumerTooSlow) when it has fallen out of the window, or has taken no byte of
 * what waits for it for settings.progress_usec. There is no other rule: it may be as far behind as
 * the window is long.
 *
 * Owner: struct consumers. About 800 bytes each; a short buffer more while something other than
 * events is on its way. The kernel's send queue beyond what is under way is held to
 * CONSUMER_UNSENT_BYTES.
 */
#pragma once

#include "common/address.h"
#include "common/loop.h"

#include "fanout/cursor.h"
#include "fanout/websocket.h"
#include "fanout/window.h"
#include "fanout/wire.h"

#define CONSUMER_UNSENT_BYTES RANGE_BYTES
/* For the rest of a range, the close frame, and the answer to it. */
#define CONSUMER_CLOSE_USEC   (5 * USEC_PER_SEC)
/* What it may send: pongs, and pings of its own. Beyond so many bytes at once, or so many a second
 * for long, it is closed: each costs us time. */
#define CONSUMER_INPUT_BYTES  KIB(128)
#define CONSUMER_INPUT_RATE   KIB(4)
#define CONSUMER_REMOTE_SIZE  56 /* "[address]:port", or "[address]", with its NUL */

/* Why a consumer ended: the label `reason` of relay_consumer_closes_total. */
enum consumer_end {
	END_CLOSED,        /* by a close frame of its own */
	END_GONE,          /* its connection ended */
	END_FUTURE_CURSOR, /* an error frame said so */
	END_FELL_BEHIND,   /* what it needs next is not kept any more: ConsumerTooSlow */
	END_STALLED,       /* it took no byte for too long: ConsumerTooSlow */
	END_SILENT,        /* no pong */
	END_PROTOCOL,      /* it sent what is no WebSocket frame of a client */
	END_TOO_BIG,       /* it sent a message without end */
	END_FLOOD,         /* it sent more than anybody has to say */
	END_RESTART,       /* we stop */
	END_LOG_RESET,     /* the numbers began anew */
	END_LOG_BROKEN,    /* the log cannot be read */
	END_COUNT,
};

const char *consumer_end_name(enum consumer_end e);

struct consumers;

/* Who a consumer is, or is to be. */
struct visitor {
	struct address address;
	uint16_t port;   /* 0: behind a proxy */
	bool is_counted; /* among those of its client: it is no trusted proxy itself */
	char agent[CONSUMER_AGENT_MAX + 1]; /* as it calls itself, made printable */
};

/* One whose handshake is done, and who has a place. */
struct newcomer {
	struct visitor visitor;
	struct cursor cursor;
};

struct consumer {
	struct consumers *set;
	struct consumer *next, *previous;
	struct wire wire;
	struct loop_io io;
	uint32_t events; /* what the loop waits for */

	struct place place;
	struct range range; /* what is being sent; its start is the next byte */
	struct buf out;     /* whole frames of our own; sent before anything else */

	struct websocket_input input;
	uint8_t pong_len;
	bool pong_owed; /* only the newest ping is answered [RFC 6455, 5.5.3] */
	bool ping_due;
	bool deaf;            /* what comes in does not matter any more */
	uint64_t input_bytes; /* that came in, less what the rate allows until input_usec */
	uint64_t input_usec;
	uint8_t pong[WEBSOCKET_CONTROL_MAX];

	uint64_t ahead_since_usec; /* its cursor is ahead of the log as we know it; 0: it is not */

	bool closing; /* a close frame goes out at the next boundary, */
	bool close_sent;
	bool close_received;
	enum consumer_end end;
	enum websocket_code close_code;
	uint64_t deadline_usec; /* and by then it is over */

	uint64_t written_bytes; /* of events and frames */
	uint64_t taken_bytes;   /* on the wire, when last looked at */
	uint64_t moved_usec;    /* when that last grew, or there was nothing to take */
	uint64_t quiet_usec;    /* when something was last sent or came in */
	uint64_t ping_usec;     /* when the ping was sent that has no answer yet; 0: none */
	uint64_t ping_bytes;    /* where on the wire it ends */
	uint64_t id;
	uint64_t connected_usec; /* since 1970 */
	uint64_t sent_events;
	struct visitor visitor;
	char remote[CONSUMER_REMOTE_SIZE];
};

/* Takes the wire. The consumer gets events from seq on; nothing is sent yet. */
struct consumer *consumer_new(struct consumers *set, const struct wire *wire, uint64_t seq,
			      const struct visitor *who);
/* Frees it and ends its connection; counts and logs how it ended. */
void consumer_free(struct consumer *c, enum consumer_end end);

/* These may free the consumer. */
/* Sends what there is to send and the socket takes. */
void consumer_pump(struct consumer *c);
/* Bytes that it sent. */
void consumer_feed(struct consumer *c, struct span bytes);
/* Ends it in order. */
void consumer_close(struct consumer *c, enum consumer_end end);
/* To be called now and then: progress, pings, deadlines. */
void consumer_check(struct consumer *c, uint64_t now_usec);

/* How many events the log has that it was not sent. */
uint64_t consumer_lag(const struct consumer *c);
