/*
 * What the stages say to each other: every message and its layout. Little-endian, fixed-width
 * heads, then the bytes whose lengths the head gives. Each *_encode has its *_decode beside it in
 * message.c; a decoder refuses (-EBADMSG) a length beyond limits.h, a value out of range, and,
 * where it decodes a whole message, bytes that are left over. Spans in decoded structs borrow from
 * the message.
 *
 *      [ ingest ] --EVENTS--> [ validate ] --VERIFIED--> [ store ] --HEAD--> [ fanout ]
 *           <------ACKS------     | ^    <------ACKS-----
 *                          LOOKUP | | IDENTITY
 *                              [ resolve ]
 *
 * Numbers are never used for another meaning. Version 1.
 */
#pragma once

#include "common/bytes.h"
#include "common/cid.h"
#include "common/multikey.h"
#include "common/syntax.h"
#include "common/verdict.h"

#define MESSAGE_VERSION 1

enum message_type {
	MESSAGE_OPEN = 1,          /* upstream -> downstream, lane.h */
	MESSAGE_READY = 2,         /* downstream -> upstream, lane.h */
	MESSAGE_EVENTS = 3,        /* ingest -> validate: struct event, one or more */
	MESSAGE_VERIFIED = 4,      /* validate -> store: struct verified, one or more */
	MESSAGE_ACKS = 5,          /* store -> validate -> ingest: struct ack, one or more */
	MESSAGE_LOOKUP = 6,        /* validate -> resolve: struct lookup, one */
	MESSAGE_IDENTITY = 7,      /* resolve -> validate: struct identity, one */
	MESSAGE_HEAD = 8,          /* store -> fanout: struct head */
	MESSAGE_REFUSED = 9,       /* resolve -> validate: the head alone, which has the version
				      that is spoken here; nothing else of this connection is
				      answered. Also downstream -> upstream, lane.h, and ingest
				      and store -> who calls them in another version */
	MESSAGE_XRPC = 32,         /* fanout -> store, ingest: struct xrpc_request */
	MESSAGE_XRPC_REPLY = 33,   /* the answer: struct xrpc_reply */
	MESSAGE_CHECK_HOST = 34,   /* ingest -> resolve: u16 length, host ("name[:port]") */
	MESSAGE_HOST_CHECKED = 35, /* the answer: struct host_check */
	MESSAGE_LIST_HOSTS = 36,   /* ingest -> resolve: base URL of a relay, cursor; u16 + each */
	MESSAGE_HOSTS_LISTED = 37, /* the answer: struct host_list */
	MESSAGE_ACCOUNT_COUNTS = 38,   /* ingest -> store: u32 count, u64 host ids */
	MESSAGE_ACCOUNTS_COUNTED = 39, /* the answer: u32 count, u64 counts, in the order asked */
	MESSAGE_METRICS = 64,          /* ctl -> every stage, control pipe */
	MESSAGE_METRICS_REPLY = 65,    /* the answer: Prometheus' text to the end of the message */
	MESSAGE_SETTING = 66,   /* ctl -> a stage: "section.key=value" or "section.key", settings.h;
				 or nothing, which asks for a list; to the end of the message */
	MESSAGE_HEAP = 67,      /* ctl -> a stage: u8 enum heap_order */
	MESSAGE_TOLD = 68,      /* the answer to these orders: u8 whether it was done, then text */
	MESSAGE_STOP = 69,      /* ctl -> a stage: u64 pid; that process ends as by SIGTERM, and no
				 other, which the message may reach if it is sent again */
	MESSAGE_CONSUMERS = 70, /* ctl -> fanout: u64 id; those below it, 0: all */
	MESSAGE_CONSUMERS_LISTED = 71, /* the answer: struct consumer_info, the highest id first, as
					  many as CONSUMERS_LISTED; none: there are no more */
};

/* Orders about heap profiles, heap.h. */
enum heap_order { HEAP_START = 1, HEAP_MARK = 2, HEAP_REPORT = 3, HEAP_STOP = 4 };

/* Head of every message that is not on a lane: u8 version, u8 type. */
void message_put_type(struct buf *b, enum message_type type);
int message_get_type(struct reader *r, enum message_type *ret) MUST_CHECK;

/* Whether it is of another version, in which nothing but this byte can be read. */
bool message_is_foreign(struct span message, unsigned *ret_version);

/* A span with a u16 length before it; max: its limit. */
void message_put_text(struct buf *b, struct span s);
int message_get_text(struct reader *r, size_t max, struct span *ret) MUST_CHECK;

