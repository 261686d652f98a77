#include "resolve/calls.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "common/log.h"
#include "common/message.h"
#include "resolve/host_check.h"
#include "resolve/host_page.h"

#define URL_MAX   512      /* bytes of a base URL, as ingest.bootstrap */
#define REPLY_MAX KIB(512) /* 1,000 of the longest names, and a cursor */

struct calls {
	struct pipe *pipe;
	struct http *http;
	const struct host_policy *policy;
	unsigned under_way;
	struct log_limit bad_log;
	struct buf reply; /* that is being written */
	uint64_t *refused;
	uint64_t *bad;
};

/* A call that waits for its HTTP request. */
struct waiting {
	struct calls *calls;
	struct call *call;
	struct host host; /* host checks only, for the log */
};

static struct waiting *waiting_new(struct calls *c, struct call *call)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->calls = c;
	w->call = call;
	c->under_way++;
	return w;
}

static void waiting_free(struct waiting *w)
{
	w->calls->under_way--;
	free(w);
}

static void reply_check(struct calls *c, struct call *call, const struct host_check *check)
{
	buf_clear(&c->reply);
	message_put_type(&c->reply, MESSAGE_HOST_CHECKED);
	host_check_encode(&c->reply, check);
	call_reply(call, buf_span(&c->reply));
}

static void reply_list(struct calls *c, struct call *call, const struct host_list *list)
{
	buf_clear(&c->reply);
	message_put_type(&c->reply, MESSAGE_HOSTS_LISTED);
	host_list_encode(&c->reply, list);
	call_reply(call, buf_span(&c->reply));
}

static void take_check(void *arg, const struct host_check *check)
{
	struct waiting *w = arg;
	char host[LIMIT_HOST + 1];

	log_debug("host checked: result=%d host=%s reason=%s", (int)check->result,
		  host_format(&w->host, host), log_text(check->reason));
	reply_check(w->calls, w->call, check);
	waiting_free(w);
}

static void take_list(void *arg, const struct host_list *list)
{
	struct waiting *w = arg;

	reply_list(w->calls, w->call, list);
	waiting_free(w);
}

static bool is_busy(struct calls *c)
{
	if (c->under_way < CALLS_MAX)
		return false;
	*c->refused += 1;
	return true;
}

static int check_host(struct calls *c, struct call *call, struct reader *r)
{
	const struct host_check busy = {HOST_UNREACHABLE, SPAN_LITERAL("too many checks")};
	struct span text;
	struct waiting *w;
	struct host host;

	if (message_get_text(r, LIMIT_HOST, &text) < 0 || r->left > 0 ||
	    host_parse(text, &host) < 0)
		return -EBADMSG;
	if (is_busy(c)) {
		reply_check(c, call, &busy);
		return 0;
	}
	w = waiting_new(c, call);
	w->host = host;
	host_check_start(c->http, c->policy, &host, take_check, w);
	return 0;
}

static int list_hosts(struct calls *c, struct call *call, struct reader *r)
{
	const struct host_list nothing = {.ok = false};
	struct span base, cursor;
	struct waiting *w;

	if (message_get_text(r, URL_MAX, &base) < 0 ||
	    message_get_text(r, XRPC_PARAM_MAX, &cursor) < 0 || r->left > 0)
		return -EBADMSG;
	if (is_busy(c)) {
		reply_list(c, call, &nothing);
		return 0;
	}
	w = waiting_new(c, call);
	if (host_page_start(c->http, c->policy, base, cursor, take_list, w) < 0) {
		log_warning("list of hosts refused: no URL that may be used url=%s",
			    log_text(base));
		take_list(w, &nothing);
	}
	return 0;
}

static void refuse(struct calls *c, struct call *call, struct span message)
{
	unsigned left_out;

	*c->bad += 1;
	if (log_limit_pass(&c->bad_log, &left_out))
		log_error("call refused: not one that resolve answers bytes=%zu left_out=%u",
			  message.len, left_out);
	call_drop(call);
}

static void on_request(void *arg, struct call *call, struct span message)
{
	struct reader r = reader_of(message);
	struct calls *c = arg;
	enum message_type type;
	int error = message_get_type(&r, &type);

	if (error == 0 && type == MESSAGE_CHECK_HOST)
		error = check_host(c, call, &r);
	else if (error == 0 && type == MESSAGE_LIST_HOSTS)
		error = list_hosts(c, call, &r);
	else
		error = -EBADMSG;
	if (error < 0)
		refuse(c, call, message);
}

int calls_open(struct loop *loop, const char *url, struct http *http,
	       const struct host_policy *policy, struct metrics *metrics, struct calls **ret)
{
	struct calls *c = xcalloc(1, sizeof(*c));
	const struct pipe_handler handler = {.request = on_request, .arg = c};
	int r = pipe_listen_rep(loop, url, &handler, &c->pipe);

	if (r < 0) {
		free(c);
		return r;
	}
	c->http = http;
	c->policy = policy;
	c->bad_log = (struct log_limit){.burst = 10, .period_usec = 60 * USEC_PER_SEC};
	buf_init(&c->reply, REPLY_MAX);
	c->refused = metrics_counter(metrics, "relay_calls_refused_total",
				     "Calls answered at once because too many were under way.",
				     NULL);
	c->bad = metrics_counter(metrics, "relay_calls_unknown_total",
				 "Calls that were none which this stage answers.", NULL);
	*ret = c;
	return 0;
}

void calls_close(struct calls *c)
{
	if (!c)
		return;
	pipe_close(c->pipe);
	buf_release(&c->reply);
	free(c);
}

unsigned calls_under_way(const struct calls *c)
{
	return c->under_way;
}
