#include "tests/simnet/content.h"

#include <assert.h>
#include <stdio.h>

#include "common/cbor.h"
#include "common/cid.h"
#include "common/syntax.h"

#define TEXT_MAX     300 /* characters of a post */
#define URI_SIZE     128
#define OVERHEAD     64          /* of a large record, at most */
#define HISTORY_USEC 86400000000 /* references go back up to a day */

const char *content_collection(enum content c)
{
	static const char *const names[CONTENTS] = {
		[CONTENT_LIKE] = "app.bsky.feed.like",
		[CONTENT_POST] = "app.bsky.feed.post",
		[CONTENT_REPOST] = "app.bsky.feed.repost",
		[CONTENT_FOLLOW] = "app.bsky.graph.follow",
		[CONTENT_BLOCK] = "app.bsky.graph.block",
		[CONTENT_LISTITEM] = "app.bsky.graph.listitem",
		[CONTENT_PROFILE] = "app.bsky.actor.profile",
		[CONTENT_THREADGATE] = "app.bsky.feed.threadgate",
		[CONTENT_OTHER] = "com.example.garden.entry",
	};

	return names[c];
}

static void put_key(struct buf *b, const char *key)
{
	cbor_put_text(b, span_str(key));
}

static void put_text(struct buf *b, const char *key, const char *text)
{
	put_key(b, key);
	cbor_put_text(b, span_str(text));
}

static void put_type(struct buf *b, enum content c)
{
	put_text(b, "$type", content_collection(c));
}

static void put_created(struct buf *b, uint64_t usec)
{
	time_t seconds = (time_t)(usec / 1000000);
	char text[LIMIT_DATETIME];
	struct tm tm;
	size_t size;

	gmtime_r(&seconds, &tm);
	size = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + size, sizeof(text) - size, ".%03uZ", (unsigned)(usec / 1000 % 1000));
	put_text(b, "createdAt", text);
}

static const char *random_did(const struct world *w, struct random *r,
			      char ret[static LIMIT_DID + 1])
{
	return world_did(w, random_below(r, world_settings(w)->accounts), ret);
}

static void random_uri(enum content c, const struct world *w, struct random *r, uint64_t usec,
		       char ret[static URI_SIZE])
{
	char did[LIMIT_DID + 1];
	uint8_t key[TID_SIZE];

	tid_format(usec - random_next(r) % HISTORY_USEC, random_below(r, 1024), key);
	snprintf(ret, URI_SIZE, "at://%s/%s/%.*s", random_did(w, r, did), content_collection(c),
		 TID_SIZE, (const char *)key);
}

static void random_cid(struct random *r, uint8_t codec, struct cid *ret)
{
	ret->codec = codec;
	random_bytes(r, ret->digest, sizeof(ret->digest));
}

/* A post, by its address and its content. */
static void put_reference(struct buf *b, const char *key, const struct world *w, struct random *r,
			  uint64_t usec)
{
	char text[CID_TEXT_SIZE], uri[URI_SIZE];
	struct cid cid;

	random_cid(r, CID_DAG_CBOR, &cid);
	random_uri(CONTENT_POST, w, r, usec, uri);
	put_key(b, key);
	cbor_put_map(b, 2);
	put_text(b, "cid", cid_format(&cid, text));
	put_text(b, "uri", uri);
}

static void put_blob(struct buf *b, const char *key, struct random *r)
{
	uint8_t binary[CID_SIZE];
	struct cid cid;

	random_cid(r, CID_RAW, &cid);
	cid_encode(&cid, binary);
	put_key(b, key);
	cbor_put_map(b, 4);
	put_key(b, "ref");
	cbor_put_cid(b, span_of(binary, sizeof(binary)));
	put_key(b, "size");
	cbor_put_integer(b, 1000 + random_below(r, 900000));
	put_text(b, "$type", "blob");
	put_text(b, "mimeType", "image/jpeg");
}

/* Words, some of them not in ASCII, of size bytes at most. */
static void random_text(struct random *r, size_t size, char *ret)
{
	static const char *const words[] = {
		"a",      "the",   "of",       "and",     "to",     "rain",
		"this",   "river", "one",      "morning", "slow",   "garden",
		"water",  "für",   "über",     "window",  "song",   "train",
		"yellow", "again", "where",    "nothing", "ねこ",   "bread",
		"it",     "is",    "sunlight", "paper",   "street", "\xF0\x9F\x8C\xB1",
		"we",     "today",
	};
	size_t at = 0;

	ret[0] = '\0';
	for (;;) {
		const char *word = words[random_below(r, ARRAY_SIZE(words))];
		size_t length = strlen(word);

		if (at + length + 2 > size)
			return;
		at += (size_t)snprintf(ret + at, size - at, "%s%s", at > 0 ? " " : "", word);
	}
}

