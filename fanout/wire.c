#include "fanout/wire.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t note(struct wire *w, ssize_t n)
{
	if (n > 0)
		w->written_bytes += (uint64_t)n;
	return n;
}

static ssize_t plain_send(struct wire *w, struct span bytes)
{
	return note(w, send(w->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL));
}

static ssize_t plain_send_file(struct wire *w, int fd, uint64_t offset, size_t size)
{
	off_t at = (off_t)offset;

	return note(w, sendfile(w->fd, fd, &at, size));
}

static ssize_t plain_receive(struct wire *w, uint8_t *ret, size_t size)
{
	return recv(w->fd, ret, size, 0);
}

static struct wire_count plain_count(const struct wire *w)
{
	int queued = 0;

	if (ioctl(w->fd, SIOCOUTQ, &queued) < 0 || queued < 0)
		queued = 0;
	return (struct wire_count){w->written_bytes, w->written_bytes - (uint64_t)queued};
}

static void plain_close(struct wire *w, bool in_order)
{
	(void)w;
	(void)in_order;
}

static const struct wire_kind plain = {plain_send, plain_send_file, plain_receive, plain_count,
				       plain_close};

void wire_init(struct wire *w, int fd)
{
	*w = (struct wire){.kind = &plain, .fd = fd};
}

void wire_close(struct wire *w, bool in_order)
{
	struct linger now = {.l_onoff = 1};

	w->kind->close(w, in_order);
	/* Cut off: what the kernel holds for it goes at once, not when TCP gives up. */
	if (!in_order)
		setsockopt(w->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(w->fd);
	w->fd = -1;
}
