#include "fanout/routes.h"

#include <inttypes.h>

#include "common/stage.h"

#include "fanout/fanout.h"
#include "fanout/subscribe.h"

#define CALL_USEC  (5 * USEC_PER_SEC)
#define CRAWL_USEC (15 * USEC_PER_SEC) /* the host is asked who it is before it is taken */
#define HEAD_USEC  (5 * USEC_PER_SEC)  /* store gives notice four times a second */
#define TEXT_MAX   1024

static void answer_index(struct request *q)
{
	struct buf text;

	buf_init(&text, TEXT_MAX);
	buf_printf(&text, "%s%sstandpipe %s, an AT Protocol relay\n\n", q->fanout->name,
		   *q->fanout->name ? ": " : "", STAGE_VERSION);
	buf_append_str(&text, "The firehose: /xrpc/com.atproto.sync.subscribeRepos (WebSocket)\n");
	request_answer(q, 200, "text/plain; charset=utf-8", buf_span(&text));
	buf_release(&text);
}

/* Why the relay does not do all that it is for, as far as can be seen from here; false: it does. */
static bool find_fault(const struct fanout *f, char *ret, size_t size)
{
	uint64_t silence = fanout_silence_usec(f);

	if (silence >= HEAD_USEC)
		snprintf(ret, size, "store: nothing heard for %" PRIu64 " s",
			 silence / USEC_PER_SEC);
	else if (f->window.state != HEAD_TAKING)
		snprintf(ret, size, "store: no room on the disk, no events are taken");
	else if (!f->window.known)
		snprintf(ret, size, "store: not heard of yet");
	else
		return false;
	return true;
}

static void answer_health(struct request *q)
{
	char fault[96];

	if (!find_fault(q->fanout, fault, sizeof(fault)))
		request_answer_json(
			q, 200, json_pack("{s:s, s:s}", "status", "ok", "version", STAGE_VERSION));
	else
		request_answer_json(q, 503,
				    json_pack("{s:s, s:s, s:s}", "status", "error", "version",
					      STAGE_VERSION, "message", fault));
}

static const struct route routes[] = {
	{"/", "GET", true, answer_index, 0, 0, {NULL}},
	{"/_health", "GET", true, answer_health, 0, 0, {NULL}},
	{"/xrpc/_health", "GET", true, answer_health, 0, 0, {NULL}},
	{"/xrpc/com.atproto.sync.subscribeRepos", "GET", false, subscribe_answer, 0, 0, {NULL}},
	{"/xrpc/com.atproto.sync.getLatestCommit",
	 "GET",
	 true,
	 gateway_answer,
	 GATEWAY_STORE,
	 CALL_USEC,
	 {"did"}},
	{"/xrpc/com.atproto.sync.getRepoStatus",
	 "GET",
	 true,
	 gateway_answer,
	 GATEWAY_STORE,
	 CALL_USEC,
	 {"did"}},
	{"/xrpc/com.atproto.sync.listHosts",
	 "GET",
	 true,
	 gateway_answer,
	 GATEWAY_INGEST,
	 CALL_USEC,
	 {"limit", "cursor"}},
	{"/xrpc/com.atproto.sync.requestCrawl",
	 "POST",
	 false,
	 gateway_answer,
	 GATEWAY_INGEST,
	 CRAWL_USEC,
	 {NULL}},
};

const struct route *routes_find(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (strcmp(path, routes[i].path) == 0)
			return &routes[i];
	}
	return NULL;
}
