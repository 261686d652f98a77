#include "ingest/handshake.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <strings.h>
#include <sys/random.h>

#include "common/limits.h"
#include "common/stage.h"

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455, section 1.3 */

/* Openings of sessions are rare, so the digest is fetched each time. */
void handshake_init_key(struct handshake *h, const uint8_t key[static 16])
{
	char joined[HANDSHAKE_KEY_SIZE + sizeof(GUID)];
	uint8_t digest[20];
	int r;

	r = EVP_EncodeBlock((unsigned char *)h->key, key, 16);
	assert(r == HANDSHAKE_KEY_SIZE);
	snprintf(joined, sizeof(joined), "%s" GUID, h->key);
	r = EVP_Digest(joined, sizeof(joined) - 1, digest, NULL, EVP_sha1(), NULL);
	assert(r == 1);
	r = EVP_EncodeBlock((unsigned char *)h->accept, digest, sizeof(digest));
	assert(r == HANDSHAKE_ACCEPT_SIZE);
}

void handshake_init(struct handshake *h)
{
	uint8_t key[16];
	ssize_t n = getrandom(key, sizeof(key), 0);

	assert(n == (ssize_t)sizeof(key));
	handshake_init_key(h, key);
}

void handshake_request(const struct handshake *h, const char *host, const char *target,
		       struct buf *out)
{
	buf_printf(out,
		   "GET %s HTTP/1.1\r\n"
		   "Host: %s\r\n"
		   "Upgrade: websocket\r\n"
		   "Connection: Upgrade\r\n"
		   "Sec-WebSocket-Key: %s\r\n"
		   "Sec-WebSocket-Version: 13\r\n"
		   "User-Agent: standpipe/" STAGE_VERSION " (atproto-relay)\r\n"
		   "\r\n",
		   target, host, h->key);
}

/* What the fields of the head said. */
struct fields {
	bool upgrade;
	bool connection;
	bool accept;
	bool granted; /* an extension or subprotocol that was not asked for */
	uint64_t retry_after_usec;
};

/* Up to the next \r\n; the reader moves behind it. -EBADMSG if there is none, or a control
 * character is in the way. */
