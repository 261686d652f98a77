#include "tests/lib/json.h"

#include <assert.h>

#include "common/cbor.h"
#include "tests/test.h"

#define MEMBERS_MAX 256

json_t *json_vectors(const char *path)
{
	char full[4096];
	json_error_t error;
	json_t *value;

	snprintf(full, sizeof(full), "%s/%s", test_vectors(), path);
	value = json_load_file(full, JSON_ALLOW_NUL, &error);
	if (!value) {
		printf("Bail out! %s: %s\n", full, error.text);
		exit(1);
	}
	return value;
}

const char *json_get_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert(text);
	return text;
}

void json_get_cid(const json_t *text, struct cid *ret)
{
	int error = cid_parse(span_str(json_string_value(text)), ret);

	assert(error == 0);
}

void json_base64(const char *text, struct buf *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, value = 0;

	for (; *text && *text != '='; text++) {
		const char *at = strchr(alphabet, *text);

		assert(at);
		value = value << 6 | (unsigned)(at - alphabet);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_put_u8(out, (uint8_t)(value >> bits));
		}
	}
}

static int compare_keys(const void *a, const void *b)
{
	const char *x = *(const char *const *)a, *y = *(const char *const *)b;
	size_t x_len = strlen(x), y_len = strlen(y);

	return x_len != y_len ? (x_len > y_len) - (x_len < y_len) : strcmp(x, y);
}

static void put_object(const json_t *value, struct buf *out)
{
	const char *keys[MEMBERS_MAX], *key;
	size_t count = 0;
	json_t *member;

	json_object_foreach((json_t *)value, key, member)
	{
		assert(count < MEMBERS_MAX);
		keys[count++] = key;
	}
	qsort(keys, count, sizeof(keys[0]), compare_keys);
	cbor_put_map(out, count);
	for (size_t i = 0; i < count; i++) {
		cbor_put_text(out, span_str(keys[i]));
		json_to_cbor(json_object_get(value, keys[i]), out);
	}
}

static void put_link(const char *text, struct buf *out)
{
	uint8_t binary[CID_SIZE];
	struct cid cid;
	int error = cid_parse(span_str(text), &cid);

	assert(error == 0);
	cid_encode(&cid, binary);
	cbor_put_cid(out, span_of(binary, sizeof(binary)));
}

static void put_bytes(const char *text, struct buf *out)
{
	struct buf bytes;

	buf_init(&bytes, MIB(8));
	json_base64(text, &bytes);
	cbor_put_bytes(out, buf_span(&bytes));
	buf_release(&bytes);
}

static void put_array(const json_t *value, struct buf *out)
{
	cbor_put_array(out, json_array_size(value));
	for (size_t i = 0; i < json_array_size(value); i++)
		json_to_cbor(json_array_get(value, i), out);
}

void json_to_cbor(const json_t *value, struct buf *out)
{
	const char *link = json_string_value(json_object_get(value, "$link"));
	const char *bytes = json_string_value(json_object_get(value, "$bytes"));

	if (link)
		put_link(link, out);
	else if (bytes)
		put_bytes(bytes, out);
	else if (json_is_object(value))
		put_object(value, out);
	else if (json_is_array(value))
		put_array(value, out);
	else if (json_is_string(value))
		cbor_put_text(out, span_of(json_string_value(value), json_string_length(value)));
	else if (json_is_integer(value))
		cbor_put_integer(out, json_integer_value(value));
	else if (json_is_boolean(value))
		cbor_put_bool(out, json_is_true(value));
	else
		cbor_put_null(out);
}
