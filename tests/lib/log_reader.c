#include "tests/lib/log_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/crc32c.h"

/* The file that holds seq: the last that does not begin after it. */
static bool find_file(const char *folder, uint64_t seq, uint64_t *ret_first)
{
	DIR *dir = opendir(folder);
	struct dirent *d;
	enum log_file_type type;
	uint64_t first;
	bool found = false;

	while (dir && (d = readdir(dir))) {
		if (log_file_name_parse(d->d_name, &first, &type) == 0 && first <= seq &&
		    (!found || first > *ret_first)) {
			*ret_first = first;
			found = true;
		}
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool read_part(const char *folder, uint64_t first, enum log_file_type type, uint64_t offset,
		      size_t len, struct buf *out)
{
	char path[PATH_MAX], name[LOG_FILE_NAME_SIZE];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, log_file_name(first, type, name));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = pread(fd, buf_extend(out, len), len, (off_t)offset);
	close(fd);
	return n == (ssize_t)len;
}

static bool read_event(const char *folder, uint64_t first, uint64_t place, struct buf *message,
		       struct log_index_record *ret)
{
	struct buf record;
	bool ok;

	buf_init(&record, LOG_INDEX_RECORD_SIZE);
	ok = read_part(folder, first, LOG_FILE_INDEX, place * LOG_INDEX_RECORD_SIZE,
		       LOG_INDEX_RECORD_SIZE, &record) &&
	     log_index_record_decode(buf_span(&record), ret) == 0 &&
	     read_part(folder, first, LOG_FILE_MESSAGES, ret->offset, ret->length, message);
	buf_release(&record);
	return ok;
}

bool log_reader_get(const char *folder, uint64_t seq, struct buf *frame,
		    struct log_index_record *ret)
{
	struct reader r;
	uint64_t first = 0;
	uint32_t payload;

	buf_clear(frame);
	if (!find_file(folder, seq, &first) ||
	    !read_event(folder, first, seq - first, frame, ret)) {
		printf("# %" PRIu64 " cannot be read\n", seq);
		return false;
	}
	r = reader_of(buf_span(frame));
	if (crc32c(0, buf_span(frame)) != ret->crc32c ||
	    log_message_header_decode(&r, &payload) < 0 || r.left != payload) {
		printf("# %" PRIu64 " is not what its index record says\n", seq);
		return false;
	}
	buf_consume(frame, frame->len - payload);
	return true;
}

bool log_reader_fields(struct span frame, uint64_t *ret_seq, struct span *ret_did)
{
	struct reader r = reader_of(frame);
	struct cbor_map map;
	struct span key, pad;
	int64_t seq;

	if (cbor_skip(&r, NULL) < 0 || cbor_map_open(&r, &map) < 0 ||
	    cbor_map_key(&r, &map, &key) < 0 || cbor_get_text(&r, ret_did) < 0 ||
	    cbor_map_key(&r, &map, &key) < 0 || cbor_get_bytes(&r, &pad) < 0 ||
	    cbor_map_key(&r, &map, &key) < 0 || cbor_get_integer(&r, &seq) < 0 ||
	    cbor_map_more(&map) || r.left > 0)
		return false;
	*ret_seq = (uint64_t)seq;
	return true;
}