static int get_line(struct reader *r, struct span *ret)
{
	for (size_t i = 0; i + 1 < r->left; i++) {
		if (r->ptr[i] == '\r' && r->ptr[i + 1] == '\n') {
			*ret = span_of(r->ptr, i);
			r->ptr += i + 2;
			r->left -= i + 2;
			return 0;
		}
		if ((r->ptr[i] < ' ' && r->ptr[i] != '\t') || r->ptr[i] == 0x7f)
			return -EBADMSG;
	}
	return -EBADMSG;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
	while (s.len && is_blank(s.ptr[0]))
		s = span_of(s.ptr + 1, s.len - 1);
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_word(struct span s, const char *word)
{
	return s.len == strlen(word) && strncasecmp((const char *)s.ptr, word, s.len) == 0;
}

/* Whether a comma-separated list has the word. */
static bool list_has(struct span list, const char *word)
{
	while (list.len) {
		const uint8_t *comma = memchr(list.ptr, ',', list.len);
		size_t len = comma ? (size_t)(comma - list.ptr) : list.len;

		if (is_word(trim(span_of(list.ptr, len)), word))
			return true;
		len += comma != NULL;
		list = span_of(list.ptr + len, list.len - len);
	}
	return false;
}

/* "HTTP/1.1 101 Switching Protocols" */
static int parse_status(struct span line, unsigned *ret)
{
	const uint8_t *p = line.ptr;

	if (line.len < 12 || memcmp(p, "HTTP/1.", 7) != 0 || !is_digit(p[7]) || p[8] != ' ')
		return -EBADMSG;
	if (!is_digit(p[9]) || !is_digit(p[10]) || !is_digit(p[11]))
		return -EBADMSG;
	if (line.len > 12 && p[12] != ' ')
		return -EBADMSG;
	*ret = (unsigned)(p[9] - '0') * 100 + (unsigned)(p[10] - '0') * 10 +
	       (unsigned)(p[11] - '0');
	return 0;
}

/* Seconds; a date, which some send instead, counts as nothing given. */
static uint64_t parse_retry_after(struct span value)
{
	uint64_t seconds = 0;

	if (value.len == 0)
		return 0;
	for (size_t i = 0; i < value.len; i++) {
		if (!is_digit(value.ptr[i]))
			return 0;
		seconds = seconds * 10 + (uint64_t)(value.ptr[i] - '0');
		if (seconds * 1000000 >= HANDSHAKE_RETRY_MAX_USEC)
			return HANDSHAKE_RETRY_MAX_USEC;
	}
	return seconds * 1000000;
}

static int take_field(const struct handshake *h, struct span name, struct span value,
		      struct fields *f)
{
	if (is_word(name, "Upgrade"))
		f->upgrade |= list_has(value, "websocket");
	else if (is_word(name, "Connection"))
		f->connection |= list_has(value, "upgrade");
	else if (is_word(name, "Sec-WebSocket-Extensions") ||
		 is_word(name, "Sec-WebSocket-Protocol"))
		f->granted |= value.len > 0;
	else if (is_word(name, "Retry-After"))
		f->retry_after_usec = parse_retry_after(value);
	else if (is_word(name, "Sec-WebSocket-Accept")) {
		if (f->accept || !span_is(value, h->accept))
			return -EBADMSG;
		f->accept = true;
	}
	return 0;
}

static int parse_field(const struct handshake *h, struct span line, struct fields *f)
{
	const uint8_t *colon = memchr(line.ptr, ':', line.len);
	struct span name;

	if (!colon || colon == line.ptr || is_blank(line.ptr[0]) || is_blank(colon[-1]))
		return -EBADMSG;
	name = span_of(line.ptr, (size_t)(colon - line.ptr));
	return take_field(h, name, trim(span_of(colon + 1, line.len - name.len - 1)), f);
}

/* The head's length with the empty line that ends it; 0: not complete. */
static size_t head_length(struct span bytes)
{
	const uint8_t *end = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);

	return end ? (size_t)(end - bytes.ptr) + 4 : 0;
}

static enum handshake_result judge(unsigned status, const struct fields *f)
{
	if (status == 429 || status == 503)
		return HANDSHAKE_LATER;
	if (status >= 300 && status < 400)
		return HANDSHAKE_REDIRECT;
	if (status != 101)
		return HANDSHAKE_REFUSED;
	return f->upgrade && f->connection && f->accept && !f->granted ? HANDSHAKE_DONE
								       : HANDSHAKE_BAD;
}

enum handshake_result handshake_parse(const struct handshake *h, struct span bytes,
				      struct handshake_answer *ret)
{
	struct handshake_answer answer = {.head_bytes = head_length(bytes)};
	struct fields fields = {0};
	enum handshake_result result;
	struct reader r;
	struct span line;

	if (answer.head_bytes > LIMIT_HTTP_HEAD ||
	    (!answer.head_bytes && bytes.len >= LIMIT_HTTP_HEAD))
		return HANDSHAKE_TOO_LARGE;
	if (!answer.head_bytes)
		return HANDSHAKE_MORE;
	r = reader_of(span_of(bytes.ptr, answer.head_bytes));
	if (get_line(&r, &line) != 0 || parse_status(line, &answer.status) != 0)
		return HANDSHAKE_BAD;
	for (;;) {
		if (get_line(&r, &line) != 0)
			return HANDSHAKE_BAD;
		if (line.len == 0)
			break;
		if (parse_field(h, line, &fields) != 0)
			return HANDSHAKE_BAD;
	}
	answer.retry_after_usec = fields.retry_after_usec;
	result = judge(answer.status, &fields);
	if (result != HANDSHAKE_BAD)
		*ret = answer;
	return result;
}
