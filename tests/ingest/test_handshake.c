#include "ingest/handshake.h"

#include "common/limits.h"
#include "tests/test.h"

/* The example of RFC 6455, section 1.3. */
#define KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static void example(struct handshake *h)
{
	handshake_init_key(h, (const uint8_t *)"the sample nonce");
}

TEST(key_and_accept)
{
	struct handshake h, other;

	example(&h);
	CHECK_STR(h.key, KEY);
	CHECK_STR(h.accept, ACCEPT);
	handshake_init(&h);
	handshake_init(&other);
	CHECK(strcmp(h.key, other.key) != 0);
}

TEST(request)
{
	struct handshake h;
	struct buf b;

	example(&h);
	buf_init(&b, KIB(4));
	handshake_request(&h, "pds.example:8443", "/x?cursor=7", &b);
	buf_put_u8(&b, 0);
	CHECK_STR((const char *)b.ptr, "GET /x?cursor=7 HTTP/1.1\r\n"
				       "Host: pds.example:8443\r\n"
				       "Upgrade: websocket\r\n"
				       "Connection: Upgrade\r\n"
				       "Sec-WebSocket-Key: " KEY "\r\n"
				       "Sec-WebSocket-Version: 13\r\n"
				       "User-Agent: standpipe/0.1.0 (atproto-relay)\r\n"
				       "\r\n");
	buf_release(&b);
}

#define OK_LINE   "HTTP/1.1 101 Switching Protocols\r\n"
#define OK_FIELDS "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define OK_ACCEPT "Sec-WebSocket-Accept: " ACCEPT "\r\n"