static void put_random_text(struct buf *b, const char *key, struct random *r, size_t size)
{
	char text[TEXT_MAX + 1];

	random_text(r, size < sizeof(text) ? size : sizeof(text), text);
	put_text(b, key, text);
}

static void put_images(struct buf *b, struct random *r)
{
	size_t count = 1 + random_below(r, 4);

	put_key(b, "embed");
	cbor_put_map(b, 2);
	put_text(b, "$type", "app.bsky.embed.images");
	put_key(b, "images");
	cbor_put_array(b, count);
	for (size_t i = 0; i < count; i++) {
		cbor_put_map(b, 2);
		put_random_text(b, "alt", r, 1 + random_below(r, 120));
		put_blob(b, "image", r);
	}
}

static void put_post(struct buf *b, const struct world *w, struct random *r, uint64_t usec)
{
	bool has_images = random_once_in(r, 4), is_reply = random_below(r, 10) < 4;

	cbor_put_map(b, 4u + has_images + is_reply);
	put_random_text(b, "text", r, 10 + random_below(r, TEXT_MAX));
	put_type(b, CONTENT_POST);
	if (has_images)
		put_images(b, r);
	put_key(b, "langs");
	cbor_put_array(b, 1);
	cbor_put_text(b, SPAN_LITERAL("en"));
	if (is_reply) {
		put_key(b, "reply");
		cbor_put_map(b, 2);
		put_reference(b, "root", w, r, usec);
		put_reference(b, "parent", w, r, usec);
	}
	put_created(b, usec);
}

static void put_opinion(struct buf *b, enum content c, const struct world *w, struct random *r,
			uint64_t usec)
{
	cbor_put_map(b, 3);
	put_type(b, c);
	put_reference(b, "subject", w, r, usec);
	put_created(b, usec);
}

static void put_relation(struct buf *b, enum content c, const struct world *w, struct random *r,
			 uint64_t usec)
{
	char did[LIMIT_DID + 1], uri[URI_SIZE];

	cbor_put_map(b, c == CONTENT_LISTITEM ? 4 : 3);
	if (c == CONTENT_LISTITEM) {
		random_uri(CONTENT_OTHER, w, r, usec, uri);
		put_text(b, "list", uri);
	}
	put_type(b, c);
	put_text(b, "subject", random_did(w, r, did));
	put_created(b, usec);
}

static void put_profile(struct buf *b, struct random *r, uint64_t usec)
{
	cbor_put_map(b, 5);
	put_type(b, CONTENT_PROFILE);
	put_blob(b, "avatar", r);
	put_created(b, usec);
	put_random_text(b, "description", r, 20 + random_below(r, 200));
	put_random_text(b, "displayName", r, 20);
}

static void put_threadgate(struct buf *b, const struct world *w, struct random *r, uint64_t usec)
{
	char uri[URI_SIZE];

	random_uri(CONTENT_POST, w, r, usec, uri);
	cbor_put_map(b, 4);
	put_text(b, "post", uri);
	put_type(b, CONTENT_THREADGATE);
	put_key(b, "allow");
	cbor_put_array(b, 1);
	cbor_put_map(b, 1);
	put_text(b, "$type", "app.bsky.feed.threadgate#mentionRule");
	put_created(b, usec);
}

void content_put(enum content c, const struct world *w, struct random *r, uint64_t usec,
		 struct buf *b)
{
	switch (c) {
	case CONTENT_POST:
		put_post(b, w, r, usec);
		return;
	case CONTENT_LIKE:
	case CONTENT_REPOST:
		put_opinion(b, c, w, r, usec);
		return;
	case CONTENT_FOLLOW:
	case CONTENT_BLOCK:
	case CONTENT_LISTITEM:
		put_relation(b, c, w, r, usec);
		return;
	case CONTENT_PROFILE:
		put_profile(b, r, usec);
		return;
	case CONTENT_THREADGATE:
		put_threadgate(b, w, r, usec);
		return;
	default:
		content_put_large(r, OVERHEAD + random_below(r, 1000), b);
	}
}

void content_put_large(struct random *r, size_t size, struct buf *b)
{
	size_t body = size - OVERHEAD;
	uint8_t *bytes = xmalloc(body + 1);

	assert(size >= OVERHEAD);
	random_bytes(r, bytes, body);
	cbor_put_map(b, 2);
	put_key(b, "body");
	cbor_put_bytes(b, span_of(bytes, body));
	put_type(b, CONTENT_OTHER);
	free(bytes);
}
