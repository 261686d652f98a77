#include "ingest/registry.h"

#include <errno.h>

#include "common/database.h"
#include "common/loop.h"
#include "common/message.h"

#define RECORD_VERSION 2
#define WRITE_BYTES    MIB(1) /* memtable; all hosts of the network take about 300 KiB */

struct registry {
	struct database *database;
	struct database_batch *batch;
	char error[512];
};

const char *host_status_name(enum host_status s)
{
	switch (s) {
	case HOST_ACTIVE:
		return "active";
	case HOST_IDLE:
		return "idle";
	case HOST_OFFLINE:
		return "offline";
	}
	return "unknown";
}

uint32_t registry_next_epoch(uint32_t epoch)
{
	uint32_t seconds = (uint32_t)(clock_usec() / USEC_PER_SEC);

	return seconds > epoch ? seconds : epoch + 1;
}

void registry_record_encode(struct buf *b, const struct registry_record *r)
{
	buf_put_u8(b, RECORD_VERSION);
	buf_put_u8(b, (uint8_t)r->status);
	buf_put_u8(b, r->has_cursor);
	buf_put_u32(b, r->epoch);
	buf_put_u64(b, r->number);
	buf_put_u64(b, r->created_usec);
	buf_put_u64(b, r->cursor);
	buf_put_u64(b, r->events);
	buf_put_u64(b, r->resets);
	buf_put_u64(b, r->rev_usec);
	buf_put_u64(b, r->anew_first_seq);
	buf_put_u64(b, r->anew_last_seq);
	buf_put_u8(b, r->anew_count);
	buf_put_u64(b, r->error_usec);
	message_put_text(b, span_str(r->error));
}

static int decode_numbers(struct reader *in, struct registry_record *r)
{
	uint8_t status, has_cursor;

	if (reader_get_u8(in, &status) != 0 || status < HOST_ACTIVE || status > HOST_OFFLINE ||
	    reader_get_u8(in, &has_cursor) != 0 || has_cursor > 1 ||
	    reader_get_u32(in, &r->epoch) != 0 || reader_get_u64(in, &r->number) != 0 ||
	    reader_get_u64(in, &r->created_usec) != 0 || reader_get_u64(in, &r->cursor) != 0 ||
	    reader_get_u64(in, &r->events) != 0 || reader_get_u64(in, &r->resets) != 0 ||
	    reader_get_u64(in, &r->rev_usec) != 0 || reader_get_u64(in, &r->anew_first_seq) != 0 ||
	    reader_get_u64(in, &r->anew_last_seq) != 0 || reader_get_u8(in, &r->anew_count) != 0 ||
	    reader_get_u64(in, &r->error_usec) != 0)
		return -EBADMSG;
	r->status = (enum host_status)status;
	r->has_cursor = has_cursor;
	return r->cursor < (uint64_t)LIMIT_SEQ ? 0 : -EBADMSG;
}

int registry_record_decode(struct span value, struct registry_record *ret)
{
	struct registry_record r = *ret;
	struct reader in = reader_of(value);
	struct span error;
	uint8_t version;

	if (reader_get_u8(&in, &version) != 0 || version != RECORD_VERSION)
		return -EBADMSG;
	if (decode_numbers(&in, &r) != 0)
		return -EBADMSG;
	if (message_get_text(&in, REGISTRY_ERROR_MAX, &error) != 0 || in.left > 0)
		return -EBADMSG;
	if (span_to_str(error, r.error, sizeof(r.error)) != 0)
		return -EBADMSG;
	*ret = r;
	return 0;
}

int registry_open(const char *path, size_t cache_bytes, struct registry **ret)
{
	struct database *database;
	struct registry *r;
	int error = database_open(path, cache_bytes, WRITE_BYTES, &database);

	if (error)
		return error;
	r = xcalloc(1, sizeof(*r));
	r->database = database;
	r->batch = database_batch_new();
	*ret = r;
	return 0;
}

void registry_close(struct registry *r)
{
	if (!r)
		return;
	database_batch_free(r->batch);
	database_close(r->database);
	free(r);
}

const char *registry_error(const struct registry *r)
{
	return r && r->error[0] ? r->error : database_error(r ? r->database : NULL);
}

int64_t registry_memory_bytes(void *arg)
{
	struct registry *r = arg;

	return database_memory_bytes(r->database);
}

static int read_record(const struct database_cursor *c, struct registry_record *ret)
{
	struct registry_record record = {0};

	if (span_to_str(database_cursor_key(c), record.host, sizeof(record.host)) != 0)
		return -EBADMSG;
	if (registry_record_decode(database_cursor_value(c), &record) != 0)
		return -EBADMSG;
	*ret = record;
	return 0;
}

int registry_load(struct registry *r, int (*take)(void *arg, const struct registry_record *record),
		  void *arg)
{
	struct database_cursor *c = database_seek(r->database, SPAN_EMPTY);
	struct registry_record record;
	int error = 0;

	for (; !error && database_cursor_is_valid(c); database_cursor_next(c)) {
		error = read_record(c, &record);
		if (!error)
			error = take(arg, &record);
		if (error)
			snprintf(r->error, sizeof(r->error), "the record of %.*s is not readable",
				 (int)database_cursor_key(c).len,
				 (const char *)database_cursor_key(c).ptr);
	}
	if (!error) {
		error = database_cursor_error(c);
		if (error)
			snprintf(r->error, sizeof(r->error), "a part of it is damaged");
	}
	database_cursor_free(c);
	return error;
}

void registry_put(struct registry *r, const struct registry_record *record)
{
	struct buf value;

	buf_init(&value, 1024);
	registry_record_encode(&value, record);
	database_batch_put(r->batch, span_str(record->host), buf_span(&value));
	buf_release(&value);
}

int registry_write(struct registry *r)
{
	return database_write(r->database, r->batch, true);
}