static const struct {
	const char *name;
	const char *text;
	enum handshake_result result;
	unsigned status;
	uint64_t retry_after_usec;
} cases[] = {
	{"as it should be", OK_LINE OK_FIELDS OK_ACCEPT "\r\n", HANDSHAKE_DONE, 101, 0},
	{"any case",
	 "HTTP/1.1 101\r\nUPGRADE: "
	 "WebSocket\r\nconnection:upgrade\r\nsec-websocket-accept:\t" ACCEPT " \r\n\r\n",
	 HANDSHAKE_DONE, 101, 0},
	{"connection with more",
	 OK_LINE "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" OK_ACCEPT
		 "Server: x\r\n\r\n",
	 HANDSHAKE_DONE, 101, 0},
	{"an empty grant", OK_LINE OK_FIELDS OK_ACCEPT "Sec-WebSocket-Protocol:\r\n\r\n",
	 HANDSHAKE_DONE, 101, 0},
	{"no upgrade", OK_LINE "Connection: Upgrade\r\n" OK_ACCEPT "\r\n", HANDSHAKE_BAD, 0, 0},
	{"another upgrade", OK_LINE "Upgrade: h2c\r\nConnection: Upgrade\r\n" OK_ACCEPT "\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"no connection", OK_LINE "Upgrade: websocket\r\n" OK_ACCEPT "\r\n", HANDSHAKE_BAD, 0, 0},
	{"no accept", OK_LINE OK_FIELDS "\r\n", HANDSHAKE_BAD, 0, 0},
	{"a wrong accept",
	 OK_LINE OK_FIELDS "Sec-WebSocket-Accept: t3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"accept in another case",
	 OK_LINE OK_FIELDS "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"accept twice", OK_LINE OK_FIELDS OK_ACCEPT OK_ACCEPT "\r\n", HANDSHAKE_BAD, 0, 0},
	{"an extension",
	 OK_LINE OK_FIELDS OK_ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"a subprotocol", OK_LINE OK_FIELDS OK_ACCEPT "Sec-WebSocket-Protocol: chat\r\n\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"no HTTP", "SSH-2.0-OpenSSH_9.2\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"HTTP/2", "HTTP/2 101\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"a status of two digits", "HTTP/1.1 10 x\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"a status of four digits", "HTTP/1.1 1010\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"a line without colon", OK_LINE "Upgrade\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"a folded line", OK_LINE OK_FIELDS OK_ACCEPT "X: a\r\n b\r\n\r\n", HANDSHAKE_BAD, 0, 0},
	{"a blank before the colon", OK_LINE OK_FIELDS OK_ACCEPT "X : a\r\n\r\n", HANDSHAKE_BAD, 0,
	 0},
	{"a bare newline", OK_LINE "Upgrade: websocket\nConnection: Upgrade\r\n" OK_ACCEPT "\r\n",
	 HANDSHAKE_BAD, 0, 0},
	{"not complete", OK_LINE OK_FIELDS OK_ACCEPT "\r", HANDSHAKE_MORE, 0, 0},
	{"nothing yet", "", HANDSHAKE_MORE, 0, 0},
	{"moved", "HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n", HANDSHAKE_REDIRECT, 301, 0},
	{"not found", "HTTP/1.1 404 Not Found\r\n\r\n", HANDSHAKE_REFUSED, 404, 0},
	{"200 is no upgrade", "HTTP/1.1 200 OK\r\n\r\n", HANDSHAKE_REFUSED, 200, 0},
	{"too many requests", "HTTP/1.1 429 x\r\nRetry-After: 120\r\n\r\n", HANDSHAKE_LATER, 429,
	 120000000},
	{"unavailable", "HTTP/1.1 503 x\r\n\r\n", HANDSHAKE_LATER, 503, 0},
	{"a date", "HTTP/1.1 503 x\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n\r\n",
	 HANDSHAKE_LATER, 503, 0},
	{"for ever", "HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999999\r\n\r\n",
	 HANDSHAKE_LATER, 503, HANDSHAKE_RETRY_MAX_USEC},
};

TEST(answers)
{
	struct handshake h;

	example(&h);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct handshake_answer a = {0};
		enum handshake_result r = handshake_parse(&h, span_str(cases[i].text), &a);

		if (r != cases[i].result || a.status != cases[i].status ||
		    a.retry_after_usec != cases[i].retry_after_usec)
			test_fail(__FILE__, __LINE__, "%s: result %d, status %u, retry %" PRIu64,
				  cases[i].name, r, a.status, a.retry_after_usec);
	}
}

TEST(what_follows_the_head_is_not_read)
{
	static const char text[] = OK_LINE OK_FIELDS OK_ACCEPT "\r\n";
	struct handshake_answer a;
	struct handshake h;
	struct buf b;

	example(&h);
	buf_init(&b, KIB(16));
	buf_append_str(&b, text);
	for (unsigned i = 0; i < 8000; i++)
		buf_put_u8(&b, 0x82);
	CHECK_INT(handshake_parse(&h, buf_span(&b), &a), HANDSHAKE_DONE);
	CHECK_INT(a.head_bytes, sizeof(text) - 1);
	buf_release(&b);
}

TEST(every_truncation_waits)
{
	static const char text[] = OK_LINE OK_FIELDS OK_ACCEPT "\r\n";
	struct handshake_answer a;
	struct handshake h;

	example(&h);
	for (size_t n = 0; n < sizeof(text) - 1; n++)
		CHECK_INT(handshake_parse(&h, span_of(text, n), &a), HANDSHAKE_MORE);
}

TEST(a_head_without_end)
{
	struct handshake_answer a;
	struct handshake h;
	struct buf b;

	example(&h);
	buf_init(&b, KIB(16));
	buf_append_str(&b, OK_LINE "X: ");
	while (b.len < LIMIT_HTTP_HEAD - 1)
		buf_put_u8(&b, 'x');
	CHECK_INT(handshake_parse(&h, buf_span(&b), &a), HANDSHAKE_MORE);
	buf_put_u8(&b, 'x');
	CHECK_INT(handshake_parse(&h, buf_span(&b), &a), HANDSHAKE_TOO_LARGE);
	buf_append_str(&b, "\r\n\r\n");
	CHECK_INT(handshake_parse(&h, buf_span(&b), &a), HANDSHAKE_TOO_LARGE);
	buf_release(&b);
}
