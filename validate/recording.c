#include "validate/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/cbor.h"
#include "common/log_file.h"

/* One message of the log, and at least as much again, so that it is not moved for each. */
#define BYTES_MAX  (2 * (size_t)LOG_MESSAGE_MAX)
#define READ_BYTES KIB(256)

/* First byte of a message of the log; no map in CBOR begins so. */
#define MESSAGE_START 0x82

int recording_open(struct recording *r, const char *path)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*r = (struct recording){.fd = fd};
	buf_init(&r->bytes, BYTES_MAX + READ_BYTES);
	buf_reserve(&r->bytes, READ_BYTES);
	return 0;
}

void recording_close(struct recording *r)
{
	close(r->fd);
	buf_release(&r->bytes);
}

/* As much as there is at the moment. */
static int read_more(struct recording *r)
{
	uint8_t *at;
	ssize_t n;

	if (r->bytes.len > BYTES_MAX - READ_BYTES) {
		buf_consume(&r->bytes, r->done);
		r->done = 0;
	}
	at = buf_extend(&r->bytes, READ_BYTES);
	n = read(r->fd, at, READ_BYTES);
	r->bytes.len -= READ_BYTES - (n > 0 ? (size_t)n : 0);
	if (n < 0 && errno != EINTR)
		return -errno;
	r->is_at_end = n == 0;
	return 0;
}

/* -EBADMSG: no whole message of the log, or no two items, stand here; or not yet. */
static int take(struct reader *in, struct span *ret)
{
	struct reader r = *in;
	struct span header, body;
	uint32_t size;

	if (r.ptr[0] == MESSAGE_START) {
		if (log_message_header_decode(&r, &size) < 0 || reader_get_span(&r, size, ret) < 0)
			return -EBADMSG;
	} else {
		if (cbor_skip(&r, &header) < 0 || cbor_skip(&r, &body) < 0)
			return -EBADMSG;
		*ret = span_of(header.ptr, header.len + body.len);
	}
	*in = r;
	return 0;
}

/* A frame is given as soon as it is whole: what is recorded may be a stream that goes on. */
int recording_next(struct recording *r, struct span *ret_frame)
{
	struct reader in;

	if (r->is_lost)
		return -EBADMSG;
	for (;;) {
		int error;

		in = reader_of(span_of(r->bytes.ptr + r->done, r->bytes.len - r->done));
		if (in.left > 0 && take(&in, ret_frame) == 0)
			break;
		if (r->is_at_end || in.left >= LOG_MESSAGE_MAX) {
			if (in.left == 0)
				return 0;
			*ret_frame = span_of(in.ptr, in.left);
			in.left = 0;
			r->is_lost = true;
			break;
		}
		error = read_more(r);
		if (error < 0)
			return error;
	}
	r->done = r->bytes.len - in.left;
	return 1;
}
