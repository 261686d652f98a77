#include "common/log_file.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/crc32c.h"

#define DIGITS               20   /* the largest 64-bit number has so many */
#define FINAL_BINARY         0x82 /* FIN, opcode 2 [RFC 6455, 5.2] */
#define LENGTH_IN_16_BITS    126  /* the length follows in 2 bytes */
#define LENGTH_IN_64_BITS    127  /* the length follows in 8 bytes */
#define RECORD_CHECKED_BYTES 48   /* what the record's checksum covers */

static const char *const suffixes[] = {
	[LOG_FILE_MESSAGES] = ".ws",
	[LOG_FILE_INDEX] = ".idx",
};

const char *log_file_name(uint64_t first_seq, enum log_file_type type,
			  char ret[static LOG_FILE_NAME_SIZE])
{
	snprintf(ret, LOG_FILE_NAME_SIZE, "%020" PRIu64 "%s", first_seq, suffixes[type]);
	return ret;
}

int log_file_name_parse(const char *name, uint64_t *ret_first_seq, enum log_file_type *ret_type)
{
	uint64_t seq = 0;

	for (size_t i = 0; i < DIGITS; i++) {
		if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(seq, 10, &seq) ||
		    __builtin_add_overflow(seq, (uint64_t)(name[i] - '0'), &seq))
			return -EBADMSG;
	}
	for (size_t t = 0; t < ARRAY_SIZE(suffixes); t++) {
		if (strcmp(name + DIGITS, suffixes[t]) == 0) {
			*ret_first_seq = seq;
			*ret_type = (enum log_file_type)t;
			return 0;
		}
	}
	return -EBADMSG;
}

size_t log_message_header_encode(uint64_t payload_bytes, uint8_t ret[static LOG_MESSAGE_HEADER_MAX])
{
	ret[0] = FINAL_BINARY;
	if (payload_bytes < LENGTH_IN_16_BITS) {
		ret[1] = (uint8_t)payload_bytes;
		return 2;
	}
	if (payload_bytes <= UINT16_MAX) {
		uint16_t length = htobe16((uint16_t)payload_bytes);

		ret[1] = LENGTH_IN_16_BITS;
		memcpy(ret + 2, &length, sizeof(length));
		return 4;
	}
	uint64_t length = htobe64(payload_bytes);

	ret[1] = LENGTH_IN_64_BITS;
	memcpy(ret + 2, &length, sizeof(length));
	return 10;
}

/* Big-endian. */
static uint64_t number_of(struct span s)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++)
		v = v << 8 | s.ptr[i];
	return v;
}

int log_message_header_decode(struct reader *r, uint32_t *ret_payload_bytes)
{
	struct reader at = *r;
	struct span long_form = SPAN_EMPTY;
	uint8_t first, second, again[LOG_MESSAGE_HEADER_MAX];
	size_t more;

	if (reader_get_u8(&at, &first) < 0 || reader_get_u8(&at, &second) < 0 ||
	    first != FINAL_BINARY || second > LENGTH_IN_64_BITS)
		return -EBADMSG;
	more = second == LENGTH_IN_64_BITS ? 8 : second == LENGTH_IN_16_BITS ? 2 : 0;
	if (reader_get_span(&at, more, &long_form) < 0)
		return -EBADMSG;
	uint64_t length = more > 0 ? number_of(long_form) : second;

	if (length > LIMIT_FRAME || log_message_header_encode(length, again) != 2 + more)
		return -EBADMSG;
	*r = at;
	*ret_payload_bytes = (uint32_t)length;
	return 0;
}

static uint8_t *put_u32(uint8_t *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof(v));
	return at + sizeof(v);
}

static uint8_t *put_u64(uint8_t *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, sizeof(v));
	return at + sizeof(v);
}

/* Read by log_index_record_decode. */
void log_index_record_encode(const struct log_index_record *r,
			     uint8_t ret[static LOG_INDEX_RECORD_SIZE])
{
	uint8_t *at = ret;

	at = put_u64(at, r->offset);
	at = put_u32(at, r->length);
	at = put_u32(at, r->crc32c);
	at = put_u64(at, r->usec);
	at = put_u64(at, r->host_id);
	at = put_u64(at, r->host_seq);
	at = put_u32(at, r->host_epoch);
	at = put_u32(at, r->kind);
	assert(at == ret + RECORD_CHECKED_BYTES);
	put_u32(at, crc32c(0, span_of(ret, RECORD_CHECKED_BYTES)));
}

static bool is_possible(const struct log_index_record *r)
{
	return r->length > 2 && r->length <= LOG_MESSAGE_MAX &&
	       r->offset <= (uint64_t)INT64_MAX - r->length;
}

/* Written by log_index_record_encode. */
int log_index_record_decode(struct span s, struct log_index_record *ret)
{
	struct reader r = reader_of(s);
	struct log_index_record found = {0};
	uint32_t kind, check;

	if (s.len != LOG_INDEX_RECORD_SIZE || reader_get_u64(&r, &found.offset) < 0 ||
	    reader_get_u32(&r, &found.length) < 0 || reader_get_u32(&r, &found.crc32c) < 0 ||
	    reader_get_u64(&r, &found.usec) < 0 || reader_get_u64(&r, &found.host_id) < 0 ||
	    reader_get_u64(&r, &found.host_seq) < 0 || reader_get_u32(&r, &found.host_epoch) < 0 ||
	    reader_get_u32(&r, &kind) < 0 || reader_get_u32(&r, &check) < 0)
		return -EBADMSG;
	found.kind = (uint8_t)kind;
	if (kind > UINT8_MAX || check != crc32c(0, span_of(s.ptr, RECORD_CHECKED_BYTES)) ||
	    !is_possible(&found))
		return -EBADMSG;
	*ret = found;
	return 0;
}
