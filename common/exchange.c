#include "common/exchange.h"

#include <errno.h>
#include <unistd.h>

#include "common/limits.h"

/* How many bytes there were before the end, or negative errno. */
static ssize_t read_all(int fd, uint8_t *ret, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, ret + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int exchange_read(int fd, struct buf *out)
{
	uint8_t head[4];
	struct reader r = reader_of(span_of(head, sizeof(head)));
	uint32_t size = 0;
	ssize_t n = read_all(fd, head, sizeof(head));

	buf_clear(out);
	if (n <= 0)
		return (int)n;
	if (n < (ssize_t)sizeof(head) || reader_get_u32(&r, &size) < 0 || size > LIMIT_MESSAGE)
		return -EBADMSG;
	if (size == 0)
		return 1;
	n = read_all(fd, buf_extend(out, size), size);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)size ? 1 : -EBADMSG;
}

static int write_all(int fd, struct span s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s.ptr += n;
		s.len -= (size_t)n;
	}
	return 0;
}

int exchange_write(int fd, struct span message)
{
	struct buf head;
	int r;

	buf_init(&head, 4);
	buf_put_u32(&head, (uint32_t)message.len);
	r = write_all(fd, buf_span(&head));
	buf_release(&head);
	return r < 0 ? r : write_all(fd, message);
}
