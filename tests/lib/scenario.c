#include "tests/lib/scenario.h"

#include <assert.h>

#include "common/limits.h"
#include "tests/lib/json.h"
#include "tests/test.h"

/* The frames whose size and digest (its first 8 bytes) are known. */
static const struct {
	const char *scenario;
	size_t message, size;
	const char *digest;
} known[] = {
	{"legacy", 2, 5267, "1a8eeffcf510566a"},
	{"account_lifecycle", 0, 119, "ad63ed55bbc3f7a6"},
	{"account_lifecycle", 1, 100, "3cdde5e048d51e6f"},
	{"account_lifecycle", 2, 402, "5a382b3a6430e605"},
	{"account_lifecycle", 3, 115, "fe9d4dc83cbb428f"},
	{"post_lifecycle", 0, 6236, "c1c6d6b8eb29b3c7"},
	{"post_lifecycle", 1, 5821, "f908e9b8b934e65d"},
	{"post_lifecycle", 2, 5921, "263b47f1869ef2a0"},
	{"post_lifecycle", 3, 5327, "0aba2347754b447e"},
	{"post_lifecycle", 4, 3963, "29848061e6f8ba13"},
	{"post_lifecycle", 5, 7614, "7581ea65b6b1f699"},
	{"seq_ordering", 0, 94, "99cf5cd4ac961b64"},
};

static void check_known(const char *name, const struct scenario *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		uint8_t digest[SHA256_SIZE];
		struct span frame;
		struct buf want;

		if (strcmp(known[i].scenario, name) != 0)
			continue;
		assert(known[i].message < s->count);
		frame = s->messages[known[i].message].frame;
		buf_init(&want, SHA256_SIZE);
		test_hex(known[i].digest, &want);
		sha256(frame, digest);
		CHECK_INT(frame.len, known[i].size);
		CHECK_SPAN(span_of(digest, want.len), buf_span(&want));
		buf_release(&want);
	}
}

static void read_account(const json_t *account, struct scenario *ret)
{
	const json_t *identity = json_object_get(account, "identity");
	const json_t *key = json_object_get(json_object_get(identity, "keys"), "atproto");
	int error = multikey_parse(span_str(json_get_text(key, "publicKeyMultibase")), &ret->key);

	assert(error == 0);
	snprintf(ret->did, sizeof(ret->did), "%s", json_get_text(identity, "did"));
	snprintf(ret->handle, sizeof(ret->handle), "%s", json_get_text(identity, "handle"));
}

static void read_message(const json_t *message, struct scenario *s)
{
	json_t *frame = json_object_get(message, "frame"), *body = json_object_get(frame, "body");
	size_t start = s->bytes.len;

	assert(s->count < SCENARIO_MESSAGES_MAX);
	/* What was an empty array on the wire. */
	if (json_is_null(json_object_get(body, "blobs")))
		json_object_set_new(body, "blobs", json_array());
	json_to_cbor(json_object_get(frame, "header"), &s->bytes);
	json_to_cbor(body, &s->bytes);
	s->messages[s->count++] = (struct scenario_message){
		.frame = span_of(NULL, s->bytes.len - start),
		.seq = (uint64_t)json_integer_value(json_object_get(body, "seq")),
		.drop = json_is_true(json_object_get(message, "drop")),
	};
}

/* The frames lie one behind the other, in memory that has stopped to move. */
static void place_frames(struct scenario *s)
{
	size_t at = 0;

	for (size_t i = 0; i < s->count; i++) {
		s->messages[i].frame.ptr = s->bytes.ptr + at;
		at += s->messages[i].frame.len;
	}
}

void scenario_read(const char *name, struct scenario *ret)
{
	char path[128];
	json_t *scenario, *messages;

	snprintf(path, sizeof(path), "scenarios/%s.json", name);
	scenario = json_vectors(path);
	messages = json_object_get(scenario, "messages");
	*ret = (struct scenario){
		.is_lenient = json_is_true(json_object_get(scenario, "lenient")),
	};
	buf_init(&ret->bytes, SCENARIO_MESSAGES_MAX * LIMIT_FRAME);
	read_account(json_array_get(json_object_get(scenario, "accounts"), 0), ret);
	for (size_t i = 0; i < json_array_size(messages); i++)
		read_message(json_array_get(messages, i), ret);
	place_frames(ret);
	json_decref(scenario);
	assert(ret->count > 0);
	check_known(name, ret);
}

void scenario_release(struct scenario *s)
{
	buf_release(&s->bytes);
}