/* One frame as a host sent it. The ticket is ingest's number for it, rising on its lane within a
 * session. */
struct event {
	uint64_t ticket;
	uint64_t host_id;
	uint32_t host_epoch;
	uint64_t host_seq;
	uint64_t received_usec;        /* since 1970 */
	uint64_t received_uptime_usec; /* the same moment, as uptime_usec has it */
	struct span host;              /* formatted, host.h */
	struct span frame;
};
/* u64 ticket, u64 host_id, u32 host_epoch, u64 host_seq, u64 received, u64 received uptime, u16 +
 * host, u32 + frame */
void event_encode(struct buf *b, const struct event *e);
int event_decode(struct reader *r, struct event *ret) MUST_CHECK;

enum event_kind {
	EVENT_COMMIT = 1,
	EVENT_SYNC = 2,
	EVENT_IDENTITY = 3,
	EVENT_ACCOUNT = 4,
};
/* "#commit", ...: the `t` of the frame's header. NULL for another number. */
const char *event_kind_name(enum event_kind k);

enum account_status {
	ACCOUNT_ACTIVE = 0,
	ACCOUNT_INACTIVE = 1, /* active: false without status, or with one not known here */
	ACCOUNT_DEACTIVATED = 2,
	ACCOUNT_SUSPENDED = 3,
	ACCOUNT_TAKENDOWN = 4,
	ACCOUNT_DELETED = 5,
	ACCOUNT_DESYNCHRONIZED = 6, /* active may be true beside it */
	ACCOUNT_THROTTLED = 7,      /* the same */
};
/* "takendown", ...; NULL for active and inactive. */
const char *account_status_name(enum account_status s);
enum account_status account_status_parse(bool active, struct span status);

/* An event that was verified, with what store needs, so that nothing downstream parses it again. */
struct verified {
	uint64_t ticket;
	uint64_t host_id;
	uint32_t host_epoch;
	uint64_t host_seq;
	uint64_t received_usec;
	enum event_kind kind;
	uint32_t seq_offset; /* where the CBOR integer of `seq` stands in the frame, */
	uint8_t seq_size;    /* and its length: 1, 2, 3, 5 or 9 */
	struct span did;
	struct span frame;
	/* #commit, #sync */
	uint8_t rev[TID_SIZE];
	bool has_since;
	uint8_t since[TID_SIZE];
	uint8_t commit[SHA256_SIZE]; /* digests of dag-cbor CIDs */
	uint8_t data[SHA256_SIZE];
	bool has_prev_data;
	uint8_t prev_data[SHA256_SIZE];
	bool is_legacy; /* #commit: lacks what would prove the tree before it */
	/* #account */
	bool active;
	enum account_status status;
};
/* u64 ticket, u64 host_id, u32 host_epoch, u64 host_seq, u64 received, u8 kind, u8 flags, u32
 * seq_offset, u8 seq_size, u16 + did, u32 + frame; #commit and #sync: 13 rev, 13 since, 32 commit,
 * 32 data, 32 prev_data (zeros where absent); #account: u8 status */
void verified_encode(struct buf *b, const struct verified *v);
int verified_decode(struct reader *r, struct verified *ret) MUST_CHECK;

struct ack {
	uint64_t ticket;
	enum verdict verdict;
};
/* u64 ticket, u8 verdict */
void ack_encode(struct buf *b, const struct ack *a);
int ack_decode(struct reader *r, struct ack *ret) MUST_CHECK;

/* Asks for an identity fetched at newer_than_usec (of uptime_usec) or later; 0: whatever the cache
 * has within its time to live. host_id: of the host whose event needs it; hosts have equal shares
 * of what resolve can do. */
struct lookup {
	uint64_t newer_than_usec;
	uint64_t host_id;
	struct span did;
};
/* u64 newer_than, u64 host_id, u16 + did */
void lookup_encode(struct buf *b, const struct lookup *l);
int lookup_decode(struct reader *r, struct lookup *ret) MUST_CHECK;

enum identity_status {
	IDENTITY_FOUND = 1,     /* key and pds are there */
	IDENTITY_NOT_FOUND = 2, /* the directory or host says 404, or the method is not supported */
	IDENTITY_TOMBSTONED = 3,  /* 410 */
	IDENTITY_UNUSABLE = 4,    /* a document without atproto key or PDS, or malformed */
	IDENTITY_UNAVAILABLE = 5, /* a passing failure; ask again later */
};

