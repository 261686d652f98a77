#include "tests/simnet/directory.h"

#include <errno.h>
#include <stdio.h>

#define WELL_KNOWN "/.well-known/did.json"

void directory_init(struct directory *d, struct world *w)
{
	*d = (struct directory){.world = w, .random = world_settings(w)->seed | 1};
}

static int refuse(struct buf *json, int status, const char *error)
{
	answer_put_error(json, error, "");
	return status;
}

static int put_document(const struct directory *d, const char *did, struct buf *json)
{
	struct world_identity identity;
	uint32_t account;

	if (world_find(d->world, span_str(did), &account) != 0)
		return refuse(json, 404, "NotFound");
	world_identity(d->world, account, &identity);
	switch (identity.state) {
	case WORLD_IDENTITY_PRESENT:
	case WORLD_IDENTITY_NO_KEY:
	case WORLD_IDENTITY_NO_PDS:
		world_document(d->world, account, json);
		return 200;
	case WORLD_IDENTITY_UNKNOWN:
		return refuse(json, 500, "InternalServerError");
	case WORLD_IDENTITY_TOMBSTONED:
		return refuse(json, 410, "Gone");
	default:
		return refuse(json, 404, "NotFound");
	}
}

/* xorshift64: the same requests are unlucky in each run. */
static bool is_unlucky(struct directory *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random % 100 < d->manners.error_percent;
}

static bool is_over_limit(struct directory *d, uint64_t now_usec)
{
	uint64_t second = now_usec / USEC_PER_SEC;

	if (second != d->second)
		d->in_second = 0;
	d->second = second;
	d->in_second++;
	return d->manners.requests_per_sec && d->in_second > d->manners.requests_per_sec;
}

void directory_ask(struct directory *d, const struct request *q, uint64_t now_usec,
		   struct buf *json, struct directory_answer *ret)
{
	char did[LIMIT_DID + 1];

	*ret = (struct directory_answer){.headers = "", .after_usec = d->manners.latency_usec};
	d->documents++;
	if (is_over_limit(d, now_usec)) {
		d->refused++;
		ret->status = refuse(json, 429, "RateLimitExceeded");
		ret->headers = "Retry-After: 1\r\n";
	} else if (is_unlucky(d)) {
		ret->status = refuse(json, 500, "InternalServerError");
	} else if (request_decode(span_of(q->path.ptr + 1, q->path.len - 1), did, sizeof(did)) !=
		   0) {
		ret->status = refuse(json, 400, "InvalidRequest");
	} else if (!span_starts_with(span_str(did), SPAN_LITERAL("did:plc:"))) {
		ret->status = refuse(json, 404, "NotFound");
	} else {
		ret->status = put_document(d, did, json);
	}
}

int directory_ask_web(struct directory *d, const struct request *q, struct buf *json)
{
	char did[LIMIT_DID + 1], name[LIMIT_HOST + 1];
	uint32_t account;
	size_t len;

	if (!span_is(q->path, WELL_KNOWN) || span_to_str(q->host, name, sizeof(name)) != 0)
		return -ENOENT;
	len = strcspn(name, ":");
	if (name[len])
		snprintf(did, sizeof(did), "did:web:%.*s%%3A%s", (int)len, name, name + len + 1);
	else
		snprintf(did, sizeof(did), "did:web:%s", name);
	if (world_find(d->world, span_str(did), &account) != 0)
		return -ENOENT;
	d->documents++;
	return put_document(d, did, json);
}
