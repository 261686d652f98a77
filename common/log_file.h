/*
 * The files of the log, which store writes and fanout reads. They stand in pairs, named by the
 * number of their first event:
 *
 *   00000000000000000001.ws     complete WebSocket messages, one after another, as they go out to
 *                               every consumer
 *   00000000000000000001.idx    one record of fixed size an event
 *
 *      .idx  | record 0 | record 1 | record 2 | ...     event seq = first seq + place of the record
 *                 |          |          |
 *      .ws   | header, frame | header, frame | header, frame | ...
 *
 * Both only grow, and a byte that is written never changes. What is real is what the head notice
 * covers (struct head): a .ws may hold more than that, which store cuts off when it starts anew.
 * The .idx is written after the .ws and is not synced; store completes it from the .ws when it
 * starts, so that a record may lack what the .ws does not say (host, its epoch and number: 0).
 *
 * Events, and so files, are contiguous: the next file's first number is one after the last of this
 * one. Whole files are unlinked, the oldest first; who has one open reads on.
 */
#pragma once

#include "common/bytes.h"
#include "common/limits.h"

#define LOG_FILE_NAME_SIZE 25 /* 20 digits, ".idx", NUL */

enum log_file_type {
	LOG_FILE_MESSAGES, /* .ws */
	LOG_FILE_INDEX,    /* .idx */
};

/* Returns ret. */
const char *log_file_name(uint64_t first_seq, enum log_file_type type,
			  char ret[static LOG_FILE_NAME_SIZE]);
/* -EBADMSG for any name that log_file_name does not make. */
int log_file_name_parse(const char *name, uint64_t *ret_first_seq,
			enum log_file_type *ret_type) MUST_CHECK;

/* A message is an unmasked, final, binary WebSocket frame (RFC 6455, 5.2), its length in the
 * shortest form. */
#define LOG_MESSAGE_HEADER_MAX 10
/* Bytes of a message, header included. */
#define LOG_MESSAGE_MAX        (LIMIT_FRAME + LOG_MESSAGE_HEADER_MAX)

/* Returns the size of the header: 2, 4 or 10 bytes. */
size_t log_message_header_encode(uint64_t payload_bytes,
				 uint8_t ret[static LOG_MESSAGE_HEADER_MAX]);
/* Takes a header off; the payload is next. -EBADMSG if it is no header of such a message, is cut
 * short, or says more than LIMIT_FRAME. */
int log_message_header_decode(struct reader *r, uint32_t *ret_payload_bytes) MUST_CHECK;

#define LOG_INDEX_RECORD_SIZE 52

struct log_index_record {
	uint64_t offset;   /* of the message in the .ws */
	uint32_t length;   /* of the message, header included */
	uint32_t crc32c;   /* of the message, header included */
	uint64_t usec;     /* since 1970: when it was logged, or its record made anew */
	uint64_t host_id;  /* host.h; 0 if not known */
	uint64_t host_seq; /* the number the host gave it; 0 if not known */
	uint32_t host_epoch;
	uint8_t kind; /* enum event_kind; 0 if not known */
};
/* u64 offset, u32 length, u32 crc32c, u64 usec, u64 host_id, u64 host_seq, u32 host_epoch, u8 kind,
 * 3 zeros, u32 CRC-32C of the 48 bytes before it. */
void log_index_record_encode(const struct log_index_record *r,
			     uint8_t ret[static LOG_INDEX_RECORD_SIZE]);
/* s: exactly one record. -EBADMSG if the record's own checksum is wrong or a length cannot be. */
int log_index_record_decode(struct span s, struct log_index_record *ret) MUST_CHECK;
