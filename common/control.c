#include "common/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/limits.h"
#include "common/log.h"

#define SITES_SHOWN 20
#define REPORT_MAX  KIB(256)             /* bytes; SITES_SHOWN of the longest stacks are 80 KiB */
#define STOP_USEC   (20 * USEC_PER_MSEC) /* for the answer to be on its way */

struct control {
	struct loop *loop;
	struct pipe *pipe;
	struct metrics *metrics;
	struct settings *settings;
	struct heap *heap;
	uint64_t marked_usec;
	struct loop_timer stop_timer;
	void (*stop)(void *arg);
	void *stop_arg;
	enum message_type own_type; /* 0: none */
	void (*own_request)(void *arg, struct call *call, struct reader *r);
	void *own_arg;
};

/* Answers. */

static void tell(struct call *call, bool ok, struct span text)
{
	struct buf reply;

	buf_init(&reply, REPORT_MAX + KIB(1));
	message_put_type(&reply, MESSAGE_TOLD);
	buf_put_u8(&reply, ok);
	buf_append(&reply, text);
	call_reply(call, buf_span(&reply));
	buf_release(&reply);
}

static void answer_metrics(struct control *c, struct call *call)
{
	struct buf reply;

	buf_init(&reply, LIMIT_MESSAGE);
	message_put_type(&reply, MESSAGE_METRICS_REPLY);
	metrics_render(c->metrics, &reply);
	call_reply(call, buf_span(&reply));
	buf_release(&reply);
}

static void answer_settings(struct control *c, struct call *call)
{
	struct buf text;

	buf_init(&text, REPORT_MAX);
	settings_list(c->settings, false, &text);
	tell(call, true, buf_span(&text));
	buf_release(&text);
}

/* Nothing: a list of all. Else a change. */
static void answer_setting(struct control *c, struct call *call, struct span text)
{
	char *change, reason[512] = "";
	int error;

	if (text.len == 0) {
		answer_settings(c, call);
		return;
	}
	if (memchr(text.ptr, '\0', text.len)) {
		tell(call, false, SPAN_LITERAL("the text has a NUL byte"));
		return;
	}
	change = xmalloc(text.len + 1);
	memcpy(change, text.ptr, text.len);
	change[text.len] = '\0';
	error = settings_change(c->settings, change, reason, sizeof(reason));
	if (!error)
		log_notice("setting changed: %s", log_text(text));
	tell(call, error == 0, span_str(reason));
	free(change);
}

/* Heap profiles. */

static void put_site(void *arg, const struct heap_site *site)
{
	buf_printf(arg, "%+12.1f KiB %9" PRId64 " blocks  %s\n", (double)site->bytes / 1024,
		   site->blocks, site->stack);
}

static int report(struct control *c, struct buf *out)
{
	double seconds = (double)(loop_now_usec(c->loop) - c->marked_usec) / (double)USEC_PER_SEC;
	struct heap_totals totals;
	struct buf sites;
	int error;

	buf_init(&sites, REPORT_MAX / 2);
	error = heap_growth(c->heap, SITES_SHOWN, put_site, &sites, &totals);
	if (!error) {
		buf_printf(
			out,
			"In %.0f s the heap grew by %.1f KiB in %" PRId64
			" blocks, as far as blocks go that were allocated since the start of the "
			"profile.\n%zu call sites grew; the first %d, with their callers:\n",
			seconds, (double)totals.bytes / 1024, totals.blocks, totals.sites,
			SITES_SHOWN);
		buf_append(out, buf_span(&sites));
	}
	buf_release(&sites);
	return error;
}

static int obey(struct control *c, enum heap_order order, struct buf *out)
{
	int error;

	switch (order) {
	case HEAP_START:
		error = heap_start(c->heap);
		break;
	case HEAP_MARK:
		error = heap_mark(c->heap);
		break;
	case HEAP_REPORT:
		return report(c, out);
	default:
		heap_stop(c->heap);
		return 0;
	}
	if (!error)
		c->marked_usec = loop_now_usec(c->loop);
	return error;
}

static void answer_heap(struct control *c, struct call *call, enum heap_order order)
{
	struct buf out;
	int error;

	buf_init(&out, REPORT_MAX);
	error = obey(c, order, &out);
	if (error == -EAGAIN)
		buf_append_str(&out, "no profile is being taken: start one first");
	else if (error == -ENOTSUP)
		buf_append_str(&out, "this build's allocator takes no profiles");
	else if (error)
		buf_printf(&out, "no profile can be had: %s", strerror(-error));
	tell(call, error == 0, buf_span(&out));
	buf_release(&out);
}

/* The end. */

static void on_stop_timer(void *arg)
{
	struct control *c = arg;

	c->stop(c->stop_arg);
}

static void answer_stop(struct control *c, struct call *call, uint64_t pid)
{
	if (pid != (uint64_t)getpid()) {
		tell(call, false, SPAN_LITERAL("this is another process already"));
		return;
	}
	tell(call, true, SPAN_EMPTY);
	if (!loop_timer_is_set(&c->stop_timer)) {
		log_notice("asked to end by an order");
		loop_timer_set(c->loop, &c->stop_timer, STOP_USEC);
	}
}

/* The pipe. */

static void on_request(void *arg, struct call *call, struct span message)
{
	struct control *c = arg;
	struct reader r = reader_of(message);
	enum message_type type;
	uint8_t order;
	uint64_t pid;

	if (message_get_type(&r, &type) < 0)
		call_drop(call);
	else if (type == MESSAGE_METRICS && r.left == 0)
		answer_metrics(c, call);
	else if (type == MESSAGE_SETTING)
		answer_setting(c, call, span_of(r.ptr, r.left));
	else if (type == MESSAGE_HEAP && reader_get_u8(&r, &order) == 0 && r.left == 0 &&
		 order >= HEAP_START && order <= HEAP_STOP)
		answer_heap(c, call, (enum heap_order)order);
	else if (type == MESSAGE_STOP && reader_get_u64(&r, &pid) == 0 && r.left == 0)
		answer_stop(c, call, pid);
	else if (type == c->own_type)
		c->own_request(c->own_arg, call, &r);
	else
		call_drop(call);
}

int control_open(struct loop *loop, const char *url, struct metrics *metrics,
		 struct settings *settings, struct heap *heap, void (*stop)(void *arg), void *arg,
		 struct control **ret)
{
	struct control *c = xcalloc(1, sizeof(*c));
	const struct pipe_handler handler = {.request = on_request, .arg = c};
	int error;

	c->loop = loop;
	c->metrics = metrics;
	c->settings = settings;
	c->heap = heap;
	c->stop = stop;
	c->stop_arg = arg;
	loop_timer_init(&c->stop_timer, on_stop_timer, c);
	c->marked_usec = loop_now_usec(loop); /* it may sample from its very beginning */
	error = pipe_listen_rep(loop, url, &handler, &c->pipe);
	if (error) {
		free(c);
		return error;
	}
	*ret = c;
	return 0;
}

void control_on_request(struct control *c, enum message_type type,
			void (*request)(void *arg, struct call *call, struct reader *r), void *arg)
{
	c->own_type = type;
	c->own_request = request;
	c->own_arg = arg;
}

void control_close(struct control *c)
{
	if (!c)
		return;
	loop_timer_cancel(c->loop, &c->stop_timer);
	pipe_close(c->pipe);
	free(c);
}