struct identity {
	enum identity_status status;
	uint64_t fetched_usec; /* of uptime_usec; 0: before the machine was started */
	uint64_t age_usec;     /* since then; UINT64_MAX: not known, as a clock was set */
	struct span did;
	struct public_key key; /* found only */
	struct span pds;       /* found only: formatted host, host.h */
	struct span handle;    /* may be empty */
};
/* u8 status, u64 fetched, u64 age, u16 + did, u8 curve, 33 key, u16 + pds, u16 + handle */
void identity_encode(struct buf *b, const struct identity *i);
int identity_decode(struct reader *r, struct identity *ret) MUST_CHECK;

/* Whether store takes events. */
enum head_state {
	HEAD_TAKING = 1,
	HEAD_NO_ROOM = 2, /* the disk is full: events wait */
	/* The disk is so full that store cannot open its state either. The log goes on to next_seq
	 * at least, and what is beyond that nobody can say. */
	HEAD_NO_STATE = 3,
};

/* How far the log is real. */
struct head {
	uint64_t first_seq;      /* oldest kept; next_seq when nothing is */
	uint64_t next_seq;       /* one after the newest; 0: store has not opened the log yet */
	uint64_t file_first_seq; /* the file that holds, or will hold, the end: its name */
	uint64_t file_end_bytes; /* where the log ends in it */
	uint64_t usec;           /* since 1970 */
	uint64_t received_usec;  /* when ingest received the newest; 0: not known */
	enum head_state state;
};
/* u64 each, in this order, and u8 state */
void head_encode(struct buf *b, const struct head *h);
int head_decode(struct reader *r, struct head *ret) MUST_CHECK;

#define XRPC_PARAMS_MAX 8
#define XRPC_PARAM_MAX  2048 /* bytes of one value; a DID has the longest */

struct xrpc_param {
	struct span name;
	struct span value;
};

/* A call of the public port, its parameters decoded. */
struct xrpc_request {
	struct span method; /* NSID */
	size_t param_count;
	struct xrpc_param params[XRPC_PARAMS_MAX];
	struct span body;
	struct span remote; /* address of the client, for logs */
};
/* u16 + method, u8 count, (u16 + name, u16 + value) each, u16 + body, u16 + remote */
void xrpc_request_encode(struct buf *b, const struct xrpc_request *q);
int xrpc_request_decode(struct reader *r, struct xrpc_request *ret) MUST_CHECK;
/* Empty span if absent. */
struct span xrpc_param(const struct xrpc_request *q, const char *name);

struct xrpc_reply {
	uint16_t status;  /* HTTP */
	struct span body; /* JSON; may be empty */
};
/* u16 status, u32 + body */
void xrpc_reply_encode(struct buf *b, const struct xrpc_reply *p);
int xrpc_reply_decode(struct reader *r, struct xrpc_reply *ret) MUST_CHECK;

enum host_check_result {
	HOST_IS_PDS = 1,
	HOST_UNREACHABLE = 2,
	HOST_NOT_PDS = 3,   /* it answers, but describeServer does not */
	HOST_IS_RELAY = 4,  /* its Server header says atproto-relay: no loops */
	HOST_FORBIDDEN = 5, /* an address that the configuration does not allow */
};

struct host_check {
	enum host_check_result result;
	struct span reason; /* for people */
};
/* u8 result, u16 + reason */
void host_check_encode(struct buf *b, const struct host_check *c);
int host_check_decode(struct reader *r, struct host_check *ret) MUST_CHECK;

#define CONSUMERS_LISTED   1000
#define CONSUMER_AGENT_MAX 80 /* bytes of its User-Agent that are kept */

/* A consumer of the stream, for people. */
struct consumer_info {
	uint64_t id;             /* rises; of one process */
	uint64_t connected_usec; /* since 1970 */
	uint64_t events;         /* that it was sent, */
	uint64_t bytes;
	uint64_t lag;       /* and that it was not yet */
	struct span remote; /* address */
	struct span agent;  /* as it calls itself; may be empty */
};
/* u64 each, in this order, u16 + remote, u16 + agent */
void consumer_info_encode(struct buf *b, const struct consumer_info *c);
int consumer_info_decode(struct reader *r, struct consumer_info *ret) MUST_CHECK;

#define HOST_LIST_MAX 1000
struct host_list {
	bool ok;
	struct span cursor; /* empty on the last page */
	size_t count;
	struct span *hosts; /* encode: borrows; decode: gives, free() */
};
/* u8 ok, u16 + cursor, u32 count, u16 + host each */
void host_list_encode(struct buf *b, const struct host_list *h);
int host_list_decode(struct reader *r, struct host_list *ret) MUST_CHECK;
