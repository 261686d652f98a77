#include "tests/lib/network.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SUBSCRIBE       "/xrpc/com.atproto.sync.subscribeRepos"
#define DESCRIBE        "/xrpc/com.atproto.server.describeServer"
#define SUBSCRIBERS_MAX 16

struct kept_frame {
	uint64_t seq;
	size_t offset, size;
};

struct fake_host {
	struct web *web;
	char name[32], url[48];
	size_t count, cap;
	struct kept_frame *frames;
	struct buf bytes;
	size_t subscriber_count;
	struct web_socket *subscribers[SUBSCRIBERS_MAX];
};

static int host_get(void *arg, const struct web_request *q, struct buf *body)
{
	const struct fake_host *h = arg;

	if (strcmp(q->path, SUBSCRIBE) == 0 && h->subscriber_count < SUBSCRIBERS_MAX)
		return WEB_UPGRADE;
	if (strcmp(q->path, DESCRIBE) == 0) {
		buf_append_str(
			body,
			"{\"did\":\"did:web:localhost\",\"availableUserDomains\":[\".test\"]}");
		return 200;
	}
	buf_append_str(body, "{\"error\":\"NotFound\"}");
	return 404;
}

static void host_connected(void *arg, struct web_socket *s, int64_t cursor)
{
	struct fake_host *h = arg;

	h->subscribers[h->subscriber_count++] = s;
	for (size_t i = 0; cursor >= 0 && i < h->count; i++)
		if (h->frames[i].seq > (uint64_t)cursor)
			web_socket_send(
				s, span_of(h->bytes.ptr + h->frames[i].offset, h->frames[i].size));
}

static void host_gone(void *arg, struct web_socket *s)
{
	struct fake_host *h = arg;

	for (size_t i = 0; i < h->subscriber_count; i++)
		if (h->subscribers[i] == s)
			h->subscribers[i--] = h->subscribers[--h->subscriber_count];
}

struct fake_host *fake_host_new(struct loop *l, uint16_t port)
{
	struct fake_host *h = xcalloc(1, sizeof(*h));
	struct web_handler handler = {host_get, host_connected, host_gone, h};

	snprintf(h->name, sizeof(h->name), "localhost:%u", port);
	snprintf(h->url, sizeof(h->url), "http://%s", h->name);
	buf_init(&h->bytes, MIB(1024));
	h->web = web_new(l, port, &handler);
	return h;
}

void fake_host_free(struct fake_host *h)
{
	if (!h)
		return;
	web_free(h->web);
	buf_release(&h->bytes);
	free(h->frames);
	free(h);
}

const char *fake_host_name(const struct fake_host *h)
{
	return h->name;
}

const char *fake_host_url(const struct fake_host *h)
{
	return h->url;
}

void fake_host_send(struct fake_host *h, uint64_t seq, struct span frame)
{
	if (h->count == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->frames = xrealloc(h->frames, h->cap * sizeof(*h->frames));
	}
	h->frames[h->count++] = (struct kept_frame){seq, h->bytes.len, frame.len};
	buf_append(&h->bytes, frame);
	fake_host_send_once(h, frame);
}

void fake_host_send_once(struct fake_host *h, struct span frame)
{
	for (size_t i = 0; i < h->subscriber_count; i++)
		web_socket_send(h->subscribers[i], frame);
}

size_t fake_host_subscribers(const struct fake_host *h)
{
	return h->subscriber_count;
}

void fake_host_cut(struct fake_host *h)
{
	for (size_t i = 0; i < h->subscriber_count; i++)
		web_socket_cut(h->subscribers[i]);
}

struct document {
	char *did;
	int status;
	struct buf text;
	struct document *next;
};

struct fake_directory {
	struct web *web;
	char url[48];
	struct document *documents;
	uint64_t requests;
};

static struct document *find(const struct fake_directory *d, const char *did)
{
	for (struct document *doc = d->documents; doc; doc = doc->next)
		if (strcmp(doc->did, did) == 0)
			return doc;
	return NULL;
}

static int directory_get(void *arg, const struct web_request *q, struct buf *body)
{
	struct fake_directory *d = arg;
	const struct document *doc = find(d, q->path + 1);

	d->requests++;
	if (doc)
		buf_append(body, buf_span(&doc->text));
	return doc ? doc->status : 404;
}

struct fake_directory *fake_directory_new(struct loop *l, uint16_t port)
{
	struct fake_directory *d = xcalloc(1, sizeof(*d));
	struct web_handler handler = {directory_get, NULL, NULL, d};

	snprintf(d->url, sizeof(d->url), "http://localhost:%u", port);
	d->web = web_new(l, port, &handler);
	return d;
}

void fake_directory_free(struct fake_directory *d)
{
	if (!d)
		return;
	web_free(d->web);
	while (d->documents) {
		struct document *doc = d->documents;

		d->documents = doc->next;
		buf_release(&doc->text);
		free(doc->did);
		free(doc);
	}
	free(d);
}

const char *fake_directory_url(const struct fake_directory *d)
{
	return d->url;
}

static struct document *make(struct fake_directory *d, const char *did)
{
	struct document *doc = find(d, did);

	if (!doc) {
		doc = xcalloc(1, sizeof(*doc));
		doc->did = xstrdup(did);
		buf_init(&doc->text, KIB(64));
		doc->next = d->documents;
		d->documents = doc;
	}
	buf_clear(&doc->text);
	return doc;
}

void fake_directory_put(struct fake_directory *d, const char *did, const struct public_key *key,
			const char *pds_url, const char *handle)
{
	struct document *doc = make(d, did);
	struct buf multikey;

	buf_init(&multikey, 256);
	multikey_format(key, &multikey);
	buf_put_u8(&multikey, '\0');
	doc->status = 200;
	buf_printf(&doc->text,
		   "{\"id\":\"%s\",\"alsoKnownAs\":[\"at://"
		   "%s\"],\"verificationMethod\":[{\"id\":\"%s#atproto\",\"type\":\"Multikey\","
		   "\"controller\":\"%s\",\"publicKeyMultibase\":\"%s\"}],\"service\":[{\"id\":\"#"
		   "atproto_pds\",\"type\":"
		   "\"AtprotoPersonalDataServer\",\"serviceEndpoint\":\"%s\"}]}",
		   did, handle, did, did, (const char *)multikey.ptr, pds_url);
	buf_release(&multikey);
}

void fake_directory_put_status(struct fake_directory *d, const char *did, int status)
{
	make(d, did)->status = status;
}

uint64_t fake_directory_requests(const struct fake_directory *d)
{
	return d->requests;
}
